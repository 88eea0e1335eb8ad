package runloop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
)

var wholeRun = []string{PhaseStart, PhaseSteady, PhaseFaults, PhaseHeal, PhaseRecover, PhaseDrain}

// TestScenariosReachTheirMinimums runs embedded scenarios to their end against a sound cluster, and wants twice the work that they ask for. Those
// whose faults overlap on purpose, or are drawn, need a cluster that can be in two troubles at once: package campaign runs all of them
// in the simulator.
func TestScenariosReachTheirMinimums(t *testing.T) {
	limits := map[string]time.Duration{"quick": 95 * time.Second, "story": 160 * time.Second, "restart-all": 65 * time.Second, "healthy": 75 * time.Second, "disk": 85 * time.Second}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		t.Run(name, func(t *testing.T) {
			s := resolved(t, name, scenario.Flags{})
			f := newFake(t, s, 1)
			began := f.now
			f.run(10 * time.Minute)
			if took := time.Duration(f.now - began); took > limits[name] {
				t.Errorf("took %s, want at most %s", took, limits[name])
			}
			if diff := cmp.Diff(wholeRun, f.phases); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			checkMinimums(t, f)
			checkWindows(t, f)
			if p, n := f.loop.Problem(), f.loop.Notes(); p != "" || len(n) > 0 {
				t.Errorf("problem %q, notes %q", p, n)
			}
		})
	}
}

func checkMinimums(t *testing.T, f *fake) {
	t.Helper()
	m, st := f.s.Minimums, f.loop.Status()
	auto, long, onLeader := 0, 0, 0
	for _, op := range f.invokes {
		if op.Create != nil && op.Outcome == history.OK {
			auto++
		}
	}
	for _, fault := range f.faults {
		if time.Duration(fault.HealAsked-fault.Effective) > f.s.SessionTimeout+f.s.ElectionInterval && fault.Proven() {
			long++
		}
		if fault.OnRaftLeader {
			onLeader++
		}
	}
	for _, c := range []struct {
		what       string
		seen, want int
	}{
		{"intervals", st.Intervals, m.Intervals},
		{"faults asked", st.FaultsAsked, m.Faults},
		{"faults proven", st.FaultsProven, m.Faults},
		{"long faults", long, m.LongFaults},
		{"faults on the raft leader", onLeader, m.LeaderFaults},
		{"leader changes", int(st.Term) - 1, m.LeaderChanges},
		{"acknowledged records", int(st.Acked), 2 * m.AckedRecords},
		{"metadata operations", int(st.MetaOps), 2 * m.MetaOps},
		{"overlaps", f.overlaps, 2 * m.MetaOverlaps},
		{"auto-created topics", auto, 2 * m.AutoCreated},
	} {
		if c.seen < c.want {
			t.Errorf("%s: %d, want at least %d", c.what, c.seen, c.want)
		}
	}
}

// checkWindows wants every fault long enough, and none to touch another.
func checkWindows(t *testing.T, f *fake) {
	t.Helper()
	var healed int64
	for _, fault := range f.faults {
		least := f.s.SessionTimeout + f.s.ElectionInterval + 200*time.Millisecond
		if fault.OnRaftLeader {
			least = max(least, 3*time.Second)
		}
		if got := time.Duration(fault.HealAsked - fault.Effective); got < least {
			t.Errorf("fault %d lasted %s, want at least %s", fault.ID, got, least)
		}
		if fault.Asked < healed+int64(f.s.ElectionInterval/2) {
			t.Errorf("fault %d came %s after the one before it was healed: no quiet gap", fault.ID, time.Duration(fault.Asked-healed))
		}
		if fault.Error != "" || fault.Healed == 0 {
			t.Errorf("fault %d: error %q, healed %d", fault.ID, fault.Error, fault.Healed)
		}
		healed = fault.Healed
	}
}

