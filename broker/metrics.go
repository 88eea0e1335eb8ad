package broker

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"soak/broker/core"
	"soak/internal/usage"
)

// coreGauge is one of the core's own gauges.
type coreGauge struct {
	desc  *prometheus.Desc
	value func(core.Stats) float64
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("soak_broker_"+name, help, labels, nil)
}

var coreGauges = []coreGauge{
	{desc("raft_term", "Raft term."), func(s core.Stats) float64 { return float64(s.Term) }},
	{desc("raft_leader", "Id of the raft leader, 0 if none is known."), func(s core.Stats) float64 { return float64(s.Leader) }},
	{desc("raft_applied", "Raft index of the last applied entry."), func(s core.Stats) float64 { return float64(s.Applied) }},
	{desc("raft_snapshot", "Raft index of the last snapshot, 0 if there is none."), func(s core.Stats) float64 { return float64(s.Snapshot) }},
	{desc("raft_log_entries", "Entries of the raft log, in memory and on disk."), func(s core.Stats) float64 { return float64(s.RaftLog) }},
	{desc("ready", "1 once the node is registered and knows a leader."), func(s core.Stats) float64 {
		if s.Ready {
			return 1
		}
		return 0
	}},
	{desc("topics", "Topics."), func(s core.Stats) float64 { return float64(s.Topics) }},
	{desc("partitions", "Partitions with a replica here."), func(s core.Stats) float64 { return float64(s.Partitions) }},
	{desc("refused_proposals", "Raft proposals from the network, refused since the start."), func(s core.Stats) float64 { return float64(s.RefusedProposals) }},
	{desc("proposals", "Proposals waiting to be applied."), func(s core.Stats) float64 { return float64(s.Proposals) }},
	{desc("forwards", "Requests waiting for the controller's answer."), func(s core.Stats) float64 { return float64(s.Forwards) }},
	{desc("reads", "Requests waiting for ReadIndex."), func(s core.Stats) float64 { return float64(s.Reads) }},
	{desc("produce_waiters", "Produce requests waiting for the high watermark."), func(s core.Stats) float64 { return float64(s.Waiters) }},
	{desc("parked_fetches", "Fetches waiting for data."), func(s core.Stats) float64 { return float64(s.Parked) }},
	{desc("sessions", "Brokers with a live session."), func(s core.Stats) float64 { return float64(s.Sessions) }},
	{desc("core_connections", "Connections with requests under way."), func(s core.Stats) float64 { return float64(s.Connections) }},
	{desc("disk_operations", "Disk operations under way."), func(s core.Stats) float64 { return float64(s.DiskOps) }},
	{desc("queued_bytes", "Bytes appended and not yet on disk."), func(s core.Stats) float64 { return float64(s.QueuedBytes) }},
}

var (
	connectionsDesc = desc("client_connections", "Client connections.")
	acceptedDesc    = desc("client_connections_accepted_total", "Client connections accepted.")
	refusedDesc     = desc("client_connections_refused_total", "Client connections refused at the limit.")
	malformedDesc   = desc("malformed_requests_total", "Client connections ended because of what they sent.")
	oversizedDesc   = desc("oversized_requests_total", "Client connections ended because of a request beyond the size limit; malformed requests include them.")
	heapLiveDesc    = desc("heap_live_bytes", "Bytes that the last garbage collection found in use.")
	waitingDesc     = desc("requests_waiting", "Requests of clients and of the node itself that wait for something.")
	inFlightDesc    = desc("bytes_in_flight", "Bytes of requests read and not yet answered.")
	droppedDesc     = desc("peer_frames_dropped_total", "Messages to a peer that were dropped.", "peer")
)

// Describe is of prometheus.Collector. It names nothing, because the core's gauges come and go with the loop's answer.
func (a *admin) Describe(chan<- *prometheus.Desc) {}

// Collect is of prometheus.Collector. The core's gauges are left out while the loop does not answer.
func (a *admin) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	if s, err := a.ask(context.Background()); err == nil {
		for _, g := range coreGauges {
			put(g.desc, prometheus.GaugeValue, g.value(s))
		}
		put(waitingDesc, prometheus.GaugeValue, float64(s.Waiting()))
	}
	put(heapLiveDesc, prometheus.GaugeValue, float64(usage.Read().HeapLive))
	put(connectionsDesc, prometheus.GaugeValue, float64(a.clients.count()))
	put(acceptedDesc, prometheus.CounterValue, float64(a.clients.accepted.Load()))
	put(refusedDesc, prometheus.CounterValue, float64(a.clients.refused.Load()))
	put(malformedDesc, prometheus.CounterValue, float64(a.clients.malformed.Load()))
	put(oversizedDesc, prometheus.CounterValue, float64(a.clients.oversized.Load()))
	put(inFlightDesc, prometheus.GaugeValue, float64(a.clients.flying.Load()))
	for id, p := range a.peers.senders {
		put(droppedDesc, prometheus.CounterValue, float64(p.dropped.Load()), strconv.Itoa(int(id)))
	}
}
