package simclient

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

func idempotentOp(id string, producer uint32, partition int32, first uint64) *history.Operation {
	op := produceOp(id, producer, partition, first)
	op.Produce.Idempotent = true
	return op
}

// wantLog checks which sequences of the workload a partition holds, in order.
func (w *world) wantLog(t *testing.T, partition int32, want ...uint64) {
	t.Helper()
	var got []uint64
	for _, h := range w.log("orders", partition).records(t) {
		got = append(got, uint64(h.Incarnation-1)*100+h.Seq)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("orders-%d holds %v, want %v", partition, got, want)
	}
}

// What is appended and not answered is sent again with its sequence, and what was in flight behind it follows in order.
func TestAnIdempotentProducerSendsAgain(t *testing.T) {
	w := newWorld(t, Config{})
	first := idempotentOp("first", 1, 0, 0)
	w.start(first)
	w.runFor(100 * ms)
	wantOutcome(t, first, history.OK)
	w.hold = true
	a, b := idempotentOp("a", 1, 0, 2), idempotentOp("b", 1, 0, 4)
	w.start(a, b)
	w.runFor(10 * ms)
	w.held, w.hold = nil, false // the answers are lost
	w.runFor(5 * second)
	wantOutcome(t, a, history.OK)
	wantOutcome(t, b, history.OK)
	if a.Produce.Offsets[0] != 2 || b.Produce.Offsets[0] != 4 {
		t.Errorf("offsets %v and %v", a.Produce.Offsets, b.Produce.Offsets)
	}
	w.wantLog(t, 0, 0, 1, 2, 3, 4, 5)
	if w.ids != 1 {
		t.Errorf("%d producer ids were asked for", w.ids)
	}
}

// Where more is to be sent than a connection carries, all partitions get their share of it.
func TestNoPartitionWaitsForEverBehindOthers(t *testing.T) {
	w := newWorld(t, Config{InFlight: 1})
	for p := range 3 {
		w.log("orders", int32(p)).leader = 1
	}
	for i := range uint64(300) {
		w.start(idempotentOp(fmt.Sprint("op", i), 1, int32(i%3), i))
		w.runFor(ms)
	}
	answered := map[int32]int{}
	for _, op := range w.done {
		answered[op.Produce.Partition]++
	}
	least, most := min(answered[0], answered[1], answered[2]), max(answered[0], answered[1], answered[2])
	if least == 0 || most > 2*least || least+most > 250 {
		t.Errorf("of 300 operations, more than one connection carries, were answered by partition: %v", answered)
	}
}

// A batch that is refused for now holds up those behind it, which are refused for its sake; all of them get through in order.
func TestNothingOvertakesABatchThatIsSentAgain(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(idempotentOp("first", 1, 0, 0))
	w.runFor(100 * ms)
	refuse := 2
	w.answers = func(_ int32, req kmsg.Request) kmsg.Response {
		r, is := req.(*kmsg.ProduceRequest)
		if !is || refuse == 0 || binary.BigEndian.Uint32(r.Topics[0].Partitions[0].Records[53:]) != 2 {
			return nil
		}
		refuse--
		return produceAnswer("orders", 0, protocol.CodeNotEnoughReplicas)
	}
	for i := range uint64(4) {
		w.start(idempotentOp(fmt.Sprint("op", i), 1, 0, 2+2*i))
	}
	w.runFor(second)
	for _, op := range w.done {
		wantOutcome(t, op, history.OK)
	}
	w.wantLog(t, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
}

func produceAnswer(topic string, partition int32, code int16) kmsg.Response {
	resp := kmsg.NewPtrProduceResponse()
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.BaseOffset, rp.ErrorCode = partition, -1, code
	resp.Topics = []kmsg.ProduceResponseTopic{{Topic: topic, Partitions: []kmsg.ProduceResponseTopicPartition{rp}}}
	return resp
}

// When the time of a batch is over, or the broker has forgotten the producer, the id is given up with all that is under way, and nothing of it is sent again;
// the next operation begins with a new id.
func TestAnIDIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int16
		first history.Outcome
	}{
		{"forgotten", protocol.CodeUnknownProducerID, history.Unknown},
		{"refused for good", protocol.CodeMessageTooLarge, history.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Config{})
			for p := range int32(3) { // so that the id and the leaders are known
				w.start(idempotentOp(fmt.Sprint("warm", p), 1, p, 0))
			}
			w.runFor(200 * ms)
			w.answers = func(_ int32, req kmsg.Request) kmsg.Response {
				if _, is := req.(*kmsg.ProduceRequest); is {
					return produceAnswer("orders", 0, c.code)
				}
				return nil
			}
			a, b := idempotentOp("a", 1, 0, 2), idempotentOp("b", 1, 1, 2)
			w.mute[2] = true // b's leader
			w.start(b)
			w.runFor(20 * ms)
			w.start(a)
			w.runFor(200 * ms)
			wantOutcome(t, a, c.first)
			wantOutcome(t, b, history.Unknown)
			w.answers = nil
			w.mute[2] = false
			again := idempotentOp("again", 1, 0, 4)
			w.start(again)
			w.runFor(5 * second)
			wantOutcome(t, again, history.OK)
			w.wantLog(t, 0, 0, 1, 4, 5)
			w.wantLog(t, 1, 0, 1)
			if w.ids != 2 {
				t.Errorf("%d producer ids were given, want 2", w.ids)
			}
		})
	}
	t.Run("too late", func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start(idempotentOp("first", 1, 0, 0))
		w.runFor(100 * ms)
		w.mute[1] = true
		sent := idempotentOp("sent", 1, 0, 2)
		w.start(sent)
		w.runFor(12 * second)
		wantOutcome(t, sent, history.Unknown)
		if len(w.c.sessions) != 0 {
			t.Errorf("%d sessions are left", len(w.c.sessions))
		}
	})
}

