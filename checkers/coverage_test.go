package checkers

import (
	"fmt"
	"slices"
	"testing"

	"soak/history"
)

const second = int64(1e9)

// fullRun is a run that sees exactly what it must: 10 intervals of 2 s, 3 faults, work of each kind.
func fullRun() *story {
	s := newStory()
	s.run.ElectionInterval, s.run.SessionTimeout = 2*second, second
	s.run.Minimums = history.Minimums{
		Intervals: 10, Faults: 3, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 8, MetaOps: 4, MetaOverlaps: 1, AutoCreated: 1,
	}
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2}}}
	s.leads(1, 1)
	s.check(1, 1, history.RoleLeader) // while starting: does not count
	s.run.Phases = []history.Phase{{Name: "start", Start: 1, End: s.tick()}, {Name: "steady", Start: s.now}}
	for range 4 {
		s.check(1, 1, history.RoleLeader)
	}
	s.leads(2, 2)
	s.check(1, 1, history.RoleLeader) // an old leader: does not count
	for range 6 {
		s.check(2, 2, history.RoleLeader)
	}
	s.event(2, &history.LeaderCheck{Term: 2, Role: history.RoleLeader, Cause: history.CauseExpiry})
	s.event(1, &history.LeaderCheck{Term: 2, Role: history.RoleFollower, Cause: history.CauseInterval})
	for i, id := range []string{"by-follower", "by-leader"} {
		s.enter(2, 2, history.Apply{Command: "create_topic", Key: id, Via: int32(i + 1), Cause: "auto_create_produce"}, 1, 2)
	}
	s.enter(2, 2, history.Apply{Command: "create_topic", Key: "asked-for", Via: 1, Cause: "create_topics"}, 1, 2)
	fault := func(length int64, onLeader bool) {
		begin := s.tick()
		s.faults = append(s.faults, &history.Fault{
			ID: len(s.faults) + 1, Kind: "kill", Target: "raft-leader", Asked: begin, Effective: begin + 1, HealAsked: begin + 1 + length, Healed: begin + 2 + length, OnRaftLeader: onLeader,
		})
	}
	fault(3*second+1, true)
	fault(3*second+1, false)
	fault(3*second, false) // not longer than session and interval
	l := &ledgerStory{story: s, logs: map[int32][]record{}, next: map[uint32]uint64{}}
	l.send(1, 8)
	l.attempt(1, 5, history.Unknown)
	l.drain(1, 0, 8, 8, true)
	l.drain(2, 0, 8, 8, true)
	for _, op := range []history.Operation{create(2000, 2009, "a"), misses(2005, 2008), sees(2010, 2011, "a"), remove(2012, 2013), with(create(2014, 2015, ""), history.Unknown)} {
		s.op(op)
	}
	other := misses(2006, 2007) // the set-up's: no work of the run
	other.Meta.Owner = "setup"
	s.op(other)
	s.run.Phases = append(s.run.Phases, history.Phase{Name: "drain", Start: s.now, End: s.tick()})
	return s
}

func TestCoverageCountsWhatARunSaw(t *testing.T) {
	s := fullRun()
	v := feed(newCoverage(alone(&s.run)), s)
	wants(t, v, Holds, "the run saw all that it must see")
	for _, m := range v.Measures {
		if m.Seen != m.Needed {
			t.Errorf("%s %d of %d; the run was made to see each exactly", m.Name, m.Seen, m.Needed)
		}
	}
}

