package runner

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos/runloop"
	"soak/history"
)

// phases enters one phase after the other, a second apart, and then finishes, which it never does if it has no end.
func phases(endless bool, names ...string) *script {
	var loop *script
	var due int64
	next := func(now int64) {
		if len(names) == 0 {
			if !endless {
				loop.do(runloop.Finished{})
			}
			return
		}
		loop.do(runloop.EnterPhase{Name: names[0]})
		names = names[1:]
		due = now + int64(time.Second)
		loop.wakeIn(time.Second)
	}
	loop = newScript(func(now int64, in runloop.Input) {
		switch in.(type) {
		case runloop.ClusterStarted:
			next(now)
		case runloop.Tick:
			if due != 0 && now >= due {
				due = 0
				next(now)
			}
		case runloop.EndNow:
			loop.do(runloop.Finished{})
		}
	})
	return loop
}

// eachTenth gives a sink an operation ten times a second.
func eachTenth(ctx context.Context, now func() int64, sink func(*history.Operation)) {
	for i := 0; ; i++ {
		invoke := now()
		select {
		case <-time.After(100 * time.Millisecond):
			sink(&history.Operation{ID: fmt.Sprint("f1.", i), Invoke: invoke, Complete: now(), Outcome: history.OK, Consume: &history.ConsumeOp{Topic: "orders"}})
		case <-ctx.Done():
			return
		}
	}
}

func TestConsumersReadFromSteadyToDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := phases(false, runloop.PhaseSteady, runloop.PhaseFaults, runloop.PhaseDrain)
		h := newHarness(loop)
		h.o.Readers = 3
		var began, ended int64
		reads := 0
		h.clients.read = func(ctx context.Context, topics []history.TopicInfo, n int, now func() int64, sink func(*history.Operation)) {
			reads++
			began = now()
			if d := cmp.Diff(loop.Topics(), topics); d != "" || n != 3 {
				t.Errorf("%d consumers read (-want +got):\n%s", n, d)
			}
			eachTenth(ctx, now, sink)
			ended = now()
		}
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Duration(ended - began); reads != 1 || took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("read %d times, the last for %v; want once, from steady to drain, for two seconds", reads, took)
		}
		// In the record in order, and observed; the loop, which did not ask for them, is not told.
		var recorded, observed []string
		for _, op := range h.recorder.ops {
			recorded = append(recorded, op.ID)
			if op.Complete-op.Invoke != int64(100*time.Millisecond) || op.Invoke < began {
				t.Errorf("%s: from %d to %d", op.ID, op.Invoke, op.Complete)
			}
		}
		for _, x := range h.observed {
			if op, ok := x.(*history.Operation); ok {
				observed = append(observed, op.ID)
			}
		}
		if len(recorded) < 19 || recorded[18] != "f1.18" || !slices.Equal(recorded, observed) {
			t.Errorf("recorded %q, observed %q", recorded, observed)
		}
		for _, in := range loop.inputs {
			if _, ok := in.(runloop.OpDone); ok {
				t.Errorf("the loop was told %+v", in)
			}
		}
		h.cluster.endsHealedAndClosed(t)
	})
}

func TestWithoutReadersNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(phases(false, runloop.PhaseSteady, runloop.PhaseDrain))
		h.clients.read = func(context.Context, []history.TopicInfo, int, func() int64, func(*history.Operation)) {
			t.Error("consumers were started")
		}
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A run that ends without a drain ends its consumers too, records what they give until then, and closes no clients under their hands.
func TestAnEarlyEndStopsConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(phases(true, runloop.PhaseSteady))
		h.o.Readers = 1
		h.clients.read = func(ctx context.Context, _ []history.TopicInfo, _ int, now func() int64, sink func(*history.Operation)) {
			<-ctx.Done()
			time.Sleep(time.Second) // they take a while to end
			if h.clients.closed {
				t.Error("the clients were closed while consumers read")
			}
			sink(&history.Operation{ID: "f1.0", Outcome: history.OK, Consume: &history.ConsumeOp{Topic: "orders"}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := h.run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(h.recorder.ops) != 1 || h.recorder.ops[0].ID != "f1.0" || !h.clients.closed {
			t.Errorf("operations %+v, clients closed: %v", h.recorder.ops, h.clients.closed)
		}
		if h.took > 5*time.Second+interruptedTotal {
			t.Errorf("it took %v", h.took)
		}
		h.cluster.endsHealedAndClosed(t)
	})
}
