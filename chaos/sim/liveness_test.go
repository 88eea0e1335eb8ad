package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/broker/bugs"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/history"
)

func coreScenario(t *testing.T, others, faults string) *scenario.Scenario {
	t.Helper()
	if faults != "" {
		faults = "faults:\n" + faults
	}
	s, err := scenario.Parse("core.yaml", []byte(fmt.Sprintf(`
nodes: 3
election_interval: 1s
duration: 8s
steady: 0
topics: [{name: orders, partitions: 3}]
workloads: {produce: {rate: 40, batch: 2}, metadata: {rate: 4}}
liveness: {core: n1+n3, others: %s}
%s`, others, faults)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestACoreServesWhileTheOthersAreBroken, whatever else was broken when it began, also the same node and all of them.
func TestACoreServesWhileTheOthersAreBroken(t *testing.T) {
	for _, others := range []string{"kill", "pause", "partition"} {
		for name, faults := range map[string]string{
			"a dead one":  "  - {kind: kill, target: n2, at: 6s, for: 5s, brief: true, overlap: true}\n",
			"all of them": "  - {kind: restart-all, at: 6s, for: 5s, brief: true, overlap: true}\n",
			"the core":    "  - {kind: pause, target: n3, at: 6s, for: 5s, brief: true, overlap: true}\n",
		} {
			t.Run(others+" of "+name, func(t *testing.T) {
				s := coreScenario(t, others, faults)
				r, report, recorded := judged(t, s, 5)
				clean(t, s, 5, r, report)
				l := r.Liveness
				if l == nil || l.Served == 0 || len(l.Exempt) > 0 {
					t.Fatalf("it did not serve: %+v", l)
				}
				last := recorded[len(recorded)-1]
				if last.Kind != others || last.Trigger != "liveness" || !slices.Equal(last.Nodes, []int32{2}) || last.Effective > l.From || last.HealAsked < l.Served || !last.Proven() {
					t.Errorf("n2 was not broken all the while: %+v, and the core served from %d to %d", last, l.From, l.Served)
				}
				if !slices.ContainsFunc(r.Phases, func(p history.Phase) bool { return p.Name == "liveness" && p.Start <= l.From && l.Served <= p.End }) {
					t.Errorf("phases %+v", r.Phases)
				}
			})
		}
	}
}

// TestABlindElectorLeavesACoreWithoutLeaders: with a planted bug that elects a dead node the core does not serve, and recovery says what
// it lacked.
func TestABlindElectorLeavesACoreWithoutLeaders(t *testing.T) {
	s := coreScenario(t, "kill", "")
	s.Liveness = scenario.Liveness{Core: []int32{2, 3}, Others: "kill", Bound: 6 * time.Second}
	set, err := bugs.Parse([]string{"elect-isr0-blind"})
	if err != nil {
		t.Fatal(err)
	}
	r, report, _ := judged(t, s, 2, set)
	if l := r.Liveness; l == nil || l.Served != 0 || !slices.ContainsFunc(l.Missing, func(m string) bool { return strings.Contains(m, "has no leader in the core") }) {
		t.Errorf("%+v", l)
	}
	for _, v := range report.Verdicts {
		if v.Checker == checkers.Recovery && slices.ContainsFunc(v.Violations, func(x checkers.Violation) bool { return x.Kind == checkers.KindCoreNotServing }) {
			return
		}
	}
	t.Error("recovery did not find it")
}
