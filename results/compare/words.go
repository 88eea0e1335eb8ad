package compare

import (
	"fmt"
	"math"
	"strings"

	"soak/results/measure"
)

// Cells is a row of the table of measures: name, old, new, change, status, and the test that it rests on, or why there is none. The last is the long
// one, which a terminal may fold.
func (r *Row) Cells() []string {
	return []string{r.Measure.Name, valueWords(r.Measure, r.Old), valueWords(r.Measure, r.New), r.changeWords(), r.statusWords(), r.groundWords()}
}

// Headings of the cells.
func Headings() []string { return []string{"measure", "old", "new", "change", "status", "rank test"} }

func valueWords(d measure.Definition, v measure.Value) string {
	switch {
	case v.Known:
		return d.Unit.Format(v.Value)
	case v.Apart:
		return "n/a"
	}
	return "missing"
}

func (r *Row) changeWords() string {
	switch {
	case !r.Old.Known || !r.New.Known:
		return ""
	case math.IsInf(r.Change, 0):
		return "from 0"
	case r.Change == 0:
		return "0 %"
	}
	if r.Change >= 9 { // nobody reads thousands of percent
		return fmt.Sprintf("×%.0f", r.Change+1)
	}
	return fmt.Sprintf("%+.1f %%", r.Change*100)
}

func (r *Row) testWords() string {
	if r.Test == nil {
		return ""
	}
	of := r.Measure.Sample + "s"
	if r.Measure.Sample == "" {
		of = "runs"
	}
	return fmt.Sprintf("p %s, effect %.2f (%d + %d %s)", pWords(r.P()), r.Test.Effect, r.Test.N1, r.Test.N2, of)
}

func pWords(p float64) string {
	if p < 0.001 {
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", p)
}

func (r *Row) statusWords() string {
	switch r.Status {
	case Same, Improved, Shown, Apart:
		return string(r.Status)
	}
	return strings.ToUpper(string(r.Status))
}

func (r *Row) groundWords() string {
	words := r.testWords()
	if r.Why == "" || r.Status == Same || r.Status == Apart {
		return words
	}
	if words != "" {
		words += "; "
	}
	return words + r.Why
}

// Sentence is the result in one sentence.
func (r *Result) Sentence() string {
	var parts []string
	for i := range r.Rows {
		if r.Rows[i].Status == Regression {
			parts = append(parts, fmt.Sprintf("%s %s → %s (%s)", r.Rows[i].Measure.Name, valueWords(r.Rows[i].Measure, r.Rows[i].Old),
				valueWords(r.Rows[i].Measure, r.Rows[i].New), r.Rows[i].changeWords()))
		}
	}
	for _, f := range r.Verdicts.Findings {
		if f.Status == New {
			parts = append(parts, "new: "+f.Signature.String())
		}
	}
	if r.Verdicts.New["violated"] > 0 && r.Verdicts.Old["violated"] == 0 && len(parts) == 0 {
		parts = append(parts, "the new side is violated")
	}
	switch r.Outcome() {
	case Worse:
		const shown = 4
		if n := len(parts); n > shown {
			parts = append(parts[:shown:shown], fmt.Sprintf("and %d more", n-shown))
		}
		return "worse: " + strings.Join(parts, "; ")
	case Inconclusive:
		var why []string
		if n := r.Count(Missing); n > 0 {
			why = append(why, plural(n, "measure")+" missing")
		}
		if n := r.Count(Undecided); n > 0 {
			why = append(why, plural(n, "measure")+" undecided")
		}
		if w := r.Verdicts.New; w["inconclusive"]+w["harness-failed"]+w["not-judged"] > 0 {
			why = append(why, "the new side is "+Words(w))
		}
		return "inconclusive: " + strings.Join(why, "; ")
	}
	if n := r.Count(Improved); n > 0 {
		return plural(n, "measure") + " improved, none got worse"
	}
	return fmt.Sprintf("no regression: nothing got worse by more than %.4g %% that chance does not explain", r.Threshold*100)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// side names a side's runs.
func sideWords(runs []*Run) string {
	r := runs[0]
	words := fmt.Sprintf("%s on %s, seed %d, %s", r.Run.Scenario, r.Run.Driver, r.Run.Seed, r.Folder)
	if n := len(runs); n > 1 {
		words += fmt.Sprintf(", and %s more", plural(n-1, "run"))
	}
	return words
}

// Sides names both sides' runs.
func (r *Result) Sides() (old, now string) { return sideWords(r.Old), sideWords(r.New) }

// Said is a finding in a line.
func (f *FindingChange) Said() string {
	return fmt.Sprintf("%s  %s  (%d old, %d new): %s", f.Status, f.Signature, f.Old, f.New, f.Sentence)
}
