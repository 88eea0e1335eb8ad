package simclient

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"soak/history"
	"soak/workloads/gen"
)

// stormy runs a workload of all kinds for ten seconds, with nodes that go down, fall silent and drop connections, and leaders that
// move; then all is healed. It answers the world and what happened, in lines.
func stormy(t testing.TB, seed uint64) (*world, string) {
	w := newWorld(t, Config{Seed: seed, Readers: 2})
	r := gen.NewRand(seed)
	w.c.Read(w.now, orders)
	var ops []*history.Operation
	seqs := map[[2]int]uint64{}
	for i := range 500 {
		node := int32(1 + r.Intn(3))
		switch r.Intn(24) {
		case 0:
			w.down[node] = !w.down[node]
			for id := Conn(1); id <= w.c.lastConn && w.down[node]; id++ {
				if w.where[id] == node {
					w.end(id, w.c.Closed)
				}
			}
		case 1:
			w.mute[node] = !w.mute[node]
		case 2:
			w.drops[node] = !w.drops[node]
		case 3:
			l := w.log("orders", int32(r.Intn(3)))
			l.leader, l.epoch = node, l.epoch+1
		case 4:
			w.log("orders", int32(r.Intn(3))).leader = -1
		case 5:
			ops = append(ops, createOp(fmt.Sprint("m", i), node))
			w.start(ops[len(ops)-1])
		case 6:
			ops = append(ops, &history.Operation{ID: fmt.Sprint("c", i), Node: node, Create: &history.AutoCreateOp{Topic: fmt.Sprint("auto-", i), How: gen.HowWriter}})
			w.start(ops[len(ops)-1])
		case 7:
			ops = append(ops, &history.Operation{ID: fmt.Sprint("d", i), Drain: &history.DrainOp{Topic: "orders", Replica: node}})
			w.start(ops[len(ops)-1])
		default:
			at := [2]int{1 + r.Intn(3), r.Intn(3)}
			ops = append(ops, produceOp(fmt.Sprint("p", i), uint32(at[0]), int32(at[1]), seqs[at]))
			seqs[at] += 2
			ops[len(ops)-1].Produce.Idempotent = at[0] != 3
			w.start(ops[len(ops)-1])
		}
		w.runFor(int64(r.Intn(40)) * ms)
	}
	clear(w.down)
	clear(w.mute)
	clear(w.drops)
	for p := range int32(3) {
		l := w.log("orders", p)
		l.leader, l.epoch = 1+p, l.epoch+1
	}
	w.runFor(12 * second)
	for _, op := range ops {
		if w.endings[op.ID] != 1 {
			t.Errorf("%s came back %d times", op.ID, w.endings[op.ID])
		}
	}
	var lines strings.Builder
	for _, s := range w.sent {
		fmt.Fprintln(&lines, s)
	}
	for _, op := range w.done {
		fmt.Fprintln(&lines, op.ID, op.Outcome, op.Error, op.Complete)
	}
	return w, lines.String()
}

func TestTheSameInputsGiveTheSameOutputs(t *testing.T) {
	_, one := stormy(t, 5)
	_, two := stormy(t, 5)
	if one != two {
		t.Error("the same seed gave two runs")
	}
	if _, other := stormy(t, 6); other == one {
		t.Error("two seeds gave the same run: the comparison sees nothing")
	}
}

