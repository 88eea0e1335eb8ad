package sim_test

import (
	"strings"
	"testing"

	"soak/chaos/scenario"
	"soak/chaos/sim"
	"soak/checkers"
	"soak/history"
)

// TestFlushPolicies: with records that are left to the kernel, processes that are killed and one node that loses power lose nothing; of the power
// of all, the verdict says that nothing is claimed. With synced records all of it is claimed.
func TestFlushPolicies(t *testing.T) {
	for _, c := range []struct {
		name, flush, fault string
		outcome            checkers.Outcome
		reason             string
	}{
		{"all killed", "none", "kind: restart-all", checkers.Holds, "were read back at their offsets"},
		{"one loses power", "none", "kind: power-loss, target: n2", checkers.Holds, "were read back at their offsets"},
		{"all lose power", "none", "kind: power-loss, target: all", checkers.Holds, "nothing is claimed of orders-0, orders-1, whose records are not synced"},
		{"all lose power, and records are synced", "sync", "kind: power-loss, target: all", checkers.Holds, "were read back at their offsets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := scenario.Parse("flush.yaml", []byte("nodes: 3\nelection_interval: 1s\nduration: 12s\nsteady: 0\nflush: "+c.flush+
				"\ntopics: [{name: orders, partitions: 2}]\nworkloads: {produce: {rate: 40, batch: 2}}\nfaults: [{"+c.fault+", at: 4s, for: 1s, brief: true, overlap: true}]\n"))
			if err != nil {
				t.Fatal(err)
			}
			r, report, _ := judged(t, s, 5)
			clean(t, s, 5, r, report)
			for _, v := range report.Verdicts {
				if v.Checker == checkers.AckedRecords && (v.Outcome != c.outcome || !strings.Contains(v.Reason, c.reason) ||
					strings.Contains(v.Reason, "nothing is claimed") != strings.Contains(c.reason, "nothing is claimed")) {
					t.Errorf("%s: %s", v.Outcome, v.Reason)
				}
			}
		})
	}
}

// TestAnOrderlyStopIsClean: only brokers that were killed leave ISRs when they register, where records are left to the kernel.
func TestAnOrderlyStopIsClean(t *testing.T) {
	for _, c := range []struct {
		flush, kind string
		leave       bool
	}{{"none", "stop", false}, {"none", "kill", true}, {"sync", "kill", false}} {
		t.Run(c.flush+"/"+c.kind, func(t *testing.T) {
			s, err := scenario.Parse("stop.yaml", []byte("nodes: 3\nelection_interval: 1s\nduration: 12s\nsteady: 0\nflush: "+c.flush+
				"\ntopics: [{name: orders, partitions: 2}]\nworkloads: {produce: {rate: 40}}\nfaults: [{kind: "+c.kind+", target: n1+n2+n3, at: 4s, for: 100ms, brief: true, overlap: true}]\n"))
			if err != nil {
				t.Fatal(err)
			}
			left, again, known := false, false, map[string]bool{}
			_, err = sim.Run(sim.Options{Scenario: s, Seed: 5, RunHash: 5, Observe: func(record any) {
				e, ok := record.(*history.Event)
				if !ok {
					return
				}
				if a, ok := e.Body.(*history.Apply); ok && a.Command == "register_broker" {
					again = again || known[a.Key]
					known[a.Key] = true
					for _, ch := range a.Changes { // a broker that comes back after a kill led; after a stop, none does
						left = left || len(ch.ISR) < 3
					}
				}
			}})
			if err != nil || !again || left != c.leave {
				t.Errorf("error %v; registered again: %v; left an ISR: %v, want %v", err, again, left, c.leave)
			}
		})
	}
}

// TestTheSwarmDrawsTheFlushPolicy: a fifth of the seeds, and in those power is never taken from several nodes by one fault.
func TestTheSwarmDrawsTheFlushPolicy(t *testing.T) {
	unsynced, losses := 0, 0
	const seeds = 500
	for seed := range uint64(seeds) {
		s := sim.Draw(seed, sim.SwarmOptions{})
		if s.Flush == "" {
			continue
		}
		unsynced++
		for _, f := range s.Faults {
			if f.Kind == "power-loss" {
				losses++
				if f.Target == scenario.TargetAll || strings.Contains(f.Target, "+") {
					t.Errorf("seed %d: power-loss of %s", seed, f.Target)
				}
			}
		}
	}
	if unsynced < seeds/8 || unsynced > seeds/3 || losses == 0 {
		t.Errorf("%d of %d seeds leave their records to the kernel, with %d losses of power", unsynced, seeds, losses)
	}
}
