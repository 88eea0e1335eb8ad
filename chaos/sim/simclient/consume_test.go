package simclient

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

var orders = []gen.Topic{{Name: "orders", Partitions: 3}}

// given is what the consumers recorded of a partition.
func (w *world) given(partition int32) []*history.Operation {
	var out []*history.Operation
	for _, op := range w.done {
		if op.Consume != nil && op.Consume.Partition == partition {
			out = append(out, op)
		}
	}
	return out
}

// wantContinuous checks that one consumer was given each of a log's records once, in order.
func wantContinuous(t *testing.T, ops []*history.Operation, log []gen.Header) {
	t.Helper()
	next := int64(0)
	for _, op := range ops {
		c := op.Consume
		if op.Outcome != history.OK {
			continue
		}
		if c.From != next {
			t.Errorf("%s was read from offset %d, and what came before ended at %d", op.ID, c.From, next)
		}
		for _, s := range c.Spans {
			if h := log[s.Offset]; s.Offset != next || s.Producer != h.Producer || s.Seq != h.Seq {
				t.Errorf("%s: given %+v at offset %d", op.ID, s, next)
			}
			next = s.Offset + int64(s.Count)
		}
		if c.To != next || len(c.Bad) > 0 || c.High < next {
			t.Errorf("%s: %+v ends at %d", op.ID, c, next)
		}
	}
	if next != int64(len(log)) {
		t.Errorf("%d records were given, want %d", next, len(log))
	}
}

func TestConsumersReadAlong(t *testing.T) {
	w := newWorld(t, Config{Readers: 2})
	w.c.Read(w.now, orders)
	for i := range 60 {
		w.start(produceOp(fmt.Sprint("p", i), 1, int32(i%3), uint64(i/3*2)))
		w.runFor(10 * ms)
		if l := w.log("orders", 1); i == 30 {
			l.leader, l.epoch = 3, 2
		}
	}
	w.runFor(second)
	for p, client := range map[int32]string{0: "consume-1", 1: "consume-2", 2: "consume-1"} {
		ops := w.given(p)
		wantContinuous(t, ops, w.log("orders", p).records(t))
		for _, op := range ops {
			if op.Client != client || op.Invoke > op.Complete || op.Invoke < begin {
				t.Errorf("%s: %+v; want it from %s", op.ID, op, client)
			}
		}
	}
	if last := w.given(1)[len(w.given(1))-1]; last.Node != 3 || last.Consume.LeaderEpoch != 2 {
		t.Errorf("the last answer of orders-1 is of node %d in epoch %d", last.Node, last.Consume.LeaderEpoch)
	}
	before := len(w.done)
	w.runFor(5 * second)
	if n := len(w.done) - before; n != 0 {
		t.Errorf("%d answers were recorded in which nothing was new", n)
	}
	w.c.StopReading()
	w.pump()
	before = len(w.sent)
	w.runFor(5 * second)
	if len(w.sent) != before || w.c.Wake() != 0 {
		t.Errorf("after StopReading %v were sent, and it wants to be woken at %d", w.sent[before:], w.c.Wake())
	}
}

func TestMoreConsumersThanPartitions(t *testing.T) {
	w := newWorld(t, Config{Readers: 4})
	w.c.Read(w.now, orders)
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(second)
	read := map[string]int64{}
	for _, op := range w.given(0) {
		read[op.Client] = op.Consume.To
	}
	if len(read) != 2 || read["consume-1"] != 2 || read["consume-4"] != 2 {
		t.Errorf("read by %v, want all by the first and the fourth", read)
	}
}

// While the old leader's answer is on its way, the new one is not asked: a record would be given twice.
func TestAPartitionIsInOneFetchAtATime(t *testing.T) {
	w := newWorld(t, Config{Readers: 1})
	w.log("orders", 1).leader = 3 // node 2 leads nothing yet
	w.c.Read(w.now, orders)
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(200 * ms)
	w.hold, w.fetches = true, true
	w.start(produceOp("p1", 1, 0, 2))
	w.runFor(200 * ms)
	l := w.log("orders", 0)
	l.leader, l.epoch = 2, 2
	w.start(produceOp("p2", 1, 0, 4), produceOp("p3", 1, 1, 0)) // the first finds the leader moved
	w.runFor(500 * ms)
	w.start(produceOp("p4", 1, 0, 6))
	w.runFor(100 * ms)
	if n := w.sends("Fetch", 2); n != 0 {
		t.Errorf("the new leader was asked %d times", n)
	}
	w.release()
	w.runFor(second)
	wantContinuous(t, w.given(0), l.records(t))
	if n := len(l.records(t)); n != 6 {
		t.Errorf("%d records in the log, want 6: the leader did not move as meant", n)
	}
}

