package protocol

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
)

const (
	// debuggingReplica is Kafka's debugging consumer: it reads any replica up to its log end.
	debuggingReplica = -2
	// consumerReplica is any consumer: it reads from leaders, up to the high watermark.
	consumerReplica = -1
	// pieceBytes is how much of a log one drain operation reads, at least, unless the log ends before.
	pieceBytes = 1 << 20
	// pieceFetches bounds the requests of one drain operation.
	pieceFetches = 64
)

// errRisen ends a piece that had records from above the high watermark: under the one that has risen since they would count as records
// that may not change, and the replica may have cut them in between. The next piece reads them again.
var errRisen = errors.New("the high watermark has risen")

// Piece carries out one drain operation: a piece of one replica's log, from op.Drain.From until pieceBytes have been read or a fetch
// comes back empty, which is the log's end. Its caller asks Request, and gives Answer what came, until the piece is over.
type Piece struct {
	op      *history.Operation
	runHash uint64
	fetches int
	read    int // bytes
}

// NewPiece begins a drain operation, forgetting whatever an earlier attempt has left in it.
func NewPiece(op *history.Operation, runHash uint64) Piece {
	d := op.Drain
	d.To, d.LogEnd, d.High, d.LogStart, d.End, d.Spans, d.Bad, d.Stretches = d.From, -1, -1, 0, false, nil, nil, nil
	return Piece{op: op, runHash: runHash}
}

// Request is the next fetch. Version 12 is the last that names topics; replica ids stand in it up to 14.
func (p *Piece) Request() kmsg.Request {
	d := p.op.Drain
	req := newFetch(debuggingReplica, 0, pieceBytes)
	req.MinBytes = 0
	t := kmsg.NewFetchRequestTopic()
	t.Topic = d.Topic
	t.Partitions = append(t.Partitions, fetchPartition(d.Partition, -1, d.To, pieceBytes))
	req.Topics = append(req.Topics, t)
	return req
}

// Answer takes a fetch's answer. It reports whether the piece is over, and then the operation is settled.
func (p *Piece) Answer(resp kmsg.Response) (over bool) {
	if err := p.take(resp); err != nil {
		p.Broken(err)
		return true
	}
	p.fetches++
	if p.op.Drain.End || p.fetches >= pieceFetches || p.read >= pieceBytes {
		Settle(p.op, history.OK, nil)
		return true
	}
	return false
}

// Broken settles the operation after an error. What was read before it counts: the next piece begins there and meets the error
// again, if it lasts. An error at once is the operation's.
func (p *Piece) Broken(err error) {
	if p.fetches > 0 {
		Settle(p.op, history.OK, nil)
		return
	}
	d := p.op.Drain
	Settle(p.op, history.Failed, fmt.Errorf("reading %s-%d on n%d at offset %d: %w", d.Topic, d.Partition, d.Replica, d.To, err))
}

func (p *Piece) take(answer kmsg.Response) error {
	d := p.op.Drain
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok {
		return ErrNotAnswered
	}
	if resp.ErrorCode != CodeNone {
		return &BrokerError{resp.ErrorCode}
	}
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return ErrNotAnswered
	}
	rp := &resp.Topics[0].Partitions[0]
	if rp.ErrorCode == CodeOffsetOutOfRange && rp.LogStartOffset > d.To {
		d.LogStart, d.To = rp.LogStartOffset, rp.LogStartOffset // retention has removed what was asked for: there the log goes on
		return nil
	}
	if rp.ErrorCode != CodeNone {
		return &BrokerError{rp.ErrorCode}
	}
	d.LogStart = max(d.LogStart, rp.LogStartOffset)
	if d.High >= 0 && d.To > d.High && rp.HighWatermark > d.High {
		cutBack(d, max(d.From, d.High))
		return errRisen
	}
	d.High = rp.HighWatermark
	if len(rp.RecordBatches) == 0 {
		d.End, d.LogEnd = true, d.To
		return nil
	}
	r := reader{runHash: p.runHash, hash: gen.PartitionHash(d.Topic, d.Partition), to: &d.To, spans: &d.Spans, bad: &d.Bad, stretches: &d.Stretches, high: d.High}
	before := d.To
	if err := ReadBatches(rp.RecordBatches, &r); err != nil {
		return err
	}
	if d.To == before {
		return fmt.Errorf("%d bytes came back that hold no record at or after it", len(rp.RecordBatches))
	}
	p.read += len(rp.RecordBatches)
	return nil
}

// cutBack forgets what was read at or above an offset.
func cutBack(d *history.DrainOp, to int64) {
	d.To = to
	d.Spans = slices.DeleteFunc(d.Spans, func(s history.Span) bool { return s.Offset >= to })
	if n := len(d.Spans); n > 0 {
		last := &d.Spans[n-1]
		last.Count = int32(min(int64(last.Count), to-last.Offset))
	}
	d.Bad = slices.DeleteFunc(d.Bad, func(b history.BadRecord) bool { return b.Offset >= to })
	d.Stretches = slices.DeleteFunc(d.Stretches, func(s history.Stretch) bool { return s.To > to })
}

func newFetch(replica, waitMillis, maxBytes int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.ReplicaID = replica
	req.MaxWaitMillis = waitMillis
	req.MaxBytes = maxBytes
	req.SessionEpoch = -1
	return req
}

func fetchPartition(partition, epoch int32, offset int64, maxBytes int32) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = partition
	p.CurrentLeaderEpoch = epoch
	p.FetchOffset = offset
	p.LastFetchedEpoch = -1
	p.LogStartOffset = -1
	p.PartitionMaxBytes = maxBytes
	return p
}

// reader turns records into spans and bad records.
type reader struct {
	runHash uint64
	hash    uint64 // of the partition
	to      *int64 // next offset to read
	spans   *[]history.Span
	bad     *[]history.BadRecord

	stretches *[]history.Stretch // nil: nobody wants hashes
	high      int64              // high watermark that came with what is read
}

// Record takes the next record. A fetch answers whole batches, so the first one may begin below the offset asked for.
func (r *reader) Record(offset int64, value []byte) {
	if offset < *r.to {
		return
	}
	*r.to = offset + 1
	h, why := Identify(value, r.runHash, r.hash)
	if why != "" {
		*r.bad = append(*r.bad, history.BadRecord{Offset: offset, Why: why})
		return
	}
	spans := *r.spans
	if n := len(spans); n > 0 {
		last := &spans[n-1]
		if last.Producer == h.Producer && last.Incarnation == h.Incarnation &&
			last.Offset+int64(last.Count) == offset && last.Seq+uint64(last.Count) == h.Seq {
			last.Count++
			return
		}
	}
	*r.spans = append(spans, history.Span{
		Offset: offset, Producer: h.Producer, Incarnation: h.Incarnation, Seq: h.Seq, Count: 1,
	})
}

// maxDamaged bounds the bad records that one unreadable batch stands for: how many it holds is no longer to be believed.
const maxDamaged = 4096

// Damaged takes a batch that cannot be read: each of its offsets is a corrupt record.
func (r *reader) Damaged(first, last int64, _ error) {
	first = max(first, *r.to)
	for o := first; o <= last && o-first < maxDamaged; o++ {
		*r.bad = append(*r.bad, history.BadRecord{Offset: o, Why: BadCorrupt})
	}
}

// End passes over what a batch stands for without holding it: compaction and markers leave such offsets.
func (r *reader) End(raw []byte, first, last int64) {
	if r.stretches != nil {
		addStretch(r.stretches, raw, first, last+1, r.high)
	}
	*r.to = max(*r.to, last+1)
}
