package checkers

import (
	"fmt"
	"testing"

	"soak/history"
)

// change is a partition of topic "orders" as an entry leaves it.
func change(leader, leaderEpoch, partitionEpoch int32, isr ...int32) history.PartitionChange {
	return history.PartitionChange{
		Topic: "orders", Leader: leader, LeaderEpoch: leaderEpoch, PartitionEpoch: partitionEpoch, ISR: isr, Replicas: []int32{1, 2, 3},
	}
}

// changes is an applied command that leaves orders-0 so. A creation and a registration expect no epoch.
func changes(command string, ch history.PartitionChange) history.Apply {
	a := history.Apply{Command: command, Key: "orders-0", ExpectedEpoch: ch.PartitionEpoch - 1, Changes: []history.PartitionChange{ch}}
	if command == createTopicCommand {
		a.Key, a.ExpectedEpoch = "orders", -1
	}
	return a
}

func (s *story) created() {
	s.enter(1, 1, changes(createTopicCommand, change(1, 0, 0, 1, 2, 3)), 1, 2, 3)
}

func (s *story) deleted(on ...int32) {
	a := topicCommand("delete_topic", "orders")
	a.Changes = []history.PartitionChange{{Topic: "orders", Leader: -1, Gone: true}}
	s.enter(1, 1, a, on...)
}

// view is what a node says of its replica of orders-0.
func (s *story) view(node int32, role string, leader, leaderEpoch, partitionEpoch int32, high, end int64) *history.Partition {
	v := &history.Partition{
		Topic: "orders", Role: role, Leader: leader, LeaderEpoch: leaderEpoch, PartitionEpoch: partitionEpoch, ISR: []int32{1, 2, 3},
		HighWatermark: high, LogEnd: end, Cause: "change",
	}
	s.event(node, v)
	return v
}

// starts is the same with where the log begins, and why that is told.
func (s *story) starts(node int32, role string, start, high, end int64, cause string) *history.Partition {
	v := s.view(node, role, 1, 0, 0, high, end)
	v.LogStart, v.Cause = start, cause
	return v
}

