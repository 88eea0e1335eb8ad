package measure

import (
	"fmt"
	"slices"
	"time"

	"soak/checkers"
	"soak/history"
)

// Value is one measure of one run.
type Value struct {
	Known bool
	Value float64 // in the unit of the measure; 0 unless known
	Apart bool    // not known, and such a run cannot have it
	Why   string  // why it is not known
}

// Measures are what was measured of one run.
type Measures struct {
	Notes []string // what of the records could not be read

	values  map[string]Value
	samples map[string][]float64
}

// Of reads a run folder. rep is its verdict, nil if there is none. A record that is damaged is an error; a folder whose files are missing or cut has
// measures that are not known, and says why.
func Of(dir string, run *history.Run, rep *checkers.Report) (*Measures, error) {
	r := newReading(run)
	notes, err := history.ReadFolder(dir, history.Handler{Fault: r.fault, Operation: r.operation, Metric: r.metric})
	if err != nil {
		return nil, fmt.Errorf("measuring the run in %s: %w", dir, err)
	}
	m := &Measures{Notes: notes.Lines(), values: map[string]Value{}, samples: map[string][]float64{}}
	r.closeLoad()
	r.load(m, notes)
	r.machines(m, notes)
	counted(m, rep)
	for _, d := range catalogue { // a measure that nobody set is a mistake of this package, and must not read as a value
		if _, set := m.values[d.Name]; !set {
			m.values[d.Name] = Value{Why: "it was not measured"}
		}
	}
	return m, nil
}

// Value gives a measure; one that does not exist is not known.
func (m *Measures) Value(name string) Value {
	if v, ok := m.values[name]; ok {
		return v
	}
	return Value{Why: "there is no such measure"}
}

// Samples gives the measure's values in windows of the load, or one a fault, in the order of time. None where it has no samples.
func (m *Measures) Samples(name string) []float64 { return m.samples[name] }

func (m *Measures) set(name string, v float64) { m.values[name] = Value{Known: true, Value: v} }

func (m *Measures) lack(apart bool, why string, names ...string) {
	for _, n := range names {
		m.values[n] = Value{Apart: apart, Why: why}
	}
}

// Names of groups of measures that are known or unknown together.
var (
	ofProduce  = []string{AckedPerSecond, AckedRecords, ErrorShare, FailedRecords, UnknownRecords, LongestOutage}
	ofLatency  = [classes][]string{{LatencyP50, LatencyP99, LatencyMax}, {QuietLatencyP50, QuietLatencyP99, QuietLatencyMax}, {FaultLatencyP50, FaultLatencyP99, FaultLatencyMax}}
	ofRecovery = []string{RecoveryMedian, RecoveryMax}
	ofMetadata = []string{MetadataPerSecond, MetadataErrors}
	ofNodes    = [5]string{NodeMemoryMax, NodeHeapMax, NodeGoroutines, NodeDescriptors, NodeDisk}
	ofRunner   = [4]string{RunnerMemoryMax, RunnerHeapMax, RunnerGoroutines, RunnerDescriptors}
	ofCoverage = map[string]string{LeaderChanges: "raft leader changes", Intervals: "intervals", Faults: "faults"}
)

// load is what clients saw.
func (r *reading) load(m *Measures, notes history.Notes) {
	all := append(slices.Concat(ofProduce, ofRecovery, ofMetadata), slices.Concat(ofLatency[:]...)...)
	switch {
	case slices.Contains(notes.Missing, history.HistoryFile):
		m.lack(false, history.HistoryFile+" is missing", all...)
		return
	case r.from == 0 || r.to <= r.from:
		m.lack(false, "the load never began", all...)
		return
	}
	r.produce(m)
	for c := range classes {
		r.latency(m, c)
	}
	r.recoveries(m, slices.Contains(notes.Missing, history.FaultsFile))
	r.metadata(m)
}

func (r *reading) produce(m *Measures) {
	t := &r.total
	if t.sent() == 0 {
		m.lack(r.run.Minimums.AckedRecords == 0, "no record was sent during the load", ofProduce...)
		return
	}
	seconds := time.Duration(r.to - r.from).Seconds()
	m.set(AckedPerSecond, float64(t.acked)/seconds)
	m.set(AckedRecords, float64(t.acked))
	m.set(FailedRecords, float64(t.failed))
	m.set(UnknownRecords, float64(t.unknown))
	m.set(ErrorShare, float64(t.failed+t.unknown)/float64(t.sent()))
	var longest int64
	for _, g := range r.outages {
		longest = max(longest, g.most(r.to))
	}
	m.set(LongestOutage, time.Duration(longest).Seconds())
	for _, w := range r.windows() {
		m.samples[AckedPerSecond] = append(m.samples[AckedPerSecond], float64(w.acked)/Window.Seconds())
		if w.sent() > 0 {
			m.samples[ErrorShare] = append(m.samples[ErrorShare], float64(w.failed+w.unknown)/float64(w.sent()))
		}
	}
}

// leastLatencies is how many requests a window must hold for its quantiles to be a sample.
const leastLatencies = 20

