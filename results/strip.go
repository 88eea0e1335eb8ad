package results

import (
	"math"
	"slices"
	"strings"

	"soak/checkers"
)

// Strip is the runs of one scenario on one driver with the same planted bugs: what they came to, and how often they were violated.
type Strip struct {
	Scenario string
	Driver   string
	Bugs     []string
	Entries  []Entry // newest first
}

// Strips groups runs, those with the newest run first. Runs that cannot be read belong to none.
func Strips(entries []Entry) []Strip {
	var out []Strip
	at := map[string]int{}
	for _, e := range entries {
		if e.Scenario == "" {
			continue
		}
		key := e.strip()
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, Strip{Scenario: e.Scenario, Driver: e.Driver, Bugs: e.Bugs})
		}
		out[i].Entries = append(out[i].Entries, e)
	}
	return out
}

// strip names the strip that a run belongs to.
func (e *Entry) strip() string {
	return e.Scenario + "\x00" + e.Driver + "\x00" + strings.Join(e.Bugs, "\x00")
}

// Marks of a strip.
const (
	MarkHolds        = '.'
	MarkViolated     = 'V'
	MarkInconclusive = '?'
	MarkHarness      = '!'
	MarkUnjudged     = '-'
)

// Mark is a run in one character.
func (e *Entry) Mark() rune {
	switch {
	case e.Verdict == checkers.Violated.String():
		return MarkViolated
	case e.Verdict == "":
		return MarkUnjudged
	case e.HarnessFailed:
		return MarkHarness
	case e.Verdict == checkers.Holds.String():
		return MarkHolds
	}
	return MarkInconclusive
}

// Marks are the runs of a strip, the oldest of the newest n first: time goes to the right.
func (s *Strip) Marks(n int) string {
	var b strings.Builder
	for _, e := range slices.Backward(s.Entries[:min(n, len(s.Entries))]) {
		b.WriteRune(e.Mark())
	}
	return b.String()
}

// Flakes counts the runs that were violated, and those that could be judged either way: inconclusive runs say nothing of how often a violation comes.
func (s *Strip) Flakes() (violated, judged int) {
	for i := range s.Entries {
		switch s.Entries[i].Mark() {
		case MarkViolated:
			violated++
			judged++
		case MarkHolds:
			judged++
		}
	}
	return violated, judged
}

// Rate is a share with what it may be in truth.
type Rate struct{ Share, Low, High float64 }

// Wilson is the share k of n with its 95 % interval (Wilson's score interval, 1927), which is sound for few runs and for shares of 0 and 1. Of no runs
// nothing is known: from 0 to 1.
func Wilson(k, n int) Rate {
	if n == 0 {
		return Rate{0, 0, 1}
	}
	const z = 1.959963984540054 // two-sided 95 % of the normal distribution
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	r := Rate{p, max(0, mid-half), min(1, mid+half)}
	if k == 0 {
		r.Low = 0 // and not the rounding's 1e-17
	}
	if k == n {
		r.High = 1
	}
	return r
}

// Filter says which runs of a list are wanted. Zero values want all.
type Filter struct {
	Scenario string
	Driver   string
	Verdict  string // as in JSON: "holds", "violated", "inconclusive", "harness-failed", "not-judged"
	Bugs     *bool  // with planted bugs, or without
	Last     int    // the newest so many of those that are left
}

// Verdicts are the words that a filter knows.
func Verdicts() []string {
	return []string{"holds", "violated", "inconclusive", "harness-failed", "not-judged"}
}

// Word is the verdict as a filter names it.
func (e *Entry) Word() string {
	return map[rune]string{MarkHolds: "holds", MarkViolated: "violated", MarkInconclusive: "inconclusive", MarkHarness: "harness-failed", MarkUnjudged: "not-judged"}[e.Mark()]
}

// Take gives those of the entries that are wanted, in their order.
func (f Filter) Take(entries []Entry) []Entry {
	var out []Entry
	for _, e := range entries {
		if f.Scenario != "" && e.Scenario != f.Scenario || f.Driver != "" && e.Driver != f.Driver || f.Verdict != "" && e.Word() != f.Verdict ||
			f.Bugs != nil && *f.Bugs != (len(e.Bugs) > 0) {
			continue
		}
		out = append(out, e)
	}
	if f.Last > 0 {
		out = out[:min(f.Last, len(out))]
	}
	return slices.Clip(out)
}
