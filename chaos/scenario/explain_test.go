package scenario

import (
	"strings"
	"testing"
)

// Every kind that a schedule may hold says what it is for, and every embedded scenario can be told.
func TestExplain(t *testing.T) {
	for _, k := range kinds {
		if purpose(Fault{Kind: k}) == "" {
			t.Errorf("nothing says what %s is for", k)
		}
	}
	for name, want := range map[string][]string{
		"quick":   {"at 6.6s: kill of partition-leader, for 3.2s", "the election service must act", "at 38s: partition of raft-leader, clients too", "election intervals, of each a check by the acting raft leader: 30", "changes of the raft leader: 2", "takes about 1m"},
		"mixed":   {"the run's seed draws up to 2 faults for each 10 intervals (20s), and leaves one period in 4 quiet", "power-loss: what was not synced is gone"},
		"healthy": {"faults: none"},
		"nightly": {"until 8h0m0s have passed"},
	} {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(s.Explain(), "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s is told without %q:\n%s", name, w, text)
			}
		}
	}
}
