package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

func TestFlagsChangeMinimums(t *testing.T) {
	for _, c := range []struct {
		scenario  string
		flags     Flags
		want      history.Minimums
		intervals int
		faults    string
	}{
		{"quick", Flags{Intervals: 10},
			history.Minimums{Intervals: 10, Faults: 3, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 3334, MetaOps: 67, MetaOverlaps: 10, AutoCreated: 7},
			10, "kill partition-leader@3.3, pause raft-leader@5.533, partition follower@7.766"},
		{"quick", Flags{Intervals: 5},
			history.Minimums{Intervals: 10, Faults: 3, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 1667, MetaOps: 34, MetaOverlaps: 5, AutoCreated: 4},
			5, "kill partition-leader@3.3, pause raft-leader@4.3, partition follower@5.3"},
		{"quick", Flags{Intervals: 100},
			history.Minimums{Intervals: 100, Faults: 6, LongFaults: 3, LeaderFaults: 2, LeaderChanges: 2, AckedRecords: 10000, MetaOps: 200, MetaOverlaps: 30, AutoCreated: 20},
			100, "kill partition-leader@3.3, kill raft-leader@7, pause raft-leader@11, partition follower@15, partition raft-leader@19, pause follower@23"},
		{"quick", Flags{Duration: 15 * time.Second},
			history.Minimums{Intervals: 10, Faults: 3, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 2334, MetaOps: 47, MetaOverlaps: 7, AutoCreated: 5},
			4, "kill partition-leader@3.3, pause raft-leader@4.533, partition follower@5.766"},
		{"quick", Flags{Duration: time.Hour},
			history.Minimums{Intervals: 30, Faults: 6, LongFaults: 3, LeaderFaults: 2, LeaderChanges: 2, AckedRecords: 10000, MetaOps: 200, MetaOverlaps: 30, AutoCreated: 20},
			30, "kill partition-leader@3.3, kill raft-leader@7, pause raft-leader@11, partition follower@15, partition raft-leader@19, pause follower@23"},
		{"quick", Flags{ElectionInterval: 500 * time.Millisecond},
			history.Minimums{Intervals: 30, Faults: 6, LongFaults: 3, LeaderFaults: 2, LeaderChanges: 2, AckedRecords: 2500, MetaOps: 50, MetaOverlaps: 8, AutoCreated: 5},
			30, "kill partition-leader@3.3, kill raft-leader@7, pause raft-leader@11, partition follower@15, partition raft-leader@19, pause follower@23"},
		{"story", Flags{Duration: 15 * time.Second},
			history.Minimums{Intervals: 10, Faults: 2, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 1000, MetaOps: 20, MetaOverlaps: 2, AutoCreated: 2},
			0, "kill raft-leader@3.3, partition follower@4.3"},
		{"story", Flags{Intervals: 20},
			history.Minimums{Intervals: 20, Faults: 2, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 5000, MetaOps: 100, MetaOverlaps: 10, AutoCreated: 10},
			20, "kill raft-leader@3.3, partition follower@6.3"},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.scenario, c.flags), func(t *testing.T) {
			base, err := Load(c.scenario)
			if err != nil {
				t.Fatal(err)
			}
			before := string(base.YAML())
			s, err := base.Resolve(c.flags)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.Minimums); diff != "" {
				t.Errorf("minimums (-want +got):\n%s", diff)
			}
			var faults []string
			for _, f := range s.Faults {
				faults = append(faults, f.Kind+" "+f.Target+"@"+strings.TrimSuffix(f.At.String(), " intervals"))
			}
			if got := strings.Join(faults, ", "); got != c.faults || s.Intervals != c.intervals || s.Duration != c.flags.Duration {
				t.Errorf("intervals %d, duration %s, faults %s", s.Intervals, s.Duration, got)
			}
			if string(base.YAML()) != before {
				t.Error("Resolve changed the scenario it was given")
			}
			again, err := Parse("again.yaml", s.YAML())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, again); diff != "" {
				t.Errorf("its YAML reads differently (-resolved +read):\n%s", diff)
			}
		})
	}
}

