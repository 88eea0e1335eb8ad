package runloop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"soak/history"
)

// byKind finds a recorded fault.
func byKind(t *testing.T, faults []history.Fault, kind string) history.Fault {
	t.Helper()
	i := slices.IndexFunc(faults, func(f history.Fault) bool { return f.Kind == kind })
	if i < 0 {
		t.Fatalf("no %s in %+v", kind, faults)
	}
	return faults[i]
}

// onTop are faults that are to come while n2 is paused.
const onTop = `
  - {kind: pause, target: n2, at: 6s, for: 4s, brief: true, overlap: true}
  - {kind: kill, target: n2, at: 7s, for: 1s, brief: true, overlap: true}
  - {kind: slow-disk, target: n2, factor: 9, at: 7s, for: 1s, brief: true, overlap: true}
`

// TestASlowDiskWaitsForAFrozenNode: on a real cluster the node itself makes its disk slow, and must be there to be told so.
func TestASlowDiskWaitsForAFrozenNode(t *testing.T) {
	f := newFake(t, short(t, onTop), 1)
	f.run(5 * time.Minute)
	pause, slow := byKind(t, f.faults, "pause"), byKind(t, f.faults, "slow-disk")
	if slow.Asked < pause.Healed {
		t.Errorf("the slow disk came %s before the pause was over", time.Duration(pause.Healed-slow.Asked))
	}
	f = newFake(t, short(t, `
  - {kind: slow-disk, target: n2, factor: 9, at: 6s, for: 4s, brief: true, overlap: true}
  - {kind: pause, target: n2, at: 7s, for: 1s, brief: true, overlap: true}
  - {kind: kill, target: n2, at: 7s, for: 1s, brief: true, overlap: true}
`), 1)
	f.run(5 * time.Minute)
	pause, slow = byKind(t, f.faults, "pause"), byKind(t, f.faults, "slow-disk")
	if pause.Asked < slow.Healed {
		t.Errorf("the pause came %s before the slow disk was over", time.Duration(slow.Healed-pause.Asked))
	}
	if kill := byKind(t, f.faults, "kill"); kill.Asked >= slow.HealAsked {
		t.Error("the kill waited for the slow disk, which a node that has started again is given again")
	}
}

// TestWhatMayComeOnTopOfWhat: a fault that keeps a node from its work waits for another such one to end; a simulated slow disk comes on top of it.
func TestWhatMayComeOnTopOfWhat(t *testing.T) {
	f := newFake(t, short(t, onTop), 1)
	f.loop.c.Simulated = true
	f.run(5 * time.Minute)
	pause, kill, slow := byKind(t, f.faults, "pause"), byKind(t, f.faults, "kill"), byKind(t, f.faults, "slow-disk")
	if slow.Asked >= pause.HealAsked {
		t.Errorf("the slow disk waited %s for the pause to end", time.Duration(slow.Asked-pause.HealAsked))
	}
	if kill.Asked < pause.Healed {
		t.Errorf("the kill came %s before the pause was over", time.Duration(pause.Healed-kill.Asked))
	}
	if lasted := time.Duration(pause.HealAsked - pause.Effective); lasted != 4*time.Second {
		t.Errorf("a pause that is to last 4s lasted %s", lasted)
	}
	if lasted := time.Duration(kill.HealAsked - kill.Effective); lasted != time.Second {
		t.Errorf("a brief kill of 1s lasted %s", lasted)
	}
	if got := f.specs[slow.ID].Factor; got != 9 {
		t.Errorf("the driver was told factor %d", got)
	}
}

// TestSeveralNodesAtOnce: of the nodes named, those are hit that can be; a bridge needs both.
func TestSeveralNodesAtOnce(t *testing.T) {
	f := newFake(t, short(t, `
  - {kind: kill, target: n2, at: 6s, for: 5s, brief: true, overlap: true}
  - {kind: power-loss, target: n1+n2, at: 7s, for: 1s, brief: true, overlap: true}
  - {kind: bridge, target: n2+n3, at: 7s, for: 1s, brief: true, overlap: true}
`), 1)
	f.run(5 * time.Minute)
	power, bridge, kill := byKind(t, f.faults, "power-loss"), byKind(t, f.faults, "bridge"), byKind(t, f.faults, "kill")
	if !slices.Equal(power.Nodes, []int32{1}) {
		t.Errorf("power was lost on %v: n2 was down", power.Nodes)
	}
	if !slices.Equal(bridge.Nodes, []int32{2, 3}) || bridge.Asked < kill.Healed {
		t.Errorf("the bridge is between %v, asked %s after n2 was up again", bridge.Nodes, time.Duration(bridge.Asked-kill.Healed))
	}
}

// TestAClusterThatStaysBrokenIsNamed: what is not whole at the end of the recover phase is told, and only then.
func TestAClusterThatStaysBrokenIsNamed(t *testing.T) {
	for _, broken := range []bool{false, true} {
		f := newFake(t, short(t, "  - {kind: pause, target: follower, at: 3}\n"), 1)
		f.deaf = func(_ int64, op *history.Operation) bool {
			return broken && f.loop.Status().Phase == PhaseRecover && op.Meta != nil && op.Node == 2
		}
		f.run(5 * time.Minute)
		if got := f.loop.Unrecovered(); strings.Contains(got, "no answer from n2") != broken || (got == "") == broken {
			t.Errorf("broken: %t; it says %q", broken, got)
		}
	}
}

// TestACrashedClientAsksForNothing: while it is down, and then goes on as another incarnation; one crash waits for another of the same client.
func TestACrashedClientAsksForNothing(t *testing.T) {
	f := newFake(t, short(t, `
  - {kind: client-crash, target: produce-1, at: 6s, for: 3s, brief: true, overlap: true}
  - {kind: client-crash, target: clients, at: 7s, for: 1s, brief: true, overlap: true}
`), 1)
	f.run(5 * time.Minute)
	if len(f.faults) != 2 {
		t.Fatalf("%+v", f.faults)
	}
	one, all := f.faults[0], f.faults[1]
	if one.Target != "produce-1" || len(one.Nodes) > 0 || !one.Proven() || !all.Proven() || all.Asked < one.Healed {
		t.Errorf("the crash of all came before that of one was over: %+v, %+v", one, all)
	}
	if f.specs[1].Client != "produce-1" || f.specs[2].Client != "clients" {
		t.Errorf("the driver was told %+v", f.specs)
	}
	incarnations := map[uint32]int{}
	for _, op := range f.invokes {
		down := op.Client == "produce-1" && op.Invoke > one.Effective && op.Invoke < one.Healed ||
			op.Client != "" && (op.Produce != nil || op.Create != nil) && op.Invoke > all.Effective && op.Invoke < all.Healed
		if down {
			t.Errorf("%s of %s was asked for while it was down", op.ID, op.Client)
		}
		if op.Client == "produce-1" {
			incarnations[op.Produce.Incarnation]++
		}
	}
	if len(incarnations) != 3 || incarnations[3] == 0 {
		t.Errorf("operations by incarnation: %v", incarnations)
	}
}
