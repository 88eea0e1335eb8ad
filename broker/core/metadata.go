package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// clusterID is what every cluster is called.
const clusterID = "soak"

// onMetadata answers Metadata v0 to v13 from linearizable state, creating missing topics where the client allows it. What is not
// confirmed in time is not answered: before v13 the protocol has no error for it, so the connection is closed.
func (n *Node) onMetadata(rq *request, req *kmsg.MetadataRequest) {
	fail := func() {
		if req.Version < 13 {
			n.closeConn(rq)
			return
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.ErrorCode = errRequestTimedOut
		n.reply(rq, resp)
	}
	n.confirmedRead(rq, func(uint64) {
		missing := n.missingTopics(req)
		if len(missing) == 0 {
			n.replyMetadata(rq, req, nil)
			return
		}
		n.autoCreate(missing, "auto_create_metadata", rq.Op, func() { n.replyMetadata(rq, req, missing) })
	}, fail)
}

func (n *Node) missingTopics(req *kmsg.MetadataRequest) []string {
	if !n.cfg.AutoCreate || req.Version >= 4 && !req.AllowAutoTopicCreation {
		return nil
	}
	var missing []string
	for _, t := range req.Topics {
		if t.Topic != nil && n.state.Topic(*t.Topic) == nil && validTopicName(*t.Topic) && !internalTopic(*t.Topic) {
			missing = append(missing, *t.Topic)
		}
	}
	return missing
}

// replyMetadata answers from the applied state. Topics in tried were to be created: if they are still missing, they may be on their way.
func (n *Node) replyMetadata(rq *request, req *kmsg.MetadataRequest, tried []string) {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	for _, b := range n.state.Brokers {
		rb := kmsg.NewMetadataResponseBroker()
		rb.NodeID, rb.Host, rb.Port = b.ID, b.Host, b.Port
		resp.Brokers = append(resp.Brokers, rb)
	}
	resp.ClusterID = kmsg.StringPtr(clusterID)
	resp.ControllerID = -1
	if leader, known, _ := n.LeaderStatus(); known {
		resp.ControllerID = leader
	}
	add := func(t *meta.Topic) { resp.Topics = append(resp.Topics, n.describeTopic(t)) }
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range n.state.Topics {
			add(t)
		}
	}
	for _, q := range req.Topics {
		var t *meta.Topic
		code := errUnknownTopicOrPartition
		if q.Topic != nil {
			t = n.state.Topic(*q.Topic)
			if !validTopicName(*q.Topic) {
				code = errInvalidTopic
			}
			for _, name := range tried {
				if name == *q.Topic {
					code = errLeaderNotAvailable
				}
			}
		} else {
			t = n.state.TopicByID(q.TopicID)
			code = errUnknownTopicID
		}
		if t != nil {
			add(t)
			continue
		}
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic, rt.TopicID, rt.ErrorCode = q.Topic, q.TopicID, code
		resp.Topics = append(resp.Topics, rt)
	}
	n.replyAt(rq, resp, n.applied)
}

func (n *Node) describeTopic(t *meta.Topic) kmsg.MetadataResponseTopic {
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.TopicID, rt.IsInternal = kmsg.StringPtr(t.Name), t.ID, internalTopic(t.Name)
	for i, p := range t.Partitions {
		rp := kmsg.NewMetadataResponseTopicPartition()
		rp.Partition, rp.Leader, rp.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		rp.Replicas, rp.ISR = p.Replicas, p.ISR
		if p.Leader == meta.NoLeader {
			rp.ErrorCode = errLeaderNotAvailable
		}
		for _, r := range p.Replicas {
			if !n.sessionLive(r) {
				rp.OfflineReplicas = append(rp.OfflineReplicas, r)
			}
		}
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}
