package campaign

import (
	"slices"

	"soak/broker/bugs"
	"soak/chaos/scenario"
	"soak/history"
)

// Describe is what is known of a simulated run before it begins. One seed is one run, to the bytes of its records.
func Describe(s *scenario.Scenario, seed uint64, planted []string) *history.Run {
	run := &history.Run{
		Format: history.PlainFormat, Scenario: s.Name, Driver: "sim", Seed: seed, RunHash: seed, Nodes: s.Nodes,
		ElectionInterval: int64(s.ElectionInterval), SessionTimeout: int64(s.SessionTimeout), Bugs: planted, Needs: bugs.Needs(planted),
		Minimums: s.Minimums, Contract: s.Contract(), Noise: noise(s.Sim),
	}
	run.Contract.LossPPM = s.Sim.DropPPM
	var nodes []int32
	for id := int32(1); id <= int32(s.Nodes); id++ {
		nodes = append(nodes, id)
	}
	for _, t := range s.Topics {
		run.RecordTopics = append(run.RecordTopics, t.Info(nodes))
	}
	return run
}

// noise names what a simulated machine does all the time that a client may have to wait out.
func noise(m scenario.Sim) []string {
	var out []string
	for _, n := range []struct {
		is   bool
		what string
	}{
		{m.DropPPM > 0, "messages are lost"}, {m.ResetPPM > 0, "connections are reset"}, {m.SpikePPM > 0, "links are slow for a while"}, {m.SlowNode > 0, "a node is slow"},
	} {
		if n.is {
			out = append(out, n.what)
		}
	}
	return out
}

// Pinned reports whether s is an executed schedule, which names the nodes of its faults: the simulator takes those as they stand.
func Pinned(s *scenario.Scenario) bool {
	return slices.ContainsFunc(s.Faults, func(f scenario.Fault) bool { return len(f.Nodes) > 0 })
}
