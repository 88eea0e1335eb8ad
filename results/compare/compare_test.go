package compare

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"soak/checkers"
	"soak/history"
	"soak/results"
	"soak/results/measure"
)

const second = int64(time.Second)

// shape of a made-up run: what its records say.
type shape struct {
	seed     uint64
	latency  time.Duration // about
	memory   int64
	disk     int64 // ns
	noMemory bool
	runner   int64 // its memory; 0: it does not tell
	seconds  int
	change   func(*history.Run)
	verdict  []checkers.Verdict
}

func (s shape) make(t *testing.T, parent string) *Run {
	t.Helper()
	const from = 1000 * second
	end := from + int64(s.seconds)*second
	run := &history.Run{
		Scenario: "quick", ScenarioYAML: "name: quick\nnodes: 3\n", Driver: "process", Seed: s.seed, Nodes: 3, ElectionInterval: 2 * second, SessionTimeout: second,
		Version: "0.1.0", Machine: history.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Memory: 8 << 30}, Minimums: history.Minimums{AckedRecords: 1},
		RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: 1}},
		Phases:       []history.Phase{{Name: "start", Start: from - second, End: from}, {Name: "steady", Start: from, End: end}, {Name: "drain", Start: end, End: end + second}},
	}
	if s.change != nil {
		s.change(run)
	}
	f, err := results.Create(parent, "quick", run)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := history.NewRecorder(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(s.seed, 1))
	for i := range int64(s.seconds * 10) {
		at := from + i*second/10
		rec.Operation(&history.Operation{ID: fmt.Sprint(i), Invoke: at, Complete: at + int64(float64(s.latency)*(1+r.Float64())), Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: "orders", Producer: 1, FirstSeq: uint64(i), Count: 1, Offsets: []int64{i}, Acks: -1}})
	}
	for i := range int64(s.seconds) {
		m := history.Metric{Time: from + i*second, Interval: second}
		if !s.noMemory {
			m.Nodes = []history.NodeMetric{{Node: 1, Up: true, Memory: s.memory + r.Int64N(1<<20), HeapLive: s.memory / 2, Goroutines: 5, Descriptors: 5, Disk: 5}}
		}
		if s.runner > 0 {
			m.Runner = &history.Usage{Memory: s.runner + r.Int64N(1<<20), HeapLive: s.runner / 2, Goroutines: 9, Descriptors: 9}
		}
		m.DiskNanos = s.disk
		rec.Metric(m)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	if s.verdict == nil {
		s.verdict = []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Holds}, coverageOf(10)}
	}
	loaded.Report = &checkers.Report{Outcome: checkers.Holds, Verdicts: s.verdict}
	for _, v := range s.verdict {
		if v.Outcome == checkers.Violated || v.Outcome == checkers.Inconclusive && loaded.Report.Outcome != checkers.Violated {
			loaded.Report.Outcome = v.Outcome
		}
	}
	if loaded.Measures, err = measure.Of(f.Path(), run, loaded.Report); err != nil {
		t.Fatal(err)
	}
	return loaded
}

func coverageOf(n int64) checkers.Verdict {
	return checkers.Verdict{Checker: checkers.Coverage, Outcome: checkers.Holds, Measures: []checkers.Measure{
		{Name: "intervals", Seen: n, Needed: 10}, {Name: "faults", Seen: 0}, {Name: "raft leader changes", Seen: 1}}}
}

func crashed(place string) []checkers.Verdict {
	return []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Violated, Reason: "n1 panicked", Violations: []checkers.Violation{{Kind: "panic", Sentence: "n1 panicked", Place: place}}}, coverageOf(10)}
}

var usual = shape{seed: 1, latency: 2 * time.Millisecond, memory: 100 << 20, runner: 60 << 20, seconds: 60}

