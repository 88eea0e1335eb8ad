package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"soak/history"
)

// schedule is a scenario of brief faults, one every so many milliseconds.
func schedule(t *testing.T, every int, faults ...string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: faults\nelection_interval: 500ms\nsession_timeout: 1s\nintervals: %d\nsteady: 1\ntopics: [{name: orders, partitions: 4}]\n"+
		"workloads: {produce: {rate: 200}, metadata: {rate: 6}, autocreate: {per_minute: 30}}\nfaults:\n", 10+3*len(faults)) // time for a slow engine: a run may take twice its intervals
	for i, f := range faults {
		fmt.Fprintf(&b, "  - {%s, at: %dms}\n", f, 1000+i*every)
	}
	file := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// faultsOf reads the record of a run's faults.
func faultsOf(t *testing.T, dir string) (faults []history.Fault) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "[0-9]*", "faults.jsonl")) // and not that of the link "latest"
	if err != nil || len(found) != 1 {
		t.Fatalf("records of faults: %v, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var f history.Fault
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	return faults
}

// Each kind that a real driver can do is seen before, during and after, and the clean broker holds through all of them.
func TestEveryKindOnRealDrivers(t *testing.T) {
	const brief = ", for: 700ms, brief: true"
	kinds := []string{
		"kind: stop, target: follower", "kind: rolling-restart, every: 200ms", "kind: crash-loop, target: follower, every: 300ms", "kind: pause, target: follower",
		"kind: partition-one-way, target: follower, way: in", "kind: partition-one-way, target: raft-leader, way: out, clients: true",
		"kind: bridge, target: n1+n2", "kind: all-apart", "kind: partition-clients, target: raft-leader",
		"kind: flapping-partition, target: follower, every: 200ms, clients: true", "kind: connection-reset, target: all, every: 200ms",
		"kind: link-delay, target: raft-leader, by: 30ms, jitter: 10ms, clients: true", "kind: bandwidth, target: follower, bytes_per_second: 10000",
	}
	own := map[string][]string{
		"docker": {"kind: packet-loss, target: raft-leader, ppm: 100000, clients: true"},
	}
	eachDriver(t, func(t *testing.T, driver string) {
		all := append(append([]string(nil), kinds...), own[driver]...)
		for i := range all {
			all[i] += brief
		}
		r := soakUnlessStalled(t, "run", schedule(t, 1500, all...), "--driver", driver, "--seed", "1")
		if r.exit != 0 {
			r.fail(t, "the clean broker does not hold")
		}
		faults := faultsOf(t, r.dir)
		if len(faults) != len(all) {
			t.Errorf("%d faults recorded of %d", len(faults), len(all))
		}
		for _, f := range faults {
			phases := map[string]bool{}
			for _, e := range f.Evidence {
				phases[e.Phase] = true
			}
			if !f.Proven() || f.Healed == 0 || f.Error != "" || len(phases) != 3 {
				t.Errorf("%s: %+v", f.Words(), f)
			}
		}
	})
}

// A node that is killed while its links are slow comes back to slow links: on docker in another network namespace.
func TestLinksStaySlowOverARestart(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		// The kill comes when the delay has long been there, and the node is back long before it ends.
		r := soakUnlessStalled(t, "run", schedule(t, 8000, "kind: link-delay, target: n1, by: 30ms, for: 22s, brief: true",
			"kind: kill, target: n1, for: 500ms, brief: true, overlap: true"), "--driver", driver, "--seed", "1")
		if r.exit != 0 {
			r.fail(t, "the clean broker does not hold")
		}
		var slow, killed history.Fault
		for _, f := range faultsOf(t, r.dir) {
			if f.Kind == "kill" {
				killed = f
			} else {
				slow = f
			}
		}
		if killed.Asked < slow.Effective {
			t.Fatalf("the kill came before the delay was seen: it proves nothing\n%+v\n%+v", slow, killed)
		}
		if !slow.Proven() || slow.Lapsed != 0 || slow.Error != "" || !killed.Proven() || killed.Healed == 0 {
			t.Fatalf("%+v\n%+v", slow, killed)
		}
		for _, e := range slow.Evidence {
			if e.Phase == "during" && e.Time > killed.Healed && strings.Contains(e.What, "→n1: ") {
				return
			}
		}
		t.Errorf("no evidence after the restart: %+v", slow.Evidence)
	})
}

// A kind that a driver cannot do is refused before anything starts, by name.
func TestAKindThatTheDriverCannotDoIsRefused(t *testing.T) {
	for driver, fault := range map[string]string{
		"process": "kind: packet-loss, target: n1, ppm: 10000", "docker": "kind: clock-rate, target: n1, ppm: 10000", "sim": "kind: bandwidth, target: n1, bytes_per_second: 10000",
	} {
		if driver == "docker" {
			needDocker(t)
		}
		kind := strings.TrimPrefix(strings.Split(fault, ",")[0], "kind: ")
		r := soak(t, "run", schedule(t, 0, fault), "--driver", driver)
		if r.exit != 2 || !strings.Contains(r.stderr, kind) {
			t.Errorf("%s: exit %d, want 2 and the kind named:\n%s", driver, r.exit, r.stderr)
		}
	}
}

