package core

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"soak/broker/meta"
	"soak/broker/partlog/producers"
	"soak/history"
)

// replication is what a node keeps about the partitions that it has a replica of. What a replica does (lead, follow,
// nothing) follows from applied metadata alone, and only once this broker's registration in this boot is applied: while
// older entries of the raft log are applied at a start, states of the past go by that must not be acted on.
type replication struct {
	parts   map[PartitionID]*replica // for look-ups only, never ranged over
	order   []*replica               // the same, ascending by PartitionID
	active  bool                     // this boot's registration is applied
	queued  int64                    // bytes appended and not yet on disk
	touched []*replica               // what parked fetches may be waiting for has changed since the last Ready
	isrDue  []*replica               // whose ISR is to be looked at in the next Ready

	fetchers []*fetcher // as follower: one a leader, ascending by leader
	nextNum  uint64     // of the last fetch sent
	parked   []*fetchCall

	backlog []*produceCall // waiting for queued bytes to become fewer, in the order in which they came
	waiting int            // produce requests without an answer yet

	swept      int64 // time of the last sweep
	graceUntil int64 // the node itself was stalled: until then no follower counts as lagging
	telling    bool  // the timer for periodic partition events is set
	moved      []*replica
}

// replicaRole is what a replica does.
type replicaRole uint8

const (
	replicaIdle replicaRole = iota
	replicaFollower
	replicaLeader
)

func (r replicaRole) String() string {
	switch r {
	case replicaFollower:
		return "follower"
	case replicaLeader:
		return "leader"
	}
	return "none"
}

// replica is this node's replica of one partition.
type replica struct {
	id      PartitionID
	topic   *meta.Topic    // nil: a log that was found at the start, whose topic is not applied (yet)
	state   meta.Partition // as applied here
	role    replicaRole
	deleted bool

	replicaLog

	// as leader
	epochStart  int64      // log end when this leader epoch began
	followers   []follower // the other replicas, in the order of state.Replicas
	adding      []int32    // may have become members of the ISR without our knowing; they count for the high watermark
	alter       alterMark
	waitHW      []*produceWait // acks=all, ascending target
	waitDurable []*produceWait // acks=1, ascending target

	// as follower
	fetch       *fetcher
	leaderHW    int64 // the leader's, as of its last answer
	leaderStart int64 // the same of its log start, as far as it was acted on
	retryAt     int64 // not asked for before: the last answer was an error
	asked       askedFetch

	isTouched, isISRDue, isMoved bool
}

func (n *Node) initReplication(boot Boot) {
	n.repl.parts = map[PartitionID]*replica{}
	n.repl.nextNum = n.cfg.Boot << 32 // an answer to an earlier boot's fetch matches none of this one's
	for _, l := range boot.Logs {
		r := n.addReplica(l.ID)
		r.start, r.end, r.durable, r.hw = l.Start, l.End, l.End, l.Start
		r.epochs = slices.Clone(l.Epochs)
		r.producers = knownProducers(l.Producers)
		r.onDisk = true
	}
	n.repl.swept = n.now
	n.after(n.cfg.ReplicaLag/2, n.sweepReplicas)
	n.after(n.cfg.RetentionCheck, n.checkRetention)
}

// addReplica makes the replica of a partition, with an empty log.
func (n *Node) addReplica(id PartitionID) *replica {
	r := &replica{id: id, replicaLog: replicaLog{producers: producers.New(0)}}
	at, _ := slices.BinarySearchFunc(n.repl.order, id, func(r *replica, id PartitionID) int { return comparePartition(r.id, id) })
	n.repl.order = slices.Insert(n.repl.order, at, r)
	n.repl.parts[id] = r
	if limit := n.cacheLimit(); limit < maxCacheReplica {
		for _, o := range n.repl.order {
			o.cache.evict(limit, o.durable)
		}
	}
	return r
}