func with(change func(*shape)) shape {
	s := usual
	s.seed = 2
	change(&s)
	return s
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, now shape
		want     Outcome
		status   map[string]Status
		sentence string
	}{
		{name: "the same again", old: usual, now: with(func(*shape) {}), want: Fine,
			status: map[string]Status{measure.LatencyP50: Same, measure.NodeMemoryMax: Same, measure.RecoveryMax: Apart, measure.AckedRecords: Shown, measure.LongestOutage: Shown}, sentence: "no regression"},
		{name: "slower", old: usual, now: with(func(s *shape) { s.latency = 3 * time.Millisecond }), want: Worse,
			status: map[string]Status{measure.LatencyP50: Regression, measure.LatencyP99: Regression, measure.NodeMemoryMax: Same}, sentence: "latency_p50"},
		{name: "slower, within the threshold", old: usual, now: with(func(s *shape) { s.latency = 2050 * time.Microsecond }), want: Fine,
			status: map[string]Status{measure.LatencyP50: Same}, sentence: "no regression"},
		{name: "faster", old: usual, now: with(func(s *shape) { s.latency = time.Millisecond }), want: Fine,
			status: map[string]Status{measure.LatencyP50: Improved}, sentence: "improved, none got worse"},
		{name: "more memory", old: usual, now: with(func(s *shape) { s.memory = 150 << 20 }), want: Worse, status: map[string]Status{measure.NodeMemoryMax: Regression}, sentence: "node_memory_max"},
		{name: "memory not measured any more", old: usual, now: with(func(s *shape) { s.noMemory = true }), want: Inconclusive,
			status: map[string]Status{measure.NodeMemoryMax: Missing}, sentence: "5 measures missing"},
		{name: "memory measured on neither side", old: with(func(s *shape) { s.noMemory = true }), now: with(func(s *shape) { s.noMemory = true }), want: Inconclusive,
			status: map[string]Status{measure.NodeMemoryMax: Missing}, sentence: "missing"},
		{name: "more memory of the runner", old: usual, now: with(func(s *shape) { s.runner = 90 << 20 }), want: Worse,
			status: map[string]Status{measure.RunnerMemoryMax: Regression, measure.RunnerHeapMax: Regression, measure.NodeMemoryMax: Same}, sentence: "runner_memory_max"},
		{name: "a runner that does not tell any more", old: usual, now: with(func(s *shape) { s.runner = 0 }), want: Inconclusive,
			status: map[string]Status{measure.RunnerMemoryMax: Missing, measure.RunnerHeapMax: Missing, measure.NodeMemoryMax: Same}, sentence: "4 measures missing"},
		{name: "a disk that was not probed before", old: usual, now: with(func(s *shape) { s.disk = 4e5 }), want: Fine,
			status: map[string]Status{measure.DiskSyncMax: Apart, measure.RunnerMemoryMax: Same}, sentence: "no regression"},
		{name: "a disk that was probed before", old: with(func(s *shape) { s.disk = 4e5 }), now: usual, want: Fine, status: map[string]Status{measure.DiskSyncMax: Apart}},
		{name: "too short to tell", old: usual, now: with(func(s *shape) { s.latency, s.seconds = 3*time.Millisecond, 10 }), want: Inconclusive,
			status: map[string]Status{measure.LatencyP50: Undecided}, sentence: "undecided"},
		{name: "violated now", old: usual, now: with(func(s *shape) { s.verdict = crashed("kill") }), want: Worse, sentence: "new: no-crash/panic @ kill"},
		{name: "violated before", old: with(func(s *shape) { s.verdict = crashed("kill") }), now: usual, want: Fine, sentence: "no regression"},
		{name: "violated as before", old: with(func(s *shape) { s.verdict = crashed("kill") }), now: with(func(s *shape) { s.verdict = crashed("kill") }), want: Fine, sentence: "no regression"},
		{name: "violated in another place", old: with(func(s *shape) { s.verdict = crashed("kill") }), now: with(func(s *shape) { s.verdict = crashed("steady") }), want: Worse, sentence: "panic @ steady"},
		{name: "proves too little now", old: usual, now: with(func(s *shape) {
			s.verdict = []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Inconclusive}, coverageOf(10)}
		}), want: Inconclusive, sentence: "the new side is inconclusive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			r := Compare([]*Run{c.old.make(t, dir)}, []*Run{c.now.make(t, dir)}, Options{Threshold: DefaultThreshold})
			if r.Outcome() != c.want || !strings.Contains(r.Sentence(), c.sentence) {
				t.Errorf("outcome %d, %q; want %d, %q", r.Outcome(), r.Sentence(), c.want, c.sentence)
			}
			for i := range r.Rows {
				if want, named := c.status[r.Rows[i].Measure.Name]; named && r.Rows[i].Status != want {
					t.Errorf("%v, want %s", r.Rows[i].Cells(), want)
				}
			}
			if _, err := json.Marshal(r.JSON(1)); err != nil {
				t.Errorf("as JSON: %v", err)
			}
			if md := string(r.Markdown()); !strings.Contains(md, "| latency_p50 |") || !strings.Contains(md, "| intervals | 10 | 10 | 10 |") {
				t.Errorf("as Markdown:\n%s", md)
			}
		})
	}
}

