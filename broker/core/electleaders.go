package core

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// ElectLeaders (key 43), versions 0 to 2: the preferred replica, Replicas[0], is to lead (KIP-183, KIP-460). Unclean elections are refused with
// INVALID_REQUEST: there are none here. It goes the way of every change of leader: one SetPartitionLeader, by the controller.

const electPreferred int8 = 0

// onClientElectLeaders passes a client's request on to the controller.
func (n *Node) onClientElectLeaders(rq *request, req *kmsg.ElectLeadersRequest) {
	fail := func(code int16) {
		resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
		resp.ErrorCode = code
		for _, t := range req.Topics { // version 0 has no error of the whole
			rt := kmsg.NewElectLeadersResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, electAnswer(p, code, ""))
			}
			resp.Topics = append(resp.Topics, rt)
		}
		n.reply(rq, resp)
	}
	if req.ElectionType != electPreferred {
		fail(errInvalidRequest)
		return
	}
	n.passOn(rq, "elect_leaders", fail)
}

func electAnswer(partition int32, code int16, why string) kmsg.ElectLeadersResponseTopicPartition {
	p := kmsg.NewElectLeadersResponseTopicPartition()
	p.Partition, p.ErrorCode = partition, code
	if why != "" {
		p.ErrorMessage = &why
	}
	return p
}

// onElectLeaders is the controller's part. What exists, and who leads, is judged at a ReadIndex. Topics nil means all partitions; then, as in Kafka,
// those whose preferred replica leads already are left out of the answer.
func (n *Node) onElectLeaders(req *kmsg.ElectLeadersRequest, info ctlInfo, done func(ctlResult)) {
	n.linearizable(func(uint64) {
		resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
		g := &gather{left: 1, done: func(g *gather) { // one more than there are, so that it ends after all are begun
			done(ctlResult{resp: resp, status: g.status(), index: max(g.index, n.applied)})
		}}
		all := req.Topics == nil
		asked := req.Topics
		if all {
			for _, t := range n.state.Topics {
				rt := kmsg.NewElectLeadersRequestTopic()
				rt.Topic = t.Name
				for i := range t.Partitions {
					rt.Partitions = append(rt.Partitions, int32(i))
				}
				asked = append(asked, rt)
			}
		}
		resp.Topics = make([]kmsg.ElectLeadersResponseTopic, len(asked))
		for ti, q := range asked {
			at := &resp.Topics[ti]
			at.Default()
			at.Topic = q.Topic
			at.Partitions = make([]kmsg.ElectLeadersResponseTopicPartition, 0, len(q.Partitions)) // what is under way points into it
			for _, p := range q.Partitions {
				code, why := n.preferredCode(q.Topic, p)
				if all && code == errElectionNotNeeded {
					continue
				}
				at.Partitions = append(at.Partitions, electAnswer(p, code, why))
				if code == errNone {
					g.left++
					g.parts++
					n.electPreferred(q.Topic, &at.Partitions[len(at.Partitions)-1], info, g.add)
				}
			}
		}
		resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.ElectLeadersResponseTopic) bool { return all && len(t.Partitions) == 0 })
		g.add(ctlResult{})
	}, func() { done(ctlResult{status: ctlRefused}) })
}

// preferredCode is errNone where the preferred replica can be elected and does not lead yet.
func (n *Node) preferredCode(topic string, partition int32) (code int16, why string) {
	t := n.state.Topic(topic)
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
		return errUnknownTopicOrPartition, ""
	}
	p := t.Partitions[partition]
	switch preferred := p.Replicas[0]; {
	case p.Leader == preferred:
		return errElectionNotNeeded, "the preferred replica leads"
	case !slices.Contains(p.ISR, preferred) || !n.replicaLive(preferred):
		return errPreferredUnavailable, "the preferred replica is not in sync, or its broker is not alive"
	case n.elector.under[PartitionID{Topic: t.ID, Partition: partition}]:
		return errPreferredUnavailable, "another election of this partition is under way: ask again"
	}
	return errNone, ""
}

func (n *Node) electPreferred(topic string, a *kmsg.ElectLeadersResponseTopicPartition, info ctlInfo, done func(ctlResult)) {
	t := n.state.Topic(topic)
	p := t.Partitions[a.Partition]
	began := n.setLeaderFor(t, a.Partition, p, p.Replicas[0], p.ISR, info, func(ap applied) {
		switch {
		case ap.lost:
			a.ErrorCode = errNotController
			done(ctlResult{status: ctlRefused})
		case ap.unknown:
			done(ctlResult{status: ctlUnknown})
		default:
			if ap.res.Refused == meta.UnknownTopic {
				a.ErrorCode = errUnknownTopicOrPartition
			} else if ap.res.Refused != "" {
				why := "the partition has changed meanwhile: ask again"
				a.ErrorCode, a.ErrorMessage = errPreferredUnavailable, &why
			}
			done(ctlResult{index: ap.index})
		}
	})
	if !began {
		a.ErrorCode = errNotController
		done(ctlResult{status: ctlRefused})
	}
}
