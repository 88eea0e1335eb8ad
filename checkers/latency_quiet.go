package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"soak/history"
)

// KindSlowInQuiet is a p99 above its bound in the time without faults.
const KindSlowInQuiet = "slow-in-quiet"

const (
	// quietBound is what the p99 of acks=all writes, and of how late consumers were given what they waited for, is held to in quiet. See
	// docs/checkers.md for the measurement that it rests on.
	quietBound = 2 * time.Second
	// quietSamples is the least number of operations of one kind for a p99 that means something: two of them are above it.
	quietSamples = 200
	// stallReach is how far before and after a stall of the machine an operation may have been slowed by what caused it, or by what piled up.
	stallReach = time.Second
)

// latencyQuiet holds operations in fault-free time to an upper bound of their p99. It finds wake-ups that are lost: an answer that comes with a
// time-out is right in everything but its time.
type latencyQuiet struct {
	recovery // what is known of faults, stalls and the end of the load
	writes   []*history.Operation
	reads    []*history.Operation
}

func newLatencyQuiet(run *history.Run) *latencyQuiet {
	c := &latencyQuiet{recovery: *newRecovery(&history.Run{})}
	c.ledger, c.run = ledger{id: LatencyQuiet}, run
	return c
}

// Operation implements Checker.
func (c *latencyQuiet) Operation(op *history.Operation) {
	c.lastOp = max(c.lastOp, op.Complete)
	switch {
	case op.Complete == 0:
	case op.Produce != nil && op.Produce.Acks == allReplicas && op.Outcome != history.Failed:
		c.writes = append(c.writes, op)
	case op.Consume != nil && op.Outcome == history.OK && len(op.Consume.Spans) > 0:
		c.reads = append(c.reads, op)
	}
}

// quiet is the time of the load without faults, without what follows one until the ISRs must be full, and without a core serving alone.
func (c *latencyQuiet) quiet() []window {
	return quietTime(c.run, c.faults, c.loadEnd(), int64(c.isrBound()))
}

// timed is an operation with how long it took, by the measure of its kind.
type timed struct {
	op   *history.Operation
	took int64
}

// within are those that ran in one of the windows from beginning to end.
func within(windows []window, all []timed) []timed {
	slices.SortFunc(all, func(a, b timed) int {
		return cmp.Or(cmp.Compare(a.op.Invoke, b.op.Invoke), cmp.Compare(a.op.ID, b.op.ID))
	})
	var out []timed
	for _, x := range all {
		for len(windows) > 0 && windows[0].to < x.op.Invoke {
			windows = windows[1:]
		}
		if len(windows) > 0 && x.op.Invoke >= windows[0].from && x.op.Complete <= windows[0].to {
			out = append(out, x)
		}
	}
	return out
}

func (c *latencyQuiet) timedWrites() []timed {
	out := make([]timed, len(c.writes))
	for i, op := range c.writes {
		out[i] = timed{op, op.Complete - op.Invoke}
	}
	return out
}

// timedReads are fetches by how late they brought their first record: counted from when it had been acknowledged, or the fetch was sent, if that was
// later. Long polls may wait for as long as there is nothing to give.
func (c *latencyQuiet) timedReads() []timed {
	acked := map[partition][]*history.Operation{}
	for _, op := range c.writes {
		if p := op.Produce; op.Outcome == history.OK && p.Count > 0 && offsetOf(p, 0) >= 0 {
			at := partition{p.Topic, p.Partition}
			acked[at] = append(acked[at], op)
		}
	}
	for _, ops := range acked {
		slices.SortFunc(ops, func(a, b *history.Operation) int { return cmp.Compare(offsetOf(a.Produce, 0), offsetOf(b.Produce, 0)) })
	}
	var out []timed
	for _, op := range c.reads {
		first := op.Consume.Spans[0].Offset
		ops := acked[partition{op.Consume.Topic, op.Consume.Partition}]
		at, exact := slices.BinarySearchFunc(ops, first, func(w *history.Operation, offset int64) int { return cmp.Compare(offsetOf(w.Produce, 0), offset) })
		if !exact {
			at--
		}
		if at >= 0 && first < offsetOf(ops[at].Produce, 0)+int64(ops[at].Produce.Count) {
			out = append(out, timed{op, max(0, op.Complete-max(op.Invoke, ops[at].Complete))})
		}
	}
	return out
}

