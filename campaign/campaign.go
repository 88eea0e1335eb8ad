package campaign

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Options of a campaign.
type Options struct {
	From  uint64        // the first seed
	Seeds uint64        // how many; 0: until Time is over
	Time  time.Duration // 0: until all Seeds are done
	Dir   string        // of the journal
	Header
	Kinds    []string // of faults that can come, for the coverage
	Workers  int      // jobs at a time
	Doer     Doer
	Stop     <-chan struct{}                                          // closed: end after the runs under way
	Progress func(t *Tally, done, resumed uint64, took time.Duration) // called after each answer, one at a time; done in this process
	Now      func() time.Time
}

// Run simulates the seeds that the journal does not hold yet, and sums all of them up. An error comes with what was done until then, all of
// which is in the journal.
func Run(o Options) (*Tally, error) {
	if o.Seeds == 0 && o.Time == 0 {
		return nil, &Problem{"a campaign without an end", "give a number of seeds or a time"}
	}
	c := &running{o: o, tally: NewTally(o.Kinds), began: o.Now(), next: o.From}
	done := &doneSet{above: map[uint64]bool{}, next: o.From}
	j, err := OpenJournal(o.Dir, o.Header, func(a *Answer) {
		if o.inRange(a.Seed) && done.add(a.Seed) {
			c.tally.Add(a)
			c.resumed++
		}
	})
	if err != nil {
		return nil, err
	}
	c.journal, c.done = j, done
	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(c.work)
	}
	wg.Wait()
	return c.tally, errors.Join(c.err, j.Close())
}

func (o *Options) inRange(seed uint64) bool {
	return seed >= o.From && (o.Seeds == 0 || seed-o.From < o.Seeds)
}

// running is a campaign under way.
type running struct {
	o       Options
	journal *Journal
	began   time.Time

	mu      sync.Mutex
	tally   *Tally
	next    uint64
	done    *doneSet
	count   uint64 // done here
	resumed uint64 // found in the journal
	err     error
}

func (c *running) work() {
	for {
		seed, ok := c.take()
		if !ok {
			return
		}
		a, err := c.o.Doer.Do(Job{Seed: seed, Scenario: c.o.Scenario, Bugs: c.o.Bugs, Twice: Again(seed)})
		c.mu.Lock()
		switch {
		case c.err != nil:
		case err != nil:
			c.err = fmt.Errorf("seed %d: %w", seed, err)
		default:
			if c.err = c.journal.Add(a); c.err == nil {
				c.count++
				c.tally.Add(a)
				if c.o.Progress != nil {
					c.o.Progress(c.tally, c.count, c.resumed, c.o.Now().Sub(c.began))
				}
			}
		}
		c.mu.Unlock()
	}
}

// take gives the next seed that is not done; ok is false at the end.
func (c *running) take() (seed uint64, ok bool) {
	select {
	case <-c.o.Stop:
		return 0, false
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.o.Time > 0 && c.o.Now().Sub(c.began) >= c.o.Time {
		return 0, false
	}
	for c.done.has(c.next) {
		c.next++
	}
	if !c.o.inRange(c.next) {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

// doneSet is the seeds that a journal holds. They are dense but for the last few, so that it stays small.
type doneSet struct {
	next  uint64 // all from the first to before this one are in it
	above map[uint64]bool
}

func (d *doneSet) has(seed uint64) bool { return seed < d.next || d.above[seed] }

func (d *doneSet) add(seed uint64) bool {
	if d.has(seed) {
		return false
	}
	d.above[seed] = true
	for d.above[d.next] {
		delete(d.above, d.next)
		d.next++
	}
	return true
}