// A leader whose high watermark does not reach past what was acknowledged is evidence, though nothing is given.
func TestAStaleHighWatermarkIsRecorded(t *testing.T) {
	w := newWorld(t, Config{Readers: 1})
	w.c.Read(w.now, orders)
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(second)
	l := w.log("orders", 0)
	l.high = 1
	w.start(produceOp("p1", 1, 0, 2))
	w.answers = func(node int32, req kmsg.Request) kmsg.Response {
		f, is := req.(*kmsg.FetchRequest)
		if !is {
			return nil
		}
		resp := w.fetch(node, f).(*kmsg.FetchResponse)
		for i := range resp.Topics[0].Partitions {
			resp.Topics[0].Partitions[i].RecordBatches = nil
		}
		return resp
	}
	w.runFor(second)
	stale := 0
	for _, op := range w.given(0) {
		if c := op.Consume; op.Outcome == history.OK && op.Invoke > begin+second+10*ms && c.High == 1 && c.To == c.From && c.Spans == nil {
			stale++
		}
	}
	if stale < 5 {
		t.Errorf("%d stale answers were recorded, want each of about ten", stale)
	}
}

func TestALogThatEndsBeforeWhatWasReadIsReadAnew(t *testing.T) {
	w := newWorld(t, Config{Readers: 1})
	w.c.Read(w.now, orders)
	for i := range 3 {
		w.start(produceOp(fmt.Sprint("p", i), 1, 0, uint64(i*2)))
		w.runFor(10 * ms)
	}
	w.runFor(second)
	l := w.log("orders", 0)
	l.data, l.ends, l.next = l.data[:l.ends[0]], l.ends[:1], 2
	w.runFor(second)
	ops := w.given(0)
	i := slices.IndexFunc(ops, func(op *history.Operation) bool { return op.Outcome == history.Failed })
	if i < 0 || i == len(ops)-1 {
		t.Fatalf("no refusal, or nothing after it, in %d answers", len(ops))
	}
	if op := ops[i]; op.Error != protocol.CodeName(protocol.CodeOffsetOutOfRange) || op.Consume.From != 6 {
		t.Errorf("%q from offset %d", op.Error, op.Consume.From)
	}
	if c := ops[i+1].Consume; c.From != 0 || c.To != 2 {
		t.Errorf("then %+v, want all that there is", c)
	}
}

func TestConsumersAndANodeThatIsGone(t *testing.T) {
	for name, set := range map[string]func(w *world, node int32, on bool){
		"down":  func(w *world, node int32, on bool) { w.down[node] = on },
		"mute":  func(w *world, node int32, on bool) { w.mute[node] = on },
		"drops": func(w *world, node int32, on bool) { w.drops[node] = on },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{Readers: 1, Seed: 2})
			w.c.Read(w.now, orders)
			for i := range 4 {
				w.start(produceOp(fmt.Sprint("p", i), 1, 0, uint64(i*2)))
				w.runFor(20 * ms)
			}
			set(w, 1, true)
			before := len(w.sent)
			w.runFor(5 * second)
			if n := len(w.sent) - before; n > 600 {
				t.Errorf("%d requests in 5 s: it spins", n)
			}
			w.log("orders", 0).leader, w.log("orders", 0).epoch = 2, 5
			w.runFor(4 * second)
			op := produceOp("late", 1, 0, 8)
			w.start(op)
			w.runFor(second)
			wantOutcome(t, op, history.OK)
			wantContinuous(t, w.given(0), w.log("orders", 0).records(t))
		})
	}
}

func TestAFetchThatIsRefusedInOtherWaysIsPaced(t *testing.T) {
	for name, answer := range map[string]func(kmsg.FetchResponseTopicPartition) kmsg.FetchResponseTopicPartition{
		"storage error": func(p kmsg.FetchResponseTopicPartition) kmsg.FetchResponseTopicPartition {
			p.ErrorCode = 56
			return p
		},
		"no batch": func(p kmsg.FetchResponseTopicPartition) kmsg.FetchResponseTopicPartition {
			p.RecordBatches = make([]byte, 80)
			return p
		},
		"another partition": func(p kmsg.FetchResponseTopicPartition) kmsg.FetchResponseTopicPartition {
			p.Partition += 100
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{Readers: 1})
			w.answers = func(node int32, req kmsg.Request) kmsg.Response {
				f, is := req.(*kmsg.FetchRequest)
				if !is {
					return nil
				}
				resp := w.fetch(node, f).(*kmsg.FetchResponse)
				for i := range resp.Topics {
					for j := range resp.Topics[i].Partitions {
						resp.Topics[i].Partitions[j] = answer(resp.Topics[i].Partitions[j])
					}
				}
				return resp
			}
			w.c.Read(w.now, orders)
			w.runFor(time.Second.Nanoseconds())
			if n := len(w.sent); n > 200 {
				t.Errorf("%d requests in a second: it spins", n)
			}
		})
	}
}
