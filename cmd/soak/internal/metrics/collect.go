package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"soak/chaos/runloop"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("soak_run_"+name, help, labels, nil)
}

var (
	infoDesc      = desc("info", "1, with what the run is.", "id", "scenario", "driver", "seed", "version")
	phaseDesc     = desc("phase", "1 for the phase that the run is in, 0 for the others.", "phase")
	intervalsDesc = desc("intervals", "Election intervals counted.")
	wantedDesc    = desc("intervals_wanted", "Election intervals that the run is to count.")
	leaderDesc    = desc("raft_leader", "Id of the raft leader, 0 if none is known.")
	termDesc      = desc("raft_term", "Raft term of that leader.")
	leftDesc      = desc("left_seconds", "Estimated time until the run's end.")
	recordsDesc   = desc("records_total", "Records produced, by what became of them.", "outcome")
	metaDesc      = desc("metadata_operations_total", "Operations of the metadata workload, by what became of them.", "outcome")
	latencyDesc   = desc("produce_latency_seconds", "Latency of acknowledged produce operations in the last second: p50, p99 and max. Absent where none was acknowledged.", "of")
	stallDesc     = desc("runner_stall_seconds", "Longest stall of the runner itself in the last second.")
	syncDesc      = desc("disk_sync_seconds", "Longest small write with fsync of the runner, beside all nodes, in the last second. Absent where the disk is not probed.")
	faultsDesc    = desc("faults_total", "Faults asked for, and those whose effect was seen.", "state")
	activeDesc    = desc("faults_active", "Faults being injected, in effect or being healed.", "kind")
	violatedDesc  = desc("violations_total", "Violations that the live checkers have found. The verdict comes after the end.")
	upDesc        = desc("node_up", "1 if the node has measured itself in the last 2.5 s.", "node")
	memoryDesc    = desc("node_memory_bytes", "Resident memory of the node, by its own measurement.", "node")
	routinesDesc  = desc("node_goroutines", "Goroutines of the node.", "node")
	filesDesc     = desc("node_open_descriptors", "Open file descriptors of the node.", "node")
	diskDesc      = desc("node_disk_bytes", "Bytes in the node's data directory.", "node")
)

var phases = []string{
	runloop.PhaseStart, runloop.PhaseSteady, runloop.PhaseFaults, runloop.PhaseHeal, runloop.PhaseRecover, runloop.PhaseDrain, runloop.PhaseDone,
}

// Describe is of prometheus.Collector. It names nothing: what there is depends on how far the run has come.
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect is of prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	run, found, st, m, total := s.run, s.found, s.status, s.metric, s.total
	s.mu.Unlock()
	if run == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(infoDesc, 1, run.ID, run.Scenario, run.Driver, strconv.FormatUint(run.Seed, 10), run.Version)
	for _, p := range phases {
		gauge(phaseDesc, truth(st.Phase == p), p)
	}
	gauge(intervalsDesc, float64(st.Intervals))
	gauge(wantedDesc, float64(st.Wanted))
	gauge(leaderDesc, float64(st.RaftLeader))
	gauge(termDesc, float64(st.Term))
	gauge(leftDesc, st.Left.Seconds())
	counter(recordsDesc, total.Acked, "acked")
	counter(recordsDesc, total.Failed, "failed")
	counter(recordsDesc, total.Unknown, "unknown")
	counter(metaDesc, total.MetaOK, "ok")
	counter(metaDesc, total.MetaFailed, "failed")
	counter(metaDesc, total.MetaUnknown, "unknown")
	if m.Acked > 0 {
		gauge(latencyDesc, seconds(m.LatencyP50), "p50")
		gauge(latencyDesc, seconds(m.LatencyP99), "p99")
		gauge(latencyDesc, seconds(m.LatencyMax), "max")
	}
	gauge(stallDesc, seconds(m.StallNanos))
	if m.DiskNanos > 0 {
		gauge(syncDesc, seconds(m.DiskNanos))
	}
	counter(faultsDesc, int64(st.FaultsAsked), "asked")
	counter(faultsDesc, int64(st.FaultsProven), "proven")
	active := map[string]int{}
	for i := range st.Active {
		active[st.Active[i].Kind]++
	}
	for kind, n := range active {
		gauge(activeDesc, float64(n), kind)
	}
	counter(violatedDesc, int64(found()))
	for _, n := range m.Nodes {
		node := strconv.Itoa(int(n.Node))
		gauge(upDesc, truth(n.Up), node)
		if n.Up {
			gauge(memoryDesc, float64(n.Memory), node)
			gauge(routinesDesc, float64(n.Goroutines), node)
			gauge(filesDesc, float64(n.Descriptors), node)
			gauge(diskDesc, float64(n.Disk), node)
		}
	}
}

func seconds(nanos int64) float64 { return float64(nanos) / 1e9 }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
