package cli

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"soak/broker/bugs"
	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/owner"
	"soak/chaos/runloop"
	"soak/chaos/runner"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/cmd/soak/internal/metrics"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
	"soak/internal/version"
	"soak/results"
	"soak/workloads"
)

// task is what one `soak run` does, once or several times.
type task struct {
	env    *env
	flags  *runFlags
	asked  *scenario.Scenario // resolved
	plan   *scenario.Scenario // asked, with its mix drawn from the run's seed
	driver string
	why    string
	stop   *stopper

	metrics *metrics.Server // nil where nobody asked for it
}

// packed reports whether the run's records are compressed, and its logs without what these hold.
func (t *task) packed() bool {
	return t.flags.records == recordsPacked || t.flags.records == recordsAuto && t.plan.Expected() >= packedFrom
}

// once does the run and judges it. An error means that there is nothing to judge: the run never began, or its folder
// could not be written.
func (t *task) once(nth int) (*outcome, error) {
	run := t.describe(nth)
	t.say("%s", firstLine(t.plan, t.driver, t.why, run.Seed, t.flags.bugs))
	if some, least := t.plan.ExpectedIntervals(), t.plan.Minimums.Intervals; some < least && !t.flags.quiet {
		t.env.note("a run that holds needs %d election intervals, and this one has some %d: it is likely to end inconclusive", least, some)
	}
	lock, err := owner.Acquire(run.ID)
	if err != nil {
		return nil, harness("marking this run as the owner of what it starts", err, "the state directory must be writable: $XDG_STATE_HOME/soak, or ~/.local/state/soak")
	}
	defer lock.Release()
	t.cleanLeftovers()

	f, err := results.Create(t.flags.out, t.plan.Name, run)
	if err != nil {
		return nil, err
	}
	if err := t.record(f, run); err != nil {
		return nil, err
	}
	return t.judge(f, run)
}

// describe fills in what is known of a run before it begins.
func (t *task) describe(nth int) *history.Run {
	seed := t.flags.seed
	if !t.flags.seedSet {
		seed = newSeed()
	}
	t.plan = t.asked.Drawn(seed)
	info := version.Get()
	id := results.NewID()
	raw, _ := hex.DecodeString(id) // NewID gives 16 hexadecimal digits
	run := &history.Run{
		Format: history.PlainFormat, ID: id, Version: info.Version, Commit: info.Commit, Command: t.env.args,
		Scenario: t.plan.Name, ScenarioYAML: string(t.plan.YAML()), Driver: t.driver, DriverWhy: t.why, Seed: seed,
		Nodes: t.plan.Nodes, ElectionInterval: int64(t.plan.ElectionInterval), SessionTimeout: int64(t.plan.SessionTimeout),
		Bugs: t.flags.bugs, Needs: bugs.Needs(t.flags.bugs), Machine: machine(), Minimums: t.plan.Minimums, Contract: t.plan.Contract(),
		RunHash: binary.BigEndian.Uint64(raw),
	}
	if t.packed() {
		run.Format = history.FormatVersion
	}
	if t.driver == "sim" {
		run.RunHash = run.Seed // one seed is one run, to the bytes of its records
		run.Contract.LossPPM = t.plan.Sim.DropPPM
	} else if t.plan.Sim != (scenario.Sim{}) {
		run.Notes = append(run.Notes, "the scenario's sim section was not used: it says what a simulated machine is like, and this run had a real one")
	}
	if t.flags.repeat > 1 {
		run.Notes = append(run.Notes, fmt.Sprintf("run %d of %d of one command", nth, t.flags.repeat))
	}
	return run
}

// record runs the cluster and writes what it sees. A run that never began leaves no folder behind.
func (t *task) record(f *results.Folder, run *history.Run) error {
	dir, err := filepath.Abs(f.Path())
	if err != nil {
		return harness("finding the run folder", err, "")
	}
	open := history.NewRecorder
	if t.packed() {
		open = history.NewPackedRecorder
	}
	rec, err := open(dir)
	if err != nil {
		return errors.Join(harness("opening the run's records", err, ""), f.Discard())
	}
	loop, err := runloop.New(runloop.Config{Scenario: t.plan, Seed: run.Seed, RunHash: run.RunHash, Start: time.Now().UnixNano()})
	if err != nil {
		return errors.Join(usage(err.Error(), "change the scenario"), rec.Close(), f.Discard())
	}
	end := newEnding()
	w := t.watch(run, end)
	t.stop.counting(w.Found)
	t.metrics.Begin(run, w.Found)
	if t.driver == "sim" {
		defer collectLess(t.env.getenv, simGC)()
		if err := t.simulate(f, run, rec, w, end); err != nil {
			run.HarnessError = oneLine(err)
			t.env.fail(harness("the run did not go as planned", err, harnessHint(f)))
		}
		return nil
	}
	cfg := chaos.Config{
		RunID: run.ID, Nodes: t.plan.Nodes, Dir: dir, Work: filepath.Join(os.TempDir(), "soak-"+run.ID[:8]), Image: t.flags.image,
		ElectionInterval: t.plan.ElectionInterval, SessionTimeout: t.plan.SessionTimeout, Flush: t.plan.Flush, RetentionCheck: t.plan.RetentionCheck, Bugs: t.flags.bugs, Seed: run.Seed, Logf: w.Say,
		ShortLogs: t.packed(), DiskFaults: len(diskKinds(t.plan)) > 0,
	}
	defer collectLess(t.env.getenv, runGC)()
	defer within(t.env.getenv, runMemory)()
	var began atomic.Bool // the cluster has started
	err = runner.Run(t.stop.ctx, runner.Options{
		Loop: loop,
		NewCluster: func(sink chaos.Sink) (chaos.Cluster, error) {
			cfg.Sink = sink
			return newCluster(t.driver, cfg)
		},
		NewClients: func(addr func(int32) string) (runner.Clients, error) {
			began.Store(true)
			return t.clients(run, addr)
		},
		Recorder: rec, Dir: dir, Readers: t.plan.Workloads.Consume.Readers, Run: run, Save: func() {
			if err := history.WriteRun(dir, run); err != nil {
				w.Say("%v", err) // the records tell how far the run got all the same
			}
		}, End: end.c,
		Observe: func(record any) { w.Observe(record); t.metrics.Observe(record) },
		Status:  func(s runloop.Status) { w.Status(s); t.metrics.Status(s) },
	})
	w.Close()
	if !began.Load() && errors.Is(err, docker.ErrForeign) {
		refused := &failure{code: exitUsage, msg: "the image cannot do the faults of the scenario", err: err, hint: "leave out the disk faults (" + strings.Join(diskKinds(t.plan), ", ") + "), or --image"}
		return errors.Join(refused, rec.Close(), f.Discard())
	}
	if !began.Load() && noImage(err, t.flags.image) {
		refused := &failure{code: exitUsage, msg: "no image for the nodes", err: err, hint: "--image must name one that the engine has; soak run --driver process needs none"}
		return errors.Join(refused, rec.Close(), f.Discard())
	}
	run.Interrupted = t.stop.reason()
	if err := errors.Join(err, rec.Close(), f.WriteSchedule(loop.Executed().YAML())); err != nil {
		run.HarnessError = oneLine(err)
		t.env.fail(harness("the run did not go as planned", err, harnessHint(f)))
	}
	return nil
}

