package core

import (
	"slices"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// elector is the leader-election service. It runs on every node's timer and is gated by AmILeader: the gate alone keeps
// followers quiet, though they see sessions expire as well.
type elector struct {
	timer *timer
	// under marks the partitions whose SetPartitionLeader of this term is under way. A time-out does not clear it; applying it or
	// losing the leadership does.
	under   map[PartitionID]bool
	shrink  map[PartitionID]bool // the same for the controller's ISR changes
	checked uint64               // term in which the first check after the own-term entry was considered
	quiet   int                  // interval checks in a row that found nothing to do
	acted   bool                 // something was proposed since the last interval check
}

// rebalanceAfter is the number of quiet interval checks after which leaderships go back to the preferred replicas.
const rebalanceAfter = 3

func (n *Node) initElector() {
	n.elector.under = map[PartitionID]bool{}
	n.elector.shrink = map[PartitionID]bool{}
	n.armElector()
}

func (n *Node) armElector() {
	n.elector.timer.cancel()
	n.elector.timer = n.after(n.cfg.ElectionInterval, func() {
		n.leaderCheck(history.CauseInterval)
		n.armElector()
	})
}

// mayElect is the service's gate: the question is "am I the leader", with its own-term entry applied, not "has the group a leader".
func (n *Node) mayElect() bool {
	if n.cfg.Bugs.Has(bugs.ElectorGateHasLeader) || n.cfg.Bugs.Has(bugs.ForwardHidesError) {
		_, known, _ := n.LeaderStatus()
		if known && !n.AmILeader() {
			n.bugHit(n.gateBug())
		}
		return known
	}
	if n.cfg.Bugs.Has(bugs.CachedIsLeader) {
		return n.AmILeader() && n.appliedTerm != 0
	}
	return n.AmILeader() && n.ownTermApplied()
}

func (n *Node) gateBug() bugs.Bug {
	if n.cfg.Bugs.Has(bugs.ElectorGateHasLeader) {
		return bugs.ElectorGateHasLeader
	}
	return bugs.ForwardHidesError
}

// electorExpiry is called when sessions have expired in this node's table.
func (n *Node) electorExpiry() { n.leaderCheck(history.CauseExpiry) }

// electorSessionBack is called when a broker is heard again: partitions without a leader need not wait for the next check.
func (n *Node) electorSessionBack() {
	if n.AmILeader() && n.ownTermApplied() && n.leaderless() {
		n.leaderCheck(history.CauseExpiry)
	}
}

// electorReady is called when an entry of the present term is applied on a node that may elect: on the controller that is its
// own-term entry. The interval begins anew; if a partition's leader has no
// live session by now (it often expired before this leader existed) the check is made at once.
func (n *Node) electorReady() {
	if n.elector.checked == n.role.Term {
		return
	}
	n.elector.checked = n.role.Term
	n.elector.quiet = 0
	n.armElector()
	if n.leaderless() || n.deadMember() {
		n.leaderCheck(history.CauseExpiry)
	}
}

// electorFollowUp is called after entries were applied: what they changed (a refused election, a registration, a topic created meanwhile) can
// leave a partition to a dead leader that no expiry will speak of any more. It must not wait for the next interval.
func (n *Node) electorFollowUp() {
	for _, t := range n.state.Topics {
		for i, p := range t.Partitions {
			if n.elector.under[PartitionID{Topic: t.ID, Partition: int32(i)}] || !n.needsLeader(p) {
				continue
			}
			n.leaderCheck(history.CauseExpiry)
			return
		}
	}
}

// electorLost is called when this node is no longer the leader of the term it led.
func (n *Node) electorLost() {
	n.elector.under = map[PartitionID]bool{}
	n.elector.shrink = map[PartitionID]bool{}
	n.elector.quiet = 0
}

// leaderless reports whether a partition is led by nobody, or by a broker without a live session.
func (n *Node) leaderless() bool {
	for _, t := range n.state.Topics {
		for _, p := range t.Partitions {
			if n.needsLeader(p) {
				return true
			}
		}
	}
	return false
}

func (n *Node) needsLeader(p *meta.Partition) bool {
	if p.Leader == meta.NoLeader {
		return slices.ContainsFunc(p.ISR, n.replicaLive)
	}
	return !n.replicaLive(p.Leader)
}

// deadMember reports whether an ISR holds a broker without a live session beside its living leader.
func (n *Node) deadMember() bool {
	for _, t := range n.state.Topics {
		for _, p := range t.Partitions {
			if slices.ContainsFunc(p.ISR, func(id int32) bool { return !n.replicaLive(id) }) && len(p.ISR) > 1 {
				return true
			}
		}
	}
	return false
}

// leaderCheck looks at every partition's leader (its broker's session, never idleness) and proposes what must change.
func (n *Node) leaderCheck(cause string) {
	if !n.mayElect() {
		return
	}
	n.noteRole()
	n.emit(&history.LeaderCheck{Term: n.role.Term, Role: n.role.Role, Cause: cause})
	acted := false
	for _, t := range n.state.Topics {
		for i, p := range t.Partitions {
			if n.checkPartition(t, int32(i), p, cause) {
				acted = true
			}
		}
	}
	if acted {
		n.elector.acted = true
	}
	if cause == history.CauseInterval {
		n.rebalanceIfQuiet()
	}
}

// checkPartition reports whether it found something to do.
func (n *Node) checkPartition(t *meta.Topic, i int32, p *meta.Partition, cause string) bool {
	live := n.liveReplicas(p.ISR)
	if p.Leader != meta.NoLeader && n.replicaLive(p.Leader) {
		if len(live) < len(p.ISR) {
			n.controllerShrink(t, i, p, live, cause)
			return true
		}
		return false
	}
	why := "elect"
	if cause != history.CauseInterval {
		why = cause
	}
	if n.cfg.Bugs.Has(bugs.ElectISR0Blind) {
		if !slices.Contains(live, p.ISR[0]) {
			n.bugHit(bugs.ElectISR0Blind)
		}
		n.setLeader(t, i, p, p.ISR[0], p.ISR, why)
		return true
	}
	for _, r := range n.preference(p) {
		if slices.Contains(live, r) {
			n.setLeader(t, i, p, r, live, why)
			return true
		}
	}
	if p.Leader != meta.NoLeader {
		// No live member of the ISR: none leads until one lives again. Once, with the ISR unchanged.
		n.setLeader(t, i, p, meta.NoLeader, p.ISR, why)
		return true
	}
	return false
}

// preference is the order in which replicas are asked to lead.
func (n *Node) preference(p *meta.Partition) []int32 {
	if n.cfg.Bugs.Has(bugs.ConcentrateLeaders) && slices.Contains(p.Replicas, n.cfg.ID) {
		if p.Replicas[0] != n.cfg.ID {
			n.bugHit(bugs.ConcentrateLeaders)
		}
		return append([]int32{n.cfg.ID}, p.Replicas...)
	}
	return p.Replicas
}

func (n *Node) setLeader(t *meta.Topic, i int32, p *meta.Partition, leader int32, isr []int32, cause string) {
	n.setLeaderFor(t, i, p, leader, isr, ctlInfo{cause: cause}, func(applied) {})
}

// setLeaderFor proposes a leader for somebody who wants to know what becomes of it; done is called once. Where an election of the partition is
// under way, and where nothing can be proposed, none is begun: false, and done is not called.
func (n *Node) setLeaderFor(t *meta.Topic, i int32, p *meta.Partition, leader int32, isr []int32, info ctlInfo, done func(applied)) bool {
	id := PartitionID{Topic: t.ID, Partition: i}
	if n.elector.under[id] {
		return false
	}
	isr = slices.Clone(isr)
	slices.Sort(isr)
	cmd := &meta.Command{Via: info.via, Cause: info.cause, Op: info.op, SetLeader: &meta.SetLeader{
		Topic: t.ID, Name: t.Name, Partition: i, ExpectedEpoch: p.PartitionEpoch, Leader: leader, ISR: isr,
	}}
	err := n.propose(cmd, func(a applied) {
		delete(n.elector.under, id)
		if !a.lost && !a.unknown && a.res.Refused == "" {
			n.claimElected(cmd, a)
		}
		done(a)
	})
	if err == nil {
		n.elector.under[id] = true
		if n.cfg.Bugs.Has(bugs.ElectedBeforeCommit) {
			n.bugHit(bugs.ElectedBeforeCommit)
			n.emit(&history.Claim{What: "elected", Key: cmd.Key(), Index: n.applied, Leader: leader, LeaderEpoch: p.LeaderEpoch + 1})
		}
	}
	return err == nil
}

func (n *Node) claimElected(cmd *meta.Command, a applied) {
	for _, c := range a.res.Changes {
		if c.Leader != meta.NoLeader {
			n.emit(&history.Claim{What: "elected", Key: cmd.Key(), Index: a.index, Leader: c.Leader, LeaderEpoch: c.LeaderEpoch})
		}
	}
}

// controllerShrink takes members whose sessions have expired, and those that are about to end, out of an ISR whose leader lives.
func (n *Node) controllerShrink(t *meta.Topic, i int32, p *meta.Partition, live []int32, cause string) {
	id := PartitionID{Topic: t.ID, Partition: i}
	if n.elector.shrink[id] || n.elector.under[id] {
		return
	}
	if cause != causeShutdown {
		cause = "expiry"
	}
	cmd := &meta.Command{Cause: cause, ChangeISR: &meta.ChangeISR{
		Topic: t.ID, Name: t.Name, Partition: i, ExpectedEpoch: p.PartitionEpoch, LeaderEpoch: p.LeaderEpoch, ISR: live,
	}}
	if n.propose(cmd, func(applied) { delete(n.elector.shrink, id) }) == nil {
		n.elector.shrink[id] = true
	}
}

// electorApplied lets go of what any node's applied command has settled.
func (n *Node) electorApplied(cmd *meta.Command) {
	if s := cmd.SetLeader; s != nil {
		delete(n.elector.under, PartitionID{Topic: s.Topic, Partition: s.Partition})
	}
}

// rebalanceIfQuiet moves leaderships back to replicas[0] from the third quiet interval check on, so that the controller,
// which new topics prefer, does not end up leading everything.
func (n *Node) rebalanceIfQuiet() {
	if n.elector.acted || n.liveCount() < len(n.cfg.Peers) {
		n.elector.acted, n.elector.quiet = false, 0
		return
	}
	n.elector.quiet++
	if n.elector.quiet < rebalanceAfter || !n.AmILeader() {
		return
	}
	for _, t := range n.state.Topics {
		for i, p := range t.Partitions {
			preferred := n.preference(p)[0]
			if p.Leader != preferred && slices.Contains(p.ISR, preferred) && n.replicaLive(preferred) {
				n.setLeader(t, int32(i), p, preferred, p.ISR, "rebalance")
			}
		}
	}
}
