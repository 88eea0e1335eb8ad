package checkers

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"soak/history"
)

// calm is a sound cluster of three: n2 leads term 3, checks, elects.
func calm() *story {
	s := newStory()
	s.leads(2, 3)
	s.follows(1, 3, 2)
	s.follows(3, 3, 2)
	s.commit(2, 3, topicCommand("create_topic", "orders"), 1, 2, 3)
	s.check(2, 3, history.RoleLeader)
	s.commit(2, 3, election("orders-0", 0), 2, 1, 3)
	return s
}

func TestSingleLeaderAccepts(t *testing.T) {
	for name, more := range map[string]func(s *story){
		"a calm cluster": func(*story) {},
		"a change of leader": func(s *story) {
			s.leads(3, 4)
			s.check(3, 4, history.RoleLeader)
			s.commit(3, 4, election("orders-0", 1), 3, 1)
		},
		"an old leader that does not know it yet": func(s *story) {
			s.leads(3, 4)
			s.check(2, 3, history.RoleLeader)
			s.check(3, 4, history.RoleLeader)
		},
		"a role event that is read after what follows from it": func(s *story) {
			s.commit(3, 4, election("orders-0", 1), 1, 2)
			s.leads(3, 4)
		},
		"a restart that applies old entries again": func(s *story) {
			first := slices.Clone(s.events)
			s.restart(1)
			for _, e := range first {
				if a, ok := e.Body.(*history.Apply); ok && e.Node == 1 {
					s.event(1, a)
				}
			}
		},
		"a topic deleted and created anew": func(s *story) {
			s.commit(2, 3, topicCommand("delete_topic", "orders"), 1, 2, 3)
			s.commit(2, 3, topicCommand("create_topic", "orders"), 1, 2, 3)
			s.commit(2, 3, election("orders-0", 0), 1, 2, 3)
		},
		"a topic deleted and created anew behind a snapshot, of which others tell later": func(s *story) {
			s.index += 2
			s.event(1, &history.Snapshot{What: history.SnapshotInstalled, Index: s.index, Term: 3})
			s.commit(2, 3, election("orders-0", 0), 1)
			s.index -= 3
			s.commit(2, 3, topicCommand("delete_topic", "orders"), 2, 3)
			s.commit(2, 3, topicCommand("create_topic", "orders"), 2, 3)
		},
		"an election refused because its topic is gone": func(s *story) {
			a := election("orders-0", 0)
			a.Outcome, a.Error = history.Refused, "unknown topic or partition"
			s.commit(2, 3, a, 1, 2, 3)
		},
		"a boot's end cut by a kill": func(s *story) {
			s.restart(2)
			s.follows(2, 3, 0)
		},
		"raft's own empty entry": func(s *story) { s.enter(0, 9, history.Apply{Command: "empty"}, 1, 2, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			s := calm()
			more(s)
			wants(t, feed(newSingleLeader(&s.run), s), Holds, "only its leader")
		})
	}
}

func TestSingleLeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		more   func(s *story)
		reason string
		kinds  []string
	}{
		{"a follower's check", func(s *story) { s.check(1, 3, history.RoleFollower) }, "n1 ran a partition leader check in term 3 while its raft role was follower", []string{KindCheckByOther}},
		{"a follower's check of before any leader", func(s *story) { s.check(1, 0, history.RoleFollower) }, "", []string{KindCheckByOther}},
		{"each follower's check", func(s *story) {
			s.check(1, 3, history.RoleFollower)
			s.check(3, 3, history.RoleFollower)
			s.check(3, 3, history.RolePreCandidate)
		}, "(and 2 more)", []string{KindCheckByOther, KindCheckByOther, KindCheckByOther}},
		{"a follower's refused proposal", func(s *story) {
			s.event(1, &history.Propose{Command: "create_topic", Key: "a", Term: 3, Role: history.RoleFollower, Leader: 2, Outcome: history.ProposeRefused})
		}, "n1 tried to propose create_topic a", []string{KindProposalByOther}},
		{"a follower's forwarded proposal, and its entry", func(s *story) {
			s.event(1, &history.Propose{Command: "set_partition_leader", Key: "orders-0", Term: 3, Role: history.RoleFollower, Leader: 2, Outcome: history.ProposeForwards})
			s.enter(1, 3, election("orders-0", 7), 1, 2, 3)
		}, "", []string{KindProposalByOther, KindForeignProposer}},
		{"a foreign proposer, whose term's leader is learnt later", func(s *story) {
			s.enter(1, 5, topicCommand("create_topic", "a"), 1, 2, 3)
			s.leads(3, 5)
		}, "was proposed by n1, but the raft leader of its term 5 is n3", []string{KindForeignProposer}},
		{"two leaders of a term", func(s *story) { s.leads(1, 3) }, "n2 and n1 both led raft term 3", []string{KindTwoLeaders}},
		{"two that act as leader of a term nobody is known to lead", func(s *story) {
			s.check(1, 5, history.RoleLeader)
			s.check(3, 5, history.RoleLeader)
		}, "both acted", []string{KindTwoLeaders}},
		{"a check in another's term", func(s *story) { s.check(1, 3, history.RoleLeader) }, "whose raft leader is n2", []string{KindCheckByOther}},
		{"a check in what turns out to be another's term", func(s *story) {
			s.check(1, 5, history.RoleLeader)
			s.leads(3, 5)
		}, "whose raft leader is n3", []string{KindCheckByOther}},
		{"an election committed twice, the second refused", func(s *story) {
			a := election("orders-0", 0)
			a.Outcome, a.Error = history.Refused, "partition epoch is not the expected one"
			s.commit(2, 3, a, 1, 2, 3)
		}, "orders-0 was elected a leader twice for partition epoch 0", []string{KindTwiceElected}},
		{"an election committed three times", func(s *story) {
			s.commit(2, 3, election("orders-0", 0), 1, 2, 3)
			s.commit(2, 3, election("orders-0", 0), 1, 2, 3)
		}, "", []string{KindTwiceElected, KindTwiceElected}},
		{"a repeated election that no node showed both of", func(s *story) {
			s.commit(2, 3, election("orders-1", 0), 1)
			s.commit(2, 3, election("orders-1", 0), 3)
		}, "", []string{KindTwiceElected}},
		{"a repeated election behind a snapshot", func(s *story) {
			s.commit(2, 3, topicCommand("create_topic", "b"), 2)
			s.event(1, &history.Snapshot{What: history.SnapshotInstalled, Index: s.index, Term: 3})
			s.commit(2, 3, election("orders-0", 0), 1)
		}, "orders-0 was elected a leader twice for partition epoch 0", []string{KindTwiceElected}},
		{"a violation outweighs a gap", func(s *story) {
			s.seqs[boot{1, 1}] += 3
			s.check(1, 3, history.RoleFollower)
		}, "", []string{KindCheckByOther}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			c.more(s)
			wants(t, feed(newSingleLeader(&s.run), s), Violated, c.reason, c.kinds...)
		})
	}
}

func TestSingleLeaderCannotTell(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		make         func() *story
	}{
		{"nothing seen", "no partition leader check was seen", newStory},
		{"a gap", "2 events of n2 in boot 1 missing from number", func() *story {
			s := calm()
			s.seqs[boot{2, 1}] += 2
			s.check(2, 3, history.RoleLeader)
			return s
		}},
		{"a boot whose begin is missing", "1 event of n1 in boot 2 missing from number 1", func() *story {
			s := calm()
			s.restart(1)
			s.seqs[boot{1, 2}] = 1
			s.follows(1, 3, 2)
			return s
		}},
		{"an unknown leader", "the raft leader of term 7 is unknown, and 2 entries were committed in it", func() *story {
			s := calm()
			s.commit(3, 7, topicCommand("create_topic", "a"), 1)
			s.commit(3, 7, topicCommand("create_topic", "b"), 1)
			return s
		}},
		{"no proposer", "without a proposer", func() *story {
			s := calm()
			s.enter(0, 3, topicCommand("create_topic", "a"), 1)
			return s
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.make()
			wants(t, feed(newSingleLeader(&s.run), s), Inconclusive, c.reason)
		})
	}
}

func TestAnEventThatComesLateIsNoGap(t *testing.T) {
	s := calm()
	at := len(s.events)
	for range 4 {
		s.check(2, 3, history.RoleLeader)
	}
	tail := s.events[at:]
	tail[0], tail[3] = tail[3], tail[0]
	wants(t, feed(newSingleLeader(&s.run), s), Holds, "")
}

// Live, a violation is there as soon as its event is, and names the faults whose window it touches.
func TestSingleLeaderJudgesLive(t *testing.T) {
	s := calm()
	c := newSingleLeader(&s.run)
	for _, e := range s.events {
		c.Event(e)
	}
	if v := c.Violations(); len(v) != 0 {
		t.Fatalf("a sound cluster is accused: %v", v)
	}
	at := len(s.events)
	s.enter(1, 3, topicCommand("create_topic", "x"), 2)
	c.Event(s.events[at])
	v := c.Violations()
	if len(v) != 1 || v[0].Kind != KindForeignProposer || len(v[0].Faults) != 0 {
		t.Fatalf("got %v", v)
	}
	c.Fault(&history.Fault{ID: 1, Asked: 1, Healed: 2})
	c.Fault(&history.Fault{ID: 2, Asked: s.now - 10, Healed: s.now + 10})
	c.Fault(&history.Fault{ID: 3, Asked: s.now - 10})
	c.Fault(&history.Fault{ID: 4, Asked: s.now + 10})
	if v := c.Violations(); !slices.Equal(v[0].Faults, []int{2, 3}) {
		t.Errorf("faults %v; want 2 and 3", v[0].Faults)
	}
}

