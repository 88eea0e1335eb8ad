package compare

import (
	"math"

	"soak/checkers"
	"soak/history"
	"soak/results"
	"soak/results/measure"
)

// Options of a comparison.
type Options struct {
	Threshold float64 // by how much a measure may get worse, as a share of its old value: 0.1 is 10 %
}

// DefaultThreshold is 10 %: about what a busy machine does to a run by itself.
const DefaultThreshold = 0.10

// significance is the level of the rank tests of one comparison together: each p is corrected for their number.
const significance = 0.05

// Run is one run of a side.
type Run struct {
	Folder   string
	Run      *history.Run
	Report   *checkers.Report // nil: not judged
	Measures *measure.Measures
}

// Load reads a run of a side.
func Load(f *results.Folder) (*Run, error) {
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	r := &Run{Folder: f.Path(), Run: run}
	if f.HasReport() {
		if r.Report, err = f.Report(); err != nil {
			return nil, &results.Problem{Msg: f.Path(), Err: err, Hint: "soak check judges it again"}
		}
	}
	if r.Measures, err = measure.Of(f.Path(), run, r.Report); err != nil {
		return nil, &results.Problem{Msg: f.Path(), Err: err, Hint: "a damaged record is never passed over, or a comparison would rest on what is missing; restore the file, or leave the run out"}
	}
	return r, nil
}

// Status of a row of the comparison.
type Status string

const (
	Same       Status = "same"       // no difference that the test would call one, or one within the threshold
	Improved   Status = "improved"   // better, by more than the threshold, and not by chance
	Regression Status = "regression" // worse, by more than the threshold, and not by chance
	Shown      Status = "shown"      // not judged: neither direction is better, or too few values by the measure's nature
	Undecided  Status = "undecided"  // worse by more than the threshold, but with too few samples to tell it from chance
	Missing    Status = "missing"    // one side, or both, lack what such runs should have
	Apart      Status = "not-applicable"
)

// Row compares one measure.
type Row struct {
	Measure measure.Definition
	Old     measure.Value // the median over a side's runs
	New     measure.Value
	Change  float64 // of the value, as a share of the old one; infinite from 0
	Test    *RankTest
	Status  Status
	Why     string // of statuses that need words

	corrected float64 // p after Holm's correction
	least     float64 // the smallest p that so few samples could give at all, corrected in the same way
}

// Result is what a comparison found.
type Result struct {
	Old, New    []*Run
	Differences []Difference // of machine, driver, configuration, version; first in every report
	Verdicts    Verdicts
	Rows        []Row
	Threshold   float64
}

// Compare compares two sides, each of at least one run.
func Compare(old, now []*Run, o Options) *Result {
	r := &Result{Old: old, New: now, Differences: differences(old, now), Verdicts: verdicts(old, now), Threshold: o.Threshold}
	var ps []*float64
	for _, d := range measure.List() {
		r.Rows = append(r.Rows, newRow(d, old, now))
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Test != nil && row.Measure.Better != measure.Neither {
			row.corrected = row.Test.P
			ps = append(ps, &row.corrected)
		}
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Test != nil {
			row.least = leastP(row.Test.N1, row.Test.N2) * float64(len(ps))
		}
	}
	holm(ps)
	for i := range r.Rows {
		r.Rows[i].decide(o.Threshold)
	}
	return r
}

// Outcome of a comparison.
type Outcome int

const (
	Fine         Outcome = iota // nothing got worse beyond the threshold
	Inconclusive                // data is missing, or the new side proved too little
	Worse                       // a regression: of a measure, or of a verdict
)

// Outcome is the strongest finding.
func (r *Result) Outcome() Outcome {
	out := r.Verdicts.outcome()
	for i := range r.Rows {
		switch r.Rows[i].Status {
		case Regression:
			return Worse
		case Missing, Undecided:
			out = max(out, Inconclusive)
		}
	}
	return out
}

// Count is how many rows have a status.
func (r *Result) Count(s Status) int {
	n := 0
	for i := range r.Rows {
		if r.Rows[i].Status == s {
			n++
		}
	}
	return n
}

// newRow collects both sides' values and samples of a measure, and tests them.
func newRow(d measure.Definition, old, now []*Run) Row {
	row := Row{Measure: d}
	var first, second []float64
	row.Old, first = side(d, old)
	row.New, second = side(d, now)
	switch {
	case row.Old.Known && row.New.Known:
		if len(first) > 0 && len(second) > 0 && (d.Sample != "" || len(first) > 1 && len(second) > 1) {
			t := rankTest(first, second)
			row.Test = &t
		}
		row.Change = change(row.Old.Value, row.New.Value)
	case row.Old.Apart && row.New.Apart:
		row.Status, row.Why = Apart, row.New.Why
	case d.Better == measure.Neither && (row.Old.Apart || row.New.Apart): // it is shown, not judged: runs of before it was measured are as good
		row.Status, row.Why = Apart, row.Old.Why+row.New.Why
	case row.Old.Known:
		row.Status, row.Why = Missing, "new: "+row.New.Why
	case row.New.Known:
		row.Status, row.Why = Missing, "old: "+row.Old.Why
	default:
		row.Status, row.Why = Missing, row.New.Why
	}
	return row
}

// side is the median of a measure over a side's runs, and its samples: of all runs together, or, where it has none, a value a run. A measure
// that one run lacks is lacking: the others do not speak for it.
func side(d measure.Definition, runs []*Run) (measure.Value, []float64) {
	var values, samples []float64
	for _, r := range runs {
		v := r.Measures.Value(d.Name)
		if !v.Known {
			if len(runs) > 1 {
				v.Why = r.Run.ID + ": " + v.Why
			}
			return v, nil
		}
		values = append(values, v.Value)
		samples = append(samples, r.Measures.Samples(d.Name)...)
	}
	if d.Sample == "" {
		samples = values
	}
	return measure.Value{Known: true, Value: measure.Median(values)}, samples
}

func change(old, now float64) float64 {
	switch {
	case old == now:
		return 0
	case old == 0:
		return math.Copysign(math.Inf(1), now)
	}
	return (now - old) / math.Abs(old)
}

// decide gives the row its status, once its p-value has been corrected.
func (r *Row) decide(threshold float64) {
	if r.Status != "" {
		return
	}
	worse := r.Change
	if r.Measure.Better == measure.Higher {
		worse = -worse
	}
	differs := r.Test != nil && r.corrected < significance
	weak := r.Test == nil || r.least >= significance // not even two sides that overlap nowhere could be told apart
	switch {
	case r.Measure.Better == measure.Neither:
		r.Status = Shown
	case weak && r.Measure.Sample == "":
		r.Status, r.Why = Shown, "one value a run: only sets of runs can be tested"
	case weak && worse > threshold:
		r.Status, r.Why = Undecided, "too few samples for a test"
	case weak:
		r.Status = Same
	case differs && worse > threshold && r.towards(worse):
		r.Status = Regression
	case differs && -worse > threshold && r.towards(worse):
		r.Status = Improved
	default:
		r.Status = Same
	}
}

// towards reports whether the samples moved in the same direction as the value: where they did not, the two say different things, and
// nothing is claimed.
func (r *Row) towards(worse float64) bool {
	up := r.Test.Effect > 0.5
	if r.Measure.Better == measure.Higher {
		up = !up
	}
	return up == (worse > 0)
}

// P is the corrected p-value, 1 where nothing was tested.
func (r *Row) P() float64 {
	if r.Test == nil {
		return 1
	}
	if r.Measure.Better == measure.Neither { // not among those that are corrected
		return r.Test.P
	}
	return r.corrected
}
