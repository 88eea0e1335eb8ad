package sim_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"soak/broker/bugs"
	"soak/chaos/scenario"
	"soak/chaos/sim"
	"soak/checkers"
	"soak/history"
)

// judged runs a scenario and has every checker judge it.
func judged(t *testing.T, s *scenario.Scenario, seed uint64, planted ...bugs.Set) (*sim.Result, *checkers.Report, []history.Fault) {
	t.Helper()
	run := &history.Run{
		Format: history.FormatVersion, Scenario: s.Name, Driver: "sim", Seed: seed, RunHash: seed, Nodes: s.Nodes,
		ElectionInterval: int64(s.ElectionInterval), SessionTimeout: int64(s.SessionTimeout), Minimums: s.Minimums,
		Contract: history.Contract{Acks: -1, MinISR: 2, Flush: cmp.Or(s.Flush, "sync")},
	}
	var nodes []int32
	for id := range int32(s.Nodes) {
		nodes = append(nodes, id+1)
	}
	run.Contract.ValueBytes, run.Contract.LossPPM = s.Workloads.Produce.ValueBytes, s.Sim.DropPPM
	if s.Sim.DropPPM > 0 {
		run.Noise = []string{"messages are lost"}
	}
	for _, topic := range s.Topics {
		run.RecordTopics = append(run.RecordTopics, topic.Info(nodes))
		run.Contract.MinISR = min(run.Contract.MinISR, int(topic.MinInsyncReplicas))
	}
	feed := checkers.NewFeeder(run)
	var faults []history.Fault
	var set bugs.Set
	for _, p := range planted {
		set = p
	}
	r, err := sim.Run(sim.Options{Scenario: s, Seed: seed, RunHash: seed, Bugs: set, Observe: func(record any) {
		switch x := record.(type) {
		case *history.Event:
			c := *x
			feed.Event(&c)
		case *history.Operation:
			c := *x
			feed.Operation(&c)
		case *history.Fault:
			c := *x
			faults = append(faults, c)
			feed.Fault(&c)
		}
	}})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	run.Phases, run.Notes, run.Liveness = r.Phases, r.Notes, r.Liveness
	return r, feed.Report(), faults
}

// clean reports everything that is wrong with a run, with how to see it again.
func clean(t *testing.T, s *scenario.Scenario, seed uint64, r *sim.Result, report *checkers.Report) {
	t.Helper()
	var wrong []string
	if r.Problem != "" {
		wrong = append(wrong, r.Problem)
	}
	if r.Unrecovered != "" {
		wrong = append(wrong, r.Unrecovered)
	}
	for _, v := range report.Verdicts {
		for i, x := range v.Violations {
			if i == 3 {
				wrong = append(wrong, fmt.Sprintf("%s: and %d more", v.Checker, len(v.Violations)-i))
				break
			}
			wrong = append(wrong, fmt.Sprintf("%s/%s: %s", v.Checker, x.Kind, x.Sentence))
		}
	}
	if len(wrong) > 0 {
		t.Errorf("seed %d (%d nodes, interval %s, session %s, %d faults):\n  %s", seed, s.Nodes, s.ElectionInterval, s.SessionTimeout, len(s.Faults), strings.Join(wrong, "\n  "))
	}
}

// TestSwarmSeedsAreClean: the sound broker, with all that goes wrong, breaks no promise. SOAK_SWARM_SEEDS=FROM-TO takes other seeds.
func TestSwarmSeedsAreClean(t *testing.T) {
	from, to := uint64(0), uint64(20)
	if text := os.Getenv("SOAK_SWARM_SEEDS"); text != "" {
		low, high, _ := strings.Cut(text, "-")
		var err1, err2 error
		from, err1 = strconv.ParseUint(low, 10, 64)
		to, err2 = strconv.ParseUint(high, 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("SOAK_SWARM_SEEDS=%q: want FROM-TO", text)
		}
	}
	asked, proven := map[string]int{}, map[string]int{}
	for seed := from; seed < to; seed++ {
		s := sim.Draw(seed, sim.SwarmOptions{})
		r, report, faults := judged(t, s, seed)
		clean(t, s, seed, r, report)
		for _, f := range faults {
			asked[f.Kind]++
			if f.Proven() {
				proven[f.Kind]++
			}
		}
	}
	t.Logf("asked %v\nproven %v", asked, proven)
}

// TestRetentionIsClean: with topics whose records may go in every seed, records go, by all that goes wrong, and none too early.
func TestRetentionIsClean(t *testing.T) {
	var moves, gone int64
	for seed := range uint64(8) {
		s := sim.Draw(seed, sim.SwarmOptions{Retain: true, Length: 30 * time.Second})
		r, report, _ := judged(t, s, seed)
		clean(t, s, seed, r, report)
		for _, v := range report.Verdicts {
			for _, m := range v.Measures {
				switch m.Name {
				case checkers.MeasureStartsMoved:
					moves += m.Seen
				case checkers.MeasureGone:
					gone += m.Seen
				}
			}
		}
	}
	if moves < 100 || gone < 1000 {
		t.Errorf("log starts moved %d times, and %d records went: too little to show anything", moves, gone)
	}
}

// Operations that are still under way when the run ends are recorded with an unknown outcome: a record of one that is in the logs is nobody's phantom.
func TestOperationsUnderWayAtTheEndAreRecorded(t *testing.T) {
	s, err := scenario.Load("quick")
	if err != nil {
		t.Fatal(err)
	}
	const seed = 3 // with answers that come seconds late, some are awaited in vain
	r, report, _ := judged(t, s, seed, bugs.Set(0).With(bugs.LostWakeup))
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "operations had not ended") }) {
		t.Fatalf("all operations ended, so that this shows nothing; notes: %q", r.Notes)
	}
	for _, v := range report.Verdicts {
		if v.Checker == checkers.AckedRecords && v.Outcome != checkers.Holds || v.Checker == checkers.LatencyQuiet && v.Outcome != checkers.Violated {
			t.Errorf("%s: %s: %s", v.Checker, v.Outcome, v.Reason)
		}
	}
}
