package campaign

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"soak/broker/bugs"
	"soak/chaos/scenario"
	"soak/chaos/sim"
	"soak/checkers"
	"soak/history"
)

// Job is one run to simulate.
type Job struct {
	Seed     uint64   `json:"seed"`
	Scenario string   `json:"scenario,omitempty"` // YAML; "": what the seed draws
	Bugs     []string `json:"bugs,omitempty"`
	Twice    bool     `json:"twice,omitempty"`    // simulate it a second time and compare the hashes
	Until    *Class   `json:"until,omitempty"`    // end it at the first violation of this class that is found while it runs
	Executed bool     `json:"executed,omitempty"` // give back the executed schedule
}

// Class is what kind of violation it is: a different one is another failure.
type Class struct {
	Checker string `json:"checker"`
	Kind    string `json:"kind"`
}

func (c Class) String() string { return c.Checker + "/" + c.Kind }

// Checkers that stand for what no checker judges.
const (
	Determinism = "determinism" // two runs of one seed differed
	Simulation  = "simulation"  // the run did not come to its end
)

// Failure is a violation, as a campaign keeps it.
type Failure struct {
	Class
	Place    string `json:"place"`        // the kind of the last fault that it touches, or the phase it came in
	Sentence string `json:"sentence"`     // in plain words
	At       int64  `json:"at,omitempty"` // ns from the beginning of the run, 0 if it has no instant
}

// Signature groups failures: class and place.
func (f Failure) Signature() string {
	return checkers.Signature{Checker: f.Checker, Kind: f.Kind, Place: f.Place}.String()
}

// Answer is what came of a Job.
type Answer struct {
	Seed         uint64         `json:"seed"`
	Hash         uint64         `json:"hash,string"`
	Outcome      string         `json:"outcome,omitempty"` // of the report: "holds", "violated", "inconclusive"
	Failures     []Failure      `json:"failures,omitempty"`
	Inconclusive []string       `json:"inconclusive,omitempty"` // checkers that could not judge; coverage is none of them
	Virtual      time.Duration  `json:"virtual,omitempty"`      // simulated
	Events       int64          `json:"events,omitempty"`       // of the simulator's queue
	Faults       int            `json:"faults,omitempty"`       // injected and proven
	Met          map[string]int `json:"met,omitempty"`          // "kill/election": faults of that kind that found the brokers in that state
	Snapshots    map[string]int `json:"snapshots,omitempty"`    // raft snapshots that nodes took, restored at a start, and installed
	Decisions    map[string]int `json:"decisions,omitempty"`    // of planted bugs: how many decisions each changed
	Executed     string         `json:"executed,omitempty"`     // YAML
	Error        string         `json:"error,omitempty"`        // why the job could not be done at all
}

// Has reports whether the run failed with this class.
func (a *Answer) Has(c Class) bool {
	for _, f := range a.Failures {
		if f.Class == c {
			return true
		}
	}
	return false
}

// Plan is the scenario of a job: the given one, or what its seed draws.
func (j Job) Plan() (*scenario.Scenario, error) {
	var s *scenario.Scenario
	if j.Scenario == "" {
		s = draw(j.Seed)
	} else {
		var err error
		if s, err = scenario.Parse("scenario.yaml", []byte(j.Scenario)); err != nil {
			return nil, err
		}
	}
	resolved, err := s.Resolve(scenario.Flags{})
	if err != nil {
		return nil, err
	}
	return resolved.Drawn(j.Seed), nil
}

// Simulate does a job in this process, which may do nothing else with randomness meanwhile (see sim.Run). What is wrong with the run is
// in the answer; Answer.Error says what was wrong with the job.
func Simulate(j Job) (a *Answer) {
	defer func() {
		if p := recover(); p != nil {
			a = &Answer{Seed: j.Seed, Failures: []Failure{{Class: Class{Simulation, "panic"}, Place: panicked(), Sentence: fmt.Sprint(p)}}}
		}
	}()
	a, err := simulate(j, nil, nil)
	if err != nil {
		return &Answer{Seed: j.Seed, Error: oneLine(err)}
	}
	return a
}

// panicked names the function that panicked: the first of ours below the runtime's.
func panicked() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "soak/") && !strings.HasPrefix(f.Function, "soak/campaign.") || !more {
			return f.Function
		}
	}
}

