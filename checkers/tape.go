package checkers

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"

	"soak/history"
)

// operations is what clients did, for all checkers of a run: one tape a partition and kind of operation. What is judged from a folder waits on tapes in a
// spill, and is read back partition by partition; what is judged in memory keeps the operations that it was given.
type operations struct {
	spill  *spill // nil: in memory
	sent   map[partition]*tape
	given  map[partition]*tape // to consumers
	drains drains
	last   *history.Operation
}

func newOperations(run *history.Run, s *spill) *operations {
	return &operations{spill: s, sent: map[partition]*tape{}, given: map[partition]*tape{}, drains: newDrains(run, s)}
}

// take keeps an operation. Each checker that judges it later hands it over, so that one alone has it as well; the first counts.
func (r *operations) take(op *history.Operation) {
	if op == r.last {
		return
	}
	r.last = op
	switch {
	case op.Produce != nil:
		r.tape(r.sent, partition{op.Produce.Topic, op.Produce.Partition}).add(op)
	case op.Consume != nil:
		r.tape(r.given, partition{op.Consume.Topic, op.Consume.Partition}).add(op)
	case op.Drain != nil:
		r.drains.add(op)
	}
}

func (r *operations) tape(of map[partition]*tape, p partition) *tape {
	t := of[p]
	if t == nil {
		t = &tape{partition: p, spill: r.spill}
		of[p] = t
	}
	return t
}

// sends is the tape of what was sent to a partition; nil, which is empty, if nothing was.
func (r *operations) sends(p partition) *tape { return r.sent[p] }

// tapeBlock is the size from which on a block is written, in bytes.
const tapeBlock = 16 << 10

// tape is the produce operations, or the fetches, of one partition in the order in which they were recorded.
type tape struct {
	partition
	spill *spill
	ops   []*history.Operation // without a spill
	count int

	blocks []block
	open   block  // is being filled
	data   []byte // of open
	before int64  // the beginning of the operation before, in open
}

// block is encoded operations that stand together, with the offsets that they were acknowledged at or brought.
type block struct {
	at     int64 // in the spill
	size   int
	first  int // number of its first operation
	lo, hi int64
}

func (b block) touches(w stretchOf) bool { return b.lo < w.to && b.hi > w.from }

// stretchOf is offsets from up to, but not with, to.
type stretchOf struct{ from, to int64 }

var everywhere = stretchOf{math.MinInt64, math.MaxInt64}

func (w stretchOf) holds(at int64) bool { return at >= w.from && at < w.to }

func (t *tape) len() int {
	if t == nil {
		return 0
	}
	return t.count
}

func (t *tape) add(op *history.Operation) {
	t.count++
	if t.spill == nil {
		t.ops = append(t.ops, op)
		return
	}
	if len(t.data) == 0 {
		t.open, t.before = block{first: t.count - 1, lo: math.MaxInt64, hi: math.MinInt64}, 0
	}
	t.data = t.encode(t.data, op)
	if len(t.data) >= t.spill.block {
		t.open.at, t.open.size = t.spill.write(t.data), len(t.data)
		t.blocks = append(t.blocks, t.open)
		t.data = t.data[:0]
	}
}

// each shows the operations in their order. What it shows is valid until visit returns, and on a spill it has no ID: at gives an operation to keep.
func (t *tape) each(visit func(i int, op *history.Operation)) { t.touching(everywhere, visit) }

// touching is each for those operations that may have offsets in a stretch, and others.
func (t *tape) touching(w stretchOf, visit func(i int, op *history.Operation)) {
	if t == nil {
		return
	}
	for i, op := range t.ops {
		visit(i, op)
	}
	if t.spill == nil {
		return
	}
	var buf []byte
	r := tapeReader{of: t}
	for i := range len(t.blocks) {
		if b := t.blocks[i]; w == everywhere || b.touches(w) {
			buf = t.spill.read(b.at, b.size, buf)
			r.block(buf, b.first, visit)
		}
	}
	if len(t.data) > 0 && (w == everywhere || t.open.touches(w)) {
		r.block(t.data, t.open.first, visit)
	}
}

