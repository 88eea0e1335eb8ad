package checkers

import (
	"encoding/json"
	"fmt"
	"strings"

	"soak/history"
)

// maxViolations bounds the violations that a checker keeps, far above what anybody reads; all are counted.
const maxViolations = 1000

// measureViolations counts all violations of a checker, kept or not.
const measureViolations = "violations"

// ledger is what every checker keeps: its id, its violations and the run's faults, whose windows name the faults of a
// violation. Checkers embed it.
type ledger struct {
	id       string
	found    []Violation
	total    int64 // violations seen, kept or not
	faults   []*history.Fault
	attached int // violations of found that know all faults
}

func (l *ledger) ID() string { return l.id }

func (l *ledger) Event(*history.Event) {}

func (l *ledger) Operation(*history.Operation) {}

func (l *ledger) Fault(f *history.Fault) {
	l.faults = append(l.faults, f)
	l.attached = 0
}

func (l *ledger) violate(v Violation) {
	l.total++
	if len(l.found) < maxViolations {
		l.found = append(l.found, v)
	}
}

// counted reports whether a further violation is only counted, and counts it: its evidence need not be fetched.
func (l *ledger) counted() bool {
	if len(l.found) < maxViolations {
		return false
	}
	l.total++
	return true
}

// Violations implements Checker.
func (l *ledger) Violations() []Violation {
	for ; l.attached < len(l.found); l.attached++ {
		v := &l.found[l.attached]
		v.Faults = nil
		for _, f := range l.faults {
			if touches(f, v.Time) {
				v.Faults = append(v.Faults, f.ID)
			}
		}
	}
	return l.found
}

// touches reports whether the instant lies between a fault's asking and the evidence of its end.
func touches(f *history.Fault, at int64) bool {
	return at != 0 && f.Asked != 0 && f.Asked <= at && (f.Healed == 0 || at <= f.Healed)
}

// verdict starts a verdict from the ledger: Violated with the first violation as its reason, else Inconclusive with the
// reasons given, else Holds.
func (l *ledger) verdict(checked int64, what, holds string, missing []string) Verdict {
	v := Verdict{Checker: l.id, Checked: checked, CheckedWhat: what, Violations: l.Violations()}
	switch {
	case l.total > 0:
		v.Outcome, v.Reason = Violated, l.found[0].Sentence
		if l.total > 1 {
			v.Reason += fmt.Sprintf(" (and %d more)", l.total-1)
		}
		v.Measures = append(v.Measures, Measure{Name: measureViolations, Seen: l.total})
	case len(missing) > 0:
		v.Outcome, v.Reason = Inconclusive, list(missing)
	default:
		v.Outcome, v.Reason = Holds, holds
	}
	return v
}

// clockOf tells instants as a run's report does: in seconds since the beginning of its first phase.
func clockOf(run *history.Run) func(int64) string {
	return func(at int64) string {
		var begin int64
		for _, p := range run.Phases {
			if p.Start != 0 && (begin == 0 || p.Start < begin) {
				begin = p.Start
			}
		}
		if begin == 0 {
			return fmt.Sprintf("%.3f s (Unix time)", float64(at)/1e9)
		}
		return fmt.Sprintf("%.3f s", float64(at-begin)/1e9)
	}
}

// maxListed bounds the parts of a sentence.
const maxListed = 5

// list joins reasons to one sentence.
func list(parts []string) string {
	if n := len(parts); n > maxListed {
		return strings.Join(parts[:maxListed], "; ") + fmt.Sprintf("; and %d more", n-maxListed)
	}
	return strings.Join(parts, "; ")
}

func eventLine(e *history.Event) string { return string(history.AppendEvent(nil, e)) }

func opLine(op *history.Operation) string {
	data, err := json.Marshal(op)
	if err != nil { // an operation holds nothing that JSON cannot say
		panic(fmt.Sprintf("checkers: encoding operation %q: %v", op.ID, err))
	}
	return string(data)
}

// node is a node's name in sentences.
func node(id int32) string {
	if id == 0 {
		return "no node"
	}
	return fmt.Sprintf("n%d", id)
}

func nodes(ids []int32) string {
	var names []string
	for _, id := range ids {
		names = append(names, node(id))
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// plural is "1 record", "2 records".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
