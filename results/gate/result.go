package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
	"soak/results/measure"
)

// Format of gate.json.
const Format = 1

// Outcomes of attempts and repetitions, beside the words of verdicts.
const (
	Holds        = "holds"
	Violated     = "violated"
	KnownFailure = "known-failure" // violated, by known failures alone
	Crossed      = "threshold"     // a threshold was crossed
	NoData       = "no-data"       // a threshold's measure was not measured
	Inconclusive = "inconclusive"
	Harness      = "harness-failed"
	NotRun       = "not-run" // no time was left, or the gate was interrupted
)

// Exit codes, as those of every command.
const (
	exitHolds        = 0
	exitViolated     = 1
	exitInconclusive = 3
	exitHarness      = 4
)

// Result is what came of a gate: gate.json.
type Result struct {
	Format      int          `json:"format"`
	Name        string       `json:"name"`
	File        string       `json:"file"`
	Version     string       `json:"version,omitempty"`
	Started     time.Time    `json:"started"`
	Ended       time.Time    `json:"ended"`
	Exit        int          `json:"exit"`
	Outcome     string       `json:"outcome"`
	Sentence    string       `json:"sentence"`
	Interrupted string       `json:"interrupted,omitempty"` // the signal that ended it early
	Repetitions []Repetition `json:"repetitions"`
	Known       []KnownUse   `json:"known_failures,omitempty"`
}

// KnownUse is a known failure and how many runs showed it.
type KnownUse struct {
	Known
	Runs int `json:"runs"`
}

// Repetition is one of the runs that the file asks for, with every attempt at it.
type Repetition struct {
	Scenario string    `json:"scenario"`
	Driver   string    `json:"driver"`
	Bugs     []string  `json:"bugs,omitempty"`
	Number   int       `json:"number"` // from 1, of its scenario and driver
	Of       int       `json:"of"`
	Outcome  string    `json:"outcome"`
	Why      string    `json:"why"`
	Attempts []Attempt `json:"attempts,omitempty"`
}

// Words name a repetition.
func (r *Repetition) Words() string {
	words := r.Scenario + " on " + r.Driver
	if len(r.Bugs) > 0 {
		words += " with " + strings.Join(r.Bugs, ", ")
	}
	return fmt.Sprintf("%s, repetition %d of %d", words, r.Number, r.Of)
}

// Attempt is one run.
type Attempt struct {
	Folder     string             `json:"folder,omitempty"`
	Run        string             `json:"run,omitempty"`
	Seed       uint64             `json:"seed,string"`
	Seconds    float64            `json:"seconds"`
	Outcome    string             `json:"outcome"`
	Why        string             `json:"why"`
	Retried    bool               `json:"retried,omitempty"` // another attempt followed, and this one does not count
	Findings   []FindingUse       `json:"findings,omitempty"`
	Thresholds []ThresholdUse     `json:"thresholds,omitempty"`
	Measures   map[string]float64 `json:"measures,omitempty"` // those that are known

	run    *history.Run
	report *checkers.Report
}

// FindingUse is a finding of an attempt.
type FindingUse struct {
	Signature string `json:"signature"`
	Checker   string `json:"checker"`
	Count     int64  `json:"count"`
	Sentence  string `json:"sentence"`
	Known     string `json:"known,omitempty"` // who answers for it
}

// ThresholdUse is a threshold and what an attempt measured.
type ThresholdUse struct {
	Measure   string   `json:"measure"`
	Threshold string   `json:"threshold"`
	Value     *float64 `json:"value"` // null: not measured
	Outcome   string   `json:"outcome"`
	Words     string   `json:"words"`
}

// Done is what the caller hands back of a run.
type Done struct {
	Folder   string
	Seed     uint64
	Took     time.Duration
	Run      *history.Run
	Report   *checkers.Report // nil: there is none
	Measures *measure.Measures
	Trouble  string // why there is no report, or why it cannot be measured
}

