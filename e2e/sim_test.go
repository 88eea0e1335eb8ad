package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A simulation is carried out by a worker process. A signal ends it in order, and the end of the process that a person started, however it
// comes, ends the worker too.
func TestASimulationEndsWithWhoeverStartedIt(t *testing.T) {
	begin := func(t *testing.T) (*exec.Cmd, string) {
		out := t.TempDir()
		cmd := exec.Command(binary, "run", "--driver", "sim", "--intervals", "3000", "--seed", "1", "--out", out)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "the simulation to write events", func() bool {
			found, _ := filepath.Glob(filepath.Join(out, "*", "events.jsonl*")) // packed: it is a long run
			return len(found) > 0 && len(processesOf(t, out)) > 1
		})
		return cmd, out
	}
	t.Run("SIGINT", func(t *testing.T) {
		cmd, out := begin(t)
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("exit %d, want 130", code)
		}
		eventually(t, 10*time.Second, "nothing to be left", func() bool { return len(processesOf(t, out)) == 0 })
	})
	t.Run("SIGKILL", func(t *testing.T) {
		cmd, out := begin(t)
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		eventually(t, 10*time.Second, "the worker to end", func() bool { return len(processesOf(t, out)) == 0 })
	})
}

// What the worker prints is for the person who called the program, by the name that they called it by.
func TestASimulationIsReproducedAsItWasCalled(t *testing.T) {
	cmd := exec.Command("./"+filepath.Base(binary), "run", "--driver", "sim", "--intervals", "1", "--seed", "1", "--out", t.TempDir())
	cmd.Dir = filepath.Dir(binary)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	out, _ := cmd.Output() // too short to hold
	if want := "reproduce:   ./" + filepath.Base(binary) + " replay "; !bytes.Contains(out, []byte(want)) {
		t.Errorf("printed without %q:\n%s", want, out)
	}
}

// processesOf lists the processes whose command line names a folder.
func processesOf(t *testing.T, folder string) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(procs) == 0 {
		t.Skip("needs /proc to look for processes in")
	}
	var found []string
	for _, p := range procs {
		if line, err := os.ReadFile(p); err == nil && bytes.Contains(line, []byte(folder)) {
			found = append(found, p)
		}
	}
	return found
}
