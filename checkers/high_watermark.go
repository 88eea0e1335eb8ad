package checkers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"soak/history"
)

// Kinds of violation of high-watermark.
const (
	KindHighBack      = "high-watermark-back"       // on one replica within one boot
	KindHighBeyondEnd = "high-watermark-beyond-end" // above the replica's own log end
	KindLeaderShort   = "leader-below-high"         // a later epoch's leader lacks what was below an earlier one's high watermark
	KindStartAbove    = "log-start-above-high"      // what is not known to be committed was removed from the log's beginning
	KindStartBack     = "log-start-back"            // on one replica within one boot
	KindStaleRead     = "stale-read"                // one leader, one epoch, and a later fetch is shown a lower high watermark
)

// highWatermark holds replicas to what a high watermark means: everything below it is on every member of the ISR for good. So it
// does not go back while a replica lives, and whoever leads later has it all.
type highWatermark struct {
	ledger
	run   *history.Run
	lines *views
	parts map[lived]*epochHighs
	ops   *operations
	read  map[partition]bool // partitions of which fetches were shown a high watermark

	unsynced unsynced
	exempt   map[partition]string // why nothing is claimed of what a partition's replicas hold

	views, fetches int64
}

// leaderOf is a node as leader of a partition in one epoch. No node leads in an epoch of an earlier boot, so that this is one life.
type leaderOf struct {
	replica
	epoch int32
}

// epochHighs is, by leader epoch, the event that showed the highest high watermark, and the leader's event with the lowest log end.
type epochHighs struct {
	high, end map[int32]*history.Event
}

func newHighWatermark(s *shared) *highWatermark {
	return &highWatermark{ledger: ledger{id: HighWatermark}, run: s.run, lines: s.seen(), parts: map[lived]*epochHighs{}, ops: s.operations(), read: map[partition]bool{}, unsynced: newUnsynced(s.run)}
}

func (c *highWatermark) Event(e *history.Event) {
	c.unsynced.see(e)
	c.lines.take(e)
}

func (c *highWatermark) Operation(op *history.Operation) {
	if f := op.Consume; f != nil {
		c.ops.take(op)
		if shown(op) {
			c.fetches++
			c.read[partition{f.Topic, f.Partition}] = true
		}
	}
}

// shown reports whether a fetch was shown a high watermark by a known leader.
func shown(op *history.Operation) bool {
	return op.Outcome == history.OK && op.Node != 0 && op.Consume.LeaderEpoch >= 0 && op.Consume.High >= 0
}

// fetched is a fetch that was shown a high watermark, with its number on the tape.
type fetched struct {
	invoke, complete, high int64
	i                      int32
}

// staleReads asks that a fetch which began after another was answered, by the same leader in the same epoch, is shown no lower high watermark.
// Across epochs and nodes nothing is claimed: a new leader learns it anew.
func (c *highWatermark) staleReads() {
	for p := range c.read {
		t := c.ops.given[p]
		by := map[leaderOf][]fetched{}
		t.each(func(i int, op *history.Operation) {
			if f := op.Consume; shown(op) {
				l := leaderOf{replica{p, op.Node}, f.LeaderEpoch}
				by[l] = append(by[l], fetched{op.Invoke, op.Complete, f.High, int32(i)})
			}
		})
		for _, reads := range by {
			c.staleOf(t, reads)
		}
	}
}

