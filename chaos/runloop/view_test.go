package runloop

import (
	"testing"
	"time"

	"soak/history"
)

func TestIntervalsCountInTheHighestTermOnly(t *testing.T) {
	v := newView(short(t, "  []\n"))
	role := func(node int32, term uint64, r history.Role) seen {
		return v.event(&history.Event{Node: node, Body: &history.RoleChange{Term: term, Role: r}})
	}
	check := func(node int32, term uint64, r history.Role, cause string) bool {
		return v.event(&history.Event{Node: node, Body: &history.LeaderCheck{Term: term, Role: r, Cause: cause}}).intervalCheck
	}
	role(1, 1, history.RoleLeader)
	for _, c := range []struct {
		what  string
		got   bool
		count bool
	}{
		{"the leader's periodic check", check(1, 1, history.RoleLeader, history.CauseInterval), true},
		{"a check for an expired session", check(1, 1, history.RoleLeader, history.CauseExpiry), false},
		{"a follower's check", check(2, 1, history.RoleFollower, history.CauseInterval), false},
	} {
		if c.got != c.count {
			t.Errorf("%s: counted %t", c.what, c.got)
		}
	}
	if s := role(2, 2, history.RoleLeader); !s.leaderChanged || v.leader != 2 {
		t.Errorf("a new leader: %+v, leader %d", s, v.leader)
	}
	if check(1, 1, history.RoleLeader, history.CauseInterval) {
		t.Error("a deposed leader's check counted")
	}
	for term, body := range map[uint64]history.Body{3: &history.Propose{Term: 3}, 4: &history.Apply{Term: 4}} {
		other := newView(short(t, "  []\n"))
		leads := &history.LeaderCheck{Term: term - 1, Role: history.RoleLeader, Cause: history.CauseInterval}
		if !other.event(&history.Event{Node: 1, Body: leads}).intervalCheck {
			t.Errorf("term %d: a check in the highest term did not count", term-1)
		}
		other.event(&history.Event{Node: 2, Body: body})
		if other.event(&history.Event{Node: 1, Body: leads}).intervalCheck {
			t.Errorf("a check below the term of a %s counted", body.Kind())
		}
	}
	if role(1, 2, history.RoleFollower); v.leader != 2 {
		t.Error("the old leader stepping down changed who leads")
	}
	if role(2, 2, history.RoleFollower); v.leader != 0 {
		t.Error("the leader stepped down and still leads")
	}
}

// TestALeaderIsKnownByItsChecksToo: where the event of an election was lost with a part of a node's log, its next check tells who leads.
func TestALeaderIsKnownByItsChecksToo(t *testing.T) {
	v := newView(short(t, "  []\n"))
	check := func(node int32, term uint64, r history.Role) seen {
		return v.event(&history.Event{Node: node, Body: &history.LeaderCheck{Term: term, Role: r, Cause: history.CauseInterval}})
	}
	v.event(&history.Event{Node: 1, Body: &history.RoleChange{Term: 1, Role: history.RoleLeader}})
	v.event(&history.Event{Body: &history.Exit{Of: 1}})
	if check(1, 1, history.RoleLeader); v.leader != 0 {
		t.Errorf("n1 has exited, and its last check made it the leader again")
	}
	if check(3, 2, history.RoleFollower); v.leader != 0 {
		t.Errorf("a follower's check made it the leader")
	}
	if s := check(3, 2, history.RoleLeader); v.leader != 3 || !s.leaderChanged {
		t.Errorf("n3 checks as the leader of term 2: the leader is n%d, changed %t", v.leader, s.leaderChanged)
	}
	if s := check(3, 2, history.RoleLeader); v.leader != 3 || s.leaderChanged {
		t.Errorf("n3 checks again: the leader is n%d, changed %t", v.leader, s.leaderChanged)
	}
	if check(2, 1, history.RoleLeader); v.leader != 3 {
		t.Errorf("a check of an older term made n%d the leader", v.leader)
	}
}

func TestViewKeepsTheNewestEpoch(t *testing.T) {
	v := newView(short(t, "  []\n"))
	apply := func(epoch, leader int32, isr ...int32) bool {
		return v.event(&history.Event{Node: 1, Body: &history.Apply{Outcome: history.Applied, Changes: []history.PartitionChange{
			{Topic: "orders", Leader: leader, PartitionEpoch: epoch, ISR: isr, Replicas: []int32{1, 2, 3}},
		}}}).isrShrunk
	}
	apply(0, 1, 1, 2, 3)
	if !apply(1, 2, 2, 3) {
		t.Error("a lost member was not seen")
	}
	// Another node, or the same after a restart, applies the same entries again.
	if apply(0, 1, 1, 2, 3) || apply(1, 2, 2, 3) {
		t.Error("an old entry applied again shrank an ISR")
	}
	if c := v.partitions[partition{"orders", 0}]; c.Leader != 2 || len(c.ISR) != 2 {
		t.Errorf("the newest state is %+v", c)
	}
	if v.led() {
		t.Error("partitions never heard of count as led")
	}
}

// TestChecksOfTheStartDoNotCount: a node's line about a check may be read after the start phase has ended.
func TestChecksOfTheStartDoNotCount(t *testing.T) {
	f := newFake(t, short(t, "  []\n"), 1)
	f.silent = true
	counts := map[int64]int{}
	f.at = func(now int64, f *fake) {
		for _, early := range []int64{1, 0} {
			if _, done := counts[early]; !done && f.loop.loadFrom != 0 && now > f.loop.loadFrom {
				check := &history.LeaderCheck{Term: f.term, Role: history.RoleLeader, Cause: history.CauseInterval}
				f.step(EventSeen{Event: history.Event{Node: f.leader, Time: f.loop.loadFrom + 1 - early, Body: check}})
				counts[early] = f.loop.Status().Intervals
			}
		}
	}
	f.run(5 * time.Minute)
	if counts[1] != 0 || counts[0] != 1 {
		t.Errorf("counted %d after a check made before the end of start, %d after one made since", counts[1], counts[0])
	}
}

// TestChecksCountByTheirTimeAtTheEnd: as coverage counts them afterwards. One of the faults phase whose line is read after it counts, one
// made after it does not; and the phase holds all that have counted, though a node's clock be ahead.
func TestChecksCountByTheirTimeAtTheEnd(t *testing.T) {
	f := newFake(t, short(t, "  []\n"), 1)
	counted, ahead := map[string]int{}, int64(0)
	f.at = func(now int64, f *fake) {
		check := func(at int64) int {
			before := f.loop.Status().Intervals
			body := &history.LeaderCheck{Term: f.term, Role: history.RoleLeader, Cause: history.CauseInterval}
			f.step(EventSeen{Event: history.Event{Node: f.leader, Time: at, Body: body}})
			return f.loop.Status().Intervals - before
		}
		if f.loop.phase == PhaseFaults && ahead == 0 && f.loop.counted == f.s.Intervals-1 {
			ahead = now + 5*ms
			check(ahead)
		}
		if _, done := counted["late"]; !done && f.loop.phase == PhaseRecover {
			counted["late"], counted["after"] = check(ahead-1), check(ahead+1)
		}
	}
	f.run(5 * time.Minute)
	if counted["late"] != 1 || counted["after"] != 0 {
		t.Errorf("of a check of the phase %d counted, of one after it %d", counted["late"], counted["after"])
	}
	for _, p := range f.loop.Phases() {
		if p.Name == PhaseFaults && (ahead == 0 || p.End != ahead) {
			t.Errorf("the faults phase ends at %d, and what has counted at %d", p.End, ahead)
		}
	}
}
