package checkers

import (
	"testing"

	"soak/history"
)

// idempotent makes a producer's sends those of an idempotent one.
func (s *ledgerStory) idempotent(producer uint32) {
	for _, op := range s.ops {
		if op.Produce != nil && op.Produce.Producer == producer {
			op.Produce.Idempotent = true
		}
	}
}

// What retention has removed is in no log that a node could remember it from.
func TestADuplicateOfWhatRetentionRemoved(t *testing.T) {
	again := func(s *ledgerStory) { s.store(record{producer: 1, seq: 3}) } // at 10
	read := func(s *ledgerStory, start int64) {
		s.begins(1, start)
		s.begins(2, 0)
		s.begins(3, 0)
	}
	for _, c := range []struct {
		name    string
		ms      int64
		tell    func(s *ledgerStory)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"removed before it was stored again", 500, func(s *ledgerStory) { s.retires(1, 6, 10); again(s); read(s, 6) }, Holds, "but 1 record, which retention had removed before", nil},
		{"stored again before it was removed", 500, func(s *ledgerStory) { again(s); s.retires(1, 6, 11); read(s, 6) }, Violated, "sequence 3", []string{KindDuplicate}},
		{"not removed", 500, func(s *ledgerStory) { s.retires(1, 3, 10); again(s); read(s, 3) }, Violated, "sequence 3", []string{KindDuplicate}},
		{"removed before it was allowed to go", 60_000, func(s *ledgerStory) { s.retires(1, 6, 10); again(s); read(s, 6) }, Violated, "sequence 3", []string{KindDuplicate}},
		{"of a topic that keeps everything", 0, func(s *ledgerStory) { s.retires(1, 6, 10); again(s); read(s, 6) }, Violated, "sequence 3", []string{KindDuplicate}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := retention(c.ms, 0)
			c.tell(s)
			s.idempotent(1)
			wants(t, s.judgeDuplicates(), c.outcome, c.reason, c.kinds...)
		})
	}
}

func (s *ledgerStory) judgeDuplicates() Verdict {
	acked := newAckedRecords(alone(&s.run))
	c := newNoDuplicates(acked)
	feed(acked, s.story)
	return feed(c, s.story)
}

func TestNoDuplicates(t *testing.T) {
	for _, c := range []struct {
		name    string
		more    func(s *ledgerStory)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"each once", func(*ledgerStory) {}, Holds, "none of 5 records of idempotent producers was read at two offsets", nil},
		{"unknown, and there once", func(s *ledgerStory) {
			op := s.attempt(1, 1, history.Unknown)
			op.Produce.Idempotent = true
			s.store(record{producer: 1, seq: op.Produce.FirstSeq})
		}, Holds, "", nil},
		{"a plain producer's, twice", func(s *ledgerStory) { s.store(record{producer: 2, seq: 1}) }, Holds, "", nil},
		{"twice", func(s *ledgerStory) { s.store(record{producer: 1, seq: 2}) }, Violated,
			"orders-0 holds sequence 2 of the idempotent producer 1.1 twice: at 2, and again at 8 on n1", []string{KindDuplicate}},
		{"a run of them, twice", func(s *ledgerStory) {
			for seq := range uint64(3) {
				s.store(record{producer: 1, seq: seq + 1})
			}
		}, Violated, "orders-0 holds sequences 1 to 3 of the idempotent producer 1.1 twice: at 1 to 3, and again at 8 to 10 on n1", []string{KindDuplicate}},
		{"two, apart", func(s *ledgerStory) { s.store(record{producer: 1, seq: 3}); s.store(record{producer: 1, seq: 0}) }, Violated, "(and 1 more)", []string{KindDuplicate, KindDuplicate}},
		{"unknown, and there twice", func(s *ledgerStory) {
			op := s.attempt(1, 1, history.Unknown)
			op.Produce.Idempotent = true
			s.store(record{producer: 1, seq: op.Produce.FirstSeq})
			s.store(record{producer: 1, seq: op.Produce.FirstSeq})
		}, Violated, "sequence 5 of the idempotent producer 1.1 twice: at 8, and again at 9", []string{KindDuplicate}},
		{"twice, but nobody is idempotent", func(s *ledgerStory) {
			s.store(record{producer: 1, seq: 2})
			for _, op := range s.ops {
				op.Produce.Idempotent = false
			}
		}, NotApplicable, "no producer was idempotent", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.send(1, 5)
			s.send(2, 3)
			s.idempotent(1)
			c.more(s)
			s.drainAll()
			wants(t, s.judgeDuplicates(), c.outcome, c.reason, c.kinds...)
		})
	}
}

