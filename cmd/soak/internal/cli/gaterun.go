package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// gateRun is set in the environment of a run that a gate makes: its standard input is a pipe that closes when the gate is gone.
const gateRun = "SOAK_GATE_RUN"

// child makes a run in a process of its own, passes signals on to it, and gives its verdict. Trouble is why there is none.
func (g *gateCommandRun) child(words []string) (verdict verdictLine, trouble string) {
	self, err := os.Executable()
	if err != nil {
		return verdict, "finding this program's own file: " + err.Error()
	}
	var out lastLine
	said := &tail{}
	cmd := exec.Command(self, words...)
	cmd.Env = append(os.Environ(), gateRun+"=1")
	cmd.Stdout, cmd.Stderr = &out, io.Writer(said)
	if !g.output.quiet && !g.output.json {
		cmd.Stderr = io.MultiWriter(g.env.stderr, said)
	}
	ownGroup(cmd) // a terminal's signals reach this process alone, which passes them on
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return verdict, "starting the run: " + err.Error()
	}
	defer lifeline.Close()
	if err := cmd.Start(); err != nil {
		return verdict, "starting the run: " + err.Error()
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-g.stop.ctx.Done():
			_ = cmd.Process.Signal(g.stop.asSignal()) // it may have ended meanwhile
		case <-done:
		}
	}()
	err = cmd.Wait()
	close(done)
	if out.seen.Folder != "" && out.seen.Report != nil {
		return out.seen, ""
	}
	words = []string{"the run ended without a verdict"}
	if err != nil {
		words = append(words, err.Error())
	}
	if s := said.last(); s != "" {
		words = append(words, s)
	}
	return verdictLine{}, strings.Join(words, ": ")
}

// lastLine keeps the verdict line of a run's JSON.
type lastLine struct {
	buf  []byte
	seen verdictLine
}

func (l *lastLine) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, whole := bytes.Cut(l.buf, []byte{'\n'})
		if !whole {
			return len(p), nil
		}
		var v verdictLine
		if err := json.Unmarshal(line, &v); err == nil && v.Type == "verdict" {
			l.seen = v
		}
		l.buf = rest
	}
}

// tailKept is how much of what a run says is kept for the case that it ends without a verdict.
const tailKept = 4 << 10

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailKept; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

// last is the error that was said, or else the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.buf)), "\n")
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, "error: "); ok {
			return rest
		}
	}
	return lines[len(lines)-1]
}

// endInOrder ends this run as a signal would when the gate that made it is gone.
func endInOrder(stdin io.Reader) {
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
}