// assess judges one attempt.
func (p *Plan) assess(e *Entry, d Done, now time.Time) Attempt {
	a := Attempt{Folder: d.Folder, Seed: d.Seed, Seconds: d.Took.Seconds(), run: d.Run, report: d.Report}
	if d.Run != nil {
		a.Run = d.Run.ID
	}
	if d.Report == nil {
		a.Outcome, a.Why = Harness, d.Trouble
		if a.Why == "" {
			a.Why = "the run left no verdict"
		}
		return a
	}
	p.findings(&a, d.Report, now)
	if a.Outcome, a.Why = a.verdict(d.Report); d.Trouble != "" && a.Outcome != Violated {
		a.Outcome, a.Why = Harness, d.Trouble // a run whose records cannot be read has not passed
	}
	a.thresholds(e, d)
	return a
}

func (p *Plan) findings(a *Attempt, rep *checkers.Report, now time.Time) {
	for _, f := range rep.Findings() {
		use := FindingUse{Signature: f.Signature.String(), Checker: f.Checker, Count: f.Count, Sentence: f.Sentence}
		for i := range p.Known {
			if p.Known[i].Matches(f.Signature, now) {
				use.Known = p.Known[i].Words()
				break
			}
		}
		a.Findings = append(a.Findings, use)
	}
}

// verdict is the outcome before any threshold.
func (a *Attempt) verdict(rep *checkers.Report) (outcome, why string) {
	why = rep.Sentence
	if rep.Outcome == checkers.Violated {
		if new := a.unknown(rep); new != "" {
			return Violated, new
		}
		outcome, why = KnownFailure, a.Findings[0].Known
	}
	var open []string // what else could not be judged
	for _, v := range rep.Verdicts {
		if v.Outcome == checkers.Inconclusive {
			open = append(open, v.Checker+": "+v.Reason)
		}
	}
	switch {
	case rep.HarnessError != "":
		return Harness, rep.HarnessError
	case outcome == KnownFailure && len(open) > 0:
		return Inconclusive, open[0] + " (beside a known failure)"
	case outcome == KnownFailure:
		return outcome, why
	case rep.Outcome == checkers.Holds:
		return Holds, why
	}
	return Inconclusive, why
}

// unknown says why known failures do not explain the violations, "" if they do. Of a checker that found more than its verdict keeps, the rest cannot be
// looked at, and so is not known.
func (a *Attempt) unknown(rep *checkers.Report) string {
	if len(a.Findings) == 0 {
		return rep.Sentence
	}
	for _, f := range a.Findings {
		if f.Known == "" {
			return f.Signature + ": " + f.Sentence
		}
	}
	for i := range rep.Verdicts {
		if n := rep.Verdicts[i].Unkept(); n > 0 {
			return fmt.Sprintf("%s: %d violations more than the verdict keeps; whether they are known failures cannot be said", rep.Verdicts[i].Checker, n)
		}
	}
	return ""
}

func (a *Attempt) thresholds(e *Entry, d Done) {
	if d.Measures != nil {
		a.Measures = map[string]float64{}
		for _, m := range measure.List() {
			if v := d.Measures.Value(m.Name); v.Known {
				a.Measures[m.Name] = v.Value
			}
		}
	}
	for _, t := range e.Thresholds {
		use := ThresholdUse{Measure: t.Measure.Name, Threshold: t.Text, Outcome: NoData}
		v := measure.Value{Why: d.Trouble}
		if d.Measures != nil {
			v = d.Measures.Value(t.Measure.Name)
		}
		switch {
		case !v.Known:
			use.Words = fmt.Sprintf("%s: no data: %s", t.Words(), v.Why)
		case t.Met(v.Value):
			use.Value, use.Outcome, use.Words = &v.Value, Holds, fmt.Sprintf("%s: %s", t.Words(), t.Measure.Unit.Format(v.Value))
		default:
			use.Value, use.Outcome, use.Words = &v.Value, Crossed, fmt.Sprintf("%s: it was %s", t.Words(), t.Measure.Unit.Format(v.Value))
		}
		a.Thresholds = append(a.Thresholds, use)
	}
}

