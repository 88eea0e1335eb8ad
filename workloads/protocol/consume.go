package protocol

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
)

// consumeBytes is how much a consumer's fetch answers at most, of each partition and in all.
const consumeBytes = 1 << 20

// ConsumeRequest is a consumer's fetch from a leader, of no partition yet: it waits up to wait for a byte to give. AddPartition
// says what it reads.
func ConsumeRequest(wait time.Duration) *kmsg.FetchRequest {
	req := newFetch(consumerReplica, int32(wait/time.Millisecond), consumeBytes)
	req.MinBytes = 1
	return req
}

// AddPartition adds a partition to a consumer's fetch, to be read from an offset in a leader epoch (-1: whichever the node is in).
func AddPartition(req *kmsg.FetchRequest, topic string, partition, epoch int32, offset int64) {
	if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != topic {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		req.Topics = append(req.Topics, t)
	}
	t := &req.Topics[len(req.Topics)-1]
	t.Partitions = append(t.Partitions, fetchPartition(partition, epoch, offset, consumeBytes))
}

// ConsumeAnswer takes what a fetch answered of op's partition, asked from op.Consume.From: it fills in what the consumer was given and
// settles the operation. The code is the answer's, with which a client decides whether to look for the leader anew.
func ConsumeAnswer(op *history.Operation, resp *kmsg.FetchResponseTopicPartition, runHash uint64) (code int16) {
	c := op.Consume
	c.To, c.High, c.Spans, c.Bad = c.From, -1, nil, nil
	if resp.ErrorCode != CodeNone {
		Settle(op, history.Failed, &BrokerError{resp.ErrorCode})
		return resp.ErrorCode
	}
	c.High = resp.HighWatermark
	r := reader{runHash: runHash, hash: gen.PartitionHash(c.Topic, c.Partition), to: &c.To, spans: &c.Spans, bad: &c.Bad}
	if err := ReadBatches(resp.RecordBatches, &r); err != nil {
		Settle(op, history.Failed, err)
		return CodeNone
	}
	Settle(op, history.OK, nil)
	return CodeNone
}
