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

// recordOrder holds acknowledged records to the order in which they were sent. It takes some 60 bytes for each operation of the partition that it is at.
type recordOrder struct {
	ledger
	contract   history.Contract
	ops        *operations
	drains     *drains
	parts      map[partition]bool // that have anything to judge
	unsynced   unsynced
	historyCut bool

	located int64 // records of unknown outcome that are in a log

	acked   []placed // of the partition that is judged; the memory of the one before is used again
	numbers [3][]uint32
}

func newRecordOrder(s *shared) *recordOrder {
	ops := s.operations()
	return &recordOrder{ledger: ledger{id: RecordOrder}, contract: s.run.Contract, unsynced: newUnsynced(s.run), ops: ops, drains: &ops.drains, parts: map[partition]bool{}}
}

func (c *recordOrder) incomplete(n history.Notes) { c.historyCut = historyCut(n) }

func (c *recordOrder) Event(e *history.Event) { c.unsynced.see(e) }

func (c *recordOrder) Operation(op *history.Operation) {
	c.ops.take(op)
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
	if ordered(op) || open(op) {
		c.parts[partition{p.Topic, p.Partition}] = true
	}
}

// ordered reports whether an operation's records were acknowledged at known offsets.
func ordered(op *history.Operation) bool {
	return op.Outcome == history.OK && op.Produce.Acks == allReplicas && op.Produce.Count != 0 && firstOffset(op) >= 0
}

// open reports whether an operation's records are judged by their place in the log, if they have one.
func open(op *history.Operation) bool {
	p := op.Produce
	return op.Outcome == history.Unknown && p.Idempotent && p.Acks == allReplicas && p.Count > 0
}

func firstOffset(op *history.Operation) int64 { return offsetOf(op.Produce, 0) }

func lastOffset(op *history.Operation) int64 { return offsetOf(op.Produce, int(op.Produce.Count)-1) }

// release gives back what judging took, which for a long partition is much: other checkers are to be judged yet.
func (c *recordOrder) release() { c.acked, c.numbers = nil, [3][]uint32{} }

func (c *recordOrder) Finish() Verdict {
	parts := make([]partition, 0, len(c.parts))
	for p := range c.parts {
		parts = append(parts, p)
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
			o := newPartitionOrder(c, p)
			records += o.records
			found := o.inLog()
			told := o.senders(found)
			o.realTime(told)
			o.realTimeOfUnknown(found, told)
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

// placed is an operation with the offsets between which its records stand: as they were acknowledged, or as they were read back.
type placed struct {
	seq              uint64 // the first
	first, last      int64
	invoke, complete int64
	who              uint32 // producer, in partitionOrder's list
	i                int32  // number on the tape
	sure, idempotent bool   // acknowledged
	set              bool
}

func (x placed) verb() string {
	if x.sure {
		return "was acknowledged"
	}
	return "stands"
}

// partitionOrder is the judging of one partition.
type partitionOrder struct {
	*recordOrder
	partition
	sent      *tape
	producers []producer
	index     map[producer]uint32
	unknown   map[producer][]unlocated
	records   int64 // acknowledged
}

// unlocated is an operation of unknown outcome.
type unlocated struct {
	placed // without its place
	count  int32
}

func newPartitionOrder(c *recordOrder, p partition) *partitionOrder {
	o := &partitionOrder{recordOrder: c, partition: p, sent: c.ops.sends(p), index: map[producer]uint32{}, unknown: map[producer][]unlocated{}}
	o.acked = slices.Grow(o.acked[:0], o.sent.len())
	o.sent.each(func(i int, op *history.Operation) {
		switch {
		case ordered(op):
			o.records += int64(op.Produce.Count)
			o.within(i, op)
			x := o.place(i, op)
			x.first, x.last, x.sure = firstOffset(op), lastOffset(op), true
			o.acked = append(o.acked, x)
		case open(op):
			by := producerOf(op.Produce)
			o.unknown[by] = append(o.unknown[by], unlocated{o.place(i, op), op.Produce.Count})
		}
	})
	return o
}

func (o *partitionOrder) place(i int, op *history.Operation) placed {
	by := producerOf(op.Produce)
	who, known := o.index[by]
	if !known {
		who = uint32(len(o.producers))
		o.producers, o.index[by] = append(o.producers, by), who
	}
	return placed{seq: op.Produce.FirstSeq, invoke: op.Invoke, complete: op.Complete, who: who, i: int32(i), idempotent: op.Produce.Idempotent, set: true}
}

// within looks at the records of one operation.
func (o *partitionOrder) within(n int, op *history.Operation) {
	for i := 1; i < int(op.Produce.Count); i++ {
		before, at := offsetOf(op.Produce, i-1), offsetOf(op.Produce, i)
		if at < 0 || before < at {
			continue
		}
		if o.counted() {
			return
		}
		op := o.sent.at(n)
		o.violate(Violation{
			Kind: KindWithinBatch, Time: op.Complete, Operations: []string{op.ID}, Evidence: []string{opLine(op)},
			Sentence: fmt.Sprintf("%s: %s was acknowledged at offset %d and the record handed in before it at %d", o.partition, named(producerOf(op.Produce), op.Produce.FirstSeq+uint64(i)), at, before),
		})
		break
	}
}

// senders holds each idempotent producer's records to their sequence, whatever was in flight at a time, and answers the operations that broke it. Of two of which
// one has an unknown outcome only those are held to it that were in flight together: an idempotent producer that gives up goes on under another id, and
// what it gave up may come behind what it sends then.
func (o *partitionOrder) senders(found []placed) map[int32]bool {
	order := slices.Grow(o.numbers[0][:0], len(found)+len(o.acked)) // into found, then into acked
	for i := range found {
		order = append(order, uint32(i))
	}
	for i := range o.acked {
		if o.acked[i].idempotent {
			order = append(order, uint32(len(found)+i))
		}
	}
	of := func(n uint32) *placed {
		if int(n) < len(found) {
			return &found[n]
		}
		return &o.acked[int(n)-len(found)]
	}
	o.numbers[0] = order
	sortOnce(order, func(m, n uint32) int {
		a, b := of(m), of(n)
		if a.who != b.who {
			x, y := o.producers[a.who], o.producers[b.who]
			return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.incarnation, y.incarnation))
		}
		return cmp.Compare(a.seq, b.seq)
	})
	told := map[int32]bool{}
	var highest, unknown placed // of this producer's, so far
	for _, n := range order {
		op := *of(n)
		if highest.set && highest.who != op.who {
			highest = placed{}
		}
		if unknown.set && unknown.who != op.who {
			unknown = placed{}
		}
		switch {
		case highest.set && op.first <= highest.last && (op.sure || together(highest, op)):
			told[op.i] = true
			o.disordered(highest, op)
		case unknown.set && op.first <= unknown.last && together(unknown, op):
			told[op.i] = true
			o.disordered(unknown, op)
		}
		if op.sure && (!highest.set || op.first > highest.last) {
			highest = op
		}
		if !op.sure && (!unknown.set || op.last > unknown.last) {
			unknown = op
		}
	}
	return told
}

