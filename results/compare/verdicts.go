package compare

import (
	"fmt"
	"slices"

	"soak/checkers"
)

// Verdicts compares what the checkers said.
type Verdicts struct {
	Old, New map[string]int // outcomes and how many runs had them: "holds", "violated", "inconclusive", "harness-failed", "not-judged"
	Checkers []CheckerChange
	Findings []FindingChange
	Coverage []CoverageChange
}

// CheckerChange is a checker whose outcome is not the same on both sides: of each side's runs, the worst.
type CheckerChange struct {
	Checker  string           `json:"checker"`
	Old, New checkers.Outcome `json:"-"`
	Reason   string           `json:"reason"` // of the new side
}

// FindingChange is a kind of failure and whether it is there on the sides.
type FindingChange struct {
	Signature checkers.Signature
	Status    FindingStatus
	Sentence  string
	Old, New  int // runs that have it
}

// FindingStatus says whether a finding came, went or stayed.
type FindingStatus string

const (
	New      FindingStatus = "new"
	Ongoing  FindingStatus = "ongoing"
	Resolved FindingStatus = "resolved"
	Unclear  FindingStatus = "unclear" // not seen again, by runs that could not have told
)

// CoverageChange is one count of coverage on both sides: of several runs, the lowest.
type CoverageChange struct {
	Name   string `json:"name"`
	Old    int64  `json:"old"` // −1: not counted
	New    int64  `json:"new"`
	Needed int64  `json:"needed"` // of the new side
}

// OutcomeOf is a run's outcome in a word. A harness that failed comes before missing evidence, as in exit codes.
func OutcomeOf(rep *checkers.Report) string {
	switch {
	case rep == nil:
		return "not-judged"
	case rep.HarnessError != "" && rep.Outcome != checkers.Violated:
		return "harness-failed"
	}
	text, _ := rep.Outcome.MarshalText() // of a report that was read
	return string(text)
}

func verdicts(old, now []*Run) Verdicts {
	v := Verdicts{Old: map[string]int{}, New: map[string]int{}}
	for _, r := range old {
		v.Old[OutcomeOf(r.Report)]++
	}
	for _, r := range now {
		v.New[OutcomeOf(r.Report)]++
	}
	for _, c := range checkers.List() {
		a, _, knownA := worst(c.ID, old)
		b, why, knownB := worst(c.ID, now)
		if knownA && knownB && a != b {
			v.Checkers = append(v.Checkers, CheckerChange{c.ID, a, b, why})
		}
	}
	v.Findings = Findings(reports(old), reports(now))
	v.Coverage = coverage(old, now)
	return v
}

func reports(runs []*Run) []*checkers.Report {
	var out []*checkers.Report
	for _, r := range runs {
		out = append(out, r.Report)
	}
	return out
}

// severity orders outcomes; not applicable says nothing either way.
func severity(o checkers.Outcome) int {
	return slices.Index([]checkers.Outcome{checkers.NotApplicable, checkers.Holds, checkers.Inconclusive, checkers.Violated}, o)
}

func worst(checker string, runs []*Run) (o checkers.Outcome, why string, known bool) {
	for _, r := range runs {
		if r.Report == nil {
			continue
		}
		for i := range r.Report.Verdicts {
			v := &r.Report.Verdicts[i]
			if v.Checker == checker && (!known || severity(v.Outcome) > severity(o)) {
				o, why, known = v.Outcome, v.Reason, true
			}
		}
	}
	return o, why, known
}