func comparePartition(a, b PartitionID) int {
	if c := bytes.Compare(a.Topic[:], b.Topic[:]); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// partitionChanged is called after each applied command that created or changed the partition, and where a restored snapshot shows that such
// commands went by (index 0).
func (n *Node) partitionChanged(t *meta.Topic, p int32, index uint64) {
	if !slices.Contains(t.Partitions[p].Replicas, n.cfg.ID) {
		return
	}
	id := PartitionID{Topic: t.ID, Partition: p}
	r := n.repl.parts[id]
	if r == nil {
		r = n.addReplica(id)
	}
	old := r.state
	r.topic, r.state = t, *t.Partitions[p]
	if r.state.PartitionEpoch != old.PartitionEpoch {
		r.alter, r.adding = alterMark{}, nil // commands for the old epoch can have no effect any more
	}
	if !n.repl.active {
		return
	}
	if r.state.LeaderEpoch != old.LeaderEpoch || r.role != n.roleFor(r) {
		n.takeRole(r)
	} else if r.role == replicaLeader {
		n.isrCommitted(r, old.ISR, index)
	}
	n.tell(r, "change")
}

// roleFor is the role that the applied state gives to this node's replica.
func (n *Node) roleFor(r *replica) replicaRole {
	switch r.state.Leader {
	case meta.NoLeader:
		return replicaIdle
	case n.cfg.ID:
		return replicaLeader
	}
	return replicaFollower
}

// takeRole ends what the replica did in its last epoch and begins what the applied state says.
func (n *Node) takeRole(r *replica) {
	n.resign(r, errNotLeader)
	r.role = n.roleFor(r)
	switch r.role {
	case replicaLeader:
		n.lead(r)
	case replicaFollower:
		n.follow(r)
	}
	n.touch(r)
}

// resign ends the replica's role: clients that wait for the high watermark learn that it will not come from here.
func (n *Node) resign(r *replica, code int16) {
	waits := slices.Concat(r.waitHW, r.waitDurable)
	r.waitHW, r.waitDurable = nil, nil
	for _, w := range waits {
		n.produceFailed(w, code)
	}
	r.followers = nil
	n.unfollow(r)
	r.role = replicaIdle
}

// topicDeleted removes the replicas of a deleted topic and their logs.
func (n *Node) topicDeleted(t *meta.Topic, index uint64) {
	for p := range t.Partitions {
		if r := n.repl.parts[PartitionID{Topic: t.ID, Partition: int32(p)}]; r != nil {
			n.dropReplica(r)
		}
	}
}

func (n *Node) dropReplica(r *replica) {
	r.deleted = true
	n.resign(r, errUnknownTopicOrPartition)
	n.touch(r)
	delete(n.repl.parts, r.id)
	n.repl.order = slices.DeleteFunc(n.repl.order, func(x *replica) bool { return x == r })
	r.cache = cache{}
	if r.onDisk {
		n.submit(DiskOp{Kind: OpLogDelete, Part: r.id}, func(*DiskDone) {})
	}
}

// brokerRegistered is called when a registration is applied. This broker's own, in this boot, puts its replicas to work; another
// broker's new boot voids what it had reported about its logs.
func (n *Node) brokerRegistered(id int32, boot uint64) {
	if id == n.cfg.ID {
		if boot != n.cfg.Boot || n.repl.active {
			return
		}
		n.repl.active = true
		for _, r := range slices.Clone(n.repl.order) {
			if r.topic == nil {
				// Its topic was created before this boot, for the log was found at the start; so it is deleted, and a snapshot covers that.
				n.dropReplica(r)
				continue
			}
			n.takeRole(r)
			n.tell(r, "boot")
		}
		return
	}
	for _, r := range n.repl.order {
		if f := r.follower(id); f != nil && f.boot != boot {
			f.boot, f.end, f.fetched = boot, -1, 0
		}
	}
	n.dropPeerFetch(id, boot)
	for _, f := range n.repl.fetchers {
		if f.leader == id {
			f.again = true // the fetch under way went to a boot that is gone
		}
	}
}

// touch notes that what parked fetches wait for may have come.
func (n *Node) touch(r *replica) {
	if !r.isTouched {
		r.isTouched = true
		n.repl.touched = append(n.repl.touched, r)
	}
}

// replicationReady does what is done once for all inputs of a Ready.
func (n *Node) replicationReady() {
	n.drainBacklog()
	n.alterISRs()
	n.wakeFetches()
	for _, f := range n.repl.fetchers {
		n.fetchFrom(f)
	}
}

// replicationDue reports whether something has come up since replicationReady that must not wait for the next input.
func (n *Node) replicationDue() bool { return len(n.repl.touched) > 0 || len(n.repl.isrDue) > 0 }

// sweepReplicas is the one timer of all ISRs: it looks for followers that lag.
func (n *Node) sweepReplicas() {
	period := n.cfg.ReplicaLag / 2
	if late := n.now - n.repl.swept - int64(period); late > int64(period)/2 {
		// This node stood still, and with it its view of everybody else: they get their time anew.
		n.repl.graceUntil = n.now + int64(n.cfg.ReplicaLag)
	}
	n.repl.swept = n.now
	for _, r := range n.repl.order {
		if r.role == replicaLeader {
			n.noteISR(r)
		}
	}
	n.dropGoneFetches()
	n.after(period, n.sweepReplicas)
}

// tellEvery is how often, at most, a replica tells of its high watermark and log end.
const tellEvery = time.Second

// noteMoved remembers that the high watermark or the log end has changed, for the next periodic event.
func (n *Node) noteMoved(r *replica) {
	if r.isMoved {
		return
	}
	r.isMoved = true
	n.repl.moved = append(n.repl.moved, r)
	if !n.repl.telling {
		n.repl.telling = true
		n.after(tellEvery, func() {
			n.repl.telling = false
			moved := n.repl.moved
			n.repl.moved = nil
			for _, r := range moved {
				r.isMoved = false
				if !r.deleted {
					n.tell(r, "periodic")
				}
			}
		})
	}
}

func (n *Node) tell(r *replica, cause string) {
	if !n.repl.active || r.topic == nil {
		return
	}
	n.emit(&history.Partition{
		Topic: r.topic.Name, Partition: r.id.Partition, Role: r.role.String(), Leader: r.state.Leader, LeaderEpoch: r.state.LeaderEpoch,
		PartitionEpoch: r.state.PartitionEpoch, ISR: slices.Clone(r.state.ISR), HighWatermark: r.hw, LogEnd: r.end, LogStart: r.start, Cause: cause,
	})
}

// name is the partition as people write it: "orders-0".
func (r *replica) name() string {
	if r.topic == nil {
		return fmt.Sprintf("%x-%d", r.id.Topic, r.id.Partition)
	}
	return fmt.Sprintf("%s-%d", r.topic.Name, r.id.Partition)
}

func (n *Node) replicationStats(s *Stats) {
	s.Waiters, s.Parked, s.Partitions, s.QueuedBytes = n.repl.waiting, len(n.repl.parked), len(n.repl.order), n.repl.queued
}
