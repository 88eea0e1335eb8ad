package watch_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
)

// terminal opens a pseudo-terminal of the given size; what is written to tty can be read from keyboard.
func terminal(t *testing.T, columns, rows uint16) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("a pseudo-terminal is needed: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	return keyboard, tty
}

// shown runs the live view on a terminal of that size and gives what stands on it, while it is drawn and after it is closed.
func shown(t *testing.T, columns, rows uint16) (during, after string) {
	keyboard, tty := terminal(t, columns, rows)
	env := func(k string) string { return map[string]string{"LANG": "en_US.UTF-8", "TERM": "xterm"}[k] }
	c := &clock{time.Unix(1000, 0)}
	w := watch.New(watch.Config{Stderr: tty, Style: show.StyleOf(tty, env), Now: c.now})
	st := feed(w)
	for range 3 {
		w.Status(st)
		c.t = c.t.Add(time.Second)
	}
	s := newScreen(t, int(columns))
	read := func(until string) string {
		if _, err := tty.WriteString(until); err != nil {
			t.Fatal(err)
		}
		var text string
		for buf := make([]byte, 4096); !strings.Contains(text, until); {
			n, err := keyboard.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			text += string(buf[:n])
		}
		s.write(strings.Replace(text, until, "", 1))
		return s.text()
	}
	during = read("\x07")
	w.Close()
	after = read("\x07")
	if s.wrapped > 0 && columns >= 80 { // what is told for good may be broken by a narrower one
		t.Errorf("%d lines are wider than the terminal's %d columns:\n%s", s.wrapped, columns, during)
	}
	return during, after
}

func TestLiveViewInATerminal(t *testing.T) {
	for _, tc := range []struct {
		columns, rows uint16
		want          []string // lines, or beginnings of them
	}{
		{80, 24, []string{"nodes    ● n1 leads term 4   ✗ n2 down   ○ n3 cut off", "links    n1 ─╳─ n3", "records  ▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇█████  590/s, 3 errors"}},
		{160, 40, []string{"nodes    ● n1 leads term 4   ✗ n2 down   ○ n3 cut off                          links    n1 ─╳─ n3   n2 ─╳─ n3   clients ─╳─ n3",
			"faults   partition of n3 (partition-leader), clients too for 4.0 s: 812 packets dropped"}},
		{50, 24, []string{"   2.0 s  faults  12/30 intervals  n1 leads (t..."}},   // too narrow for a board
		{80, 8, []string{"   2.0 s  faults  12/30 intervals  n1 leads (term 4)"}}, // too low
	} {
		t.Run(fmt.Sprintf("%dx%d", tc.columns, tc.rows), func(t *testing.T) {
			during, after := shown(t, tc.columns, tc.rows)
			for _, want := range tc.want {
				if !strings.Contains("\n"+during, "\n"+want) {
					t.Errorf("no line %q in:\n%s", want, during)
				}
			}
			if n := strings.Count(during, "12/30"); n != 1 {
				t.Errorf("drawn %d times:\n%s", n, during)
			}
			if strings.Contains(after, "12/30") {
				t.Errorf("left behind:\n%s", after)
			}
		})
	}
}