// What a fault does is taken away behind the runner's back: the run proves nothing.
func TestAFaultThatIsTakenAwayMakesTheRunInconclusive(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		fault, takeAway := "kind: pause, target: n2, for: 4s, brief: true", resumePaused
		if driver == "docker" {
			fault, takeAway = "kind: partition, target: n2, for: 20s, brief: true", flushRules(t) // a container has to start meanwhile
		}
		b := startRun(t, append(os.Environ(), "XDG_STATE_HOME="+t.TempDir()), schedule(t, 0, fault), "--driver", driver, "--seed", "1")
		b.waitFor(t, "fault")
		eventually(t, 20*time.Second, "the fault to be there to be taken away", func() bool { return takeAway(t, b.id) })
		var said []string
		for line := range b.lines {
			said = append(said, line)
		}
		_ = b.cmd.Wait()
		if code := b.cmd.ProcessState.ExitCode(); code != 3 {
			t.Errorf("exit %d, want 3:\n%s", code, strings.Join(said, "\n"))
		}
		f := faultsOf(t, b.out)
		if len(f) != 1 || f[0].Lapsed == 0 || !strings.Contains(f[0].Error, "it did not last") {
			t.Errorf("%+v", f)
		}
	})
}

// resumePaused lets a stopped node of a run go on.
func resumePaused(t *testing.T, id string) bool {
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(procs) == 0 {
		t.Skip("needs /proc to look for processes in")
	}
	for _, p := range procs {
		stat, _ := os.ReadFile(p) // one that is gone is none
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		_, state, found := bytes.Cut(stat, []byte(") "))
		if found && len(state) > 0 && state[0] == 'T' && bytes.Contains(line, []byte(id)) {
			return exec.Command("kill", "-CONT", filepath.Base(filepath.Dir(p))).Run() == nil
		}
	}
	return false
}

// flushRules builds what empties the tables in the namespace of a run's second node, from a container of its own, once its sidecar drops packets.
func flushRules(t *testing.T) func(t *testing.T, id string) bool {
	t.Helper()
	enemy := filepath.Join(t.TempDir(), "flush")
	build := exec.Command("go", "build", "-o", enemy, "./flush")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building flush: %v\n%s", err, out)
	}
	return func(t *testing.T, id string) bool {
		ids, err := exec.Command("docker", "ps", "-q", "--filter", "label=soak.node=2", "--filter", "label=soak.part=sidecar").Output()
		if err != nil {
			t.Fatal(err)
		}
		for sidecar := range strings.FieldsSeq(string(ids)) {
			of, err := exec.Command("docker", "inspect", "-f", `{{index .Config.Labels "soak.run"}} {{.HostConfig.NetworkMode}} {{.Config.Image}}`, sidecar).Output()
			f := strings.Fields(string(of))
			if err != nil || len(f) != 3 || !strings.Contains(f[0], id) {
				continue
			}
			// It has said "dropping" once the runner has seen packets pass.
			logs, err := exec.Command("docker", "logs", "--tail", "1", sidecar).Output()
			if err != nil || !bytes.Contains(logs, []byte(`"dropping"`)) {
				return false
			}
			out, err := exec.Command("docker", "run", "--rm", "--network", f[1], "--user", "0:0", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN",
				"-v", enemy+":/flush:ro", "--entrypoint", "/flush", f[2]).CombinedOutput()
			if err != nil {
				t.Fatalf("emptying the tables: %v\n%s", err, out)
			}
			return true
		}
		return false
	}
}

// The runner is killed in the middle of faults of every kind that something must end for it: within five seconds nothing is held, stopped or
// frozen any more. `make kills` does it fifty times, in each kind by itself.
func TestFaultsEndWithTheirRunner(t *testing.T) {
	const long = ", for: 60s, brief: true, overlap: true"
	eachDriver(t, func(t *testing.T, driver string) {
		groups := [][]string{
			{"kind: pause, target: n1", "kind: link-delay, target: n2, by: 30ms", "kind: bandwidth, target: n3, bytes_per_second: 5000", "kind: connection-reset, target: n3, every: 200ms"},
			{"kind: crash-loop, target: n1, every: 300ms", "kind: flapping-partition, target: n2, every: 200ms", "kind: partition-clients, target: n3"},
		}
		if driver == "docker" {
			// The other nodes are frozen and cut off: of the third, packets of clients are what is seen to wait.
			groups = [][]string{{"kind: pause, target: n1", "kind: partition-one-way, target: n2, way: in, clients: true", "kind: link-delay, target: n3, by: 30ms, clients: true"}}
		}
		for _, g := range groups {
			for i := range g {
				g[i] += long
			}
			env := append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
			b := startRun(t, env, schedule(t, 100, g...), "--driver", driver, "--seed", "1")
			eventually(t, time.Minute, "its faults to be in effect", func() bool { return int(b.inEffect.Load()) == len(g) })
			if !held(t, driver, b.id) {
				t.Fatalf("nothing holds the cluster up, with %d faults in effect", len(g))
			}
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = b.cmd.Wait()
			eventually(t, 5*time.Second, "all that it held to be let go", func() bool { return !held(t, driver, b.id) })
			clean(t, env)
			if leftover(t, driver, b) {
				t.Errorf("soak clean left something of the run in %q", g)
			}
		}
	})
}

// held reports whether anything of a run holds the cluster up: processes of its nodes, which hold all that there is on that driver; or
// containers that are frozen, and sidecars.
func held(t *testing.T, driver, id string) bool {
	if driver == "process" {
		procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil || len(procs) == 0 {
			t.Skip("needs /proc to look for processes in")
		}
		for _, p := range procs {
			line, err := os.ReadFile(p)
			if err == nil && bytes.Contains(line, []byte("\x00broker\x00")) && bytes.Contains(line, []byte(id)) {
				return true
			}
		}
		return false
	}
	out, err := exec.Command("docker", "ps", "--filter", "label=soak.run", "--format", `{{.Label "soak.run"}} {{.Label "soak.part"}} {{.Status}}`).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, id) && (strings.Contains(line, "(Paused)") || strings.Contains(line, " sidecar ")) {
			return true
		}
	}
	return false
}
