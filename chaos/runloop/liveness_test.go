package runloop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"soak/chaos/scenario"
	"soak/history"
)

func withCore(t *testing.T, core []int32, others string) *scenario.Scenario {
	s := short(t, "  - {kind: pause, target: follower, at: 3}\n")
	s.Liveness = scenario.Liveness{Core: core, Others: others}
	return s
}

// TestACoreServes: the others are broken from before the healing of all else until the core has served, and the run goes on as any other.
func TestACoreServes(t *testing.T) {
	for _, others := range []string{"kill", "pause", "partition"} {
		f := newFake(t, withCore(t, []int32{2, 3}, others), 1)
		f.run(5 * time.Minute)
		r := f.loop.Liveness()
		if r == nil || r.Served == 0 || len(r.Missing) > 0 || !slices.Equal(r.Core, []int32{2, 3}) || r.Others != others {
			t.Fatalf("%s: %+v", others, r)
		}
		if !slices.Equal(f.phases, []string{"start", "steady", "faults", "liveness", "heal", "recover", "drain"}) {
			t.Errorf("phases %v", f.phases)
		}
		last := f.faults[len(f.faults)-1]
		if last.Kind != others || last.Trigger != "liveness" || !slices.Equal(last.Nodes, []int32{1}) || last.Effective == 0 || last.Effective > r.From || last.HealAsked < r.Served || last.Healed == 0 {
			t.Errorf("%s: the others' fault is %+v, and the core served from %d to %d", others, last, r.From, r.Served)
		}
		if last.Clients != (others == "partition") {
			t.Errorf("%s: clients cut off: %t", others, last.Clients)
		}
		wrote := map[int32]bool{}
		for _, op := range f.invokes {
			if op.Client == coreClient && op.Produce != nil && op.Outcome == history.OK && op.Invoke >= r.From && op.Complete <= r.Served {
				wrote[op.Produce.Partition] = true
			}
		}
		if len(wrote) != 3 {
			t.Errorf("%s: partitions written to: %v", others, wrote)
		}
		if x := f.loop.Executed(); len(x.Faults) != 1 || !x.Liveness.On() {
			t.Errorf("the executed schedule has %d faults, liveness %+v", len(x.Faults), x.Liveness)
		}
		if f.loop.Unrecovered() != "" {
			t.Error(f.loop.Unrecovered())
		}
	}
}

// TestACoreThatDoesNotServeIsNamed, with what was missing.
func TestACoreThatDoesNotServeIsNamed(t *testing.T) {
	inPhase := func(f *fake) bool { return f.loop.Status().Phase == PhaseLiveness }
	for name, c := range map[string]struct {
		broken func(f *fake, op *history.Operation) bool
		want   string
	}{
		"no write": {func(_ *fake, op *history.Operation) bool { return op.Produce != nil && op.Produce.Partition == 1 }, "no write to orders-1 was acknowledged: deaf"},
		"no answer": {func(_ *fake, op *history.Operation) bool {
			return op.Meta != nil && op.Meta.Owner == ownerReady && op.Node == 3
		}, "no answer from n3"},
		"no metadata": {func(_ *fake, op *history.Operation) bool { return op.Meta != nil && op.Meta.Owner == ownerCore }, "no change of metadata was completed: deaf"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, withCore(t, []int32{2, 3}, "kill"), 1)
			f.deaf = func(_ int64, op *history.Operation) bool { return inPhase(f) && c.broken(f, op) }
			f.run(5 * time.Minute)
			r := f.loop.Liveness()
			if r.Served != 0 || !slices.Equal(r.Missing, []string{c.want}) {
				t.Errorf("it served at %d, and lacked %q; want %q", r.Served, r.Missing, c.want)
			}
			if bound := r.From + r.Bound; f.faults[len(f.faults)-1].HealAsked < bound {
				t.Errorf("it was given up before its bound was over")
			}
		})
	}
}

// TestWhatACoreCannotPromiseIsExempt: a partition that needs more replicas than the core has.
func TestWhatACoreCannotPromiseIsExempt(t *testing.T) {
	s := withCore(t, []int32{1, 3}, "kill")
	s.Topics[0].MinInsyncReplicas = 3
	f := newFake(t, s, 1)
	f.run(5 * time.Minute)
	r := f.loop.Liveness()
	if r.Served == 0 || len(r.Exempt) != 3 || !strings.Contains(r.Exempt[0], "orders-0 needs 3 replicas in the ISR, and the core has 2") {
		t.Errorf("%+v", r)
	}
}

// TestOthersThatCannotBeBroken: the core is not tried, and the fault's record says why.
func TestOthersThatCannotBeBroken(t *testing.T) {
	f := newFake(t, withCore(t, []int32{1, 3}, "kill"), 1)
	f.noEvid = true
	f.run(5 * time.Minute)
	if r := f.loop.Liveness(); r.From != 0 || r.Served != 0 || len(r.Missing) > 0 {
		t.Errorf("%+v", r)
	}
	if last := f.faults[len(f.faults)-1]; last.Proven() || last.Error == "" {
		t.Errorf("%+v", last)
	}
}
