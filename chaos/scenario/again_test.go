package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// written is a scenario file with those lines beside what every one has.
func written(t *testing.T, file, lines string) *Scenario {
	t.Helper()
	s, err := Parse(file, []byte(lines+"\ntopics: [{name: \"007\", partitions: 2}]\nworkloads: {produce: {}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWhatIsRunCanBeReadAgain: whatever a file says and flags make of it, written as YAML it is the same scenario. The run folder
// holds it in that form, to be run again.
func TestWhatIsRunCanBeReadAgain(t *testing.T) {
	var plans []*Scenario
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, s)
	}
	for file, lines := range map[string]string{
		"null.yaml":   "duration: 60s",
		"2024.yaml":   "duration: 5s",
		"kernel.yaml": "flush: none",
		"synced.yaml": "flush: sync",
		"true.yaml":   "intervals: 0\nduration: 1h",
		"tight.yaml":  "intervals: 5\nduration: 60s",
		"five.yaml":   "nodes: 5\nfaults: [{kind: kill, target: raft-leader, at: 3s, nodes: [5], role: raft-leader}]",
	} {
		plans = append(plans, written(t, file, lines))
	}
	read, refused := 0, 0
	for _, plan := range plans {
		for _, intervals := range []int{0, 1, 29, 100} {
			for _, duration := range []time.Duration{0, 1, time.Second, 61 * time.Second, time.Hour} {
				for _, interval := range []time.Duration{0, 100 * time.Millisecond, 1234567891, time.Hour} {
					for _, nodes := range []int{0, 3, 9} {
						flags := Flags{Intervals: intervals, Duration: duration, ElectionInterval: interval, Nodes: nodes}
						s, err := plan.Resolve(flags)
						var refusal *Error
						if errors.As(err, &refusal) {
							refused++
							continue
						}
						again, err := Parse("schedule.yaml", s.YAML())
						if err != nil {
							t.Fatalf("%s with %+v: %v\n%s", plan.Name, flags, err, s.YAML())
						}
						if diff := cmp.Diff(s, again); diff != "" {
							t.Fatalf("%s with %+v reads differently (-resolved +read):\n%s", plan.Name, flags, diff)
						}
						read++
					}
				}
			}
		}
	}
	if read < 500 || refused < 100 {
		t.Errorf("%d were read again and %d refused: both must occur often", read, refused)
	}
}

// TestADurationAloneAsksForWhatFits: two thirds of the intervals, as --duration does.
func TestADurationAloneAsksForWhatFits(t *testing.T) {
	for lines, want := range map[string]int{
		"duration: 60s":                         3,
		"duration: 5s":                          0,
		"duration: 60s\nelection_interval: 2s":  20,
		"duration: 10h\nelection_interval: 2s":  30,
		"duration: 60s\nintervals: 5":           5,
		"election_interval: 2s":                 30,
		"duration: 60s\nminimums: {faults: 1}":  3,
		"intervals: 7\nminimums: {faults: 1}\n": 7,
	} {
		if s := written(t, "x.yaml", lines); s.Intervals != want || s.Minimums.Intervals != want {
			t.Errorf("%q asks for %d intervals and needs %d, want %d", lines, s.Intervals, s.Minimums.Intervals, want)
		}
	}
}

// TestAnIntervalMustFitTheDurationOfTheFile: what the file says fits at its own interval, and is looked at again at another one.
func TestAnIntervalMustFitTheDurationOfTheFile(t *testing.T) {
	s := written(t, "x.yaml", "intervals: 5\nduration: 60s\nminimums: {acked_records: 600}")
	var refusal *Error
	if _, err := s.Resolve(Flags{ElectionInterval: 13 * time.Second}); !errors.As(err, &refusal) ||
		!strings.Contains(refusal.Msg, "5 intervals of 13s take 1m5s at least and do not fit into the scenario's duration of 1m0s") || refusal.Hint == "" {
		t.Errorf("got %v", err)
	}
	for _, flags := range []Flags{
		{ElectionInterval: 2 * time.Second},
		{ElectionInterval: 13 * time.Second, Duration: time.Minute},
		{ElectionInterval: 13 * time.Second, Intervals: 5},
	} {
		got, err := s.Resolve(flags)
		if err != nil || got.Minimums.AckedRecords < 500 {
			t.Errorf("%+v: %+v, %v", flags, got, err)
		}
	}
}

// TestNoTimeIsTooShortForSomeWork: what is asked for at all is never scaled to nothing.
func TestNoTimeIsTooShortForSomeWork(t *testing.T) {
	for _, name := range []string{"quick", "story"} {
		for _, d := range []time.Duration{1, time.Second, 11 * time.Second} {
			base, _ := Load(name)
			s, err := base.Resolve(Flags{Duration: d})
			if err != nil {
				t.Fatal(err)
			}
			m := s.Minimums
			if m.AckedRecords < 1 || m.MetaOps < 1 || m.MetaOverlaps < 1 || m.AutoCreated < 1 {
				t.Errorf("%s for %s asks for %s", name, d, fmt.Sprintf("%+v", m))
			}
		}
	}
	s, err := written(t, "x.yaml", "minimums: {acked_records: 5}").Resolve(Flags{Duration: time.Second})
	if err != nil || s.Minimums.MetaOps != 0 || s.Minimums.AckedRecords != 1 {
		t.Errorf("%+v, %v: what was not asked for must not be asked for now", s, err)
	}
}
