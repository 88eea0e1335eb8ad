package sim

import (
	"testing"
	"time"

	"soak/chaos/scenario"
	"soak/history"
)

func quick(t *testing.T) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Load("quick")
	if err != nil {
		t.Fatal(err)
	}
	s, err = s.Resolve(scenario.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestQuickRuns(t *testing.T) {
	start := time.Now()
	faults := 0
	r, err := Run(Options{Scenario: quick(t), Seed: 1, RunHash: 1, Observe: func(rec any) {
		if f, ok := rec.(*history.Fault); ok {
			faults++
			t.Logf("fault %d %s %v effective %v error %q", f.ID, f.Kind, f.Nodes, f.Effective-Epoch, f.Error)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v in %v\n%+v\nproblem %q notes %v", r.Stats, time.Since(start), r.Status, r.Problem, r.Notes)
	for _, p := range r.Phases {
		t.Logf("%s %v-%v", p.Name, time.Duration(p.Start-Epoch), time.Duration(p.End-Epoch))
	}
	again, err := Run(Options{Scenario: quick(t), Seed: 1, RunHash: 1})
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash != r.Hash {
		t.Fatal("the same seed gave two different runs")
	}
}
