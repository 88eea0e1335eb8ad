package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// audit compares one partition's acknowledgements with what its replicas hold.
type audit struct {
	checker   *ackedRecords
	partition partition
	sends     *sends
	sent      *tape
	replicas  []replica

	stretch   stretchOf // offsets that are being compared
	values    offsets   // in stretch
	buf       spanBuffer
	visible   int64 // highest high watermark that a replica answered: below it a record is there for consumers
	conflicts []conflict
	strangers []stranger
	judged    map[int64]bool // offsets whose record was found to be a stranger, on whichever replica first
}

// conflict is one offset with two values.
type conflict struct {
	offset        int64
	first, second value
}

// stranger is a record that should not be where it is.
type stranger struct {
	kind     string
	offset   int64
	what     string // in words, the same for what belongs together
	recordID        // where it can be told
	from     source
}

func (a *audit) run() {
	a.judged = map[int64]bool{}
	a.sends.index(a.sent)
	defer a.sends.drop()
	a.visible = a.checker.drains.highs[a.partition]
	for _, a.stretch = range a.stretches() {
		a.values = offsets{}
		if a.checker.promised() {
			a.acknowledged()
		}
		for _, r := range a.replicas {
			for _, x := range a.checker.drains.pieces[r] {
				if x.holds.from < a.stretch.to && x.holds.to > a.stretch.from {
					a.compare(r, x)
				}
			}
		}
	}
	a.values = offsets{}
	for _, r := range a.replicas {
		for _, x := range a.checker.drains.pieces[r] {
			a.piece(r, x)
		}
	}
	a.reportConflicts()
	a.reportStrangers()
	if a.checker.promised() {
		a.reportLost()
	}
	if !a.checker.contract.Transactions { // their markers take offsets of their own
		for _, r := range a.replicas {
			a.holes(r)
		}
	}
}

// auditStretch is how many offsets of a long partition are compared at a time: what is known of each takes 40 bytes meanwhile. mostStretches bounds the
// passes over one whose offsets are so far apart that they are no log's.
const (
	auditStretch  = 256 << 10
	mostStretches = 1 << 12
)

// stretches cuts a partition that waits in a spill; what is in memory is compared in one go.
func (a *audit) stretches() []stretchOf {
	high := a.sent.reach()
	for _, r := range a.replicas {
		for _, x := range a.checker.drains.pieces[r] {
			high = max(high, x.holds.to)
		}
	}
	if a.checker.ops.spill == nil {
		return []stretchOf{everywhere}
	}
	long := a.checker.ops.spill.stretch
	n := high / long
	if n == 0 || n > mostStretches {
		return []stretchOf{everywhere}
	}
	out := make([]stretchOf, 0, n+1)
	for i := range n + 1 {
		out = append(out, stretchOf{i * long, (i + 1) * long})
	}
	out[0].from, out[n].to = everywhere.from, everywhere.to
	return out
}

// acknowledged enters the offsets that clients were told.
func (a *audit) acknowledged() {
	a.sent.touching(a.stretch, func(n int, op *history.Operation) {
		if op.Outcome != history.OK || op.Produce.Acks != allReplicas || !a.checker.claimed(a.partition, op) {
			return
		}
		for i := range int(op.Produce.Count) {
			if at := offsetOf(op.Produce, i); at >= 0 && a.stretch.holds(at) {
				a.enter(at, value{producer: producerOf(op.Produce), seq: op.Produce.FirstSeq + uint64(i), from: source{sent: a.sent, i: int32(n), node: op.Node}})
			}
		}
	})
}

func producerOf(p *history.ProduceOp) producer { return producer{p.Producer, p.Incarnation} }

func (a *audit) enter(at int64, v value) {
	if old := a.values.put(at, v); old.producer != v.producer || old.seq != v.seq {
		a.conflicts = append(a.conflicts, conflict{at, old, v})
	}
}

