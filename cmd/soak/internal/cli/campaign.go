package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"soak/broker/bugs"
	"soak/campaign"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
	"soak/internal/version"
	"soak/results"
)

// campaignFlags are what `soak campaign` was asked for.
type campaignFlags struct {
	plan    *scenario.Scenario // nil: what each seed draws
	seeds   uint64
	from    uint64
	time    time.Duration
	jobs    int
	bugs    []string
	out     string
	metrics string // where the Prometheus endpoint listens, "" for none
	output
}

func (e *env) parseCampaign(args []string) (*campaignFlags, error) {
	f := &campaignFlags{}
	fs := e.newFlags("campaign", "campaign [SCENARIO|FILE] [FLAGS]",
		"Simulate a range of seeds, judge each run, and keep the shortest of each kind of failure.\n"+
			"Without a scenario each seed draws its own. Ctrl-C ends it; the same command goes on where it was.")
	fs.Uint64Var(&f.seeds, "seeds", 0, "how many seeds (default 1000, or as many as there is time for)")
	fs.Uint64Var(&f.from, "from", 1, "the first seed")
	fs.DurationVar(&f.time, "time", 0, "end after this long")
	fs.IntVar(&f.jobs, "jobs", runtime.NumCPU(), "worker processes")
	fs.StringArrayVar(&f.bugs, "bug", nil, "switch on a historical bug in the reference broker (soak bugs lists them); may be repeated")
	fs.StringVar(&f.out, "out", filepath.Join(defaultOut, "campaign"), "the folder of the campaign: its journal, and a run folder for each kind of failure")
	fs.StringVar(&f.metrics, "metrics-addr", "", "serve how far it has come to Prometheus at HOST:PORT/metrics while it goes on (without HOST: 127.0.0.1)")
	f.output.add(fs, "one JSON object on standard output at the end")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	if err := parse(fs, args, 0, 1); err != nil {
		return nil, err
	}
	if fs.NArg() == 1 {
		plan, err := scenario.Load(fs.Arg(0))
		if err != nil {
			return nil, err
		}
		if f.plan, err = plan.Resolve(scenario.Flags{}); err != nil {
			return nil, err
		}
		if err := capable("sim", capabilities("sim"), plan.FaultKinds()); err != nil {
			return nil, err
		}
	}
	for n, given := range map[string]bool{"seeds": f.seeds > 0, "time": f.time > 0} {
		if fs.Changed(n) && !given {
			return nil, usage("--"+n+" "+fs.Lookup(n).Value.String()+": want more than nothing", "leave it out for the default")
		}
	}
	if f.jobs < 1 {
		return nil, usage(fmt.Sprintf("--jobs %d: want at least 1", f.jobs), "leave it out for one worker a core")
	}
	if f.seeds == 0 && f.time == 0 {
		f.seeds = 1000
	}
	var err error
	if fs.Changed("metrics-addr") {
		if f.metrics, err = metricsAddr(f.metrics); err != nil {
			return nil, err
		}
	}
	f.bugs, err = bugNames(f.bugs)
	return f, err
}

// bugNames checks names of bugs, and sorts them.
func bugNames(names []string) ([]string, error) {
	for _, b := range names {
		if _, err := bugs.Parse([]string{b}); err != nil {
			return nil, unknownBug(b)
		}
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// simWorkerCommand simulates what it is told on its standard input.
func simWorkerCommand(e *env, args []string) (int, error) {
	if len(args) > 0 {
		return 0, usage("soak sim-worker takes no arguments", "it is started by soak campaign, shrink and selftest")
	}
	if err := campaign.Serve(os.Stdin, e.stdout); err != nil {
		return 0, harness("simulating", err, "")
	}
	return exitHolds, nil
}

// newPool makes n worker processes of this program. A terminal's Ctrl-C is not theirs: they end when their input does.
func (e *env) newPool(n int) (*campaign.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, harness("finding this program's own file, to start workers", err, "")
	}
	return campaign.NewPool(n, func() *exec.Cmd {
		cmd := exec.Command(self, "sim-worker")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "GOGC="+strconv.Itoa(simGC), "GOMEMLIMIT=220MiB")
		cmd.Stderr = e.stderr
		ownGroup(cmd)
		return cmd
	}), nil
}

