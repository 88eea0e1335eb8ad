package cli

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"soak/broker/bugs"
	"soak/chaos/docker"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
)

// runFlags are what `soak run` was asked for.
type runFlags struct {
	scenario string // name or file
	shape    scenario.Flags
	driver   string
	image    string
	seed     uint64
	seedSet  bool
	bugs     []string
	failFast bool
	repeat   int
	out      string
	records  string
	metrics  string // where the Prometheus endpoint listens, "" for none
	output
}

func runCommand(e *env, args []string) (int, error) {
	f, err := e.parseRun(args)
	if err != nil {
		return 0, err
	}
	plan, err := scenario.Load(f.scenario)
	if err != nil {
		return 0, err
	}
	plan, err = plan.Resolve(f.shape)
	if err != nil {
		return 0, err
	}
	if e.getenv(gateRun) != "" && e.getenv(simWorker) == "" {
		endInOrder(os.Stdin)
	}
	if f.driver == "sim" {
		if e.getenv(simWorker) == "" {
			return e.inWorker()
		}
		endWithParent(os.Stdin)
	}
	stop := newStopper(e)
	defer stop.close()
	driver, why, err := chooseDriver(stop.ctx, f.driver, f.image, e.getenv, docker.Available)
	if err != nil {
		return 0, err
	}
	if err := capable(driver, capabilities(driver), plan.FaultKinds()); err != nil {
		return 0, err
	}
	if plan.Liveness.On() && driver != "sim" {
		return 0, usage(fmt.Sprintf("the driver %s cannot run the scenario's liveness phase: it cannot leave nodes broken while it heals others", driver),
			"--driver sim can; or leave the scenario's liveness out")
	}
	t := &task{env: e, flags: f, asked: plan, driver: driver, why: why, stop: stop}
	if err := t.serveMetrics(); err != nil {
		return 0, err
	}
	defer t.metrics.Close()
	if f.repeat > 1 {
		return t.repeat(t.once)
	}
	o, err := t.once(1)
	if err != nil {
		return 0, err
	}
	return o.exit, nil
}

// parseRun reads the flags and checks all that can be checked without the scenario.
func (e *env) parseRun(args []string) (*runFlags, error) {
	f := &runFlags{}
	fs := e.newFlags("run", "run [SCENARIO|FILE] [FLAGS]",
		"Start a cluster, break it under load for a number of election intervals, and judge what it did.\n"+
			"The scenario is a name (soak scenarios lists them; default "+scenario.Names()[0]+") or a YAML file.")
	fs.StringVar(&f.driver, "driver", "auto", "what a node is: docker (containers), process (child processes), sim (virtual time), auto")
	fs.IntVar(&f.shape.Intervals, "intervals", 0, "end when this many election intervals have been counted (default: the scenario's)")
	fs.DurationVar(&f.shape.Duration, "duration", 0, "end after this long, counted from the end of start")
	fs.DurationVar(&f.shape.ElectionInterval, "election-interval", 0, "period of the leader-election service (default: the scenario's)")
	fs.DurationVar(&f.shape.SessionTimeout, "session-timeout", 0, "of a broker's session (default: the scenario's)")
	fs.IntVar(&f.shape.Nodes, "nodes", 0, "size of the cluster (default: the scenario's)")
	fs.Uint64Var(&f.seed, "seed", 0, "of every random choice (default: a new one, printed)")
	fs.StringArrayVar(&f.bugs, "bug", nil, "switch on a historical bug in the reference broker (soak bugs lists them); may be repeated")
	fs.BoolVar(&f.failFast, "fail-fast", false, "end at the first violation")
	fs.IntVar(&f.repeat, "repeat", 1, "do it this many times, one after the other")
	fs.StringVar(&f.image, "image", "", "node image for the docker driver (default: the reference broker's own, built here)")
	fs.StringVar(&f.out, "out", defaultOut, "the parent of run folders")
	fs.StringVar(&f.records, "records", recordsAuto, "form of the run's records: plain (JSON lines), packed (compressed, for long runs), auto (packed from "+packedFrom.String()+" on)")
	fs.StringVar(&f.metrics, "metrics-addr", "", "serve what the run knows to Prometheus at HOST:PORT/metrics while it goes on (without HOST: 127.0.0.1)")
	f.output.add(fs, "one JSON object a line on standard output, the last being the verdict")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "the verdict only")
	laterFlags(fs, "profile", "bootstrap")
	if err := parse(fs, args, 0, 1); err != nil {
		return nil, err
	}
	f.seedSet = fs.Changed("seed")
	f.scenario = scenario.Names()[0]
	if fs.NArg() == 1 {
		f.scenario = fs.Arg(0)
	}
	if err := f.check(fs); err != nil {
		return nil, err
	}
	return f, f.checkMetrics(fs)
}

// laterFlags names flags that a later version brings, so that the answer to them is a clear one.
func laterFlags(fs *pflag.FlagSet, names ...string) {
	for _, n := range names {
		fs.String(n, "", "not in this version")
		fs.Lookup(n).Hidden = true
	}
}

// Forms of a run's records.
const (
	recordsAuto   = "auto"
	recordsPlain  = "plain"
	recordsPacked = "packed"
)

var recordForms = []string{recordsAuto, recordsPlain, recordsPacked}

// packedFrom is the expected length from which records are packed by themselves: about 100 MB of plain lines at the load of nightly. Shorter runs stay
// such as every tool reads them.
const packedFrom = 15 * time.Minute