func TestCoverageNamesWhatIsMissing(t *testing.T) {
	dropOps := func(is func(*history.Operation) bool) func(*story) {
		return func(s *story) { s.ops = slices.DeleteFunc(s.ops, is) }
	}
	for _, c := range []struct {
		name, reason string
		more         func(s *story)
	}{
		{"an interval", "intervals 10 of 11", func(s *story) { s.run.Minimums.Intervals = 11 }},
		{"the election service", "intervals 0 of 10", func(s *story) {
			s.events = slices.DeleteFunc(s.events, func(e *history.Event) bool { return e.Body.Kind() == "leader_check" })
		}},
		{"enough intervals, whatever was asked", "intervals 9 of 10", func(s *story) {
			s.run.Minimums = history.Minimums{Intervals: 1}
			at := slices.IndexFunc(s.events, func(e *history.Event) bool { return e.Time > s.run.Phases[0].End && e.Body.Kind() == "leader_check" })
			s.events = slices.Delete(s.events, at, at+1)
		}},
		{"an end of start", "never ready", func(s *story) { s.run.Phases[0].End = 0 }},
		{"any phase", "intervals 0 of 10", func(s *story) { s.run.Phases = nil }},
		{"a fault", "faults 2 of 3; long faults 1 of 2; faults on the raft leader 0 of 1", func(s *story) { s.faults = s.faults[1:] }},
		{"the evidence of a fault", "fault 3, kill of the raft leader, has no evidence of its effect: timed out", func(s *story) {
			s.faults[2].Effective, s.faults[2].Error = 0, "timed out"
		}},
		{"the evidence of a fault beyond the minimum", "fault 4, pause, has no evidence", func(s *story) {
			s.faults = append(s.faults, &history.Fault{ID: 4, Kind: "pause", Asked: 1})
		}},
		{"length", "long faults 1 of 2", func(s *story) { s.faults[0].HealAsked-- }},
		{"the raft leader as target", "faults on the raft leader 0 of 1", func(s *story) { s.faults[0].OnRaftLeader = false }},
		{"a change of leader", "raft leader changes 0 of 1", func(s *story) {
			for _, e := range s.events {
				if r, ok := e.Body.(*history.RoleChange); ok && r.Term == 2 {
					e.Node = 1
				}
			}
		}},
		{"a change of leader after start", "raft leader changes 0 of 1", func(s *story) { s.run.Phases[0].End = s.now + 100*second }},
		{"records", "acknowledged records 8 of 9", func(s *story) { s.run.Minimums.AckedRecords = 9 }},
		{"the produce workload", "acknowledged records 0 of 8", dropOps(func(op *history.Operation) bool { return op.Produce != nil })},
		{"the metadata workload", "metadata operations 0 of 4; overlapping metadata operations 0 of 1", dropOps(func(op *history.Operation) bool { return op.Meta != nil })},
		{"overlap", "overlapping metadata operations 0 of 1", func(s *story) {
			for _, op := range s.ops {
				if op.Meta != nil && op.Meta.Kind == history.MetaCreate {
					op.Complete = op.Invoke + 1
				}
			}
		}},
		{"topics through followers", "topics auto-created through followers 1 of 2", func(s *story) { s.run.Minimums.AutoCreated = 2 }},
		{"a fault that lasted", "fault 1, kill of the raft leader, ended before it was to be healed: it did not last: n1 runs", func(s *story) {
			s.faults[0].Lapsed, s.faults[0].Error = s.faults[0].HealAsked-1, "it did not last: n1 runs"
		}},
		{"a long fault that was long", "long faults 1 of 2; fault 1, kill of the raft leader, ended before", func(s *story) {
			s.faults[0].Lapsed = s.faults[0].Effective + 3*second
		}},
		{"a replica of the drain", "replicas read to their end 1 of 2; orders-0 on n2 was never read", dropOps(func(op *history.Operation) bool { return op.Drain != nil && op.Drain.Replica == 2 })},
		{"topics to drain", "names no topic to read back", func(s *story) { s.run.RecordTopics = nil }},
		{"the end of its last phase", `got no further than its phase "drain"`, func(s *story) { s.run.Phases[len(s.run.Phases)-1].End = 0 }},
		{"an end in order", "the run was interrupted: SIGINT", func(s *story) { s.run.Interrupted = "SIGINT" }},
		{"a harness", "the harness failed: disk full", func(s *story) { s.run.HarnessError = "disk full" }},
		{"the kind of fault that its bug shows after", "shows only after a fault of the kind power-loss, and there was none", func(s *story) { s.run.Needs = []string{"power-loss"} }},
		{"evidence of that kind of fault", "shows only after a fault of the kind power-loss, and there was none", func(s *story) {
			s.run.Needs = []string{"kill", "power-loss"} // of which it has the first
			s.faults = append(s.faults, &history.Fault{ID: 4, Kind: "power-loss", Asked: s.tick(), Error: "nothing met it"})
		}},
		{"the planted bug", "the planted bug x was never reached", func(s *story) {
			s.run.Bugs = []string{"x", "y"}
			s.event(1, &history.Bug{Name: "y", Decisions: 1})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fullRun()
			c.more(s)
			wants(t, feed(newCoverage(alone(&s.run)), s), Inconclusive, c.reason)
		})
	}
}