// sortOnce sorts stably, at no cost what is in order.
func sortOnce(x []uint32, by func(a, b uint32) int) {
	if !slices.IsSortedFunc(x, by) {
		slices.SortStableFunc(x, by)
	}
}

// together reports whether the later of two operations of a producer was handed over while the earlier was under way.
func together(earlier, later placed) bool {
	return earlier.complete == 0 || later.invoke < earlier.complete
}

func (o *partitionOrder) disordered(first, second placed) {
	if o.counted() {
		return
	}
	before, at := o.sent.at(int(first.i)), o.sent.at(int(second.i))
	o.violate(Violation{
		Kind: KindSendOrder, Time: at.Complete, Operations: []string{before.ID, at.ID}, Evidence: []string{opLine(before), opLine(at)},
		Sentence: fmt.Sprintf("%s: %s %s at offset %d, and sequence %d, which was sent before it, at %d",
			o.partition, named(producerOf(at.Produce), at.Produce.FirstSeq), second.verb(), second.first, before.Produce.FirstSeq+uint64(before.Produce.Count)-1, first.last),
	})
}

// count numbers the acknowledged operations, in the n-th piece of memory for that.
func (o *partitionOrder) count(n int) []uint32 {
	out := slices.Grow(o.numbers[n][:0], len(o.acked))
	for i := range o.acked {
		out = append(out, uint32(i))
	}
	o.numbers[n] = out
	return out
}

// byComplete orders numbers of acknowledged operations by their ends.
func (o *partitionOrder) byComplete(numbers []uint32) {
	sortOnce(numbers, func(a, b uint32) int { return cmp.Compare(o.acked[a].complete, o.acked[b].complete) })
}

func (o *partitionOrder) byInvoke(numbers []uint32) {
	sortOnce(numbers, func(a, b uint32) int { return cmp.Compare(o.acked[a].invoke, o.acked[b].invoke) })
}

// realTime holds all records to real time: what was acknowledged before a send began stands before it.
func (o *partitionOrder) realTime(told map[int32]bool) {
	ended, begun := o.count(1), o.count(2)
	o.byComplete(ended)
	o.byInvoke(begun)
	var highest *placed // of those that ended before the send began
	for _, n := range begun {
		op := &o.acked[n]
		for len(ended) > 0 && o.acked[ended[0]].complete < op.invoke {
			if x := &o.acked[ended[0]]; highest == nil || x.last > highest.last {
				highest = x
			}
			ended = ended[1:]
		}
		if highest == nil || op.first > highest.last || told[op.i] {
			continue
		}
		o.behind(highest, op, "was acknowledged")
	}
}

// behind reports a record that stands before what had been acknowledged when its send began.
func (o *partitionOrder) behind(high, late *placed, verb string) {
	if o.counted() {
		return
	}
	highest, op := o.sent.at(int(high.i)), o.sent.at(int(late.i))
	o.violate(Violation{
		Kind: KindRealTime, Time: op.Complete, Operations: []string{highest.ID, op.ID}, Evidence: []string{opLine(highest), opLine(op)},
		Sentence: fmt.Sprintf("%s: %s %s at offset %d, though offset %d had been acknowledged before it was sent",
			o.partition, named(producerOf(op.Produce), op.Produce.FirstSeq), verb, late.first, high.last),
	})
}
