package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"soak/history"
)

// Kinds of violation of phantom-read.
const (
	KindReadGone    = "read-then-gone"    // given to a consumer below the high watermark, and on no replica in the end
	KindReadChanged = "read-then-changed" // the final log has another record at that offset
)

// phantomRead holds what consumers were given during the run against the final log. A record below the high watermark is there
// for good: it must be read back at its offset, and be the same. It finds what acked-records cannot, records that nobody was
// promised, and which were shown all the same.
type phantomRead struct {
	ledger
	run      *history.Run
	ops      *operations
	drains   *drains
	unsynced unsynced
	kept     *retained
	given    map[partition]bool // partitions of which records were given
	buf      spanBuffer

	records, unknown, retired int64
}

func newPhantomRead(s *shared) *phantomRead {
	ops := s.operations()
	return &phantomRead{ledger: ledger{id: PhantomRead}, run: s.run, ops: ops, drains: &ops.drains, unsynced: newUnsynced(s.run), kept: s.retention(), given: map[partition]bool{}}
}

func (c *phantomRead) Event(e *history.Event) {
	c.unsynced.see(e)
	c.kept.see(e)
}

func (c *phantomRead) Operation(op *history.Operation) {
	c.ops.take(op)
	if f := op.Consume; f != nil && gave(op) {
		c.given[partition{f.Topic, f.Partition}] = true
	}
}

// gave reports whether a fetch was answered with records.
func gave(op *history.Operation) bool { return op.Outcome == history.OK && len(op.Consume.Spans) > 0 }

// finalLog is what one replica held in the end in a stretch of offsets, and around it: spans by offset, and how far it was read.
type finalLog struct {
	spans []history.Span
	next  int64
	end   bool
	gone  int64 // below it records may be absent, by retention
}

func (c *phantomRead) finalLogs(p partition, of stretchOf) []finalLog {
	var out []finalLog
	for _, r := range c.drains.replicas(p) {
		l := finalLog{gone: c.kept.gone(r)}
		l.next, l.end = c.drains.read(r)
		for _, x := range c.drains.pieces[r] {
			if x.holds.from < of.to && x.holds.to > of.from {
				l.spans = append(l.spans, x.read(&c.buf)...)
			}
		}
		slices.SortStableFunc(l.spans, func(a, b history.Span) int { return cmp.Compare(a.Offset, b.Offset) })
		out = append(out, l)
	}
	return out
}

// at is how many records from an offset on the log is known to hold or to lack: the same as s does from its i-th on, other ones, or none. Nothing is
// known where the replica was not read so far. What is absent may have retired.
func (l *finalLog) at(offset int64, s history.Span) (same, known, retired bool, count int64) {
	rest := s.Offset + int64(s.Count) - offset
	if offset >= l.next {
		if offset < l.gone {
			return false, false, true, min(rest, l.gone-offset)
		}
		return false, l.end, false, rest
	}
	rest = min(rest, l.next-offset)
	i, exact := slices.BinarySearchFunc(l.spans, offset, func(x history.Span, at int64) int { return cmp.Compare(x.Offset, at) })
	if !exact && i > 0 {
		if x := l.spans[i-1]; offset < x.Offset+int64(x.Count) {
			i--
			exact = true
		}
	}
	if !exact { // a hole, or a bad record
		if i < len(l.spans) {
			rest = min(rest, l.spans[i].Offset-offset)
		}
		if offset < l.gone {
			return false, false, true, min(rest, l.gone-offset)
		}
		return false, true, false, rest
	}
	x := l.spans[i]
	rest = min(rest, x.Offset+int64(x.Count)-offset)
	same = x.Producer == s.Producer && x.Incarnation == s.Incarnation && x.Seq+uint64(offset-x.Offset) == s.Seq+uint64(offset-s.Offset)
	return same, true, false, rest
}

