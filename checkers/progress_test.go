package checkers

import (
	"slices"
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
		{"writes go on", func(*story) {}, Holds, "while a majority was whole, 4 times", nil},
		{"late, within the bound", func(s *story) { s.mute(10, 25, "i/o timeout") }, Holds, "", nil},
		{"none for the whole fault", func(s *story) { s.mute(10, 60, "i/o timeout") }, Violated,
			"orders-1: no write was acknowledged for 40s while a majority was whole within 16s of fault 1 (kill of n1)", []string{KindNoWrites}},
		{"none any more, after some", func(s *story) { s.mute(20, 60, "i/o timeout") }, Violated, "orders-1", []string{KindNoWrites}},
		{"none after the fault alone", func(s *story) { s.mute(50, 60, "i/o timeout") }, Holds, "", nil},
		{"refused for want of replicas", func(s *story) { s.mute(10, 60, "NOT_ENOUGH_REPLICAS (19)") }, Holds, "while a majority was whole, 2 times", nil},
		{"nobody tried", func(s *story) {
			s.mute(10, 60, "")
			kept := s.ops[:0]
			for _, op := range s.ops {
				if op.Outcome == history.OK {
					kept = append(kept, op)
				}
			}
			s.ops = kept
		}, Holds, "while a majority was whole, 2 times", nil},
		{"nobody tried, in any partition", func(s *story) {
			s.ops = slices.DeleteFunc(s.ops, func(op *history.Operation) bool { return op.Invoke >= s.faults[0].Asked })
		}, NotApplicable, "in no partition did clients try to write early and often enough", nil},
		{"nobody tried for long, and then none is acknowledged", func(s *story) {
			s.faults[0].HealAsked, s.faults[0].Healed = s.faults[0].Asked+45e9, s.faults[0].Asked+46e9
			s.mute(29, 60, "i/o timeout")
			from := s.faults[0].Asked
			s.ops = slices.DeleteFunc(s.ops, func(op *history.Operation) bool {
				return op.Produce.Partition == 1 && op.Invoke >= from && op.Invoke < from+18e9
			})
		}, Violated, "orders-1: no write was acknowledged for", []string{KindNoWrites}},
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
		{"an ISR that was not full before, and is too small now", func(s *story) {
			s.run.Contract.MinISR = 2
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

// What lasts, and is not one fault that comes alone: a standstill.
func TestStandstill(t *testing.T) {
	// The bound is that of progress, 16 s, and 9 s for ISRs to be full. n1 is dead from the tenth second on.
	mute := func(s *story) { s.mute(10, 60, "i/o timeout") }
	never := func(s *story) { s.faults[0].HealAsked, s.faults[0].Healed = 0, 0 }
	isr := func(s *story, at int64, isr ...int32) {
		for p := range int32(2) {
			s.index++
			e := s.event(2, &history.Apply{Index: s.index, Outcome: history.Applied, Changes: []history.PartitionChange{{Topic: "orders", Partition: p, Leader: isr[0], ISR: isr, Replicas: []int32{1, 2, 3}}}})
			e.Time = s.run.Phases[0].Start + at*1e9
		}
	}
	fault := func(s *story, kind string, from, to int64, nodes ...int32) {
		begin := s.run.Phases[0].Start
		f := &history.Fault{ID: len(s.faults) + 1, Kind: kind, Nodes: nodes, Asked: begin + from*1e9, Effective: begin + from*1e9, HealAsked: begin + to*1e9, Healed: begin + to*1e9}
		s.faults = append(s.faults, f)
	}
	for _, c := range []struct {
		name    string
		more    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"writes go on", never, Holds, "while a majority was whole, 2 times", nil},
		{"a fault that was never healed", func(s *story) { never(s); mute(s) }, Violated,
			"orders-1: no write was acknowledged for 50s, above 25s, while fault 1 (kill of n1) left a majority of the nodes and of its ISR enough whole", []string{KindStandstill}},
		{"whose healing had no end", func(s *story) { s.faults[0].Healed = 0; mute(s) }, Violated, "", []string{KindNoWrites}},
		{"two faults of one node", func(s *story) { never(s); mute(s); fault(s, "partition", 12, 58, 1) }, Violated, "fault 1 (kill of n1) and fault 2 (partition of n1)", []string{KindStandstill}},
		{"an ISR that was not full", func(s *story) { never(s); mute(s); isr(s, 5, 1, 2) }, Violated, "orders-1", []string{KindStandstill}},
		{"a write within the bound", func(s *story) { never(s); s.mute(10, 33, "i/o timeout"); s.mute(35, 58, "i/o timeout") }, Holds, "", nil},

		{"all of the ISR is dead", func(s *story) { never(s); mute(s); isr(s, 5, 1) }, NotApplicable, "", nil},
		{"the ISR shrinks to the dead", func(s *story) { never(s); mute(s); isr(s, 20, 1) }, NotApplicable, "", nil},
		{"too few in sync for min.insync.replicas", func(s *story) { never(s); mute(s); isr(s, 5, 1, 2); s.run.Contract.MinISR = 2 }, NotApplicable, "", nil},
		{"refused for want of replicas", func(s *story) { never(s); s.mute(10, 60, "NOT_ENOUGH_REPLICAS (19)") }, Holds, "while a majority was whole, 1 time", nil},
		{"refused for want of replicas while a leader's view may lag", func(s *story) { never(s); s.mute(10, 40, "i/o timeout"); s.mute(18, 19, "NOT_ENOUGH_REPLICAS (19)") }, Holds, "while a majority was whole, 1 time", nil},
		{"refused for want of replicas while a leader's view may lag, and nothing for longer than the bound after it", func(s *story) { never(s); mute(s); s.mute(18, 19, "NOT_ENOUGH_REPLICAS (19)") }, Violated,
			"orders-1: no write was acknowledged for 41", []string{KindStandstill}},
		{"refused for want of replicas once, when no view lags any more", func(s *story) { never(s); mute(s); s.mute(40, 41, "NOT_ENOUGH_REPLICAS (19)") }, Violated,
			"orders-1: no write was acknowledged for 50s", []string{KindStandstill}},
		{"two of three nodes", func(s *story) { never(s); mute(s); fault(s, "pause", 10, 60, 2) }, NotApplicable, "", nil},
		{"another node ended by itself", func(s *story) {
			never(s)
			mute(s)
			s.event(0, &history.Exit{Of: 2, Code: 1}).Time = s.run.Phases[0].Start + 11e9
		}, NotApplicable, "", nil},
		{"a node that is slow beside it", func(s *story) { never(s); mute(s); fault(s, "slow-disk", 9, 60, 2) }, NotApplicable, "", nil},
		{"other faults come and go", func(s *story) { never(s); mute(s); fault(s, "pause", 20, 22, 2); fault(s, "pause", 45, 46, 3) }, NotApplicable, "", nil},
		{"nobody tried", func(s *story) {
			never(s)
			mute(s)
			s.ops = slices.DeleteFunc(s.ops, func(op *history.Operation) bool { return op.Outcome != history.OK })
		}, Holds, "while a majority was whole, 1 time", nil},
		{"nobody tried, in any partition", func(s *story) {
			never(s)
			s.ops = slices.DeleteFunc(s.ops, func(op *history.Operation) bool { return op.Invoke >= s.faults[0].Asked })
		}, NotApplicable, "in no partition did clients try to write early and often enough", nil},
		{"no fault is active", func(s *story) {
			mute(s)
			s.faults[0].HealAsked, s.faults[0].Healed = s.faults[0].Asked+1e9, s.faults[0].Asked+2e9
		}, NotApplicable, "", nil},
		{"a stall in its middle", func(s *story) {
			never(s)
			mute(s)
			s.event(0, &history.Stall{Nanos: 1e9}).Time = s.run.Phases[0].Start + 36e9
		}, Inconclusive, "the machine stalled meanwhile", nil},
		{"long after a stall", func(s *story) {
			never(s)
			mute(s)
			s.event(0, &history.Stall{Nanos: 1e9}).Time = s.run.Phases[0].Start + 15e9
		}, Violated, "", []string{KindStandstill}},
		{"the harness failed", func(s *story) { never(s); mute(s); s.run.HarnessError = "no more disk" }, Inconclusive, "the harness failed", nil},
		{"clocks made wrong", func(s *story) { never(s); mute(s); fault(s, "clock-jump", 9, 60, 2) }, NotApplicable, "clocks were made wrong", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lastingFault()
			c.more(s)
			wants(t, feed(newProgress(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}