// compare enters the offsets that one drain operation read of a replica. Above a replica's own high watermark, as it stood then, nothing is promised: followers
// cut such tails.
func (a *audit) compare(r replica, x *piece) {
	from := source{piece: x, node: r.node}
	for _, span := range x.read(&a.buf) {
		p := producer{span.Producer, span.Incarnation}
		for i := range int64(span.Count) {
			if at := span.Offset + i; at < x.High && a.stretch.holds(at) {
				a.enter(at, value{producer: p, seq: span.Seq + uint64(i), from: from})
			}
		}
	}
}

// piece takes what one drain operation read of a replica, record by record.
func (a *audit) piece(r replica, x *piece) {
	high := x.High // as it stood then: a tail that was read above it may have been cut since
	from := source{piece: x, node: r.node}
	for _, span := range x.read(&a.buf) {
		p := producer{span.Producer, span.Incarnation}
		sent := a.sends.producers[p]
		for i := range int64(span.Count) {
			at, seq := span.Offset+i, span.Seq+uint64(i)
			a.checker.read++
			if at < a.visible {
				a.seen(at, p, sent, seq, from, at < high)
			} else if sent.flags(seq)&flagSent != 0 {
				page, n := sent.page(seq)
				page.flags[n] |= flagAbove
			}
		}
	}
	for _, bad := range x.Bad {
		kind := KindForeign
		switch bad.Why {
		case "corrupt":
			kind = KindCorrupt
		case "misrouted":
			kind = KindMisrouted
		}
		a.stranger(stranger{kind: kind, offset: bad.Offset, what: "holds what this run did not write there: " + bad.Why, from: from})
	}
}

// nowhere is the offset of a record that was read in tails alone.
const nowhere = -1

// seen takes a record where consumers can read. One that its replica does not know to be committed may be of a tail that will be cut, in the place of
// others that are committed elsewhere: where it stands proves no second copy.
func (a *audit) seen(at int64, p producer, sent *records, seq uint64, from source, committed bool) {
	flags := sent.flags(seq)
	switch {
	case flags&(flagAcked|flagUnknown) == 0 && a.checker.historyCut:
		a.checker.phantoms++ // the send that brought it may be one that is not recorded
		return
	case flags&flagSent == 0:
		a.stranger(stranger{KindPhantom, at, "holds a record that nobody sent", recordID{p, seq}, from})
		return
	case flags&flagFailed != 0 && flags&(flagAcked|flagUnknown) == 0:
		a.stranger(stranger{KindFailedVisible, at, "holds a record whose send surely failed", recordID{p, seq}, from})
	}
	page, n := sent.page(seq)
	switch {
	case flags&flagRead == 0:
		page.flags[n] |= flagRead
		page.at[n] = nowhere
		if committed {
			page.at[n] = at
		}
		if flags&flagUnknown != 0 && flags&flagAcked == 0 {
			a.checker.unknownVisible++
		}
	case !committed:
	case page.at[n] == nowhere:
		page.at[n] = at
	case page.at[n] != at && flags&flagDuplicate == 0:
		page.flags[n] |= flagDuplicate
		a.checker.duplicates++
		if sent.idempotent {
			a.checker.repeats = append(a.checker.repeats, repeat{partition: a.partition, producer: p, seq: seq, first: page.at[n], again: at, from: from})
		}
	}
}

func (a *audit) stranger(s stranger) {
	if !a.judged[s.offset] {
		a.judged[s.offset] = true
		a.strangers = append(a.strangers, s)
	}
}

