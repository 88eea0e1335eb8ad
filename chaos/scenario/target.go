package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"soak/workloads/gen"
)

// Targets named by a role alone.
const (
	TargetRaftLeader      = "raft-leader"
	TargetFollower        = "follower"         // a node that is not the raft leader
	TargetPartitionLeader = "partition-leader" // leads a record partition and is not the raft leader
	TargetAll             = "all"
)

// targetClient is the role of targets that are clients.
const targetClient = "client"

// Target is a parsed target. Role is one of the constants above; or "leader" with Topic and Partition; or "node" with Node; or "nodes" with Nodes,
// at least two, ascending; or "client" with Client.
type Target struct {
	Role      string
	Node      int32
	Nodes     []int32 // of the role "nodes"
	Topic     string
	Partition int32
	Client    string // of the role "client": a client's name, or gen.AllClients
}

// ParseTarget reads "raft-leader", "follower", "partition-leader", "all", "leader(orders-0)", "n2" or "n1+n3"; or a client: "produce-1",
// "metadata-2", "consume-1", "autocreate" or "clients".
func ParseTarget(text string) (Target, error) {
	switch text {
	case TargetRaftLeader, TargetFollower, TargetPartitionLeader, TargetAll:
		return Target{Role: text}, nil
	}
	if inner, ok := strings.CutPrefix(text, "leader("); ok {
		inner, closed := strings.CutSuffix(inner, ")")
		cut := strings.LastIndexByte(inner, '-')
		if closed && cut > 0 {
			if p, err := strconv.ParseInt(inner[cut+1:], 10, 32); err == nil && p >= 0 {
				return Target{Role: "leader", Topic: inner[:cut], Partition: int32(p)}, nil
			}
		}
		return Target{}, fmt.Errorf("target %q: want leader(TOPIC-PARTITION), as in leader(orders-0)", text)
	}
	if _, _, ok := gen.ParseClient(text); ok {
		return Target{Role: targetClient, Client: text}, nil
	}
	var ids []int32
	for name := range strings.SplitSeq(text, "+") {
		digits, ok := strings.CutPrefix(name, "n")
		id, err := strconv.ParseInt(digits, 10, 32)
		if !ok || err != nil || id < 1 || len(ids) > 0 && int32(id) <= ids[len(ids)-1] {
			return Target{}, fmt.Errorf("unknown target %q", text)
		}
		ids = append(ids, int32(id))
	}
	if len(ids) == 1 {
		return Target{Role: "node", Node: ids[0]}, nil
	}
	return Target{Role: "nodes", Nodes: ids}, nil
}
