package workloads

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

const (
	// debuggingReplica is Kafka's debugging consumer: it reads any replica up to its log end.
	debuggingReplica = -2
	// pieceBytes is how much of a log one drain operation reads, at least, unless the log ends before.
	pieceBytes = 1 << 20
	// pieceFetches bounds the requests of one drain operation.
	pieceFetches = 64
)

// doDrain reads a piece of one replica's log: from op.Drain.From until pieceBytes have been read or a fetch at To comes back empty,
// which is the log's end. What was read before an error counts; an error at once is the operation's.
func (c *Clients) doDrain(ctx context.Context, op *history.Operation) {
	d := op.Drain
	d.To, d.LogEnd, d.High, d.End, d.Spans, d.Bad = d.From, -1, -1, false, nil, nil
	conn, err := c.connect(ctx, d.Replica)
	if err != nil {
		settle(op, history.Failed, err)
		return
	}
	defer conn.close()
	read := 0
	for n := 0; n < pieceFetches && read < pieceBytes; n++ {
		size, err := c.fetchPiece(ctx, conn, d)
		if err != nil {
			if n > 0 {
				break // the next piece begins at To and meets the error again, if it lasts
			}
			settle(op, history.Failed, fmt.Errorf("reading %s-%d on n%d at offset %d: %w", d.Topic, d.Partition, d.Replica, d.To, err))
			return
		}
		read += size
		if d.End {
			break
		}
	}
	settle(op, history.OK, nil)
}

// fetchPiece does one fetch at d.To and adds what it holds. It answers the size in bytes.
func (c *Clients) fetchPiece(ctx context.Context, conn *singleConn, d *history.DrainOp) (int, error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12) // the last that names topics; replica ids stand in it up to 14
	req.ReplicaID = debuggingReplica
	req.MaxWaitMillis = 0
	req.MinBytes = 0
	req.MaxBytes = pieceBytes
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = d.Partition
	p.CurrentLeaderEpoch = -1
	p.FetchOffset = d.To
	p.LastFetchedEpoch = -1
	p.LogStartOffset = -1
	p.PartitionMaxBytes = pieceBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic = d.Topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	answer, err := conn.ask(ctx, req, c.cfg.Timeout)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if resp.ErrorCode != codeNone {
		return 0, &brokerError{resp.ErrorCode}
	}
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return 0, errNotAnswered
	}
	rp := &resp.Topics[0].Partitions[0]
	if rp.ErrorCode != codeNone {
		return 0, &brokerError{rp.ErrorCode}
	}
	d.High = rp.HighWatermark
	if len(rp.RecordBatches) == 0 {
		d.End, d.LogEnd = true, d.To
		return 0, nil
	}
	r := replicaReader{cfg: &c.cfg, drain: d}
	before := d.To
	if err := readBatches(rp.RecordBatches, batchVisitor{r.record, r.damaged, r.end}); err != nil {
		return 0, err
	}
	if d.To == before {
		return 0, fmt.Errorf("%d bytes came back that hold no record at or after it", len(rp.RecordBatches))
	}
	return len(rp.RecordBatches), nil
}

// replicaReader turns records into the spans and bad records of a drain operation.
type replicaReader struct {
	cfg   *Config
	drain *history.DrainOp
}

// record takes the next record. A fetch answers whole batches, so the first one may begin below the offset asked for.
func (r *replicaReader) record(offset int64, value []byte) {
	d := r.drain
	if offset < d.To {
		return
	}
	d.To = offset + 1
	h, why := identify(value, r.cfg.RunHash, d.Topic, d.Partition)
	if why != "" {
		d.Bad = append(d.Bad, history.BadRecord{Offset: offset, Why: why})
		return
	}
	if n := len(d.Spans); n > 0 {
		last := &d.Spans[n-1]
		if last.Producer == h.Producer && last.Incarnation == h.Incarnation &&
			last.Offset+int64(last.Count) == offset && last.Seq+uint64(last.Count) == h.Seq {
			last.Count++
			return
		}
	}
	d.Spans = append(d.Spans, history.Span{
		Offset: offset, Producer: h.Producer, Incarnation: h.Incarnation, Seq: h.Seq, Count: 1,
	})
}

// maxDamaged bounds the bad records that one unreadable batch stands for: how many it holds is no longer to be believed.
const maxDamaged = 4096

// damaged takes a batch that cannot be read: each of its offsets is a corrupt record.
func (r *replicaReader) damaged(first, last int64, _ error) {
	d := r.drain
	first = max(first, d.To)
	for o := first; o <= last && o-first < maxDamaged; o++ {
		d.Bad = append(d.Bad, history.BadRecord{Offset: o, Why: badCorrupt})
	}
}

// end passes over what a batch stands for without holding it: compaction and markers leave such offsets.
func (r *replicaReader) end(last int64) { r.drain.To = max(r.drain.To, last+1) }
