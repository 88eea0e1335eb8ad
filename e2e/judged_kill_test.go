package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A run whose runner is killed is judged as far as it got, plain or packed: what was found before stays found, and without that it is inconclusive
// and says where the run ended.
func TestAKilledRunIsJudgedAsFarAsItGot(t *testing.T) {
	for _, c := range []struct {
		records, bug string
		exit         int
		says         string
	}{
		{"plain", "", 3, `the run got no further than its phase "faults"`},
		{"packed", "", 3, `the run got no further than its phase "faults"`},
		{"packed", "elector-gate-has-leader", 1, "VIOLATED  single-leader-proposing"},
	} {
		t.Run(strings.TrimSpace(c.records+" "+c.bug), func(t *testing.T) {
			env := append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
			args := []string{"--driver", "process", "--seed", "2", "--election-interval", "500ms", "--session-timeout", "1s", "--intervals", "60", "--records", c.records}
			if c.bug != "" {
				args = append(args, "--bug", c.bug)
			}
			run := startRun(t, env, args...)
			run.waitForFault(t)
			if err := run.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = run.cmd.Wait()
			for _, again := range []bool{false, true} {
				check := exec.Command(binary, "check", "latest", "--out", run.out)
				check.Env = env
				out, _ := check.CombinedOutput()
				if code := check.ProcessState.ExitCode(); code != c.exit || !strings.Contains(string(out), c.says) {
					t.Fatalf("again=%v: exit %d, want %d, and that it says %q:\n%s", again, code, c.exit, c.says, out)
				}
			}
			if c.records == "packed" {
				if _, err := os.Stat(filepath.Join(run.out, "latest", "history.jsonl.zst")); err != nil {
					t.Error(err)
				}
			}
			clean(t, env)
		})
	}
}

// waitForFault waits until the run's first fault is over, so that something of it, and of what a bug did before, is in the record.
func (b *background) waitForFault(t *testing.T) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		select {
		case l, ok := <-b.lines:
			if !ok {
				t.Fatal("the run ended before its first fault")
			}
			if strings.Contains(l, "fault 1: ") && strings.Contains(l, "healed") {
				return
			}
		case <-deadline:
			t.Fatal("no fault was over within three minutes")
		}
	}
}
