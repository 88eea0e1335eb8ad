package protocol

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
)

var testValues = Values{RunHash: 0xfeed, Seed: 7, Bytes: 100}

func produceOp(count int32) *history.Operation {
	return &history.Operation{ID: "p1", Invoke: 5, Produce: &history.ProduceOp{
		Topic: "orders", Partition: 3, Producer: 2, Incarnation: 1, FirstSeq: 40, Count: count, Acked: 9, Acks: -1,
	}}
}

func produceResponse(topic string, partition int32, code int16, base int64) kmsg.Response {
	resp := kmsg.NewPtrProduceResponse()
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.ErrorCode, rp.BaseOffset = partition, code, base
	resp.Topics = []kmsg.ProduceResponseTopic{{Topic: topic, Partitions: []kmsg.ProduceResponseTopicPartition{rp}}}
	return resp
}

func TestProduceRequestHoldsTheRecords(t *testing.T) {
	op := produceOp(3)
	req := ProduceRequest(op, &testValues, 2_000_000, 3*time.Second).(*kmsg.ProduceRequest)
	p := req.Topics[0].Partitions[0]
	if req.Acks != -1 || req.TimeoutMillis != 2500 || req.Topics[0].Topic != "orders" || p.Partition != 3 || len(req.Topics)*len(req.Topics[0].Partitions) != 1 {
		t.Errorf("asked %+v", req)
	}
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(p.Records); err != nil || batch.FirstTimestamp != 2 || batch.NumRecords != 3 {
		t.Errorf("batch %+v, %v; want three records of millisecond 2", batch, err)
	}
	var got collect
	if err := ReadBatches(p.Records, &got); err != nil || len(got.values) != 3 {
		t.Fatalf("%d records, %v", len(got.values), err)
	}
	for i, v := range got.values {
		h, why := Identify(v, 0xfeed, gen.PartitionHash("orders", 3))
		want := gen.Header{
			Run: 0xfeed, Producer: 2, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", 3), Seq: 40 + uint64(i), Time: 5, Acked: 9,
			Body: 100 - gen.HeaderSize,
		}
		if why != "" || h != want {
			t.Errorf("record %d is %+v (%s), want %+v", i, h, why, want)
		}
	}
}

func TestProduceAnswers(t *testing.T) {
	for _, tc := range []struct {
		name string
		resp kmsg.Response
		acks int16
		want history.Outcome
		code int16
		offs []int64
	}{
		{"acknowledged", produceResponse("orders", 3, 0, 70), -1, history.OK, 0, []int64{70, 71}},
		{"no offset told", produceResponse("orders", 3, 0, -1), -1, history.OK, 0, []int64{-1, -1}},
		{"not leader", produceResponse("orders", 3, 6, -1), -1, history.Unknown, 6, nil},
		{"too few replicas before the append", produceResponse("orders", 3, 19, -1), -1, history.Failed, 19, nil},
		{"too few replicas after it", produceResponse("orders", 3, 20, -1), -1, history.Unknown, 20, nil},
		{"another partition", produceResponse("orders", 2, 0, 70), -1, history.Unknown, 0, nil},
		{"another topic", produceResponse("payments", 3, 0, 70), -1, history.Unknown, 0, nil},
		{"empty", kmsg.NewPtrProduceResponse(), -1, history.Unknown, 0, nil},
		{"another kind", kmsg.NewPtrFetchResponse(), -1, history.Unknown, 0, nil},
		{"without acks", nil, 0, history.OK, 0, []int64{-1, -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			op := produceOp(2)
			op.Produce.Acks = tc.acks
			code := ProduceAnswer(op, tc.resp)
			if op.Outcome != tc.want || code != tc.code || !cmp.Equal(op.Produce.Offsets, tc.offs) {
				t.Errorf("%q (%s), code %d, offsets %v; want %q, %d, %v", op.Outcome, op.Error, code, op.Produce.Offsets, tc.want, tc.code, tc.offs)
			}
			if (op.Error == "") != (op.Outcome == history.OK) {
				t.Errorf("%q with the error %q", op.Outcome, op.Error)
			}
		})
	}
}

func metadataOf(topic string, code int16, leader int32) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.ErrorCode = new(topic), code
	rt.Partitions = []kmsg.MetadataResponseTopicPartition{{Leader: leader}}
	resp.Topics = append(resp.Topics, rt)
	return resp
}

func TestCreatedLeader(t *testing.T) {
	op := &history.Operation{ID: "c1", Create: &history.AutoCreateOp{Topic: "auto-1", How: gen.HowWriter}}
	if leader, err := CreatedLeader(op, metadataOf("auto-1", 0, 2)); leader != 2 || err != nil {
		t.Errorf("leader %d, %v; want 2", leader, err)
	}
	for _, resp := range []*kmsg.MetadataResponse{metadataOf("auto-1", 5, 2), metadataOf("auto-1", 0, -1)} {
		if _, err := CreatedLeader(op, resp); err == nil || err.Error() != CodeName(5) {
			t.Errorf("error %v, want %s", err, CodeName(5))
		}
	}
	if _, err := CreatedLeader(op, metadataOf("auto-2", 0, 2)); !errors.Is(err, ErrNotAnswered) {
		t.Errorf("error %v, want that it was not answered", err)
	}
}

