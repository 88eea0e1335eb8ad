package checkers

import (
	"testing"
	"time"

	"soak/history"
)

// lastingFault is a minute in which n1 is dead from the tenth second to the fiftieth, and a write every second to each of two partitions. Nothing is
// acknowledged in the first four seconds of it.
func lastingFault() *story {
	s := newStory()
	s.run.Nodes, s.run.SessionTimeout, s.run.ElectionInterval = 3, int64(time.Second), int64(2*time.Second)
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 2, Replicas: []int32{1, 2, 3}}}
	begin := s.now
	for p := range int32(2) {
		s.enter(2, 1, history.Apply{Command: createTopicCommand, Key: "orders", Changes: []history.PartitionChange{
			{Topic: "orders", Partition: p, Leader: 1, ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}},
		}}, 1, 2, 3)
	}
	s.faults = []*history.Fault{{ID: 1, Kind: "kill", Nodes: []int32{1}, Asked: begin + 10e9, Effective: begin + 10e9 + 1, HealAsked: begin + 50e9, Healed: begin + 51e9}}
	for i := range int64(60) {
		for p := range int32(2) {
			op := s.sendTimes(1, uint64(i), 1, begin+1e9*i+5e8, begin+1e9*i+6e8, i)
			op.Produce.Partition = p
			if i >= 10 && i < 14 {
				op.Outcome, op.Error = history.Unknown, "i/o timeout"
			}
		}
	}
	s.run.Phases = []history.Phase{{Name: "steady", Start: begin, End: begin + 5e9}, {Name: "faults", Start: begin + 5e9, End: begin + 60e9}, {Name: "drain", Start: begin + 60e9, End: begin + 61e9}}
	return s
}

// mute has no write of partition 1 acknowledged between two seconds.
func (s *story) mute(from, to int64, why string) {
	for _, op := range s.ops {
		if at := (op.Invoke - s.run.Phases[0].Start) / 1e9; op.Produce.Partition == 1 && at >= from && at < to {
			op.Outcome, op.Error = history.Unknown, why
		}
	}
}

func TestProgress(t *testing.T) {
	// The bound is 3 s for the failover, 1 s for the ISR and 12 s for clients.
	for _, c := range []struct {
		name    string
		more    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"writes go on", func(*story) {}, Holds, "while a majority was whole, 2 times", nil},
		{"late, within the bound", func(s *story) { s.mute(10, 25, "i/o timeout") }, Holds, "", nil},
		{"none for the whole fault", func(s *story) { s.mute(10, 60, "i/o timeout") }, Violated,
			"orders-1: no write was acknowledged for 40s while a majority was whole within 16s of fault 1 (kill of n1)", []string{KindNoWrites}},
		{"none any more, after some", func(s *story) { s.mute(20, 60, "i/o timeout") }, Violated, "orders-1", []string{KindNoWrites}},
		{"none after the fault alone", func(s *story) { s.mute(50, 60, "i/o timeout") }, Holds, "", nil},
		{"refused for want of replicas", func(s *story) { s.mute(10, 60, "NOT_ENOUGH_REPLICAS (19)") }, Holds, "", nil},
		{"nobody tried", func(s *story) {
			s.mute(10, 60, "")
			kept := s.ops[:0]
			for _, op := range s.ops {
				if op.Outcome == history.OK {
					kept = append(kept, op)
				}
			}
			s.ops = kept
		}, Holds, "", nil},
		{"two of three nodes", func(s *story) {
			s.mute(10, 60, "i/o timeout")
			s.faults[0].Nodes = []int32{1, 2}
		}, NotApplicable, "not enough data", nil},
		{"a short fault", func(s *story) {
			s.mute(10, 60, "i/o timeout")
			s.faults[0].HealAsked, s.faults[0].Healed = s.faults[0].Asked+10e9, s.faults[0].Asked+11e9
		}, NotApplicable, "no fault that leaves a majority whole lasted for 16s on its own", nil},
		{"another fault soon", func(s *story) {
			s.mute(10, 60, "i/o timeout")
			at := s.faults[0].Asked + 12e9
			s.faults = append(s.faults, &history.Fault{ID: 2, Kind: "pause", Nodes: []int32{2}, Asked: at, Effective: at, HealAsked: at + 5e9, Healed: at + 5e9})
		}, NotApplicable, "on its own", nil},
		{"an ISR that was not full before", func(s *story) {
			s.mute(10, 60, "i/o timeout")
			for p := range int32(2) {
				e := s.event(2, &history.Apply{Index: 9 + uint64(p), Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "orders", Partition: p, Leader: 1, ISR: []int32{1, 2}, Replicas: []int32{1, 2, 3}}}})
				e.Time = s.faults[0].Asked - 1
			}
		}, NotApplicable, "not enough data", nil},
		{"a stall of the machine", func(s *story) {
			s.mute(10, 60, "i/o timeout")
			s.event(0, &history.Stall{Nanos: 1e9}).Time = s.faults[0].Asked + 5e9
		}, Inconclusive, "the machine stalled meanwhile", nil},
		{"clocks made wrong", func(s *story) {
			s.faults = append(s.faults, &history.Fault{ID: 2, Kind: "clock-jump", Nodes: []int32{2}})
		}, NotApplicable, "clocks were made wrong", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lastingFault()
			c.more(s)
			wants(t, feed(newProgress(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}
