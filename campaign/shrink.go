package campaign

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"soak/chaos/scenario"
	"soak/history"
)

// ShrinkOptions say what to shrink. The plans are tried in their order: the first that fails with the class is shrunk. An executed
// schedule comes first, since its faults are pinned to nodes and times; a plan whose faults choose their own serves where that one does not fail.
type ShrinkOptions struct {
	Plans []*scenario.Scenario
	Seed  uint64
	Bugs  []string
	Class Class
	Doer  Doer
	Width int           // runs at a time
	Time  time.Duration // bound
	Now   func() time.Time
	Stop  <-chan struct{}
	Say   func(format string, args ...any) // progress
}

// Shrunk is the smallest run found.
type Shrunk struct {
	Plan    *scenario.Scenario
	Seed    uint64
	Bugs    []string
	Failure Failure
	Hash    uint64
	From    int  // faults of the plan that was given
	Tries   int  // runs
	Minimal bool // taking away any one fault, or any other thing that the passes know, loses the failure
}

// ErrDoesNotFail is returned where no given plan fails with the class.
var ErrDoesNotFail = errors.New("the simulated run does not fail in this way")

// Shrink looks for the smallest plan that still fails with the class: another failure is no success. What it has when the time is over is
// returned, and said not to be minimal.
func Shrink(o ShrinkOptions) (*Shrunk, error) {
	s := &shrinker{o: o, until: o.Now().Add(o.Time), seen: map[string]bool{}}
	for _, p := range o.Plans {
		ok, err := s.first([]*scenario.Scenario{p})
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		s.from = len(p.Faults)
		s.o.Say("seed %d fails with %s under %d faults; shrinking for at most %s", o.Seed, o.Class, s.from, o.Time)
		minimal, err := s.all()
		if err != nil {
			return nil, err
		}
		return s.result(minimal)
	}
	return nil, fmt.Errorf("seed %d: %w (%s)", o.Seed, ErrDoesNotFail, o.Class)
}

// shrinker is a search under way.
type shrinker struct {
	o     ShrinkOptions
	until time.Time
	best  *scenario.Scenario
	fail  Failure // of best
	from  int
	tries int
	seen  map[string]bool // plans that were tried, by their YAML
}

// over reports whether the search is to end.
func (s *shrinker) over() bool {
	select {
	case <-s.o.Stop:
		return true
	default:
		return !s.o.Now().Before(s.until)
	}
}

// first tries candidates, several at a time, and takes the first of them that fails with the class. However many are tried at a time, it is
// the same one.
func (s *shrinker) first(candidates []*scenario.Scenario) (bool, error) {
	var fresh []*scenario.Scenario
	for _, c := range candidates {
		if key := string(c.YAML()); !s.seen[key] {
			s.seen[key] = true
			fresh = append(fresh, c)
		}
	}
	for group := range slices.Chunk(fresh, max(1, s.o.Width)) {
		if s.best != nil && s.over() {
			return false, nil
		}
		answers, err := s.run(group)
		if err != nil {
			return false, err
		}
		for i, a := range answers {
			if a == nil {
				continue // no valid scenario
			}
			for _, f := range a.Failures {
				if f.Class == s.o.Class {
					s.best, s.fail = group[i], f
					return true, nil
				}
			}
		}
	}
	return false, nil
}

func (s *shrinker) run(group []*scenario.Scenario) ([]*Answer, error) {
	answers, errs := make([]*Answer, len(group)), make([]error, len(group))
	var wg sync.WaitGroup
	for i, c := range group {
		wg.Go(func() {
			a, err := s.o.Doer.Do(Job{Seed: s.o.Seed, Scenario: string(c.YAML()), Bugs: s.o.Bugs, Until: &s.o.Class})
			if refused := (*Refused)(nil); err != nil && !errors.As(err, &refused) {
				errs[i] = err
			} else if err == nil {
				answers[i] = a
			}
		})
	}
	wg.Wait()
	s.tries += len(group)
	return answers, errors.Join(errs...)
}

// all does the passes until none of them finds anything, or the time is over.
func (s *shrinker) all() (minimal bool, err error) {
	for {
		before := s.best
		for _, p := range passes {
			at := s.best
			for again := true; again; {
				if s.over() {
					return false, nil
				}
				if again, err = p.do(s); err != nil {
					return false, err
				}
			}
			if s.best != at {
				s.o.Say("%s: %d faults, %s, %d nodes, %d runs so far", p.name, len(s.best.Faults), s.best.Duration, s.best.Nodes, s.tries)
			}
		}
		if s.best != before {
			continue
		}
		if pinned, err := s.pin(); err != nil || !pinned {
			return !s.over(), err
		}
	}
}

// pin takes the nodes that faults chose by role as they came about: a fault that did no more than to move a role is then no longer needed.
func (s *shrinker) pin() (bool, error) {
	if len(s.best.Faults) < 2 || Pinned(s.best) || s.over() {
		return false, nil
	}
	a, err := s.o.Doer.Do(Job{Seed: s.o.Seed, Scenario: string(s.best.YAML()), Bugs: s.o.Bugs, Executed: true})
	if err != nil {
		return false, err
	}
	s.tries++
	executed, err := scenario.Parse("executed.yaml", []byte(a.Executed))
	if err != nil {
		return false, fmt.Errorf("reading an executed schedule: %w", err)
	}
	return s.first([]*scenario.Scenario{executed})
}

// result runs the best plan once more, whole, for its hash and its failure.
func (s *shrinker) result(minimal bool) (*Shrunk, error) {
	a, err := s.o.Doer.Do(Job{Seed: s.o.Seed, Scenario: string(s.best.YAML()), Bugs: s.o.Bugs})
	if err != nil {
		return nil, err
	}
	out := &Shrunk{Plan: s.best, Seed: s.o.Seed, Bugs: s.o.Bugs, Failure: s.fail, Hash: a.Hash, From: s.from, Tries: s.tries, Minimal: minimal}
	for _, f := range a.Failures {
		if f.Class == s.o.Class {
			out.Failure = f
			return out, nil
		}
	}
	return nil, fmt.Errorf("the shrunk run of seed %d failed when it was ended early and does not in full: %w", s.o.Seed, ErrDoesNotFail)
}

// change is a copy of the best plan with something changed. A plan that is shrunk has to prove nothing else: it has no minimums.
func (s *shrinker) change(f func(c *scenario.Scenario)) *scenario.Scenario {
	c := s.best.WithFaults(s.best.Faults)
	c.Topics = slices.Clone(c.Topics)
	c.Minimums = history.Minimums{}
	f(c)
	return c
}