// A node that did not come back keeps a tail that the others have something else in the place of. The record that it holds there stands elsewhere on them,
// once; where the tail counts as committed, it is there twice.
func TestATailThatIsYetToBeCutIsNoDuplicate(t *testing.T) {
	for high, want := range map[int64]Outcome{0: Inconclusive, 9: Violated} {
		s := newLedgerStory()
		s.send(1, 5)
		s.send(2, 3)
		tail := s.attempt(2, 1, history.OK)
		again := s.attempt(1, 1, history.OK)
		tail.Produce.Offsets, again.Produce.Offsets = []int64{8}, []int64{9}
		s.idempotent(1)
		old, other := record{producer: 1, seq: again.Produce.FirstSeq}, record{producer: 2, seq: tail.Produce.FirstSeq}
		s.logs[1] = append(s.logs[1], old)
		for n := int32(2); n <= 3; n++ {
			s.logs[n] = append(s.logs[n], other, old)
		}
		s.drain(1, 0, 9, high, true)
		s.drain(2, 0, 10, 10, true)
		s.drain(3, 0, 10, 10, true)
		wants(t, s.judgeDuplicates(), want, "", map[Outcome][]string{Violated: {KindDuplicate}}[want]...)
	}
}

func TestNoDuplicatesCountsThoseOfOthers(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 2)
	s.send(2, 2)
	s.idempotent(1)
	s.store(record{producer: 2, seq: 0})
	s.store(record{producer: 1, seq: 0})
	s.drainAll()
	for _, m := range s.judgeDuplicates().Measures {
		if m.Name == "duplicates of other producers" && m.Seen != 1 {
			t.Errorf("%d duplicates of other producers, want 1", m.Seen)
		}
	}
}

func TestNoDuplicatesCannotTell(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 4)
	s.idempotent(1)
	s.drain(1, 0, 4, 4, true)
	s.drain(2, 0, 4, 4, true)
	wants(t, s.judgeDuplicates(), Inconclusive, "orders-0 on n3 was never read")
	s.drain(3, 0, 4, 4, true)
	acked := newAckedRecords(alone(&s.run))
	acked.incomplete(history.Notes{Truncated: []string{history.HistoryFile}})
	feed(acked, s.story)
	wants(t, feed(newNoDuplicates(acked), s.story), Inconclusive, "the history is cut")
	c := newNoDuplicates(newAckedRecords(alone(&s.run))) // which did not come to its end
	wants(t, feed(c, s.story), Inconclusive, "acked-records, which reads the logs for it, did not come to its end")
}

// sendTimes is a send that began and ended at the times given and was acknowledged at an offset.
func (s *story) sendTimes(producer uint32, first uint64, count int32, begin, end, offset int64) *history.Operation {
	op := s.op(history.Operation{Invoke: begin, Complete: end, Produce: &history.ProduceOp{
		Topic: "orders", Producer: producer, Incarnation: 1, FirstSeq: first, Count: count, Acked: -1, Acks: -1,
	}})
	for i := range int64(count) {
		op.Produce.Offsets = append(op.Produce.Offsets, offset+i)
	}
	return op
}

func TestRecordOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"one after the other", func(s *story) { s.sendTimes(1, 0, 2, 10, 20, 0); s.sendTimes(1, 2, 2, 30, 40, 2) }, Holds, "all of 4 acknowledged records stand in the order in which they were sent", nil},
		{"a plain producer's, in flight together, the other way round", func(s *story) { s.sendTimes(1, 0, 2, 10, 40, 2); s.sendTimes(1, 2, 2, 11, 41, 0) }, Holds, "", nil},
		{"two producers', in flight together", func(s *story) { s.sendTimes(1, 0, 1, 10, 40, 5); s.sendTimes(2, 0, 1, 40, 50, 3) }, Holds, "", nil},
		{"an idempotent producer's, in flight together", func(s *story) {
			s.sendTimes(1, 0, 2, 10, 40, 0).Produce.Idempotent = true
			s.sendTimes(1, 2, 2, 11, 30, 2).Produce.Idempotent = true
		}, Holds, "", nil},
		{"an idempotent producer's, the earlier one's outcome unknown", func(s *story) {
			op := s.sendTimes(1, 0, 2, 10, 40, 9)
			op.Outcome, op.Produce.Idempotent = history.Unknown, true
			s.sendTimes(1, 2, 2, 11, 41, 0).Produce.Idempotent = true
		}, Holds, "", nil},
		{"the next incarnation's sequences begin anew", func(s *story) {
			s.sendTimes(1, 5, 1, 10, 20, 7).Produce.Idempotent = true
			op := s.sendTimes(1, 0, 1, 12, 22, 6)
			op.Produce.Idempotent, op.Produce.Incarnation = true, 2
		}, Holds, "", nil},
		{"acknowledged at no offset", func(s *story) {
			s.sendTimes(1, 0, 1, 10, 20, 5)
			s.sendTimes(1, 1, 1, 30, 40, 3).Produce.Offsets = []int64{-1}
		}, Holds, "all of 1 acknowledged record", nil},
		{"another partition", func(s *story) { s.sendTimes(1, 0, 1, 10, 20, 5); s.sendTimes(1, 0, 1, 30, 40, 3).Produce.Partition = 1 }, Holds, "", nil},
		{"nothing", func(*story) {}, Inconclusive, "no record was acknowledged with its offset", nil},

		{"an idempotent producer's, in flight together, the other way round", func(s *story) {
			s.sendTimes(1, 0, 2, 10, 40, 2).Produce.Idempotent = true
			s.sendTimes(1, 2, 2, 11, 41, 0).Produce.Idempotent = true
		}, Violated, "orders-0: producer 1.1 sequence 2 was acknowledged at offset 0, and sequence 1, which was sent before it, at 3", []string{KindSendOrder}},
		{"an idempotent producer's, the other way round, one after the other", func(s *story) {
			s.sendTimes(1, 0, 1, 10, 20, 5).Produce.Idempotent = true
			s.sendTimes(1, 1, 1, 30, 40, 3).Produce.Idempotent = true
		}, Violated, "", []string{KindSendOrder}},
		{"a plain producer's, one after the other, the other way round", func(s *story) { s.sendTimes(1, 0, 1, 10, 20, 5); s.sendTimes(1, 1, 1, 30, 40, 3) }, Violated,
			"orders-0: producer 1.1 sequence 1 was acknowledged at offset 3, though offset 5 had been acknowledged before it was sent", []string{KindRealTime}},
		{"two producers'", func(s *story) { s.sendTimes(1, 0, 3, 10, 20, 5); s.sendTimes(2, 0, 1, 21, 40, 6) }, Violated,
			"producer 2.1 sequence 0 was acknowledged at offset 6, though offset 7 had been acknowledged", []string{KindRealTime}},
		{"within one batch", func(s *story) { s.sendTimes(1, 0, 3, 10, 20, 5).Produce.Offsets = []int64{5, 7, 6} }, Violated,
			"orders-0: producer 1.1 sequence 2 was acknowledged at offset 6 and the record handed in before it at 7", []string{KindWithinBatch}},
		{"an answer behind that to a later request", func(s *story) { s.sendTimes(1, 0, 1, 10, 20, 5).Produce.Disordered = true }, Violated,
			"was answered a produce to orders-0 behind a later request on the same connection", []string{KindAnswerOrder}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			wants(t, feed(newRecordOrder(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}

func TestRecordOrderKeepsToTheContract(t *testing.T) {
	s := newStory()
	s.sendTimes(1, 0, 1, 10, 20, 5)
	s.sendTimes(1, 1, 1, 30, 40, 3)
	s.run.Contract.Unclean = true
	wants(t, feed(newRecordOrder(alone(&s.run)), s), NotApplicable, "unclean elections")
	s.run.Contract.Unclean, s.run.Contract.Acks = false, 1
	for _, op := range s.ops {
		op.Produce.Acks = 1
	}
	wants(t, feed(newRecordOrder(alone(&s.run)), s), NotApplicable, "acks=1")
}

func TestRecordOrderOfACutHistory(t *testing.T) {
	s := newStory()
	s.sendTimes(1, 0, 1, 10, 20, 5)
	c := newRecordOrder(alone(&s.run))
	c.incomplete(history.Notes{Truncated: []string{history.HistoryFile}})
	wants(t, feed(c, s), Inconclusive, "the history is cut")
}

// Of a partition whose last in-sync replica may have lost unsynced records, no order and no single copy is claimed.
func TestOrderOfUnsyncedReplicas(t *testing.T) {
	s := newLedgerStory()
	s.created()
	s.send(1, 3)
	s.idempotent(1)
	s.store(record{producer: 1, seq: 0})
	s.drainAll()
	wants(t, s.judgeDuplicates(), Violated, "twice", KindDuplicate)
	s.lastLosesPower(2, "power-loss")
	wants(t, s.judgeDuplicates(), Holds, "")

	s = newLedgerStory()
	s.created()
	s.sendTimes(1, 0, 1, 10, 20, 5)
	s.sendTimes(1, 1, 1, 30, 40, 3)
	wants(t, feed(newRecordOrder(alone(&s.run)), s.story), Violated, "", KindRealTime)
	s.lastLosesPower(2, "power-loss")
	wants(t, feed(newRecordOrder(alone(&s.run)), s.story), Inconclusive, "nothing is claimed of orders-0")
	other := s.sendTimes(1, 0, 1, 50, 60, 0)
	other.Produce.Partition = 1
	wants(t, feed(newRecordOrder(alone(&s.run)), s.story), Holds, "all of 1 acknowledged record stand in the order in which they were sent; nothing is claimed of orders-0")
}
