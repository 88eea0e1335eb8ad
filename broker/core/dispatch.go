package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// dispatch gives a client's request to its handler.
func (n *Node) dispatch(rq *request) {
	switch req := rq.Req.(type) {
	case *kmsg.ApiVersionsRequest:
		n.onApiVersions(rq, req)
	case *kmsg.MetadataRequest:
		n.onMetadata(rq, req)
	case *kmsg.ProduceRequest:
		n.onProduce(rq, req)
	case *kmsg.FetchRequest:
		n.onFetch(rq, req)
	case *kmsg.ListOffsetsRequest:
		n.onListOffsets(rq, req)
	case *kmsg.OffsetForLeaderEpochRequest:
		n.onOffsetForLeaderEpoch(rq, req)
	case *kmsg.CreateTopicsRequest:
		n.onClientCreateTopics(rq, req)
	case *kmsg.DeleteTopicsRequest:
		n.onClientDeleteTopics(rq, req)
	case *kmsg.DescribeConfigsRequest:
		n.onDescribeConfigs(rq, req)
	case *kmsg.IncrementalAlterConfigsRequest:
		n.onClientAlterConfigs(rq, req)
	case *kmsg.AlterConfigsRequest:
		n.onClientSetConfigs(rq, req)
	case *kmsg.CreatePartitionsRequest:
		n.onClientCreatePartitions(rq, req)
	case *kmsg.ElectLeadersRequest:
		n.onClientElectLeaders(rq, req)
	case *kmsg.DescribeClusterRequest:
		n.onDescribeCluster(rq, req)
	case *kmsg.InitProducerIDRequest:
		n.onInitProducerID(rq, req)
	default:
		n.closeConn(rq) // the wire lets none through that is not advertised
	}
}

// confirmedRead answers a request from metadata that is linearizable; without a confirmation no answer is made up: fail says how to refuse.
func (n *Node) confirmedRead(rq *request, answer func(index uint64), fail func()) {
	n.linearizable(func(index uint64) {
		if rq.Op != "" {
			n.emit(&history.Read{Op: rq.Op, Index: n.applied})
		}
		answer(n.applied)
	}, fail)
}

// passOn has the controller, wherever it is, carry out a client's request, and answers what became of it: as the controller did, or by fail with
// NOT_CONTROLLER (surely no effect) or REQUEST_TIMED_OUT (it may have reached the log).
func (n *Node) passOn(rq *request, cause string, fail func(code int16)) {
	n.controllerRequest(rq.Req, ctlInfo{cause: cause, op: rq.Op, via: n.cfg.ID}, func(r ctlResult) {
		switch {
		case r.status == ctlRefused:
			fail(errNotController)
		case r.status == ctlUnknown || r.resp == nil || r.resp.Key() != rq.Req.Key():
			fail(errRequestTimedOut)
		default:
			n.replyAt(rq, r.resp, r.index)
		}
	})
}

// onClientCreateTopics passes a client's request on to the controller, wherever it is.
func (n *Node) onClientCreateTopics(rq *request, req *kmsg.CreateTopicsRequest) {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	fail := func(code int16) {
		resp.Topics = nil
		for _, t := range req.Topics {
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic, rt.ErrorCode = t.Topic, code
			resp.Topics = append(resp.Topics, rt)
		}
		n.reply(rq, resp)
	}
	if req.ValidateOnly {
		n.confirmedRead(rq, func(index uint64) {
			for i := range req.Topics {
				rt := kmsg.NewCreateTopicsResponseTopic()
				rt.Topic = req.Topics[i].Topic
				t, code, why := n.parseNewTopic(&req.Topics[i])
				switch {
				case code != errNone:
					rt.ErrorCode, rt.ErrorMessage = code, &why
				case n.state.Topic(t.name) != nil:
					rt.ErrorCode = errTopicExists
				}
				resp.Topics = append(resp.Topics, rt)
			}
			n.replyAt(rq, resp, index)
		}, func() { fail(errRequestTimedOut) })
		return
	}
	n.passOn(rq, "create_topics", fail)
}

// onClientDeleteTopics passes a client's request on to the controller.
func (n *Node) onClientDeleteTopics(rq *request, req *kmsg.DeleteTopicsRequest) {
	fail := func(code int16) {
		resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
		add := func(name *string, id [16]byte) {
			rt := kmsg.NewDeleteTopicsResponseTopic()
			rt.Topic, rt.TopicID, rt.ErrorCode = name, id, code
			resp.Topics = append(resp.Topics, rt)
		}
		for _, name := range req.TopicNames {
			add(kmsg.StringPtr(name), [16]byte{})
		}
		for _, t := range req.Topics {
			add(t.Topic, t.TopicID)
		}
		n.reply(rq, resp)
	}
	n.passOn(rq, "delete_topics", fail)
}
