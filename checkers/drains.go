package checkers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"soak/history"
)

// partition names a partition.
type partition struct {
	topic  string
	number int32
}

func (p partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.number) }

func comparePartitions(a, b partition) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
}

// replica names one node's copy of a partition.
type replica struct {
	partition
	node int32
}

// drains is the final read of the record topics, piece by piece as it was done.
type drains struct {
	spill  *spill
	want   []replica // by the run's description
	pieces map[replica][]*piece
	highs  map[partition]int64 // highest high watermark that any replica answered with
	sorted bool
}

func newDrains(run *history.Run, s *spill) drains {
	d := drains{spill: s, pieces: map[replica][]*piece{}, highs: map[partition]int64{}}
	for _, t := range run.RecordTopics {
		for p := range t.Partitions {
			for _, n := range t.Replicas {
				d.want = append(d.want, replica{partition{t.Name, p}, n})
			}
		}
	}
	return d
}

// piece is one operation of the final read. The operation and its spans may wait in a spill; what all who judge ask of it, its hashes among that, stays.
type piece struct {
	From, To, LogEnd, High int64
	LogStart               int64
	End                    bool
	Bad                    []history.BadRecord
	Stretches              []history.Stretch
	invoke, complete       int64
	first                  int64     // offset of its first span, -1 if it has none
	holds                  stretchOf // between its lowest and its highest offset

	op   *history.Operation // nil: it waits
	wait *spill
	at   int64
	head int32 // bytes of the operation without its spans; these follow
	size int32 // of both
}

func (d *drains) piece(op *history.Operation) *piece {
	o := op.Drain
	x := &piece{From: o.From, To: o.To, LogEnd: o.LogEnd, High: o.High, LogStart: o.LogStart, End: o.End, Bad: o.Bad, Stretches: o.Stretches,
		invoke: op.Invoke, complete: op.Complete, first: -1, holds: stretchOf{math.MaxInt64, math.MinInt64}, op: op}
	for i, s := range o.Spans {
		if i == 0 {
			x.first = s.Offset
		}
		x.holds = stretchOf{min(x.holds.from, s.Offset), max(x.holds.to, s.Offset+int64(s.Count))}
	}
	for _, b := range o.Bad {
		x.holds = stretchOf{min(x.holds.from, b.Offset), max(x.holds.to, b.Offset+1)}
	}
	if d.spill == nil {
		return x
	}
	head, drain := *op, *o
	drain.Spans, head.Drain = nil, &drain
	data := []byte(opLine(&head))
	x.head = int32(len(data))
	data = appendSpans(data, o.From, o.Spans)
	x.op, x.wait, x.at, x.size = nil, d.spill, d.spill.write(data), int32(len(data))
	x.Stretches = slices.Clone(o.Stretches) // the rest of what was read with them can go
	return x
}

// operation is the piece as it was recorded; if it waits, without its spans.
func (x *piece) operation() *history.Operation {
	if x.wait == nil {
		return x.op
	}
	op := new(history.Operation)
	if err := json.Unmarshal(x.wait.read(x.at, int(x.head), nil), op); err != nil {
		panic(fmt.Sprintf("checkers: what was spilled cannot be decoded: %v", err))
	}
	return op
}

// read answers the spans of the piece, which are valid until the buffer is used again, and the buffer for the next.
func (x *piece) read(buf *spanBuffer) []history.Span {
	if x.wait == nil {
		return x.op.Drain.Spans
	}
	buf.data = x.wait.read(x.at+int64(x.head), int(x.size-x.head), buf.data[:0])
	d := decoder(buf.data)
	buf.spans = d.spans(x.From, buf.spans)
	return buf.spans
}

type spanBuffer struct {
	data  []byte
	spans []history.Span
}

// add takes an operation; those that are no drain, or read nothing, are passed over.
func (d *drains) add(op *history.Operation) {
	if op.Drain != nil && op.Outcome == history.OK {
		r := replica{partition{op.Drain.Topic, op.Drain.Partition}, op.Drain.Replica}
		d.pieces[r] = append(d.pieces[r], d.piece(op))
		d.highs[r.partition] = max(d.highs[r.partition], op.Drain.High)
		d.sorted = false
	}
}

// read is how far a replica was read without a gap, and whether that is its end. A replica that ends below a high watermark which
// another one named has more to come: its end is not its own.
func (d *drains) read(r replica) (next int64, end bool) {
	if !d.sorted {
		for _, pieces := range d.pieces {
			slices.SortStableFunc(pieces, func(a, b *piece) int { return cmp.Compare(a.From, b.From) })
		}
		d.sorted = true
	}
	for _, op := range d.pieces[r] {
		if op.From > next {
			break
		}
		switch to := op.To; {
		case to > next:
			next, end = to, op.End
		case to == next:
			end = end || op.End
		}
	}
	for _, op := range d.pieces[r] {
		if op.To > next { // something was read behind the gap: the end is not here
			return next, false
		}
	}
	return next, end && next >= d.highs[r.partition]
}

// high is the highest high watermark that the replica answered with, 0 if none.
func (d *drains) high(r replica) int64 {
	var high int64
	for _, op := range d.pieces[r] {
		high = max(high, op.High)
	}
	return high
}

// counts is how many of the wanted replicas were read to their ends.
func (d *drains) counts() (complete, wanted int64) {
	for _, r := range d.want {
		if _, end := d.read(r); end {
			complete++
		}
	}
	return complete, int64(len(d.want))
}

// shortfalls names each wanted replica that was not read to its end.
func (d *drains) shortfalls() []string {
	var out []string
	for _, r := range d.want {
		next, end := d.read(r)
		if end {
			continue
		}
		if len(d.pieces[r]) == 0 {
			out = append(out, fmt.Sprintf("%s on n%d was never read", r.partition, r.node))
			continue
		}
		of := "an unknown end"
		if known := d.knownEnd(r.partition); known > next {
			of = fmt.Sprint(known)
		}
		out = append(out, fmt.Sprintf("drain of %s on n%d stopped at %d of %s", r.partition, r.node, next, of))
	}
	return out
}

// knownEnd is the furthest that any replica of the partition is known to reach.
func (d *drains) knownEnd(p partition) int64 {
	var known int64
	for r, pieces := range d.pieces {
		if r.partition == p {
			for _, op := range pieces {
				known = max(known, op.To, op.LogEnd, op.High)
			}
		}
	}
	return known
}

// replicas are the nodes of a partition that were read or should have been, ascending.
func (d *drains) replicas(p partition) []replica {
	var out []replica
	for r := range d.pieces {
		if r.partition == p {
			out = append(out, r)
		}
	}
	for _, r := range d.want {
		if r.partition == p && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b replica) int { return cmp.Compare(a.node, b.node) })
	return out
}
