// Command kills is the dead-man's test of `make kills`: the runner is killed with SIGKILL in the middle of each kind of fault, N times over the
// kinds of each driver. Within five seconds links must be open and processes resumed or gone, and `soak clean` must leave nothing. It prints
// a Markdown table, and exits 1 if anything was left. It takes about ten seconds a kill on processes, and twenty on containers.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// limit is what a dead runner's faults have to end.
const limit = 5 * time.Second

// faults of each driver: a kind with its parameters, on targets that leave the cluster a majority or none.
var faults = map[string][]string{
	"process": {
		"kind: kill, target: n2", "kind: stop, target: n2", "kind: restart-all", "kind: rolling-restart, every: 10s", "kind: crash-loop, target: n2, every: 500ms",
		"kind: pause, target: n2", "kind: partition, target: n2", "kind: partition, target: n2, clients: true", "kind: partition-one-way, target: n2, way: in",
		"kind: partition-one-way, target: n2, way: out, clients: true", "kind: bridge, target: n1+n2", "kind: all-apart", "kind: partition-clients, target: n2",
		"kind: flapping-partition, target: n2, every: 300ms", "kind: connection-reset, target: all, every: 200ms",
		"kind: link-delay, target: n2, by: 50ms, clients: true", "kind: bandwidth, target: n2, bytes_per_second: 5000",
		"kind: slow-disk, target: n2, factor: 20", "kind: read-error, target: n2", "kind: disk-full, target: n2", "kind: power-loss, target: n2",
	},
	"docker": {
		"kind: kill, target: n2", "kind: stop, target: n2", "kind: restart-all", "kind: rolling-restart, every: 10s", "kind: crash-loop, target: n2, every: 500ms",
		"kind: pause, target: n2", "kind: partition, target: n2", "kind: partition, target: n2, clients: true", "kind: partition-one-way, target: n2, way: in",
		"kind: partition-one-way, target: n2, way: out, clients: true", "kind: bridge, target: n1+n2", "kind: all-apart", "kind: partition-clients, target: n2",
		"kind: flapping-partition, target: n2, every: 300ms", "kind: connection-reset, target: all, every: 200ms",
		"kind: link-delay, target: n2, by: 50ms, clients: true", "kind: bandwidth, target: n2, bytes_per_second: 5000",
		"kind: packet-loss, target: n2, ppm: 200000, clients: true",
		"kind: slow-disk, target: n2, factor: 20", "kind: read-error, target: n2", "kind: disk-full, target: n2", "kind: power-loss, target: n2",
	},
}

const scenario = `name: killed
election_interval: 500ms
session_timeout: 1s
intervals: 200
steady: 0
topics: [{name: orders, partitions: 3}]
workloads: {produce: {rate: 100}, metadata: {rate: 4}}
faults:
  - {%s, at: 500ms, for: 60s, brief: true}
`

