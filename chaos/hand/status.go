package hand

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/chaos"
	"soak/chaos/knock"
)

// askTime bounds one question to a node.
const askTime = 1500 * time.Millisecond

// maxPartitions bounds how many partitions a status shows.
const maxPartitions = 1000

// Status is how a cluster stands.
type Status struct {
	Info
	Leader     int32             `json:"leader"` // of raft: the controller; 0 if none is known
	Term       uint64            `json:"term"`
	State      []NodeStatus      `json:"state"`
	Partitions []PartitionStatus `json:"partitions,omitempty"`
	// PartitionsFrom is the node that told of the partitions; 0 where none could, and then PartitionsWhy says why.
	PartitionsFrom int32         `json:"partitions_from,omitempty"`
	PartitionsWhy  string        `json:"partitions_why,omitempty"`
	Omitted        int           `json:"omitted,omitempty"` // partitions that are not shown
	Faults         []FaultStatus `json:"faults"`
}

// NodeStatus is how a node stands.
type NodeStatus struct {
	Node    int32  `json:"node"`
	Addr    string `json:"addr"`
	State   string `json:"state"`   // up, down, paused or cut
	Answers bool   `json:"answers"` // to clients
	Role    string `json:"role"`    // raft-leader, partition-leader or follower
	Faults  []int  `json:"faults,omitempty"`
}

// PartitionStatus is a partition as a node's metadata has it.
type PartitionStatus struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"` // -1: none
	Epoch     int32   `json:"leader_epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
}

// Status looks at the cluster: its events, and what the nodes answer now.
func (h *Hand) Status(ctx context.Context) Status {
	s := Status{Info: h.info, Faults: []FaultStatus{}}
	h.mu.Lock()
	s.Leader, s.Term = h.roles.Leader()
	for _, f := range h.sorted() {
		s.Faults = append(s.Faults, f.snapshot())
	}
	for id := int32(1); int(id) <= h.info.Nodes; id++ {
		n := NodeStatus{Node: id, Addr: h.cluster.Addr(id), Role: h.roles.RoleOf(id), State: "up"}
		for _, f := range s.Faults {
			if slices.Contains(f.Nodes, id) {
				n.Faults = append(n.Faults, f.ID)
				n.State = worse(n.State, stateOf(f.Kind))
			}
		}
		if h.roles.Down(id) {
			n.State = "down"
		}
		s.State = append(s.State, n)
	}
	h.mu.Unlock()

	var all sync.WaitGroup
	for i := range s.State {
		if n := &s.State[i]; n.State != "down" {
			all.Go(func() { n.Answers = knock.Answered(ctx, n.Addr) == nil })
		}
	}
	all.Wait()
	h.partitions(ctx, &s)
	return s
}

// stateOf is what a fault of this kind makes of a node while it lasts; the down ones are seen by themselves.
func stateOf(kind string) string {
	switch kind {
	case chaos.Pause:
		return "paused"
	case chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping:
		return "cut"
	}
	return "up"
}

func worse(a, b string) string {
	known := []string{"up", "cut", "paused"}
	return known[max(slices.Index(known, a), slices.Index(known, b))]
}

// partitions asks the nodes that answer, one after the other, until one tells of the partitions.
func (h *Hand) partitions(ctx context.Context, s *Status) {
	s.PartitionsWhy = "no node answers clients"
	for _, n := range s.State {
		if !n.Answers {
			continue
		}
		m, err := h.metadata(ctx, n.Node)
		if err != nil {
			s.PartitionsWhy = fmt.Sprintf("n%d: %v", n.Node, err)
			continue
		}
		s.PartitionsFrom, s.PartitionsWhy = n.Node, ""
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				if t.Topic == nil {
					continue
				}
				if len(s.Partitions) == maxPartitions {
					s.Omitted++
					continue
				}
				s.Partitions = append(s.Partitions, PartitionStatus{Topic: *t.Topic, Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR})
			}
		}
		slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
			if a.Topic != b.Topic {
				if a.Topic < b.Topic {
					return -1
				}
				return 1
			}
			return int(a.Partition - b.Partition)
		})
		return
	}
}

// metadata asks one node for everything that it knows.
func (h *Hand) metadata(ctx context.Context, node int32) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if h.ask != nil {
		return h.ask(ctx, node)
	}
	b := h.client.SeedBrokers()[node-1]
	r, err := b.Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil && ctx.Err() == nil { // the connection may be one of the node's last life
		r, err = b.Request(ctx, kmsg.NewPtrMetadataRequest())
	}
	if err != nil {
		return nil, fmt.Errorf("asking for its metadata: %w", err)
	}
	m, ok := r.(*kmsg.MetadataResponse)
	if !ok {
		return nil, fmt.Errorf("asking for its metadata: it answered with %T", r)
	}
	for _, t := range m.Topics {
		if t.ErrorCode == kerr.RequestTimedOut.Code { // it could not make sure; other errors are of the topic
			return nil, fmt.Errorf("asking for its metadata: %w", kerr.RequestTimedOut)
		}
	}
	if len(m.Brokers) == 0 {
		return nil, fmt.Errorf("asking for its metadata: it names no brokers yet")
	}
	return m, nil
}
