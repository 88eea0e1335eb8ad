package checkers

import (
	"soak/history"
)

// producer is one incarnation of a producer: its sequences are dense from 0 in each partition.
type producer struct{ id, incarnation uint32 }

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
}

type recordsPage struct {
	flags [recordPage]uint8
	at    [recordPage]int64 // offset of the first visible copy, where flagRead is set
}

func (r *records) page(seq uint64) (*recordsPage, int) {
	n := seq / recordPage
	p := r.pages[n]
	if p == nil {
		p = new(recordsPage)
		if r.pages == nil {
			r.pages = map[uint64]*recordsPage{}
		}
		r.pages[n] = p
	}
	return p, int(seq % recordPage)
}

func (r *records) flags(seq uint64) uint8 {
	if r == nil {
		return 0
	}
	if p := r.pages[seq/recordPage]; p != nil {
		return p.flags[seq%recordPage]
	}
	return 0
}

// source is where a value at an offset is known from.
type source struct {
	op   *history.Operation // an acknowledged produce, or a piece of the drain
	node int32              // the replica read, 0 for an acknowledgement
}

// value is what stands at an offset.
type value struct {
	producer producer
	seq      uint64
	from     source
	set      bool
}

// offsets maps offsets to values, in pages as records does.
type offsets struct{ pages map[int64]*[pageSize]value }

// put sets the value at an offset if there is none, and answers what stands there.
func (o *offsets) put(at int64, v value) value {
	p := o.pages[at/pageSize]
	if p == nil {
		p = new([pageSize]value)
		if o.pages == nil {
			o.pages = map[int64]*[pageSize]value{}
		}
		o.pages[at/pageSize] = p
	}
	slot := &p[at%pageSize]
	if !slot.set {
		v.set = true
		*slot = v
	}
	return *slot
}

func (o *offsets) get(at int64) value {
	if p := o.pages[at/pageSize]; p != nil {
		return p[at%pageSize]
	}
	return value{}
}

// sends is what clients did to one partition.
type sends struct {
	ops       []*history.Operation
	producers map[producer]*records // made when the partition is audited, and dropped then: one partition's at a time
	truncated []int64               // log ends after truncations that brokers told of
}

func (s *sends) records(p producer) *records {
	r := s.producers[p]
	if r == nil {
		r = new(records)
		s.producers[p] = r
	}
	return r
}

// index notes the outcomes of all produce operations, record by record.
func (s *sends) index() {
	s.producers = map[producer]*records{}
	for _, op := range s.ops {
		s.note(op)
	}
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
	for i := range uint64(p.Count) {
		page, n := r.page(p.FirstSeq + i)
		page.flags[n] |= flag
	}
}

// offsetOf is the acknowledged offset of an operation's i-th record, -1 if it is not known.
func offsetOf(p *history.ProduceOp, i int) int64 {
	if i < len(p.Offsets) {
		return p.Offsets[i]
	}
	return -1
}