func main() {
	soak := flag.String("soak", "bin/soak", "the soak binary (make build)")
	n := flag.Int("n", 50, "kills in all, shared among the drivers")
	drivers := flag.String("drivers", "process,docker", "drivers, with commas")
	only := flag.String("only", "", "only faults that contain this")
	flag.Parse()
	program, err := filepath.Abs(*soak)
	if err != nil {
		fail(err)
	}
	names := strings.Split(*drivers, ",")
	fmt.Printf("Machine: %s/%s, %d CPUs, %s.\n\n| driver | fault | kills | in effect at the kill | ended after, at worst | unhealed | leftovers |\n|---|---|---|---|---|---|---|\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	short := false
	for i, driver := range names {
		share := *n*(i+1)/len(names) - *n*i/len(names)
		list := faults[driver]
		if *only != "" {
			list = nil
			for _, f := range faults[driver] {
				if strings.Contains(f, *only) {
					list = append(list, f)
				}
			}
		}
		for k, f := range list {
			times := share*(k+1)/len(list) - share*k/len(list)
			r := row{}
			for range times {
				r.add(once(program, driver, f))
			}
			if times > 0 {
				fmt.Printf("| %s | `%s` | %d | %d | %.1f s | %d | %d |\n", driver, f, times, r.proven, r.worst.Seconds(), r.unhealed, r.left)
			}
			short = short || r.unhealed+r.left > 0 || r.proven < times
		}
	}
	if short {
		os.Exit(1)
	}
}

// row adds up what came of kills.
type row struct {
	proven, unhealed, left int
	worst                  time.Duration
}

func (r *row) add(proven bool, took time.Duration, left []string, err error) {
	r.worst = max(r.worst, took)
	if proven {
		r.proven++
	}
	if took > limit {
		r.unhealed++
	}
	r.left += len(left)
	for _, l := range left {
		fmt.Fprintln(os.Stderr, "left:", l)
	}
	if err != nil {
		r.unhealed++
		fmt.Fprintln(os.Stderr, "error:", err)
	}
}

// once starts a run, kills it in the fault, and looks at what that leaves: now, and after soak clean.
func once(soak, driver, fault string) (proven bool, took time.Duration, left []string, err error) {
	dir, err := os.MkdirTemp("", "kills")
	if err != nil {
		return false, 0, nil, err
	}
	defer os.RemoveAll(dir)
	work := filepath.Join(dir, "tmp")
	file := filepath.Join(dir, "killed.yaml")
	err = errors.Join(os.Mkdir(work, 0o755), os.WriteFile(file, fmt.Appendf(nil, scenario, fault), 0o644))
	if err != nil {
		return false, 0, nil, err
	}
	// State and folders of its own: only this run is looked at, and cleaned.
	env := append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "TMPDIR="+work)
	run := exec.Command(soak, "run", file, "--driver", driver, "--seed", "1", "--out", filepath.Join(dir, "out"), "--json")
	run.Env = env
	out, err := run.StdoutPipe()
	if err != nil {
		return false, 0, nil, err
	}
	if err := run.Start(); err != nil {
		return false, 0, nil, err
	}
	proven = untilProven(bufio.NewScanner(out))
	id, err := runID(filepath.Join(dir, "out"))
	var before string
	if err == nil {
		before, err = unhealed(driver, id, fault)
	}
	killErr := run.Process.Kill()
	run.Wait()
	began := time.Now()
	if err = errors.Join(err, killErr); err != nil {
		return proven, 0, nil, err
	}
	if before == "" && shows(driver, fault) {
		return proven, 0, nil, fmt.Errorf("%s, %s: nothing of it was seen before the kill: what is not seen afterwards proves nothing", driver, fault)
	}
	for {
		what, err := unhealed(driver, id, fault)
		took = time.Since(began)
		if err != nil {
			return proven, took, nil, err
		}
		if what == "" {
			break
		}
		if took > limit {
			fmt.Fprintf(os.Stderr, "%s, %s: after %s still %s\n", driver, fault, took, what)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	clean := exec.Command(soak, "clean")
	clean.Env = env
	if said, err := clean.CombinedOutput(); err != nil {
		return proven, took, nil, fmt.Errorf("soak clean: %w: %s", err, said)
	}
	left, err = leftovers(driver, id, work)
	return proven, took, left, err
}

// untilProven reads the run's progress until its fault is in effect.
func untilProven(lines *bufio.Scanner) bool {
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			Type   string `json:"type"`
			Proven int    `json:"faults_proven"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Type == "status" && line.Proven > 0 {
			return true
		}
	}
	return false
}

// runID finds the id of the run whose folder is there.
func runID(out string) (string, error) {
	found, err := filepath.Glob(filepath.Join(out, "*", "run.json"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no run folder in %s: %v", out, err)
	}
	name := filepath.Base(filepath.Dir(found[0]))
	return name[strings.LastIndexByte(name, '-')+1:], nil
}

// shows reports whether unhealed sees the fault while it lasts: on processes any node that runs, on containers what is frozen, has rules or a
// broken disk.
func shows(driver, fault string) bool {
	if driver == "process" {
		return !strings.Contains(fault, "restart-all")
	}
	for _, kind := range []string{"kill", "stop", "restart", "crash-loop", "disk-full", "power-loss"} {
		if strings.Contains(fault, kind) {
			return false
		}
	}
	return true
}

// unhealed says what of a dead run's fault is still there, "" if nothing is.
func unhealed(driver, id, fault string) (string, error) {
	if driver == "process" {
		return processes(id), nil
	}
	disks := strings.Contains(fault, "slow-disk") || strings.Contains(fault, "read-error")
	listed, err := docker("ps", "-a", "--filter", "label=soak.run", "--format", `{{.Label "soak.run"}} {{.Label "soak.part"}} {{.Names}} {{.Status}}`)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(listed) {
		f := strings.Fields(line)
		switch {
		case len(f) < 4 || !strings.Contains(f[0], id):
		case strings.Contains(line, "(Paused)"):
			return "frozen: " + f[2], nil
		case f[1] == "sidecar" && !strings.HasPrefix(f[3], "Exited"):
			return "its rules are set: " + f[2], nil
		case f[1] == "sidecar" && !strings.Contains(line, "Exited (0)"):
			return "its rules were not seen to go: " + f[2], nil
		case disks && f[1] == "node":
			if faults, err := diskFaults(f[2]); err != nil || faults != "[]" {
				return "its disk is broken: " + f[2] + ": " + faults, err
			}
		}
	}
	return "", nil
}

// diskFaults asks a node, inside of its container, what is wrong with its disk.
func diskFaults(container string) (string, error) {
	ask := exec.Command("docker", "exec", "-i", container, "/soak", "relay", "9644")
	in, err := ask.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := ask.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := ask.Start(); err != nil {
		return "", err
	}
	defer func() { in.Close(); ask.Wait() }()
	r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1/fault-shim", nil)
	if err != nil {
		return "", err
	}
	if err := r.Write(in); err != nil {
		return "", fmt.Errorf("asking %s: %w", container, err)
	}
	a, err := http.ReadResponse(bufio.NewReader(out), r)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", container, err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, 64<<10))
	return string(b), err
}

// processes names a node's process of a run, "" if there is none.
func processes(id string) string {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(found) == 0 {
		fail(errors.New("no /proc to look for processes in"))
	}
	for _, p := range found {
		line, err := os.ReadFile(p)
		if err == nil && bytes.Contains(line, []byte("\x00broker\x00")) && bytes.Contains(line, []byte(id)) {
			return "running: process " + filepath.Base(filepath.Dir(p))
		}
	}
	return ""
}

// leftovers lists what of a run is there after soak clean.
func leftovers(driver, id, work string) (left []string, err error) {
	if p := processes(id); p != "" {
		left = append(left, p)
	}
	entries, err := os.ReadDir(work)
	if err != nil {
		return left, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "soak") {
			left = append(left, "folder "+e.Name())
		}
	}
	if driver != "docker" {
		return left, nil
	}
	for _, what := range [][]string{
		{"ps", "-a", "--filter", "label=soak.run", "--format", `{{.Label "soak.run"}} container {{.Names}}`},
		{"network", "ls", "--filter", "label=soak.run", "--format", `{{.Label "soak.run"}} network {{.Name}}`},
	} {
		listed, err := docker(what...)
		if err != nil {
			return left, err
		}
		for line := range strings.Lines(listed) {
			if strings.Contains(line, id) {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	return left, nil
}

func docker(args ...string) (string, error) {
	out, err := exec.Command("docker", args...).Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w", args[0], err)
	}
	return string(out), nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}
