package campaign

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"soak/broker/bugs"
	"soak/chaos"
	"soak/chaos/scenario"
	"soak/chaos/sim"
)

// SelftestOptions say which bugs to plant.
type SelftestOptions struct {
	Bugs     []bugs.Entry
	Doer     Doer
	Width    int // runs at a time
	Tries    int // runs a bug; 0: 60
	Clean    int // runs without a bug; 0: 20
	Now      func() time.Time
	Stop     <-chan struct{}
	Progress func(Found) // after each bug, one at a time
}

// Found is what planting one bug gave.
type Found struct {
	Bug      bugs.Entry
	By       []string // checkers that reported in the run that found it, sorted; those of all runs if none did
	Right    bool     // one of those that must report it did
	Reached  bool     // the bug changed a decision
	Tries    int
	Took     time.Duration // from its first run to the verdict that found it
	Seed     uint64        // of the run that found it
	Scenario string        // "swarm" or an embedded one's name
	Sentence string        // of a checker that must report it
	At       time.Duration // of the violation in that run, 0 if it has no instant
}

// Unlisted are the checkers that reported although the bug's entry names them neither as those that must nor as those that may.
func (f *Found) Unlisted() []string {
	return slices.DeleteFunc(slices.Clone(f.By), func(c string) bool {
		return slices.Contains(f.Bug.Checkers, c) || slices.Contains(f.Bug.May, c)
	})
}

// Selftest is what came of all of them.
type Selftest struct {
	Found     []Found // in the order asked for
	CleanRuns int
	Clean     []Answer // runs of the sound broker that failed
	Stopped   bool     // it was ended before all was done
}

// OK reports whether every bug was found by a checker that must find it, and the sound broker was found sound.
func (s *Selftest) OK() bool {
	return !s.Stopped && len(s.Clean) == 0 && !slices.ContainsFunc(s.Found, func(f Found) bool { return !f.Right })
}

// tries are the runs that a bug is looked for in: seeds that draw their own scenario, and every third time the embedded one, which has
// the quiet that some checkers need. For a bug that cannot show without a kind of fault, seeds draw that kind, and kills; for one
// of retention all draw topics that have it.
func selftestJob(try int, planted []string) (j Job, what string) {
	j = Job{Seed: uint64(try + 1), Bugs: planted}
	needs := bugs.Needs(planted)
	switch {
	case bugs.Retaining(planted):
		j.Scenario = string(sim.Draw(j.Seed, sim.SwarmOptions{Retain: true}).YAML())
		return j, "swarm with retention"
	case len(needs) > 0 && try%3 != 2:
		plan := sim.Draw(j.Seed, sim.SwarmOptions{Kinds: append(needs, chaos.Kill)})
		j.Scenario = string(plan.YAML())
		return j, "swarm of " + strings.Join(needs, " and ")
	case try%3 != 2:
		return j, "swarm"
	}
	name := scenario.Names()[0]
	src, _ := scenario.Source(name)
	j.Scenario = string(src)
	return j, name
}

// RunSelftest plants each bug until a checker that must find it has.
func RunSelftest(o SelftestOptions) (*Selftest, error) {
	if o.Tries == 0 {
		o.Tries = 60
	}
	if o.Clean == 0 {
		o.Clean = 20
	}
	t := &selftest{o: o, out: Selftest{Found: make([]Found, len(o.Bugs)), CleanRuns: o.Clean}}
	work := make(chan func() error)
	var wg sync.WaitGroup
	for range max(1, o.Width) {
		wg.Go(func() {
			for do := range work {
				if err := do(); err != nil {
					t.mu.Lock()
					t.errs = append(t.errs, err)
					t.mu.Unlock()
				}
			}
		})
	}
	for i := range o.Bugs {
		work <- func() error { return t.plant(i) }
	}
	for try := range o.Clean {
		work <- func() error { return t.clean(try) }
	}
	close(work)
	wg.Wait()
	slices.SortFunc(t.out.Clean, func(a, b Answer) int { return int(int64(a.Seed) - int64(b.Seed)) })
	return &t.out, errors.Join(t.errs...)
}

// selftest is one under way.
type selftest struct {
	o    SelftestOptions
	mu   sync.Mutex
	out  Selftest
	errs []error
}

// over reports whether to end, and remembers it.
func (t *selftest) over() bool {
	select {
	case <-t.o.Stop:
		t.mu.Lock()
		t.out.Stopped = true
		t.mu.Unlock()
		return true
	default:
		return false
	}
}

func (t *selftest) plant(i int) error {
	f := Found{Bug: t.o.Bugs[i]}
	began := t.o.Now()
	for !f.Right && f.Tries < t.o.Tries && !t.over() {
		j, what := selftestJob(f.Tries, []string{f.Bug.Name})
		a, err := t.o.Doer.Do(j)
		if err != nil {
			return err
		}
		f.Tries++
		f.Reached = f.Reached || a.Decisions[f.Bug.Name] > 0
		f.take(a, j, what)
	}
	f.Took = t.o.Now().Sub(began)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Found[i] = f
	if t.o.Progress != nil {
		t.o.Progress(f)
	}
	return nil
}

// take looks for the bug in a run. Who reported before, in runs that did not find it, does not count for the one that did.
func (f *Found) take(a *Answer, j Job, what string) {
	var by []string
	for _, x := range a.Failures {
		if !slices.Contains(by, x.Checker) {
			by = append(by, x.Checker)
		}
		if !f.Right && slices.Contains(f.Bug.Checkers, x.Checker) {
			f.Right, f.Seed, f.Scenario, f.Sentence, f.At = true, j.Seed, what, x.Sentence, time.Duration(x.At)
		}
	}
	if f.Right {
		f.By = nil
	}
	f.By = append(f.By, by...)
	slices.Sort(f.By)
	f.By = slices.Compact(f.By)
}

func (t *selftest) clean(try int) error {
	if t.over() {
		return nil
	}
	j, _ := selftestJob(try, nil)
	a, err := t.o.Doer.Do(j)
	if err != nil {
		return err
	}
	if len(a.Failures) > 0 {
		t.mu.Lock()
		t.out.Clean = append(t.out.Clean, *a)
		t.mu.Unlock()
	}
	return nil
}
