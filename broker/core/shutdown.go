package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ControlledShutdown (key 7, between brokers alone): before a broker ends it asks the controller to give away what it leads, and to take it out of the
// ISRs, so that nobody waits for its session to expire. Kafka's controlled shutdown does the same. Version 3 is sent.

const (
	// handOverLimit bounds the whole hand-over: a node that is asked to end, ends. It is long enough for an election of the controller meanwhile, and
	// short of the patience of those who ask.
	handOverLimit = 2500 * time.Millisecond
	// handOverRetry is how long the node waits before it asks the controller again.
	handOverRetry = 100 * time.Millisecond
)

// handOver is what a node does between a Shutdown and its end.
type handOver struct {
	asked bool
	over  bool
	kept  string // why leaderships were not handed over, "" if they were
	round int    // answers to an earlier round are void
}

// leavingBroker is a broker that has asked the controller to end. It is no candidate for anything until it comes back in a new boot.
type leavingBroker struct {
	id   int32
	boot uint64
	done []func(ctlResult) // those who wait until it leads nothing
}

// onShutdown begins the hand-over.
func (n *Node) onShutdown() {
	if n.leave.asked {
		return
	}
	n.leave.asked = true
	if len(n.cfg.Peers) == 1 {
		n.left("") // there is nobody to hand anything to
		return
	}
	n.after(handOverLimit, func() { n.left(fmt.Sprintf("not handed over within %v", handOverLimit)) })
	n.askToLeave()
}

// left ends the hand-over: the caller of the node may end it.
func (n *Node) left(kept string) {
	if !n.leave.over {
		n.leave.over, n.leave.kept = true, kept
	}
}

// askToLeave asks the controller, whoever that is, to relieve this broker. A new controller knows nothing of what the last was asked, so
// this is done again with each.
func (n *Node) askToLeave() {
	if !n.leave.asked || n.leave.over {
		return
	}
	n.leave.round++
	round := n.leave.round
	again := func(d time.Duration) {
		n.after(d, func() {
			if round == n.leave.round {
				n.askToLeave()
			}
		})
	}
	req := kmsg.NewPtrControlledShutdownRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.BrokerEpoch = n.cfg.ID, int64(n.cfg.Boot)
	n.controllerRequest(req, ctlInfo{cause: "shutdown"}, func(r ctlResult) {
		if round != n.leave.round {
			return
		}
		resp, ok := r.resp.(*kmsg.ControlledShutdownResponse)
		if r.status != ctlAnswered || !ok {
			again(handOverRetry)
			return
		}
		n.whenApplied(r.index, func() {
			if round != n.leave.round {
				return
			}
			if resp.ErrorCode != errNone {
				// The controller does not know this boot. It has given it nothing to lead, and never will if no registration is under way; otherwise it may
				// have by now, and knows it when it is asked again.
				if n.registeredInThisBoot() || n.startup.registering {
					again(handOverRetry)
				} else {
					n.left("")
				}
				return
			}
			if !n.AmILeader() {
				n.left("")
				return
			}
			if !n.majorityStays() {
				n.left("no majority of the nodes stays")
				return
			}
			n.rn.TransferLeader(uint64(n.heir()))
			n.noteRole()
			again(time.Duration(n.cfg.ElectionTicks) * n.cfg.Tick) // raft gives a transfer up after an election time-out
		})
	})
}

// heir is the node to which a leaving controller hands raft's leadership: the living one with the longest log. There is one where a majority stays.
func (n *Node) heir() int32 {
	progress := n.rn.Status().Progress
	heir, longest := int32(0), uint64(0)
	for _, id := range n.cfg.Peers {
		if id == n.cfg.ID || !n.replicaLive(id) {
			continue
		}
		if p := progress[uint64(id)]; heir == 0 || p.Match > longest {
			heir, longest = id, p.Match
		}
	}
	return heir
}

// majorityStays reports whether the nodes that live and do not leave are a majority. Without one nobody can take over anything.
func (n *Node) majorityStays() bool {
	return len(n.liveReplicas(n.cfg.Peers)) > len(n.cfg.Peers)/2
}

// leaving reports whether a broker has asked this controller, in its present boot, to end.
func (n *Node) leaving(id int32) bool {
	return slices.ContainsFunc(n.ctl.leaving, func(l *leavingBroker) bool { return l.id == id && n.heardBoot(id) <= l.boot })
}

// onControlledShutdown is the controller's part. It is answered once the broker leads nothing, and is in no ISR that another member leads; at once
// where so many leave that nothing more can be decided.
func (n *Node) onControlledShutdown(req *kmsg.ControlledShutdownRequest, from int32, done func(ctlResult)) {
	if req.BrokerID != from || uint64(req.BrokerEpoch) != n.bootOf(from) {
		resp := req.ResponseKind().(*kmsg.ControlledShutdownResponse)
		resp.ErrorCode = errStaleBrokerEpoch
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	i := slices.IndexFunc(n.ctl.leaving, func(l *leavingBroker) bool { return l.id == from && l.boot == uint64(req.BrokerEpoch) })
	if i < 0 {
		n.forgetLeaving(func(l *leavingBroker) bool { return l.id == from }) // in an earlier boot, which is over
		n.ctl.leaving = append(n.ctl.leaving, &leavingBroker{id: from, boot: uint64(req.BrokerEpoch)})
		i = len(n.ctl.leaving) - 1
	}
	n.ctl.leaving[i].done = append(n.ctl.leaving[i].done, done)
	n.relieve()
}

// relieve moves on with the hand-overs that somebody waits for. It is called when one begins, and after entries were applied.
func (n *Node) relieve() {
	for _, l := range slices.Clone(n.ctl.leaving) { // an answer here may end this node's own leadership
		if len(l.done) == 0 {
			continue
		}
		engaged := false
		for _, t := range n.state.Topics {
			for i, p := range t.Partitions {
				if p.Leader == l.id || slices.Contains(p.ISR, l.id) && p.Leader >= 0 && n.replicaLive(p.Leader) {
					engaged = true
					n.checkPartition(t, int32(i), p, causeShutdown)
				}
			}
		}
		if engaged && n.majorityStays() {
			continue
		}
		waiting := l.done
		l.done = nil
		for _, done := range waiting {
			resp := kmsg.NewPtrControlledShutdownResponse()
			resp.Version = resp.MaxVersion()
			done(ctlResult{resp: resp, index: n.applied})
		}
	}
}

// causeShutdown is why a partition is looked at for a broker that leaves, as in history.Propose.Cause.
const causeShutdown = "shutdown"

// forgetLeaving takes brokers that leave from the list. Who of them still waits asks the next controller.
func (n *Node) forgetLeaving(which func(*leavingBroker) bool) {
	var gone []*leavingBroker
	n.ctl.leaving = slices.DeleteFunc(slices.Clone(n.ctl.leaving), func(l *leavingBroker) bool {
		if which(l) {
			gone = append(gone, l)
			return true
		}
		return false
	})
	for _, l := range gone {
		for _, done := range l.done {
			done(ctlResult{status: ctlUnknown})
		}
	}
}

// everyLeaving is which of them a node forgets that leads no longer.
func everyLeaving(*leavingBroker) bool { return true }
