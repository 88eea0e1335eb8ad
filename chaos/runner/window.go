package runner

import (
	"slices"
	"sync"
	"time"

	"soak/history"
)

// window counts what came back since the last metric.
type window struct {
	start     int64
	acked     int64
	failed    int64
	unknown   int64
	meta      [3]int64 // ok, failed, unknown
	latencies []int64  // ns, of acknowledged produce operations
	stall     int64    // ns, the longest of the runner
	disk      int64    // ns, the longest write of the probe
}

func (w *window) add(d opDone) {
	op := d.op
	switch {
	case op.Produce != nil:
		n := int64(op.Produce.Count)
		switch op.Outcome {
		case history.OK:
			w.acked += n
			w.latencies = append(w.latencies, op.Complete-d.intended)
		case history.Failed:
			w.failed += n
		default:
			w.unknown += n
		}
	case op.Meta != nil && op.Meta.Owner != "ready": // asking whether a node answers is no load
		switch op.Outcome {
		case history.OK:
			w.meta[0]++
		case history.Failed:
			w.meta[1]++
		default:
			w.meta[2]++
		}
	}
}

// metric closes the window and begins the next.
func (w *window) metric(now int64, nodes []history.NodeMetric) history.Metric {
	slices.Sort(w.latencies)
	m := history.Metric{
		Time: now, Interval: now - w.start,
		Acked: w.acked, Failed: w.failed, Unknown: w.unknown,
		MetaOK: w.meta[0], MetaFailed: w.meta[1], MetaUnknown: w.meta[2],
		LatencyP50: quantile(w.latencies, 50),
		LatencyP99: quantile(w.latencies, 99),
		LatencyMax: quantile(w.latencies, 100),
		Nodes:      nodes, StallNanos: w.stall, DiskNanos: w.disk,
	}
	*w = window{start: now, latencies: w.latencies[:0]}
	return m
}

// quantile is the smallest of the sorted values that percent of them do not exceed (nearest rank), 0 for none.
func quantile(sorted []int64, percent int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// staleAfter is the age at which a node's own once-a-second measurement no longer shows that it is up.
const staleAfter = 2500 * time.Millisecond

// nodeStats keeps each node's last measurement. Drivers call put from their own goroutines.
type nodeStats struct {
	mu   sync.Mutex
	last map[int32]seenStats
}

type seenStats struct {
	at int64
	m  history.NodeMetric
}

func (s *nodeStats) put(now int64, m history.NodeMetric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[int32]seenStats)
	}
	s.last[m.Node] = seenStats{now, m}
}

// all is the last measurement of nodes 1 to n; one without a recent measurement is down, with nothing measured.
func (s *nodeStats) all(now int64, n int) []history.NodeMetric {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]history.NodeMetric, 0, n)
	for id := int32(1); id <= int32(n); id++ {
		seen, ok := s.last[id]
		if !ok || now-seen.at > int64(staleAfter) {
			out = append(out, history.NodeMetric{Node: id})
			continue
		}
		seen.m.Up = true
		out = append(out, seen.m)
	}
	return out
}
