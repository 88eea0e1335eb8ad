package gate

import (
	"fmt"

	"soak/results"
)

// JUnit is the gate for build servers: a test suite for every attempt, with a case for each checker and each threshold. Violated and inconclusive are failures of
// those types, a threshold that was crossed is one of the type "threshold", a harness that failed is an error. What does not count is skipped, with why: what does not
// apply, known failures, and what was lacking in an attempt that was made again.
func (r *Result) JUnit() ([]byte, error) {
	var suites []results.Suite
	for i := range r.Repetitions {
		rep := &r.Repetitions[i]
		for k := range rep.Attempts {
			suites = append(suites, rep.suite(k))
		}
		if rep.Outcome == NotRun && len(rep.Attempts) == 0 {
			s := results.Suite{Name: rep.Words(), Time: "0.000", Cases: []results.Case{{Name: "run", Class: rep.class(),
				Failure: &results.CaseProblem{Type: Inconclusive, Message: "not run: " + rep.Why}}}}
			s.Count()
			suites = append(suites, s)
		}
	}
	return results.EncodeSuites(suites...)
}

func (r *Repetition) class() string { return "soak." + r.Scenario + "." + r.Driver }

func (r *Repetition) suite(attempt int) results.Suite {
	a := &r.Attempts[attempt]
	s := results.Suite{Name: r.Words()}
	if a.report == nil {
		s.Cases = []results.Case{{Name: "harness", Error: &results.CaseProblem{Type: "harness", Message: a.Why}}}
	} else {
		s = results.SuiteOf(a.run, a.report)
		s.Name = r.Words()
	}
	if len(r.Attempts) > 1 {
		s.Name += fmt.Sprintf(", attempt %d of %d", attempt+1, len(r.Attempts))
	}
	s.Time = fmt.Sprintf("%.3f", a.Seconds)
	for i := range s.Cases {
		c := &s.Cases[i]
		if known := a.explained(c.Name); known != "" && c.Failure != nil && c.Failure.Type == Violated {
			c.Failure, c.Skipped = nil, &results.CaseProblem{Type: KnownFailure, Message: known}
		}
	}
	for _, t := range a.Thresholds {
		c := results.Case{Name: "threshold " + t.Measure + " " + t.Threshold}
		switch t.Outcome {
		case Crossed:
			c.Failure = &results.CaseProblem{Type: Crossed, Message: t.Words}
		case NoData:
			c.Failure = &results.CaseProblem{Type: Inconclusive, Message: t.Words}
		}
		s.Cases = append(s.Cases, c)
	}
	for i := range s.Cases {
		c := &s.Cases[i]
		c.Class = r.class()
		if p := superseded(c); a.Retried && p != nil {
			c.Failure, c.Error, c.Skipped = nil, nil, &results.CaseProblem{Type: p.Type, Message: "tried again: " + p.Message}
		}
	}
	s.Count()
	return s
}

// superseded is what of an attempt that was made again does not count any more: what it lacked, never what it found.
func superseded(c *results.Case) *results.CaseProblem {
	if c.Failure != nil && c.Failure.Type == Inconclusive {
		return c.Failure
	}
	return c.Error
}

// explained says which known failure explains all that a checker found, "" if none does. An attempt that was violated by more than those explains nothing of a checker
// whose violations were not all kept.
func (a *Attempt) explained(checker string) string {
	if a.report == nil {
		return ""
	}
	known := ""
	for _, f := range a.Findings {
		if f.Checker != checker {
			continue
		}
		if f.Known == "" {
			return ""
		}
		known = f.Known
	}
	for i := range a.report.Verdicts {
		if v := &a.report.Verdicts[i]; v.Checker == checker && v.Unkept() > 0 {
			return ""
		}
	}
	return known
}