func TestQuickChoosesItsTargets(t *testing.T) {
	f := newFake(t, resolved(t, "quick", scenario.Flags{}), 3)
	f.run(5 * time.Minute)
	var got []string
	for _, fault := range f.faults {
		got = append(got, fmt.Sprintf("%s %s leader=%t role=%s clients=%t", fault.Kind, fault.Target, fault.OnRaftLeader, fault.Role, fault.Clients))
	}
	want := []string{
		"kill partition-leader leader=false role=partition-leader clients=false",
		"kill raft-leader leader=true role=raft-leader clients=false",
		"pause raft-leader leader=true role=raft-leader clients=false",
		"partition follower leader=false role=partition-leader clients=false",
		"partition raft-leader leader=true role=raft-leader clients=true",
		"pause follower leader=false role=partition-leader clients=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if first := time.Duration(f.faults[0].Asked - f.loop.loadFrom); first < 6600*time.Millisecond {
		t.Errorf("the first fault came after %s, before 3.3 intervals", first)
	}
}

func TestSameInputsSameActions(t *testing.T) {
	trace := func(seed uint64) []string {
		f := newFake(t, resolved(t, "quick", scenario.Flags{Intervals: 12}), seed)
		f.run(5 * time.Minute)
		return f.trace
	}
	a, b := trace(5), trace(5)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("two runs of one seed differ:\n%s", diff)
	}
	if slices.Equal(a, trace(6)) {
		t.Error("another seed made the same choices throughout")
	}
}

// TestDrainReadsAfterTheLastAnswer: what is under way when the load stops is waited for before the drain reads.
func TestDrainReadsAfterTheLastAnswer(t *testing.T) {
	f := newFake(t, resolved(t, "quick", scenario.Flags{Intervals: 10}), 1)
	f.slow = 400 * ms
	f.run(5 * time.Minute)
	var lastAnswer, firstRead int64
	ends := map[string]bool{}
	for _, op := range f.invokes {
		switch {
		case op.Produce != nil:
			lastAnswer = max(lastAnswer, op.Complete)
		case op.Drain != nil:
			if firstRead == 0 {
				firstRead = op.Invoke
			}
			if op.Drain.End {
				ends[fmt.Sprintf("%s-%d@%d", op.Drain.Topic, op.Drain.Partition, op.Drain.Replica)] = true
			}
		}
	}
	if firstRead < lastAnswer {
		t.Errorf("the drain began %s before the last answer", time.Duration(lastAnswer-firstRead))
	}
	if want := 12 * 3; len(ends) != want {
		t.Errorf("%d replicas read to their end, want %d", len(ends), want)
	}
}

func TestDurationEndsTheRun(t *testing.T) {
	for _, c := range []struct {
		scenario string
		phases   []string
	}{
		{"quick", wholeRun},
		// Of 12 s intervals only one passes: never past the quiet ones, so no faults phase.
		{"story", []string{PhaseStart, PhaseSteady, PhaseHeal, PhaseRecover, PhaseDrain}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			s := resolved(t, c.scenario, scenario.Flags{Duration: 15 * time.Second})
			f := newFake(t, s, 1)
			f.run(time.Minute)
			if diff := cmp.Diff(c.phases, f.phases); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			if load := time.Duration(phase(f, PhaseHeal).Start - phase(f, PhaseSteady).Start); load != 15*time.Second {
				t.Errorf("load ended after %s, want 15s", load)
			}
			if st := f.loop.Status(); st.Intervals >= s.Minimums.Intervals || s.Minimums.Intervals < 10 {
				t.Errorf("%d intervals of %d: 15 s must not be enough", st.Intervals, s.Minimums.Intervals)
			}
			for _, fault := range f.faults {
				if fault.Proven() && fault.Healed == 0 {
					t.Errorf("fault %d was left in place", fault.ID)
				}
			}
		})
	}
}

func phase(f *fake, name string) history.Phase {
	for _, p := range f.loop.Phases() {
		if p.Name == name {
			return p
		}
	}
	f.t.Fatalf("no phase %s in %v", name, f.loop.Phases())
	return history.Phase{}
}

