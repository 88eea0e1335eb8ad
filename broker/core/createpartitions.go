package core

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// CreatePartitions (key 37), versions 0 to 3 (KIP-195): topics get more partitions, placed as those of a new topic are, with as many replicas as the
// topic's first partition has. A count that is not more than there are is refused with INVALID_PARTITIONS.

// onClientCreatePartitions passes a client's request on to the controller.
func (n *Node) onClientCreatePartitions(rq *request, req *kmsg.CreatePartitionsRequest) {
	n.passOn(rq, "create_partitions", func(code int16) {
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewCreatePartitionsResponseTopic()
			rt.Topic, rt.ErrorCode = t.Topic, code
			resp.Topics = append(resp.Topics, rt)
		}
		n.reply(rq, resp)
	})
}

// onCreatePartitions is the controller's part. What the topics are like is judged at a ReadIndex; the command holds for that number of partitions alone.
func (n *Node) onCreatePartitions(req *kmsg.CreatePartitionsRequest, info ctlInfo, done func(ctlResult)) {
	n.linearizable(func(uint64) {
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		g := &gather{left: 1, done: func(g *gather) { // one more than there are, so that it ends after all are begun
			done(ctlResult{resp: resp, status: g.status(), index: max(g.index, n.applied)})
		}}
		resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(req.Topics))
		for i := range req.Topics {
			q, rt := &req.Topics[i], &resp.Topics[i]
			rt.Default()
			rt.Topic = q.Topic
			grow, code, why := n.moreFor(req, q)
			if code != errNone {
				rt.ErrorCode = code
				if why != "" {
					rt.ErrorMessage = &why
				}
				continue
			}
			if req.ValidateOnly {
				continue
			}
			g.left++
			g.parts++
			n.proposeFor(&meta.Command{Via: info.via, Cause: info.cause, Op: info.op, Grow: grow}, func(r ctlResult) {
				if r.status == ctlRefused {
					rt.ErrorCode = errNotController
				}
				g.add(r)
			}, func(a applied) ctlResult {
				switch a.res.Refused {
				case "":
				case meta.UnknownTopic:
					rt.ErrorCode = errUnknownTopicOrPartition
				default:
					why := "the topic has got partitions meanwhile: ask again"
					rt.ErrorCode, rt.ErrorMessage = errInvalidPartitions, &why
				}
				return ctlResult{index: a.index}
			})
		}
		g.add(ctlResult{})
	}, func() { done(ctlResult{status: ctlRefused}) })
}

// moreFor places the partitions that a topic is to get, or says why it gets none.
func (n *Node) moreFor(req *kmsg.CreatePartitionsRequest, q *kmsg.CreatePartitionsRequestTopic) (grow *meta.AddPartitions, code int16, why string) {
	named := 0
	for i := range req.Topics {
		if req.Topics[i].Topic == q.Topic {
			named++
		}
	}
	t := n.state.Topic(q.Topic)
	switch {
	case named > 1:
		return nil, errInvalidRequest, "the request names the topic twice"
	case !validTopicName(q.Topic) || internalTopic(q.Topic):
		return nil, errInvalidTopic, ""
	case t == nil:
		return nil, errUnknownTopicOrPartition, ""
	case int(q.Count) <= len(t.Partitions):
		return nil, errInvalidPartitions, "the topic has as many partitions already, and none is ever taken away"
	case q.Count > maxPartitionsOfTopic:
		return nil, errInvalidPartitions, "partitions must be 1 to 1000"
	}
	nt := newTopic{name: t.Name, partitions: q.Count - int32(len(t.Partitions)), replication: len(t.Partitions[0].Replicas)}
	if q.Assignment != nil {
		if len(q.Assignment) != int(nt.partitions) {
			return nil, errInvalidAssignment, "replica assignments must be as many as the partitions that are new"
		}
		for _, a := range q.Assignment {
			if len(a.Replicas) != nt.replication {
				return nil, errInvalidAssignment, "a partition must have as many replicas as the topic's others"
			}
			if why := n.badReplicas(a.Replicas); why != "" {
				return nil, errInvalidAssignment, why
			}
			nt.assignment = append(nt.assignment, slices.Clone(a.Replicas))
		}
	}
	grow = &meta.AddPartitions{Topic: t.ID, Name: t.Name, From: int32(len(t.Partitions))}
	grow.Partitions, code = n.place(nt)
	return grow, code, ""
}
