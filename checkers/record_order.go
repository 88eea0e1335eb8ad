package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// Kinds of violation of record-order.
const (
	KindSendOrder   = "nonmonotonic-send"   // of one producer's records the later stands before the earlier
	KindRealTime    = "real-time-order"     // a record stands before one that was acknowledged when its send began
	KindAnswerOrder = "answers-disordered"  // on one connection an answer came behind that to a later request
	KindWithinBatch = "disordered-in-batch" // of records handed in together the later stands before the earlier
)

// recordOrder holds acknowledged records to the order in which they were sent. It keeps a pointer for each operation.
type recordOrder struct {
	ledger
	contract   history.Contract
	acked      map[partition][]*history.Operation
	unknown    map[partition]map[producer][]*history.Operation // of idempotent producers, acks=all
	drains     drains
	unsynced   unsynced
	historyCut bool

	located int64 // records of unknown outcome that are in a log
}

func newRecordOrder(run *history.Run) *recordOrder {
	return &recordOrder{ledger: ledger{id: RecordOrder}, contract: run.Contract, unsynced: newUnsynced(run), acked: map[partition][]*history.Operation{},
		unknown: map[partition]map[producer][]*history.Operation{}, drains: newDrains(run)}
}

func (c *recordOrder) incomplete(n history.Notes) { c.historyCut = historyCut(n) }

func (c *recordOrder) Event(e *history.Event) { c.unsynced.see(e) }

func (c *recordOrder) Operation(op *history.Operation) {
	c.drains.add(op)
	p := op.Produce
	if p == nil {
		return
	}
	if p.Disordered {
		c.violate(Violation{
			Kind: KindAnswerOrder, Time: op.Complete, Operations: []string{op.ID}, Evidence: []string{opLine(op)},
			Sentence: fmt.Sprintf("%s was answered a produce to %s-%d behind a later request on the same connection", op.Client, p.Topic, p.Partition),
		})
	}
	if op.Outcome == history.Unknown && p.Idempotent && p.Acks == allReplicas && p.Count > 0 {
		at := partition{p.Topic, p.Partition}
		if c.unknown[at] == nil {
			c.unknown[at] = map[producer][]*history.Operation{}
		}
		c.unknown[at][producerOf(p)] = append(c.unknown[at][producerOf(p)], op)
	}
	if op.Outcome != history.OK || p.Acks != allReplicas || p.Count == 0 || firstOffset(op) < 0 {
		return
	}
	at := partition{p.Topic, p.Partition}
	c.acked[at] = append(c.acked[at], op)
}

func firstOffset(op *history.Operation) int64 { return offsetOf(op.Produce, 0) }

func lastOffset(op *history.Operation) int64 { return offsetOf(op.Produce, int(op.Produce.Count)-1) }

