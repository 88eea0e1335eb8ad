// Package producers is what a broker remembers of the idempotent producers of one partition (KIP-98): of each producer id its
// epoch and its last batches, so that a batch which is sent again is known, and one that would leave a gap is refused.
//
// A Table is a function of the batches of a log, in their order, and of nothing else: no clock, no configuration. So a leader, its followers and a
// node that reads its log after a restart come to the same table, and a log that was cut has the table of what is left. It does no
// input or output. The core (broker/core) keeps one for each replica; the log (broker/partlog) makes one from what it holds.
package producers

import (
	"math"

	"soak/broker/partlog/batch"
)

// Remembered is how many batches of each producer are known again: as many as a client may have in flight (KIP-98).
const Remembered = 5

// MaxProducers bounds the producers of one partition. Of more, the one whose last batch is the oldest is forgotten: by its place in the log and
// not by time, because replicas must forget the same. If it goes on after all, it is refused with Unknown, and begins anew.
const MaxProducers = 4096

// Batch is one batch of a producer.
type Batch struct {
	Sequence int32 // of its first record
	Records  int32
	Offset   int64 // of its first record
}

// End is one past the batch's last offset.
func (b Batch) End() int64 { return b.Offset + int64(b.Records) }

// Verdict is what is to be done with a batch that a producer sends.
type Verdict uint8

const (
	Append     Verdict = iota // it follows on
	Duplicate                 // it is in the log already
	OutOfOrder                // it follows on nothing that the log holds
	Unknown                   // nothing is known of the producer, and this is not its first batch
	Fenced                    // its epoch is over
)

// Table is the producers of one partition.
type Table struct {
	max  int
	byID map[int64]*producer // for look-ups only, never ranged over

	// A ring of all, the one whose last batch is the oldest first.
	first, last *producer
}

type producer struct {
	id      int64
	epoch   int16
	count   int               // of batches
	batches [Remembered]Batch // oldest first

	before, after *producer
}

// New makes an empty table that holds at most so many producers; 0 means MaxProducers.
func New(limit int) *Table {
	if limit <= 0 {
		limit = MaxProducers
	}
	return &Table{max: limit, byID: map[int64]*producer{}}
}

// Len is how many producers are known.
func (t *Table) Len() int { return len(t.byID) }

// Judge says what is to be done with a batch that is sent now, and where it stands if it is a duplicate. It changes nothing. The batch
// is an idempotent producer's (batch.Header.Idempotent).
func (t *Table) Judge(h batch.Header) (Verdict, Batch) {
	p := t.byID[h.ProducerID]
	switch {
	case p == nil && h.BaseSequence != 0:
		return Unknown, Batch{}
	case p == nil:
		return Append, Batch{}
	case h.ProducerEpoch < p.epoch:
		return Fenced, Batch{}
	case h.ProducerEpoch > p.epoch && h.BaseSequence == 0:
		return Append, Batch{}
	case h.ProducerEpoch > p.epoch:
		return OutOfOrder, Batch{}
	}
	for _, b := range p.batches[:p.count] {
		if b.Sequence == h.BaseSequence && b.Records == h.Records {
			return Duplicate, b
		}
	}
	if last := p.batches[p.count-1]; h.BaseSequence == Next(last.Sequence, last.Records) {
		return Append, Batch{}
	}
	return OutOfOrder, Batch{}
}

// Next is the sequence that follows on so many records from sequence on: after 2³¹−1 comes 0.
func Next(sequence, records int32) int32 {
	if sequence > math.MaxInt32-records {
		return records - (math.MaxInt32 - sequence) - 1
	}
	return sequence + records
}

// Add takes a batch that stands in the log, behind all that were added before; one that is not of an idempotent producer changes
// nothing. It does not judge: what stands in the log is so.
func (t *Table) Add(h batch.Header) {
	if !h.Idempotent() {
		return
	}
	p := t.byID[h.ProducerID]
	switch {
	case p == nil:
		if len(t.byID) >= t.max {
			oldest := t.first
			t.unlink(oldest)
			delete(t.byID, oldest.id)
		}
		p = &producer{id: h.ProducerID, epoch: h.ProducerEpoch}
		t.byID[p.id] = p
	default:
		t.unlink(p)
	}
	if p.epoch != h.ProducerEpoch {
		p.epoch, p.count, p.batches = h.ProducerEpoch, 0, [Remembered]Batch{}
	}
	if p.count == Remembered {
		copy(p.batches[:], p.batches[1:])
		p.count--
	}
	p.batches[p.count] = Batch{Sequence: h.BaseSequence, Records: h.Records, Offset: h.BaseOffset}
	p.count++
	t.link(p)
}

func (t *Table) link(p *producer) {
	p.before, p.after = t.last, nil
	if t.last != nil {
		t.last.after = p
	} else {
		t.first = p
	}
	t.last = p
}

func (t *Table) unlink(p *producer) {
	if p.before != nil {
		p.before.after = p.after
	} else {
		t.first = p.after
	}
	if p.after != nil {
		p.after.before = p.before
	} else {
		t.last = p.before
	}
}

// Equal reports whether two tables know the same, in the same order. One that is nil is empty.
func (t *Table) Equal(o *Table) bool {
	var a, b *producer
	if t != nil {
		a = t.first
	}
	if o != nil {
		b = o.first
	}
	for ; a != nil && b != nil; a, b = a.after, b.after {
		if a.id != b.id || a.epoch != b.epoch || a.count != b.count || a.batches != b.batches {
			return false
		}
	}
	return a == nil && b == nil
}
