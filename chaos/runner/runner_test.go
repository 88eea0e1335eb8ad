package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
	"soak/chaos/runloop"
	"soak/chaos/scenario"
	"soak/history"
)

func produce(id string, count int32) *history.Operation {
	return &history.Operation{ID: id, Produce: &history.ProduceOp{Topic: "orders", Count: count}}
}

func TestRunFromStartToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loop *script
		var h *harness
		var fault history.Fault
		var healAt int64
		loop = newScript(func(now int64, in runloop.Input) {
			switch in := in.(type) {
			case runloop.ClusterStarted:
				if in.Err != nil {
					t.Errorf("cluster started with %v", in.Err)
				}
				op := produce("p1", 5)
				op.Invoke = now
				loop.do(runloop.EnterPhase{Name: "steady"}, runloop.Invoke{Op: op})
			case runloop.OpDone:
				loop.do(runloop.Inject{Spec: chaos.Spec{ID: 1, Kind: chaos.Kill, Nodes: []int32{2}}})
			case runloop.FaultInjected:
				fault = history.Fault{ID: 1, Kind: chaos.Kill, Evidence: in.Evidence, Effective: now}
				healAt = now + int64(3500*time.Millisecond)
				loop.wakeIn(3500 * time.Millisecond)
			case runloop.Tick:
				if healAt != 0 && now >= healAt {
					healAt = 0
					loop.do(runloop.Heal{ID: 1})
				}
			case runloop.FaultHealed:
				fault.Evidence = append(fault.Evidence, in.Evidence...)
				fault.Healed = now
				loop.do(runloop.Record{Fault: fault}, runloop.Finished{})
			}
		})
		h = newHarness(loop)
		h.clients.do = func(_ context.Context, op *history.Operation) {
			time.Sleep(40 * time.Millisecond)
			op.Outcome = history.OK
		}
		h.cluster.inject = func(context.Context, chaos.Spec) ([]history.Evidence, error) {
			h.cluster.sink.Event(history.Event{Node: 2, Boot: 4, Seq: 9, Time: 77, Body: &history.Started{}})
			h.cluster.sink.Event(history.Event{Body: &history.Exit{Of: 2, Asked: true}})
			h.cluster.sink.Stats(history.NodeMetric{Node: 3, Memory: 1000})
			return evidence("during"), nil
		}
		h.cluster.close = func(context.Context) error {
			h.cluster.sink.Event(history.Event{Body: &history.Exit{Of: 1, Asked: true}})
			return nil
		}
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}

		if want := []string{"start", "inject 1 kill", "probe 1", "probe 1", "probe 1", "probe 1", "heal 1", "heal all", "close"}; !slices.Equal(h.cluster.calls, want) {
			t.Errorf("the cluster was asked %q, want %q", h.cluster.calls, want)
		}
		if !h.clients.closed {
			t.Error("the clients were not closed")
		}
		op := h.recorder.ops[0]
		if d := time.Duration(op.Complete - op.Invoke); d != 40*time.Millisecond || op.Outcome != history.OK {
			t.Errorf("the operation took %v and is %q, want 40ms and ok", d, op.Outcome)
		}
		// A node's event as it came; the driver's observations in the runner's own boot, also those made while closing.
		var events []string
		for _, e := range h.recorder.events {
			if e.Time == 0 {
				t.Errorf("event %+v has no time", e)
			}
			events = append(events, fmt.Sprintf("%d/%d/%d %s", e.Node, e.Boot, e.Seq, e.Body.Kind()))
		}
		if want := []string{"2/4/9 started", "0/1/1 exit", "0/1/2 exit"}; !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
		if got := h.recorder.faults; len(got) != 1 || len(got[0].Evidence) != 6 || got[0].Evidence[0].What != "during" ||
			got[0].Evidence[4].What != "probed" || got[0].Evidence[5].What != "after" || got[0].Lapsed != 0 || got[0].Error != "" {
			t.Errorf("faults %+v; want one with its own evidence and four probes in between, the last before the healing", got)
		}
		if n := len(h.recorder.metrics); n != 4 {
			t.Fatalf("%d metrics in 3.54 s, want 3 and one at the end", n)
		}
		m := h.recorder.metrics[0]
		want := history.Metric{
			Time: m.Time, Interval: int64(time.Second), Acked: 5,
			LatencyP50: 40e6, LatencyP99: 40e6, LatencyMax: 40e6,
			Nodes:  []history.NodeMetric{{Node: 1}, {Node: 2}, {Node: 3, Up: true, Memory: 1000}},
			Runner: m.Runner,
		}
		if m.Runner == nil || m.Runner.Goroutines == 0 || m.Runner.Memory == 0 {
			t.Errorf("the runner takes %+v; want what it measured of itself", m.Runner)
		}
		if d := cmp.Diff(want, m); d != "" {
			t.Errorf("first metric (-want +got):\n%s", d)
		}
		if last := h.recorder.metrics[3]; last.Acked != 0 || last.Nodes[2].Up {
			t.Errorf("last metric %+v; want nothing acknowledged, and n3 down for want of a measurement", last)
		}
		// What is recorded is observed.
		seen := map[string]int{}
		for _, x := range h.observed {
			seen[fmt.Sprintf("%T", x)]++
		}
		if d := cmp.Diff(map[string]int{"*history.Event": 3, "*history.Operation": 1, "*history.Fault": 1, "*history.Metric": 4}, seen); d != "" {
			t.Errorf("observed (-want +got):\n%s", d)
		}
		if r := h.o.Run; len(r.Phases) != 1 || len(r.RecordTopics) != 1 || !slices.Equal(r.Notes, []string{"a note of the loop"}) || r.HarnessError != "" {
			t.Errorf("the run says %+v", r)
		}
		if h.recorder.flushes < 4 {
			t.Errorf("flushed %d times, want each second and at the end", h.recorder.flushes)
		}
	})
}

func TestStatusIsToldFourTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loop *script
		loop = newScript(func(_ int64, in runloop.Input) {
			switch in.(type) {
			case runloop.ClusterStarted:
				loop.wakeIn(2100 * time.Millisecond)
			case runloop.Tick:
				if len(loop.inputs) > 0 {
					loop.do(runloop.Finished{})
				}
			}
		})
		h := newHarness(loop)
		n := 0
		h.o.Status = func(s runloop.Status) {
			if n++; s.Phase != "scripted" {
				t.Errorf("status %+v", s)
			}
		}
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n != 9 {
			t.Errorf("status told %d times in 2.1 s, want 8 and once at the end", n)
		}
	})
}

// untilEnd finishes when it is asked to end, and never else.
func untilEnd(reason *string) *script {
	var loop *script
	loop = newScript(func(_ int64, in runloop.Input) {
		if in, ok := in.(runloop.EndNow); ok {
			*reason += in.Reason
			loop.do(runloop.Finished{})
		}
	})
	return loop
}

func TestEndIsAskedForWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason string
		h := newHarness(untilEnd(&reason))
		end := make(chan string, 1)
		h.o.End = end
		time.AfterFunc(time.Second, func() { end <- "a violation was found" })
		if err := h.run(t.Context()); err != nil || reason != "a violation was found" {
			t.Errorf("ended by %q, %v", reason, err)
		}
		h.cluster.endsHealedAndClosed(t)
	})
}

// What is known of a run is there to be written down as soon as it is known: a runner may be killed.
func TestEachPhaseIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason string
		h := newHarness(untilEnd(&reason))
		saved := 0
		h.o.Save = func() {
			saved++
			if len(h.o.Run.Phases) == 0 || len(h.o.Run.RecordTopics) == 0 {
				t.Errorf("saved without what it is: %+v", h.o.Run)
			}
		}
		end := make(chan string, 1)
		h.o.End = end
		time.AfterFunc(time.Second, func() { end <- "enough" })
		if err := h.run(t.Context()); err != nil || saved != 1 {
			t.Errorf("saved %d times in one phase, %v", saved, err)
		}
	})
}

func TestOthersSteerTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loop *script
		loop = newScript(func(_ int64, in runloop.Input) {
			if _, is := in.(runloop.Conclude); is {
				loop.do(runloop.Finished{})
			}
		})
		h := newHarness(loop)
		steer := make(chan runloop.Input)
		h.o.Inputs = steer
		go func() {
			steer <- runloop.Mend{ID: 7}
			steer <- runloop.Conclude{}
		}()
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(loop.inputs, runloop.Input(runloop.Mend{ID: 7})) {
			t.Errorf("the loop was told %v", loop.inputs)
		}
		h.cluster.endsHealedAndClosed(t)
	})
}

func TestAFullDiskEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason string
		h := newHarness(untilEnd(&reason))
		full := errors.New("recording to history.jsonl: no space left on device")
		h.recorder.err = full
		err := h.run(t.Context())
		if !errors.Is(err, full) || strings.Count(err.Error(), "no space left") != 1 {
			t.Errorf("error %v, want the recorder's, once", err)
		}
		if h.o.Run.HarnessError == "" || reason == "" || h.took > 2*time.Second {
			t.Errorf("harness error %q, the loop was told %q, after %v", h.o.Run.HarnessError, reason, h.took)
		}
		h.cluster.endsHealedAndClosed(t)
	})
}

