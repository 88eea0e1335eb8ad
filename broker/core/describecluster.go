package core

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeCluster (key 60), versions 0 and 1 (KIP-700): the brokers and the controller, as Metadata has them. Controllers have no listener of their own
// here, so what asks for theirs (KIP-919) is refused with UNSUPPORTED_ENDPOINT_TYPE.

const endpointBrokers int8 = 1

// onDescribeCluster answers from linearizable state.
func (n *Node) onDescribeCluster(rq *request, req *kmsg.DescribeClusterRequest) {
	answer := func(code int16, index uint64) {
		resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
		resp.ErrorCode, resp.ClusterID, resp.ControllerID = code, clusterID, -1
		if code == errNone {
			if leader, known, _ := n.LeaderStatus(); known {
				resp.ControllerID = leader
			}
			for _, b := range n.state.Brokers {
				rb := kmsg.NewDescribeClusterResponseBroker()
				rb.NodeID, rb.Host, rb.Port = b.ID, b.Host, b.Port
				resp.Brokers = append(resp.Brokers, rb)
			}
		}
		n.replyAt(rq, resp, index)
	}
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		answer(errUnsupportedEndpoint, 0)
		return
	}
	n.confirmedRead(rq, func(index uint64) { answer(errNone, index) }, func() { answer(errRequestTimedOut, 0) })
}
