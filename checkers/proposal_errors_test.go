package checkers

import (
	"testing"

	"soak/history"
)

func TestProposalErrors(t *testing.T) {
	attempt := func(role history.Role, outcome, err string) *history.Propose {
		return &history.Propose{Command: "create_topic", Key: "a", Term: 3, Role: role, Leader: 2, Outcome: outcome, Error: err}
	}
	for _, c := range []struct {
		name    string
		more    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"a calm cluster", func(*story) {}, Holds, "all 2 proposals", nil},
		{"dropped from the leader", func(s *story) {
			s.event(2, attempt(history.RoleLeader, history.ProposeDropped, "raft proposal dropped"))
		}, Holds, "", nil},
		{"a compare-and-set refusal", func(s *story) {
			a := election("orders-0", 4)
			a.Outcome = history.Refused
			s.commit(2, 3, a, 1, 2, 3)
		}, Holds, "", nil},
		{"refused", func(s *story) {
			s.event(1, attempt(history.RoleFollower, history.ProposeRefused, "Cannot propose: this node (id=1) is not the leader (state=Follower, leader=2)"))
		}, Violated, "Cannot propose: this node (id=1)", []string{KindCannotPropose}},
		{"refused before any leader was known", func(s *story) { s.event(1, attempt(history.RoleCandidate, history.ProposeRefused, "")) }, Violated, "", []string{KindCannotPropose}},
		{"forwarded", func(s *story) { s.event(1, attempt(history.RoleFollower, history.ProposeForwards, "")) }, Violated, "", []string{KindCannotPropose}},
		{"dropped from a follower", func(s *story) { s.event(1, attempt(history.RoleFollower, history.ProposeDropped, "")) }, Violated, "", []string{KindCannotPropose}},
		{"a line of a foreign image", func(s *story) {
			s.event(0, &history.LogLine{Of: 3, What: "cannot_propose", Line: "Cannot propose: no"})
		}, Violated, `the log of n3 holds "Cannot propose: no"`, []string{KindCannotLog}},
		{"another line", func(s *story) { s.event(0, &history.LogLine{Of: 3, What: "panic"}) }, Holds, "", nil},
		{"a gap", func(s *story) { s.seqs[boot{1, 1}]++; s.follows(1, 3, 2) }, Inconclusive, "1 event of n1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			c.more(s)
			wants(t, feed(newProposalErrors(&s.run), s), c.outcome, c.reason, c.kinds...)
		})
	}
	s := newStory()
	s.leads(1, 1)
	wants(t, feed(newProposalErrors(&s.run), s), Inconclusive, "no proposal was seen")
}

func TestNoCrash(t *testing.T) {
	for _, c := range []struct {
		name    string
		body    history.Body
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"asked for", &history.Exit{Of: 2, Code: -1, Signal: "killed", Asked: true}, Holds, "no node crashed in 3 boots", nil},
		{"an exit", &history.Exit{Of: 2, Code: 1}, Violated, "n2 exited unasked with code 1", []string{KindExit}},
		{"a clean exit that nobody asked for", &history.Exit{Of: 2}, Violated, "code 0", []string{KindExit}},
		{"a signal", &history.Exit{Of: 2, Code: -1, Signal: "killed"}, Violated, `n2 was ended unasked by the signal "killed"`, []string{KindExit}},
		{"a panic", &history.LogLine{Of: 1, What: "panic", Line: "panic: nil map"}, Violated, "n1 panicked: panic: nil map", []string{KindPanic}},
		{"a fatal error", &history.LogLine{Of: 1, What: "fatal", Line: "disk"}, Violated, "n1 logged a fatal error", []string{KindFatal}},
		{"a race", &history.LogLine{Of: 1, What: "data_race", Line: "DATA RACE"}, Violated, "n1 reported a data race", []string{KindDataRace}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			s.event(0, c.body)
			wants(t, feed(newNoCrash(&s.run), s), c.outcome, c.reason, c.kinds...)
		})
	}
	wants(t, newNoCrash(&history.Run{}).Finish(), Inconclusive, "no node was seen to run")
}