// p99 by nearest rank; all is sorted by it.
func p99(all []timed) timed {
	slices.SortFunc(all, func(a, b timed) int { return cmp.Or(cmp.Compare(a.took, b.took), cmp.Compare(a.op.ID, b.op.ID)) })
	return all[(len(all)*99+99)/100-1]
}

// stallWindow is time in which the machine, or a node that no fault held, stood still, with what that may have slowed before and after.
type stallWindow struct {
	window
	event *history.Event // the first of it
}

// stallWindows are disjoint and ascending.
func (c *latencyQuiet) stallWindows() []stallWindow {
	var all []stallWindow
	for _, e := range c.stalls {
		from := e.Time - e.Body.(*history.Stall).Nanos
		if c.stalled(from, e.Time) != nil {
			all = append(all, stallWindow{window{from - int64(stallReach), e.Time + int64(stallReach)}, e})
		}
	}
	slices.SortStableFunc(all, func(a, b stallWindow) int { return cmp.Compare(a.from, b.from) })
	var out []stallWindow
	for _, w := range all {
		if n := len(out); n > 0 && w.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, w.to)
			continue
		}
		out = append(out, w)
	}
	return out
}

// judge holds the p99 of one kind to the bound. What ran near a stall of the machine is left out, and if that alone brings it below the bound, the
// stall is named.
func (c *latencyQuiet) judge(what string, all []timed) {
	at := p99(all)
	if at.took <= int64(quietBound) {
		return
	}
	sentence := func(n int, took int64) string {
		return fmt.Sprintf("the p99 of %d %s in fault-free time is %s, above %s", n, what, time.Duration(took).Round(time.Millisecond), quietBound)
	}
	if c.run.HarnessError != "" {
		c.excused = append(c.excused, sentence(len(all), at.took)+"; the harness failed: "+c.run.HarnessError)
		return
	}
	var stall *history.Event
	stalls := c.stallWindows()
	rest := slices.DeleteFunc(slices.Clone(all), func(x timed) bool {
		i, _ := slices.BinarySearchFunc(stalls, x.op.Invoke, func(w stallWindow, t int64) int { return cmp.Compare(w.to, t) })
		if i == len(stalls) || stalls[i].from > x.op.Complete {
			return false
		}
		if x.took > int64(quietBound) {
			stall = stalls[i].event
		}
		return true
	})
	if stall != nil && (len(rest) < quietSamples || p99(rest).took <= int64(quietBound)) {
		c.excused = append(c.excused, sentence(len(all), at.took)+"; the machine stalled meanwhile: "+eventLine(stall))
		return
	}
	at = p99(rest)
	v := Violation{Kind: KindSlowInQuiet, Time: at.op.Complete, Sentence: sentence(len(rest), at.took)}
	for _, x := range []timed{at, rest[len(rest)-1]} {
		v.Operations, v.Evidence = append(v.Operations, x.op.ID), append(v.Evidence, opLine(x.op))
	}
	c.violate(v)
}

// Finish implements Checker.
func (c *latencyQuiet) Finish() Verdict {
	windows := c.quiet()
	if len(c.run.Noise) > 0 {
		windows = nil
	}
	var judged int64
	var measures []Measure
	var few string
	for _, kind := range []struct {
		what  string
		timed []timed
	}{{"acks=all writes", c.timedWrites()}, {"reads of acknowledged records", c.timedReads()}} {
		all := within(windows, kind.timed)
		if len(all) < quietSamples {
			if few == "" {
				few = fmt.Sprintf("%d %s were seen in fault-free time, and %d are needed", len(all), kind.what, quietSamples)
			}
			continue
		}
		judged += int64(len(all))
		c.judge(kind.what, all)
		at := p99(all)
		measures = append(measures, Measure{Name: "p99 of " + kind.what, Seen: time.Duration(at.took).Milliseconds(), Unit: "ms"},
			Measure{Name: "slowest of " + kind.what, Seen: time.Duration(all[len(all)-1].took).Milliseconds(), Unit: "ms"})
	}
	v := c.verdict(judged, "operations in fault-free time", fmt.Sprintf("the p99 of %s in fault-free time is within %s", plural(judged, "operation"), quietBound), c.excused)
	switch {
	case v.Outcome != Holds:
	case len(c.run.Noise) > 0:
		v.Outcome, v.Reason = NotApplicable, "there is no quiet on this machine: "+list(c.run.Noise)
	case judged == 0:
		v.Outcome, v.Reason = NotApplicable, "not enough data: "+few
	}
	v.Measures = append(v.Measures, measures...)
	return v
}
