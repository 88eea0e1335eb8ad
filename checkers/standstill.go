package checkers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"soak/history"
)

// KindStandstill is a partition that acknowledges nothing although enough of its replicas, in sync, and a majority of the nodes are whole, whatever is broken beside them.
const KindStandstill = "standstill"

// standstillTries is how many sends must have begun in the time for clients to have tried, the first of them early.
const standstillTries = 3

// standstillBound is for how long faults that neither begin nor end may keep a partition from acknowledging a write: what one fault may cost that finds all ISRs full
// (progress), and what the replicas may need that come back from the faults before it (recovery).
func (c *progress) standstillBound() time.Duration { return c.bound() + c.isrBound() }

// takesAway reports whether a fault takes its nodes away and leaves the others as they are. What it slows, or breaks in part, may hold up all: nothing is claimed meanwhile.
func takesAway(f *history.Fault) bool {
	switch f.Kind {
	case "kill", "stop", "pause", "partition", "power-loss", "disk-crash":
		return len(f.Nodes) > 0
	}
	return false
}

// lull is time in which no fault began or ended, no node stopped or started, and, if stalls count, nothing stood still for no fault of ours.
type lull struct {
	window
	broken []int32          // nodes
	faults []*history.Fault // that were active
}

// lulls are those that last longer than the bound, have an active fault, and leave a majority of the nodes whole.
func (c *progress) lulls(stalls bool) []lull {
	all := window{to: c.loadEnd()}
	for _, p := range c.run.Phases {
		if p.Name == "steady" {
			all.from = p.Start
		}
	}
	if all.from == 0 {
		return nil
	}
	edges := []int64{all.from, all.to}
	for _, f := range c.faults {
		edges = append(edges, f.Asked, f.Effective, f.HealAsked, f.Healed, f.Lapsed)
	}
	for _, e := range c.lives {
		edges = append(edges, e.Time)
	}
	for _, p := range c.run.Phases {
		edges = append(edges, p.Start)
	}
	for _, e := range c.stalls {
		if from := e.Time - e.Body.(*history.Stall).Nanos; stalls && c.stalled(from, e.Time) != nil {
			edges = append(edges, from, e.Time)
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	var out []lull
	for i := 1; i < len(edges); i++ {
		w := window{edges[i-1], edges[i]}
		if w.from < all.from || w.to > all.to || w.to-w.from <= int64(c.standstillBound()) {
			continue
		}
		if l, ok := c.lull(w); ok {
			out = append(out, l)
		}
	}
	return out
}

// lull says what is broken in a window in which nothing changes; false where that is not known well enough, or leaves too little.
func (c *progress) lull(w window) (lull, bool) {
	l := lull{window: w}
	broken := map[int32]bool{}
	for _, f := range c.faults {
		if f.Asked == 0 || f.Asked >= w.to || f.Healed != 0 && f.Healed <= w.from {
			continue
		}
		if !takesAway(f) {
			return l, false
		}
		l.faults = append(l.faults, f)
		for _, n := range f.Nodes {
			broken[n] = true
		}
	}
	// A node that is down for a reason of its own is no more there than one that a fault took away.
	up := map[int32]bool{}
	for n := range int32(c.run.Nodes) {
		up[n+1] = true
	}
	for _, e := range c.lives {
		if e.Time > w.from {
			break
		}
		switch b := e.Body.(type) {
		case *history.Exit:
			up[b.Of] = false
		case *history.Started:
			up[e.Node] = true
		}
	}
	for n, is := range up {
		if !is {
			broken[n] = true
		}
	}
	l.broken = slices.Sorted(maps.Keys(broken))
	return l, len(l.faults) > 0 && 2*len(l.broken) < c.run.Nodes
}

// inSync reports whether the ISR has enough whole members from the beginning of a lull to its end. Who is in it when the others break is all there is: nobody else may be elected.
func (c *progress) inSync(l lull, states []isrAt) bool {
	known := false
	enough := func(s isrAt) bool {
		var whole int
		for _, n := range s.isr {
			whole += btoi(!slices.Contains(l.broken, n))
		}
		return whole >= max(1, c.run.Contract.MinISR)
	}
	for i, s := range states {
		switch {
		case s.time > l.to:
		case s.time > l.from:
			if !enough(s) {
				return false
			}
		case i+1 == len(states) || states[i+1].time > l.from: // as it was at the beginning
			if known = true; !enough(s) {
				return false
			}
		}
	}
	return known
}

// served is what a lull says of a partition.
type served int

const (
	notJudged  served = iota // for longer than the bound nothing was acknowledged, and clients did not try enough, or were told that too few replicas are in sync
	wentOn                   // no time without an acknowledged write is longer than the bound
	stoodStill               // one is, and clients tried
)

// standstill finds the longest time in a lull without an acknowledged write in which clients tried, if it is longer than the bound. A refusal for want of replicas
// excuses the time up to it, and only while a leader's view of its ISR may lag: by the log there are enough of them. One that goes on from then to the end excuses all.
func (c *progress) standstill(l lull) (gap window, tried *write, result served) {
	from := l.from
	var acked []int64
	for i := range c.writes {
		if op := &c.writes[i]; op.ok && op.complete >= l.from && op.complete <= l.to {
			acked = append(acked, op.complete)
		}
	}
	slices.Sort(acked)
	result = wentOn
	for _, to := range append(acked, l.to) {
		if w := (window{from, to}); w.to-w.from > int64(c.standstillBound()) {
			switch rest, first := c.triedIn(w); {
			case first == nil && result == wentOn:
				result = notJudged
			case first != nil && rest.to-rest.from > gap.to-gap.from:
				gap, tried, result = rest, first, stoodStill
			}
		}
		from = to
	}
	return gap, tried, result
}

// triedIn is the first write that clients tried in a time without an acknowledged one, and that time without what a refusal excuses; nil if it is then within the
// bound, or if they did not try enough for it to be held against anybody.
func (c *progress) triedIn(w window) (rest window, first *write) {
	within := func(w window) []write {
		ops := c.from(w.from)
		end, _ := slices.BinarySearchFunc(ops, w.to, func(w write, t int64) int { return cmp.Compare(w.invoke, t) })
		return ops[:end]
	}
	rest = w
	for _, op := range within(w) {
		if op.refused && op.invoke < w.from+int64(c.isrBound()) {
			rest.from = max(rest.from, op.complete)
		}
	}
	ops, early := within(rest), rest.from+int64(c.standstillBound())-int64(progressSlack)
	if rest.to-rest.from <= int64(c.standstillBound()) || len(ops) < standstillTries || ops[0].invoke > early {
		return rest, nil
	}
	if rest != w && !slices.ContainsFunc(ops, func(op write) bool { return !op.refused }) {
		return rest, nil // a cluster that says nothing else from the begin may want more replicas in sync than the run was told
	}
	return rest, &ops[0]
}

// standstills judges a partition in the lulls. What is missed only if time is counted in which the machine stood still is no violation.
func (c *progress) standstills(p partition, states []isrAt, calm, all []lull) {
	for _, l := range calm {
		if !c.inSync(l, states) {
			continue
		}
		switch gap, tried, result := c.standstill(l); result {
		case notJudged:
			c.cut++
		case wentOn:
			c.calm++
		case stoodStill:
			c.calm++
			if c.reported(gap) {
				return
			}
			if sentence := c.stillness(p, l, gap); c.run.HarnessError != "" {
				c.excused = append(c.excused, sentence+"; the harness failed: "+c.run.HarnessError)
			} else {
				c.violate(Violation{Kind: KindStandstill, Time: gap.from + int64(c.standstillBound()), Nodes: l.broken, Sentence: sentence, Evidence: []string{c.line(*tried)}})
			}
			return
		}
	}
	for _, l := range all {
		if !c.inSync(l, states) {
			continue
		}
		if gap, _, result := c.standstill(l); result == stoodStill && !c.reported(gap) {
			if stall := c.stalled(gap.from, gap.to); stall != nil {
				c.excused = append(c.excused, whileStalled(c.stillness(p, l, gap), stall, clockOf(c.run)))
				return
			}
		}
	}
}

// reported reports whether a time without a write was held against the one fault in it already.
func (c *progress) reported(gap window) bool {
	return slices.ContainsFunc(c.told, func(w window) bool { return w.from < gap.to && gap.from < w.to })
}

func (c *progress) stillness(p partition, l lull, gap window) string {
	var active []string
	for _, f := range l.faults {
		active = append(active, fmt.Sprintf("fault %d (%s)", f.ID, f.Plain()))
	}
	return fmt.Sprintf("%s: no write was acknowledged for %s, above %s, while %s left a majority of the nodes and of its ISR enough whole",
		p, time.Duration(gap.to-gap.from).Round(time.Millisecond), c.standstillBound(), strings.Join(active, " and "))
}
