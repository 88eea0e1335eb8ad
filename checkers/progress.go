package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"soak/history"
)

// KindNoWrites is a partition that acknowledges nothing for longer than its bound, while a fault leaves it a majority that is whole.
const KindNoWrites = "no-writes"

// progressSlack is what clients may lose beside the cluster while a fault lasts: they may ask the faulty node first, and meet more than one
// time-out of 3 s until they know better.
const progressSlack = 2 * clientSlack

// progress holds the side that must keep working to do so: while a fault takes a minority of the nodes away and the others are whole, every record
// partition goes on acknowledging writes. recovery judges how soon another node leads; this, whether it then serves, for as long as the fault lasts.
type progress struct {
	recovery // what is known of faults, stalls, writes and ISRs

	slowest time.Duration
	short   int64            // partitions in faults that did not last long enough; those in which nobody tried are cut
	lives   []*history.Event // nodes that stopped or started
	calm    int64            // partitions in lulls
	told    []window         // times without a write of the partition that is judged that were reported
}

func newProgress(s *shared) *progress {
	c := &progress{recovery: *newRecovery(s)}
	c.id, c.leading = Progress, nil // nobody asks who led
	return c
}

// Event implements Checker.
func (c *progress) Event(e *history.Event) {
	c.recovery.Event(e)
	switch e.Body.(type) {
	case *history.Exit, *history.Started:
		c.lives = append(c.lives, e)
	}
}

// bound is from the effect of a fault, or from a write, to the next: another leader, the removal of a replica that lags from the ISR, and clients
// that learn of it.
func (c *progress) bound() time.Duration {
	return c.failoverBound() + max(c.session(), time.Second) + progressSlack
}

// watched is the time in which the majority was whole and had nothing but this fault to bear. The fault's end counts as its part.
func (c *progress) watched(f *history.Fault) window {
	lasted := f.Effective + f.Lasted()
	return window{f.Effective, min(lasted, c.undisturbed(f.Asked, f))}
}

// judge looks for a gap between the acknowledged writes of one partition while a fault lasted.
func (c *progress) judge(f *history.Fault, p partition, states []isrAt) {
	w, bound := c.watched(f), int64(c.bound())
	full := false
	for _, s := range states {
		if s.time <= f.Asked {
			full = s.full
		}
	}
	if !full { // it began with less than it promises for
		return
	}
	if w.to-w.from < bound {
		c.short++
		return
	}
	var acked []int64
	for i := range c.writes {
		if op := &c.writes[i]; op.ok && op.complete >= w.from && op.complete <= w.to {
			acked = append(acked, op.complete)
		}
	}
	slices.Sort(acked)
	from, whole := w.from, true
	for _, to := range append(acked, w.to) {
		switch {
		case to-from <= bound:
			c.slowest = max(c.slowest, time.Duration(to-from))
		case c.gap(f, p, window{from, to}):
			c.judged++
			return
		default:
			whole = false
		}
		from = to
	}
	if !whole {
		c.cut++
		return
	}
	c.judged++
}

// gap reports time without a write, and answers true, if clients tried in it early enough to have been served, and were not told that too few replicas are in sync.
func (c *progress) gap(f *history.Fault, p partition, g window) bool {
	limit := g.from + int64(c.bound()) - int64(progressSlack)
	ops := c.from(g.from)
	refused := slices.ContainsFunc(ops, func(op write) bool { return op.invoke <= g.to && op.refused })
	if len(ops) == 0 || ops[0].invoke > limit || refused {
		return false
	}
	c.told = append(c.told, g)
	c.late(KindNoWrites, p, f, g.from, c.bound(), f.Nodes, fmt.Sprintf("no write was acknowledged for %s while a majority was whole", time.Duration(g.to-g.from).Round(time.Millisecond)), []string{c.line(ops[0])})
	return true
}

// Finish implements Checker.
func (c *progress) Finish() Verdict {
	slices.SortStableFunc(c.lives, func(a, b *history.Event) int { return cmp.Compare(a.Time, b.Time) })
	if c.mayTrustClocks() {
		calm, all := c.lulls(true), c.lulls(false)
		for _, t := range c.run.RecordTopics {
			for n := range t.Partitions {
				p := partition{t.Name, n}
				c.load(p)
				states := c.states(p)
				c.told = c.told[:0]
				for _, f := range c.faults {
					if f.Proven() && outage(f) && len(f.Nodes) > 0 && 2*len(f.Nodes) < c.run.Nodes && c.settled(f) {
						c.judge(f, p, states)
					}
				}
				c.standstills(p, states, calm, all)
			}
		}
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(c.judged+c.calm, "partitions in lasting faults", fmt.Sprintf("writes went on in every partition while a majority was whole, %s", plural(c.judged+c.calm, "time")), c.excused)
	switch {
	case v.Outcome != Holds:
	case !c.mayTrustClocks():
		v.Outcome, v.Reason = NotApplicable, "clocks were made wrong: the nodes' times cannot be compared"
	case c.judged+c.calm == 0 && c.cut > 0:
		v.Outcome, v.Reason = NotApplicable, "not enough data: in no partition did clients try to write early and often enough in a lasting fault, or they were told that too few replicas were in sync"
	case c.judged+c.calm == 0:
		v.Outcome, v.Reason = NotApplicable, fmt.Sprintf("not enough data: no fault that leaves a majority whole lasted for %s on its own", c.bound())
	}
	v.Measures = append(v.Measures, Measure{Name: "longest time without a write in a lasting fault", Seen: c.slowest.Milliseconds(), Unit: "ms"},
		Measure{Name: "partitions in faults too short to judge", Seen: c.short})
	return v
}
