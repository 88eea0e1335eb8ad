package checkers

import (
	"testing"

	"soak/history"
)

// Records of unknown outcome that are in the log are held to their order as far as anything is promised of it.
func TestRecordOrderOfUnknownOutcomes(t *testing.T) {
	// timed is a send of producer 1 with the times given; its records are stored apart.
	timed := func(s *ledgerStory, o history.Outcome, first uint64, begin, end int64, offsets ...int64) {
		count := int32(2)
		op := s.op(history.Operation{Invoke: begin, Complete: end, Outcome: o, Produce: &history.ProduceOp{
			Topic: "orders", Producer: 1, Incarnation: 1, FirstSeq: first, Count: count, Acked: -1, Acks: -1, Idempotent: true, Offsets: offsets,
		}})
		op.Outcome = o
	}
	stored := func(s *ledgerStory, seqs ...uint64) {
		for _, seq := range seqs {
			s.store(record{producer: 1, seq: seq})
		}
	}
	for _, c := range []struct {
		name    string
		tell    func(s *ledgerStory)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"in their order", func(s *ledgerStory) {
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.OK, 2, 11, 41, 2, 3)
			stored(s, 0, 1, 2, 3)
		}, Holds, "", nil},
		{"not there", func(s *ledgerStory) {
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.OK, 2, 11, 41, 0, 1)
			stored(s, 2, 3)
		}, Holds, "", nil},
		{"given up, and behind what was sent after that under another id", func(s *ledgerStory) {
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.OK, 2, 50, 60, 0, 1)
			stored(s, 2, 3, 0, 1)
		}, Holds, "", nil},
		{"a copy behind what came later", func(s *ledgerStory) { // no-duplicates judges it
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.OK, 2, 11, 41, 2, 3)
			stored(s, 0, 1, 2, 3, 0, 1)
		}, Holds, "", nil},
		{"behind what was handed over with it and acknowledged", func(s *ledgerStory) {
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.OK, 2, 11, 41, 0, 1)
			stored(s, 2, 3, 0, 1)
		}, Violated, "orders-0: producer 1.1 sequence 2 was acknowledged at offset 0, and sequence 1, which was sent before it, at 3", []string{KindSendOrder}},
		{"behind what was handed over with it, both unknown", func(s *ledgerStory) {
			timed(s, history.Unknown, 0, 10, 40)
			timed(s, history.Unknown, 2, 11, 41)
			timed(s, history.OK, 4, 50, 60, 4, 5)
			stored(s, 2, 3, 0, 1, 4, 5)
		}, Violated, "orders-0: producer 1.1 sequence 2 stands at offset 0, and sequence 1, which was sent before it, at 3", []string{KindSendOrder}},
		{"before what had been acknowledged when it was sent", func(s *ledgerStory) {
			timed(s, history.OK, 0, 10, 20, 2, 3)
			timed(s, history.Unknown, 2, 30, 40)
			stored(s, 2, 3, 0, 1)
		}, Violated, "orders-0: producer 1.1 sequence 2 stands at offset 0, though offset 3 had been acknowledged before it was sent", []string{KindRealTime}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			c.tell(s)
			s.drainAll()
			wants(t, feed(newRecordOrder(alone(&s.run)), s.story), c.outcome, c.reason, c.kinds...)
		})
	}
}
