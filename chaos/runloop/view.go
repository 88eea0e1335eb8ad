package runloop

import (
	"slices"

	"soak/chaos/scenario"
	"soak/history"
)

// view is what the loop knows of the cluster, from events alone.
type view struct {
	nodes      int
	term       uint64 // highest seen in any event
	leader     int32  // raft leader of the highest term that had one; 0 if it is known to lead no more
	leaderTerm uint64
	down       []bool // by node id: exited and not started again
	partitions map[partition]*history.PartitionChange
	order      []partition // of the record topics, fixed
}

type partition struct {
	topic string
	id    int32
}

// seen is what an event meant, for counting and triggers.
type seen struct {
	intervalCheck bool // a periodic check by the raft leader in the highest term
	leaderCheck   bool // any check by the raft leader in the highest term
	isrShrunk     bool
	leaderChanged bool
}

func newView(s *scenario.Scenario) view {
	v := view{nodes: s.Nodes, down: make([]bool, s.Nodes+1), partitions: map[partition]*history.PartitionChange{}}
	for _, t := range s.Topics {
		for p := range t.Partitions {
			v.order = append(v.order, partition{t.Name, p})
			v.partitions[partition{t.Name, p}] = nil
		}
	}
	return v
}

// Concerns reports whether the loop learns anything from an event: a shell may keep the others to itself.
func Concerns(e *history.Event) bool {
	switch e.Body.(type) {
	case *history.Started, *history.Exit, *history.RoleChange, *history.LeaderCheck, *history.Apply:
		return true
	}
	return false
}

func (v *view) event(e *history.Event) seen {
	v.term = max(v.term, e.Term())
	switch b := e.Body.(type) {
	case *history.Started:
		v.setDown(e.Node, false)
	case *history.Exit:
		v.setDown(b.Of, true)
		if v.leader == b.Of {
			v.leader = 0
		}
	case *history.RoleChange:
		return seen{leaderChanged: v.role(e.Node, b)}
	case *history.LeaderCheck:
		if b.Role == history.RoleLeader && b.Term == v.term {
			s := seen{leaderCheck: true, intervalCheck: b.Cause == history.CauseInterval}
			if n := int(e.Node); n > 0 && n < len(v.down) && !v.down[n] {
				s.leaderChanged = v.lead(e.Node, b.Term) // the event of its election may have been lost
			}
			return s
		}
	case *history.Apply:
		return seen{isrShrunk: v.apply(b)}
	}
	return seen{}
}

func (v *view) setDown(node int32, down bool) {
	if node >= 1 && int(node) < len(v.down) {
		v.down[node] = down
	}
}

// role reports whether another node became raft leader.
func (v *view) role(node int32, b *history.RoleChange) bool {
	if b.Role != history.RoleLeader {
		// The leader itself says that it leads no more. (A former leader that wakes up late says nothing about the present one.)
		if v.leader == node && b.Term >= v.leaderTerm {
			v.leader = 0
		}
		return false
	}
	return v.lead(node, b.Term)
}

// lead takes note of a raft leader and reports whether another node led in an earlier term.
func (v *view) lead(node int32, term uint64) bool {
	if term < v.leaderTerm || node < 1 || int(node) > v.nodes {
		return false
	}
	changed := term > v.leaderTerm && v.leaderTerm != 0
	v.leader, v.leaderTerm = node, term
	return changed
}

// apply keeps the newest state of each record partition and reports whether an ISR lost a member. Every node applies
// every entry, and after a restart applies old ones again: the partition epoch tells new from old.
func (v *view) apply(b *history.Apply) (shrunk bool) {
	if b.Outcome != history.Applied {
		return false
	}
	for i := range b.Changes {
		c := b.Changes[i]
		key := partition{c.Topic, c.Partition}
		old, ours := v.partitions[key]
		if !ours || old != nil && c.PartitionEpoch <= old.PartitionEpoch {
			continue
		}
		shrunk = shrunk || old != nil && len(c.ISR) < len(old.ISR)
		v.partitions[key] = &c
	}
	return shrunk
}

// led reports whether every record partition has a leader.
func (v *view) led() bool {
	for _, p := range v.order {
		if c := v.partitions[p]; c == nil || c.Leader < 1 {
			return false
		}
	}
	return true
}

// whole reports whether the cluster is as it should be: all nodes up, a raft leader, and every record partition led, with all its
// replicas in the ISR.
func (v *view) whole() bool {
	if v.leader == 0 || slices.Contains(v.down, true) || !v.led() {
		return false
	}
	for _, p := range v.order {
		if c := v.partitions[p]; len(c.ISR) < len(c.Replicas) {
			return false
		}
	}
	return true
}

// leaders is the nodes that lead a record partition, ascending.
func (v *view) leaders() []int32 {
	var ids []int32
	for _, p := range v.order {
		if c := v.partitions[p]; c != nil && c.Leader > 0 && !slices.Contains(ids, c.Leader) {
			ids = append(ids, c.Leader)
		}
	}
	slices.Sort(ids)
	return ids
}

// up is the nodes that run, ascending.
func (v *view) up() []int32 {
	var ids []int32
	for id := int32(1); int(id) <= v.nodes; id++ {
		if !v.down[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// followers is the running nodes that are not the raft leader; none while no leader is known.
func (v *view) followers() []int32 {
	if v.leader == 0 {
		return nil
	}
	return slices.DeleteFunc(v.up(), func(id int32) bool { return id == v.leader })
}

// roleOf names what a node is now, for the coverage of roles.
func (v *view) roleOf(node int32) string {
	switch {
	case node == v.leader:
		return scenario.TargetRaftLeader
	case slices.Contains(v.leaders(), node):
		return scenario.TargetPartitionLeader
	}
	return scenario.TargetFollower
}