func TestFlagsChangeTheCluster(t *testing.T) {
	for _, c := range []struct {
		flags    Flags
		interval time.Duration
		session  time.Duration
		nodes    int
	}{
		{Flags{}, 2 * time.Second, time.Second, 3},
		{Flags{ElectionInterval: 12 * time.Second}, 12 * time.Second, 6 * time.Second, 3},
		{Flags{ElectionInterval: 500 * time.Millisecond}, 500 * time.Millisecond, 500 * time.Millisecond, 3},
		{Flags{ElectionInterval: 500 * time.Millisecond, SessionTimeout: time.Second}, 500 * time.Millisecond, time.Second, 3},
		{Flags{SessionTimeout: 5 * time.Second}, 2 * time.Second, 5 * time.Second, 3},
		{Flags{Nodes: 5}, 2 * time.Second, time.Second, 5},
	} {
		quick, _ := Load("quick")
		s, err := quick.Resolve(c.flags)
		if err != nil {
			t.Errorf("%+v: %v", c.flags, err)
			continue
		}
		if s.ElectionInterval != c.interval || s.SessionTimeout != c.session || s.Nodes != c.nodes || int(s.Topics[0].Replication) != c.nodes {
			t.Errorf("%+v: interval %s, session %s, %d nodes, %d replicas", c.flags, s.ElectionInterval, s.SessionTimeout, s.Nodes, s.Topics[0].Replication)
		}
	}
}

func TestFlagsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		want  string
	}{
		{Flags{Intervals: 10, Duration: 15 * time.Second}, "10 intervals of 2s take 20s at least and do not fit into --duration 15s"},
		{Flags{Intervals: 8, Duration: 15 * time.Second, ElectionInterval: 12 * time.Second}, "do not fit"},
		{Flags{Intervals: -1}, "--intervals -1"},
		{Flags{Duration: -time.Second}, "--duration -1s"},
		{Flags{ElectionInterval: time.Millisecond}, "--election-interval 1ms"},
		{Flags{SessionTimeout: time.Millisecond}, "--session-timeout 1ms"},
		{Flags{Nodes: 2}, "--nodes 2"},
	} {
		quick, _ := Load("quick")
		var e *Error
		if _, err := quick.Resolve(c.flags); !errors.As(err, &e) || !strings.Contains(e.Msg, c.want) || e.Hint == "" {
			t.Errorf("%+v: got %v, want %q and a hint", c.flags, err, c.want)
		}
	}
	fits := Flags{Intervals: 7, Duration: 15 * time.Second}
	quick, _ := Load("quick")
	if s, err := quick.Resolve(fits); err != nil || s.Intervals != 7 || s.Duration != 15*time.Second {
		t.Errorf("%+v: %+v, %v", fits, s, err)
	}
}

func TestWindow(t *testing.T) {
	quick, _ := Load("quick")
	short, _ := quick.Resolve(Flags{ElectionInterval: 500 * time.Millisecond})
	for _, c := range []struct {
		s        *Scenario
		f        Fault
		onLeader bool
		want     time.Duration
	}{
		{quick, Fault{}, false, 3200 * time.Millisecond},
		{quick, Fault{For: Intervals(2000)}, false, 4 * time.Second},
		{quick, Fault{For: Fixed(time.Second)}, true, 3200 * time.Millisecond},
		{short, Fault{}, false, 1200 * time.Millisecond},
		{short, Fault{}, true, 3 * time.Second},
	} {
		if got := c.s.Window(c.f, c.onLeader); got != c.want {
			t.Errorf("interval %s, %+v, on the leader %t: %s, want %s", c.s.ElectionInterval, c.f, c.onLeader, got, c.want)
		}
	}
}
