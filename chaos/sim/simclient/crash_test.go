package simclient

import (
	"strings"
	"testing"

	"soak/history"
	"soak/workloads/gen"
)

// TestACrashCutsOff: what was sent is unknown, what was not has failed; other clients go on; what arrived is there all the same.
func TestACrashCutsOff(t *testing.T) {
	w := newWorld(t, Config{InFlight: 1})
	first := produceOp("first", 1, 0, 0)
	w.start(first)
	w.runFor(100 * ms)
	wantOutcome(t, first, history.OK)
	if cut := w.c.Crash(w.now, "produce-9"); cut != (Cut{}) {
		t.Errorf("a client that has nothing lost %+v", cut)
	}
	w.hold = true
	sent, waits, other := produceOp("sent", 1, 0, 2), produceOp("waits", 1, 0, 4), produceOp("other", 2, 1, 0)
	w.start(sent, waits, other)
	w.runFor(10 * ms)
	if cut := w.c.Crash(w.now, "produce-1"); cut != (Cut{Operations: 2, Conns: 1}) {
		t.Errorf("the crash cut off %+v", cut)
	}
	w.pump()
	wantOutcome(t, sent, history.Unknown)
	wantOutcome(t, waits, history.Failed)
	late := produceOp("late", 1, 0, 6)
	w.start(late)
	wantOutcome(t, late, history.Failed)
	if !strings.Contains(late.Error, "its client is down") || !strings.Contains(sent.Error, "produce-1 crashed") {
		t.Errorf("the errors do not say so: %q, %q", late.Error, sent.Error)
	}
	w.release()
	w.runFor(100 * ms)
	wantOutcome(t, other, history.OK)

	w.c.Restart(w.now, "produce-1")
	again := produceOp("again", 1, 0, 0)
	again.Produce.Incarnation = 2
	w.start(again)
	w.runFor(100 * ms)
	wantOutcome(t, again, history.OK)
	var seqs []uint64
	for _, h := range w.log("orders", 0).records(t) {
		seqs = append(seqs, uint64(h.Incarnation)*100+h.Seq)
	}
	if len(seqs) != 6 || seqs[0] != 100 || seqs[3] != 103 || seqs[4] != 200 {
		t.Errorf("the log holds %v", seqs)
	}
	for id, n := range w.endings {
		if n != 1 {
			t.Errorf("%s ended %d times", id, n)
		}
	}
}

// TestACrashOfAllClients: also of those that read, which begin anew, and of one that tries to create a topic.
func TestACrashOfAllClients(t *testing.T) {
	w := newWorld(t, Config{Readers: 2})
	w.start(produceOp("p", 1, 0, 0))
	w.c.Read(w.now, []gen.Topic{{Name: "orders", Partitions: 3}})
	w.runFor(300 * ms)
	w.mute[3] = true
	create := &history.Operation{ID: "c", Client: gen.AutocreateClient, Node: 3, Create: &history.AutoCreateOp{Topic: "auto-1", How: gen.HowWriter}}
	ready := &history.Operation{ID: "r", Client: "ready-3", Node: 3, Create: &history.AutoCreateOp{Topic: "auto-2", How: gen.HowProduce}}
	w.start(create, ready)
	w.runFor(20 * ms)
	cut := w.c.Crash(w.now, gen.AllClients)
	w.pump()
	if cut.Operations != 1 || cut.Conns < 3 {
		t.Errorf("the crash cut off %+v", cut)
	}
	wantOutcome(t, create, history.Unknown)
	if ready.Complete != 0 || len(w.where) != 1 {
		t.Errorf("the run loop's own client is none of these: %+v, %d connections", ready, len(w.where))
	}
	before := len(w.done)
	w.runFor(500 * ms)
	if len(w.done) != before {
		t.Errorf("they did something while they were down: %+v", w.done[before])
	}
	w.c.Restart(w.now, gen.AllClients)
	w.runFor(500 * ms)
	read := 0
	for _, op := range w.done[before:] {
		if f := op.Consume; f != nil && f.Partition == 0 && f.From == 0 && f.To == 2 {
			read++
		}
	}
	if read != 1 {
		t.Errorf("the reader of orders-0 did not begin anew: %d", read)
	}
}

// TestStormsWithCrashes: whenever clients crash and come back, every operation ends exactly once, and nothing acknowledged is missing.
func TestStormsWithCrashes(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, Config{Seed: seed, Readers: 2, InFlight: 2})
		w.c.Read(w.now, []gen.Topic{{Name: "orders", Partitions: 3}})
		r := gen.NewRand(seed)
		down := ""
		var incarnation uint32 = 1
		next := map[int32]uint64{}
		var ops []*history.Operation
		for i := range 300 {
			switch r.Intn(20) {
			case 0:
				node := int32(1 + r.Intn(3))
				w.mute[node] = !w.mute[node]
			case 1:
				who := []string{"produce-1", "consume-1", "clients"}[r.Intn(3)]
				if down == "" && w.c.Crash(w.now, who) != (Cut{}) {
					down = who
				}
			case 2:
				if down != "" {
					w.c.Restart(w.now, down)
					down = ""
					incarnation++
					clear(next)
				}
			default:
				p := int32(r.Intn(3))
				op := produceOp(strings.Repeat("x", i+1), 1, p, next[p])
				op.Produce.Incarnation = incarnation
				next[p] += 2
				ops = append(ops, op)
				w.start(op)
			}
			w.pump()
			w.runFor(int64(r.Intn(20)) * ms)
		}
		w.runFor(10 * second)
		for _, op := range ops {
			if w.endings[op.ID] != 1 {
				t.Fatalf("seed %d: an operation ended %d times: %+v", seed, w.endings[op.ID], op)
			}
			log := w.log("orders", op.Produce.Partition).records(t)
			for i, at := range op.Produce.Offsets {
				if h := log[at]; h.Incarnation != op.Produce.Incarnation || h.Seq != op.Produce.FirstSeq+uint64(i) {
					t.Fatalf("seed %d: %+v was acknowledged at %d, where %+v stands", seed, op.Produce, at, h)
				}
			}
		}
	}
}