// soundCluster draws a history of a sound cluster: leaders change, nodes restart and apply again, topics come and go.
func soundCluster(t *rapid.T) *story {
	s := newStory()
	applied := []*history.Apply{}
	epochs := map[string]int32{}
	for term := uint64(1); term <= uint64(rapid.IntRange(1, 4).Draw(t, "terms")); term++ {
		leader := rapid.Int32Range(1, 3).Draw(t, "leader")
		s.leads(leader, term)
		for n := int32(1); n <= 3; n++ {
			if n != leader {
				s.follows(n, term, leader)
			}
		}
		applied = append(applied, s.commit(leader, term, topicCommand("create_topic", fmt.Sprint("of-term-", term)), 1, 2, 3))
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				s.check(leader, term, history.RoleLeader)
			case 2, 3:
				p := rapid.SampledFrom([]string{"a-0", "a-1", "b-0"}).Draw(t, "partition")
				applied = append(applied, s.commit(leader, term, election(p, epochs[p]), 1, 2, 3))
				epochs[p]++
			case 4:
				topic := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic")
				applied = append(applied,
					s.commit(leader, term, topicCommand("delete_topic", topic), 1, 2, 3),
					s.commit(leader, term, topicCommand("create_topic", topic), 1, 2, 3))
				for p := range epochs {
					if p[:1] == topic {
						delete(epochs, p)
					}
				}
			case 5:
				n := rapid.Int32Range(1, 3).Draw(t, "restarted")
				if n == leader {
					continue
				}
				s.restart(n)
				for _, a := range applied {
					s.event(n, a)
				}
			}
		}
		s.check(leader, term, history.RoleLeader)
	}
	return s
}

func TestSingleLeaderAcceptsEverySoundCluster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := soundCluster(t)
		for _, c := range []Checker{newSingleLeader(&s.run), newNoCrash(&s.run)} {
			if v := feed(c, s); v.Outcome != Holds {
				t.Fatalf("%s: %s: %s", v.Checker, v.Outcome, v.Reason)
			}
		}
	})
}

func TestSingleLeaderRefusesEveryMutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := soundCluster(t)
		// The last leader and the events that may be touched.
		var checks, entries, roles []int
		for i, e := range s.events {
			switch b := e.Body.(type) {
			case *history.LeaderCheck:
				checks = append(checks, i)
			case *history.Apply:
				entries = append(entries, i)
			case *history.RoleChange:
				if b.Role == history.RoleLeader {
					roles = append(roles, i)
				}
			}
		}
		change := func(i int, body history.Body) {
			e := *s.events[i]
			e.Body = body
			s.events[i] = &e
		}
		want := Violated
		switch rapid.SampledFrom([]string{"role", "node", "proposer", "leader", "gap"}).Draw(t, "mutation") {
		case "role":
			i := rapid.SampledFrom(checks).Draw(t, "check")
			b := *s.events[i].Body.(*history.LeaderCheck)
			b.Role = rapid.SampledFrom([]history.Role{history.RoleFollower, history.RoleCandidate, history.RolePreCandidate}).Draw(t, "role")
			change(i, &b)
		case "node":
			b := *s.events[rapid.SampledFrom(checks).Draw(t, "check")].Body.(*history.LeaderCheck)
			l := newLeaders()
			for _, i := range roles {
				l.learn(s.events[i])
			}
			s.event(l.leader(b.Term)%3+1, &b)
		case "proposer":
			i := rapid.SampledFrom(entries).Draw(t, "entry")
			b := *s.events[i].Body.(*history.Apply)
			b.Proposer = b.Proposer%3 + 1
			change(i, &b)
		case "leader":
			e := s.events[rapid.SampledFrom(roles).Draw(t, "role event")]
			b := *e.Body.(*history.RoleChange)
			s.event(e.Node%3+1, &b)
		case "gap":
			// The last event of a boot may be cut; the first one may not.
			s.events = slices.Delete(s.events, 0, 1)
			want = Inconclusive
		}
		v := feed(newSingleLeader(&s.run), s)
		// Without its role event a term's leader may be unknown, or the node may have said nothing more.
		if want == Inconclusive {
			if v.Outcome == Violated {
				t.Fatalf("a gap accuses: %s", v.Reason)
			}
			return
		}
		if v.Outcome != want {
			t.Fatalf("got %s: %s", v.Outcome, v.Reason)
		}
	})
}
