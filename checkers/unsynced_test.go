package checkers

import (
	"fmt"
	"testing"

	"soak/history"
)

// lastLosesPower makes a node the only one in sync of orders-0, takes something from it by a fault, and registers it anew.
func (s *story) lastLosesPower(node int32, kind string) {
	s.run.Contract.Flush = "none"
	s.enter(1, 1, changes("set_partition_leader", change(node, 1, 1, node)), 1, 2, 3)
	s.faults = append(s.faults, &history.Fault{ID: len(s.faults) + 1, Kind: kind, Nodes: []int32{node}, Asked: s.tick(), Effective: s.tick()})
	s.registers(node, change(node, 2, 2, node))
}

func (s *story) registers(node int32, changes ...history.PartitionChange) {
	s.enter(1, 1, history.Apply{Command: "register_broker", Key: fmt.Sprintf("broker-%d", node), ExpectedEpoch: -1, Changes: changes}, 1, 2, 3)
}

func TestAckedRecordsOfUnsyncedReplicas(t *testing.T) {
	gone := func(s *ledgerStory) {
		for n := range s.logs {
			s.logs[n] = s.logs[n][:6]
		}
	}
	for _, c := range []struct {
		name    string
		more    func(s *ledgerStory)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"the last in-sync replica lost power", func(s *ledgerStory) { s.lastLosesPower(2, "power-loss"); gone(s) },
			Inconclusive, "nothing is claimed of orders-0, whose records are not synced: n2 was the last in-sync replica", nil},
		{"its syncs failed", func(s *ledgerStory) { s.lastLosesPower(2, "fsync-error"); gone(s) }, Inconclusive, "nothing is claimed of orders-0", nil},
		{"it was killed", func(s *ledgerStory) { s.lastLosesPower(2, "kill"); gone(s) }, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"with records that are synced", func(s *ledgerStory) {
			s.lastLosesPower(2, "power-loss")
			s.run.Contract.Flush = "sync"
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"it was the last one only when it came back earlier, with all it had", func(s *ledgerStory) {
			s.run.Contract.Flush = "none"
			s.enter(1, 1, changes("set_partition_leader", change(2, 1, 1, 2)), 1, 2, 3)
			s.registers(2, change(2, 2, 2, 2))
			s.enter(1, 1, changes("change_isr", change(2, 2, 3, 1, 2, 3)), 1, 2, 3)
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "power-loss", Nodes: []int32{2}, Asked: s.tick(), Effective: s.tick()})
			s.registers(2, change(1, 3, 4, 1, 3))
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"another was in sync", func(s *ledgerStory) {
			s.lastLosesPower(2, "kill")
			s.faults[0].Kind = "power-loss"
			for _, e := range s.events { // as if n3 had been in sync all the time
				if a, ok := e.Body.(*history.Apply); ok && len(a.Changes) > 0 {
					a.Changes[0].ISR = []int32{2, 3}
				}
			}
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"another node lost power", func(s *ledgerStory) {
			s.lastLosesPower(2, "power-loss")
			s.faults[0].Nodes = []int32{1, 3}
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"what was sent after it was back is lost", func(s *ledgerStory) {
			s.lastLosesPower(2, "power-loss")
			s.send(1, 2)
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"what was sent after it was back is there", func(s *ledgerStory) {
			s.lastLosesPower(2, "power-loss")
			for n := range s.logs {
				s.logs[n] = s.logs[n][:6]
			}
			s.send(1, 2)
		}, Holds, "all of 2 acknowledged records were read back at their offsets; nothing is claimed of orders-0", nil},
		{"it lost power a second time", func(s *ledgerStory) {
			s.lastLosesPower(2, "power-loss")
			s.faults[0].Healed = s.tick()
			s.send(1, 2)
			s.lastLosesPower(2, "power-loss")
			gone(s)
		}, Inconclusive, "nothing is claimed of orders-0", nil},
		{"it lost power, came back, and is killed as the last one", func(s *ledgerStory) {
			s.run.Contract.Flush = "none"
			s.enter(1, 1, changes("set_partition_leader", change(1, 1, 1, 1, 2)), 1, 2, 3)
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "power-loss", Nodes: []int32{2}, Asked: s.tick(), Effective: s.tick(), Healed: s.tick()})
			s.registers(2, change(1, 1, 2, 1))
			s.lastLosesPower(2, "kill")
			gone(s)
		}, Violated, "acknowledged 2 records of orders-0 at ", []string{"lost-tail"}},
		{"what nobody may write is still found", func(s *ledgerStory) { s.lastLosesPower(2, "power-loss"); s.store(record{producer: 8, seq: 3}) },
			Violated, "nobody sent", []string{KindPhantom}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.created()
			s.send(1, 5)
			s.send(2, 3)
			c.more(s)
			s.drainAll()
			wants(t, s.judge(), c.outcome, c.reason, c.kinds...)
		})
	}
}

// Of the other partitions everything is claimed, and the verdict says of which nothing is.
func TestAckedRecordsClaimsTheOtherPartitions(t *testing.T) {
	for _, c := range []struct {
		name    string
		end     int64
		outcome Outcome
		reason  string
	}{
		{"all there", 2, Holds, "all of 2 acknowledged records were read back at their offsets; nothing is claimed of orders-0"},
		{"one lost", 1, Violated, "acknowledged 1 record of orders-1 at "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.run.RecordTopics[0].Partitions = 2
			s.created()
			s.send(1, 5)
			s.lastLosesPower(2, "power-loss")
			s.op(history.Operation{Produce: &history.ProduceOp{Topic: "orders", Partition: 1, Producer: 7, Count: 2, Acks: -1, Offsets: []int64{0, 1}}})
			s.drainAll()
			for n := int32(1); n <= 3; n++ {
				s.op(history.Operation{Drain: &history.DrainOp{Topic: "orders", Partition: 1, Replica: n, To: c.end, LogEnd: c.end, High: c.end, End: true,
					Spans: []history.Span{{Producer: 7, Count: int32(c.end)}}}})
			}
			v := s.judge()
			var kinds []string
			if c.outcome == Violated {
				kinds = []string{"lost-tail"}
			}
			wants(t, v, c.outcome, c.reason, kinds...)
			if last := v.Measures[len(v.Measures)-1]; last.Seen != 5 {
				t.Errorf("%s: %d, want 5", last.Name, last.Seen)
			}
		})
	}
}
