package measure

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"soak/checkers"
	"soak/history"
)

const (
	second = int64(time.Second)
	from   = 1000 * second // the load's begin
)

// example is a run whose load lasts 20 s: records every 100 ms on partition 0 and every 500 ms on partition 1, a kill from 8 s to 11 s during
// which partition 0 is silent, and which ends 300 ms before its next record.
func example(t *testing.T, change func(*history.Run, *history.Recorder)) (string, *history.Run) {
	t.Helper()
	dir := t.TempDir()
	run := &history.Run{
		Format: 1, ID: "0123456789abcdef", Scenario: "quick", Driver: "process", Nodes: 3, Minimums: history.Minimums{AckedRecords: 1, Faults: 1, MetaOps: 1},
		RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: 2}},
		Phases: []history.Phase{{Name: "start", Start: from - second, End: from}, {Name: "steady", Start: from, End: from + 5*second},
			{Name: "faults", Start: from + 5*second, End: from + 20*second}, {Name: "drain", Start: from + 20*second, End: from + 21*second}},
	}
	rec, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	send := func(partition int32, at, took int64, outcome history.Outcome) {
		n++
		op := &history.Operation{ID: fmt.Sprint(n), Invoke: from + at - took, Complete: from + at, Outcome: outcome,
			Produce: &history.ProduceOp{Topic: "orders", Partition: partition, Producer: 1, FirstSeq: uint64(n), Count: 2, Acks: -1}}
		if outcome == history.OK {
			op.Produce.Offsets = []int64{int64(2 * n), int64(2*n + 1)}
		}
		rec.Operation(op)
	}
	for at := int64(0); at < 20*second; at += second / 20 {
		if at%(second/10) == 0 && (at < 8*second || at >= 11*second+second/4) {
			send(0, at, 2_000_000, history.OK)
		}
		if at%(second/2) == 0 {
			send(1, at+1, 4_000_000, history.OK)
		}
	}
	send(0, 9*second, 1_000_000, history.Failed)
	send(0, 10*second, 1_000_000, history.Unknown)
	send(0, 30*second, 1_000_000, history.OK) // after the load
	for i := range int64(10) {
		rec.Operation(&history.Operation{ID: fmt.Sprint("m", i), Invoke: from + i*second, Complete: from + i*second + 1, Outcome: history.OK,
			Meta: &history.MetaOp{Kind: history.MetaDescribe, Name: "x", Owner: "metadata"}})
	}
	rec.Fault(history.Fault{ID: 1, Kind: "kill", Nodes: []int32{1}, Asked: from + 8*second, Effective: from + 8*second, Healed: from + 11*second})
	rec.Fault(history.Fault{ID: 2, Kind: "kill", Nodes: []int32{1}, Asked: from + 12*second, Healed: from + 14*second}) // never proven
	for i := range int64(20) {
		rec.Metric(history.Metric{Time: from + i*second, Interval: second, StallNanos: i, DiskNanos: 4e5 + i, Runner: &history.Usage{Memory: 300 + i, HeapLive: max(0, 50*(i-9)), Goroutines: 30, Descriptors: 40}, Nodes: []history.NodeMetric{
			{Node: 1, Up: true, Memory: 100 + i, HeapLive: 60, Goroutines: 7, Descriptors: 9, Disk: 1}, {Node: 2, Memory: 1 << 40}}})
	}
	if change != nil {
		change(run, rec)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, run
}

