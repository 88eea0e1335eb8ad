package soaktest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"soak/broker/bugs"
	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/owner"
	"soak/chaos/process"
	"soak/chaos/runloop"
	"soak/chaos/runner"
	"soak/chaos/scenario"
	"soak/history"
	"soak/internal/version"
	"soak/results"
	"soak/workloads"
)

// run is one run under way: what Start and Run have in common.
type run struct {
	t    testing.TB
	o    Options
	plan *scenario.Scenario

	desc     *history.Run // the runner's until ended
	folder   *results.Folder
	keep     bool // the folder stays whatever comes of the test
	recorder *history.Recorder
	loop     *runloop.Loop
	inputs   chan runloop.Input
	stop     context.CancelFunc
	ended    chan struct{} // closed when nothing of it runs any more; then:
	err      error         // what the harness could not do

	mu      sync.Mutex
	addrs   []string // of the nodes, once they have started
	status  runloop.Status
	changed chan struct{} // closed and replaced when something below or above has changed
	asked   int           // faults
	faults  map[int]*Fault

	result *Result // of the test's goroutine
}

// begin starts a run, and has it ended and its folder removed with the test. Errors end the test.
func begin(t testing.TB, o Options, plan *scenario.Scenario, steered bool) *run {
	t.Helper()
	r := &run{t: t, o: o, plan: plan, inputs: make(chan runloop.Input), ended: make(chan struct{}), changed: make(chan struct{}), faults: map[int]*Fault{}}
	if err := r.prepare(steered); err != nil {
		t.Fatalf("soaktest: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	t.Cleanup(r.cleanup)
	go func() {
		defer close(r.ended)
		r.err = r.drive(ctx)
	}()
	return r
}

// prepare makes the run's description, its folder and its loop.
func (r *run) prepare(steered bool) (err error) {
	r.cleanLeftovers()
	id, info := results.NewID(), version.Get()
	raw, _ := hex.DecodeString(id) // NewID gives 16 hexadecimal digits
	seed := r.o.seed()
	r.plan = r.plan.Drawn(seed)
	p := r.plan
	r.desc = &history.Run{
		Format: history.FormatVersion, ID: id, Version: info.Version, Commit: info.Commit, Command: os.Args,
		Scenario: p.Name, ScenarioYAML: string(p.YAML()), Driver: r.o.driver(), DriverWhy: "as the test asks", Seed: seed,
		Nodes: p.Nodes, ElectionInterval: int64(p.ElectionInterval), SessionTimeout: int64(p.SessionTimeout),
		Bugs: r.o.Bugs, Needs: bugs.Needs(r.o.Bugs), Machine: history.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()},
		Minimums: p.Minimums, Contract: p.Contract(), RunHash: binary.BigEndian.Uint64(raw),
	}
	if r.loop, err = runloop.New(runloop.Config{Scenario: p, Seed: seed, RunHash: r.desc.RunHash, Start: time.Now().UnixNano(), Steered: steered}); err != nil {
		return err
	}
	parent, err := r.parent()
	if err != nil {
		return err
	}
	if r.folder, err = results.Create(parent, p.Name, r.desc); err != nil {
		return err
	}
	r.recorder, err = history.NewRecorder(r.folder.Path())
	return err
}

// parent is where the run's folder goes.
func (r *run) parent() (dir string, err error) {
	artifacts := flag.Lookup("test.artifacts")
	switch {
	case r.o.Dir != "":
		dir, r.keep = r.o.Dir, true
	case os.Getenv("SOAKTEST_DIR") != "":
		dir, r.keep = os.Getenv("SOAKTEST_DIR"), true
	case artifacts != nil && artifacts.Value.String() == "true":
		dir, r.keep = r.t.ArtifactDir(), true
	default:
		if dir, err = os.MkdirTemp("", "soaktest-"); err != nil {
			return "", fmt.Errorf("making a place for the run's folder: %w", err)
		}
	}
	return filepath.Abs(dir)
}

// leftoversWithin bounds the removal of what killed tests have left.
const leftoversWithin = 10 * time.Second

func (r *run) cleanLeftovers() {
	ctx, cancel := context.WithTimeout(context.Background(), leftoversWithin)
	defer cancel()
	clean := process.Clean
	if r.o.driver() == "docker" {
		clean = docker.Clean
	}
	if _, err := clean(ctx, func(string, ...any) {}); err != nil {
		r.t.Logf("soaktest: removing leftovers of earlier runs: %v", err)
	}
}

// drive carries the run out. An error is the harness's.
func (r *run) drive(ctx context.Context) error {
	lock, err := owner.Acquire(r.desc.ID)
	if err != nil {
		return errors.Join(fmt.Errorf("marking this process as the owner of what it starts: %w", err), r.recorder.Close())
	}
	err = runner.Run(ctx, runner.Options{
		Loop: told{r.loop, r.told}, Inputs: r.inputs, Recorder: r.recorder, Run: r.desc, Dir: r.folder.Path(), Readers: r.plan.Workloads.Consume.Readers,
		Save: func() {
			if err := history.WriteRun(r.folder.Path(), r.desc); err != nil {
				r.t.Logf("soaktest: %v", err) // at the end it is tried again, and that counts
			}
		},
		NewCluster: func(sink chaos.Sink) (chaos.Cluster, error) {
			return r.o.cluster(chaos.Config{
				RunID: r.desc.ID, Nodes: r.plan.Nodes, Dir: r.folder.Path(), Work: filepath.Join(os.TempDir(), "soak-"+r.desc.ID[:8]),
				ElectionInterval: r.plan.ElectionInterval, SessionTimeout: r.plan.SessionTimeout, Flush: r.plan.Flush, RetentionCheck: r.plan.RetentionCheck, Bugs: r.o.Bugs,
				Seed: r.desc.Seed, DiskFaults: true, Sink: sink,
				Logf: func(format string, args ...any) { r.t.Logf("soaktest: "+format, args...) },
			})
		},
		NewClients: func(addr func(int32) string) (runner.Clients, error) { return r.clients(addr) },
		Observe: func(record any) {
			if f, is := record.(*history.Fault); is {
				r.faultIsOver(f)
			}
		},
		Status: func(s runloop.Status) { r.update(func() { r.status = s }) },
	})
	if ctx.Err() != nil {
		r.desc.Interrupted = "the test's end"
	}
	err = errors.Join(err, r.recorder.Close(), r.folder.WriteSchedule(r.loop.Executed().YAML()))
	if err != nil {
		r.desc.HarnessError = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return errors.Join(err, history.WriteRun(r.folder.Path(), r.desc), lock.Release())
}

func (r *run) clients(addr func(int32) string) (runner.Clients, error) {
	of := map[int32]string{}
	var list []string
	for n := int32(1); int(n) <= r.plan.Nodes; n++ {
		of[n] = addr(n)
		list = append(list, addr(n))
	}
	r.update(func() { r.addrs = list })
	return workloads.New(workloads.Config{Addrs: of, Seed: r.desc.Seed, RunHash: r.desc.RunHash, ValueBytes: r.plan.Workloads.Produce.ValueBytes, Batch: r.plan.Workloads.Produce.Batch})
}

// told is a loop that tells what it was told, when it has taken that in.
type told struct {
	*runloop.Loop
	after func(runloop.Input)
}

func (l told) Step(now int64, in runloop.Input) {
	l.Loop.Step(now, in)
	l.after(in)
}

// told looks for what a test waits for: it runs between the steps of the loop.
func (r *run) told(in runloop.Input) {
	injected, is := in.(runloop.FaultInjected)
	if !is {
		return
	}
	for _, f := range r.loop.Status().Active {
		if f.ID == injected.ID && f.Proven() {
			r.update(func() { r.fault(f.ID).now = f })
		}
	}
}

// update changes what others wait for.
func (r *run) update(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns when is holds, or false when the run has ended without that.
func (r *run) wait(is func() bool) bool {
	for {
		r.mu.Lock()
		ok, changed := is(), r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-r.ended:
			r.mu.Lock()
			defer r.mu.Unlock()
			return is()
		}
	}
}

// tell gives the loop an input, unless the run has ended.
func (r *run) tell(in runloop.Input) {
	select {
	case r.inputs <- in:
	case <-r.ended:
	}
}

// why is what ended a run that should have gone on. It is asked after the end.
func (r *run) why() string {
	switch {
	case r.loop.Problem() != "":
		return r.loop.Problem()
	case r.err != nil:
		return r.err.Error()
	}
	return "it went all its way"
}

// cleanup is the test's end.
func (r *run) cleanup() {
	r.stop()
	<-r.ended
	if r.result == nil { // nobody looked: what was broken is told all the same
		if res, err := r.judge(); err != nil {
			r.t.Errorf("soaktest: %v", err)
		} else {
			res.tellViolations()
		}
	}
	if r.keep || r.t.Failed() {
		return
	}
	dir := r.folder.Path()
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil { // made for this run alone
		r.t.Logf("soaktest: removing the run's folder: %v", err)
	}
}