func (r *reading) latency(m *Measures, c class) {
	names := ofLatency[c]
	h := &r.total.latency[c]
	if h.total == 0 {
		why, apart := "no produce request was acknowledged", r.run.Minimums.AckedRecords == 0 && r.total.sent() == 0
		if c == duringFault && !r.anyProven() {
			why, apart = "no fault was proven", r.run.Minimums.Faults == 0
		}
		m.lack(apart, why, names...)
		return
	}
	m.set(names[0], h.quantile(0.50))
	m.set(names[1], h.quantile(0.99))
	m.set(names[2], h.slowest())
	for _, w := range r.windows() {
		if h := &w.latency[c]; h.total >= leastLatencies {
			m.samples[names[0]] = append(m.samples[names[0]], h.quantile(0.50))
			m.samples[names[1]] = append(m.samples[names[1]], h.quantile(0.99))
			m.samples[names[2]] = append(m.samples[names[2]], h.slowest())
		}
	}
}

// recoveries are judged over the proven faults that ended during the load.
func (r *reading) recoveries(m *Measures, noFaults bool) {
	partitions := 0
	for _, t := range r.run.RecordTopics {
		partitions += int(t.Partitions)
	}
	switch {
	case noFaults:
		m.lack(false, history.FaultsFile+" is missing", ofRecovery...)
		return
	case len(r.ended) == 0:
		m.lack(r.run.Minimums.Faults == 0, "no proven fault ended during the load", ofRecovery...)
		return
	case partitions == 0:
		m.lack(false, "the run names no record topic", ofRecovery...)
		return
	}
	for _, e := range r.ended {
		if e.back < partitions {
			m.lack(false, fmt.Sprintf("after fault %d only %d of %d partitions were seen to acknowledge a write again", e.id, e.back, partitions), ofRecovery...)
			m.samples[RecoveryMedian] = nil
			return
		}
		m.samples[RecoveryMedian] = append(m.samples[RecoveryMedian], time.Duration(e.slowest).Seconds())
	}
	m.set(RecoveryMedian, Median(m.samples[RecoveryMedian]))
	m.set(RecoveryMax, slices.Max(m.samples[RecoveryMedian]))
}

func (r *reading) metadata(m *Measures) {
	t := &r.total
	if t.meta+t.metaBad == 0 {
		m.lack(r.run.Minimums.MetaOps == 0, "no metadata operation was made during the load", ofMetadata...)
		return
	}
	m.set(MetadataPerSecond, float64(t.meta)/time.Duration(r.to-r.from).Seconds())
	m.set(MetadataErrors, float64(t.metaBad)/float64(t.meta+t.metaBad))
	for _, w := range r.windows() {
		m.samples[MetadataPerSecond] = append(m.samples[MetadataPerSecond], float64(w.meta)/Window.Seconds())
		if n := w.meta + w.metaBad; n > 0 {
			m.samples[MetadataErrors] = append(m.samples[MetadataErrors], float64(w.metaBad)/float64(n))
		}
	}
}

// machines is what nodes and the runner took of the machine.
func (r *reading) machines(m *Measures, notes history.Notes) {
	simulated := r.run.Driver == "sim"
	why := func(who string) string {
		switch {
		case simulated:
			return "the nodes were simulated"
		case slices.Contains(notes.Missing, history.MetricsFile):
			return history.MetricsFile + " is missing"
		}
		return "no measurement of " + who + " was recorded"
	}
	most := func(name, who string, of func(*tally) float64) {
		total := of(&r.total)
		if total == 0 { // no process takes nothing: it was not measured
			m.lack(simulated, why(who), name)
			return
		}
		m.set(name, total)
		for _, w := range r.windows() {
			if v := of(w); v > 0 {
				m.samples[name] = append(m.samples[name], v)
			}
		}
	}
	for i, name := range ofNodes {
		most(name, "a node", func(t *tally) float64 { return float64(t.nodes[i]) })
	}
	for i, name := range ofRunner {
		most(name, "the runner", func(t *tally) float64 { return float64(t.runner[i]) })
	}
	if r.total.metrics > 0 && r.total.disk == 0 { // recorded before there was a probe, or without one
		m.lack(true, why("the disk"), DiskSyncMax)
	} else {
		most(DiskSyncMax, "the disk", func(t *tally) float64 { return time.Duration(t.disk).Seconds() })
	}
	if r.total.metrics == 0 {
		m.lack(simulated, why("the runner"), StallMax)
		return
	}
	m.set(StallMax, time.Duration(r.total.stall).Seconds())
	for _, w := range r.windows() {
		if w.metrics > 0 {
			m.samples[StallMax] = append(m.samples[StallMax], time.Duration(w.stall).Seconds())
		}
	}
}

// counted takes what the checker of coverage has counted, so that nobody counts it in another way.
func counted(m *Measures, rep *checkers.Report) {
	for name, row := range ofCoverage {
		m.lack(false, "the run has no verdict", name)
		if rep == nil {
			continue
		}
		m.lack(false, "the verdict does not count it", name)
		for _, v := range rep.Verdicts {
			for _, x := range v.Measures {
				if v.Checker == checkers.Coverage && x.Name == row {
					m.set(name, float64(x.Seen))
				}
			}
		}
	}
}

// Median of values, the mean of the middle two of an even number; 0 for none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