// Findings compares the failures of earlier and later runs by their signatures: new ones first, then those that stayed, then those that are gone.
// Gone is only what later runs looked for and did not find: where the checker that found it held in no later run, it is unclear. nil reports are of
// runs that were not judged.
func Findings(earlier, later []*checkers.Report) []FindingChange {
	var order []checkers.Signature
	seen := map[checkers.Signature]*FindingChange{}
	count := func(reps []*checkers.Report, add func(*FindingChange)) {
		for _, rep := range reps {
			if rep == nil {
				continue
			}
			for _, f := range rep.Findings() {
				if seen[f.Signature] == nil {
					seen[f.Signature] = &FindingChange{Signature: f.Signature, Sentence: f.Sentence}
					order = append(order, f.Signature)
				}
				add(seen[f.Signature])
			}
		}
	}
	count(later, func(f *FindingChange) { f.New++ })
	count(earlier, func(f *FindingChange) { f.Old++ })
	var out []FindingChange
	for _, s := range order {
		f := seen[s]
		switch {
		case f.New > 0 && f.Old > 0:
			f.Status = Ongoing
		case f.New > 0:
			f.Status = New
		case held(s.Checker, later):
			f.Status = Resolved
		default:
			f.Status = Unclear
		}
		out = append(out, *f)
	}
	rank := []FindingStatus{New, Ongoing, Unclear, Resolved}
	slices.SortStableFunc(out, func(a, b FindingChange) int { return slices.Index(rank, a.Status) - slices.Index(rank, b.Status) })
	return out
}

// held reports whether a checker could judge every one of the runs, each held or violated for another reason.
func held(checker string, reps []*checkers.Report) bool {
	judged := func(rep *checkers.Report) bool {
		return rep != nil && slices.ContainsFunc(rep.Verdicts, func(v checkers.Verdict) bool {
			return v.Checker == checker && (v.Outcome == checkers.Holds || v.Outcome == checkers.Violated)
		})
	}
	return len(reps) > 0 && !slices.ContainsFunc(reps, func(rep *checkers.Report) bool { return !judged(rep) })
}

func coverage(old, now []*Run) []CoverageChange {
	var out []CoverageChange
	least := func(runs []*Run, set func(c *CoverageChange, m checkers.Measure)) {
		for _, r := range runs {
			if r.Report == nil {
				continue
			}
			for i := range r.Report.Verdicts {
				if r.Report.Verdicts[i].Checker != checkers.Coverage {
					continue
				}
				for _, m := range r.Report.Verdicts[i].Measures {
					at := slices.IndexFunc(out, func(c CoverageChange) bool { return c.Name == m.Name })
					if at < 0 {
						at = len(out)
						out = append(out, CoverageChange{Name: m.Name, Old: -1, New: -1})
					}
					set(&out[at], m)
				}
			}
		}
	}
	least(old, func(c *CoverageChange, m checkers.Measure) {
		if c.Old < 0 || m.Seen < c.Old {
			c.Old = m.Seen
		}
	})
	least(now, func(c *CoverageChange, m checkers.Measure) {
		if c.New < 0 || m.Seen < c.New {
			c.New = m.Seen
		}
		c.Needed = max(c.Needed, m.Needed)
	})
	return out
}

// outcome of the verdicts alone: a failure that is new, or a side that is violated where the other was not, is a regression; a new side that
// proved too little is inconclusive.
func (v *Verdicts) outcome() Outcome {
	for _, f := range v.Findings {
		if f.Status == New {
			return Worse
		}
	}
	if v.New["violated"] > 0 && v.Old["violated"] == 0 {
		return Worse
	}
	if v.New["inconclusive"]+v.New["harness-failed"]+v.New["not-judged"] > 0 {
		return Inconclusive
	}
	return Fine
}

// Words puts outcomes and their counts into a phrase: "holds 2 of 3, violated 1 of 3".
func Words(counts map[string]int) string {
	total := 0
	for _, n := range counts {
		total += n
	}
	words := ""
	for _, o := range []string{"violated", "harness-failed", "inconclusive", "not-judged", "holds"} {
		switch n := counts[o]; {
		case n == 0:
			continue
		case total == 1:
			return o
		default:
			if words != "" {
				words += ", "
			}
			words += fmt.Sprintf("%s %d of %d", o, n, total)
		}
	}
	return words
}