// audit follows one span that a consumer was given through the final logs.
func (c *phantomRead) audit(t *tape, i int, op *history.Operation, s history.Span, logs []finalLog) {
	limit := s.Offset + int64(s.Count)
	if high := op.Consume.High; high >= 0 {
		limit = min(limit, high) // what stands above it, nobody has promised
	}
	var begin, count int64 // of the records that are wrong in one way, so far
	var isAbove bool
	tell := func() {
		if count > 0 && !c.counted() {
			c.gone(t.at(i), s, begin, count, isAbove)
		}
		count = 0
	}
	for offset := s.Offset; offset < limit; {
		step := limit - offset
		found, known, above, all := false, true, true, len(logs) > 0
		for i := range logs {
			same, knows, retired, count := logs[i].at(offset, s)
			step = min(step, count)
			found, known = found || same, known && (knows || retired)
			above = above && offset >= logs[i].next
			all = all && retired
		}
		c.records += step
		if all {
			c.retired += step
			found = true
		}
		wrong := !found && known && len(logs) > 0
		if !wrong || above != isAbove {
			tell()
		}
		switch {
		case wrong:
			if count == 0 {
				begin, isAbove = offset, above
			}
			count += step
		case !found: // a replica that was not read so far may have it
			c.unknown += step
		}
		offset += step
	}
	tell()
}

func (c *phantomRead) gone(op *history.Operation, s history.Span, offset, count int64, above bool) {
	p := partition{op.Consume.Topic, op.Consume.Partition}
	kind, what := KindReadChanged, "the final log has something else there"
	if above {
		kind, what = KindReadGone, "every replica ends below it"
	}
	c.violate(Violation{
		Kind: kind, Time: op.Complete, Nodes: []int32{op.Node}, Operations: []string{op.ID}, Evidence: []string{opLine(op)},
		Sentence: fmt.Sprintf("%s was given %s of %s from offset %d on (producer %d, sequence %d) below the high watermark %d, and %s",
			op.Client, plural(count, "record"), p, offset, s.Producer, s.Seq+uint64(offset-s.Offset), op.Consume.High, what),
	})
}

// fetchesAtATime is how many fetches are held against the final logs together. Consumers read on from where they were, so that they lie close to each other.
const fetchesAtATime = 4096

// partition follows what was given of one. Of a log that waits in a spill it reads what some fetches are about at a time.
func (c *phantomRead) partition(p partition) {
	t := c.ops.given[p]
	if c.ops.spill == nil {
		logs := c.finalLogs(p, everywhere)
		t.each(func(i int, op *history.Operation) { c.fetch(t, i, op, logs) })
		return
	}
	atATime := c.ops.spill.fetches
	var parts []stretchOf
	none := stretchOf{math.MaxInt64, math.MinInt64}
	t.each(func(i int, op *history.Operation) {
		if i%atATime == 0 {
			parts = append(parts, none)
		}
		if gave(op) {
			w := &parts[len(parts)-1]
			for _, s := range op.Consume.Spans {
				*w = stretchOf{min(w.from, s.Offset), max(w.to, s.Offset+int64(s.Count))}
			}
		}
	})
	var logs []finalLog
	t.each(func(i int, op *history.Operation) {
		if i%atATime == 0 {
			logs = c.finalLogs(p, parts[i/atATime])
		}
		c.fetch(t, i, op, logs)
	})
}

func (c *phantomRead) fetch(t *tape, i int, op *history.Operation, logs []finalLog) {
	if gave(op) {
		for _, s := range op.Consume.Spans {
			c.audit(t, i, op, s, logs)
		}
	}
}

func (c *phantomRead) Finish() Verdict {
	parts := make([]partition, 0, len(c.given))
	for p := range c.given {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, comparePartitions)
	exempt := c.unsynced.exempt(c.faults)
	c.kept.judge(c.faults)
	unclaimed := unclaimed(exempt, parts)
	if !c.run.Contract.Unclean {
		for _, p := range parts {
			if exempt[p] != "" {
				continue
			}
			c.partition(p)
		}
	}
	var missing []string
	if c.unknown > 0 {
		missing = append(missing, plural(c.unknown, "record")+" given to consumers, where the replicas were not read in the end")
		missing = append(missing, c.drains.shortfalls()...)
	}
	holds := fmt.Sprintf("all of %s to consumers are in the final log", givenRecords(c.records))
	if c.retired > 0 {
		holds += fmt.Sprintf(", but for %s that had gone by their topics' retention", plural(c.retired, "record"))
	}
	if unclaimed != "" {
		if holds += "; " + unclaimed; c.records == 0 {
			missing = append(missing, unclaimed)
		}
	}
	v := c.verdict(c.records, "records given", holds, missing)
	switch {
	case c.run.Contract.Unclean:
		v.Outcome, v.Reason = NotApplicable, "unclean elections were allowed: what was read may be lost by contract"
	case len(c.given) == 0:
		v.Outcome, v.Reason = NotApplicable, "no consumer was given a record during the run"
	}
	return v
}

func givenRecords(n int64) string { return plural(n, "record") + " given" }