func (a *audit) reportStrangers() {
	slices.SortStableFunc(a.strangers, func(x, y stranger) int { return cmp.Compare(x.offset, y.offset) })
	var groups [][]stranger
	for rest := a.strangers; len(rest) > 0; {
		first, n := rest[0], 1
		for n < len(rest) && rest[n].kind == first.kind && rest[n].what == first.what && rest[n].offset == first.offset+int64(n) {
			n++
		}
		groups, rest = append(groups, rest[:n]), rest[n:]
	}
	senders := a.failedSenders(groups)
	for _, g := range groups {
		if a.checker.counted() {
			continue
		}
		first, n := g[0], len(g)
		sentence := fmt.Sprintf("%s at offset %d on n%d %s", a.partition, first.offset, first.from.node, first.what)
		if n > 1 {
			sentence = fmt.Sprintf("%s at each of the offsets %d to %d on n%d %s", a.partition, first.offset, first.offset+int64(n)-1, first.from.node, first.what)
		}
		if first.kind == KindPhantom || first.kind == KindFailedVisible {
			sentence += ": " + named(first.producer, first.seq)
		}
		v := Violation{Kind: first.kind, Sentence: sentence, Time: first.from.op().Complete, Nodes: []int32{first.from.node}}
		cite(&v, first.from, first.offset)
		if first.kind == KindFailedVisible {
			for _, op := range senders[first.recordID] {
				v.Operations = append(v.Operations, op.ID)
				v.Evidence = append(v.Evidence, opLine(op))
			}
		}
		a.checker.violate(v)
	}
}

// failedSenders finds the operations that sent the first record of each group that will be told of and whose send failed: nobody else has sent it. It is one pass
// over the partition, however many groups there are.
func (a *audit) failedSenders(groups [][]stranger) map[recordID][]*history.Operation {
	senders := map[recordID][]*history.Operation{}
	for _, g := range groups[:min(len(groups), maxViolations)] {
		if g[0].kind == KindFailedVisible {
			senders[g[0].recordID] = nil
		}
	}
	if len(senders) == 0 {
		return nil
	}
	a.sent.each(func(i int, op *history.Operation) {
		if op.Outcome != history.Failed {
			return
		}
		var whole *history.Operation
		p := op.Produce
		for k := range max(0, p.Count) {
			r := recordID{producerOf(p), p.FirstSeq + uint64(k)}
			if list, wanted := senders[r]; wanted {
				if whole == nil {
					whole = a.sent.at(i)
				}
				senders[r] = append(list, whole)
			}
		}
	})
	return senders
}

func (a *audit) reportConflicts() {
	slices.SortStableFunc(a.conflicts, func(x, y conflict) int {
		one, two := x.second.from, y.second.from
		return cmp.Or(cmp.Compare(btoi(!one.acknowledged()), btoi(!two.acknowledged())), cmp.Compare(one.node, two.node), cmp.Compare(x.offset, y.offset))
	})
	for i := 0; i < len(a.conflicts); {
		first, n := a.conflicts[i], 1
		for i+n < len(a.conflicts) {
			next := a.conflicts[i+n]
			if next.offset != first.offset+int64(n) || !next.first.from.alike(first.first.from) || !next.second.from.alike(first.second.from) {
				break
			}
			n++
		}
		if i += n; a.checker.counted() {
			continue
		}
		v := Violation{Kind: KindInconsistent, Sentence: a.conflictSentence(first, n), Time: first.at(), Nodes: first.blame()}
		for _, s := range []source{first.first.from, first.second.from} {
			cite(&v, s, first.offset)
		}
		a.checker.violate(v)
	}
}

func named(p producer, seq uint64) string {
	return fmt.Sprintf("producer %d.%d sequence %d", p.id, p.incarnation, seq)
}

// cite adds a source to a violation's evidence. Of a drain piece only what stands around the offset is shown.
func cite(v *Violation, s source, offset int64) {
	op := s.op()
	if op.Drain != nil {
		short := *op.Drain
		short.Spans, short.Bad = nil, nil
		for _, span := range s.piece.read(new(spanBuffer)) {
			if span.Offset <= offset+1 && offset-1 < span.Offset+int64(span.Count) {
				short.Spans = append(short.Spans, span)
			}
		}
		for _, bad := range op.Drain.Bad {
			if bad.Offset == offset {
				short.Bad = append(short.Bad, bad)
			}
		}
		cut := *op
		cut.Drain = &short
		op = &cut
	}
	v.Operations = append(v.Operations, op.ID)
	v.Evidence = append(v.Evidence, opLine(op))
}