// worst threshold of an attempt: crossed before no data; "" if all are met.
func (a *Attempt) worst() (outcome, words string) {
	for _, want := range []string{Crossed, NoData} {
		for _, t := range a.Thresholds {
			if t.Outcome == want {
				return want, t.Words
			}
		}
	}
	return "", ""
}

// again reports whether the rules allow another attempt: nothing was found, and something is lacking.
func (a *Attempt) again() bool {
	crossed, _ := a.worst()
	return (a.Outcome == Inconclusive || a.Outcome == Harness) && crossed != Crossed && len(a.Findings) == 0
}

// conclude gives a repetition its outcome. What an earlier attempt found is not tried away.
func (r *Repetition) conclude() {
	for _, a := range r.Attempts {
		if a.Outcome == Violated {
			r.Outcome, r.Why = Violated, a.Why
			return
		}
	}
	for _, a := range r.Attempts {
		if o, words := a.worst(); o == Crossed {
			r.Outcome, r.Why = Crossed, words
			return
		}
	}
	last := r.Attempts[len(r.Attempts)-1]
	r.Outcome, r.Why = last.Outcome, last.Why
	if o, words := last.worst(); o == NoData && (r.Outcome == Holds || r.Outcome == KnownFailure) {
		r.Outcome, r.Why = NoData, words
	}
}

// exitOf is what a repetition means for the gate.
func exitOf(outcome string) int {
	switch outcome {
	case Violated, Crossed:
		return exitViolated
	case Harness:
		return exitHarness
	case Inconclusive, NoData, NotRun:
		return exitInconclusive
	}
	return exitHolds
}

// Label is what a repetition's scenario was over all its repetitions: "flaky: violated 1 of 3". It changes nothing.
func (r *Result) Label(of *Repetition) string {
	violated, all := 0, 0
	for i := range r.Repetitions {
		x := &r.Repetitions[i]
		if x.Scenario != of.Scenario || x.Driver != of.Driver || !slices.Equal(x.Bugs, of.Bugs) {
			continue
		}
		all++
		if x.Outcome == Violated {
			violated++
		}
	}
	if violated == 0 || violated == all {
		return ""
	}
	return fmt.Sprintf("flaky: violated %d of %d", violated, all)
}

// Count is how many repetitions came to an outcome.
func (r *Result) Count(outcome string) int {
	n := 0
	for i := range r.Repetitions {
		if r.Repetitions[i].Outcome == outcome {
			n++
		}
	}
	return n
}

// outcomes in the order in which they are told: the strongest first.
var outcomes = []string{Violated, Crossed, Harness, Inconclusive, NoData, NotRun, KnownFailure, Holds}

// sum gives the gate its exit code and its sentence.
func (r *Result) sum() {
	r.Exit = exitHolds
	rank := []int{exitHolds, exitInconclusive, exitHarness, exitViolated}
	var parts []string
	for _, o := range outcomes {
		n := r.Count(o)
		if n == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %d of %d", o, n, len(r.Repetitions)))
		if code := exitOf(o); slices.Index(rank, code) > slices.Index(rank, r.Exit) {
			r.Exit = code
		}
	}
	r.Sentence = strings.Join(parts, ", ")
	r.Outcome = map[int]string{exitHolds: "passed", exitViolated: "failed", exitHarness: "harness-failed", exitInconclusive: "inconclusive"}[r.Exit]
	for i := range r.Repetitions {
		if x := &r.Repetitions[i]; exitOf(x.Outcome) == r.Exit && r.Exit != exitHolds {
			r.Sentence += fmt.Sprintf("; first: %s: %s", x.Words(), x.Why)
			break
		}
	}
}
