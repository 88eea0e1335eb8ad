package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/campaign"
)

// replayFlags are what `soak replay` was asked for.
type replayFlags struct {
	ref    string
	driver string
	seed   uint64
	bugs   []string
	trace  campaign.TraceOptions
	out    string
	quiet  bool

	seedSet, bugSet bool
}

func (e *env) parseReplay(args []string) (*replayFlags, error) {
	f := &replayFlags{}
	fs := e.newFlags("replay", "replay RUN|FILE [FLAGS]",
		"Simulate a run again, bit for bit, and print what was said in it. A FILE is a scenario: a run's schedule.yaml or shrunk.yaml, or your own.\n"+
			"With --driver process or docker the schedule is done again on a real cluster, as closely as real time allows.")
	fs.DurationVar(&f.trace.Until, "until", 0, "print up to this time, counted from the beginning of the run")
	fs.StringSliceVar(&f.trace.Kinds, "trace", campaign.DefaultTraces(), "what to print: "+strings.Join(campaign.Traces(), ", ")+", all")
	node := fs.Int("node", 0, "print what concerns this node (default: all)")
	fs.StringVar(&f.driver, "driver", "sim", "sim, process or docker")
	fs.Uint64Var(&f.seed, "seed", 0, "another seed than the recorded one; of a file that records none (default 1)")
	fs.StringArrayVar(&f.bugs, "bug", nil, "other bugs than the recorded ones; may be repeated")
	fs.StringVar(&f.out, "out", defaultOut, "the parent of run folders")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no trace")
	if err := parse(fs, args, 1, 1); err != nil {
		return nil, err
	}
	f.ref, f.seedSet, f.bugSet = fs.Arg(0), fs.Changed("seed"), fs.Changed("bug")
	if slices.Contains(f.trace.Kinds, "all") {
		f.trace.Kinds = campaign.Traces()
	}
	for _, k := range f.trace.Kinds {
		if !slices.Contains(campaign.Traces(), k) {
			return nil, usage("--trace: unknown kind "+quoted(k), didYouMean(k, campaign.Traces(), "kinds: "+strings.Join(campaign.Traces(), ", ")+", all"))
		}
	}
	switch {
	case fs.Changed("until") && f.trace.Until <= 0:
		return nil, usage("--until "+f.trace.Until.String()+": want more than nothing", "leave it out for the whole run")
	case fs.Changed("node") && *node < 1:
		return nil, usage(fmt.Sprintf("--node %d: nodes count from 1", *node), "leave it out for all of them")
	case !slices.Contains([]string{"sim", "process", "docker"}, f.driver):
		return nil, usage("unknown driver "+quoted(f.driver), "drivers: sim, process, docker")
	}
	f.trace.Node = int32(*node)
	var err error
	f.bugs, err = bugNames(f.bugs)
	return f, err
}

func replayCommand(e *env, args []string) (int, error) {
	f, err := e.parseReplay(args)
	if err != nil {
		return 0, err
	}
	s, err := openSource(f.out, f.ref)
	if err != nil {
		return 0, err
	}
	if f.seedSet {
		s.seed, s.hash = f.seed, 0
	}
	if f.bugSet {
		s.bugs, s.hash = f.bugs, 0
	}
	if f.driver != "sim" {
		return e.replayReal(f, s)
	}
	if s.run != nil && s.run.Driver != "sim" {
		hint := "soak replay " + f.ref + " --driver " + s.run.Driver + " does its schedule again"
		if s.folder.HasSchedule() {
			hint += "; soak replay " + s.folder.Schedule() + " simulates it"
		}
		return 0, usage(fmt.Sprintf("%s ran on %s: no seed gives it again bit for bit", s.name, s.run.Driver), hint)
	}
	if n := int(f.trace.Node); n > s.plan.Nodes {
		return 0, usage(fmt.Sprintf("--node %d: the run has %d nodes", n, s.plan.Nodes), fmt.Sprintf("nodes are 1 to %d", s.plan.Nodes))
	}
	if err := capable("sim", capabilities("sim"), s.plan.FaultKinds()); err != nil {
		return 0, s.other(err)
	}
	if e.getenv(simWorker) == "" {
		return e.inWorker()
	}
	return e.replay(f, s)
}

// replay simulates and prints. A run that comes out otherwise than it was recorded is no replay.
func (e *env) replay(f *replayFlags, s *source) (int, error) {
	if s.older() {
		e.note("%s", s.words())
	}
	began := time.Now()
	a, lines, err := campaign.Trace(campaign.Job{Seed: s.seed, Scenario: string(s.plan.YAML()), Bugs: s.bugs}, f.trace)
	if err != nil {
		return 0, usage(err.Error(), "the file was edited; soak run says what is wrong with a scenario")
	}
	st := e.style()
	if !f.quiet {
		for _, l := range lines {
			if err := e.print("%s\n", st.Text(l.String())); err != nil {
				return 0, err
			}
		}
	}
	took := time.Since(began).Round(time.Millisecond)
	code := exitHolds
	if len(a.Failures) > 0 {
		code = exitViolated
	}
	switch {
	case f.trace.Until > 0:
		return code, e.print("replayed up to %s (seed %d, in %s)\n", f.trace.Until, s.seed, took)
	case s.hash == 0:
		return code, e.print("simulated %s (seed %d, in %s), hash %016x; no recorded one to compare with\n", a.Virtual.Round(time.Millisecond), s.seed, took, a.Hash)
	case s.hash == a.Hash:
		return code, e.print("the same run, bit for bit: %s (seed %d, in %s), hash %016x\n", a.Virtual.Round(time.Millisecond), s.seed, took, a.Hash)
	}
	what := fmt.Sprintf("not the same run: hash %016x, recorded %016x", a.Hash, s.hash)
	if s.older() {
		return 0, &failure{code: exitUsage, msg: what + "; " + s.words(), hint: s.checkout()}
	}
	return 0, harness(what, fmt.Errorf("this version recorded it"), "the scenario or the seed in the file was edited, or the simulator is not deterministic: a second soak replay tells")
}

// replayReal does the schedule again on a real cluster.
func (e *env) replayReal(f *replayFlags, s *source) (int, error) {
	file := s.name
	if s.folder != nil {
		if !s.folder.HasSchedule() {
			return 0, usage(s.name+" has no executed schedule", "the run ended before it had one; run its scenario again")
		}
		file = s.folder.Schedule()
	}
	words := []string{file, "--driver", f.driver, "--seed", fmt.Sprint(s.seed), "--out", f.out}
	for _, b := range s.bugs {
		words = append(words, "--bug", b)
	}
	if f.quiet {
		words = append(words, "-q")
	}
	sub := &env{args: append([]string{e.args[0], "run"}, words...), stdout: e.stdout, stderr: e.stderr, getenv: e.getenv}
	return sub.dispatch()
}
