package simclient

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// sends counts the requests of one kind to one node.
func (w *world) sends(what string, node int32) int {
	n := 0
	for _, s := range w.sent {
		if f := strings.Fields(s); f[4] == what && f[2] == fmt.Sprintf("n%d", node) {
			n++
		}
	}
	return n
}

func TestProduceGoesToTheLeaders(t *testing.T) {
	w := newWorld(t, Config{})
	var ops []*history.Operation
	for i := range 30 {
		op := produceOp(fmt.Sprint("p", i), uint32(1+i%2), int32(i%3), uint64(i/6*2))
		ops = append(ops, op)
		w.start(op)
		w.runFor(7 * ms)
	}
	w.runFor(second)
	for _, op := range ops {
		p := op.Produce
		wantOutcome(t, op, history.OK)
		if len(p.Offsets) != 2 {
			t.Fatalf("%s has the offsets %v", op.ID, p.Offsets)
		}
		for i, off := range p.Offsets {
			want := gen.Header{
				Run: testRun, Producer: p.Producer, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", p.Partition), Seq: p.FirstSeq + uint64(i),
				Time: op.Invoke, Acked: -1, Body: DefaultValueBytes - gen.HeaderSize,
			}
			if got := w.log("orders", p.Partition).records(t)[off]; got != want {
				t.Errorf("%s: at offset %d stands %+v, want %+v", op.ID, off, got, want)
			}
		}
	}
	if n := len(w.where); n > 2*3+1 {
		t.Errorf("%d connections are open; two producers to three nodes and the metadata need at most 7", n)
	}
}

func TestMetadataIsNoOlderThanItsAge(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 100 {
		w.start(produceOp(fmt.Sprint("p", i), 1, 0, uint64(i*2)))
		w.runFor(10 * ms)
	}
	n := w.sends("Metadata", 1) + w.sends("Metadata", 2) + w.sends("Metadata", 3)
	if n < 4 || n > 5 {
		t.Errorf("%d metadata requests in a second of producing, want one each 250 ms", n)
	}
	before := len(w.sent)
	w.runFor(10 * second)
	if len(w.sent) != before {
		t.Errorf("requests %v were sent while nobody produced", w.sent[before:])
	}
}

func TestProduceIsPipelinedInOrder(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("first", 1, 0, 0))
	w.runFor(10 * ms) // the metadata is there
	w.hold = true
	var ops []*history.Operation
	for i := range 12 {
		ops = append(ops, produceOp(fmt.Sprint("p", i), 1, 0, uint64(2+2*i)))
	}
	w.start(ops...)
	w.runFor(100 * ms)
	if n := w.sends("Produce", 1); n != 1+DefaultInFlight {
		t.Fatalf("%d requests were sent without an answer to any, want %d", n-1, DefaultInFlight)
	}
	other := produceOp("other", 2, 0, 0)
	w.start(other)
	w.runFor(100 * ms)
	if n := w.sends("Produce", 1); n != 2+DefaultInFlight {
		t.Errorf("another producer waits for the first one's answers")
	}
	w.release()
	w.runFor(100 * ms)
	for _, op := range append(ops, other) {
		wantOutcome(t, op, history.OK)
		if op.Node != 1 {
			t.Errorf("%s was sent to n%d by its record, want n1, the leader", op.ID, op.Node)
		}
	}
	if w.most != DefaultInFlight {
		t.Errorf("at most %d requests in flight on one connection, want %d", w.most, DefaultInFlight)
	}
	var seqs []uint64
	for _, h := range w.log("orders", 0).records(t) {
		if h.Producer == 1 {
			seqs = append(seqs, h.Seq)
		}
	}
	if !slices.IsSorted(seqs) || len(seqs) != 26 {
		t.Errorf("the log holds the sequences %v", seqs)
	}
}

func TestAMovedLeaderIsFound(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("before", 1, 0, 0))
	w.runFor(10 * ms)
	l := w.log("orders", 0)
	l.leader, l.epoch = 2, 2
	late := produceOp("late", 1, 0, 2)
	w.start(late)
	w.runFor(10 * ms)
	wantOutcome(t, late, history.Unknown)
	if late.Error != protocol.CodeName(protocol.CodeNotLeader) {
		t.Errorf("error %q", late.Error)
	}
	after := produceOp("after", 1, 0, 4)
	w.start(after)
	w.runFor(100 * ms)
	wantOutcome(t, after, history.OK)
	if n := w.sends("Produce", 1); n != 2 {
		t.Errorf("the old leader got %d requests, want 2: nothing is sent twice", n)
	}
	if n := len(l.records(t)); n != 4 {
		t.Errorf("the log holds %d records, want 4", n)
	}
}

func TestWithoutALeaderNothingIsSent(t *testing.T) {
	w := newWorld(t, Config{})
	w.log("orders", 0).leader = -1
	op := produceOp("p1", 1, 0, 0)
	w.start(op)
	w.runFor(second - ms)
	if op.Complete != 0 {
		t.Fatalf("it is over after %d ms: %q (%s)", (op.Complete-op.Invoke)/ms, op.Outcome, op.Error)
	}
	w.runFor(ms)
	wantOutcome(t, op, history.Failed)
	for node := range int32(4) {
		if n := w.sends("Produce", node); n != 0 {
			t.Errorf("%d requests to node %d", n, node)
		}
	}
	soon := produceOp("p2", 1, 0, 2)
	w.start(soon)
	w.runFor(500 * ms)
	w.log("orders", 0).leader = 2
	w.runFor(100 * ms)
	wantOutcome(t, soon, history.OK)
}

