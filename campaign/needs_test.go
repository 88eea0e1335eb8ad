package campaign

import (
	"testing"

	"soak/chaos/scenario"
)

// A bug that only a loss of power shows is not cleared by a run of kills: quick, which holds without it, is inconclusive with it, though it was reached
// with every append.
func TestKillsProveNothingAboutFsync(t *testing.T) {
	src, ok := scenario.Source(scenario.Names()[0])
	if !ok {
		t.Fatal("there is no embedded scenario")
	}
	for _, c := range []struct {
		bugs    []string
		outcome string
	}{
		{nil, "holds"},
		{[]string{"ack-before-fsync"}, "inconclusive"},
	} {
		a, err := workers(t, 1).Do(Job{Seed: 1, Scenario: string(src), Bugs: c.bugs})
		if err != nil {
			t.Fatal(err)
		}
		if a.Outcome != c.outcome || len(a.Failures) > 0 {
			t.Errorf("%v: %s, want %s: %+v", c.bugs, a.Outcome, c.outcome, a.Failures)
		}
		for _, b := range c.bugs {
			if a.Decisions[b] == 0 {
				t.Errorf("%s was never reached, which would be another reason", b)
			}
		}
	}
	if run := Describe(busy(t), 1, []string{"ack-before-fsync", "torn-tail-fatal", "cached-is-leader"}); len(run.Needs) != 1 || run.Needs[0] != "power-loss" {
		t.Errorf("needs %v", run.Needs)
	}
}
