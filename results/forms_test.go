package results

import (
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/checkers"
	"soak/history"
)

var update = flag.Bool("update", false, "write the forms of a verdict to testdata")

func exampleReport() *checkers.Report {
	return &checkers.Report{Format: 1, Run: "0a", Outcome: checkers.Violated, Sentence: "single-leader-proposing was violated", Notes: []string{"metrics.jsonl is missing"},
		Verdicts: []checkers.Verdict{
			{Checker: "single-leader-proposing", Outcome: checkers.Violated, Reason: "1 violation", Checked: 9, CheckedWhat: "proposals",
				Violations: []checkers.Violation{{Kind: "follower-check", Sentence: "n2 ran a <check> in term 1 | n1 leads", Time: 1003.5e9, Nodes: []int32{2}, Faults: []int{1}}}},
			{Checker: "acked-records", Outcome: checkers.Inconclusive, Reason: "the drain of orders-3 on n2 stopped at 918 of 1204"},
			{Checker: "no-duplicates", Outcome: checkers.NotApplicable, Reason: "the producers are not idempotent"},
			{Checker: "no-crash", Outcome: checkers.Holds, Reason: "no node crashed", Checked: 3, CheckedWhat: "nodes",
				Measures: []checkers.Measure{{Name: "intervals", Seen: 11, Needed: 10}, {Name: "reads", Seen: 5}}},
		}}
}

// TestForms compares junit.xml and summary.md of a made-up verdict with what is in testdata. `go test -update` writes
// them anew.
func TestForms(t *testing.T) {
	run := exampleRun("0a00000000000000")
	run.HarnessError = "closing the cluster: the engine stopped answering"
	run.Bugs = []string{"elector-gate-has-leader"}
	junit, err := JUnit(run, exampleReport())
	if err != nil {
		t.Fatal(err)
	}
	facts := &Facts{Faults: []history.Fault{
		{ID: 1, Kind: "kill", Target: "raft-leader", Nodes: []int32{1}, Asked: 1003e9, Effective: 1003.1e9, Healed: 1006e9},
		{ID: 2, Kind: "partition", Target: "n2", Nodes: []int32{2}, Clients: true, Asked: 1010e9, Error: "no packet was dropped"},
	}}
	for name, got := range map[string][]byte{JUnitFile: junit, SummaryFile: Summary(run, exampleReport(), facts)} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", path, d)
		}
	}
	var back junitSuites
	if err := xml.Unmarshal(junit, &back); err != nil {
		t.Fatalf("junit.xml is not XML: %v", err)
	}
	if s := back.Suites[0]; s.Tests != 5 || s.Failures != 2 || s.Errors != 1 || s.Skipped != 1 {
		t.Errorf("counted %d tests, %d failures, %d errors, %d skipped, want 5, 2, 1, 1", s.Tests, s.Failures, s.Errors, s.Skipped)
	}
}