func measured(t *testing.T, dir string, run *history.Run) *Measures {
	t.Helper()
	rep := &checkers.Report{Verdicts: []checkers.Verdict{{Checker: checkers.Coverage, Measures: []checkers.Measure{{Name: "faults", Seen: 1}, {Name: "intervals", Seen: 10}}}}}
	m, err := Of(dir, run, rep)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEveryMeasureHasItsDefinedValue(t *testing.T) {
	dir, run := example(t, nil)
	m := measured(t, dir, run)
	acks := 80.0 + 87 + 40 // partition 0 before and after, partition 1
	for name, want := range map[string]float64{
		AckedRecords: 2 * acks, AckedPerSecond: 2 * acks / 20, FailedRecords: 2, UnknownRecords: 2, ErrorShare: 4 / (2*acks + 4),
		LatencyP50: 0.002, LatencyP99: 0.004, LatencyMax: 0.004, QuietLatencyP50: 0.002, QuietLatencyMax: 0.004, FaultLatencyP50: 0.004, FaultLatencyMax: 0.004,
		LongestOutage: 3.4, RecoveryMedian: 0.3, RecoveryMax: 0.3, // 7.9 s to 11.3 s
		MetadataPerSecond: 0.5, MetadataErrors: 0, Faults: 1, Intervals: 10, NodeMemoryMax: 119, NodeHeapMax: 60, NodeGoroutines: 7, NodeDescriptors: 9, NodeDisk: 1,
		RunnerMemoryMax: 319, RunnerHeapMax: 500, RunnerGoroutines: 30, RunnerDescriptors: 40, StallMax: 19e-9, DiskSyncMax: 400019e-9,
	} {
		v := m.Value(name)
		if !v.Known || math.Abs(v.Value-want) > 0.006*want {
			t.Errorf("%s is %+v, want %g", name, v, want)
		}
	}
	if v := m.Value(LeaderChanges); v.Known || v.Apart || v.Why == "" {
		t.Errorf("a count that the verdict has not is %+v, want one that is missing", v)
	}
	if got := m.Samples(AckedPerSecond); len(got) != 4 || got[0] != 2*(50+10)/5.0 {
		t.Errorf("windows of throughput: %v, want four, the first 24", got)
	}
	if got := m.Samples(NodeMemoryMax); !slices.Equal(got, []float64{104, 109, 114, 119}) {
		t.Errorf("windows of memory: %v", got)
	}
	if got := m.Samples(RunnerHeapMax); !slices.Equal(got, []float64{250, 500}) {
		t.Errorf("windows of the runner's heap: %v, want those alone in which one was told", got)
	}
	if got := m.Samples(RecoveryMedian); len(got) != 1 {
		t.Errorf("one fault is %v", got)
	}
	if got := m.Samples(FaultLatencyP50); len(got) != 0 {
		t.Errorf("of few requests a quantile was taken as a sample: %v", got)
	}
}

// Nothing that was not measured may look like a value, not even like 0.
func TestWhatIsMissingHasNoValue(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*history.Run, *history.Recorder)
		remove  string
		metrics string // in the place of what was recorded
		missing []string
		apart   []string
	}{
		{name: "no history", remove: history.HistoryFile, missing: []string{AckedPerSecond, ErrorShare, LatencyP99, LongestOutage, RecoveryMax, MetadataErrors}},
		{name: "no metrics", remove: history.MetricsFile, missing: []string{NodeMemoryMax, RunnerMemoryMax, RunnerHeapMax, StallMax, DiskSyncMax}},
		{name: "a disk that was not probed", metrics: `{"time":1005000000000,"interval":1000000000,"runner":{"memory":5}}`, apart: []string{DiskSyncMax}},
		{name: "a runner that did not tell", metrics: `{"time":1005000000000,"interval":1000000000,"nodes":[{"node":1,"up":true,"memory":5}]}`, missing: ofRunner[:]},
		{name: "nodes that did not tell", metrics: `{"time":1005000000000,"interval":1000000000,"runner":{"memory":5}}`, missing: ofNodes[:]},
		{name: "no faults file", remove: history.FaultsFile, missing: []string{RecoveryMax, FaultLatencyP99}},
		{name: "the load never began", change: func(r *history.Run, _ *history.Recorder) { r.Phases = r.Phases[:1] }, missing: []string{AckedRecords, LatencyP50, RecoveryMedian}},
		{name: "simulated", change: func(r *history.Run, _ *history.Recorder) { r.Driver = "sim" }, remove: history.MetricsFile, apart: []string{NodeMemoryMax, NodeDisk, RunnerMemoryMax, StallMax, DiskSyncMax}},
		{name: "a partition never came back", change: func(r *history.Run, _ *history.Recorder) { r.RecordTopics[0].Partitions = 3 }, missing: []string{RecoveryMedian, RecoveryMax}},
		{name: "no fault was asked for", change: func(r *history.Run, _ *history.Recorder) { r.Minimums.Faults = 0; r.Phases[3].Start = from + 7*second }, apart: []string{RecoveryMax}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, run := example(t, c.change)
			if c.remove != "" {
				if err := os.Remove(filepath.Join(dir, c.remove)); err != nil {
					t.Fatal(err)
				}
			}
			if c.metrics != "" {
				if err := os.WriteFile(filepath.Join(dir, history.MetricsFile), []byte(c.metrics+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			m := measured(t, dir, run)
			for _, n := range append(slices.Clone(c.missing), c.apart...) {
				if v := m.Value(n); v.Known || v.Value != 0 || v.Why == "" || v.Apart != slices.Contains(c.apart, n) || len(m.Samples(n)) != 0 {
					t.Errorf("%s is %+v, samples %v", n, v, m.Samples(n))
				}
			}
		})
	}
}

func TestDamageIsAnError(t *testing.T) {
	dir, run := example(t, nil)
	if err := os.WriteFile(filepath.Join(dir, history.MetricsFile), []byte("{}x\n{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(dir, run, nil); err == nil {
		t.Error("a damaged line was passed over")
	}
}

func TestQuantilesAreWithinHalfAPercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1000, int64(time.Hour)), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h histogram
		for _, v := range values {
			h.add(v)
		}
		slices.Sort(values)
		want := time.Duration(values[max(1, int(math.Ceil(q*float64(len(values)))))-1]).Seconds()
		if got := h.quantile(q); math.Abs(got-want) > 0.0051*want {
			t.Fatalf("quantile %g is %g, want %g", q, got, want)
		}
	})
}

