package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos/scenario"
)

// TestDrawnScenariosAreScenarios: written and read again each is the same; the drawn ones differ in all that a swarm should vary, and
// half of them at least are busy.
func TestDrawnScenariosAreScenarios(t *testing.T) {
	kinds, nodes, segments, intervals := map[string]int{}, map[int]int{}, map[int64]int{}, map[time.Duration]int{}
	busy, quiet, wire, cores, idempotent, lives, retain := 0, 0, 0, 0, 0, 0, 0
	const seeds = 300
	for seed := range uint64(seeds) {
		s := Draw(seed, SwarmOptions{})
		again, err := scenario.Parse("again.yaml", s.YAML())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s.YAML())
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("seed %d reads differently (-drawn +read):\n%s", seed, diff)
		}
		if diff := cmp.Diff(s, Draw(seed, SwarmOptions{})); diff != "" {
			t.Fatalf("seed %d drawn twice:\n%s", seed, diff)
		}
		for _, f := range s.Faults {
			kinds[f.Kind]++
		}
		nodes[s.Nodes]++
		segments[s.Sim.SegmentBytes>>12]++
		intervals[s.ElectionInterval]++
		switch {
		case len(s.Faults) >= 20:
			busy++
		case len(s.Faults) == 0:
			quiet++
		}
		if s.Sim.Wire {
			wire++
		}
		if s.Liveness.On() {
			cores++
		}
		if slices.ContainsFunc(s.Topics, func(t scenario.Topic) bool { return t.Retention > 0 || t.RetentionBytes > 0 }) {
			retain++
		}
		if p := s.Workloads.Produce; p.Idempotent {
			idempotent++
			if p.Lifetime > 0 {
				lives++
			}
		}
	}
	if len(kinds) != len(swarmKinds) || len(nodes) != 2 || len(segments) < 4 || len(intervals) < 4 {
		t.Errorf("too little varies: kinds %v, nodes %v, segments %v, intervals %v", kinds, nodes, segments, intervals)
	}
	if idempotent < seeds/3 || idempotent > 2*seeds/3 || lives < idempotent/2 {
		t.Errorf("of %d seeds %d have idempotent producers, %d that come and go", seeds, idempotent, lives)
	}
	if retain < seeds/20 || retain > seeds/5 {
		t.Errorf("of %d seeds %d have topics with retention", seeds, retain)
	}
	if busy < seeds/2 || quiet < seeds/50 || wire < seeds/20 || cores < seeds/3 || cores > 2*seeds/3 {
		t.Errorf("of %d seeds %d are busy, %d quiet, %d with the real encoding, %d with a core", seeds, busy, quiet, wire, cores)
	}
}

// Nothing else that a seed draws depends on whether it has retention: seeds that were stored before there was any are what they were.
func TestRetentionLeavesTheRestOfASeedAlone(t *testing.T) {
	drawn, all := map[string]int{}, 0
	for seed := range uint64(200) {
		plain, with := Draw(seed, SwarmOptions{}), Draw(seed, SwarmOptions{Retain: true})
		if plain.RetentionCheck > 0 { // one that has it anyway
			if diff := cmp.Diff(plain, with); diff != "" {
				t.Fatalf("seed %d (-as it is +asked for):\n%s", seed, diff)
			}
			continue
		}
		retaining := 0
		for i := range with.Topics {
			topic := &with.Topics[i]
			switch {
			case topic.Retention > 0 && topic.RetentionBytes > 0:
				drawn["both"]++
			case topic.Retention > 0:
				drawn["age"]++
			case topic.RetentionBytes > 0:
				drawn["size"]++
			default:
				continue
			}
			retaining++
			topic.Retention, topic.RetentionBytes, topic.SegmentBytes = 0, 0, 0
		}
		if retaining == 0 || with.RetentionCheck == 0 {
			t.Fatalf("seed %d has no retention:\n%s", seed, with.YAML())
		}
		if retaining == len(with.Topics) {
			all++
		}
		with.RetentionCheck = 0
		with.Sim.SyncMax = plain.Sim.SyncMax // bounded: each segment takes its syncs
		if diff := cmp.Diff(plain, with); diff != "" {
			t.Fatalf("seed %d (-without +with):\n%s", seed, diff)
		}
	}
	if drawn["age"] < 20 || drawn["size"] < 20 || drawn["both"] < 20 || all < 50 {
		t.Errorf("too little varies: %v, %d seeds of which all topics have it", drawn, all)
	}
}

func TestOnlyTheKindsAskedFor(t *testing.T) {
	for seed := range uint64(50) {
		s := Draw(seed, SwarmOptions{Kinds: []string{"kill", "pause"}, Nodes: 4, Length: 20 * time.Second})
		for _, f := range s.Faults {
			if !slices.Contains([]string{"kill", "pause"}, f.Kind) {
				t.Errorf("seed %d has a %s", seed, f.Kind)
			}
			if f.At.Fixed >= 20*time.Second {
				t.Errorf("seed %d has a fault at %s", seed, f.At)
			}
		}
		if s.Nodes != 4 || s.Duration != 20*time.Second {
			t.Errorf("seed %d: %d nodes, %s", seed, s.Nodes, s.Duration)
		}
	}
}
