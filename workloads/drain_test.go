package workloads

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

func value(run uint64, topic string, producer uint32, seq uint64) []byte {
	return gen.AppendValue(nil, gen.Header{
		Run: run, Producer: producer, Incarnation: 1, TopicPartition: gen.PartitionHash(topic, 3), Seq: seq,
	}, 90, 1)
}

// batchAt is a batch with its first record at an offset.
func batchAt(offset int64, values ...[]byte) []byte {
	b := protocol.AppendBatch(nil, 1000, values...)
	binary.BigEndian.PutUint64(b, uint64(offset))
	return b
}

// replica answers fetches of orders-3 with what stands at each offset, and nothing where none does.
func replica(t *testing.T, at map[int64][]byte, high int64) *fakeBroker {
	return newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		req := r.(*kmsg.FetchRequest)
		if req.ReplicaID != -2 || req.Version > 14 {
			t.Errorf("fetch v%d as replica %d, want the debugging consumer at v14 or below", req.Version, req.ReplicaID)
		}
		return fetched(at[req.Topics[0].Partitions[0].FetchOffset], high, 0)
	})
}

func fetched(records []byte, high int64, code int16) kmsg.Response {
	resp := kmsg.NewPtrFetchResponse()
	rt := kmsg.NewFetchResponseTopic()
	rt.Topic = "orders"
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition, rp.HighWatermark, rp.RecordBatches, rp.ErrorCode = 3, high, records, code
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	return resp
}

func drain(t *testing.T, b *fakeBroker, from int64) *history.Operation {
	t.Helper()
	c := newClients(t, Config{Addrs: map[int32]string{2: b.addr()}, RunHash: testRun})
	op := &history.Operation{ID: "d1", Drain: &history.DrainOp{Topic: "orders", Partition: 3, Replica: 2, From: from, To: from}}
	c.Do(t.Context(), op)
	if op.Node != 2 {
		t.Errorf("node %d, want the replica's", op.Node)
	}
	return op
}

func TestDrainReadsToTheEnd(t *testing.T) {
	v := func(producer uint32, seq uint64) []byte { return value(testRun, "orders", producer, seq) }
	corrupt := v(1, 9)
	corrupt[len(corrupt)-1] ^= 1
	// One fetch answers two batches, the first of which begins below the offset asked for, and the start of a third.
	first := append(batchAt(8, v(1, 0), v(1, 1), v(1, 2), v(1, 3)), batchAt(12, v(1, 4), v(2, 0), v(2, 2))...)
	first = append(first, batchAt(15, corrupt)[:40]...)
	damaged := batchAt(19, v(1, 5), v(1, 6))
	damaged[len(damaged)-1] ^= 1
	b := replica(t, map[int64][]byte{
		10: first,
		15: batchAt(15, corrupt, value(1, "orders", 1, 5), value(testRun, "payments", 1, 5), []byte("hello")),
		19: damaged,
		21: batchAt(23, v(1, 7)),
	}, 22)
	op := drain(t, b, 10)
	want := &history.DrainOp{
		Topic: "orders", Partition: 3, Replica: 2, From: 10, To: 24, LogEnd: 24, High: 22, End: true,
		Spans: []history.Span{
			{Offset: 10, Producer: 1, Incarnation: 1, Seq: 2, Count: 3},
			{Offset: 13, Producer: 2, Incarnation: 1, Seq: 0, Count: 1},
			{Offset: 14, Producer: 2, Incarnation: 1, Seq: 2, Count: 1},
			{Offset: 23, Producer: 1, Incarnation: 1, Seq: 7, Count: 1}, // behind a hole
		},
		Bad: []history.BadRecord{
			{Offset: 15, Why: "corrupt"}, {Offset: 16, Why: "other run"}, {Offset: 17, Why: "misrouted"}, {Offset: 18, Why: "not ours"},
			{Offset: 19, Why: "corrupt"}, {Offset: 20, Why: "corrupt"},
		},
		Stretches: []history.Stretch{{From: 8, To: 21}, {From: 23, To: 24}},
	}
	if op.Outcome != history.OK {
		t.Fatalf("%q (%s), want ok", op.Outcome, op.Error)
	}
	if d := cmp.Diff(want, op.Drain, cmpopts.IgnoreFields(history.Stretch{}, "Hash")); d != "" {
		t.Errorf("drain (-want +got):\n%s", d)
	}
}

