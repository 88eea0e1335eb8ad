package protocol

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
)

func TestReadingRecordsWhatSaysSomething(t *testing.T) {
	const run = 9
	batch := func(offset int64, count int) []byte {
		var values [][]byte
		for i := range count {
			values = append(values, gen.AppendValue(nil, gen.Header{
				Run: run, Producer: 1, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", 0), Seq: uint64(offset) + uint64(i),
			}, 90, 1))
		}
		b := AppendBatch(nil, 1000, values...)
		binary.BigEndian.PutUint64(b, uint64(offset))
		return b
	}
	type told struct {
		Recorded, Trust bool
		Outcome         history.Outcome
		From, To, High  int64
	}
	ok := func(from, to, high int64) told { return told{true, true, history.OK, from, to, high} }
	silent := told{Trust: true}
	r := NewReading("orders", 0)
	for i, step := range []struct {
		name        string
		node, epoch int32
		acked       int64
		high        int64
		code        int16
		records     []byte
		want        told
	}{
		{"the first answer", 1, 0, -1, 0, 0, nil, ok(0, 0, 0)},
		{"the same again", 1, 0, -1, 0, 0, nil, silent},
		{"records", 1, 0, 3, 4, 0, batch(0, 4), ok(0, 4, 4)},
		{"nothing more", 1, 0, 3, 4, 0, nil, silent},
		{"not as far as was acknowledged", 1, 0, 4, 4, 0, nil, ok(4, 4, 4)},
		{"the high watermark rises", 1, 0, 4, 5, 0, nil, ok(4, 4, 5)},
		{"another epoch", 1, 1, 4, 5, 0, nil, ok(4, 4, 5)},
		{"another leader", 2, 2, 4, 5, 0, nil, ok(4, 4, 5)},
		{"no leader", 2, 2, 4, -1, CodeNotLeader, nil, told{}},
		{"fenced", 2, 2, 4, -1, CodeFencedLeaderEpoch, nil, told{}},
		{"epoch unknown", 2, 2, 4, -1, CodeUnknownLeaderEpoch, nil, told{}},
		{"another error", 2, 2, 4, -1, CodeRequestTimedOut, nil, told{true, false, history.Failed, 4, 4, -1}},
		{"no batch", 2, 2, 4, 5, 0, make([]byte, 80), told{true, false, history.Failed, 4, 4, 5}},
		{"records that were read before", 2, 2, 4, 5, 0, batch(0, 4), told{true, false, history.OK, 4, 4, 5}},
		{"the log ends before", 3, 3, 4, -1, CodeOffsetOutOfRange, nil, told{true, true, history.Failed, 4, 4, -1}},
		{"from its start", 3, 3, 4, 5, 0, batch(0, 3), ok(0, 3, 5)},
		{"and on", 3, 3, 4, 5, 0, batch(3, 2), ok(3, 5, 5)},
	} {
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.ErrorCode, rp.RecordBatches = step.high, step.code, step.records
		op, trust := r.Given(step.node, step.epoch, step.acked, &rp, run)
		got := told{Recorded: op != nil, Trust: trust}
		if op != nil {
			got.Outcome, got.From, got.To, got.High = op.Outcome, op.Consume.From, op.Consume.To, op.Consume.High
			if op.Node != step.node || op.Consume.LeaderEpoch != step.epoch || op.Consume.Topic != "orders" {
				t.Errorf("%d, %s: recorded %+v, %+v", i, step.name, op, op.Consume)
			}
		}
		if d := cmp.Diff(step.want, got); d != "" {
			t.Errorf("%d, %s (-want +got):\n%s", i, step.name, d)
		}
	}
	// Below a log start that has moved it goes on there, as with auto.offset.reset=earliest: whether it had read nothing yet, or was left behind.
	for _, from := range []int64{0, 5} {
		r = NewReading("orders", 0)
		r.Offset = from
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.ErrorCode, rp.HighWatermark, rp.LogStartOffset = CodeOffsetOutOfRange, -1, 40
		if op, trust := r.Given(1, 0, -1, &rp, run); op == nil || op.Outcome != history.Failed || op.Consume.From != from || !trust || r.Offset != 40 {
			t.Errorf("refused at offset %d below the log start: %+v, trusted %v, then offset %d", from, op, trust, r.Offset)
		}
	}
	// A log that does not even have its start is no reason to ask again at once.
	r = NewReading("orders", 0)
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.ErrorCode = CodeOffsetOutOfRange
	if op, trust := r.Given(1, 0, -1, &rp, run); op == nil || op.Outcome != history.Failed || trust {
		t.Errorf("refused at offset 0: %+v, trusted %v", op, trust)
	}
}

func TestAnswerOf(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	for _, name := range []string{"payments", "orders"} {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = name
		for p := range int32(2) {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.HighWatermark = p, int64(len(name))+int64(p)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if rp := AnswerOf(resp, "orders", 1); rp == nil || rp.HighWatermark != 7 {
		t.Errorf("orders-1: %+v", rp)
	}
	if AnswerOf(resp, "orders", 2) != nil || AnswerOf(resp, "refunds", 0) != nil {
		t.Error("an answer about what is not in it")
	}
}
