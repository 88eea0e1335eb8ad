package checkers

import (
	"slices"
	"strings"
	"testing"

	"soak/history"
)

// outageStory is a cluster of three with one partition led by n1, and a fault on n1 that lasts four seconds: the bound of a
// failover here is three, that of a first write nine, that of a full ISR nine.
func outageStory(kind string) *story {
	s := threeNodes()
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2, 3}}}
	s.created()
	s.view(1, "leader", 1, 0, 0, 0, 0)
	s.now += second
	s.faults = append(s.faults, &history.Fault{
		ID: 1, Kind: kind, Target: "raft-leader", Nodes: []int32{1}, Asked: s.now, Effective: s.now, HealAsked: s.now + 4*second, Healed: s.now + 4*second,
	})
	return s
}

// asked gives a command its cause.
func asked(a history.Apply, cause string) history.Apply {
	a.Cause = cause
	return a
}

// at sets the clock to so many seconds after the begin of the fault.
func (s *story) at(seconds float64) { s.now = s.faults[0].Effective + int64(seconds*float64(second)) }

// takesOver has n2 lead orders-0.
func (s *story) takesOver(seconds float64) {
	s.at(seconds)
	s.enter(2, 2, changes("set_partition_leader", change(2, 1, 1, 2, 3)), 2, 3)
	s.view(2, "leader", 2, 1, 1, 0, 0)
}

// rejoins makes the ISR full again.
func (s *story) rejoins(seconds float64) {
	s.at(seconds)
	s.enter(2, 2, changes("change_isr", change(2, 1, 2, 1, 2, 3)), 2, 3)
}

// writes has a producer try once a tenth of a second from one instant to another; each takes as long as said.
func (s *story) writes(outcome history.Outcome, from, to, took float64) {
	for at := from; at < to; at += 0.1 {
		s.at(at)
		invoke := s.now
		s.at(at + took)
		s.op(history.Operation{Client: "produce-1", Invoke: invoke, Complete: s.now, Outcome: outcome, Produce: &history.ProduceOp{Topic: "orders", Count: 1, Acks: -1}})
	}
}

// ends lets the run go on until then.
func (s *story) ends(seconds float64) {
	s.at(seconds)
	s.event(2, &history.RoleChange{Term: 2, Role: history.RoleLeader, Leader: 2})
}