func TestAMuteLeader(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("before", 1, 0, 0))
	w.runFor(10 * ms)
	w.mute[1] = true
	var ops []*history.Operation
	for i := range 7 {
		ops = append(ops, produceOp(fmt.Sprint("p", i), 1, 0, uint64(2+2*i)))
	}
	w.start(ops...)
	w.run(ops[0].Invoke + 3*second - ms)
	for _, op := range ops {
		if op.Complete != 0 {
			t.Errorf("%s is over before its time: %q (%s)", op.ID, op.Outcome, op.Error)
		}
	}
	w.runFor(ms)
	for i, op := range ops {
		// The first five are sent; the others never were.
		want := history.Unknown
		if i >= DefaultInFlight {
			want = history.Failed
		}
		wantOutcome(t, op, want)
		if took := op.Complete - op.Invoke; took != 3*second {
			t.Errorf("%s took %d ms", op.ID, took/ms)
		}
	}
	w.log("orders", 0).leader = 3
	after := produceOp("after", 1, 0, 40)
	w.start(after)
	w.runFor(2 * second)
	wantOutcome(t, after, history.OK)
}

func TestALostLeader(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(w *world)
		want history.Outcome
	}{
		"that refuses connections is surely without effect":         {func(w *world) { w.down[1] = true }, history.Failed},
		"that drops them with the request in hand may have done it": {func(w *world) { w.drops[1] = true }, history.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.start(produceOp("p0", 1, 0, 0))
			w.runFor(10 * ms)
			tc.set(w)
			for id := range w.where {
				w.end(id, w.c.Closed) // its death ends its connections
			}
			w.log("orders", 0).leader = 2
			op := produceOp("p1", 1, 0, 2)
			w.start(op)
			w.runFor(200 * ms)
			wantOutcome(t, op, tc.want)
			next := produceOp("p2", 1, 0, 4)
			w.start(next)
			w.runFor(500 * ms)
			wantOutcome(t, next, history.OK)
		})
	}
}

func TestWhatWaitsBehindALostConnectionIsSentAnew(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(10 * ms)
	w.hold = true
	var ops []*history.Operation
	for i := range 8 {
		ops = append(ops, produceOp(fmt.Sprint("p", 1+i), 1, 0, uint64(2+2*i)))
	}
	w.start(ops...)
	w.runFor(10 * ms)
	w.hold, w.held = false, nil
	for id, node := range w.where {
		if node == 1 && w.flying[id] == DefaultInFlight {
			w.end(id, w.c.Closed)
		}
	}
	w.runFor(200 * ms)
	for i, op := range ops {
		want := history.Unknown
		if i >= DefaultInFlight {
			want = history.OK
		}
		wantOutcome(t, op, want)
	}
}

func TestWithoutAcksNothingIsAwaited(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("p1", 1, 0, 0))
	w.runFor(10 * ms)
	w.mute[1] = true
	op := produceOp("p2", 1, 0, 2)
	op.Produce.Acks = 0
	w.start(op)
	wantOutcome(t, op, history.OK)
	if d := cmp.Diff([]int64{-1, -1}, op.Produce.Offsets); d != "" {
		t.Error(d)
	}
}

// An answer may be lost on its way: the ones behind it are still taken.
func TestAnAnswerOutOfTurn(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(10 * ms)
	w.hold = true
	one, two := produceOp("p1", 1, 0, 2), produceOp("p2", 1, 0, 4)
	w.start(one, two)
	w.runFor(5 * ms)
	w.held = w.held[1:]
	w.release()
	w.runFor(4 * second)
	wantOutcome(t, one, history.Unknown)
	wantOutcome(t, two, history.OK)
}

func TestMetadataIsAskedOfANodeThatAnswers(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t, Config{Seed: seed})
		w.mute[1], w.down[2] = true, true
		op := produceOp("p1", 1, 2, 0)
		w.start(op)
		w.runFor(3 * second)
		// Whichever node is asked first: one that is mute costs a second, which is as long as an operation waits.
		if first := strings.Fields(w.sent[0])[2]; first != "n1" {
			wantOutcome(t, op, history.OK)
		}
		again := produceOp("p2", 1, 2, 2)
		w.start(again)
		w.runFor(second)
		wantOutcome(t, again, history.OK)
	}
}

func TestWhenAllNodesAreDownEachIsTriedAtTimes(t *testing.T) {
	w := newWorld(t, Config{})
	w.down[1], w.down[2], w.down[3] = true, true, true
	w.start(produceOp("p1", 1, 0, 0))
	w.runFor(900 * ms)
	for node := int32(1); node <= 3; node++ {
		if n := w.sends("Metadata", node); n < 3 || n > 8 {
			t.Errorf("node %d was asked %d times in 0.9 s, want about six", node, n)
		}
	}
}

func TestEveryNodeIsAskedForMetadata(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 200 {
		w.start(produceOp(fmt.Sprint("p", i), 1, 0, uint64(i*2)))
		w.runFor(250 * ms)
	}
	for node := int32(1); node <= 3; node++ {
		if w.sends("Metadata", node) < 20 {
			t.Errorf("node %d was asked %d times", node, w.sends("Metadata", node))
		}
	}
}

func TestAnAnswerOfAnotherKindIsUnknown(t *testing.T) {
	w := newWorld(t, Config{})
	w.start(produceOp("p0", 1, 0, 0))
	w.runFor(10 * ms)
	w.answers = func(_ int32, req kmsg.Request) kmsg.Response {
		if _, is := req.(*kmsg.ProduceRequest); is {
			return kmsg.NewPtrFetchResponse()
		}
		return nil
	}
	op := produceOp("p1", 1, 0, 2)
	w.start(op)
	w.runFor(10 * ms)
	wantOutcome(t, op, history.Unknown)
}
