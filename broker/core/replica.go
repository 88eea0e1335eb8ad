package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// replication is what a node keeps about the partitions that it has a replica of.
type replication struct{}

func (n *Node) initReplication(boot Boot)                                                 {}
func (n *Node) partitionChanged(t *meta.Topic, p int32, index uint64)                     {}
func (n *Node) topicDeleted(t *meta.Topic, index uint64)                                  {}
func (n *Node) brokerRegistered(id int32, boot uint64)                                    {}
func (n *Node) onPeerFetch(from int32, fromBoot uint64, m *PeerFetch)                     {}
func (n *Node) onPeerFetchResp(from int32, fromBoot uint64, m *PeerFetchResp)             {}
func (n *Node) onProduce(rq *request, req *kmsg.ProduceRequest)                           {}
func (n *Node) onFetch(rq *request, req *kmsg.FetchRequest)                               {}
func (n *Node) onListOffsets(rq *request, req *kmsg.ListOffsetsRequest)                   {}
func (n *Node) onOffsetForLeaderEpoch(rq *request, req *kmsg.OffsetForLeaderEpochRequest) {}
func (n *Node) replicationReady()                                                         {}
func (n *Node) replicationStats(s *Stats)                                                 {}