// staleOf judges the fetches from one leader in one epoch.
func (c *highWatermark) staleOf(t *tape, reads []fetched) {
	answered := slices.Clone(reads)
	slices.SortStableFunc(reads, func(a, b fetched) int { return cmp.Compare(a.invoke, b.invoke) })
	slices.SortStableFunc(answered, func(a, b fetched) int { return cmp.Compare(a.complete, b.complete) })
	var highest *fetched
	for i := range reads {
		for len(answered) > 0 && answered[0].complete < reads[i].invoke {
			if highest == nil || answered[0].high > highest.high {
				highest = &answered[0]
			}
			answered = answered[1:]
		}
		if highest == nil || reads[i].high >= highest.high || c.counted() {
			continue
		}
		before, op := t.at(int(highest.i)), t.at(int(reads[i].i))
		c.violate(Violation{
			Kind: KindStaleRead, Time: op.Complete, Nodes: []int32{op.Node}, Operations: []string{before.ID, op.ID}, Evidence: []string{opLine(before), opLine(op)},
			Sentence: fmt.Sprintf("n%d, leader of %s in epoch %d, showed a consumer the high watermark %d after it had shown %d",
				op.Node, partition{op.Consume.Topic, op.Consume.Partition}, op.Consume.LeaderEpoch, op.Consume.High, before.Consume.High),
		})
	}
}

func (c *highWatermark) replay(b boot) {
	last, decided := map[lived]*history.Event{}, map[lived]*history.Event{}
	c.lines.walk(b, func(e *history.Event, applied uint64, gap bool) {
		if gap {
			clear(decided) // a later decision may be among what is missing
		}
		view, ok := e.Body.(*history.Partition)
		if !ok || applied == 0 {
			return
		}
		c.views++
		p := lived{partition{view.Topic, view.Partition}, c.lines.topics.life(view.Topic, applied)}
		if view.HighWatermark > view.LogEnd {
			c.violate(Violation{
				Kind: KindHighBeyondEnd, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)},
				Sentence: fmt.Sprintf("n%d showed the high watermark %d of %s above its log end %d", e.Node, view.HighWatermark, p.partition, view.LogEnd),
			})
		}
		if before := last[p]; before != nil && view.HighWatermark < before.Body.(*history.Partition).HighWatermark && !c.mayCut(view) {
			c.violate(Violation{
				Kind: KindHighBack, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(before), eventLine(e)},
				Sentence: fmt.Sprintf("the high watermark of %s on n%d went back from %d to %d within one boot (%s)",
					p.partition, e.Node, before.Body.(*history.Partition).HighWatermark, view.HighWatermark, view.Cause),
			})
		}
		if view.Cause == history.CauseRetention {
			decided[p] = e
		}
		c.logStart(p, last[p], decided[p], e)
		last[p] = e
		c.ofEpoch(p).add(e, view)
	})
}

// logStart asks that a log begins no earlier than it did in this life, and not above the high watermark, neither as it is shown nor as it was when a leader
// had its disk remove what lies below.
func (c *highWatermark) logStart(p lived, before, decided, e *history.Event) {
	view := e.Body.(*history.Partition)
	if before != nil && view.LogStart == before.Body.(*history.Partition).LogStart {
		return
	}
	by, high := e, view.HighWatermark
	if view.Cause == history.CauseRetained && decided != nil {
		by, high = decided, min(high, decided.Body.(*history.Partition).HighWatermark)
	}
	if view.LogStart > high {
		v := Violation{
			Kind: KindStartAbove, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)},
			Sentence: fmt.Sprintf("n%d removed the records of %s up to offset %d, above its high watermark %d", e.Node, p.partition, view.LogStart, high),
		}
		if by != e {
			v.Evidence = append([]string{eventLine(by)}, v.Evidence...)
		}
		c.violate(v)
	}
	if before != nil && view.LogStart < before.Body.(*history.Partition).LogStart && !c.mayCut(view) {
		c.violate(Violation{
			Kind: KindStartBack, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(before), eventLine(e)},
			Sentence: fmt.Sprintf("the log start of %s on n%d went back from %d to %d within one boot (%s)",
				p.partition, e.Node, before.Body.(*history.Partition).LogStart, view.LogStart, view.Cause),
		})
	}
}

// mayCut reports whether the contract allows a replica to lose what was below its high watermark.
func (c *highWatermark) mayCut(view *history.Partition) bool {
	return (c.run.Contract.Unclean || c.exempt[partition{view.Topic, view.Partition}] != "") && (view.Cause == "truncation" || view.Cause == history.CauseRestart)
}

