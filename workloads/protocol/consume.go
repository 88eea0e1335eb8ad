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

// Reading is how far one consumer has read one partition, and what it was last told of it.
type Reading struct {
	Topic     string
	Partition int32
	Offset    int64 // next one to read

	// The last answer that was recorded.
	node, epoch int32
	high        int64
}

// NewReading reads a partition from its start.
func NewReading(topic string, partition int32) Reading {
	return Reading{Topic: topic, Partition: partition, high: -1}
}

// Given takes what a node answered to a fetch that was sent in a leader epoch, when acked was the highest offset known acknowledged in
// the partition (-1: none). It goes on to the next offset, and returns what is to be recorded: an operation with node, results and outcome, nil if
// there is nothing. An answer without records is recorded only if it says something: a high watermark other than the last
// recorded, another leader or epoch, or one that does not reach past acked. Where the log begins above what
// was asked for, or ends before it, the next fetch reads it from its start, as a consumer does with auto.offset.reset=earliest. If trust is false, the node is not to be asked again before the metadata is fresh.
func (r *Reading) Given(node, epoch int32, acked int64, resp *kmsg.FetchResponseTopicPartition, runHash uint64) (op *history.Operation, trust bool) {
	if StaleLeader(resp.ErrorCode) {
		return nil, false
	}
	news := resp.HighWatermark != r.high || node != r.node || epoch != r.epoch || resp.HighWatermark <= acked
	if resp.ErrorCode == CodeNone && len(resp.RecordBatches) == 0 && !news {
		return nil, true
	}
	op = &history.Operation{
		Node:    node,
		Consume: &history.ConsumeOp{Topic: r.Topic, Partition: r.Partition, LeaderEpoch: epoch, From: r.Offset},
	}
	code := ConsumeAnswer(op, resp, runHash)
	if op.Outcome != history.OK {
		start := max(resp.LogStartOffset, 0) // brokers that leave it unsaid here keep a log from 0, as far as is known
		reset := code == CodeOffsetOutOfRange && r.Offset != start
		if reset {
			r.Offset = start
		}
		return op, reset
	}
	r.node, r.epoch, r.high = node, epoch, resp.HighWatermark
	moved := op.Consume.To > r.Offset
	r.Offset = op.Consume.To
	return op, moved || len(resp.RecordBatches) == 0
}

// AnswerOf is what a fetch answered of a partition, nil if nothing.
func AnswerOf(resp *kmsg.FetchResponse, topic string, partition int32) *kmsg.FetchResponseTopicPartition {
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		if rt.Topic != topic {
			continue
		}
		for j := range rt.Partitions {
			if rp := &rt.Partitions[j]; rp.Partition == partition {
				return rp
			}
		}
	}
	return nil
}
