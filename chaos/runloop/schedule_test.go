package runloop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos/scenario"
	"soak/history"
)

// short is a scenario of one topic with a schedule.
func short(t *testing.T, faults string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("short.yaml", []byte(`
election_interval: 2s
session_timeout: 1s
intervals: 12
steady: 2
topics: [{name: orders, partitions: 3}]
workloads:
  produce: {rate: 100}
faults:
`+faults))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTriggers(t *testing.T) {
	for _, c := range []struct {
		name, faults string
		check        func(f *fake, faults []history.Fault) string
	}{
		{"a leader check", "  - {kind: pause, target: follower, at: 3, when: leader_check}\n", func(f *fake, faults []history.Fault) string {
			// The fake's leader is elected 800 ms after launch and checks each interval from then on.
			if since := time.Duration(faults[0].Asked-f.loop.loadFrom) - 3*f.s.ElectionInterval; since <= 0 || since > f.s.ElectionInterval {
				return fmt.Sprintf("fired %s after it was armed", since)
			}
			return ""
		}},
		{"a shrunk ISR, while the fault that shrinks it lasts",
			"  - {kind: pause, target: follower, at: 3, for: 4}\n  - {kind: pause, target: raft-leader, at: 3, when: isr_shrunk, overlap: true}\n",
			func(f *fake, faults []history.Fault) string {
				first, second := faults[0], faults[1]
				if first.ID != 1 { // recorded in the order of their ends
					first, second = second, first
				}
				if second.Asked != first.Effective+int64(f.s.SessionTimeout) {
					return fmt.Sprintf("second asked %s after the first took effect", time.Duration(second.Asked-first.Effective))
				}
				return ""
			}},
		{"a change of leader",
			"  - {kind: kill, target: raft-leader, at: 3, for: 4}\n  - {kind: pause, target: follower, at: 3, when: leader_changed, overlap: true}\n",
			func(f *fake, faults []history.Fault) string {
				first, second := faults[0], faults[1]
				if first.ID != 1 {
					first, second = second, first
				}
				if second.Asked != first.Effective+1200*ms || slices.Equal(first.Nodes, second.Nodes) {
					return fmt.Sprintf("kill on %v, then %s after its effect a pause on %v", first.Nodes, time.Duration(second.Asked-first.Effective), second.Nodes)
				}
				return ""
			}},
		{"one that never comes", "  - {kind: pause, target: follower, at: 3, when: isr_shrunk}\n", func(f *fake, faults []history.Fault) string {
			if faults[0].Asked != 0 || faults[0].Error != "never fired: no isr_shrunk came in 20s" {
				return fmt.Sprintf("%+v", faults[0])
			}
			return ""
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, short(t, c.faults), 1)
			f.run(5 * time.Minute)
			if want := strings.Count(c.faults, "kind"); len(f.faults) != want {
				t.Fatalf("%d faults recorded, want %d: %+v", len(f.faults), want, f.faults)
			}
			if msg := c.check(f, f.faults); msg != "" {
				t.Error(msg)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target, role string
		nodes        []int32
	}{
		{"raft-leader", "raft-leader", []int32{1}},
		{"leader(orders-1)", "partition-leader", []int32{2}},
		{"leader(orders-0)", "raft-leader", []int32{1}},
		{"n3", "partition-leader", []int32{3}},
		{"all", "all", []int32{1, 2, 3}},
	} {
		t.Run(c.target, func(t *testing.T) {
			f := newFake(t, short(t, fmt.Sprintf("  - {kind: pause, target: %s, at: 3}\n", c.target)), 1)
			f.run(5 * time.Minute)
			got := f.faults[0]
			if diff := cmp.Diff(c.nodes, got.Nodes); diff != "" || got.Role != c.role {
				t.Errorf("role %q, nodes (-want +got):\n%s", got.Role, diff)
			}
			if want := slices.Contains(c.nodes, 1); got.OnRaftLeader != want {
				t.Errorf("on the raft leader: %t, want %t", got.OnRaftLeader, want)
			}
		})
	}
}

// TestTargetThatIsNotThere: while one node leads everything there is no partition leader beside the raft leader. The fault waits for
// one, and is recorded as given up if none comes.
func TestTargetThatIsNotThere(t *testing.T) {
	lone := func(f *fake) {
		for _, p := range f.loop.view.order {
			c := *f.epochs[p]
			c.Leader, c.PartitionEpoch = 1, c.PartitionEpoch+1
			f.change(c)
		}
	}
	for _, spread := range []bool{true, false} {
		f := newFake(t, short(t, "  - {kind: kill, target: partition-leader, at: 3}\n"), 1)
		var spreadAt int64
		f.at = func(now int64, f *fake) {
			switch since := now - f.loop.loadFrom; {
			case f.loop.loadFrom == 0:
			case spreadAt == 0 && since > int64(2*f.s.ElectionInterval):
				spreadAt = now
				lone(f)
			case spread && spreadAt > 0 && since > int64(5*f.s.ElectionInterval):
				spreadAt = -now
				f.reassign()
			}
		}
		f.run(5 * time.Minute)
		got := f.faults[0]
		if spread && (got.Asked != -spreadAt || got.OnRaftLeader || !got.Proven()) {
			t.Errorf("asked %s after there was a target: %+v", time.Duration(got.Asked+spreadAt), got)
		}
		if !spread && (got.Asked != 0 || got.Error != "never injected: no node was partition-leader in 10s") {
			t.Errorf("without a target: %+v", got)
		}
	}
}

// TestWaitsForTheClusterToBeWhole: a fault that is due while an ISR is short waits, and comes when it is whole.
func TestWaitsForTheClusterToBeWhole(t *testing.T) {
	for _, mends := range []time.Duration{5 * time.Second, time.Hour} {
		f := newFake(t, short(t, "  - {kind: pause, target: follower, at: 3}\n"), 1)
		short, mended := false, int64(0)
		f.at = func(now int64, f *fake) {
			since := time.Duration(now - f.loop.loadFrom)
			switch {
			case f.loop.loadFrom == 0:
			case !short && since > 5*time.Second:
				short = true
				c := *f.epochs[partition{"orders", 0}]
				c.ISR, c.PartitionEpoch = []int32{1, 2}, c.PartitionEpoch+1
				f.change(c)
			case short && mended == 0 && since > 6*time.Second+mends:
				mended = now
				f.reassign()
			}
		}
		f.run(5 * time.Minute)
		late := time.Duration(f.faults[0].Asked-f.loop.loadFrom) - 6*time.Second
		if want := min(mends, 15*time.Second); late < want || late > want+20*time.Millisecond {
			t.Errorf("mended after %s: the fault was %s late, want %s", mends, late, want)
		}
		if noted := len(f.loop.Notes()) > 0; noted != (mends == time.Hour) {
			t.Errorf("notes: %q", f.loop.Notes())
		}
	}
}

// TestExecutedScheduleRunsAgain: what was executed is a scenario, and replayed exactly it gives the same faults at the same times.
func TestExecutedScheduleRunsAgain(t *testing.T) {
	first := newFake(t, resolved(t, "quick", scenario.Flags{}), 9)
	first.run(5 * time.Minute)
	again, err := scenario.Parse("schedule.yaml", first.loop.Executed().YAML())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.loop.Executed(), again); diff != "" {
		t.Fatalf("read back (-executed +read):\n%s", diff)
	}
	for i, f := range again.Faults {
		if f.Role == "" || len(f.Nodes) != 1 || f.At.Fixed <= 0 || f.For.Fixed < 3200*time.Millisecond {
			t.Errorf("fault %d does not say what was done: %+v", i+1, f)
		}
	}
	second := newFake(t, again, 1234)
	second.loop.c.Exact = true
	second.run(5 * time.Minute)
	if len(second.faults) != len(first.faults) {
		t.Fatalf("%d faults, then %d", len(first.faults), len(second.faults))
	}
	for i := range first.faults {
		a, b := first.faults[i], second.faults[i]
		if a.Kind != b.Kind || !slices.Equal(a.Nodes, b.Nodes) || a.Asked != b.Asked || a.HealAsked != b.HealAsked {
			t.Errorf("fault %d: first %+v, then %+v", i+1, a, b)
		}
	}
}

// TestExecutedScheduleKeepsWhatWasNotReached: a run that ends early, even before its start was over, leaves a schedule that has all
// of the plan's faults, those that came first.
func TestExecutedScheduleKeepsWhatWasNotReached(t *testing.T) {
	plan := resolved(t, "quick", scenario.Flags{})
	early := newFake(t, plan, 9)
	early.at = func(_ int64, f *fake) {
		if f.loop.Status().FaultsProven == 2 {
			f.step(EndNow{Reason: "a violation"})
		}
	}
	early.run(5 * time.Minute)
	unstarted := newFake(t, plan, 9)
	unstarted.act()
	unstarted.step(ClusterStarted{Err: errInjected})
	for _, c := range []struct {
		f        *fake
		executed int
	}{{early, 2}, {unstarted, 0}} {
		got, err := scenario.Parse("schedule.yaml", c.f.loop.Executed().YAML())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Faults) != len(plan.Faults) {
			t.Fatalf("%d faults, want %d", len(got.Faults), len(plan.Faults))
		}
		for i, f := range got.Faults {
			if i < c.executed && (f.Kind != plan.Faults[i].Kind || len(f.Nodes) != 1 || f.At.Fixed == 0) {
				t.Errorf("executed fault %d: %+v", i+1, f)
			}
			if i >= c.executed {
				if diff := cmp.Diff(plan.Faults[i], f); diff != "" {
					t.Errorf("planned fault %d (-planned +kept):\n%s", i+1, diff)
				}
			}
		}
	}
}

// TestExecutedTriggerIsWaitedForAgain: on real clusters the event chooses, around the time at which it came before.
func TestExecutedTriggerIsWaitedForAgain(t *testing.T) {
	first := newFake(t, short(t, "  - {kind: pause, target: follower, at: 3, when: leader_check}\n"), 1)
	first.run(5 * time.Minute)
	second := newFake(t, first.loop.Executed(), 1)
	second.run(5 * time.Minute)
	if second.faults[0].Asked != first.faults[0].Asked || second.faults[0].Trigger != "when leader_check" {
		t.Errorf("first %+v, then %+v", first.faults[0], second.faults[0])
	}
}

// TestFaultsKeepApart: a fault that is due while another lasts comes half an interval after its end at the earliest.
func TestFaultsKeepApart(t *testing.T) {
	f := newFake(t, short(t, "  - {kind: partition, target: follower, at: 3}\n  - {kind: partition, target: follower, at: 3.1}\n"), 1)
	f.run(5 * time.Minute)
	a, b := f.faults[0], f.faults[1]
	if apart := time.Duration(b.Asked - a.Healed); apart != f.s.ElectionInterval/2 {
		t.Errorf("the second came %s after the first was healed, want half an interval", apart)
	}
}