// Acknowledgements that are recorded out of order by a little must not make a gap longer than it was.
func TestGapsOutOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Int64Range(1, 1000), 2, 100).Draw(t, "steps")
		var at int64
		var instants []int64
		for _, s := range steps {
			at += s
			instants = append(instants, at)
		}
		shuffled := slices.Clone(instants)
		for i := 0; i+1 < len(shuffled); i += 2 {
			if rapid.Bool().Draw(t, "swap") {
				shuffled[i], shuffled[i+1] = shuffled[i+1], shuffled[i]
			}
		}
		var g gaps
		for _, x := range shuffled {
			g.see(x)
		}
		want := slices.MaxFunc(steps, func(a, b int64) int { return cmp.Compare(a, b) })
		if got := g.most(at); got < want {
			t.Fatalf("longest gap %d, want %d", got, want)
		} else if got != want && len(steps) <= gapsKept {
			t.Fatalf("longest gap %d, want %d: all gaps fit", got, want)
		}
	})
}

func TestFormatAndParse(t *testing.T) {
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Seconds, 0.0123, "12.3 ms"}, {Seconds, 1.5, "1.50 s"}, {Seconds, 250, "250 s"}, {Seconds, 2.5e-6, "2.50 µs"}, {Bytes, 27652096, "26.4 MiB"}, {Bytes, 12, "12 B"},
		{Share, 0.0123, "1.23 %"}, {Share, 0.0000012, "0.00012 %"}, {RecordsPerSec, 412.4, "412 records/s"}, {Count, 1234567, "1234567"}, {Seconds, math.Inf(1), "unbounded"},
	} {
		if got := c.unit.Format(c.v); got != c.want {
			t.Errorf("%g %s is written %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		unit Unit
		text string
		want float64
		bad  bool
	}{
		{Seconds, "250ms", 0.25, false}, {Seconds, "1.5 s", 1.5, false}, {Seconds, "5", 0, true}, {Bytes, "64MiB", 64 << 20, false}, {Bytes, "64 MB", 64e6, false},
		{Bytes, "12", 12, false}, {Share, "0.5%", 0.005, false}, {Share, "0.01", 0.01, false}, {Count, "10_000", 10000, false}, {Count, "NaN", 0, true}, {RecordsPerSec, "fast", 0, true}, {Share, "1 kB", 0, true},
	} {
		got, err := c.unit.Parse(c.text)
		if (err != nil) != c.bad || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%q as %s is %g, %v", c.text, c.unit, got, err)
		}
	}
}

func TestDefinitionsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range List() {
		if seen[d.Name] || d.Name == "" || d.What == "" {
			t.Errorf("the definition %+v is not whole, or there twice", d)
		}
		seen[d.Name] = true
	}
	if _, ok := Find("latency"); ok {
		t.Error("a measure that does not exist was found")
	}
}
