package owner

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestMain lets the test binary stand in for another run, and for a node.
func TestMain(m *testing.M) {
	switch os.Getenv("OWNER_TEST_AS") {
	case "run":
		l, err := Acquire(os.Getenv("OWNER_TEST_ID"))
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		io.Copy(io.Discard, os.Stdin)
		l.Release()
		os.Exit(0)
	case "node":
		os.Stdout.WriteString("running\n")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts the test binary as something, and returns its first line.
func child(t *testing.T, as, id string) (*exec.Cmd, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), "OWNER_TEST_AS="+as, "OWNER_TEST_ID="+id)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		c.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return c, strings.TrimSpace(line)
}

func state(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
}

func TestALockIsHeldOnceAndEndsWithRelease(t *testing.T) {
	state(t)
	if Alive("a") {
		t.Error("alive before it was acquired")
	}
	l, err := Acquire("a")
	if err != nil {
		t.Fatal(err)
	}
	if !Alive("a") || Alive("b") {
		t.Errorf("a alive %v, b alive %v; want true, false", Alive("a"), Alive("b"))
	}
	if _, err := Acquire("a"); !errors.Is(err, ErrHeld) {
		t.Errorf("a second owner got %v, want ErrHeld", err)
	}
	for range 2 {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	if Alive("a") {
		t.Error("alive after its release")
	}
	l, err = Acquire("a")
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	l.Release()
}

func TestOneOfManyGetsTheLock(t *testing.T) {
	state(t)
	var mu sync.Mutex
	holders, most := 0, 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				path, _ := lockPath("a")
				os.MkdirAll(filepath.Dir(path), 0o700)
				l, err := tryAcquire("a", path)
				if err != nil {
					continue
				}
				mu.Lock()
				holders++
				most = max(most, holders)
				mu.Unlock()
				mu.Lock()
				holders--
				mu.Unlock()
				l.Release()
			}
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d held it at once, want 1", most)
	}
}

func TestALockDiesWithItsOwner(t *testing.T) {
	state(t)
	run, said := child(t, "run", "killed")
	if said != "held" {
		t.Fatal(said)
	}
	if !Alive("killed") {
		t.Error("not alive while its process holds it")
	}
	if ids, err := Leftovers(); err != nil || len(ids) != 0 {
		t.Errorf("leftovers %v, %v; want none", ids, err)
	}
	run.Process.Kill()
	run.Wait()
	if Alive("killed") {
		t.Error("alive after SIGKILL")
	}
	if ids, err := Leftovers(); err != nil || !slices.Equal(ids, []string{"killed"}) {
		t.Errorf("leftovers %v, %v; want killed", ids, err)
	}
	l, err := Acquire("killed") // as whoever cleans up does
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if ids, _ := Leftovers(); len(ids) != 0 {
		t.Errorf("leftovers %v after it was cleaned up", ids)
	}
}

func TestIDsThatAreNoFileNames(t *testing.T) {
	for _, id := range []string{"", ".", "..", "a/b", "-a", "ä", "a b", strings.Repeat("x", 65)} {
		if _, err := Acquire(id); err == nil {
			t.Errorf("%q was taken", id)
		}
		if !Alive(id) {
			t.Errorf("%q counts as a leftover", id)
		}
	}
}

func TestARecordIsReadBack(t *testing.T) {
	state(t)
	r, err := NewRecord("a")
	if err != nil {
		t.Fatal(err)
	}
	p, q := Process{PID: 10, Start: "x"}, Process{PID: 11, Start: "y"}
	for _, err := range []error{r.AddFolder("/some/where"), r.AddProcess(p), r.AddProcess(q), r.DropProcess(p)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"relative", "/", ""} {
		if r.AddFolder(bad) == nil {
			t.Errorf("folder %q was taken", bad)
		}
	}
	folders, processes, err := Recorded("a")
	if err != nil || !slices.Equal(folders, []string{"/some/where"}) || !slices.Equal(processes, []Process{q}) {
		t.Errorf("read back %v, %v, %v", folders, processes, err)
	}
	if ids, _ := Leftovers(); !slices.Equal(ids, []string{"a"}) {
		t.Errorf("leftovers %v, want a", ids)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if f, p, err := Recorded("a"); f != nil || p != nil || err != nil {
		t.Errorf("after its end: %v, %v, %v", f, p, err)
	}
}

func TestKillEndsOnlyTheProcessThatWasRecorded(t *testing.T) {
	node, _ := child(t, "node", "")
	p, err := Identify(node.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := Process{PID: p.PID, Start: p.Start + "0"} // the pid, used again
	if did, err := other.Kill(t.Context()); did || err != nil {
		t.Errorf("killing another start of the pid: %v, %v", did, err)
	}
	if !p.Running() || other.Running() {
		t.Errorf("running: %v and %v, want true and false", p.Running(), other.Running())
	}
	// Nobody has waited for it yet: a zombie counts as gone.
	if did, err := p.Kill(t.Context()); !did || err != nil {
		t.Errorf("killing it: %v, %v", did, err)
	}
	if p.Running() {
		t.Error("running after it was killed")
	}
	for _, pid := range []int{0, 1, os.Getpid()} {
		if _, err := (Process{PID: pid}).Kill(t.Context()); err == nil {
			t.Errorf("process %d was not refused", pid)
		}
	}
}

func TestDomainIsOneWord(t *testing.T) {
	state(t)
	words := make([]string, 8)
	var all sync.WaitGroup
	for i := range words {
		all.Go(func() {
			w, err := Domain()
			if err != nil {
				t.Error(err)
			}
			words[i] = w
		})
	}
	all.Wait()
	if w := slices.Compact(words); len(w) != 1 || len(w[0]) != 16 {
		t.Errorf("words %q, want one of 16 letters", w)
	}
	state(t)
	if w, err := Domain(); err != nil || w == words[0] {
		t.Errorf("another state directory has %q too, %v", w, err)
	}
}
