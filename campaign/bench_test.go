package campaign

import "testing"

// BenchmarkDrawnSeeds is what a worker of a campaign does: a hundred drawn seeds, simulated and judged.
func BenchmarkDrawnSeeds(b *testing.B) {
	const seeds = 100
	var virtual, faults float64
	for range b.N {
		for seed := uint64(1); seed <= seeds; seed++ {
			a := Simulate(Job{Seed: seed})
			if a.Error != "" || len(a.Failures) > 0 {
				b.Fatalf("seed %d: %s %v", seed, a.Error, a.Failures)
			}
			virtual += a.Virtual.Seconds()
			faults += float64(a.Faults)
		}
	}
	b.ReportMetric(virtual/b.Elapsed().Seconds(), "x-realtime")
	b.ReportMetric(float64(b.N*seeds)/b.Elapsed().Seconds(), "seeds/s")
	b.ReportMetric(faults/float64(b.N*seeds), "faults/seed")
}
