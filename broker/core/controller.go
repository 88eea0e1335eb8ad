package core

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// ctlInfo says where a request to the controller comes from.
type ctlInfo struct {
	cause string // as in history.Propose.Cause
	op    string // id of the client operation behind it, "" if none
	via   int32  // node that the client's request reached, 0 where there is no client
}

// ctlStatus is what the asker knows about a request to the controller.
type ctlStatus uint8

const (
	ctlAnswered ctlStatus = iota
	ctlRefused            // surely no effect: it never entered the log
	ctlUnknown            // no answer in time: it may take effect, now or later
)

// ctlResult is the outcome of a request to the controller. index is the raft index at which it was decided.
type ctlResult struct {
	resp   kmsg.Response
	status ctlStatus
	index  uint64
}

// controller is what this node does while it is the raft leader.
type controller struct {
	waiting      []waitingRequest // arrived before the own-term entry was applied
	refusedProps uint64           // raft proposals that came from the network
	seen         []seenForwards   // by sender
	topicSeq     uint64           // topics placed by this node, for the rotation
	leaving      []*leavingBroker // in the order in which they asked
	givenIDs     int64            // producer ids given by this node in this boot; for a planted bug alone
}

type waitingRequest struct {
	req  kmsg.Request
	info ctlInfo
	from int32
	done func(ctlResult)
}

// handle carries out a request on the controller. The caller has checked that this node is the raft leader. Requests that come before the
// own-term entry is applied wait for it.
func (n *Node) handle(req kmsg.Request, info ctlInfo, from int32, done func(ctlResult)) {
	if !n.ownTermApplied() {
		n.ctl.waiting = append(n.ctl.waiting, waitingRequest{req, info, from, done})
		return
	}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		n.onCreateTopics(req, info, done)
	case *kmsg.DeleteTopicsRequest:
		n.onDeleteTopics(req, info, done)
	case *kmsg.IncrementalAlterConfigsRequest:
		n.onAlterConfigs(req, info, done)
	case *kmsg.AlterConfigsRequest:
		n.onSetConfigs(req, info, done)
	case *kmsg.CreatePartitionsRequest:
		n.onCreatePartitions(req, info, done)
	case *kmsg.ElectLeadersRequest:
		n.onElectLeaders(req, info, done)
	case *kmsg.BrokerRegistrationRequest:
		n.onRegister(req, info, done)
	case *kmsg.AlterPartitionRequest:
		n.onAlterPartition(req, info, from, done)
	case *kmsg.InitProducerIDRequest:
		n.onNewProducerID(req, info, done)
	case *kmsg.ControlledShutdownRequest:
		n.onControlledShutdown(req, from, done)
	default:
		done(ctlResult{status: ctlRefused})
	}
}

// controllerReady is called when this node leads and its own-term entry is applied (and again with later entries).
func (n *Node) controllerReady() {
	n.startupReady()
	waiting := n.ctl.waiting
	n.ctl.waiting = nil
	for _, w := range waiting {
		n.handle(w.req, w.info, w.from, w.done)
	}
	n.relieve()
}

// controllerLost is called when this node stops being the leader of its term: what waits has not entered the log.
func (n *Node) controllerLost() {
	waiting := n.ctl.waiting
	n.ctl.waiting = nil
	for _, w := range waiting {
		w.done(ctlResult{status: ctlRefused})
	}
	n.forgetLeaving(everyLeaving)
}

// proposeFor proposes a command and answers a controller request by what became of it.
func (n *Node) proposeFor(cmd *meta.Command, done func(ctlResult), answer func(applied) ctlResult) {
	err := n.propose(cmd, func(a applied) {
		switch {
		case a.lost:
			done(ctlResult{status: ctlRefused})
		case a.unknown:
			done(ctlResult{status: ctlUnknown})
		default:
			done(answer(a))
		}
	})
	if err != nil {
		done(ctlResult{status: ctlRefused})
	}
}

// gather collects the results of n parts of one request: refused if all were, unknown if any is.
type gather struct {
	left    int
	refused int
	parts   int
	unknown bool
	index   uint64
	done    func(g *gather)
}

func (g *gather) add(r ctlResult) {
	g.left--
	switch r.status {
	case ctlRefused:
		g.refused++
	case ctlUnknown:
		g.unknown = true
	}
	g.index = max(g.index, r.index)
	if g.left == 0 {
		g.done(g)
	}
}