func TestRecovery(t *testing.T) {
	sound := func(s *story) {
		s.takesOver(1.5)
		s.writes(history.Unknown, 0, 1.5, 3)
		s.writes(history.OK, 1.6, 30, 0.01)
		s.rejoins(5)
		s.ends(30)
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"in time", sound, Holds, "3 times", nil},
		{"no failover", func(s *story) {
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "orders-0: no healthy node of n1, n2, n3 took over from n1 within 3s of fault 1 (kill of n1 (the raft leader))", []string{KindFailoverLate}},
		{"the dead node is elected again", func(s *story) {
			s.at(1.5)
			s.enter(2, 2, changes("set_partition_leader", change(1, 1, 1, 1, 2, 3)), 2, 3)
			s.writes(history.OK, 4.5, 30, 0.01)
			s.ends(30)
		}, Violated, "took over from n1", []string{KindFailoverLate}},
		{"a failover after a split vote", func(s *story) {
			s.at(1.2)
			s.event(3, &history.RoleChange{Term: 3, Role: history.RoleCandidate})
			s.at(2.6)
			s.event(2, &history.RoleChange{Term: 4, Role: history.RoleCandidate})
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(6)
			s.ends(30)
		}, Holds, "3 times", nil},
		{"two split votes, the second known of after the time for none", func(s *story) {
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			for i, at := range []float64{1.65, 3.05, 4.15} {
				s.at(at)
				s.event(3, &history.RoleChange{Term: uint64(3 + i), Role: history.RoleCandidate})
			}
			s.takesOver(5.2)
			s.writes(history.OK, 5.3, 30, 0.01)
			s.rejoins(16)
			s.ends(40)
		}, Holds, "3 times", nil},
		{"a failover that is late though elections had winners", func(s *story) {
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			for _, v := range []struct {
				term uint64
				at   float64
			}{{3, 1.2}, {4, 2.6}} {
				s.at(v.at)
				s.event(3, &history.RoleChange{Term: v.term, Role: history.RoleCandidate})
				s.event(2, &history.RoleChange{Term: v.term, Role: history.RoleFollower, Leader: 3})
			}
			s.takesOver(4)
			s.writes(history.OK, 4.1, 30, 0.01)
			s.rejoins(16)
			s.ends(40)
		}, Violated, "took over from n1 within 3s", []string{KindFailoverLate}},
		{"a split vote, and another fault before its round is over", func(s *story) {
			s.at(1.2)
			s.event(3, &history.RoleChange{Term: 3, Role: history.RoleCandidate})
			s.at(2.6)
			s.event(2, &history.RoleChange{Term: 4, Role: history.RoleCandidate})
			asked := s.faults[0].Effective + 4*second
			s.faults[0].HealAsked = s.faults[0].Effective + 7*second/2
			s.faults[0].Healed = s.faults[0].HealAsked
			s.faults = append(s.faults, &history.Fault{ID: 2, Kind: "kill", Nodes: []int32{2}, Asked: asked, Effective: asked + 1, HealAsked: asked + second, Healed: asked + second})
			s.takesOver(9)
			s.writes(history.OK, 9.1, 30, 0.01)
			s.rejoins(9.5)
			s.ends(30)
		}, Holds, "", nil},
		{"a late failover, and elections of raft after it", func(s *story) {
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.at(1.2)
			s.event(3, &history.RoleChange{Term: 2, Role: history.RoleCandidate})
			s.event(2, &history.RoleChange{Term: 2, Role: history.RoleLeader, Leader: 2})
			s.takesOver(3.5)
			for i := range 3 {
				s.at(3.6 + float64(i)/4)
				s.event(3, &history.RoleChange{Term: 3 + uint64(i), Role: history.RoleCandidate})
			}
			s.writes(history.OK, 4.5, 40, 0.01)
			s.rejoins(18)
			s.ends(40)
		}, Violated, "took over from n1 within 3s", []string{KindFailoverLate}},
		{"a failover that takes longer than one lost message explains, where few are lost", func(s *story) {
			s.run.Contract.LossPPM = 100
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.takesOver(8)
			s.writes(history.OK, 8.1, 40, 0.01)
			s.rejoins(18)
			s.ends(40)
		}, Violated, "took over from n1 within 6s", []string{KindFailoverLate}},
		{"a failover that one lost message explains", func(s *story) {
			s.run.Contract.LossPPM = 100
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.takesOver(5.5)
			s.writes(history.OK, 5.6, 40, 0.01)
			s.rejoins(12)
			s.ends(40)
		}, Holds, "3 times", nil},
		{"a failover that takes long because messages are lost", func(s *story) {
			s.run.Contract.LossPPM = 10_000
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.takesOver(8)
			s.writes(history.OK, 8.1, 40, 0.01)
			s.rejoins(18)
			s.ends(40)
		}, Holds, "3 times", nil},
		{"a failover that takes longer than lost messages explain", func(s *story) {
			s.run.Contract.LossPPM = 10_000
			s.faults[0].HealAsked += 10 * second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.takesOver(10)
			s.writes(history.OK, 10.1, 40, 0.01)
			s.rejoins(18)
			s.ends(40)
		}, Violated, "took over from n1 within 9s", []string{KindFailoverLate}},
		{"a failover that is late without a split vote", func(s *story) {
			s.at(2.6)
			s.event(2, &history.RoleChange{Term: 3, Role: history.RoleCandidate})
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(6)
			s.ends(30)
		}, Violated, "took over from n1 within 3s", []string{KindFailoverLate}},
		{"nobody is left in the ISR, by what the leader asked for before it was cut off", func(s *story) {
			s.at(0.1)
			s.enter(2, 2, asked(changes("change_isr", change(1, 0, 1, 1)), "alter_partition"), 2, 3)
			s.writes(history.OK, 4.5, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"nobody is left in the ISR, by what the leader asked for when it was back", func(s *story) {
			s.writes(history.OK, 4.5, 5, 0.01)
			s.at(5)
			s.enter(2, 2, asked(changes("change_isr", change(1, 0, 1, 1)), "alter_partition"), 2, 3)
			s.rejoins(6)
			s.ends(30)
		}, Violated, "took over from n1 within 3s", []string{KindFailoverLate}},
		{"nobody is left in the ISR, by a request that was committed when a failover was due", func(s *story) {
			s.at(3.5)
			s.enter(2, 2, asked(changes("change_isr", change(1, 0, 1, 1)), "alter_partition"), 2, 3)
			s.writes(history.OK, 4.5, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "took over from n1 within 3s", []string{KindFailoverLate}},
		{"nobody is left in the ISR, by the controller's own doing", func(s *story) {
			s.at(0.1)
			s.enter(2, 2, asked(changes("change_isr", change(1, 0, 1, 1)), "expiry"), 2, 3)
			s.writes(history.OK, 4.5, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "took over from n1", []string{KindFailoverLate}},
		{"the leader asked for a smaller ISR, which leaves one that may lead", func(s *story) {
			s.at(0.1)
			s.enter(2, 2, asked(changes("change_isr", change(1, 0, 1, 1, 2)), "alter_partition"), 2, 3)
			s.writes(history.OK, 4.5, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "took over from n1", []string{KindFailoverLate}},
		{"a fault that ends before a failover is due", func(s *story) {
			s.faults[0].HealAsked = s.faults[0].Effective + 2*second
			s.faults[0].Healed = s.faults[0].HealAsked
			s.writes(history.OK, 4.5, 30, 0.01)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"a fault that ended by itself before a failover is due", func(s *story) {
			s.faults[0].Lapsed, s.faults[0].Error = s.faults[0].Effective+2*second, "it did not last: n1 runs"
			s.writes(history.OK, 4.5, 30, 0.01)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"a fault on a follower", func(s *story) {
			s.faults[0].Nodes = []int32{3}
			s.writes(history.OK, 0, 30, 0.01)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"a fault on all nodes", func(s *story) {
			s.faults[0].Nodes = []int32{1, 2, 3}
			s.takesOver(6)
			s.writes(history.OK, 6.1, 30, 0.01)
			s.rejoins(7)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"a fault on the heels of another", func(s *story) {
			first := *s.faults[0]
			first.ID, first.Healed, first.HealAsked = 2, first.Asked-2*second, first.Asked-2*second
			first.Asked, first.Effective = 1, 2
			s.faults = append(s.faults, &first)
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Holds, "", nil},
		{"a fault that follows another after a while", func(s *story) {
			first := *s.faults[0]
			first.ID, first.Healed, first.HealAsked = 2, first.Asked-3*second, first.Asked-3*second
			first.Asked, first.Effective = first.Healed-2, first.Healed-1
			s.faults = append(s.faults, &first)
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "took over from n1", []string{KindFailoverLate}},
		{"a slow failover while the machine stands still", func(s *story) {
			s.at(2)
			s.event(2, &history.Stall{Nanos: second})
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Inconclusive, "n2 stalled meanwhile, for 1s until 4.009 s (Unix time)", nil},
		{"a stall of the node that the fault holds", func(s *story) {
			s.takesOver(3.5)
			s.writes(history.OK, 3.6, 30, 0.01)
			s.at(4)
			s.event(1, &history.Stall{Nanos: 4 * second})
			s.rejoins(5)
			s.ends(30)
		}, Violated, "took over", []string{KindFailoverLate}},
		{"no write", func(s *story) {
			s.takesOver(1.5)
			s.writes(history.Unknown, 2, 30, 3)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "no write was acknowledged after the end within 9s", []string{KindWriteLate}},
		{"no write, in a run whose harness failed", func(s *story) {
			s.run.HarnessError = "disk full"
			s.takesOver(1.5)
			s.writes(history.Unknown, 2, 30, 3)
			s.rejoins(5)
			s.ends(30)
		}, Inconclusive, "the harness failed: disk full", nil},
		{"a write too late", func(s *story) {
			s.takesOver(1.5)
			s.writes(history.Failed, 2, 13.1, 0.01)
			s.writes(history.OK, 13.2, 30, 0.01)
			s.rejoins(5)
			s.ends(30)
		}, Violated, "no write was acknowledged", []string{KindWriteLate}},
		{"no producer", func(s *story) {
			s.takesOver(1.5)
			s.rejoins(5)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"no full ISR", func(s *story) {
			s.takesOver(1.5)
			s.writes(history.OK, 2, 30, 0.01)
			s.rejoins(13.1)
			s.ends(30)
		}, Violated, "the ISR was not full after the end within 9s", []string{KindISRLate}},
		{"cut short by the next fault", func(s *story) {
			s.takesOver(1.5)
			s.writes(history.OK, 2, 30, 0.01)
			next := *s.faults[0]
			next.ID, next.Kind, next.Nodes, next.Healed, next.HealAsked = 2, "pause", []int32{3}, 0, 0
			next.Asked, next.Effective = next.Asked+8*second, next.Effective+8*second
			s.faults = append(s.faults, &next)
			s.ends(30)
		}, Holds, "2 times", nil},
		{"cut short by the drain", func(s *story) {
			s.run.Phases = []history.Phase{{Name: "drain", Start: s.faults[0].Healed + 8*second}}
			s.takesOver(1.5)
			s.ends(30)
		}, Holds, "1 time", nil},
		{"told late by a node that was away", func(s *story) {
			sound(s)
			s.restart(1)
			s.index -= 3
			s.enter(1, 1, changes(createTopicCommand, change(1, 0, 0, 1, 2, 3)), 1)
			s.enter(2, 2, changes("set_partition_leader", change(2, 1, 1, 2, 3)), 1)
			s.enter(2, 2, changes("change_isr", change(2, 1, 2, 1, 2, 3)), 1)
		}, Holds, "3 times", nil},
		{"a fault without evidence", func(s *story) {
			s.faults[0].Effective = 0
		}, NotApplicable, "no fault was seen", nil},
		{"wrong clocks", func(s *story) {
			s.faults = append(s.faults, &history.Fault{ID: 2, Kind: "clock-jump", Asked: 1, Effective: 1, Healed: 2})
			s.ends(30)
		}, NotApplicable, "clocks were made wrong", nil},
		{"the run ends with the fault", func(s *story) { s.at(4); s.enter(2, 2, changes("change_isr", change(1, 0, 1, 2, 3)), 2) }, Violated, "took over", []string{KindFailoverLate}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := outageStory("kill")
			c.tell(s)
			wants(t, feed(newRecovery(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
	for _, cut := range []history.Notes{{Truncated: []string{history.HistoryFile}}, {Truncated: []string{history.EventsFile + ".zst"}}} {
		s := outageStory("kill")
		s.takesOver(1.5)
		s.writes(history.Unknown, 2, 14, 3)
		s.ends(17)
		r := newRecovery(alone(&s.run))
		r.incomplete(cut)
		wants(t, feed(r, s), Holds, "1 time") // the failover; who knows what was not recorded of the rest
	}
	s := outageStory("kill")
	s.faults[0].HealAsked -= 2 * second // no failover is due
	s.faults[0].Healed = s.now + 100*second
	wants(t, feed(newRecovery(alone(&s.run)), s), NotApplicable, "no recovery could be watched")
}

// A core that is late while the machine stands still proves nothing.
func TestRecoveryOfACoreOnAMachineThatStalls(t *testing.T) {
	s := newStory()
	s.run.Liveness = &history.Liveness{Core: []int32{1, 3}, Others: "kill", From: s.now, Bound: second, Missing: []string{"no raft leader in the core"}}
	s.now += second / 2
	s.event(0, &history.Stall{Nanos: second / 4})
	wants(t, feed(newRecovery(alone(&s.run)), s), Inconclusive, "the machine stalled meanwhile")
}

func TestRecoveryOfACore(t *testing.T) {
	for name, c := range map[string]struct {
		result  *history.Liveness
		outcome Outcome
		kinds   []string
	}{
		"it served":         {&history.Liveness{Core: []int32{1, 3}, Others: "kill", From: 100, Served: 200, Bound: 1000}, NotApplicable, nil},
		"it was not tried":  {&history.Liveness{Core: []int32{1, 3}, Others: "kill", Bound: 1000}, NotApplicable, nil},
		"it did not serve":  {&history.Liveness{Core: []int32{1, 3}, Others: "kill", From: 100, Bound: 1000, Missing: []string{"no raft leader in the core"}}, Violated, []string{KindCoreNotServing}},
		"there was no core": {nil, NotApplicable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			s.run.Liveness = c.result
			v := feed(newRecovery(alone(&s.run)), s)
			var kinds []string
			for _, x := range v.Violations {
				kinds = append(kinds, x.Kind)
				if !strings.Contains(x.Sentence, "n1, n3") || !strings.Contains(x.Sentence, "no raft leader in the core") {
					t.Error(x.Sentence)
				}
			}
			if v.Outcome != c.outcome || !slices.Equal(kinds, c.kinds) {
				t.Errorf("%s, %v: %s", v.Outcome, kinds, v.Reason)
			}
		})
	}
}
