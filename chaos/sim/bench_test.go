package sim

import (
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
)

// load is three nodes under faults, one each time every has passed, with so many operations a second.
func load(rate int, length, every time.Duration) *scenario.Scenario {
	s := &scenario.Scenario{
		Name: "hour", Nodes: 3, ElectionInterval: 2 * time.Second, SessionTimeout: time.Second, Duration: length,
		Topics: []scenario.Topic{{Name: "orders", Partitions: 3, Replication: 3, MinInsyncReplicas: 2}},
		Workloads: scenario.Workloads{
			Produce:  scenario.Produce{Rate: rate * 9 / 10, Producers: 2, Batch: 1, ValueBytes: 128},
			Metadata: scenario.Metadata{Rate: rate / 10, Clients: 2, Names: 2},
		},
	}
	targets := []string{scenario.TargetRaftLeader, scenario.TargetFollower, "leader(orders-0)", "n1"}
	kinds := []string{chaos.Kill, chaos.Pause, chaos.Partition, chaos.PowerLoss, chaos.OneWay, chaos.DiskFull}
	for at := 4 * time.Second; at < length; at += every {
		i := len(s.Faults)
		f := scenario.Fault{
			Kind: kinds[i%len(kinds)], Target: targets[i%len(targets)], At: scenario.Fixed(at), For: scenario.Fixed(2 * time.Second), Overlap: true, Brief: true,
		}
		if f.Kind == chaos.OneWay {
			f.Way = chaos.WayIn
		}
		s.Faults = append(s.Faults, f)
	}
	return s
}

// benchmarkHour simulates an hour as a campaign does: sixty seeds of a minute each.
func benchmarkHour(b *testing.B, rate int) {
	const minutes = 60
	s := load(rate, time.Minute, 2800*time.Millisecond)
	var virtual time.Duration
	for i := range b.N {
		for minute := range minutes {
			r, err := Run(Options{Scenario: s, Seed: uint64(i*minutes + minute), RunHash: 1})
			if err != nil {
				b.Fatal(err)
			}
			if r.Status.Acked < int64(60*rate/3) || r.Status.FaultsProven < 15 {
				b.Fatalf("too little was simulated: %+v", r.Status)
			}
			virtual += r.Stats.Virtual
		}
	}
	b.ReportMetric(virtual.Seconds()/b.Elapsed().Seconds(), "x-realtime")
	b.ReportMetric(float64(b.N*minutes)/b.Elapsed().Seconds(), "seeds/s")
}

func BenchmarkSimulatedHour20(b *testing.B)  { benchmarkHour(b, 20) }
func BenchmarkSimulatedHour200(b *testing.B) { benchmarkHour(b, 200) }

// BenchmarkContinuousHour20 simulates an hour in one run: what grows with a run's length shows. The metadata of an hour are fewer than
// the default threshold's 10,000 entries, so nodes take snapshots more often here.
func BenchmarkContinuousHour20(b *testing.B) {
	s := load(20, time.Hour, 10*time.Second)
	s.Sim = scenario.DefaultSim
	s.Sim.SnapshotEntries = 500
	var virtual time.Duration
	for i := range b.N {
		r, err := Run(Options{Scenario: s, Seed: uint64(i + 1), RunHash: 1, Limit: 2 * time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		if r.Status.Acked < 3600*20/3 || r.Status.FaultsProven < 300 {
			b.Fatalf("too little was simulated: %+v", r.Status)
		}
		virtual += r.Stats.Virtual
	}
	b.ReportMetric(virtual.Seconds()/b.Elapsed().Seconds(), "x-realtime")
}