func TestWithoutAnIDNothingIsSent(t *testing.T) {
	w := newWorld(t, Config{})
	w.answers = func(_ int32, req kmsg.Request) kmsg.Response {
		if _, is := req.(*kmsg.InitProducerIDRequest); is {
			resp := kmsg.NewPtrInitProducerIDResponse()
			resp.ErrorCode = 14
			return resp
		}
		return nil
	}
	op := idempotentOp("op", 1, 0, 0)
	w.start(op)
	w.runFor(10 * second)
	wantOutcome(t, op, history.Failed)
	w.wantLog(t, 0)
	w.answers = nil
	next := idempotentOp("next", 1, 0, 2)
	w.start(next)
	w.runFor(second)
	wantOutcome(t, next, history.OK)
}

// A new incarnation has an id of its own; what the old one has under way is seen to its end, and then its connections close.
func TestANewIncarnationHasANewID(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(idempotentOp("old", 1, 0, 0))
	w.runFor(100 * ms)
	w.hold = true
	last := idempotentOp("last", 1, 0, 2)
	w.start(last)
	w.runFor(10 * ms)
	w.hold = false
	next := idempotentOp("next", 1, 0, 0)
	next.Produce.Incarnation = 2
	w.start(next)
	w.runFor(100 * ms)
	w.release()
	w.runFor(100 * ms)
	wantOutcome(t, last, history.OK)
	wantOutcome(t, next, history.OK)
	w.wantLog(t, 0, 0, 1, 2, 3, 100, 101)
	if len(w.c.sessions) != 1 || w.ids != 2 {
		t.Errorf("%d sessions are left, %d ids were given", len(w.c.sessions), w.ids)
	}
	if cut := w.c.Crash(w.now, "produce-1"); cut.Conns == 0 || len(w.c.sessions) != 0 {
		t.Errorf("a crash left %d sessions and cut off %+v", len(w.c.sessions), cut)
	}
}

// Answers out of order are noted on the operation that was answered too late.
func TestADisorderedAnswerIsNoted(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		w := newWorld(t, Config{})
		one, two := produceOp("one", 1, 0, 0), produceOp("two", 1, 0, 2)
		one.Produce.Idempotent, two.Produce.Idempotent = idempotent, idempotent
		first := produceOp("first", 1, 0, 9)
		first.Produce.Idempotent = idempotent
		w.start(first)
		w.runFor(100 * ms)
		w.hold = true
		w.start(one, two)
		w.runFor(10 * ms)
		w.held[0], w.held[1] = w.held[1], w.held[0]
		w.release()
		w.runFor(100 * ms)
		if !one.Produce.Disordered || two.Produce.Disordered {
			t.Errorf("idempotent %v: disordered %v, %v; want the first alone", idempotent, one.Produce.Disordered, two.Produce.Disordered)
		}
	}
}

func TestSequencesWrap(t *testing.T) {
	if n := nextSequence(1<<31-1, 1); n != 0 {
		t.Errorf("behind the last sequence comes %d", n)
	}
	if n := nextSequence(1<<31-3, 5); n != 2 {
		t.Errorf("five records from 2³¹−3 on are followed by %d", n)
	}
}