func TestEpochMonotonic(t *testing.T) {
	elect := func(leader, leaderEpoch, partitionEpoch int32, isr ...int32) history.Apply {
		return changes("set_partition_leader", change(leader, leaderEpoch, partitionEpoch, isr...))
	}
	isr := func(leader, leaderEpoch, partitionEpoch int32, isr ...int32) history.Apply {
		return changes("change_isr", change(leader, leaderEpoch, partitionEpoch, isr...))
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"a failover and back", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 0, 0)
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.view(2, "leader", 2, 1, 1, 0, 0)
			s.enter(1, 1, isr(2, 1, 2, 1, 2, 3), 1, 2, 3)
			s.enter(1, 1, elect(1, 2, 3, 1, 2, 3), 1, 2, 3)
			s.view(1, "leader", 1, 2, 3, 0, 0)
		}, Holds, "epochs rose along 4 changes", nil},
		{"a paused node speaks late", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 2, 3)
			s.view(2, "leader", 2, 1, 1, 0, 0)
			s.view(1, "leader", 1, 0, 0, 0, 0)
		}, Holds, "", nil},
		{"a restart replays the past", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.restart(1)
			s.index -= 2
			s.created()
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1)
			s.view(1, "follower", 2, 1, 1, 0, 0)
		}, Holds, "", nil},
		{"nobody leads, and then somebody", func(s *story) {
			s.enter(1, 1, elect(-1, 1, 1, 1, 2, 3), 1, 2, 3)
			s.view(2, "none", -1, 1, 1, 0, 0)
			s.enter(1, 1, elect(2, 2, 2, 2), 1, 2, 3)
		}, Holds, "", nil},
		{"deleted and created anew", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.view(2, "leader", 2, 1, 1, 0, 0)
			s.deleted(1, 2, 3)
			s.created()
			s.view(2, "follower", 1, 0, 0, 0, 0)
			s.enter(1, 1, elect(3, 1, 1, 2, 3), 1, 2, 3)
			s.view(3, "leader", 3, 1, 1, 0, 0)
		}, Holds, "", nil},
		{"of a node that has not applied the new creation yet", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.deleted(1, 3)
			s.enter(1, 1, changes(createTopicCommand, change(3, 0, 0, 1, 2, 3)), 1, 3)
			s.enter(1, 1, elect(1, 1, 1, 1, 2, 3), 1, 3)
			s.view(1, "leader", 1, 1, 1, 0, 0)
			s.view(2, "leader", 2, 1, 1, 0, 0)
		}, Holds, "", nil},
		{"a gap hides what was created anew", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.view(2, "leader", 2, 1, 1, 0, 0)
			s.deleted(1, 3)
			s.enter(1, 1, changes(createTopicCommand, change(1, 0, 0, 1, 2, 3)), 1, 3)
			s.seqs[boot{2, 1}] += 2
			s.view(2, "follower", 1, 0, 0, 0, 0)
		}, Inconclusive, "2 events of n2", nil},
		{"the leader epoch goes back", func(s *story) {
			s.enter(1, 1, elect(2, 3, 1, 2, 3), 1, 2, 3)
			s.enter(1, 1, elect(3, 2, 2, 2, 3), 1, 2, 3)
		}, Violated, "went back from 3 to 2", []string{KindEpochBack}},
		{"a partition epoch is used twice", func(s *story) {
			s.enter(1, 1, isr(1, 0, 1, 1, 2), 1, 2, 3)
			s.enter(1, 1, isr(1, 0, 1, 1, 3), 1, 2, 3)
		}, Violated, "it must rise", []string{KindEpochBack}},
		{"a stale command takes effect", func(s *story) {
			s.enter(1, 1, isr(1, 0, 1, 1, 2), 1, 2, 3)
			late := elect(2, 1, 2, 1, 2)
			late.ExpectedEpoch = 0
			s.enter(1, 1, late, 1, 2, 3)
		}, Violated, "was made for partition epoch 0 of orders-0 and took effect on 1", []string{KindStaleApplied}},
		{"a stale command is refused", func(s *story) {
			s.enter(1, 1, isr(1, 0, 1, 1, 2), 1, 2, 3)
			s.enter(1, 1, history.Apply{Command: "set_partition_leader", Key: "orders-0", Outcome: history.Refused}, 1, 2, 3)
		}, Holds, "", nil},
		{"a new leader in the same epoch", func(s *story) {
			s.enter(1, 1, elect(2, 0, 1, 2, 3), 1, 2, 3)
		}, Violated, "led by n1 and by n2 in leader epoch 0", []string{KindEpochLeaders}},
		{"a leader outside its ISR", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 1, 3), 1, 2, 3)
		}, Violated, "whose ISR is n1, n3", []string{KindLeaderOutside}},
		{"an unclean election", func(s *story) {
			s.enter(1, 1, isr(1, 0, 1, 1), 1, 2, 3)
			s.enter(1, 1, elect(2, 1, 2, 2), 1, 2, 3)
		}, Violated, "whose ISR was n1", []string{KindLeaderOutside}},
		{"an unclean election that the contract allows", func(s *story) {
			s.run.Contract.Unclean = true
			s.enter(1, 1, isr(1, 0, 1, 1), 1, 2, 3)
			s.enter(1, 1, elect(2, 1, 2, 2), 1, 2, 3)
		}, Holds, "", nil},
		{"an election after a change that nobody told", func(s *story) {
			s.enter(1, 1, isr(1, 0, 1, 1), 1, 2, 3)
			s.enter(1, 1, elect(2, 1, 3, 1, 2), 1, 2, 3)
		}, Holds, "", nil},
		{"two nodes lead one epoch", func(s *story) {
			s.enter(1, 1, elect(-1, 1, 1, 1, 2, 3), 1, 2, 3)
			s.view(1, "leader", 1, 1, 1, 0, 0)
			s.view(2, "leader", 2, 1, 1, 0, 0)
			s.view(2, "leader", 2, 1, 1, 0, 0)
		}, Violated, "n1 and n2 both led orders-0 in leader epoch 1", []string{KindEpochLeaders}},
		{"a node leads that was not elected", func(s *story) {
			s.view(2, "leader", 2, 0, 0, 0, 0)
		}, Violated, "n2 led orders-0 in leader epoch 0, for which n1 was elected", []string{KindEpochLeaders}},
		{"an epoch of an earlier boot", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 0, 0)
			s.restart(1)
			s.index--
			s.enter(1, 1, changes(createTopicCommand, change(1, 0, 0, 1, 2, 3)), 1)
			s.view(1, "leader", 1, 0, 0, 0, 0)
		}, Violated, "in its boot 1 and again in boot 2", []string{KindEpochOfOldBoot}},
		{"a node's own view goes back", func(s *story) {
			s.enter(1, 1, elect(2, 1, 1, 2, 3), 1, 2, 3)
			s.view(3, "follower", 2, 1, 1, 0, 0)
			s.view(3, "follower", 1, 0, 0, 0, 0)
		}, Violated, "within one boot", []string{KindEpochBack}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			s.created()
			c.tell(s)
			wants(t, feed(newEpochMonotonic(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
	s := newStory()
	s.view(1, "leader", 1, 0, 0, 0, 0)
	wants(t, feed(newEpochMonotonic(alone(&s.run)), s), NotApplicable, "do not tell")
}

// BenchmarkCheckers judges a run of a hundred thousand events: reading it from its folder takes longer.
func BenchmarkCheckers(b *testing.B) {
	s := newStory()
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2, 3}}}
	s.run.SessionTimeout, s.run.ElectionInterval, s.run.Nodes = second, 2*second, 3
	s.created()
	for i := range int32(20_000) {
		s.enter(1, 1, changes("change_isr", change(1, 0, i+1, 1, 2, 3)), 1, 2, 3)
		s.view(1, "leader", 1, 0, i+1, int64(i), int64(i))
		s.view(2, "follower", 1, 0, i+1, int64(i), int64(i))
	}
	for _, e := range catalogue() {
		b.Run(fmt.Sprintf("%s/%d", e.ID, len(s.events)), func(b *testing.B) {
			for b.Loop() {
				feed(e.make(&shared{run: &s.run}), s)
			}
		})
	}
}
