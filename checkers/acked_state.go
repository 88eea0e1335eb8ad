package checkers

import (
	"soak/history"
)

// producer is one incarnation of a producer: its sequences are dense from 0 in each partition.
type producer struct{ id, incarnation uint32 }

// record is what stands for one record of a partition.
type recordID struct {
	producer
	seq uint64
}

// What is known of one (producer, sequence) of a partition.
const (
	flagSent      = 1 << iota // some operation sent it
	flagAcked                 // acknowledged
	flagFailed                // a send of it surely failed
	flagUnknown               // a send of it has an unknown outcome
	flagRead                  // read back, visible to a consumer
	flagDuplicate             // counted as read at two offsets
	flagAbove                 // read, but at or above every high watermark
)

// Pages of offsets, and of a producer's sequences: those are short, because producers come and go and most send little to one partition.
const (
	pageSize   = 1024
	recordPage = 64
)

// records keeps a byte and an offset for each sequence of a producer. Sequences are dense, so pages of arrays hold them
// without a hash of each; pages are made when touched, so that a wild sequence costs one page.
type records struct {
	pages      map[uint64]*recordsPage
	idempotent bool // the producer was

	number uint64 // of the page used last, and that page
	used   *recordsPage
	spare  *[]*recordsPage // pages of partitions that were audited before
}

type recordsPage struct {
	flags [recordPage]uint8
	at    [recordPage]int64 // offset of the first visible copy, where flagRead is set
}

func (r *records) page(seq uint64) (*recordsPage, int) {
	n := seq / recordPage
	if r.used != nil && r.number == n {
		return r.used, int(seq % recordPage)
	}
	p := r.pages[n]
	if p == nil {
		p = r.blank()
		if r.pages == nil {
			r.pages = map[uint64]*recordsPage{}
		}
		r.pages[n] = p
	}
	r.number, r.used = n, p
	return p, int(seq % recordPage)
}

func (r *records) blank() *recordsPage {
	if n := len(*r.spare); n > 0 {
		p := (*r.spare)[n-1]
		*r.spare = (*r.spare)[:n-1]
		*p = recordsPage{}
		return p
	}
	return new(recordsPage)
}

func (r *records) flags(seq uint64) uint8 {
	if r == nil {
		return 0
	}
	n := seq / recordPage
	if r.used != nil && r.number == n {
		return r.used.flags[seq%recordPage]
	}
	if p := r.pages[n]; p != nil {
		r.number, r.used = n, p
		return p.flags[seq%recordPage]
	}
	return 0
}

// source is where a value at an offset is known from.
type source struct {
	piece *piece // of the drain; nil for an acknowledgement,
	sent  *tape  // which stands on this tape
	i     int32
	node  int32 // the replica read, or who acknowledged, 0 if that is not known
}

func (s source) acknowledged() bool { return s.piece == nil }

// alike reports whether what is known from two sources is told in one sentence.
func (s source) alike(x source) bool { return s.node == x.node && s.acknowledged() == x.acknowledged() }

func (s source) known() bool { return s.piece != nil || s.sent != nil }

// op is the operation; of a piece of the drain it may lack the spans.
func (s source) op() *history.Operation {
	if s.piece != nil {
		return s.piece.operation()
	}
	return s.sent.at(int(s.i))
}

// value is what stands at an offset.
type value struct {
	producer producer
	seq      uint64
	from     source // not known: nothing stands there
}

// offsets maps offsets to values, in pages as records does.
type offsets struct {
	pages map[int64]*[pageSize]value

	number int64 // of the page used last, and that page
	used   *[pageSize]value
}

// put sets the value at an offset if there is none, and answers what stands there.
func (o *offsets) put(at int64, v value) value {
	if n := at / pageSize; o.used == nil || o.number != n {
		p := o.pages[n]
		if p == nil {
			p = new([pageSize]value)
			if o.pages == nil {
				o.pages = map[int64]*[pageSize]value{}
			}
			o.pages[n] = p
		}
		o.number, o.used = n, p
	}
	slot := &o.used[at%pageSize]
	if !slot.from.known() {
		*slot = v
	}
	return *slot
}

// sends is what clients did to one partition.
type sends struct {
	producers map[producer]*records // made when the partition is audited, and dropped then: one partition's at a time
	truncated []truncation          // that brokers told of
	spare     *[]*recordsPage
}

func (s *sends) records(p producer) *records {
	r := s.producers[p]
	if r == nil {
		r = &records{spare: s.spare}
		s.producers[p] = r
	}
	return r
}

// drop lets go of what index made, but for the memory.
func (s *sends) drop() {
	for _, r := range s.producers {
		for _, p := range r.pages {
			*s.spare = append(*s.spare, p)
		}
	}
	s.producers = nil
}

// index notes the outcomes of all produce operations, record by record.
func (s *sends) index(t *tape) {
	s.producers = map[producer]*records{}
	t.each(func(_ int, op *history.Operation) { s.note(op) })
}

func (s *sends) note(op *history.Operation) {
	p := op.Produce
	flag := uint8(flagSent)
	switch op.Outcome {
	case history.OK:
		flag |= flagAcked
	case history.Failed:
		flag |= flagFailed
	case history.Unknown:
		flag |= flagUnknown
	}
	r := s.records(producer{p.Producer, p.Incarnation})
	r.idempotent = r.idempotent || p.Idempotent
	for left, seq := max(0, p.Count), p.FirstSeq; left > 0; {
		page, n := r.page(seq)
		for ; left > 0 && n < recordPage; n++ {
			page.flags[n] |= flag
			left, seq = left-1, seq+1
		}
	}
}

// offsetOf is the acknowledged offset of an operation's i-th record, -1 if it is not known.
func offsetOf(p *history.ProduceOp, i int) int64 {
	if i < len(p.Offsets) {
		return p.Offsets[i]
	}
	return -1
}