func campaignCommand(e *env, args []string) (int, error) {
	f, err := e.parseCampaign(args)
	if err != nil {
		return 0, err
	}
	pool, err := e.newPool(f.jobs)
	if err != nil {
		return 0, err
	}
	stop := newStopper(e)
	defer stop.close()
	stop.calm("ending after the runs under way; the same command goes on (once more to stop at once)")
	info := version.Get()
	o := campaign.Options{
		From: f.from, Seeds: f.seeds, Time: f.time, Dir: f.out, Workers: f.jobs, Doer: pool, Stop: stop.ctx.Done(), Now: time.Now, Kinds: campaign.Kinds(),
		Header: campaign.Header{Version: info.Version, Commit: info.Commit, Bugs: f.bugs},
	}
	if f.plan != nil {
		o.Scenario = string(f.plan.YAML())
		o.Kinds = f.plan.FaultKinds()
	}
	began := time.Now()
	endpoint, err := f.serveMetrics(e, pool, info.Version)
	if err != nil {
		return 0, err
	}
	defer endpoint.Close()
	p := &campaignProgress{e: e, f: f}
	o.Progress = func(t *campaign.Tally, done, resumed uint64, took time.Duration) {
		if endpoint != nil {
			endpoint.Progress(measured(t, done, took))
		}
		if !f.quiet && !f.json {
			p.show(t, done, resumed, took)
		}
	}
	t, err := campaign.Run(o)
	took := time.Since(began)
	if t == nil {
		return 0, campaignProblem(err)
	}
	stop.counting(func() int { return t.Failed })
	if closed := pool.Close(); err == nil && closed != nil {
		err = harness("ending the workers", closed, "")
	}
	if err != nil {
		err = harness("the campaign broke off", err, "what was done is in "+filepath.Join(f.out, campaign.JournalFile)+"; the same command goes on with the rest")
		if results.DiskFull(err) {
			err = &failure{code: exitHarness, msg: "the campaign broke off", err: err, hint: "free some space; what was done is kept, and the same command goes on with the rest"}
		}
	}
	kept := e.keepFailures(f, t, stop)
	if printed := e.campaignEnd(f, t, kept, took, stop.asked()); printed != nil {
		return 0, printed
	}
	code := exitHolds
	switch {
	case t.Failed > 0 || slices.ContainsFunc(kept, func(k keptFailure) bool { return k.differs != "" }):
		code = exitViolated
	case stop.asked():
		code = stop.code()
	}
	if err != nil {
		return stronger(code, e.fail(err)), nil
	}
	return code, nil
}

func campaignProblem(err error) error {
	if p := (*campaign.Problem)(nil); errors.As(err, &p) {
		return usage(p.Msg, p.Hint)
	}
	return harness("the campaign", err, "")
}

// campaignProgress prints a line now and then.
type campaignProgress struct {
	e    *env
	f    *campaignFlags
	last time.Duration
}

// progressEvery is how often a line of progress is printed.
const progressEvery = 5 * time.Second

func (p *campaignProgress) show(t *campaign.Tally, done, resumed uint64, took time.Duration) {
	if done == 1 && resumed > 0 {
		p.e.note("%d seeds were done already", resumed)
	}
	if took-p.last < progressEvery {
		return
	}
	p.last = took
	of := ""
	if p.f.seeds > 0 {
		of = fmt.Sprintf(" of %d", p.f.seeds)
	}
	st := show.StyleOf(p.e.stderr, p.e.getenv)
	fmt.Fprintln(p.e.stderr, st.Text(fmt.Sprintf("%s  %d%s seeds, %.1f/s, %s simulated, %d faults, %d holes, %s failed in %d kinds",
		took.Round(time.Second), t.Seeds, of, float64(done)/took.Seconds(), long(t.Virtual), t.Faults, len(t.Holes()), show.Plural(int64(t.Failed), "seed"), len(t.Groups()))))
}

// long is a duration of hours or days in words.
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return d.Round(time.Second).String()
}

