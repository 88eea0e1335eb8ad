package checkers

import (
	"testing"

	"soak/history"
)

// Each of these has every acknowledged record on some replica, and pieces that follow on each other without a gap.
func TestAReplicaThatPassesOverOffsetsIsRefused(t *testing.T) {
	hole := record{bad: "hole"}
	for _, c := range []struct {
		name   string
		logs   func(s *ledgerStory)
		reason string
		kinds  []string
	}{
		{"one replica lacks all", func(s *ledgerStory) { s.logs[2] = []record{hole, hole, hole} },
			"orders-0 on n2 holds no record at the offsets 0 to 2, below its own high watermark", []string{KindHole}},
		{"one replica lacks one", func(s *ledgerStory) { s.logs[3][1] = hole },
			"orders-0 on n3 holds no record at offset 1, below its own high watermark", []string{KindHole}},
		{"one replica lacks the last", func(s *ledgerStory) { s.logs[1][2] = hole },
			"orders-0 on n1 holds no record at offset 2", []string{KindHole}},
		{"found at other offsets than were acknowledged", func(s *ledgerStory) {
			for n, log := range s.logs {
				s.logs[n] = append([]record{hole, hole, hole, hole, hole}, log...)
			}
		}, "holds no record at the offsets 0 to 4", []string{KindHole, KindHole, KindHole}},
		{"found twice, with a hole between", func(s *ledgerStory) {
			for n, log := range s.logs {
				s.logs[n] = append(append(append([]record{}, log...), hole), log...)
			}
		}, "holds no record at offset 3", []string{KindHole, KindHole, KindHole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.send(1, 3)
			c.logs(s)
			for n := int32(1); n <= 3; n++ {
				s.drain(n, 0, int64(len(s.logs[n])), int64(len(s.logs[n])), true)
			}
			wants(t, s.judge(), Violated, c.reason, c.kinds...)
		})
	}
}

func TestNoHoleIsSeenWhereNothingIsPromised(t *testing.T) {
	t.Run("above the replica's own high watermark", func(t *testing.T) {
		s := newLedgerStory()
		s.send(1, 4)
		s.logs[2][3] = record{bad: "hole"}
		s.drain(1, 0, 4, 4, true)
		s.drain(2, 0, 4, 3, true)
		s.drain(3, 0, 4, 4, true)
		wants(t, s.judge(), Holds, "")
	})
	t.Run("markers of transactions", func(t *testing.T) {
		s := newLedgerStory()
		s.run.Contract.Transactions = true
		s.send(1, 4)
		s.store(record{bad: "hole"})
		s.drainAll()
		wants(t, s.judge(), Holds, "")
	})
	t.Run("behind a piece that is missing", func(t *testing.T) {
		s := newLedgerStory()
		s.send(1, 6)
		s.drainAll()
		s.ops = append(s.ops[:1], s.ops[2:]...) // the first half of n1's
		wants(t, s.judge(), Inconclusive, "orders-0 on n1 stopped at 0 of 6")
	})
}

// A deposed leader's tail is read during the drain, then cut; the replica catches up, and is read on. What it held above its high
// watermark is not held against it later.
func TestATailThatWasReadAndThenCutAccusesNobody(t *testing.T) {
	s := newLedgerStory()
	s.run.RecordTopics[0].Replicas = []int32{1, 2}
	s.send(1, 2)
	stale := s.attempt(2, 2, history.Unknown)
	first := stale.Produce.FirstSeq
	s.send(1, 4)
	whole := s.logs[2]
	s.logs[2] = append(append([]record{}, whole[:2]...), record{producer: 2, seq: first}, record{producer: 2, seq: first + 1})
	s.drain(1, 0, 6, 6, true)
	s.drain(2, 0, 4, 2, true)
	s.logs[2] = whole
	s.drain(2, 2, 6, 6, true)
	wants(t, s.judge(), Holds, "")
}