func TestConsumeAnswers(t *testing.T) {
	value := func(seq uint64, partition int32) []byte {
		return gen.AppendValue(nil, gen.Header{Run: 0xfeed, Producer: 1, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", partition), Seq: seq}, 90, 1)
	}
	resp := kmsg.NewFetchResponseTopicPartition()
	resp.HighWatermark = 13
	// The batch begins below the offset asked for, and one of its records belongs elsewhere.
	resp.RecordBatches = batchAt(9, value(0, 3), value(1, 3), value(2, 3), value(3, 2))
	op := &history.Operation{ID: "f1.0", Consume: &history.ConsumeOp{Topic: "orders", Partition: 3, LeaderEpoch: 4, From: 10, To: 10}}
	code := ConsumeAnswer(op, &resp, 0xfeed)
	want := &history.ConsumeOp{
		Topic: "orders", Partition: 3, LeaderEpoch: 4, From: 10, To: 13, High: 13,
		Spans: []history.Span{{Offset: 10, Producer: 1, Incarnation: 1, Seq: 1, Count: 2}},
		Bad:   []history.BadRecord{{Offset: 12, Why: BadMisrouted}},
	}
	if d := cmp.Diff(want, op.Consume); d != "" || code != 0 || op.Outcome != history.OK {
		t.Errorf("code %d, %q (%s), (-want +got):\n%s", code, op.Outcome, op.Error, d)
	}
	for _, code := range []int16{CodeNotLeader, CodeOffsetOutOfRange, CodeFencedLeaderEpoch} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			resp := kmsg.NewFetchResponseTopicPartition()
			resp.ErrorCode, resp.HighWatermark = code, 99
			if got := ConsumeAnswer(op, &resp, 0xfeed); got != code || op.Outcome != history.Failed || op.Consume.High != -1 || op.Consume.To != 10 || op.Consume.Spans != nil {
				t.Errorf("code %d, %q, %+v; want failed with nothing read", got, op.Outcome, op.Consume)
			}
		})
	}
}

func TestConsumeRequestGroupsPartitionsByTopic(t *testing.T) {
	req := ConsumeRequest(100 * time.Millisecond)
	AddPartition(req, "orders", 0, 4, 7)
	AddPartition(req, "orders", 2, 5, 8)
	AddPartition(req, "payments", 0, -1, 0)
	if req.ReplicaID != -1 || req.MaxWaitMillis != 100 || req.MinBytes != 1 || req.Version != 12 {
		t.Errorf("asked %+v", req)
	}
	if len(req.Topics) != 2 || len(req.Topics[0].Partitions) != 2 || req.Topics[0].Partitions[1].CurrentLeaderEpoch != 5 || req.Topics[0].Partitions[1].FetchOffset != 8 {
		t.Errorf("topics %+v", req.Topics)
	}
}

func TestAPieceEndsAfterItsFetches(t *testing.T) {
	op := &history.Operation{ID: "d1", Drain: &history.DrainOp{Topic: "orders", Partition: 3, Replica: 1, From: 0, LogEnd: 7, Spans: []history.Span{{Count: 1}}}}
	p := NewPiece(op, 0xfeed)
	for n := int64(0); ; n++ {
		req := p.Request().(*kmsg.FetchRequest)
		if at := req.Topics[0].Partitions[0].FetchOffset; at != n || req.ReplicaID != -2 {
			t.Fatalf("fetch at %d as replica %d, want %d as the debugging consumer", at, req.ReplicaID, n)
		}
		resp := kmsg.NewPtrFetchResponse()
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.RecordBatches = batchAt(n, []byte("x"))
		resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{rp}}}
		if p.Answer(resp) {
			break
		}
		if n > 100 {
			t.Fatal("the piece does not end")
		}
	}
	if d := op.Drain; op.Outcome != history.OK || d.To != pieceFetches || d.End || d.LogEnd != -1 || len(d.Bad) != pieceFetches || d.Spans != nil {
		t.Errorf("%q, %+v; want ok with one record of each fetch", op.Outcome, d)
	}
}

// A piece that asks for what retention has removed goes on where the log begins, and says so; and again if the log start moves meanwhile.
func TestAPieceGoesOnAtTheLogStart(t *testing.T) {
	op := &history.Operation{ID: "d1", Drain: &history.DrainOp{Topic: "orders", Partition: 3, Replica: 1, LogStart: 3}}
	p := NewPiece(op, 0xfeed)
	for i, step := range []struct {
		at, start int64
		code      int16
		records   []byte
	}{
		{0, 40, CodeOffsetOutOfRange, nil},
		{40, 40, CodeNone, batchAt(40, []byte("x"))},
		{41, 50, CodeOffsetOutOfRange, nil},
		{50, 50, CodeNone, nil},
	} {
		if at := p.Request().(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset; at != step.at {
			t.Fatalf("step %d asks for offset %d, want %d", i, at, step.at)
		}
		resp := kmsg.NewPtrFetchResponse()
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.ErrorCode, rp.LogStartOffset, rp.RecordBatches, rp.HighWatermark = step.code, step.start, step.records, 50
		resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{rp}}}
		if over := p.Answer(resp); over != (i == 3) {
			t.Fatalf("step %d: over %v", i, over)
		}
	}
	if d := op.Drain; op.Outcome != history.OK || d.From != 0 || d.To != 50 || d.LogStart != 50 || d.LogEnd != 50 || !d.End || len(d.Bad) != 1 {
		t.Errorf("%q, %+v", op.Outcome, d)
	}
	// Above its end a log has no beginning to go on at.
	op = &history.Operation{ID: "d2", Drain: &history.DrainOp{Topic: "orders", Partition: 3, Replica: 1, From: 60}}
	p = NewPiece(op, 0xfeed)
	resp := kmsg.NewPtrFetchResponse()
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.ErrorCode, rp.LogStartOffset = CodeOffsetOutOfRange, 40
	resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{rp}}}
	if !p.Answer(resp) || op.Outcome != history.Failed {
		t.Errorf("%q, %+v", op.Outcome, op.Drain)
	}
}