// keptFailure is a group of failures with the folder of its shortest run.
type keptFailure struct {
	*campaign.Group
	folder  string
	differs string // where the run, done again, was another one
	trouble error
}

// mostKept bounds the run folders that one campaign writes.
const mostKept = 12

// keepFailures runs the shortest of each signature again, with a folder, and holds its hash against what the campaign saw.
func (e *env) keepFailures(f *campaignFlags, t *campaign.Tally, stop *stopper) []keptFailure {
	var out []keptFailure
	bySeed := map[uint64]string{}
	for i, g := range t.Groups() {
		k := keptFailure{Group: g}
		if i < mostKept && g.Checker != campaign.Simulation && !stop.asked() {
			if bySeed[g.Seed] == "" {
				bySeed[g.Seed], k.trouble = e.seedFolder(f, g.Seed)
			}
			k.folder = bySeed[g.Seed]
			k.compare()
		}
		out = append(out, k)
	}
	return out
}

func (k *keptFailure) compare() {
	if k.folder == "" || k.trouble != nil {
		return
	}
	folder, err := results.Open(filepath.Dir(k.folder), k.folder)
	if err != nil {
		k.trouble = err
		return
	}
	run, err := folder.Run()
	switch {
	case err != nil:
		k.trouble = err
	case run.SimHash != k.Hash && k.Hash != 0:
		k.differs = fmt.Sprintf("seed %d, run again, was another run: %016x, in the campaign %016x", k.Seed, run.SimHash, k.Hash)
	}
}

// seedFolder gives the folder of a seed's run: one that is there from before, or one of the run done again.
func (e *env) seedFolder(f *campaignFlags, seed uint64) (string, error) {
	plan := f.plan
	if plan == nil {
		var err error
		if plan, err = (campaign.Job{Seed: seed}).Plan(); err != nil {
			return "", err
		}
	}
	plan = plan.Drawn(seed)
	if path, err := findSeed(f, seed, plan); path != "" || err != nil {
		return path, err
	}
	said, err := e.recordSeed(f, seed, plan)
	if err != nil {
		return "", err
	}
	path, err := findSeed(f, seed, plan)
	if path == "" && err == nil {
		err = fmt.Errorf("running seed %d again left no folder: %s", seed, said)
	}
	return path, err
}

// findSeed looks for a whole run of the same seed, scenario and bugs; "" if there is none.
func findSeed(f *campaignFlags, seed uint64, plan *scenario.Scenario) (string, error) {
	entries, err := results.List(f.out)
	if err != nil {
		return "", err
	}
	for _, x := range entries {
		if x.Driver != "sim" || x.Seed != seed || !slices.Equal(x.Bugs, f.bugs) || x.Problem != "" {
			continue
		}
		if run, err := x.Folder.Run(); err == nil && run.ScenarioYAML == string(plan.YAML()) && wentItsWay(run) && run.Interrupted == "" {
			return x.Folder.Path(), nil
		}
	}
	return "", nil
}