// simulate does a job; watch, if there is one, is shown each record as well, and stop asked whether to end.
func simulate(j Job, watch func(record any), stop func() string) (*Answer, error) {
	plan, err := j.Plan()
	if err != nil {
		return nil, fmt.Errorf("the scenario of seed %d: %w", j.Seed, err)
	}
	set, err := bugs.Parse(j.Bugs)
	if err != nil {
		return nil, err
	}
	run := Describe(plan, j.Seed, j.Bugs)
	judge := checkers.NewFeeder(run)
	met := newMet()
	a := &Answer{Seed: j.Seed}
	o := sim.Options{Scenario: plan, Seed: j.Seed, RunHash: run.RunHash, Bugs: set, Exact: Pinned(plan)}
	plain := o
	o.Observe = func(record any) {
		if watch != nil {
			watch(record)
		}
		// The simulator keeps what it shows, the checkers keep what they are shown: each has its own.
		switch r := record.(type) {
		case *history.Event:
			c := *r
			met.event(&c)
			a.decisions(&c)
			judge.Event(&c)
		case *history.Operation:
			c := *r
			judge.Operation(&c)
		case *history.Fault:
			c := *r
			met.fault(&c)
			judge.Fault(&c)
		}
	}
	o.Stop = stop
	if j.Until != nil {
		o.Stop = func() string { return reached(judge, *j.Until) }
	}
	res, err := sim.Run(o)
	if err != nil {
		a.Failures = append(a.Failures, Failure{Class: Class{Simulation, "standstill"}, Place: "the run", Sentence: err.Error()})
		return a, nil
	}
	run.Phases, run.Notes, run.Liveness = res.Phases, res.Notes, res.Liveness
	a.Hash, a.Virtual, a.Events = res.Hash, res.Stats.Virtual, res.Stats.Events
	a.Faults, a.Met = met.sum()
	a.Snapshots = met.snapshots
	if j.Executed {
		a.Executed = string(res.Executed.YAML())
	}
	if res.Problem != "" {
		a.Failures = append(a.Failures, Failure{Class: Class{Simulation, "problem"}, Place: lastPhase(run), Sentence: res.Problem})
	}
	if res.Unrecovered != "" {
		a.Failures = append(a.Failures, Failure{Class: Class{Simulation, "unrecovered"}, Place: "recover", Sentence: res.Unrecovered})
	}
	a.take(judge.Report())
	if j.Twice {
		a.again(func() (uint64, error) {
			r, err := sim.Run(plain)
			if err != nil {
				return 0, err
			}
			return r.Hash, nil
		})
	}
	return a, nil
}

// again holds a second run of the seed against the first.
func (a *Answer) again(run func() (hash uint64, err error)) {
	f := Failure{Class: Class{Determinism, "nondeterminism"}, Place: "the same process"}
	switch hash, err := run(); {
	case err != nil:
		f.Sentence = "the second run of the seed came to no end: " + oneLine(err)
	case hash != a.Hash:
		f.Sentence = fmt.Sprintf("two runs of the seed differ: %016x and %016x", a.Hash, hash)
	default:
		return
	}
	a.Failures = append(a.Failures, f)
}

// draw is what a seed's own scenario is.
func draw(seed uint64) *scenario.Scenario { return sim.Draw(seed, sim.SwarmOptions{}) }

// reached is why a run is to end: the violation that was waited for has come.
func reached(judge *checkers.Feeder, c Class) (why string) {
	judge.Violations(func(checker string, v *checkers.Violation) bool {
		if checker == c.Checker && v.Kind == c.Kind {
			why = "the violation was found"
		}
		return why == ""
	})
	return why
}

// decisions notes how far a planted bug has shown.
func (a *Answer) decisions(e *history.Event) {
	b, ok := e.Body.(*history.Bug)
	if !ok {
		return
	}
	if a.Decisions == nil {
		a.Decisions = map[string]int{}
	}
	a.Decisions[b.Name] = max(a.Decisions[b.Name], int(b.Decisions))
}

// take keeps of a report what a campaign needs: of each class the first violation.
func (a *Answer) take(r *checkers.Report) {
	text, err := r.Outcome.MarshalText()
	if err == nil {
		a.Outcome = string(text)
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Outcome == checkers.Inconclusive && v.Checker != checkers.Coverage {
			a.Inconclusive = append(a.Inconclusive, v.Checker)
		}
		for k := range v.Violations {
			x := &v.Violations[k]
			c := Class{v.Checker, x.Kind}
			if a.Has(c) {
				continue
			}
			f := Failure{Class: c, Place: x.Place, Sentence: x.Sentence}
			if x.Time != 0 {
				f.At = max(1, x.Time-sim.Epoch)
			}
			a.Failures = append(a.Failures, f)
		}
	}
}

func lastPhase(run *history.Run) string {
	if n := len(run.Phases); n > 0 {
		return run.Phases[n-1].Name
	}
	return "start"
}
