package process

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/chaos"
	"soak/history"
)

func TestStopLetsTheNodeEndByItself(t *testing.T) {
	f := start(t)
	e := f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Stop, Nodes: []int32{2}})
	if last := e[len(e)-1]; last.What != "n2 ended by itself after SIGTERM: exit code 0" {
		t.Errorf("evidence %q", last.What)
	}
	if f.answers(2) {
		t.Error("n2 answers after it was stopped")
	}
	f.heal(t, 1)
	if boot := f.node(2).collector.Boot(); boot != 2 || !f.answers(2) {
		t.Errorf("boot %d, answers %v", boot, f.answers(2))
	}
	if got := f.sink.exits(); !slices.Equal(got, []string{`n2 code 0 signal "" asked true`}) {
		t.Errorf("exits %q", got)
	}
}

// A node that does not end on SIGTERM is no evidence of a stop, and comes back all the same.
func TestANodeThatDoesNotStopIsKilledByTheHealing(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Pause, Nodes: []int32{2}}) // a paused one does not hear it
	ctx, cancel := contextOf(f, time.Second)
	defer cancel()
	if _, err := f.Inject(ctx, chaos.Spec{ID: 2, Kind: chaos.Stop, Nodes: []int32{2}}); err == nil || !strings.Contains(err.Error(), "no evidence that n2") {
		t.Errorf("got %v", err)
	}
	if err := f.HealAll(f.ctx); err != nil {
		t.Fatal(err)
	}
	if boot := f.node(2).collector.Boot(); boot != 2 || !f.answers(2) {
		t.Errorf("boot %d, answers %v", boot, f.answers(2))
	}
}

// healCycle expects what a cycle still did, and then evidence of after.
func (f fixture) healCycle(t *testing.T, id int) {
	t.Helper()
	e, err := f.Heal(f.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	after := e[slices.IndexFunc(e, func(e history.Evidence) bool { return e.Phase == "after" }):]
	expectPhases(t, after, "after")
}

func TestRollingRestart(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Rolling, Nodes: []int32{1, 2, 3}, Parameters: chaos.Parameters{Every: time.Hour}})
	f.healCycle(t, 1) // which does not wait for the hours
	for id := int32(1); id <= 3; id++ {
		if boot := f.node(id).collector.Boot(); boot != 2 || !f.answers(id) {
			t.Errorf("n%d: boot %d, answers %v", id, boot, f.answers(id))
		}
	}
	want := []string{`n1 code 0 signal "" asked true`, `n2 code 0 signal "" asked true`, `n3 code 0 signal "" asked true`}
	if got := f.sink.exits(); !slices.Equal(got, want) {
		t.Errorf("exits %q, want %q", got, want)
	}
}

func TestCrashLoop(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.CrashLoop, Nodes: []int32{3}, Parameters: chaos.Parameters{Every: 50 * time.Millisecond}})
	var during []history.Evidence
	for len(during) < 6 {
		e, err := f.Probe(f.ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		during = append(during, e...)
		if err := sleep(f.ctx, lookEvery); err != nil {
			t.Fatalf("%d pieces of evidence: %v", len(during), err)
		}
	}
	f.healCycle(t, 1)
	if boot := f.node(3).collector.Boot(); boot < 4 || !f.answers(3) {
		t.Errorf("boot %d, answers %v", boot, f.answers(3))
	}
	if slices.ContainsFunc(f.sink.exits(), func(x string) bool { return x != `n3 code -1 signal "killed" asked true` }) {
		t.Errorf("exits %q", f.sink.exits())
	}
}

func TestACycleThatCannotGoOnHasLapsed(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.CrashLoop, Nodes: []int32{3}, Parameters: chaos.Parameters{Every: time.Hour}})
	for f.node(3).collector.Boot() != 2 {
		if err := sleep(f.ctx, lookEvery); err != nil {
			t.Fatal("n3 did not come back")
		}
	}
	if _, err := f.Probe(f.ctx, 1); err != nil {
		t.Errorf("while it lasts: %v", err)
	}
	f.fault(1).abandonRestarts()
	if _, err := f.Probe(f.ctx, 1); !errors.Is(err, chaos.ErrLapsed) {
		t.Errorf("after its end: %v", err)
	}
	f.heal(t, 1)
}

func TestHealAllCutsACycleShort(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Rolling, Nodes: []int32{1, 2, 3}, Parameters: chaos.Parameters{Every: time.Hour}})
	if err := f.HealAll(f.ctx); err != nil {
		t.Fatal(err)
	}
	if boot := f.node(3).collector.Boot(); boot != 1 {
		t.Errorf("n3 was restarted: boot %d", boot)
	}
	if !f.answers(1) {
		t.Error("n1 does not answer")
	}
}
