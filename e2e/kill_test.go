package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A runner that is killed in the middle of a fault leaves nothing behind that `soak clean` does not remove, and a
// second run at the same time is not touched.
func TestAKilledRunnerLeavesNothingBehind(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		// State of its own, so that only this test's runs are looked at.
		env := append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
		other := start(t, env, driver)
		victim := start(t, env, driver)
		victim.waitFor(t, "fault")
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.cmd.Wait()

		var removed []byte
		eventually(t, 20*time.Second, "soak clean to remove all that the killed run left", func() bool {
			removed = append(removed, clean(t, env)...)
			return !leftover(t, driver, victim)
		})
		t.Logf("soak clean:\n%s", removed)
		if bytes.Contains(removed, []byte(other.id)) {
			t.Fatalf("soak clean touched the other run %s:\n%s", other.id, removed)
		}
		if driver == "docker" && !bytes.Contains(removed, []byte(victim.id)) {
			t.Fatalf("soak clean says nothing of the killed run %s, whose containers outlive it:\n%s", victim.id, removed)
		}
		if other.cmd.ProcessState != nil || !leftover(t, driver, other) {
			t.Fatalf("the other run did not live on")
		}
		other.interrupt(t)
		said := false
		for line := range other.lines {
			said = said || strings.Contains(line, "closing the cluster") || strings.Contains(line, "healing all faults")
		}
		if said {
			// A person who interrupts waits for seven seconds. An engine that takes longer is told of, and what is left is clean's.
			t.Logf("the interrupted run could not close its cluster in time")
			if out := clean(t, env); !bytes.Contains(out, []byte(other.id)) {
				t.Fatalf("soak clean removed nothing of the interrupted run:\n%s", out)
			}
		}
		eventually(t, 20*time.Second, "an interrupted run to leave nothing", func() bool { return !leftover(t, driver, other) })
	})
}

// clean runs soak clean, and gives what it says.
func clean(t *testing.T, env []string) []byte {
	t.Helper()
	cmd := exec.Command(binary, "clean")
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("soak clean: %v\n%s", err, out)
	}
	return out
}

type background struct {
	cmd   *exec.Cmd
	out   string
	lines chan string // of standard error
	id    string      // the run's id, from its first lines

	inEffect atomic.Int32 // faults that were seen to take effect
}

func start(t *testing.T, env []string, driver string) *background {
	t.Helper()
	return startRun(t, env, "--driver", driver, "--seed", "2", "--election-interval", "500ms", "--session-timeout", "1s", "--intervals", "60")
}

// startRun starts `soak run` with args, and returns once its run folder is there.
func startRun(t *testing.T, env []string, args ...string) *background {
	t.Helper()
	b := &background{out: t.TempDir(), lines: make(chan string, 1000)}
	b.cmd = exec.Command(binary, append([]string{"run", "--json", "--out", b.out}, args...)...)
	b.cmd.Env = env
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for d := json.NewDecoder(stdout); ; {
			var said struct{ Type, State string }
			if d.Decode(&said) != nil {
				_, _ = io.Copy(io.Discard, stdout)
				return
			}
			if said.Type == "fault" && said.State == "in effect" {
				b.inEffect.Add(1)
			}
		}
	}()
	go func() {
		defer close(b.lines)
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			select {
			case b.lines <- sc.Text():
			default:
			}
		}
	}()
	t.Cleanup(func() {
		if b.cmd.ProcessState == nil {
			b.interrupt(t)
		}
	})
	eventually(t, patience, "the run folder with its run.json", func() bool {
		found, _ := filepath.Glob(filepath.Join(b.out, "*", "run.json"))
		if len(found) > 0 {
			name := filepath.Base(filepath.Dir(found[0]))
			b.id = name[strings.LastIndexByte(name, '-')+1:]
		}
		return b.id != ""
	})
	return b
}

// waitFor waits for a line of progress that tells of an active fault.
func (b *background) waitFor(t *testing.T, word string) {
	t.Helper()
	deadline := time.After(patience)
	var seen []string
	for {
		select {
		case l, ok := <-b.lines:
			seen = append(seen, l)
			if !ok {
				t.Fatalf("the run ended before %q was said:\n%s", word, strings.Join(seen, "\n"))
			}
			if l := strings.ToLower(l); strings.Contains(l, "fault 1: ") || strings.Contains(l, "kill") || strings.Contains(l, "pause") || strings.Contains(l, "partition") {
				return
			}
		case <-deadline:
			t.Fatalf("no active fault within %v:\n%s", patience, strings.Join(seen, "\n"))
		}
	}
}

func (b *background) interrupt(t *testing.T) {
	t.Helper()
	_ = b.cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { _ = b.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = b.cmd.Process.Kill()
		t.Error("an interrupted run was not over after 30 s")
	}
}

// leftover reports whether processes or containers of a run are there.
func leftover(t *testing.T, driver string, b *background) bool {
	t.Helper()
	if driver == "docker" {
		out, err := exec.Command("docker", "ps", "-aq", "--filter", "label=soak.run").Output()
		if err != nil {
			t.Fatal(err)
		}
		for id := range strings.FieldsSeq(string(out)) {
			labels, err := exec.Command("docker", "inspect", "-f", "{{json .Config.Labels}} {{.Name}}", id).Output()
			if err == nil && strings.Contains(string(labels), b.id) {
				return true
			}
		}
		return false
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(procs) == 0 {
		t.Fatalf("no /proc to look for processes in: %v", err)
	}
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err == nil && bytes.Contains(line, []byte("broker")) && bytes.Contains(line, []byte(b.id)) {
			return true
		}
	}
	return false
}

func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for begun := time.Now(); !cond(); begun = time.Now() {
		if begun.After(end) { // a look that takes long must not be the only one
			t.Fatalf("after %v still waiting for %s", limit, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
