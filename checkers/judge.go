package checkers

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"soak/history"
)

// ReportFormat is the version of verdict.json.
const ReportFormat = 1

// finishBudget bounds one checker's judging, and recordBudget gives it more for each record of a long run. It is a backstop far above what any takes: budgets that
// decide anything are counted in work, or a slow machine would give another verdict on the same folder.
const (
	finishBudget = 2 * time.Minute
	recordBudget = 20 * time.Microsecond
)

// Report is the judgement of a run: verdict.json.
type Report struct {
	Format       int       `json:"format"`
	Run          string    `json:"run"`
	Outcome      Outcome   `json:"outcome"`
	Sentence     string    `json:"sentence"`
	HarnessError string    `json:"harness_error,omitempty"` // why the harness failed, which outweighs Inconclusive
	Verdicts     []Verdict `json:"verdicts"`
	Notes        []string  `json:"notes,omitempty"`
}

// ExitCode of a command that judged the run: 1 violated, 4 the harness failed, 3 inconclusive, 0 holds. The strongest
// finding wins, in this order.
func (r *Report) ExitCode() int {
	switch {
	case r.Outcome == Violated:
		return 1
	case r.HarnessError != "":
		return 4
	case r.Outcome == Holds:
		return 0
	}
	return 3
}

// Pictures are files that show a violation, by file name.
type Pictures map[string][]byte

// Judge reads the run folder dir and feeds every checker of this version. The same folder gives the same report, byte for
// byte. An error means that the folder cannot be read (a *history.DamageError names the line); a checker that crashes or
// runs out of its budget is Inconclusive in the report and hides no other.
//
// Settled records wait in a temporary file, which is made in the run folder or, if that cannot be written to, where the system has its temporary files, once there are
// more than a few megabytes of them. It has no name, and ends with this call or with the process.
func Judge(dir string, run *history.Run) (*Report, Pictures, error) {
	return judgeOn(dir, &shared{run: run, spill: newSpill(dir, os.TempDir())})
}

func judgeOn(dir string, s *shared) (*Report, Pictures, error) {
	defer s.spill.close()
	r, pictures, err := judge(dir, s.run, newOn(s))
	if failed := s.spill.failed(); err == nil && failed != nil {
		return nil, nil, fmt.Errorf("judging the run in %s: %w", dir, failed)
	}
	return r, pictures, err
}