// at is one operation, whole and to keep.
func (t *tape) at(i int) (op *history.Operation) {
	if t.spill == nil {
		return t.ops[i]
	}
	data, first := t.data, t.open.first
	if len(t.data) == 0 || i < t.open.first {
		b := t.blocks[sort.Search(len(t.blocks), func(k int) bool { return t.blocks[k].first > i })-1]
		data, first = t.spill.read(b.at, b.size, nil), b.first
	}
	r := tapeReader{of: t, whole: i + 1}
	r.block(data, first, func(k int, x *history.Operation) {
		if k == i {
			op = x
		}
	})
	return op
}

// reach is one above the highest offset on the tape, 0 if there is none.
func (t *tape) reach() int64 {
	if t == nil || t.spill == nil {
		return 0
	}
	var high int64
	for _, b := range t.blocks {
		high = max(high, b.hi)
	}
	if len(t.data) > 0 {
		high = max(high, t.open.hi)
	}
	return high
}

func (b *block) cover(from, to int64) { b.lo, b.hi = min(b.lo, from), max(b.hi, to) }

// Forms of an encoded operation.
const (
	formJSON    = iota // peculiar
	formProduce        // no offsets
	formOffsets        // each its own
	formDense          // consecutive offsets
	formConsume
)

// Flags of an encoded produce.
const (
	codedIdempotent = 1 << iota
	codedDisordered
)

var codedOutcomes = []history.Outcome{history.OK, history.Failed, history.Unknown}

// encode appends an operation. What is not encoded stands in the tape itself.
func (t *tape) encode(b []byte, op *history.Operation) []byte {
	prefix, number, ok := history.SplitID(op.ID)
	outcome := -1
	for i, o := range codedOutcomes {
		if o == op.Outcome {
			outcome = i
		}
	}
	p, c := op.Produce, op.Consume
	if p != nil {
		for i := range p.Offsets {
			if at := p.Offsets[i]; at >= 0 {
				t.open.cover(at, at+1)
			}
		}
	} else {
		for _, s := range c.Spans {
			t.open.cover(s.Offset, s.Offset+int64(s.Count))
		}
	}
	if !ok || outcome < 0 || op.Meta != nil || op.Create != nil || op.Drain != nil || p != nil && c != nil || p == nil && len(c.Bad) > 0 {
		text := opLine(op)
		b = append(b, formJSON)
		b = binary.AppendUvarint(b, uint64(len(text)))
		return append(b, text...)
	}
	form := byte(formConsume)
	if p != nil {
		form = formProduce
		if len(p.Offsets) > 0 {
			form = formDense
		}
		for i, at := range p.Offsets {
			if at != p.Offsets[0]+int64(i) {
				form = formOffsets
			}
		}
	}
	b = append(b, form, byte(outcome))
	b = binary.AppendUvarint(b, t.spill.names.of(prefix))
	b = binary.AppendUvarint(b, uint64(number))
	b = binary.AppendUvarint(b, t.spill.names.of(op.Client))
	b = binary.AppendUvarint(b, uint64(len(op.Error)))
	b = append(b, op.Error...)
	b = binary.AppendVarint(b, int64(op.Node))
	b = binary.AppendVarint(b, op.Invoke-t.before)
	t.before = op.Invoke
	b = binary.AppendVarint(b, op.Complete-op.Invoke)
	if p == nil {
		b = binary.AppendVarint(b, int64(c.LeaderEpoch))
		b = binary.AppendVarint(b, c.From)
		b = binary.AppendVarint(b, c.To-c.From)
		b = binary.AppendVarint(b, c.High-c.To)
		return appendSpans(b, c.From, c.Spans)
	}
	flags := byte(0)
	if p.Idempotent {
		flags |= codedIdempotent
	}
	if p.Disordered {
		flags |= codedDisordered
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(p.Producer))
	b = binary.AppendUvarint(b, uint64(p.Incarnation))
	b = binary.AppendUvarint(b, p.FirstSeq)
	b = binary.AppendVarint(b, int64(p.Count))
	b = binary.AppendVarint(b, int64(p.Acks))
	b = binary.AppendVarint(b, p.Acked)
	switch form {
	case formDense:
		b = binary.AppendVarint(b, p.Offsets[0]-p.Acked)
		b = binary.AppendUvarint(b, uint64(len(p.Offsets)))
	case formOffsets:
		b = binary.AppendUvarint(b, uint64(len(p.Offsets)))
		for _, at := range p.Offsets {
			b = binary.AppendVarint(b, at)
		}
	}
	return b
}

