package runloop

import (
	"slices"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
	"soak/workloads/gen"
)

// choose gives the nodes that a fault of this kind takes for a target now: none if there is none. It leaves nodes out that are down, or
// that are in hit: two faults on one node would heal each other.
func (v *view) choose(t scenario.Target, kind string, hit []int32, rand *gen.Rand) []int32 {
	var candidates []int32
	switch t.Role {
	case scenario.TargetAll:
		if len(hit) > 0 {
			return nil
		}
		return v.all()
	case scenario.TargetRaftLeader:
		candidates = []int32{v.leader}
	case scenario.TargetFollower:
		candidates = v.followers()
	case scenario.TargetPartitionLeader:
		if v.leader != 0 {
			candidates = slices.DeleteFunc(v.leaders(), func(id int32) bool { return id == v.leader })
		}
	case "leader":
		if c := v.partitions[partition{t.Topic, t.Partition}]; c != nil {
			candidates = []int32{c.Leader}
		}
	case "node":
		candidates = []int32{t.Node}
	case "nodes":
		candidates = slices.Clone(t.Nodes)
	}
	up := v.up()
	candidates = slices.DeleteFunc(candidates, func(id int32) bool { return !slices.Contains(up, id) || slices.Contains(hit, id) })
	switch {
	case len(candidates) == 0 || kind == chaos.Bridge && len(candidates) < 2:
		return nil
	case t.Role == "nodes": // those of them that can be had
		return candidates
	}
	return []int32{candidates[rand.Intn(len(candidates))]}
}

// all is the ids of all nodes, ascending.
func (v *view) all() []int32 {
	var ids []int32
	for id := int32(1); int(id) <= v.nodes; id++ {
		ids = append(ids, id)
	}
	return ids
}

// maxPartitions bounds what Roles keeps of a cluster whose topics nobody has planned.
const maxPartitions = 100_000

// Roles knows from a cluster's events who is up, who leads, and which nodes a target means: what the run loop knows, for a cluster
// that no scenario runs on, whose topics come and go. It is not safe for concurrent use.
type Roles struct {
	v       view
	rand    *gen.Rand
	applied uint64 // raft index of the last entry that was taken in
}

// NewRoles begins with nodes 1..nodes, of which nothing is known. The seed decides among nodes that a target means alike.
func NewRoles(nodes int, seed uint64) *Roles {
	return &Roles{v: view{nodes: nodes, down: make([]bool, nodes+1), partitions: map[partition]*history.PartitionChange{}}, rand: gen.NewRand(seed)}
}

// Event takes an event in: of each node in its order, of different nodes in any.
func (r *Roles) Event(e *history.Event) {
	b, is := e.Body.(*history.Apply)
	if !is {
		r.v.event(e)
		return
	}
	// Every node applies every entry, and some of them again after a start: each index counts once.
	if b.Index <= r.applied {
		return
	}
	r.applied = b.Index
	r.v.term = max(r.v.term, e.Term())
	if b.Outcome != history.Applied {
		return
	}
	for i := range b.Changes {
		r.change(&b.Changes[i])
	}
}

func (r *Roles) change(c *history.PartitionChange) {
	key := partition{c.Topic, c.Partition}
	_, known := r.v.partitions[key]
	switch {
	case c.Gone:
		delete(r.v.partitions, key)
		r.v.order = slices.DeleteFunc(r.v.order, func(p partition) bool { return p == key })
	case known || len(r.v.partitions) < maxPartitions:
		if !known {
			r.v.order = append(r.v.order, key)
		}
		r.v.partitions[key] = c
	}
}

// Leader is the raft leader, 0 if none is known, and the highest term that was seen.
func (r *Roles) Leader() (node int32, term uint64) { return r.v.leader, r.v.term }

// Down reports whether a node has ended and has not started again.
func (r *Roles) Down(node int32) bool {
	return node < 1 || int(node) >= len(r.v.down) || r.v.down[node]
}

// RoleOf names what a node is now: raft-leader, partition-leader or follower.
func (r *Roles) RoleOf(node int32) string { return r.v.roleOf(node) }

// Resolve gives the nodes that a target means now, for a fault of this kind: none if it means none that is up. hit are the nodes that
// must be left alone, since other faults are on them.
func (r *Roles) Resolve(t scenario.Target, kind string, hit []int32) []int32 {
	return r.v.choose(t, kind, hit, r.rand)
}