// A set is tested by the values of its runs where a measure has one value a run.
func TestSets(t *testing.T) {
	dir := t.TempDir()
	var old, now []*Run
	for i := range 8 {
		old = append(old, with(func(s *shape) { s.seed = uint64(10 + i) }).make(t, dir))
		now = append(now, with(func(s *shape) { s.seed = uint64(30 + i) }).make(t, dir))
	}
	now[3].Report.Verdicts, now[3].Report.Outcome = crashed("kill"), checkers.Violated
	r := Compare(old, now, Options{Threshold: DefaultThreshold})
	if got := Words(r.Verdicts.New); got != "violated 1 of 8, holds 7 of 8" || r.Outcome() != Worse {
		t.Errorf("%q, outcome %d", got, r.Outcome())
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Measure.Name == measure.LongestOutage && (row.Test == nil || row.Test.N1 != 8 || row.Status != Same) {
			t.Errorf("the longest outage of 8 and 8 runs: %v", row.Cells())
		}
	}
	now[5].Measures = with(func(s *shape) { s.noMemory = true }).make(t, dir).Measures
	if r := Compare(old, now, Options{}); r.Count(Missing) != 5 {
		t.Errorf("one run of a set lacks its memory, and %d measures are missing", r.Count(Missing))
	}
}

func TestDifferencesComeInTheOrderOfTheirWeight(t *testing.T) {
	dir := t.TempDir()
	old := usual.make(t, dir)
	now := with(func(s *shape) {
		s.change = func(r *history.Run) {
			r.Machine.CPUs, r.Driver, r.ScenarioYAML, r.Bugs, r.Version = 4, "docker", "name: quick\nnodes: 3\nsteady: 4\n", []string{"torn-tail-fatal"}, "0.2.0"
		}
	}).make(t, dir)
	var got []string
	for _, d := range Compare([]*Run{old}, []*Run{now}, Options{}).Differences {
		got = append(got, d.What)
	}
	if s := strings.Join(got, ", "); s != "machine, driver, scenario's text, planted bugs, version" {
		t.Errorf("they differ in %s", s)
	}
	if d := Compare([]*Run{old}, []*Run{old}, Options{}).Differences; len(d) != 0 {
		t.Errorf("a run differs from itself: %v", d)
	}
}

// Gone is only what was looked for.
func TestResolvedNeedsAVerdict(t *testing.T) {
	before := []*checkers.Report{{Verdicts: crashed("kill")}}
	for _, c := range []struct {
		later []*checkers.Report
		want  FindingStatus
	}{
		{[]*checkers.Report{{Verdicts: []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Holds}}}}, Resolved},
		{[]*checkers.Report{{Verdicts: []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Inconclusive}}}}, Unclear},
		{[]*checkers.Report{{}}, Unclear},
		{[]*checkers.Report{nil}, Unclear},
		{before, Ongoing},
	} {
		if got := Findings(before, c.later); len(got) != 1 || got[0].Status != c.want {
			t.Errorf("%+v, want %s", got, c.want)
		}
	}
}
