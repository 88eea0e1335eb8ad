package gate

import (
	"fmt"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
	"soak/results/measure"
)

// Plan is what a gate file asks for.
type Plan struct {
	Name    string
	File    string
	Budget  time.Duration // for all runs together; 0: none
	Retry   int           // how often a repetition that proved too little, or whose harness failed, is tried again
	Entries []Entry
	Known   []Known

	budgetLine int // in the file
}

// Entry is one scenario, on each of its drivers, as often as it is asked for.
type Entry struct {
	Scenario    string // a name, or a path as it is written in the file
	Drivers     []string
	Repetitions int
	Seeds       []uint64 // one a repetition; none: a new one each
	Bugs        []string // to plant
	Intervals   int
	Duration    time.Duration
	Minimums    history.Minimums // that each run must have seen, where they are above the scenario's own
	Thresholds  []Threshold      // the file's, and the entry's own

	Expected time.Duration // of one run; the caller fills it in
	Line     int           // in the file
}

// Runs is how many repetitions the entry asks for, over its drivers.
func (e *Entry) Runs() int { return e.Repetitions * len(e.Drivers) }

// Threshold is a condition on a measure of every run: "<250ms".
type Threshold struct {
	Measure measure.Definition
	Op      string // "<", "<=", ">", ">="
	Limit   float64
	Text    string // as it is written
}

// Words is the threshold as people write it: "latency_p99 <250ms".
func (t *Threshold) Words() string { return t.Measure.Name + " " + t.Text }

// Met reports whether a value satisfies the threshold.
func (t *Threshold) Met(v float64) bool {
	switch t.Op {
	case "<":
		return v < t.Limit
	case "<=":
		return v <= t.Limit
	case ">":
		return v > t.Limit
	}
	return v >= t.Limit
}

// parseThreshold reads "<250ms" for a measure.
func parseThreshold(d measure.Definition, text string) (Threshold, error) {
	t := Threshold{Measure: d, Text: strings.TrimSpace(text)}
	for _, op := range []string{"<=", ">=", "<", ">"} {
		if rest, ok := strings.CutPrefix(t.Text, op); ok {
			var err error
			t.Op = op
			t.Limit, err = d.Unit.Parse(rest)
			return t, err
		}
	}
	return t, fmt.Errorf("%q does not begin with <, <=, > or >=", text)
}

// Known is a failure that somebody answers for, until a day.
type Known struct {
	Checker string    `json:"checker"`
	Kind    string    `json:"kind"`
	Place   string    `json:"place,omitempty"` // "": in any place
	Owner   string    `json:"owner"`
	Until   time.Time `json:"until"` // it counts again from then on: the day after the one that is written
	Why     string    `json:"why,omitempty"`
}

// Signature is what it matches, as people write it.
func (k *Known) Signature() string {
	if k.Place == "" {
		return k.Checker + "/" + k.Kind
	}
	return checkers.Signature{Checker: k.Checker, Kind: k.Kind, Place: k.Place}.String()
}

// Matches reports whether the finding is this one, at a time at which it is not over.
func (k *Known) Matches(s checkers.Signature, now time.Time) bool {
	return s.Checker == k.Checker && s.Kind == k.Kind && (k.Place == "" || s.Place == k.Place) && now.Before(k.Until)
}

// Words says who answers for it.
func (k *Known) Words() string {
	words := fmt.Sprintf("known failure %s, %s answers for it, counts again from %s", k.Signature(), k.Owner, k.Until.Format("2006-01-02"))
	if k.Why != "" {
		words += ": " + k.Why
	}
	return words
}

// parseSignature reads "no-crash/panic @ kill", or "no-crash/panic" for any place.
func parseSignature(text string) (Known, error) {
	class, place, placed := strings.Cut(text, " @ ")
	checker, kind, ok := strings.Cut(strings.TrimSpace(class), "/")
	if !ok || checker == "" || kind == "" || placed && strings.TrimSpace(place) == "" {
		return Known{}, fmt.Errorf("%q is no signature", text)
	}
	return Known{Checker: checker, Kind: kind, Place: strings.TrimSpace(place)}, nil
}

// CheckBudget refuses a time budget that the runs cannot keep, with the arithmetic. Retries are not in it: they are made as long as there is time.
func (p *Plan) CheckBudget() error {
	if p.Budget == 0 {
		return nil
	}
	var total time.Duration
	var parts []string
	for i := range p.Entries {
		e := &p.Entries[i]
		of := time.Duration(e.Runs()) * e.Expected
		total += of
		parts = append(parts, fmt.Sprintf("%s %d × %s = %s", e.Scenario, e.Runs(), e.Expected, of))
	}
	if total <= p.Budget {
		return nil
	}
	return problem(p.File, p.budgetLine, 1, fmt.Sprintf("the runs take about %s, more than the time budget of %s: %s", total, p.Budget, strings.Join(parts, ", ")),
		"raise time_budget, or ask for fewer repetitions or shorter runs")
}
