package simclient

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

func createOp(id string, node int32) *history.Operation {
	return &history.Operation{ID: id, Node: node, Meta: &history.MetaOp{Kind: history.MetaCreate, Name: "t", Partitions: 1, Replication: 3}}
}

func TestAdminOutcomes(t *testing.T) {
	for name, tc := range map[string]struct {
		node int32
		set  func(w *world)
		want history.Outcome
		took int64
	}{
		"answered":                    {2, func(*world) {}, history.OK, 2 * ms},
		"refused":                     {2, func(w *world) { w.down[2] = true }, history.Failed, ms},
		"dropped with it in hand":     {2, func(w *world) { w.drops[2] = true }, history.Unknown, ms},
		"no answer in time":           {2, func(w *world) { w.mute[2] = true }, history.Unknown, 3 * second},
		"a node that is none":         {7, func(*world) {}, history.Failed, 0},
		"a code that leaves it open":  {2, func(w *world) { w.answers = createCode(7) }, history.Unknown, 2 * ms},
		"a code that surely did none": {2, func(w *world) { w.answers = createCode(41) }, history.Failed, 2 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			tc.set(w)
			op := createOp("m1", tc.node)
			w.start(op)
			w.runFor(4 * second)
			wantOutcome(t, op, tc.want)
			if took := op.Complete - op.Invoke; took != tc.took {
				t.Errorf("it took %d ms, want %d", took/ms, tc.took/ms)
			}
			if (op.Error == "") != (tc.want == history.OK) {
				t.Errorf("error %q", op.Error)
			}
			if len(w.where) > 0 || w.endings["m1"] != 1 {
				t.Errorf("%d connections are open, and it came back %d times", len(w.where), w.endings["m1"])
			}
			if tc.node == 2 && (len(w.sent) != 1 || !strings.HasSuffix(w.sent[0], "CreateTopics m1")) {
				t.Errorf("sent %v, want one request with the operation's id", w.sent)
			}
		})
	}
}

func createCode(code int16) func(int32, kmsg.Request) kmsg.Response {
	return func(_ int32, req kmsg.Request) kmsg.Response {
		resp := kmsg.NewPtrCreateTopicsResponse()
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode = req.(*kmsg.CreateTopicsRequest).Topics[0].Topic, code
		resp.Topics = append(resp.Topics, rt)
		return resp
	}
}

func TestTheIndexToldBesideTheAnswerIsTaken(t *testing.T) {
	w := newWorld(t, Config{})
	op := createOp("m1", 2)
	w.c.Start(w.now, op)
	sent := w.c.Output()[0]
	w.c.Answer(w.now+1, sent.Conn, sent.Corr, w.answer(2, sent.Req), 77)
	if op.Outcome != history.OK || op.Meta.Index != 77 || op.Meta.TopicID == "" {
		t.Errorf("%q, %+v; want ok with index 77 and a topic id", op.Outcome, op.Meta)
	}
	w.c.Answer(w.now+2, sent.Conn, sent.Corr, w.answer(2, sent.Req), 78)
	w.c.Closed(w.now+2, sent.Conn)
	if outs := w.c.Output(); len(outs) != 2 || outs[0].Done != op || !outs[1].Close || op.Meta.Index != 77 {
		t.Errorf("%+v; want the operation, the end of its connection, and nothing of a second answer", outs)
	}
}

func TestOperationsThatAskForNothingFail(t *testing.T) {
	w := newWorld(t, Config{})
	for i, op := range []*history.Operation{
		{}, {Meta: &history.MetaOp{Kind: "rename"}}, {Create: &history.AutoCreateOp{How: "magic"}}, {Produce: &history.ProduceOp{}}, {Drain: &history.DrainOp{Replica: 9}},
	} {
		op.ID = fmt.Sprint("x", i)
		w.start(op)
		wantOutcome(t, op, history.Failed)
	}
	if len(w.sent) > 0 {
		t.Errorf("sent %v", w.sent)
	}
}

func TestAutoCreateByProduce(t *testing.T) {
	w := newWorld(t, Config{})
	op := &history.Operation{ID: "c1", Node: 2, Create: &history.AutoCreateOp{Topic: "orders", How: gen.HowProduce}}
	w.start(op)
	w.runFor(second)
	wantOutcome(t, op, history.OK)
	if op.Error != protocol.CodeName(protocol.CodeNotLeader) || w.sends("Produce", 2) != 1 {
		t.Errorf("error %q after %v", op.Error, w.sent)
	}
}

func TestAutoCreateByWriter(t *testing.T) {
	w := newWorld(t, Config{})
	op := &history.Operation{ID: "c1", Node: 2, Create: &history.AutoCreateOp{Topic: "auto-1", How: gen.HowWriter}}
	w.start(op)
	w.runFor(second)
	wantOutcome(t, op, history.OK)
	// The first answer has no leader yet; the second has, and the record goes there.
	want := []string{"0 c1 n2 #1 Metadata ", "102 c2 n2 #1 Metadata ", "104 c3 n3 #1 Produce "}
	if d := cmp.Diff(want, w.sent); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	if l := w.log("auto-1", 0); l == nil || l.next != 1 {
		t.Errorf("the topic's log is %+v, want one record", l)
	}
	if len(w.where) > 0 {
		t.Errorf("%d connections are open", len(w.where))
	}
}

func TestAutoCreateByWriterGivesUpInTime(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(w *world)
		want history.Outcome
	}{
		"a node that is down was never asked":     {func(w *world) { w.down[2] = true }, history.Failed},
		"a mute node may have created the topic":  {func(w *world) { w.mute[2] = true }, history.Unknown},
		"a node that drops it may have":           {func(w *world) { w.drops[2] = true }, history.Unknown},
		"a leader that is down, and a node fresh": {func(w *world) { w.down[3] = true }, history.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			tc.set(w)
			op := &history.Operation{ID: "c1", Node: 2, Create: &history.AutoCreateOp{Topic: "auto-1", How: gen.HowWriter}}
			w.start(op)
			w.runFor(5 * second)
			wantOutcome(t, op, tc.want)
			if took := op.Complete - op.Invoke; took != 3*second {
				t.Errorf("it took %d ms, want 3000", took/ms)
			}
			if len(w.where) > 0 || w.c.Wake() != 0 {
				t.Errorf("%d connections are open, and it wants to be woken at %d", len(w.where), w.c.Wake())
			}
		})
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 9 {
		w.start(produceOp(fmt.Sprint("p", i), 1, 1, uint64(i*2)))
		w.runFor(10 * ms)
	}
	op := &history.Operation{ID: "d1", Drain: &history.DrainOp{Topic: "orders", Partition: 1, Replica: 3, From: 4}}
	w.start(op)
	w.runFor(second)
	wantOutcome(t, op, history.OK)
	want := &history.DrainOp{
		Topic: "orders", Partition: 1, Replica: 3, From: 4, To: 18, LogEnd: 18, High: 18, End: true,
		Spans:     []history.Span{{Offset: 4, Producer: 1, Incarnation: 1, Seq: 4, Count: 14}},
		Stretches: []history.Stretch{{From: 4, To: 18}},
	}
	if d := cmp.Diff(want, op.Drain, cmpopts.IgnoreFields(history.Stretch{}, "Hash")); d != "" || op.Node != 3 {
		t.Errorf("from node %d (-want +got):\n%s", op.Node, d)
	}
	w.down[3] = true
	again := &history.Operation{ID: "d2", Drain: &history.DrainOp{Topic: "orders", Partition: 1, Replica: 3, From: 4}}
	w.start(again)
	w.runFor(second)
	wantOutcome(t, again, history.Failed)
}