// TestAFullDiskIsNoCrash: nodes that cannot write their logs end, before or after the runner finds the same. That the harness failed is
// what is told; an end while the record is sound is told as ever.
func TestAFullDiskIsNoCrash(t *testing.T) {
	full := errors.New("recording to events.jsonl: no space left on device")
	for _, c := range []struct {
		name   string
		fullAt time.Duration // 0: never
		exitAt time.Duration
		crash  bool
	}{
		{"sound", 0, 1500 * time.Millisecond, true},
		{"sound, at the very end", 0, 3200 * time.Millisecond, true},
		{"full before", 1400 * time.Millisecond, 1500 * time.Millisecond, false},
		{"full, and found after", 1600 * time.Millisecond, 1500 * time.Millisecond, false},
		{"full long after", 2500 * time.Millisecond, 1500 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reason string
				h := newHarness(untilEnd(&reason))
				begin := time.Now()
				h.recorder.failing = func() error {
					if c.fullAt != 0 && time.Since(begin) >= c.fullAt {
						return full
					}
					return nil
				}
				time.AfterFunc(c.exitAt, func() {
					h.cluster.sink.Event(history.Event{Body: &history.LogLine{Of: 2, What: "fatal"}})
					h.cluster.sink.Event(history.Event{Body: &history.Exit{Of: 2, Code: 1}})
				})
				end := make(chan string, 1)
				h.o.End = end
				time.AfterFunc(3300*time.Millisecond, func() { end <- "enough" })
				err := h.run(t.Context())
				if wantErr := c.fullAt != 0; errors.Is(err, full) != wantErr || !wantErr && err != nil {
					t.Errorf("error %v", err)
				}
				seen := 0
				for i, e := range h.recorder.events {
					seen += map[string]int{"exit": 1, "log_line": 1}[e.Body.Kind()]
					if e.Seq != uint64(i+1) {
						t.Errorf("event %d has the number %d", i+1, e.Seq)
					}
				}
				want := 0
				if c.crash {
					want = 2
				}
				observed := 0
				for _, x := range h.observed {
					if e, ok := x.(*history.Event); ok && crash(e) {
						observed++
					}
				}
				if seen != want || observed != want {
					t.Errorf("%d were recorded and %d observed, want %d", seen, observed, want)
				}
				if noted := strings.Count(strings.Join(h.o.Run.Notes, "\n"), "not held against it"); noted != 2-want {
					t.Errorf("notes %q", h.o.Run.Notes)
				}
				h.cluster.endsHealedAndClosed(t)
			})
		})
	}
}

func TestInterruptHealsClosesAndLeavesInSevenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The worst case: a loop that never finishes, operations and a fault under way, and a driver that takes all the time it is given.
		var loop *script
		loop = newScript(func(now int64, in runloop.Input) {
			if _, ok := in.(runloop.ClusterStarted); ok {
				loop.do(runloop.Invoke{Op: produce("p1", 1)}, runloop.Inject{Spec: chaos.Spec{ID: 3, Kind: chaos.Pause}})
				loop.active = []history.Fault{{ID: 3, Kind: chaos.Pause, Asked: now}}
			}
		})
		h := newHarness(loop)
		h.clients.do = func(ctx context.Context, op *history.Operation) {
			<-ctx.Done()
			op.Outcome = history.Unknown
		}
		untilDone := func(ctx context.Context) error { <-ctx.Done(); return nil }
		h.cluster.inject = func(ctx context.Context, _ chaos.Spec) ([]history.Evidence, error) { return nil, untilDone(ctx) }
		h.cluster.healAll, h.cluster.close = untilDone, untilDone
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.run(ctx); err != nil {
			t.Errorf("an interrupt is no error of the harness: %v", err)
		}
		if d := h.took - 10*time.Second; d > interruptedTotal {
			t.Errorf("it took %v from the interrupt", d)
		}
		h.cluster.endsHealedAndClosed(t)
		if len(h.recorder.ops) != 1 || h.recorder.ops[0].Outcome != history.Unknown {
			t.Errorf("operations %+v; want the one in flight, unknown", h.recorder.ops)
		}
		if len(h.recorder.faults) != 1 || !strings.Contains(h.recorder.faults[0].Error, "the run ended first") {
			t.Errorf("faults %+v; want the one under way, saying that the run ended first", h.recorder.faults)
		}
	})
}

func TestAnInterruptDuringStartCutsItShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason string
		h := newHarness(untilEnd(&reason))
		h.cluster.start = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.run(ctx); err != nil {
			t.Errorf("the cut start counts as an error: %v", err)
		}
		h.cluster.endsHealedAndClosed(t)
	})
}

func TestWhatCannotBeStartedIsSaidAndClosed(t *testing.T) {
	broken := errors.New("port 1 is taken")
	for name, tc := range map[string]struct {
		set  func(*harness)
		want string
	}{
		"start": {func(h *harness) { h.cluster.start = func(context.Context) error { return broken } }, "starting the cluster"},
		"clients": {func(h *harness) {
			h.o.NewClients = func(func(int32) string) (Clients, error) { return nil, broken }
		}, "making clients"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := scenario.Load("quick")
				if err != nil {
					t.Fatal(err)
				}
				if s, err = s.Resolve(scenario.Flags{}); err != nil {
					t.Fatal(err)
				}
				loop, err := runloop.New(runloop.Config{Scenario: s, Seed: 1, Start: time.Now().UnixNano()})
				if err != nil {
					t.Fatal(err)
				}
				h := newHarness(nil)
				h.o.Loop = loop // the real one: it must end on this by itself
				tc.set(h)
				err = h.run(t.Context())
				if !errors.Is(err, broken) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q in it", err, tc.want)
				}
				h.cluster.endsHealedAndClosed(t)
			})
		})
	}
	t.Run("cluster", func(t *testing.T) {
		h := newHarness(newScript(nil))
		h.o.NewCluster = func(chaos.Sink) (chaos.Cluster, error) { return nil, broken }
		if err := h.run(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "preparing the cluster") {
			t.Errorf("error %v", err)
		}
	})
}

func TestWhatIsLeftBehindIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loop *script
		loop = newScript(func(_ int64, in runloop.Input) {
			if _, ok := in.(runloop.ClusterStarted); ok {
				loop.do(runloop.Finished{})
			}
		})
		h := newHarness(loop)
		h.cluster.healAll = func(context.Context) error { return errors.New("n2 stays paused") }
		h.cluster.close = func(context.Context) error { return errors.New("container c1 is left") }
		err := h.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "n2 stays paused") || !strings.Contains(err.Error(), "container c1 is left") {
			t.Errorf("error %v, want both", err)
		}
	})
}

func TestProbesThatFailAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loop *script
		loop = newScript(func(now int64, in runloop.Input) {
			switch in := in.(type) {
			case runloop.ClusterStarted:
				loop.do(runloop.Inject{Spec: chaos.Spec{ID: 1, Kind: chaos.Partition}}, runloop.Inject{Spec: chaos.Spec{ID: 2, Kind: chaos.Kill}})
			case runloop.FaultInjected:
				loop.wakeIn(2500 * time.Millisecond)
				if in.ID == 2 && in.Err == nil {
					t.Error("the failed injection has no error")
				}
			case runloop.Tick:
				if len(loop.inputs) == 3 {
					loop.do(runloop.Record{Fault: history.Fault{ID: 1, Kind: "partition", Target: "n1"}}, runloop.Record{Fault: history.Fault{ID: 2}}, runloop.Finished{})
				}
			}
		})
		h := newHarness(loop)
		h.cluster.inject = func(_ context.Context, f chaos.Spec) ([]history.Evidence, error) {
			if f.ID == 2 {
				return nil, errors.New("no evidence was seen")
			}
			return evidence("during"), nil
		}
		h.cluster.probe = func(_ context.Context, id int) ([]history.Evidence, error) { return nil, errors.New("bytes pass") }
		if err := h.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"probing fault 1 (partition on n1): bytes pass", "a note of the loop"}; !slices.Equal(h.o.Run.Notes, want) {
			t.Errorf("notes %q, want %q", h.o.Run.Notes, want)
		}
		if slices.Contains(h.cluster.calls, "probe 2") {
			t.Error("a fault whose injection failed was probed")
		}
	})
}