func TestWhateverHappensOutcomesAreTrue(t *testing.T) {
	seen := map[history.Outcome]int{}
	for seed := range uint64(20) {
		w, _ := stormy(t, seed)
		logs := map[int32][]gen.Header{}
		for p := range int32(3) {
			logs[p] = w.log("orders", p).records(t)
		}
		consumed := map[string]int64{}
		for _, op := range w.done {
			if p := op.Produce; p != nil {
				seen[op.Outcome]++
				found := 0
				for _, h := range logs[p.Partition] {
					if h.Producer == p.Producer && h.Seq >= p.FirstSeq && h.Seq < p.FirstSeq+uint64(p.Count) {
						found++
					}
				}
				switch {
				case found > 2, op.Outcome == history.OK && found != 2, op.Outcome == history.Failed && found != 0:
					t.Errorf("seed %d: %s is %q (%s), and %d of its 2 records are in the log", seed, op.ID, op.Outcome, op.Error, found)
				}
				if took := op.Complete - op.Invoke; took > 7*second && !p.Idempotent || took > 12*second {
					t.Errorf("seed %d: %s took %d ms", seed, op.ID, took/ms)
				}
			}
			if c := op.Consume; c != nil && op.Outcome == history.OK {
				key := fmt.Sprint(op.Client, c.Partition)
				if c.From != consumed[key] {
					t.Errorf("seed %d: %s was read from %d after %d", seed, op.ID, c.From, consumed[key])
				}
				consumed[key] = c.To
				for _, s := range c.Spans {
					if h := logs[c.Partition][s.Offset]; h.Producer != s.Producer || h.Seq != s.Seq {
						t.Errorf("seed %d: %s was given %+v where the log has %+v", seed, op.ID, s, h)
					}
				}
			}
		}
		for p := range int32(3) {
			to := max(consumed[fmt.Sprint("consume-1", p)], consumed[fmt.Sprint("consume-2", p)])
			if want := int64(len(logs[p])); to != want {
				t.Errorf("seed %d: orders-%d was read to %d of %d", seed, p, to, want)
			}
		}
		if w.most > DefaultInFlight {
			t.Errorf("seed %d: %d requests in flight on one connection", seed, w.most)
		}
	}
	for _, o := range []history.Outcome{history.OK, history.Failed, history.Unknown} {
		if seen[o] < 20 {
			t.Errorf("%d operations were %q: the test meets too few", seen[o], o)
		}
	}
}

// The heap of timers against a list.
func TestTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ts timers
		tasks := make([]task, 8)
		armed := make([]int64, len(tasks))
		order := make([]int, len(tasks)) // of arming
		now := int64(1)
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(tasks)-1).Draw(t, "task")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				armed[i], order[i] = now+rapid.Int64Range(0, 20).Draw(t, "in"), step
				ts.arm(&tasks[i], armed[i])
			case 2:
				armed[i] = 0
				tasks[i].disarm()
			case 3:
				now += rapid.Int64Range(0, 15).Draw(t, "passes")
				for {
					want := -1
					for j := range tasks {
						if armed[j] != 0 && armed[j] <= now && (want < 0 || armed[j] < armed[want] || armed[j] == armed[want] && order[j] < order[want]) {
							want = j
						}
					}
					got := ts.due(now)
					if want < 0 {
						if got != nil {
							t.Fatal("a timer went off that was not due")
						}
						break
					}
					if got != &tasks[want] {
						t.Fatalf("another timer went off than that of task %d", want)
					}
					armed[want] = 0
				}
			}
			var next int64
			for j := range tasks {
				if armed[j] != 0 && (next == 0 || armed[j] < next) {
					next = armed[j]
				}
			}
			if got := ts.next(); got != next {
				t.Fatalf("the next timer is at %d, want %d", got, next)
			}
		}
	})
}

// One produce operation of five records, from Start to Done.
func BenchmarkProduce(b *testing.B) {
	w := newWorld(b, Config{})
	op := produceOp("p0", 1, 0, 0)
	op.Produce.Count = 5
	w.start(op)
	w.runFor(10 * ms)
	rp := kmsg.NewProduceResponseTopicPartition()
	resp := &kmsg.ProduceResponse{Topics: []kmsg.ProduceResponseTopic{{Topic: "orders", Partitions: []kmsg.ProduceResponseTopicPartition{rp}}}}
	b.ReportAllocs()
	for b.Loop() {
		w.c.Start(w.now, op)
		for _, o := range w.c.Output() {
			if o.Req != nil {
				w.c.Answer(w.now, o.Conn, o.Corr, resp, 0)
			}
		}
		w.c.Output()
		w.c.Wake()
	}
	if op.Outcome != history.OK {
		b.Fatalf("%q (%s)", op.Outcome, op.Error)
	}
}
