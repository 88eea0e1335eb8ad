package sim

import (
	"runtime"
	"testing"
	"time"
)

// hashOf runs what a seed draws, on so many processors.
func hashOf(t *testing.T, seed uint64, processors int) uint64 {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	r, err := Run(Options{Scenario: Draw(seed, SwarmOptions{Length: 15 * time.Second}), Seed: seed, RunHash: seed})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if r.Hash == 0 || r.Stats.Events < 1000 {
		t.Fatalf("seed %d: nothing was simulated: %+v", seed, r.Stats)
	}
	return r.Hash
}

// determinismSeeds are run twice each.
const determinismSeeds = 16

func TestOneSeedIsOneRun(t *testing.T) {
	seen := map[uint64]uint64{}
	for seed := range uint64(determinismSeeds) {
		one, two := hashOf(t, seed, 1), hashOf(t, seed, 2)
		if one != two {
			t.Errorf("seed %d gave %016x, then %016x", seed, one, two)
		}
		if other, twice := seen[one]; twice {
			t.Errorf("seeds %d and %d are the same run", seed, other)
		}
		seen[one] = seed
	}
}

// TestPlantedNondeterminismIsCaught: were the order of a map or the clock of the machine to reach a run, the hashes would tell.
func TestPlantedNondeterminismIsCaught(t *testing.T) {
	for name, plant := range map[string]func(*sim){
		"the order of a map": func(s *sim) {
			order := map[int32]bool{}
			for i := range int32(64) {
				order[i] = true
			}
			for id := range order { // the first of 64: who comes first is slow by so many nanoseconds
				s.mix.LatencyMin += time.Duration(id)
				break
			}
		},
		"the wall clock": func(s *sim) { s.mix.LatencyMin += time.Duration(time.Now().UnixNano() % 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			plantedNondeterminism = plant
			defer func() { plantedNondeterminism = nil }()
			first, differs := hashOf(t, 1, 2), false
			for range 8 { // one pair may be alike by chance
				differs = differs || hashOf(t, 1, 2) != first
			}
			if !differs {
				t.Error("9 runs of one seed were all alike")
			}
		})
	}
}
