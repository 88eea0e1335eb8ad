package scenario

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Sim is what the machine and the network of a simulated run are like. The zero value is a sound machine (chaos/sim.DefaultSim).
// Real drivers have a real machine and take no notice of it, so that a schedule that was found in virtual time runs on them as it is.
//
// Shares are parts per million.
type Sim struct {
	LatencyMin, LatencyMax time.Duration // of a message
	SpikePPM               int64         // share of 20 ms windows in which a link is slow
	SpikeMax               time.Duration
	DropPPM                int64 // of messages between nodes
	DuplicatePPM           int64
	ReorderPPM             int64
	ResetPPM               int64 // of clients' requests: the connection is reset in place of the answer

	TurnMin, TurnMax time.Duration // processor time of one turn of a node
	StartTime        time.Duration // of a node, from its start to its first turn
	SlowNode         int32         // a node whose turns and disk take SlowFactor times as long; 0: none
	SlowFactor       int64

	SyncMin, SyncMax time.Duration // of one fsync
	WritePerKiB      time.Duration
	SegmentBytes     int64 // of a log's segment, 0: the broker's default
	SnapshotEntries  int64 // a node stores its metadata as a snapshot after so many raft entries, 0: the broker's default

	ClockPPM  int64         // clocks run fast or slow by up to this
	ClockSkew time.Duration // and are displaced by up to this

	Readers   int    // consumers that read along, where Workloads.Consume says nothing
	Wire      bool   // requests, answers and peer messages go through the real encoding and decoding
	PowerSeed uint64 // chooses what a loss of power leaves; 0: the run's seed does
}

// Bounds of the sim section. A latency above a second is no network any more, but an outage.
const (
	maxSimTime    = 10 * time.Second
	maxSimShare   = 500_000
	minSimSegment = 4 << 10
	maxSimClock   = 50_000 // ppm: 5 %, far beyond any quartz
)

func (r *reader) sim(n ast.Node, s *Scenario) Sim {
	o := r.object(n, "sim", "latency_min", "latency_max", "spike_ppm", "spike_max", "drop_ppm", "duplicate_ppm", "reorder_ppm", "reset_ppm",
		"turn_min", "turn_max", "start_time", "slow_node", "slow_factor", "sync_min", "sync_max", "write_per_kib", "segment_bytes", "snapshot_entries",
		"clock_ppm", "clock_skew", "readers", "wire", "power_seed")
	span := func(name string, otherwise time.Duration) time.Duration {
		return o.duration(name, otherwise, 0, maxSimTime)
	}
	share := func(name string) int64 { return int64(o.number(name, 0, 0, maxSimShare)) }
	m := Sim{
		LatencyMin: span("latency_min", DefaultSim.LatencyMin), LatencyMax: span("latency_max", DefaultSim.LatencyMax),
		SpikePPM: share("spike_ppm"), SpikeMax: span("spike_max", 0),
		DropPPM: share("drop_ppm"), DuplicatePPM: share("duplicate_ppm"), ReorderPPM: share("reorder_ppm"), ResetPPM: share("reset_ppm"),
		TurnMin: span("turn_min", DefaultSim.TurnMin), TurnMax: span("turn_max", DefaultSim.TurnMax), StartTime: span("start_time", DefaultSim.StartTime),
		SlowNode: int32(o.number("slow_node", 0, 0, s.Nodes)), SlowFactor: int64(o.number("slow_factor", 1, 1, 1000)),
		SyncMin: span("sync_min", DefaultSim.SyncMin), SyncMax: span("sync_max", DefaultSim.SyncMax), WritePerKiB: span("write_per_kib", DefaultSim.WritePerKiB),
		ClockPPM: int64(o.number("clock_ppm", 0, 0, maxSimClock)), ClockSkew: span("clock_skew", 0),
		Readers: o.number("readers", DefaultSim.Readers, 0, maxReaders), Wire: o.flag("wire"), PowerSeed: o.unsigned("power_seed"),
	}
	if o.get("segment_bytes") != nil {
		m.SegmentBytes = int64(o.number("segment_bytes", 0, minSimSegment, 1<<30))
	}
	if o.get("snapshot_entries") != nil {
		m.SnapshotEntries = int64(o.number("snapshot_entries", 0, 1, 1<<30))
	}
	for _, p := range []struct {
		name      string
		low, high time.Duration
	}{{"latency", m.LatencyMin, m.LatencyMax}, {"turn", m.TurnMin, m.TurnMax}, {"sync", m.SyncMin, m.SyncMax}} {
		if p.low > p.high || p.high == 0 {
			r.fail(o.at(p.name+"_max"), "", "sim: %s_max: %s is not above %s_min (%s)", p.name, p.high, p.name, p.low)
		}
	}
	return m
}

// DefaultSim is a sound machine: loopback latencies, and a disk like the ones that the real drivers were measured on.
var DefaultSim = Sim{
	LatencyMin: 60 * time.Microsecond, LatencyMax: 400 * time.Microsecond,
	TurnMin: 15 * time.Microsecond, TurnMax: 60 * time.Microsecond, StartTime: 40 * time.Millisecond, SlowFactor: 1,
	SyncMin: 200 * time.Microsecond, SyncMax: 900 * time.Microsecond, WritePerKiB: 1500 * time.Nanosecond, Readers: 2,
}

// Machine is what a simulated run of the scenario has: its own Sim, or a sound machine, with the consumers that the workloads ask for.
func (s *Scenario) Machine() Sim {
	m := s.Sim
	if m == (Sim{}) {
		m = DefaultSim
	}
	if n := s.Workloads.Consume.Readers; n > 0 {
		m.Readers = n
	}
	return m
}

// yaml writes the section, unless there was none.
func (m Sim) yaml(p func(string, ...any)) {
	if m == (Sim{}) {
		return
	}
	p("sim:\n")
	field := func(name string, value any) { p("  %s: %v\n", name, value) }
	field("latency_min", m.LatencyMin)
	field("latency_max", m.LatencyMax)
	field("spike_ppm", m.SpikePPM)
	field("spike_max", m.SpikeMax)
	field("drop_ppm", m.DropPPM)
	field("duplicate_ppm", m.DuplicatePPM)
	field("reorder_ppm", m.ReorderPPM)
	field("reset_ppm", m.ResetPPM)
	field("turn_min", m.TurnMin)
	field("turn_max", m.TurnMax)
	field("start_time", m.StartTime)
	field("slow_node", m.SlowNode)
	field("slow_factor", m.SlowFactor)
	field("sync_min", m.SyncMin)
	field("sync_max", m.SyncMax)
	field("write_per_kib", m.WritePerKiB)
	if m.SegmentBytes != 0 {
		field("segment_bytes", m.SegmentBytes)
	}
	if m.SnapshotEntries != 0 {
		field("snapshot_entries", m.SnapshotEntries)
	}
	field("clock_ppm", m.ClockPPM)
	field("clock_skew", m.ClockSkew)
	field("readers", m.Readers)
	field("wire", m.Wire)
	field("power_seed", fmt.Sprint(m.PowerSeed))
}
