package checkers

import (
	"fmt"
	"strings"
	"testing"

	"soak/history"
)

// story builds a history by hand, a record a call. Its clock moves a millisecond with each.
type story struct {
	run    history.Run
	events []*history.Event
	ops    []*history.Operation
	faults []*history.Fault
	now    int64
	boots  map[int32]uint64
	seqs   map[boot]uint64
	index  uint64
	tries  map[int32]uint64
}

func newStory() *story {
	return &story{
		run: history.Run{Format: history.FormatVersion, ID: "r1", Contract: history.Contract{Acks: -1}},
		now: 1_000_000_000, boots: map[int32]uint64{}, seqs: map[boot]uint64{}, tries: map[int32]uint64{},
	}
}

func (s *story) tick() int64 { s.now += 1_000_000; return s.now }

// event adds what a node says of itself; node 0 is the runner.
func (s *story) event(node int32, b history.Body) *history.Event {
	if s.boots[node] == 0 {
		s.boots[node] = 1
	}
	life := boot{node, s.boots[node]}
	s.seqs[life]++
	e := &history.Event{Node: node, Boot: life.boot, Seq: s.seqs[life], Time: s.tick(), Body: b}
	s.events = append(s.events, e)
	return e
}

func (s *story) restart(node int32) { s.boots[node]++ }

func (s *story) leads(node int32, term uint64) {
	s.event(node, &history.RoleChange{Term: term, Role: history.RoleLeader, Leader: node})
}

func (s *story) follows(node int32, term uint64, leader int32) {
	s.event(node, &history.RoleChange{Term: term, Role: history.RoleFollower, Leader: leader})
}

func (s *story) check(node int32, term uint64, role history.Role) {
	s.event(node, &history.LeaderCheck{Term: term, Role: role, Cause: history.CauseInterval})
}

// commit proposes a command on the leader and applies it on the nodes given.
func (s *story) commit(leader int32, term uint64, a history.Apply, on ...int32) *history.Apply {
	s.tries[leader]++
	s.event(leader, &history.Propose{Command: a.Command, Key: a.Key, Term: term, Role: history.RoleLeader, Leader: leader, Attempt: s.tries[leader], Outcome: history.ProposeAccepted})
	return s.enter(leader, term, a, on...)
}

// enter applies a committed entry on the nodes given.
func (s *story) enter(proposer int32, term uint64, a history.Apply, on ...int32) *history.Apply {
	s.index++
	a.Index, a.Term, a.Proposer, a.ProposerTerm, a.ProposerBoot, a.Attempt = s.index, term, proposer, term, 1, s.tries[proposer]
	if a.Outcome == "" {
		a.Outcome = history.Applied
	}
	for _, n := range on {
		b := a
		s.event(n, &b)
	}
	return &a
}

// snapshot has a node say that a snapshot of an index took the place of its state, and tell the hash of what came of it.
func (s *story) snapshot(node int32, what string, index, hash uint64) {
	s.event(node, &history.Snapshot{What: what, Index: index, Term: 1, Bytes: 100})
	s.event(node, &history.StateHash{Index: index, Hash: hash})
}

func election(partition string, epoch int32) history.Apply {
	return history.Apply{Command: "set_partition_leader", Key: partition, ExpectedEpoch: epoch}
}

func topicCommand(command, topic string) history.Apply {
	return history.Apply{Command: command, Key: topic, ExpectedEpoch: -1}
}

// op adds a client operation that took a millisecond.
func (s *story) op(op history.Operation) *history.Operation {
	if op.Invoke == 0 {
		op.Invoke = s.tick()
	}
	if op.Complete == 0 {
		op.Complete = s.tick()
	}
	if op.Outcome == "" {
		op.Outcome = history.OK
	}
	op.ID = fmt.Sprintf("op%d", len(s.ops)+1)
	s.ops = append(s.ops, &op)
	return &op
}

// alone is what a checker that is judged by itself shares with nobody. Its records wait in a spill, as those of a folder do.
func alone(run *history.Run) *shared { return &shared{run: run, spill: newSpill()} }

func feed(c Checker, s *story) Verdict {
	for _, f := range s.faults {
		c.Fault(f)
	}
	for _, op := range s.ops {
		c.Operation(op)
	}
	for _, e := range s.events {
		c.Event(e)
	}
	return c.Finish()
}

// wants checks an outcome, the kinds of the violations in order, and a part of the reason.
func wants(t *testing.T, v Verdict, outcome Outcome, reason string, kinds ...string) {
	t.Helper()
	var got []string
	for _, x := range v.Violations {
		got = append(got, x.Kind)
		if x.Sentence == "" || len(x.Evidence) == 0 {
			t.Errorf("a violation without sentence or evidence: %+v", x)
		}
	}
	if v.Outcome != outcome || fmt.Sprint(got) != fmt.Sprint(kinds) || !strings.Contains(v.Reason, reason) {
		t.Errorf("got %s, %v: %s\nwant %s, %v: …%s…", v.Outcome, got, v.Reason, outcome, kinds, reason)
	}
}
