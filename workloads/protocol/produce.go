package protocol

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
)

// recordOverhead is more than a record takes beside its value, in bytes.
const recordOverhead = 20

// ProduceRequest is a produce operation as one request of one batch, stamped with now (Unix ns); timeout is how long the
// client waits. It does not carry the operation's id, as no client library's requests do.
func ProduceRequest(op *history.Operation, v *Values, now int64, timeout time.Duration) kmsg.Request {
	return produceRequest(op, v, now, timeout, nil)
}

// Sequence is what makes a batch an idempotent producer's (KIP-98).
type Sequence struct {
	Producer int64
	Epoch    int16
	First    int32 // of the batch's records
}

// IdempotentProduceRequest is the same with a sequence.
func IdempotentProduceRequest(op *history.Operation, v *Values, now int64, timeout time.Duration, s Sequence) kmsg.Request {
	return produceRequest(op, v, now, timeout, &s)
}

func produceRequest(op *history.Operation, v *Values, now int64, timeout time.Duration, s *Sequence) kmsg.Request {
	p := op.Produce
	records := make([]byte, 0, batchHeaderSize+int(p.Count)*(v.size()+recordOverhead))
	records, start := beginBatch(records, now/int64(time.Millisecond), int(p.Count))
	if s != nil {
		putSequence(records[start:], *s)
	}
	partition, size := gen.PartitionHash(p.Topic, p.Partition), v.size()
	for i := range int(p.Count) {
		records = append(v.append(beginRecord(records, i, size), op, i, partition), 0)
	}
	records = endBatch(records, start)
	return produceTo(p.Topic, p.Partition, p.Acks, timeout, records)
}

func produceTo(topic string, partition int32, acks int16, timeout time.Duration, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks = acks
	req.TimeoutMillis = requestMillis(timeout)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition = partition
	p.Records = records
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	t.Partitions = []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = []kmsg.ProduceRequestTopic{t}
	return req
}

// produced is the code answered for the one partition of a Produce.
func produced(resp kmsg.Response) (code int16, ok bool) {
	r, is := resp.(*kmsg.ProduceResponse)
	if !is || len(r.Topics) == 0 || len(r.Topics[0].Partitions) == 0 {
		return 0, false
	}
	return r.Topics[0].Partitions[0].ErrorCode, true
}

// ProduceAnswer takes the answer to ProduceRequest: it settles the operation, fills in its offsets, and answers the error code, with
// which a client decides whether to look for the leader anew. With acks=0 nothing is answered, and resp is nil.
func ProduceAnswer(op *history.Operation, resp kmsg.Response) (code int16) {
	p := op.Produce
	p.Offsets = nil
	if resp == nil && p.Acks == 0 {
		Settle(op, history.OK, nil)
		p.Offsets = make([]int64, p.Count)
		for i := range p.Offsets {
			p.Offsets[i] = -1
		}
		return CodeNone
	}
	code, ok := produced(resp)
	if rt, is := resp.(*kmsg.ProduceResponse); !is || !ok || rt.Topics[0].Topic != p.Topic || rt.Topics[0].Partitions[0].Partition != p.Partition {
		Settle(op, history.Unknown, ErrNotAnswered)
		return CodeNone
	}
	if code != CodeNone {
		Settle(op, ProduceOutcome(code), &BrokerError{code})
		return code
	}
	Settle(op, history.OK, nil)
	base := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset
	p.Offsets = make([]int64, p.Count)
	for i := range p.Offsets {
		if p.Offsets[i] = -1; base >= 0 {
			p.Offsets[i] = base + int64(i)
		}
	}
	return CodeNone
}