func (c *recordOrder) Finish() Verdict {
	parts := make([]partition, 0, len(c.acked))
	for p := range c.acked {
		parts = append(parts, p)
	}
	for p := range c.unknown {
		if c.acked[p] == nil {
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, comparePartitions)
	exempt := c.unsynced.exempt(c.faults)
	unclaimed := unclaimed(exempt, parts)
	var records int64
	if !c.contract.Unclean {
		for _, p := range parts {
			if exempt[p] != "" {
				continue
			}
			for _, op := range c.acked[p] {
				records += int64(op.Produce.Count)
			}
			c.within(p)
			found := c.inLog(p)
			told := c.senders(p, found)
			c.realTime(p, told)
			c.realTimeOfUnknown(p, found, told)
		}
	}
	var missing []string
	holds := fmt.Sprintf("all of %s stand in the order in which they were sent", plural(records, "acknowledged record"))
	switch {
	case unclaimed != "" && records == 0:
		missing = append(missing, unclaimed)
	case unclaimed != "":
		holds += "; " + unclaimed
	case records == 0:
		missing = append(missing, "no record was acknowledged with its offset")
	}
	if c.historyCut {
		missing = append(missing, "the history is cut")
	}
	v := c.verdict(records, "acknowledged records", holds, missing)
	v.Measures = append(v.Measures, Measure{Name: "records of unknown outcome judged by their place in the log", Seen: c.located})
	if v.Outcome != Violated {
		switch {
		case c.contract.Acks != allReplicas:
			v.Outcome, v.Reason = NotApplicable, fmt.Sprintf("records were sent with acks=%d, which does not promise that they stay where they were acknowledged", c.contract.Acks)
		case c.contract.Unclean:
			v.Outcome, v.Reason = NotApplicable, "unclean elections were allowed: acknowledged offsets may be used again by contract"
		}
	}
	return v
}

// within looks at the records of each operation.
func (c *recordOrder) within(p partition) {
	for _, op := range c.acked[p] {
		for i := 1; i < int(op.Produce.Count); i++ {
			before, at := offsetOf(op.Produce, i-1), offsetOf(op.Produce, i)
			if at < 0 || before < at {
				continue
			}
			c.violate(Violation{
				Kind: KindWithinBatch, Time: op.Complete, Operations: []string{op.ID}, Evidence: []string{opLine(op)},
				Sentence: fmt.Sprintf("%s: %s was acknowledged at offset %d and the record handed in before it at %d", p, named(producerOf(op.Produce), op.Produce.FirstSeq+uint64(i)), at, before),
			})
			break
		}
	}
}

// senders holds each idempotent producer's records to their sequence, whatever was in flight at a time, and answers the operations that broke it. Of two of which
// one has an unknown outcome only those are held to it that were in flight together: an idempotent producer that gives up goes on under another id, and
// what it gave up may come behind what it sends then.
func (c *recordOrder) senders(p partition, found []placed) map[*history.Operation]bool {
	ops := slices.Clone(found)
	for _, op := range c.acked[p] {
		if op.Produce.Idempotent {
			ops = append(ops, placed{op, firstOffset(op), lastOffset(op)})
		}
	}
	slices.SortStableFunc(ops, func(a, b placed) int {
		x, y := a.op.Produce, b.op.Produce
		return cmp.Or(cmp.Compare(x.Producer, y.Producer), cmp.Compare(x.Incarnation, y.Incarnation), cmp.Compare(x.FirstSeq, y.FirstSeq))
	})
	told := map[*history.Operation]bool{}
	var highest, unknown placed // of this producer's, so far
	for _, op := range ops {
		if highest.op != nil && producerOf(highest.op.Produce) != producerOf(op.op.Produce) {
			highest = placed{}
		}
		if unknown.op != nil && producerOf(unknown.op.Produce) != producerOf(op.op.Produce) {
			unknown = placed{}
		}
		sure := op.op.Outcome == history.OK
		switch {
		case highest.op != nil && op.first <= highest.last && (sure || together(highest.op, op.op)):
			told[op.op] = true
			c.disordered(p, highest, op)
		case unknown.op != nil && op.first <= unknown.last && together(unknown.op, op.op):
			told[op.op] = true
			c.disordered(p, unknown, op)
		}
		if sure && (highest.op == nil || op.first > highest.last) {
			highest = op
		}
		if !sure && (unknown.op == nil || op.last > unknown.last) {
			unknown = op
		}
	}
	return told
}

// together reports whether the later of two operations of a producer was handed over while the earlier was under way.
func together(earlier, later *history.Operation) bool {
	return earlier.Complete == 0 || later.Invoke < earlier.Complete
}

func (c *recordOrder) disordered(p partition, before, at placed) {
	c.violate(Violation{
		Kind: KindSendOrder, Time: at.op.Complete, Operations: []string{before.op.ID, at.op.ID}, Evidence: []string{opLine(before.op), opLine(at.op)},
		Sentence: fmt.Sprintf("%s: %s %s at offset %d, and sequence %d, which was sent before it, at %d",
			p, named(producerOf(at.op.Produce), at.op.Produce.FirstSeq), at.verb(), at.first, before.op.Produce.FirstSeq+uint64(before.op.Produce.Count)-1, before.last),
	})
}

// realTime holds all records to real time: what was acknowledged before a send began stands before it.
func (c *recordOrder) realTime(p partition, told map[*history.Operation]bool) {
	ended, begun := slices.Clone(c.acked[p]), c.acked[p]
	slices.SortStableFunc(ended, func(a, b *history.Operation) int { return cmp.Compare(a.Complete, b.Complete) })
	slices.SortStableFunc(begun, func(a, b *history.Operation) int { return cmp.Compare(a.Invoke, b.Invoke) })
	var highest *history.Operation // of those that ended before the send began
	for _, op := range begun {
		for len(ended) > 0 && ended[0].Complete < op.Invoke {
			if highest == nil || lastOffset(ended[0]) > lastOffset(highest) {
				highest = ended[0]
			}
			ended = ended[1:]
		}
		if highest == nil || firstOffset(op) > lastOffset(highest) || told[op] {
			continue
		}
		c.violate(Violation{
			Kind: KindRealTime, Time: op.Complete, Operations: []string{highest.ID, op.ID}, Evidence: []string{opLine(highest), opLine(op)},
			Sentence: fmt.Sprintf("%s: %s was acknowledged at offset %d, though offset %d had been acknowledged before it was sent",
				p, named(producerOf(op.Produce), op.Produce.FirstSeq), firstOffset(op), lastOffset(highest)),
		})
	}
}
