package runloop

import (
	"slices"
	"testing"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
)

func TestRolesOfAClusterByHand(t *testing.T) {
	r := NewRoles(3, 1)
	at := func(node int32, b history.Body) { r.Event(&history.Event{Node: node, Boot: 1, Body: b}) }
	resolve := func(target string, hit ...int32) []int32 {
		t.Helper()
		p, err := scenario.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		return r.Resolve(p, chaos.Kill, hit)
	}
	if got := resolve("raft-leader"); got != nil {
		t.Errorf("a raft leader %v before any was seen", got)
	}
	at(2, &history.RoleChange{Term: 3, Role: history.RoleLeader, Leader: 2})
	at(2, &history.Apply{Index: 7, Term: 3, Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "a", Leader: 3, PartitionEpoch: 9}}})
	for target, want := range map[string][]int32{"raft-leader": {2}, "leader(a-0)": {3}, "partition-leader": {3}, "n1+n2": {1, 2}, "all": {1, 2, 3}, "leader(b-0)": nil} {
		if got := resolve(target); !slices.Equal(got, want) {
			t.Errorf("%s is %v, want %v", target, got, want)
		}
	}
	if got := resolve("n1+n2", 2); !slices.Equal(got, []int32{1}) {
		t.Errorf("n1+n2 is %v with a fault on n2, want n1 alone", got)
	}
	if got := resolve("all", 2); got != nil {
		t.Errorf("all is %v with a fault on n2, want none", got)
	}
	if node, term := r.Leader(); node != 2 || term != 3 || r.RoleOf(2) != scenario.TargetRaftLeader {
		t.Errorf("n%d leads in term %d, and n2 is %s", node, term, r.RoleOf(2))
	}

	// The topic is deleted and made again: its epoch begins anew. A node that applies the old entries once more changes nothing.
	at(1, &history.Apply{Index: 8, Term: 3, Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "a", Leader: -1, Gone: true}}})
	if got := resolve("leader(a-0)"); got != nil {
		t.Errorf("a deleted topic is led by %v", got)
	}
	at(1, &history.Apply{Index: 9, Term: 3, Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "a", Leader: 1, PartitionEpoch: 0}}})
	at(3, &history.Apply{Index: 7, Term: 3, Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "a", Leader: 3, PartitionEpoch: 9}}})
	if got := resolve("leader(a-0)"); !slices.Equal(got, []int32{1}) {
		t.Errorf("leader(a-0) is %v, want n1", got)
	}

	r.Event(&history.Event{Body: &history.Exit{Of: 1}})
	if got := resolve("leader(a-0)"); got != nil || !r.Down(1) || r.Down(2) {
		t.Errorf("leader(a-0) is %v, down %v, want none and n1 down", got, r.Down(1))
	}
	at(1, &history.Started{})
	if r.Down(1) {
		t.Error("n1 is down after it has started again")
	}
}
