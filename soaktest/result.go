package soaktest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/chaos/scenario"
	"soak/checkers"
	"soak/history"
	"soak/results"
)

// Result is the verdict on a run.
type Result struct {
	// Report is what the checkers say: the same as the folder's verdict.json.
	Report *checkers.Report
	// Folder holds the run's records. It is removed at the end of a test that passes, unless Options.Dir and its like say where to keep it.
	Folder string

	t   testing.TB
	run *history.Run
}

// judge has the folder of a run that has ended judged.
func (r *run) judge() (*Result, error) {
	j, err := results.Judge(r.folder)
	if j == nil || j.Report == nil {
		return nil, fmt.Errorf("judging the run in %s: %w", r.folder.Path(), cmp.Or(r.err, err))
	}
	if err := errors.Join(err, j.Beside); err != nil {
		r.t.Logf("soaktest: beside the verdict: %v", err)
	}
	r.result = &Result{Report: j.Report, Folder: r.folder.Path(), t: r.t, run: r.desc}
	return r.result, nil
}

// Check fails the test unless the run holds: nothing was violated, and enough was seen to say so. Where checkers are named (soak checkers lists
// them), only these must hold, and what the others could not decide is let pass; a violation never is.
func (r *Result) Check(names ...string) {
	r.t.Helper()
	for _, n := range names {
		if !slices.ContainsFunc(r.Report.Verdicts, func(v checkers.Verdict) bool { return v.Checker == n }) {
			r.t.Fatalf("soaktest: no checker is called %q; soak checkers lists them", n)
		}
	}
	if r.Report.HarnessError != "" {
		r.t.Errorf("soaktest: the harness failed: %s", r.Report.HarnessError)
	}
	r.tellViolations()
	for _, v := range r.Report.Verdicts {
		named := slices.Contains(names, v.Checker)
		switch {
		case v.Outcome == checkers.Inconclusive && (named || len(names) == 0), v.Outcome == checkers.NotApplicable && named:
			r.t.Errorf("soaktest: %s  %s: %s", v.Outcome, v.Checker, v.Reason)
		}
	}
	if r.t.Failed() {
		r.t.Logf("soaktest: the run's folder is kept: %s", r.Folder)
		r.t.Logf("soaktest: judge it again with: soak check %s", r.Folder)
		r.t.Logf("soaktest: break a cluster in the same way with: %s", r.again())
		return
	}
	r.t.Logf("soaktest: %s  %s", r.Report.Outcome, r.Report.Sentence)
}

// shownOfChecker bounds what is told of one checker: a bug that violates a hundred times a second says enough with three.
const shownOfChecker = 3

// tellViolations fails the test for each checker that was violated, in words.
func (r *Result) tellViolations() {
	r.t.Helper()
	for _, v := range r.Report.Verdicts {
		if v.Outcome != checkers.Violated {
			continue
		}
		var b strings.Builder
		for i, x := range v.Violations {
			if i == shownOfChecker {
				fmt.Fprintf(&b, "\n    and %d more", len(v.Violations)-i)
				break
			}
			fmt.Fprintf(&b, "\n    %s%s", x.Sentence, r.around(x))
		}
		r.t.Errorf("soaktest: VIOLATED  %s%s", v.Checker, b.String())
	}
}

// around says when a violation was seen, and what was broken then.
func (r *Result) around(x checkers.Violation) string {
	var parts []string
	if x.Time != 0 && len(r.run.Phases) > 0 {
		parts = append(parts, fmt.Sprintf("%.1f s after the start", time.Duration(x.Time-r.run.Phases[0].Start).Seconds()))
	}
	for _, id := range x.Faults {
		parts = append(parts, fmt.Sprintf("fault %d was active", id))
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// again is the command that runs the executed schedule: what the test broke, without the test.
func (r *Result) again() string {
	words := fmt.Sprintf("soak run %s/%s --driver %s --seed %d", r.Folder, results.ScheduleFile, r.run.Driver, r.run.Seed)
	for _, b := range r.run.Bugs {
		words += " --bug " + b
	}
	return words
}

// words is an error with its hint.
func words(err error) string {
	if e := (*scenario.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		return err.Error() + " (" + e.Hint + ")"
	}
	return err.Error()
}
