package core

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetForLeaderEpoch (key 23), versions 0 to 4, from the leader: where a leader epoch ends in its log, so that a consumer finds out
// whether what it has read was truncated (KIP-101, KIP-279, KIP-320). An epoch that the leader does not know yet is answered with -1.
func (n *Node) onOffsetForLeaderEpoch(rq *request, req *kmsg.OffsetForLeaderEpochRequest) {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for ti := range req.Topics {
		qt := &req.Topics[ti]
		at := kmsg.NewOffsetForLeaderEpochResponseTopic()
		at.Topic = qt.Topic
		t := n.state.Topic(qt.Topic)
		for pi := range qt.Partitions {
			q := &qt.Partitions[pi]
			a := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			a.Partition = q.Partition
			r, code := n.replicaOf(t, q.Partition, errUnknownTopicOrPartition)
			if code == errNone {
				code = r.checkEpoch(q.CurrentLeaderEpoch)
			}
			if code == errNone && r.role != replicaLeader {
				code = errNotLeader
			}
			if a.ErrorCode = code; code == errNone {
				a.LeaderEpoch, a.EndOffset = r.endOf(q.LeaderEpoch)
			}
			at.Partitions = append(at.Partitions, a)
		}
		resp.Topics = append(resp.Topics, at)
	}
	n.reply(rq, resp)
}