func appendSpans(b []byte, end int64, spans []history.Span) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = binary.AppendVarint(b, s.Offset-end)
		end = s.Offset + int64(s.Count)
		b = binary.AppendUvarint(b, uint64(s.Producer))
		b = binary.AppendUvarint(b, uint64(s.Incarnation))
		b = binary.AppendUvarint(b, s.Seq)
		b = binary.AppendVarint(b, int64(s.Count))
	}
	return b
}

// decoder takes values from the front of what this process encoded. What does not fit is a broken invariant.
type decoder []byte

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(*d)
	if n <= 0 {
		panic("checkers: what was spilled cannot be decoded")
	}
	*d = (*d)[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(*d)
	if n <= 0 {
		panic("checkers: what was spilled cannot be decoded")
	}
	*d = (*d)[n:]
	return v
}

func (d *decoder) byte() byte {
	v := (*d)[0]
	*d = (*d)[1:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	v := (*d)[:n]
	*d = (*d)[n:]
	return v
}

func (d *decoder) spans(end int64, into []history.Span) []history.Span {
	n := d.uint()
	if uint64(cap(into)) < n {
		into = make([]history.Span, n)
	}
	into = into[:n]
	for i := range into {
		s := &into[i]
		s.Offset = end + d.int()
		s.Producer, s.Incarnation, s.Seq, s.Count = uint32(d.uint()), uint32(d.uint()), d.uint(), int32(d.int())
		end = s.Offset + int64(s.Count)
	}
	return into
}

// tapeReader decodes blocks, over and over into the same memory, but for the operation whole-1, which is whole and to keep.
type tapeReader struct {
	of      *tape
	whole   int
	op      history.Operation
	produce history.ProduceOp
	consume history.ConsumeOp
	offsets []int64
	spans   []history.Span
}

func (r *tapeReader) block(data []byte, first int, visit func(i int, op *history.Operation)) {
	d := decoder(data)
	before := int64(0)
	for i := first; len(d) > 0; i++ {
		if i == r.whole-1 {
			*r = tapeReader{of: r.of, whole: r.whole}
		}
		op := r.next(&d, &before, i == r.whole-1)
		visit(i, op)
		if i == r.whole-1 {
			return
		}
	}
}

func (r *tapeReader) next(d *decoder, before *int64, whole bool) *history.Operation {
	form := d.byte()
	if form == formJSON {
		op := new(history.Operation)
		if err := json.Unmarshal(d.bytes(d.uint()), op); err != nil {
			panic(fmt.Sprintf("checkers: what was spilled cannot be decoded: %v", err))
		}
		return op
	}
	names := r.of.spill.names.list
	op := &r.op
	*op = history.Operation{Outcome: codedOutcomes[d.byte()]}
	prefix, number := names[d.uint()], int64(d.uint())
	if whole {
		op.ID = prefix + strconv.FormatInt(number, 10)
	}
	op.Client = names[d.uint()]
	if n := d.uint(); n > 0 {
		op.Error = string(d.bytes(n))
	}
	op.Node = int32(d.int())
	op.Invoke = *before + d.int()
	*before = op.Invoke
	op.Complete = op.Invoke + d.int()
	if form == formConsume {
		c := &r.consume
		*c = history.ConsumeOp{Topic: r.of.topic, Partition: r.of.number, LeaderEpoch: int32(d.int()), From: d.int()}
		c.To = c.From + d.int()
		c.High = c.To + d.int()
		r.spans = d.spans(c.From, r.spans)
		if len(r.spans) > 0 {
			c.Spans = r.spans
		}
		op.Consume = c
		return op
	}
	p := &r.produce
	flags := d.byte()
	*p = history.ProduceOp{Topic: r.of.topic, Partition: r.of.number, Idempotent: flags&codedIdempotent != 0, Disordered: flags&codedDisordered != 0}
	p.Producer, p.Incarnation, p.FirstSeq = uint32(d.uint()), uint32(d.uint()), d.uint()
	p.Count, p.Acks, p.Acked = int32(d.int()), int16(d.int()), d.int()
	switch form {
	case formDense:
		at, n := p.Acked+d.int(), d.uint()
		p.Offsets = r.offsets[:0]
		for i := range int64(n) {
			p.Offsets = append(p.Offsets, at+i)
		}
		r.offsets = p.Offsets
	case formOffsets:
		p.Offsets = r.offsets[:0]
		for range d.uint() {
			p.Offsets = append(p.Offsets, d.int())
		}
		r.offsets = p.Offsets
	}
	op.Produce = p
	return op
}