func TestDrainReadsOnePieceAtATime(t *testing.T) {
	big := make([]byte, 0, 1<<20)
	for i := range int64(100) {
		big = append(big, batchAt(i, gen.AppendValue(nil, gen.Header{
			Run: testRun, Producer: 1, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", 3), Seq: uint64(i),
		}, 12<<10, 1))...)
	}
	b := replica(t, map[int64][]byte{0: big, 100: batchAt(100, value(testRun, "orders", 1, 100))}, 0)
	op := drain(t, b, 0)
	if d := op.Drain; op.Outcome != history.OK || d.To != 100 || d.End || d.LogEnd != -1 || len(d.Spans) != 1 || d.Spans[0].Count != 100 {
		t.Errorf("%q (%s), %+v; want the first hundred records in one span and no end", op.Outcome, op.Error, d)
	}
}

// What was read above a high watermark must not be reported under a later one.
func TestDrainEndsAPieceWhenTheHighWatermarkRises(t *testing.T) {
	high := int64(1)
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		if at := r.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset; at == 0 {
			return fetched(batchAt(0, value(testRun, "orders", 1, 0), value(testRun, "orders", 1, 1)), high, 0)
		}
		high = 2
		return fetched(nil, high, 0)
	})
	op := drain(t, b, 0)
	if d := op.Drain; op.Outcome != history.OK || d.To != 1 || d.High != 1 || d.End || len(d.Spans) != 1 || d.Spans[0].Count != 1 || len(d.Stretches) != 0 {
		t.Errorf("%q (%s), %+v; want the record below the high watermark of 1 alone, and no end", op.Outcome, op.Error, d)
	}
}

func TestDrainOfAnEmptyReplicaEndsAtOnce(t *testing.T) {
	op := drain(t, replica(t, nil, 0), 0)
	if d := op.Drain; op.Outcome != history.OK || !d.End || d.LogEnd != 0 || d.To != 0 || d.High != 0 {
		t.Errorf("%q (%s), %+v; want ended at 0", op.Outcome, op.Error, d)
	}
}

func TestDrainErrors(t *testing.T) {
	for name, answer := range map[string]func(kmsg.Request) kmsg.Response{
		"error code":         func(kmsg.Request) kmsg.Response { return fetched(nil, -1, 6) },
		"dropped":            func(kmsg.Request) kmsg.Response { return nil },
		"no batch":           func(kmsg.Request) kmsg.Response { return fetched(make([]byte, 80), 0, 0) },
		"nothing new":        func(kmsg.Request) kmsg.Response { return fetched(batchAt(0, value(testRun, "orders", 1, 0)), 0, 0) },
		"nothing of a topic": func(kmsg.Request) kmsg.Response { return kmsg.NewPtrFetchResponse() },
	} {
		t.Run(name, func(t *testing.T) {
			op := drain(t, newFakeBroker(t, answer), 5)
			if op.Outcome != history.Failed || op.Error == "" || op.Drain.End || op.Drain.To != 5 {
				t.Errorf("%q (%s), %+v; want failed, and nothing read", op.Outcome, op.Error, op.Drain)
			}
		})
	}
}

func FuzzSkipTags(f *testing.F) {
	f.Add([]byte{0, 9})
	f.Add([]byte{1, 5, 2, 7, 7, 9})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, err := skipTags(b)
		if err == nil && len(rest) >= len(b) {
			t.Errorf("%d bytes left of %d", len(rest), len(b))
		}
	})
}