// A fault that ends by itself is recorded so, with the time when it was last seen, whether a probe each second finds it or the look
// before the healing.
func TestAFaultThatEndedEarlyIsRecordedSo(t *testing.T) {
	for name, c := range map[string]struct{ lapses, seen time.Duration }{
		"while it lasts":   {1500 * time.Millisecond, time.Second},
		"at the very end":  {2200 * time.Millisecond, 2 * time.Second},
		"before any probe": {500 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var loop *script
				var begin, effective int64
				loop = newScript(func(now int64, in runloop.Input) {
					switch in.(type) {
					case runloop.ClusterStarted:
						begin = now
						loop.do(runloop.Inject{Spec: chaos.Spec{ID: 1, Kind: chaos.Pause}})
					case runloop.FaultInjected:
						effective = now
						loop.wakeIn(2500 * time.Millisecond)
					case runloop.Tick:
						if effective != 0 && now >= effective+int64(2500*time.Millisecond) {
							effective = 0
							loop.do(runloop.Heal{ID: 1})
						}
					case runloop.FaultHealed:
						loop.do(runloop.Record{Fault: history.Fault{ID: 1, Effective: begin, HealAsked: now, Error: "said before"}}, runloop.Finished{})
					}
				})
				h := newHarness(loop)
				h.cluster.probe = func(context.Context, int) ([]history.Evidence, error) {
					if now := time.Now().UnixNano(); now >= begin+int64(c.lapses) {
						return nil, fmt.Errorf("n1 goes on: %w", chaos.ErrLapsed)
					}
					return evidence("during"), nil
				}
				if err := h.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				f := h.recorder.faults[0]
				if got := time.Duration(f.Lapsed - begin); got != c.seen || !strings.HasPrefix(f.Error, "said before; it did not last: n1 goes on") {
					t.Errorf("%+v: last seen after %v, want %v, and the reason", f, got, c.seen)
				}
				if len(h.o.Run.Notes) != 1 {
					t.Errorf("notes %q, want the loop's alone: a lapse is the fault's", h.o.Run.Notes)
				}
			})
		})
	}
}

func TestPoolBoundsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := time.Now()
		now := func() int64 { return int64(time.Since(base)) }
		var mu sync.Mutex
		flying, most := 0, 0
		in := newInbox()
		p := newPool(t.Context(), now, func(_ context.Context, op *history.Operation) {
			mu.Lock()
			if op.Produce != nil {
				flying++
				most = max(most, flying)
			}
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			if op.Produce != nil {
				flying--
			}
			mu.Unlock()
			op.Outcome = history.OK
		}, func(d opDone) { in.put(d) })
		const extra = 3
		time.Sleep(time.Millisecond)
		for i := range maxProduceInFlight + extra {
			op := produce(fmt.Sprint(i), 1)
			op.Invoke = now()
			p.start(op)
		}
		meta := &history.Operation{ID: "m", Invoke: now(), Meta: &history.MetaOp{}}
		p.start(meta)
		begun := now()
		var late []opDone
		for n := 0; n < maxProduceInFlight+extra+1; {
			<-in.ready
			for _, x := range in.takeAll() {
				d := x.(opDone)
				p.landed(d.op)
				if d.op.Invoke != begun {
					late = append(late, d)
				}
				n++
			}
		}
		if most != maxProduceInFlight {
			t.Errorf("%d in flight at most, want %d", most, maxProduceInFlight)
		}
		if meta.Complete != begun+int64(time.Second) {
			t.Error("the metadata operation waited for produce operations")
		}
		if len(late) != extra {
			t.Fatalf("%d operations were handed over late, want %d", len(late), extra)
		}
		for _, d := range late {
			if d.op.Invoke != begun+int64(time.Second) || d.intended != begun {
				t.Errorf("handed over at %d, meant for %d; want %d and %d", d.op.Invoke, d.intended, begun+int64(time.Second), begun)
			}
		}
	})
}

func TestStallsAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// The bubble's clock is never late, so the run's clock is made to jump.
		var mu sync.Mutex
		var jump time.Duration
		base := time.Now()
		now := func() int64 {
			mu.Lock()
			defer mu.Unlock()
			return int64(time.Since(base) + jump)
		}
		var got []stalled
		go watchStalls(ctx, now, func(s stalled) { mu.Lock(); got = append(got, s); mu.Unlock() })
		for _, d := range []time.Duration{150 * time.Millisecond, 350 * time.Millisecond} {
			time.Sleep(105 * time.Millisecond)
			mu.Lock()
			jump += d
			mu.Unlock()
		}
		time.Sleep(105 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 1 || got[0] != stalled(350*time.Millisecond) {
			t.Errorf("stalls %v, want the one of 350ms", got)
		}
	})
}

func TestQuantile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, tc := range []struct {
		of      []int64
		percent int
		want    int64
	}{{nil, 50, 0}, {[]int64{7}, 50, 7}, {[]int64{7}, 99, 7}, {hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {[]int64{1, 2, 3}, 50, 2}} {
		if got := quantile(tc.of, tc.percent); got != tc.want {
			t.Errorf("quantile %d of %d values: %d, want %d", tc.percent, len(tc.of), got, tc.want)
		}
	}
}