// TestIntervalsThatNeverCome: without an election service the run ends at 2N + 10 intervals, with the schedule recorded as missed.
func TestIntervalsThatNeverCome(t *testing.T) {
	s := resolved(t, "quick", scenario.Flags{Intervals: 10})
	f := newFake(t, s, 1)
	f.silent = true
	f.run(5 * time.Minute)
	if load := time.Duration(phase(f, PhaseHeal).Start - phase(f, PhaseSteady).Start); load != 30*s.ElectionInterval {
		t.Errorf("load ended after %s, want 30 intervals", load)
	}
	if len(f.faults) != 3 {
		t.Fatalf("%d faults recorded, want the 3 that were due", len(f.faults))
	}
	for _, fault := range f.faults {
		if fault.Proven() || fault.Asked != 0 || !strings.Contains(fault.Error, "never injected: only 0 of 10 intervals") {
			t.Errorf("fault %d: %+v", fault.ID, fault)
		}
	}
}

// TestAScheduleIsBehind: an engine that takes its time makes the run longer and loses no fault; one that takes too long does not hold it for ever.
func TestAScheduleIsBehind(t *testing.T) {
	s := resolved(t, "quick", scenario.Flags{Intervals: 10})
	var faults []scenario.Fault
	for i := range 14 {
		fault := s.Faults[2]
		fault.Kind, fault.Target, fault.For, fault.Brief = chaos.Pause, scenario.TargetFollower, scenario.Span{Fixed: 700 * time.Millisecond}, true
		fault.At = scenario.Span{Fixed: 2*time.Second + time.Duration(i)*1500*time.Millisecond}
		faults = append(faults, fault)
	}
	s = s.WithFaults(faults)
	for engine, want := range map[int64]int{0: 14, 1500 * ms: 14, 12_000 * ms: 10} {
		f := newFake(t, s, 1)
		f.engine = engine
		f.run(5 * time.Minute)
		injected := 0
		for _, fault := range f.faults {
			if fault.Proven() {
				injected++
			} else if !strings.Contains(fault.Error, "never injected: the faults of the schedule were not over after") {
				t.Errorf("an engine slower by %s: fault %d: %q", time.Duration(engine), fault.ID, fault.Error)
			}
		}
		load := time.Duration(phase(f, PhaseHeal).Start - phase(f, PhaseSteady).Start)
		if injected != want || load > s.ScheduleLength()+220*time.Second {
			t.Errorf("an engine slower by %s: %d faults injected in %s, want %d", time.Duration(engine), injected, load, want)
		}
	}
}

func TestStartThatFails(t *testing.T) {
	t.Run("cluster", func(t *testing.T) {
		l, err := New(Config{Scenario: resolved(t, "quick", scenario.Flags{}), Start: 1})
		if err != nil {
			t.Fatal(err)
		}
		l.Step(2, ClusterStarted{Err: errInjected})
		actions := l.Actions()
		if _, ok := actions[len(actions)-1].(Finished); !ok || !strings.Contains(l.Problem(), errInjected.Error()) {
			t.Errorf("actions %v, problem %q", actions, l.Problem())
		}
		l.Step(3, Tick{})
		if more := l.Actions(); len(more) > 0 {
			t.Errorf("after Finished came %v", more)
		}
	})
	for _, c := range []struct {
		name, want string
		deaf       func(*history.Operation) bool
	}{
		{"node", "no answer from n2", func(op *history.Operation) bool { return op.Node == 2 }},
		{"topics", "the record topics are not there: create of orders at n", func(op *history.Operation) bool { return op.Meta.Kind == history.MetaCreate }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, resolved(t, "quick", scenario.Flags{}), 1)
			f.deaf = func(_ int64, op *history.Operation) bool { return c.deaf(op) }
			began := f.now
			f.run(2 * time.Minute)
			if !strings.Contains(f.loop.Problem(), c.want) {
				t.Errorf("problem %q, want %q in it", f.loop.Problem(), c.want)
			}
			if took := time.Duration(f.now - began); took < 60*time.Second || took > 61*time.Second {
				t.Errorf("gave up after %s, want 60 s after the cluster ran", took)
			}
		})
	}
}