// diskKinds are the kinds of a schedule for which nodes must be started with their fault shim.
func diskKinds(s *scenario.Scenario) []string {
	return slices.DeleteFunc(s.FaultKinds(), func(kind string) bool { return !chaos.DiskKind(kind) })
}

// noImage reports whether a cluster could not start for want of an image: the one that was named is not there, or none
// could be made.
func noImage(err error, named string) bool {
	return errors.Is(err, docker.ErrImage) || named != "" && errdefs.IsNotFound(err)
}

func harnessHint(f *results.Folder) string {
	return "the nodes' own words are in " + f.Logs() + "; soak doctor shows what this machine can do"
}

func (t *task) clients(run *history.Run, addr func(int32) string) (runner.Clients, error) {
	addrs := make(map[int32]string, run.Nodes)
	for n := int32(1); n <= int32(run.Nodes); n++ {
		addrs[n] = addr(n)
	}
	return workloads.New(workloads.Config{Addrs: addrs, Seed: run.Seed, RunHash: run.RunHash, ValueBytes: t.plan.Workloads.Produce.ValueBytes, Batch: t.plan.Workloads.Produce.Batch})
}

// watch follows the run: progress, live checkers, and their end of it with --fail-fast.
func (t *task) watch(run *history.Run, end *endRequest) *watch.Watch {
	c := watch.Config{
		Checkers: checkers.NewLive(run), Stderr: t.env.stderr, Style: show.StyleOf(t.env.stderr, t.env.getenv), Quiet: t.flags.quiet, End: end.ask, Virtual: t.driver == "sim",
	}
	if t.flags.failFast {
		c.Fatal = fatal(t.flags.bugs)
	}
	if t.flags.json {
		c.JSON = watch.NewJSON(t.env.stdout)
		_ = c.JSON.Write(map[string]any{"type": "start", "id": run.ID, "scenario": run.Scenario, "driver": run.Driver, "why": run.DriverWhy,
			"seed": run.Seed, "bugs": run.Bugs, "expected_seconds": t.plan.Expected().Seconds()}) // a reader that has gone is told of at the verdict
	}
	return watch.New(c)
}

// judge writes down what the run was, has it judged, and prints that.
func (t *task) judge(f *results.Folder, run *history.Run) (*outcome, error) {
	defer within(t.env.getenv, judgingMemory)()
	var trouble error      // with the folder; the verdict is printed all the same
	judge := results.Judge // from what was written, as a later check does
	if err := history.WriteRun(f.Path(), run); err != nil {
		trouble = err
		judge = func(f *results.Folder) (*results.Judged, error) { return results.JudgeRun(f, run) }
	}
	j, err := judge(f)
	if j == nil {
		return nil, errors.Join(trouble, err)
	}
	trouble = errors.Join(trouble, err)
	code := exitOf(run, j.Report)
	if t.stop.asked() && code != exitViolated {
		code = t.stop.code()
	}
	if trouble != nil {
		code = stronger(code, t.env.fail(harness("writing the verdict", trouble, "free some space, then soak check "+f.Path())))
	}
	if j.Beside != nil {
		t.env.note("%v", j.Beside)
	}
	if len(run.Bugs) > 0 && j.Report.Outcome == checkers.Holds {
		t.env.note("the planted bug was reached, and no checker saw anything of it in this run: another seed or more faults may bring it out (soak selftest shows what does)")
	}
	if err := t.env.ending(f, run, j.Report, t.flags.output, code); err != nil {
		return nil, err
	}
	return &outcome{exit: code, verdict: j.Report.Outcome, sentence: j.Report.Sentence}, nil
}

// endRequest asks the runner once to end the run.
type endRequest struct {
	c    chan string
	once sync.Once
}

func newEnding() *endRequest { return &endRequest{c: make(chan string, 1)} }

func (r *endRequest) ask(reason string) { r.once.Do(func() { r.c <- reason }) }