// The test that let the story's bug pass: 15 seconds, at the real interval and at a short one.
func TestFifteenSecondsProveNothing(t *testing.T) {
	for interval, seen := range map[int64]int{12 * second: 1, 2 * second: 7} {
		s := newStory()
		s.run.ElectionInterval = interval
		s.leads(1, 1)
		s.run.Phases = []history.Phase{{Name: "start", Start: 1, End: s.now}}
		for range seen {
			s.check(1, 1, history.RoleLeader)
		}
		wants(t, feed(newCoverage(alone(&s.run)), s), Inconclusive, fmt.Sprintf("intervals %d of 10", seen))
	}
}

// TestCoverageCountsAsTheRunLoopDoes: from the end of start to the end of the faults phase, in the highest term seen so far in any event.
func TestCoverageCountsAsTheRunLoopDoes(t *testing.T) {
	intervals := func(s *story) int64 {
		return feed(newCoverage(alone(&s.run)), s).Measures[0].Seen
	}
	s := newStory()
	s.leads(1, 1)
	s.check(1, 1, history.RoleLeader)
	s.run.Phases = []history.Phase{{Name: "start", Start: 1, End: s.now}} // with a check in its last instant
	for range 3 {
		s.check(1, 1, history.RoleLeader)
	}
	steadyEnd := s.now
	s.check(1, 1, history.RoleLeader)
	faultsEnd := s.now
	s.check(1, 1, history.RoleLeader)
	for _, c := range []struct {
		phases []history.Phase
		want   int64
	}{
		{nil, 5},
		{[]history.Phase{{Name: "steady", End: steadyEnd}}, 3},
		{[]history.Phase{{Name: "steady", End: steadyEnd}, {Name: "faults", End: faultsEnd}, {Name: "heal", End: faultsEnd + second}}, 4},
		{[]history.Phase{{Name: "steady", End: steadyEnd}, {Name: "faults"}}, 5},
	} {
		start := s.run.Phases[0]
		s.run.Phases = append([]history.Phase{start}, c.phases...)
		if got := intervals(s); got != c.want {
			t.Errorf("phases %+v: %d counted, want %d", c.phases, got, c.want)
		}
		s.run.Phases = s.run.Phases[:1]
	}
	for _, higher := range []history.Body{
		&history.RoleChange{Term: 2, Role: history.RoleFollower}, &history.Propose{Term: 2}, &history.Apply{Term: 2},
		&history.LeaderCheck{Term: 2, Role: history.RoleFollower},
	} {
		s := newStory()
		s.run.Phases = []history.Phase{{Name: "start", Start: 1, End: 2}}
		s.leads(1, 1)
		s.check(1, 1, history.RoleLeader)
		s.event(2, higher)
		s.check(1, 1, history.RoleLeader)
		if got := intervals(s); got != 1 {
			t.Errorf("after a %s of a higher term %d are counted, want the 1 before it", higher.Kind(), got)
		}
	}
}

// TestAMeasureHasOneOwner: what is shown as seen of needed stands in one verdict alone.
func TestAMeasureHasOneOwner(t *testing.T) {
	s := fullRun()
	owner := map[string]string{}
	for _, c := range New(&s.run) {
		v := feed(c, s)
		for _, m := range v.Measures {
			if m.Needed == 0 {
				continue
			}
			if other, ok := owner[m.Name]; ok {
				t.Errorf("%q is measured by %s and by %s", m.Name, other, v.Checker)
			}
			owner[m.Name] = v.Checker
		}
	}
	if owner["replicas read to their end"] != Coverage {
		t.Errorf("replicas read to their end are %q's", owner["replicas read to their end"])
	}
}