func (c *highWatermark) ofEpoch(p lived) *epochHighs {
	h := c.parts[p]
	if h == nil {
		h = &epochHighs{high: map[int32]*history.Event{}, end: map[int32]*history.Event{}}
		c.parts[p] = h
	}
	return h
}

func (h *epochHighs) add(e *history.Event, view *history.Partition) {
	if old := h.high[view.LeaderEpoch]; old == nil || view.HighWatermark > old.Body.(*history.Partition).HighWatermark {
		h.high[view.LeaderEpoch] = e
	}
	if view.Role != partitionRoleLeader {
		return
	}
	if old := h.end[view.LeaderEpoch]; old == nil || view.LogEnd < old.Body.(*history.Partition).LogEnd {
		h.end[view.LeaderEpoch] = e
	}
}

// leadersHaveAll asks that the log of each epoch's leader reaches the high watermark that any replica showed in an earlier epoch. Nothing is
// promised of it where unclean elections are, and of a partition whose unsynced records a loss of power has taken from the last in-sync replica.
func (c *highWatermark) leadersHaveAll() {
	if c.run.Contract.Unclean {
		return
	}
	parts := make([]lived, 0, len(c.parts))
	for p := range c.parts {
		if c.exempt[p.partition] == "" {
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, func(a, b lived) int {
		return cmp.Or(comparePartitions(a.partition, b.partition), cmp.Compare(a.life, b.life))
	})
	for _, p := range parts {
		h := c.parts[p]
		epochs := make([]int32, 0, len(h.high))
		for epoch := range h.high {
			epochs = append(epochs, epoch)
		}
		slices.Sort(epochs)
		var highest *history.Event
		for _, epoch := range epochs {
			if end := h.end[epoch]; end != nil && highest != nil && end.Body.(*history.Partition).LogEnd < highest.Body.(*history.Partition).HighWatermark {
				high, short := highest.Body.(*history.Partition), end.Body.(*history.Partition)
				c.violate(Violation{
					Kind: KindLeaderShort, Time: end.Time, Nodes: []int32{end.Node}, Evidence: []string{eventLine(highest), eventLine(end)},
					Sentence: fmt.Sprintf("n%d led %s in epoch %d with the log end %d, below the high watermark %d that n%d had shown in epoch %d",
						end.Node, p.partition, epoch, short.LogEnd, high.HighWatermark, highest.Node, high.LeaderEpoch),
				})
			}
			if e := h.high[epoch]; highest == nil || e.Body.(*history.Partition).HighWatermark > highest.Body.(*history.Partition).HighWatermark {
				highest = e
			}
		}
	}
}

func (c *highWatermark) Finish() Verdict {
	c.exempt = c.unsynced.exempt(c.faults)
	for _, b := range c.lines.boots() {
		c.replay(b)
	}
	c.leadersHaveAll()
	c.staleReads()
	slices.SortStableFunc(c.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Sentence, b.Sentence))
	})
	holds := fmt.Sprintf("no high watermark went back in %s and %s", plural(c.views, "replica state"), fetches(c.fetches))
	if unclaimed := unclaimed(c.exempt, slices.Collect(maps.Keys(c.exempt))); unclaimed != "" {
		holds += "; " + unclaimed
	}
	v := c.verdict(c.views+c.fetches, "states and fetches", holds, c.lines.sequences.gaps())
	if c.total == 0 && c.views+c.fetches == 0 {
		v.Outcome, v.Reason = NotApplicable, "the nodes do not tell the states of their replicas"
	}
	v.Measures = append(v.Measures, Measure{Name: "partitions watched", Seen: int64(len(c.parts))}, Measure{Name: "fetches of consumers", Seen: c.fetches})
	return v
}

func fetches(n int64) string {
	if n == 1 {
		return "1 fetch"
	}
	return fmt.Sprintf("%d fetches", n)
}
