package checkers

import (
	"cmp"
	"fmt"
	"math/bits"
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
	parts    map[partition]bool
}

func newLatencyQuiet(s *shared) *latencyQuiet {
	c := &latencyQuiet{recovery: *newRecovery(&shared{run: &history.Run{}}), parts: map[partition]bool{}}
	c.ledger, c.run, c.ops = ledger{id: LatencyQuiet}, s.run, s.operations()
	return c
}

// Operation implements Checker.
func (c *latencyQuiet) Operation(op *history.Operation) {
	c.lastOp = max(c.lastOp, op.Complete)
	switch {
	case op.Produce != nil:
		c.parts[partition{op.Produce.Topic, op.Produce.Partition}] = true
	case op.Consume != nil:
		c.parts[partition{op.Consume.Topic, op.Consume.Partition}] = true
	default:
		return
	}
	c.ops.take(op)
}

// quiet is the time of the load without faults, without what follows one until the ISRs must be full, and without a core serving alone.
func (c *latencyQuiet) quiet() []window {
	return quietTime(c.run, c.faults, c.loadEnd(), int64(c.isrBound()))
}

// timed is an operation with how long it took, by the measure of its kind.
type timed struct {
	invoke, complete, took int64
	on                     *tape
	i                      int32
}

func (x timed) op() *history.Operation { return x.on.at(int(x.i)) }

// timings shows operations of one kind, the same each time.
type timings func(yield func(timed))

// within are those that ran in one of the windows, which are disjoint and ascending, from beginning to end.
func within(windows []window, all timings) timings {
	return func(yield func(timed)) {
		all(func(x timed) {
			i, _ := slices.BinarySearchFunc(windows, x.invoke, func(w window, t int64) int { return cmp.Compare(w.to, t) })
			if i < len(windows) && x.invoke >= windows[i].from && x.complete <= windows[i].to {
				yield(x)
			}
		})
	}
}

// written reports whether an operation is a write whose time counts.
func written(op *history.Operation) bool {
	return op.Complete != 0 && op.Produce.Acks == allReplicas && op.Outcome != history.Failed
}

func (c *latencyQuiet) timedWrites(yield func(timed)) {
	for p := range c.parts {
		t := c.ops.sends(p)
		t.each(func(i int, op *history.Operation) {
			if written(op) {
				yield(timed{op.Invoke, op.Complete, op.Complete - op.Invoke, t, int32(i)})
			}
		})
	}
}

// acknowledged is offsets with when that was told.
type acknowledged struct {
	first, complete int64
	count           int32
}

// timedReads are fetches by how late they brought their first record: counted from when it had been acknowledged, or the fetch was sent, if that was
// later. Long polls may wait for as long as there is nothing to give.
func (c *latencyQuiet) timedReads(yield func(timed)) {
	var acked []acknowledged
	for p := range c.parts {
		t := c.ops.given[p]
		if t.len() == 0 {
			continue
		}
		acked = acked[:0]
		c.ops.sends(p).each(func(_ int, op *history.Operation) {
			if s := op.Produce; written(op) && op.Outcome == history.OK && s.Count > 0 && offsetOf(s, 0) >= 0 {
				acked = append(acked, acknowledged{offsetOf(s, 0), op.Complete, s.Count})
			}
		})
		by := func(a, b acknowledged) int { return cmp.Compare(a.first, b.first) }
		if !slices.IsSortedFunc(acked, by) {
			slices.SortFunc(acked, by)
		}
		t.each(func(i int, op *history.Operation) {
			if op.Complete == 0 || !gave(op) {
				return
			}
			first := op.Consume.Spans[0].Offset
			at, exact := slices.BinarySearchFunc(acked, first, func(w acknowledged, offset int64) int { return cmp.Compare(w.first, offset) })
			if !exact {
				at--
			}
			if at >= 0 && first < acked[at].first+int64(acked[at].count) {
				yield(timed{op.Invoke, op.Complete, max(0, op.Complete-max(op.Invoke, acked[at].complete)), t, int32(i)})
			}
		})
	}
}

// ranked is what is asked of timings: how many they are, their p99 by nearest rank, and the longest. Which operations took so long is told where that is evidence.
type ranked struct {
	count        int
	p99, slowest timed
}

const (
	// octave is into how many cells each doubling of a time is cut where times are counted.
	octave = 64
	// fewTimes are ordered without being counted more finely first.
	fewTimes = 1 << 15
)

// cell numbers times so that a longer one has no lower number, and says from where up to where its cell goes.
func cell(took int64) (n int, from, to int64) {
	if took < octave {
		took = max(0, took)
		return int(took), took, took + 1
	}
	shift := bits.Len64(uint64(took)) - bits.Len64(octave)
	from = took >> shift << shift
	return shift*octave + int(took>>shift), from, from + 1<<shift
}

// rank looks again and again: it counts, more finely each time, until what is left around the rank is few, and orders that. Of two that took as long the one with
// the higher ID is the longer.
func rank(all timings) ranked {
	var r ranked
	cells := make([]int, 64*octave)
	froms, tos := make([]int64, len(cells)), make([]int64, len(cells))
	all(func(x timed) {
		r.count++
		n, from, to := cell(x.took)
		cells[n]++
		froms[n], tos[n] = from, to
		r.slowest.took = max(r.slowest.took, x.took)
	})
	if r.count == 0 {
		return r
	}
	below, of := take(cells, (r.count*99+99)/100-1)
	from, to := froms[of], tos[of]
	for many := cells[of]; many > fewTimes && to-from > 1; many = cells[of] {
		wide := (to-from-1)/int64(len(cells)) + 1
		clear(cells)
		all(func(x timed) {
			if took := max(0, x.took); took >= from && took < to {
				cells[(took-from)/wide]++
			}
		})
		below, of = take(cells, below)
		from, to = from+int64(of)*wide, min(to, from+int64(of+1)*wide)
	}
	r.p99.took = from
	if to-from > 1 {
		near := make([]int64, 0, cells[of])
		all(func(x timed) {
			if took := max(0, x.took); took >= from && took < to {
				near = append(near, took)
			}
		})
		slices.Sort(near)
		r.p99.took = near[below]
		first, _ := slices.BinarySearch(near, near[below])
		below -= first
	}
	if r.p99.took > int64(quietBound) {
		r.evidence(all, below)
	}
	return r
}

// take finds the cell of a rank, and the rank in it.
func take(cells []int, rank int) (within, of int) {
	for ; rank >= cells[of]; of++ {
		rank -= cells[of]
	}
	return rank, of
}

// evidence finds the operations: that at the p99 is the one so far up among those that took as long.
func (r *ranked) evidence(all timings, up int) {
	p99, slowest := r.p99.took, r.slowest.took
	var same, far []timed
	all(func(x timed) {
		if x.took == p99 {
			same = append(same, x)
		}
		if x.took == slowest {
			far = append(far, x)
		}
	})
	slices.SortFunc(same, byID)
	r.p99, r.slowest = same[up], slices.MaxFunc(far, byID)
}

func byID(a, b timed) int { return cmp.Compare(a.op().ID, b.op().ID) }

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
func (c *latencyQuiet) judge(what string, all timings, r ranked) {
	at := r.p99
	if at.took <= int64(quietBound) {
		return
	}
	sentence := func(n int, took int64) string {
		return fmt.Sprintf("the p99 of %d %s in fault-free time is %s, above %s", n, what, time.Duration(took).Round(time.Millisecond), quietBound)
	}
	if c.run.HarnessError != "" {
		c.excused = append(c.excused, sentence(r.count, at.took)+"; the harness failed: "+c.run.HarnessError)
		return
	}
	var stall *history.Event
	stalls := c.stallWindows()
	slowedBy := func(x timed) *history.Event {
		i, _ := slices.BinarySearchFunc(stalls, x.invoke, func(w stallWindow, t int64) int { return cmp.Compare(w.to, t) })
		if i == len(stalls) || stalls[i].from > x.complete {
			return nil
		}
		return stalls[i].event
	}
	var longest timed // of those that a stall may have slowed: its stall is named
	all(func(x timed) {
		e := slowedBy(x)
		if e == nil || x.took <= int64(quietBound) {
			return
		}
		if stall == nil || x.took > longest.took || x.took == longest.took && byID(x, longest) > 0 {
			stall, longest = e, x
		}
	})
	rest := rank(func(yield func(timed)) {
		all(func(x timed) {
			if slowedBy(x) == nil {
				yield(x)
			}
		})
	})
	if stall != nil && (rest.count < quietSamples || rest.p99.took <= int64(quietBound)) {
		c.excused = append(c.excused, whileStalled(sentence(r.count, at.took), stall, clockOf(c.run)))
		return
	}
	at = rest.p99
	v := Violation{Kind: KindSlowInQuiet, Time: at.complete, Sentence: sentence(rest.count, at.took)}
	for _, x := range []timed{at, rest.slowest} {
		op := x.op()
		v.Operations, v.Evidence = append(v.Operations, op.ID), append(v.Evidence, opLine(op))
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
		timed timings
	}{{"acks=all writes", c.timedWrites}, {"reads of acknowledged records", c.timedReads}} {
		var all timings
		var r ranked
		if len(windows) > 0 {
			all = within(windows, kind.timed)
			r = rank(all)
		}
		if r.count < quietSamples {
			if few == "" {
				few = fmt.Sprintf("%d %s were seen in fault-free time, and %d are needed", r.count, kind.what, quietSamples)
			}
			continue
		}
		judged += int64(r.count)
		c.judge(kind.what, all, r)
		measures = append(measures, Measure{Name: "p99 of " + kind.what, Seen: time.Duration(r.p99.took).Milliseconds(), Unit: "ms"},
			Measure{Name: "slowest of " + kind.what, Seen: time.Duration(r.slowest.took).Milliseconds(), Unit: "ms"})
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
