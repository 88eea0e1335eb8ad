package gate

import (
	"fmt"
	"time"

	"soak/history"
	"soak/results"
	"soak/results/measure"
)

// Job is one run that a gate wants.
type Job struct {
	Entry   *Entry
	Driver  string
	Seed    uint64
	Number  int // of the repetition, from 1
	Attempt int // from 1
	Words   string
}

// Options are what a gate needs of the outside.
type Options struct {
	Do      func(Job) Done      // makes a run, and waits for its end
	Seed    func() uint64       // a seed that nobody chose
	Now     func() time.Time    //
	Stopped func() string       // the signal that ended the gate, "" if none did
	Save    func(*Result) error // writes down how far the gate is; called after each run
	Version string
}

// Run makes the runs of a plan, one after the other. A run that fails never keeps the others from being made; an error is of Save.
func (p *Plan) Run(o Options) (*Result, error) {
	r := &Result{Format: Format, Name: p.Name, File: p.File, Started: o.Now().UTC(), Version: o.Version}
	for _, k := range p.Known {
		r.Known = append(r.Known, KnownUse{Known: k})
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		for _, driver := range e.Drivers {
			for n := range e.Repetitions {
				r.Repetitions = append(r.Repetitions, Repetition{Scenario: e.Scenario, Driver: driver, Bugs: e.Bugs, Number: n + 1, Of: e.Repetitions, Outcome: NotRun, Why: "its turn has not come"})
			}
		}
	}
	at := 0
	for i := range p.Entries {
		e := &p.Entries[i]
		for _, driver := range e.Drivers {
			for range e.Repetitions {
				if err := p.repetition(r, &r.Repetitions[at], e, driver, o); err != nil {
					return r, err
				}
				at++
			}
		}
	}
	r.Interrupted = o.Stopped()
	return r, p.save(r, o)
}

// repetition makes a run, and again where the rules allow it.
func (p *Plan) repetition(r *Result, rep *Repetition, e *Entry, driver string, o Options) error {
	for attempt := 1; ; attempt++ {
		if why := p.mayNot(r, e, o); why != "" {
			if attempt == 1 {
				rep.Why = why
			}
			break
		}
		if attempt > 1 {
			rep.Attempts[attempt-2].Retried = true
		}
		job := Job{Entry: e, Driver: driver, Number: rep.Number, Attempt: attempt, Words: rep.Words()}
		if len(e.Seeds) > 0 {
			job.Seed = e.Seeds[rep.Number-1]
		} else {
			job.Seed = o.Seed()
		}
		rep.Attempts = append(rep.Attempts, p.assess(e, o.Do(job), o.Now()))
		rep.conclude()
		if err := p.save(r, o); err != nil {
			return err
		}
		if last := &rep.Attempts[attempt-1]; !last.again() || attempt > p.Retry {
			break
		}
	}
	return nil
}

// mayNot says why no further run is begun, "" if one may be.
func (p *Plan) mayNot(r *Result, e *Entry, o Options) string {
	if sig := o.Stopped(); sig != "" {
		return "the gate was ended by " + sig
	}
	if used := o.Now().Sub(r.Started); p.Budget > 0 && used+e.Expected > p.Budget {
		return fmt.Sprintf("the time budget of %s: %s were used, and this run takes about %s", p.Budget, used.Round(time.Second), e.Expected.Round(time.Second))
	}
	return ""
}

func (p *Plan) save(r *Result, o Options) error {
	r.Ended = o.Now().UTC()
	for i := range r.Known {
		r.Known[i].Runs = 0
		for k := range r.Repetitions {
			for _, a := range r.Repetitions[k].Attempts {
				if a.shows(&r.Known[i].Known) {
					r.Known[i].Runs++
				}
			}
		}
	}
	r.sum()
	return o.Save(r)
}

func (a *Attempt) shows(k *Known) bool {
	for _, f := range a.Findings {
		if f.Known == k.Words() {
			return true
		}
	}
	return false
}

// Read takes what a run left in its folder. What cannot be read is in Trouble: the run then has not passed.
func Read(f *results.Folder, seed uint64, took time.Duration) Done {
	d := Done{Folder: f.Path(), Seed: seed, Took: took}
	var err error
	if d.Run, err = f.Run(); err != nil {
		d.Trouble = err.Error()
		return d
	}
	rep, err := f.Report()
	if err != nil {
		d.Trouble = err.Error()
		return d
	}
	if d.Measures, err = measure.Of(f.Path(), d.Run, rep); err != nil {
		d.Trouble = err.Error()
	}
	d.Report = rep
	return d
}

// Raise gives the minimums of which each is the higher of two.
func Raise(own, more history.Minimums) history.Minimums {
	own.Intervals = max(own.Intervals, more.Intervals)
	own.Faults = max(own.Faults, more.Faults)
	own.LongFaults = max(own.LongFaults, more.LongFaults)
	own.LeaderFaults = max(own.LeaderFaults, more.LeaderFaults)
	own.LeaderChanges = max(own.LeaderChanges, more.LeaderChanges)
	own.AckedRecords = max(own.AckedRecords, more.AckedRecords)
	own.MetaOps = max(own.MetaOps, more.MetaOps)
	own.MetaOverlaps = max(own.MetaOverlaps, more.MetaOverlaps)
	own.AutoCreated = max(own.AutoCreated, more.AutoCreated)
	return own
}