var drivers = []string{"auto", "docker", "process", "sim"}

func (f *runFlags) check(fs *pflag.FlagSet) error {
	for _, n := range []string{"profile", "bootstrap"} {
		if fs.Changed(n) {
			return later("--" + n)
		}
	}
	switch {
	case !slices.Contains(drivers, f.driver):
		return usage("unknown driver "+quoted(f.driver), didYouMean(f.driver, drivers, "drivers: auto, docker, process, sim"))
	case f.records != "" && !slices.Contains(recordForms, f.records): // empty: a cluster by hand records nothing
		return usage("unknown form of records "+quoted(f.records), didYouMean(f.records, recordForms, "forms: "+strings.Join(recordForms, ", ")))
	case f.image != "" && (f.driver == "process" || f.driver == "sim"):
		return usage("--image is for containers, and --driver "+f.driver+" starts none", "leave out --image, or use --driver docker")
	case f.image != "" && len(f.bugs) > 0:
		return usage("--bug switches a bug on in the reference broker, and --image names another one", "leave out one of them")
	case f.repeat < 1:
		return usage(fmt.Sprintf("--repeat %d: want at least 1", f.repeat), "leave it out for one run")
	case f.json && f.quiet:
		return usage("--json and -q exclude each other", "leave out one of them")
	}
	for _, n := range []string{"intervals", "nodes"} {
		if fs.Changed(n) && fs.Lookup(n).Value.String() == "0" {
			return usage("--"+n+" 0: want at least 1", "leave it out for the scenario's own")
		}
	}
	for _, n := range []string{"duration", "election-interval", "session-timeout"} {
		if fs.Changed(n) && fs.Lookup(n).Value.String() == "0s" {
			return usage("--"+n+" 0s: want more than nothing", "leave it out for the scenario's own")
		}
	}
	for _, b := range f.bugs {
		if _, err := bugs.Parse([]string{b}); err != nil {
			return unknownBug(b)
		}
	}
	slices.Sort(f.bugs)
	f.bugs = slices.Compact(f.bugs)
	return nil
}

// newSeed is a seed that nobody chose. It stays below 2^53, so that every reader of JSON gives it back as it is.
func newSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails, as crypto/rand documents
	return binary.LittleEndian.Uint64(b[:]) >> 11
}

// fatal says which violation ends a run with --fail-fast: the first, except with a bug whose proof is a certain kind of
// evidence.
func fatal(planted []string) func(checker string, v checkers.Violation) bool {
	set, _ := bugs.Parse(planted) // parseRun has checked the names
	if set.Has(bugs.ForwardHidesError) {
		// Followers' checks come first, but what this bug does to a cluster is shown by a committed entry alone.
		return func(checker string, v checkers.Violation) bool {
			return checker == checkers.SingleLeaderProposing && v.Kind == checkers.KindForeignProposer
		}
	}
	return func(string, checkers.Violation) bool { return true }
}

// outcome is how one of the runs ended.
type outcome struct {
	exit     int
	verdict  checkers.Outcome
	sentence string
}

// repeat does the run several times and says how many ended how. The strongest finding is the set's.
func (t *task) repeat(once func(nth int) (*outcome, error)) (int, error) {
	counts := make(map[checkers.Outcome]int)
	code, done := exitHolds, 0
	for i := 1; i <= t.flags.repeat; i++ {
		if t.stop.asked() {
			break
		}
		t.say("run %d of %d", i, t.flags.repeat)
		o, err := once(i)
		if err != nil {
			if c, _, _ := explain(err); c == exitUsage {
				return 0, err // the next ones would fail in the same way
			}
			code = stronger(code, t.env.fail(err))
			continue
		}
		done++
		counts[o.verdict]++
		code = stronger(code, o.exit)
		if o.exit == exitInterrupt || o.exit == exitTerminate {
			break
		}
	}
	if t.stop.asked() && code != exitViolated { // also between two runs: a set that was cut short has not passed
		code = t.stop.code()
	}
	var parts []string
	for _, v := range []checkers.Outcome{checkers.Violated, checkers.Inconclusive, checkers.Holds} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d of %d", v, n, done))
		}
	}
	if t.flags.json {
		return code, watch.NewJSON(t.env.stdout).Write(map[string]any{"type": "set", "asked": t.flags.repeat, "done": done, "exit": code,
			"violated": counts[checkers.Violated], "inconclusive": counts[checkers.Inconclusive], "holds": counts[checkers.Holds]})
	}
	return code, t.env.print("%s done: %s\n", show.Plural(int64(done), "run"), strings.Join(parts, ", "))
}

// say prints a line of progress unless the verdict alone is wanted.
func (t *task) say(format string, args ...any) {
	if !t.flags.quiet {
		st := show.StyleOf(t.env.stderr, t.env.getenv)
		fmt.Fprintln(t.env.stderr, st.Text(fmt.Sprintf(format, args...)))
	}
}

// firstLine names the run: scenario, driver and why, seed, and how long it will take.
func firstLine(plan *scenario.Scenario, driver, why string, seed uint64, planted []string) string {
	s := fmt.Sprintf("%s on %s (%s), seed %d, about %s", plan.Name, driver, why, seed, show.Seconds(plan.Expected().Round(time.Second)))
	if driver == "sim" {
		s += " of virtual time"
	}
	if len(planted) > 0 {
		s += ", planted: " + strings.Join(planted, ", ")
	}
	return s
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }
