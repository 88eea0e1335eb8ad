package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"soak/history"
)

// diskScenario is a short run with these faults.
func diskScenario(t *testing.T, intervals int, faults ...string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: disks\nelection_interval: 500ms\nsession_timeout: 1s\nintervals: %d\nsteady: 3\n", intervals)
	b.WriteString("topics: [{name: orders, partitions: 3}]\nworkloads:\n  produce: {rate: 300, producers: 2}\n  metadata: {rate: 6}\n  autocreate: {per_minute: 30}\nfaults:\n")
	for i, f := range faults {
		fmt.Fprintf(&b, "  - {%s, at: %ds}\n", f, 2+4*i)
	}
	path := filepath.Join(t.TempDir(), "disks.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every disk fault of a real cluster is proven, and the broker holds through it: it stops where it must, and what it acknowledged comes back.
func TestDisksBreak(t *testing.T) {
	kinds := map[string][]string{
		"process": {
			"kind: slow-disk, factor: 20, target: follower", "kind: disk-full, target: partition-leader", "kind: write-error, target: follower",
			"kind: fsync-error, target: raft-leader", "kind: read-error, target: follower", "kind: power-loss, target: raft-leader", "kind: power-loss, target: all",
		},
		"docker": {"kind: slow-disk, factor: 20, target: follower", "kind: fsync-error, target: raft-leader", "kind: power-loss, target: all"},
	}
	eachDriver(t, func(t *testing.T, driver string) {
		faults := kinds[driver]
		r := soakUnlessStalled(t, "run", diskScenario(t, 12*len(faults), faults...), "--driver", driver, "--seed", "3")
		if r.exit != 0 {
			r.fail(t, "the clean broker does not hold")
		}
		found, err := filepath.Glob(filepath.Join(r.dir, "*", "faults.jsonl"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no faults.jsonl: %v", err)
		}
		b, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		proven := 0
		for line := range strings.Lines(string(b)) {
			var f history.Fault
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			phases := map[string]string{}
			for _, e := range f.Evidence {
				phases[e.Phase] = e.What
			}
			t.Logf("%s of %v: %v", f.Kind, f.Nodes, phases)
			if f.Error != "" || len(phases) != 3 {
				t.Errorf("%s: error %q, phases %v", f.Kind, f.Error, phases)
			}
			proven++
		}
		if proven != len(faults) {
			t.Errorf("%d faults recorded, want %d", proven, len(faults))
		}
	})
}

// The lease is held in the shim: a runner that is killed leaves no slow disk behind.
func TestAKilledRunnerLeavesNoBrokenDisk(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		env := append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
		victim := startRun(t, env, diskScenario(t, 60, "kind: slow-disk, factor: 20, target: n1, for: 60s"), "--driver", driver, "--seed", "2")
		victim.waitFor(t, "slow-disk")
		if driver == "docker" {
			eventually(t, 10*time.Second, "the slow disk", func() bool { return strings.Contains(diskFaults(t, victim), "slow-disk") })
		}
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.cmd.Wait()
		killed := time.Now()
		if driver == "process" {
			eventually(t, 5*time.Second, "the nodes to be gone with the runner", func() bool { return !leftover(t, driver, victim) })
		} else {
			eventually(t, 5*time.Second, "the disk to be sound", func() bool { return diskFaults(t, victim) == "[]" })
		}
		t.Logf("sound after %v", time.Since(killed).Round(100*time.Millisecond))
		clean(t, env)
		if leftover(t, driver, victim) {
			t.Error("soak clean left something")
		}
	})
}

// diskFaults asks n1 of a run, inside of its container, what is wrong with its disk.
func diskFaults(t *testing.T, b *background) string {
	t.Helper()
	out, err := exec.Command("docker", "ps", "--filter", "label=soak.node=1", "--format", `{{.ID}} {{.Label "soak.run"}}`).Output()
	if err != nil {
		t.Fatal(err)
	}
	container := ""
	for line := range strings.Lines(string(out)) {
		if id, run, _ := strings.Cut(line, " "); strings.HasPrefix(run, b.id) {
			container = id
		}
	}
	ask := exec.Command("docker", "exec", "-i", container, "/soak", "relay", "9644")
	stdin, err := ask.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := ask.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ask.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = ask.Wait() }()
	r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1/fault-shim", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(stdin); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(stdout), r)
	if err != nil {
		t.Fatalf("asking n1 of %s: %v", b.id, err)
	}
	defer a.Body.Close()
	var faults json.RawMessage
	if err := json.NewDecoder(a.Body).Decode(&faults); err != nil {
		t.Fatal(err)
	}
	return string(faults)
}