func TestCreationIsRetriedAtAnotherNode(t *testing.T) {
	f := newFake(t, resolved(t, "quick", scenario.Flags{Intervals: 10}), 1)
	var asked []int32
	f.deaf = func(_ int64, op *history.Operation) bool {
		if op.Meta == nil || op.Meta.Kind != history.MetaCreate || op.Meta.Owner != ownerSetup {
			return false
		}
		asked = append(asked, op.Node)
		return len(asked) < 3
	}
	f.run(2 * time.Minute)
	if len(asked) != 4 || asked[0] == asked[1] || asked[1] == asked[2] {
		t.Errorf("topics were created at %v, want the first tried at three nodes", asked)
	}
	if diff := cmp.Diff(wholeRun, f.phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func TestEndNowInEachPhase(t *testing.T) {
	for _, at := range wholeRun {
		t.Run(at, func(t *testing.T) {
			f := newFake(t, resolved(t, "quick", scenario.Flags{Intervals: 10}), 1)
			asked, drained := int64(0), 0
			f.at = func(now int64, f *fake) {
				st := f.loop.Status()
				// In the faults phase wait for one to be in effect, so that there is something to heal.
				ready := st.Phase == at && (at != PhaseFaults || st.FaultsProven == 1) && (at != PhaseRecover || f.loop.entered < now)
				if asked == 0 && (ready || at == PhaseHeal && st.Phase == PhaseRecover) {
					asked = now
					for _, op := range f.invokes {
						if op.Drain != nil {
							drained++
						}
					}
					f.step(EndNow{Reason: "a violation"})
				}
			}
			f.run(5 * time.Minute)
			if asked == 0 {
				t.Fatal("the phase never came")
			}
			if took := time.Duration(f.now - asked); took > time.Second {
				t.Errorf("finished %s after EndNow", took)
			}
			if len(f.hit) > 0 {
				t.Errorf("still broken: %v", f.hit)
			}
			reads := 0
			for _, op := range f.invokes {
				if op.Drain != nil {
					reads++
				}
			}
			if reads != drained {
				t.Errorf("%d pieces were read after EndNow", reads-drained)
			}
			if f.finished != 1 {
				t.Errorf("finished %d times", f.finished)
			}
			if at == PhaseFaults && (len(f.faults) != 1 || f.faults[0].Healed == 0) {
				t.Errorf("faults recorded: %+v", f.faults)
			}
		})
	}
}

func TestFailedInjectionIsHealedAndRecordedWithoutEffect(t *testing.T) {
	f := newFake(t, resolved(t, "quick", scenario.Flags{}), 1)
	f.injectErr = func(s chaos.Spec) error {
		if s.Kind == chaos.Pause {
			return errInjected
		}
		return nil
	}
	f.run(5 * time.Minute)
	if st := f.loop.Status(); st.FaultsAsked != 6 || st.FaultsProven != 4 {
		t.Errorf("%d asked, %d proven, want 6 and 4", st.FaultsAsked, st.FaultsProven)
	}
	for _, fault := range f.faults {
		failed := fault.Kind == chaos.Pause
		if failed != (fault.Error != "") || failed == fault.Proven() || fault.HealAsked == 0 {
			t.Errorf("fault %d (%s): %+v", fault.ID, fault.Kind, fault)
		}
	}
}

func TestNoEvidenceNoEffect(t *testing.T) {
	f := newFake(t, resolved(t, "quick", scenario.Flags{Intervals: 10}), 1)
	f.noEvid = true
	f.run(5 * time.Minute)
	for _, fault := range f.faults {
		if fault.Proven() || !strings.Contains(fault.Error, "no evidence") {
			t.Errorf("fault %d counts without evidence: %+v", fault.ID, fault)
		}
	}
}

// What went wrong stays on record, also where a later try heals.
func TestHealingIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		failures int
		healed   bool
	}{{2, true}, {100, false}} {
		f := newFake(t, resolved(t, "story", scenario.Flags{}), 1)
		left := c.failures
		f.healErr = func(id int) error {
			if id == 2 && left > 0 {
				left--
				return errInjected
			}
			return nil
		}
		f.run(10 * time.Minute)
		last := f.faults[len(f.faults)-1]
		if last.ID != 2 || (last.Healed != 0) != c.healed || !strings.HasPrefix(last.Error, "healing it, try 1: "+errInjected.Error()) {
			t.Errorf("after %d failures: %+v", c.failures, last)
		}
	}
}