func judge(dir string, run *history.Run, cs []Checker) (*Report, Pictures, error) {
	f := newFeeder(run, cs)
	notes, err := history.ReadFolder(dir, history.Handler{
		Fault:     func(r *history.Fault) error { f.Fault(r); return nil },
		Operation: func(r *history.Operation) error { f.Operation(r); return nil },
		Event:     func(r *history.Event) error { f.Event(r); return nil },
		Metric:    func(r *history.Metric) error { f.Metric(r); return nil },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("judging the run in %s: %w", dir, err)
	}
	r, pictures := f.report(notes)
	return r, pictures, nil
}

// Feeder judges a run from records in memory: what Judge does for a folder, without one.
type Feeder struct {
	run    *history.Run
	guards []*guard
	faults []*history.Fault
	fed    int64 // events and operations
}

// NewFeeder makes every checker of this version for a run. The description must be complete when Report is called.
func NewFeeder(run *history.Run) *Feeder { return newFeeder(run, New(run)) }

func newFeeder(run *history.Run, cs []Checker) *Feeder {
	f := &Feeder{run: run}
	for _, c := range cs {
		f.guards = append(f.guards, &guard{checker: c})
	}
	return f
}

// Event shows every checker an event. They may keep the pointer.
func (f *Feeder) Event(e *history.Event) {
	f.fed++
	for _, g := range f.guards {
		g.do(func() { g.checker.Event(e) })
	}
}

// Operation shows every checker an operation. They may keep the pointer.
func (f *Feeder) Operation(op *history.Operation) {
	f.fed++
	for _, g := range f.guards {
		g.do(func() { g.checker.Operation(op) })
	}
}

// Fault shows every checker a fault. They may keep the pointer.
func (f *Feeder) Fault(x *history.Fault) {
	f.faults = append(f.faults, x)
	for _, g := range f.guards {
		g.do(func() { g.checker.Fault(x) })
	}
}

// Metric shows a second's measurements to those checkers that are Metered. They may keep the pointer.
func (f *Feeder) Metric(m *history.Metric) {
	for _, g := range f.guards {
		if c, ok := g.checker.(Metered); ok {
			g.do(func() { c.Metric(m) })
		}
	}
}

// Violations calls yield for each violation found so far, until it answers false. Most checkers find theirs in Report only.
func (f *Feeder) Violations(yield func(checker string, v *Violation) bool) {
	for _, g := range f.guards {
		if g.why != "" {
			continue
		}
		var found []Violation
		g.do(func() { found = g.checker.Violations() })
		for i := range found {
			if !yield(g.checker.ID(), &found[i]) {
				return
			}
		}
	}
}

// Report judges what was fed. It is called once, after the last record.
func (f *Feeder) Report() *Report {
	r, _ := f.report(history.Notes{})
	return r
}

func (f *Feeder) report(notes history.Notes) (*Report, Pictures) {
	r := &Report{Format: ReportFormat, Run: f.run.ID, HarnessError: f.run.HarnessError}
	r.Notes = append(append(r.Notes, f.run.Notes...), notes.Lines()...)
	lacking := notes
	if unfinished(f.run) {
		lacking.Truncated = append(slices.Clone(notes.Truncated), history.HistoryFile)
	}
	for _, g := range f.guards {
		if c, ok := g.checker.(interface{ incomplete(history.Notes) }); ok {
			g.do(func() { c.incomplete(lacking) })
		}
		r.Verdicts = append(r.Verdicts, g.finish(finishBudget+time.Duration(f.fed)*recordBudget))
	}
	for i := range r.Verdicts {
		for k := range r.Verdicts[i].Violations {
			v := &r.Verdicts[i].Violations[k]
			v.Place = place(v, f.run, f.faults)
		}
	}
	r.conclude()
	pictures := Pictures{}
	for _, g := range f.guards {
		if c, ok := g.checker.(interface{ Pictures() Pictures }); ok && g.why == "" {
			g.do(func() {
				for name, data := range c.Pictures() {
					pictures[name] = data
				}
			})
		}
	}
	return r, pictures
}

// unfinished reports whether the runner ended before it had recorded the operations under way. Lines are written whole, so one that was
// killed leaves no line behind that is cut; nor does a write that failed at a line's end.
func unfinished(run *history.Run) bool {
	n := len(run.Phases)
	return n == 0 || run.Phases[n-1].End == 0 || strings.Contains(run.HarnessError, "recording to "+history.HistoryFile)
}

// conclude sums the verdicts up: the worst of them, where NotApplicable counts for nothing.
func (r *Report) conclude() {
	of := map[Outcome][]*Verdict{}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		of[v.Outcome] = append(of[v.Outcome], v)
	}
	switch {
	case len(of[Violated]) > 0:
		r.Outcome = Violated
		r.Sentence = said(of[Violated])
	case len(of[Inconclusive]) > 0:
		r.Outcome = Inconclusive
		// Coverage names what the run lacks; what others miss mostly follows from it.
		for _, v := range of[Inconclusive] {
			if v.Checker == Coverage {
				of[Inconclusive] = []*Verdict{v}
				break
			}
		}
		r.Sentence = said(of[Inconclusive])
	case len(of[Holds]) > 0:
		r.Outcome = Holds
		r.Sentence = fmt.Sprintf("%s hold", plural(int64(len(of[Holds])), "checker"))
		if len(of[Holds]) == 1 {
			r.Sentence = "1 checker holds"
		}
		if n := len(of[NotApplicable]); n > 0 {
			r.Sentence += fmt.Sprintf(", %d not applicable", n)
		}
	default:
		r.Outcome, r.Sentence = Inconclusive, "no checker could judge the run"
	}
}

// said is the first verdict's reason, and who else came to the same outcome.
func said(vs []*Verdict) string {
	s := vs[0].Checker + ": " + vs[0].Reason
	var others []string
	for _, v := range vs[1:] {
		others = append(others, v.Checker)
	}
	if len(others) > 0 {
		s += "; also " + strings.Join(others, ", ")
	}
	return s
}

// guard keeps one checker's failure from the others.
type guard struct {
	checker Checker
	why     string // why the checker is not to be used any more
}

func (g *guard) do(f func()) {
	if g.why != "" {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			g.why = fmt.Sprintf("the checker crashed: %v", p)
		}
	}()
	f()
}

// finish gets the verdict, within the budget. A checker that does not come back is left behind.
func (g *guard) finish(budget time.Duration) Verdict {
	done := make(chan Verdict, 1)
	var v Verdict
	if g.why == "" {
		inner := guard{checker: g.checker}
		go func() {
			var v Verdict
			inner.do(func() { v = g.checker.Finish() })
			if c, ok := g.checker.(interface{ release() }); ok {
				inner.do(c.release)
			}
			if inner.why != "" {
				v = Verdict{Reason: inner.why}
			}
			done <- v
		}()
		timer := time.NewTimer(budget)
		defer timer.Stop()
		select {
		case v = <-done:
			if v.Checker == "" {
				g.why = v.Reason
			}
		case <-timer.C:
			g.why = "the checker ran out of its time"
		}
	}
	if g.why != "" {
		v = Verdict{Checker: g.checker.ID(), Reason: g.why}
		// What was found before the crash stays found.
		if found := foundBefore(g.checker, g.why); len(found) > 0 {
			v.Outcome, v.Violations = Violated, found
			v.Reason = found[0].Sentence + "; then " + g.why
		}
	}
	return v
}

// foundBefore are the violations of a checker that crashed. One that still runs may not be touched.
func foundBefore(c Checker, why string) (found []Violation) {
	if !strings.HasPrefix(why, "the checker crashed") {
		return nil
	}
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	return c.Violations()
}