// recordSeed does a seed's run again as `soak run` does, and gives what that said.
func (e *env) recordSeed(f *campaignFlags, seed uint64, plan *scenario.Scenario) (said string, err error) {
	file := filepath.Join(f.out, fmt.Sprintf("seed-%d.yaml", seed))
	if err := os.WriteFile(file, plan.YAML(), 0o644); err != nil {
		return "", fmt.Errorf("writing the scenario of seed %d: %w", seed, err)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's own file: %w", err)
	}
	words := []string{"run", file, "--driver", "sim", "--seed", fmt.Sprint(seed), "--out", f.out, "-q"}
	for _, b := range f.bugs {
		words = append(words, "--bug", b)
	}
	cmd := exec.Command(self, words...)
	text, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		return "", fmt.Errorf("running seed %d again: %w", seed, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// campaignEnd prints what came of it.
func (e *env) campaignEnd(f *campaignFlags, t *campaign.Tally, kept []keptFailure, took time.Duration, early bool) error {
	if f.json {
		return e.campaignJSON(t, kept, took)
	}
	head := "HOLDS"
	switch {
	case t.Failed > 0:
		head = "VIOLATED"
	case early:
		head = "ENDED EARLY, holds so far"
	}
	if err := e.print("%s  %s: %s simulated in %s, %d faults, %s failed in %d kinds, %d simulated twice\n",
		head, show.Plural(int64(t.Seeds), "seed"), long(t.Virtual), took.Round(time.Second), t.Faults, show.Plural(int64(t.Failed), "seed"), len(kept), t.Rechecked); err != nil {
		return err
	}
	if s := t.Snapshots; len(s) > 0 {
		if err := e.print("raft snapshots: %d taken, %d restored at a start, %d sent and installed\n",
			s[history.SnapshotTaken], s[history.SnapshotRestored], s[history.SnapshotInstalled]); err != nil {
			return err
		}
	}
	for _, k := range kept {
		if err := e.campaignFailure(f, k); err != nil {
			return err
		}
	}
	if len(t.Inconclusive) > 0 {
		var parts []string
		for c, n := range t.Inconclusive {
			parts = append(parts, fmt.Sprintf("%s %d", c, n))
		}
		slices.Sort(parts)
		if err := e.print("\nruns that a checker could not judge: %s\n", strings.Join(parts, ", ")); err != nil {
			return err
		}
	}
	return e.coverageTable(t)
}

func (e *env) campaignFailure(f *campaignFlags, k keptFailure) error {
	at := ""
	if k.At > 0 {
		at = fmt.Sprintf(", %s after the beginning", show.Seconds(time.Duration(k.At)))
	}
	if err := e.print("\n%s (%s)\n  %s\n  shortest: seed %d, %d faults%s\n", k.Signature(), show.Plural(int64(k.Count), "seed"), k.Sentence, k.Seed, k.Faults, at); err != nil {
		return err
	}
	words := append(e.program(), "run", filepath.Join(f.out, fmt.Sprintf("seed-%d.yaml", k.Seed)), "--driver", "sim", "--seed", fmt.Sprint(k.Seed))
	for _, b := range f.bugs {
		words = append(words, "--bug", b)
	}
	switch {
	case k.trouble != nil:
		return e.print("  not recorded: %s\n", oneLine(k.trouble))
	case k.differs != "":
		return e.print("  nondeterminism: %s\n  reproduce: %s\n", k.differs, strings.Join(words, " "))
	case k.folder != "":
		return e.print("  reproduce: %s\n  shrink: %s shrink %s\n", strings.Join(words, " "), strings.Join(e.program(), " "), k.folder)
	}
	return e.print("  reproduce: %s campaign --from %d --seeds 1 --out DIR\n", strings.Join(e.program(), " "), k.Seed)
}

// coverageTable shows which faults found the brokers in which state.
func (e *env) coverageTable(t *campaign.Tally) error {
	if len(t.Kinds) == 0 {
		return nil
	}
	if err := e.print("\nfaults by the state of the brokers that they met\n"); err != nil {
		return err
	}
	rows := [][]string{append([]string{""}, campaign.States()...)}
	for _, k := range t.Kinds {
		row := []string{k}
		for _, s := range campaign.States() {
			cell := "-"
			if n := t.Met[k+"/"+s]; n > 0 {
				cell = fmt.Sprint(n)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	if err := e.table(rows); err != nil {
		return err
	}
	if n := len(t.Holes()); n > 0 {
		return e.print("%d of %d are holes\n", n, len(t.Kinds)*len(campaign.States()))
	}
	return nil
}

func (e *env) campaignJSON(t *campaign.Tally, kept []keptFailure, took time.Duration) error {
	failures := []map[string]any{}
	for _, k := range kept {
		failures = append(failures, map[string]any{"checker": k.Checker, "kind": k.Kind, "place": k.Place, "sentence": k.Sentence, "seed": k.Seed, "count": k.Count,
			"folder": k.folder, "nondeterminism": k.differs})
	}
	return watch.NewJSON(e.stdout).Write(map[string]any{"type": "campaign", "seeds": t.Seeds, "failed": t.Failed, "simulated_seconds": t.Virtual.Seconds(),
		"took_seconds": took.Seconds(), "faults": t.Faults, "met": t.Met, "holes": t.Holes(), "snapshots": t.Snapshots, "inconclusive": t.Inconclusive, "failures": failures})
}