// status: a request of which a part entered the log is answered part by part; a part that was refused has a code to say so.
func (g *gather) status() ctlStatus {
	switch {
	case g.unknown:
		return ctlUnknown
	case g.parts > 0 && g.refused == g.parts:
		return ctlRefused
	}
	return ctlAnswered
}

// onAlterPartition lets a partition's leader change its ISR. A stale boot, a dead member, and another epoch are refused (KIP-903).
func (n *Node) onAlterPartition(req *kmsg.AlterPartitionRequest, info ctlInfo, from int32, done func(ctlResult)) {
	resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
	resp.SetVersion(req.MaxVersion())
	if req.BrokerID != from || uint64(req.BrokerEpoch) != n.bootOf(from) {
		resp.ErrorCode = errStaleBrokerEpoch
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	g := &gather{done: func(g *gather) { done(ctlResult{resp: resp, status: g.status(), index: g.index}) }}
	type part struct{ t, p int }
	var parts []part
	for ti := range req.Topics {
		rt := kmsg.NewAlterPartitionResponseTopic()
		rt.TopidID = req.Topics[ti].TopicID // spelled so in kmsg
		for pi := range req.Topics[ti].Partitions {
			rp := kmsg.NewAlterPartitionResponseTopicPartition()
			rp.Partition = req.Topics[ti].Partitions[pi].Partition
			rt.Partitions = append(rt.Partitions, rp)
			parts = append(parts, part{ti, pi})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(parts) == 0 {
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	g.left, g.parts = len(parts), len(parts)
	for _, x := range parts {
		q, a := &req.Topics[x.t].Partitions[x.p], &resp.Topics[x.t].Partitions[x.p]
		n.alterPartition(req.Topics[x.t].TopicID, q, info, from, a, g.add)
	}
}

func (n *Node) alterPartition(topic meta.TopicID, q *kmsg.AlterPartitionRequestTopicPartition, info ctlInfo, from int32, a *kmsg.AlterPartitionResponseTopicPartition, done func(ctlResult)) {
	t := n.state.TopicByID(topic)
	p := n.state.Partition(topic, q.Partition)
	isr := slices.Clone(q.NewISR)
	stale := false
	for _, m := range q.NewEpochISR {
		isr = append(isr, m.BrokerID)
		if p != nil && !slices.Contains(p.ISR, m.BrokerID) && uint64(m.BrokerEpoch) != n.bootOf(m.BrokerID) {
			stale = true // judged by what an earlier boot had reported (KIP-903)
		}
	}
	slices.Sort(isr)
	isr = slices.Compact(isr)
	refuse := func(code int16) {
		a.ErrorCode = code
		done(ctlResult{index: n.applied})
	}
	switch {
	case p == nil:
		refuse(errUnknownTopicID)
		return
	case p.Leader != from:
		refuse(errNotLeader)
		return
	case p.LeaderEpoch != q.LeaderEpoch:
		refuse(errFencedLeaderEpoch)
		return
	case p.PartitionEpoch != q.PartitionEpoch:
		refuse(errInvalidUpdateVersion)
		return
	case len(isr) == 0 || !slices.Contains(isr, from):
		refuse(errInvalidRequest)
		return
	case stale:
		refuse(errIneligibleReplica)
		return
	}
	for _, m := range isr {
		if !slices.Contains(p.Replicas, m) || !slices.Contains(p.ISR, m) && !n.replicaLive(m) {
			refuse(errIneligibleReplica)
			return
		}
	}
	cmd := &meta.Command{Via: info.via, Cause: info.cause, ChangeISR: &meta.ChangeISR{
		Topic: topic, Name: t.Name, Partition: q.Partition, ExpectedEpoch: q.PartitionEpoch, LeaderEpoch: q.LeaderEpoch, ISR: isr,
	}}
	n.proposeFor(cmd, func(r ctlResult) {
		if r.status == ctlRefused {
			a.ErrorCode = errNotController // without a code the leader would wait for a change that never comes
		}
		done(r)
	}, func(ap applied) ctlResult {
		if ap.res.Refused != "" {
			a.ErrorCode = errInvalidUpdateVersion
		} else if len(ap.res.Changes) == 1 {
			c := ap.res.Changes[0]
			a.LeaderID, a.LeaderEpoch, a.ISR, a.PartitionEpoch = c.Leader, c.LeaderEpoch, c.ISR, c.PartitionEpoch
		}
		return ctlResult{index: ap.index}
	})
}
