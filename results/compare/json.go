package compare

import (
	"math"

	"soak/checkers"
)

// JSON is the result as an object for machines: documented in docs/compare.md.
type JSON struct {
	Type        string           `json:"type"` // "comparison"
	Outcome     string           `json:"outcome"`
	Sentence    string           `json:"sentence"`
	Exit        int              `json:"exit"`
	Threshold   float64          `json:"threshold"`
	Old         jsonSide         `json:"old"`
	New         jsonSide         `json:"new"`
	Differences []Difference     `json:"differences"`
	Findings    []jsonFinding    `json:"findings"`
	Checkers    []jsonChecker    `json:"checkers"`
	Coverage    []CoverageChange `json:"coverage"`
	Measures    []jsonRow        `json:"measures"`
}

type jsonSide struct {
	Runs     []string       `json:"runs"` // folders
	Verdicts map[string]int `json:"verdicts"`
}

type jsonFinding struct {
	checkers.Signature
	Status   FindingStatus `json:"status"`
	Old      int           `json:"old"`
	New      int           `json:"new"`
	Sentence string        `json:"sentence"`
}

type jsonChecker struct {
	Checker string           `json:"checker"`
	Old     checkers.Outcome `json:"old"`
	New     checkers.Outcome `json:"new"`
	Reason  string           `json:"reason"`
}

// jsonRow has null for what is not known, and for a change from 0.
type jsonRow struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit"`
	Better string   `json:"better"`
	Old    *float64 `json:"old"`
	New    *float64 `json:"new"`
	Change *float64 `json:"change"`
	P      *float64 `json:"p"`
	Effect *float64 `json:"effect"`
	N      []int    `json:"n,omitempty"`
	Exact  bool     `json:"exact,omitempty"`
	Status Status   `json:"status"`
	Why    string   `json:"why,omitempty"`
}

// JSON gives the result for machines. exit is the command's exit code.
func (r *Result) JSON(exit int) JSON {
	out := JSON{
		Type: "comparison", Sentence: r.Sentence(), Exit: exit, Threshold: r.Threshold, Outcome: map[Outcome]string{Fine: "fine", Inconclusive: "inconclusive", Worse: "worse"}[r.Outcome()],
		Old: jsonSide{paths(r.Old), r.Verdicts.Old}, New: jsonSide{paths(r.New), r.Verdicts.New}, Differences: r.Differences, Coverage: r.Verdicts.Coverage,
	}
	for _, f := range r.Verdicts.Findings {
		out.Findings = append(out.Findings, jsonFinding{f.Signature, f.Status, f.Old, f.New, f.Sentence})
	}
	for _, c := range r.Verdicts.Checkers {
		out.Checkers = append(out.Checkers, jsonChecker(c))
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		j := jsonRow{Name: row.Measure.Name, Unit: string(row.Measure.Unit), Better: row.Measure.Better.String(), Status: row.Status, Why: row.Why}
		if row.Old.Known {
			j.Old = &row.Old.Value
		}
		if row.New.Known {
			j.New = &row.New.Value
		}
		if row.Old.Known && row.New.Known && !math.IsInf(row.Change, 0) {
			j.Change = &row.Change
		}
		if row.Test != nil {
			p := row.P()
			j.P, j.Effect, j.N, j.Exact = &p, &row.Test.Effect, []int{row.Test.N1, row.Test.N2}, row.Test.Exact
		}
		out.Measures = append(out.Measures, j)
	}
	return out
}

func paths(runs []*Run) []string {
	var out []string
	for _, r := range runs {
		out = append(out, r.Folder)
	}
	return out
}
