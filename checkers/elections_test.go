package checkers

import (
	"testing"

	"soak/history"
)

// life is a topic that is created, given a leader, and deleted, as the given nodes tell it.
func (s *story) life(topic string, on ...int32) {
	s.commit(2, 3, topicCommand("create_topic", topic), on...)
	s.commit(2, 3, election(topic+"-0", 0), on...)
	s.commit(2, 3, topicCommand("delete_topic", topic), on...)
}

func TestElectionsOfDeletedTopicsRetire(t *testing.T) {
	s := calm()
	c := newSingleLeader(&s.run)
	before := len(s.events)
	s.life("short", 1, 2, 3)
	s.life("short", 1, 2, 3)
	after := len(s.events)
	for _, e := range s.events[before:after] { // once more, by a node that has started again
		if _, told := e.Body.(*history.Apply); !told {
			continue
		}
		again := *e
		again.Node, again.Boot, again.Seq = 1, 2, e.Seq
		s.events = append(s.events, &again)
	}
	s.life("gone", 1)
	s.commit(2, 3, topicCommand("create_topic", "stays"), 1, 2, 3)
	s.commit(2, 3, election("stays-0", 0), 1, 2, 3)
	for _, e := range s.events {
		c.Event(e)
	}
	if n := len(c.elections.topics["short"].of); n != 0 {
		t.Errorf("of a topic that was deleted twice %d elections are kept", n)
	}
	if c.elections.topics["gone"] != nil {
		t.Error("a topic that was deleted is kept")
	}
	if len(c.elections.topics["stays"].of) != 1 {
		t.Error("the election of a topic that is there has retired")
	}
	if c.total != 0 {
		t.Errorf("%d violations: %+v", c.total, c.found)
	}
}

// A node of whose story the repetition is missing does not keep another from showing it.
func TestElectionsDoNotRetireAcrossAGap(t *testing.T) {
	s := calm()
	begin := len(s.events)
	s.life("a", 1)
	var again *history.Event
	told := s.events[begin:]
	for _, e := range told {
		if a, ok := e.Body.(*history.Apply); ok && a.Command == "set_partition_leader" {
			again = e
		}
	}
	// n1's own story goes on with an event that is missing; n3's has it.
	var third []*history.Event
	add := func(a history.Apply) { third = append(third, s.event(3, &a)); s.events = s.events[:len(s.events)-1] }
	for _, e := range told {
		a, ok := e.Body.(*history.Apply)
		if !ok {
			continue
		}
		if a.Command == "delete_topic" {
			e.Seq++ // one is missing before it
			a.Index++
			twice := *again.Body.(*history.Apply)
			twice.Index, twice.Attempt = twice.Index+1, twice.Attempt+7
			add(twice)
		}
		add(*a)
	}
	s.events = append(s.events, third...)
	wants(t, feed(newSingleLeader(&s.run), s), Violated, "a-0 was elected a leader twice", KindTwiceElected)
}

// What may yet be found wrong stays.
func TestRepeatedElectionsDoNotRetire(t *testing.T) {
	for name, more := range map[string]func(s *story){
		"shown by two nodes that did not show both, before a third deletes it": func(s *story) {
			s.commit(2, 3, topicCommand("create_topic", "a"), 1, 2, 3)
			s.commit(2, 3, election("a-0", 0), 1)
			s.commit(2, 3, election("a-0", 0), 3)
			s.commit(2, 3, topicCommand("delete_topic", "a"), 2)
		},
		"once before and once after a creation that no node shows between": func(s *story) {
			s.commit(2, 3, election("a-0", 0), 1, 2, 3)
			s.commit(2, 3, election("a-0", 0), 1, 2, 3)
			s.commit(2, 3, topicCommand("delete_topic", "a"), 1, 2, 3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := calm()
			more(s)
			wants(t, feed(newSingleLeader(&s.run), s), Violated, "a-0 was elected a leader twice", KindTwiceElected)
		})
	}
}
