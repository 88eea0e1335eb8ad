package checkers

import (
	"testing"

	"soak/history"
)

// interval is a periodic check of the raft leader, two seconds after the last.
func (s *story) interval(node int32, term uint64) {
	s.now += 2 * second
	s.check(node, term, history.RoleLeader)
}

// threeNodes is a cluster with its first controller.
func threeNodes() *story {
	s := newStory()
	s.run.Nodes = 3
	s.run.ElectionInterval, s.run.SessionTimeout = 2*second, second
	for n := int32(1); n <= 3; n++ {
		s.event(n, &history.Started{Nodes: []int32{1, 2, 3}})
	}
	s.leads(1, 1)
	return s
}

func TestBalanceInQuiet(t *testing.T) {
	// away gives orders-0, whose preferred replica is n1, to n2.
	away := func(s *story) {
		s.created()
		s.enter(1, 1, changes("set_partition_leader", change(2, 1, 1, 1, 2, 3)), 1, 2, 3)
	}
	checks := func(s *story, n int) {
		for range n {
			s.interval(1, 1)
		}
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"at home", func(s *story) { s.created(); checks(s, 20) }, Holds, "leaders lay where they belong", nil},
		{"away for too long", func(s *story) { away(s); checks(s, 1+1+quietChecks) }, Violated,
			"n2 led orders-0 through 5 quiet checks of n1, though its preferred replica n1 was in the ISR", []string{KindNotPreferred}},
		{"away for too long, as a snapshot had it", func(s *story) {
			away(s)
			s.restart(1)
			s.leads(1, 2)
			s.snapshot(1, history.SnapshotRestored, s.index, 5)
			for range 1 + 1 + quietChecks {
				s.interval(1, 2)
			}
		}, Violated, "n2 led orders-0 through 5 quiet checks of n1", []string{KindNotPreferred}},
		{"brought home before the snapshot", func(s *story) {
			away(s)
			home := changes("set_partition_leader", change(1, 2, 2, 1, 2, 3))
			home.Cause = "rebalance"
			s.enter(1, 1, home, 2, 3) // n1 is not told of it but by the snapshot
			s.snapshot(1, history.SnapshotInstalled, s.index, 5)
			checks(s, 20)
		}, Holds, "", nil},
		{"away, and told once", func(s *story) { away(s); checks(s, 40) }, Violated, "5 quiet checks", []string{KindNotPreferred}},
		{"not yet too long", func(s *story) { away(s); checks(s, quietChecks) }, Holds, "", nil},
		{"brought home", func(s *story) {
			away(s)
			checks(s, quietChecks)
			home := changes("set_partition_leader", change(1, 2, 2, 1, 2, 3))
			home.Cause = "rebalance"
			s.enter(1, 1, home, 1, 2, 3)
			checks(s, 20)
		}, Holds, "", nil},
		{"each leads for a while", func(s *story) {
			away(s)
			checks(s, 4)
			s.leads(2, 2)
			for range 4 {
				s.interval(2, 2)
			}
			s.leads(1, 3)
			for range 4 {
				s.interval(1, 3)
			}
		}, Holds, "", nil},
		{"a session is expired", func(s *story) {
			away(s)
			s.event(1, &history.Session{Broker: 3, State: "expired"})
			checks(s, 20)
		}, Holds, "", nil},
		{"sessions come and go", func(s *story) {
			away(s)
			for range 5 {
				checks(s, 4)
				s.event(1, &history.Session{Broker: 3, State: "expired"})
				s.event(1, &history.Session{Broker: 3, State: "live"})
			}
		}, Holds, "", nil},
		{"an ISR is not full", func(s *story) {
			away(s)
			s.enter(1, 1, changes("change_isr", change(2, 1, 2, 1, 2)), 1, 2, 3)
			checks(s, 20)
		}, Holds, "", nil},
		{"under a fault", func(s *story) {
			away(s)
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "delay", Asked: s.now, Effective: s.now + 1})
			checks(s, 20)
		}, Holds, "", nil},
		{"topics come and go", func(s *story) {
			for range 6 {
				s.deleted(1, 2, 3)
				away(s)
				checks(s, 4)
			}
		}, Holds, "", nil},
		{"the machine stalls", func(s *story) {
			away(s)
			checks(s, 4)
			s.event(0, &history.Stall{Nanos: second})
			checks(s, 4)
		}, Inconclusive, "the machine stalled meanwhile", nil},
		{"events are missing", func(s *story) {
			away(s)
			checks(s, 4)
			s.seqs[boot{1, 1}]++
			checks(s, 20)
		}, Inconclusive, "1 event of n1", nil},
		{"a target without events", func(*story) {}, NotApplicable, "do not tell", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := threeNodes()
			c.tell(s)
			wants(t, feed(newBalance(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}

func TestBalanceOfPlacement(t *testing.T) {
	place := func(s *story, preferred ...int32) {
		a := topicCommand(createTopicCommand, "orders")
		for i, id := range preferred {
			a.Changes = append(a.Changes, history.PartitionChange{Topic: "orders", Partition: int32(i), Leader: id, ISR: []int32{1, 2, 3}, Replicas: []int32{id}})
		}
		s.enter(1, 1, a, 1, 2, 3)
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		kinds   []string
	}{
		{"spread", func(s *story) { place(s, 2, 3, 1, 2, 3, 1) }, Holds, nil},
		{"spread as far as it goes", func(s *story) { place(s, 2, 3, 1, 2) }, Holds, nil},
		{"one partition", func(s *story) { place(s, 2) }, Holds, nil},
		{"all on one", func(s *story) { place(s, 1, 1, 1) }, Violated, []string{KindPlacement}},
		{"one node left out", func(s *story) { place(s, 1, 2, 1, 2) }, Violated, []string{KindPlacement}},
		{"a dead node left out", func(s *story) {
			s.event(1, &history.Session{Broker: 3, State: "expired"})
			place(s, 1, 2, 1, 2)
		}, Holds, nil},
		{"a dead node that is not left out", func(s *story) {
			s.event(1, &history.Session{Broker: 3, State: "expired"})
			place(s, 1, 2, 3, 1, 2, 3)
		}, Holds, nil},
		{"dead for another node only", func(s *story) {
			s.event(2, &history.Session{Broker: 3, State: "expired"})
			place(s, 1, 2, 1, 2)
		}, Violated, []string{KindPlacement}},
		{"dead when it is replayed", func(s *story) {
			place(s, 2, 3, 1)
			s.restart(1)
			s.index--
			s.event(1, &history.Session{Broker: 2, State: "expired"})
			place(s, 2, 3, 1)
		}, Holds, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := threeNodes()
			c.tell(s)
			wants(t, feed(newBalance(alone(&s.run)), s), c.outcome, "", c.kinds...)
		})
	}
}

func TestBalanceOfElections(t *testing.T) {
	for _, c := range []struct {
		name    string
		rises   int32
		more    func(s *story)
		outcome Outcome
		kinds   []string
	}{
		// Free, and for the one raft term.
		{"few", electionsFree + electionsEach, func(*story) {}, Holds, nil},
		{"too many", electionsFree + electionsEach + 1, func(*story) {}, Violated, []string{KindElectedTooMuch}},
		{"explained by a fault", electionsFree + 2*electionsEach, func(s *story) {
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "kill", Asked: 1, Effective: 2, Healed: 3})
		}, Holds, nil},
		{"explained by a session, a restart, a term and a stall", electionsFree + 5*electionsEach, func(s *story) {
			s.event(2, &history.Session{Broker: 3, State: "expired"})
			s.event(2, &history.Session{Broker: 3, State: "live"})
			s.restart(3)
			s.event(3, &history.Started{Nodes: []int32{1, 2, 3}})
			s.leads(2, 2)
			s.event(0, &history.Stall{Nanos: second})
		}, Holds, nil},
		{"elected at every check", 500, func(s *story) { s.event(1, &history.Session{Broker: 3, State: "expired"}) }, Violated, []string{KindElectedTooMuch}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := threeNodes()
			s.created()
			for i := range c.rises {
				s.enter(1, 1, changes("set_partition_leader", change(2, i+1, i+1, 1, 2, 3)), 1, 2, 3)
			}
			c.more(s)
			wants(t, feed(newBalance(alone(&s.run)), s), c.outcome, "", c.kinds...)
		})
	}
}
