package checkers

import (
	"testing"

	"soak/history"
)

// hashes gives the last drain piece a stretch for each batch of five offsets, whose bytes are those that bytes answers for its first.
func hashes(op *history.Operation, bytes func(first int64) uint64) {
	d := op.Drain
	for at := d.From - d.From%5; at < d.To; at += 5 {
		to := at + 5
		if n := len(d.Stretches); n > 0 && d.Stretches[n-1].To == at && (to <= d.High || at > d.High) && at%20 != 0 {
			d.Stretches[n-1].To, d.Stretches[n-1].Hash = to, d.Stretches[n-1].Hash+bytes(at)
			continue
		}
		d.Stretches = append(d.Stretches, history.Stretch{From: at, To: to, Hash: bytes(at)})
	}
}

func same(first int64) uint64 { return uint64(first+1) * 0x9e3779b97f4a7c15 }

// other is the same but for one batch.
func other(at int64) func(int64) uint64 {
	return func(first int64) uint64 {
		if first == at {
			return 1
		}
		return same(first)
	}
}

func TestReplicaAgreement(t *testing.T) {
	read := func(s *ledgerStory, node int32, from, to, high int64, end bool, bytes func(int64) uint64) {
		hashes(s.drain(node, from, to, high, end), bytes)
	}
	for _, c := range []struct {
		name    string
		third   func(s *ledgerStory) // reads n3, whose log has 100 offsets
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"the same", func(s *ledgerStory) { read(s, 3, 0, 100, 100, true, same) }, Holds, "200 records compared", nil},
		{"the same, in pieces", func(s *ledgerStory) {
			read(s, 3, 0, 35, 100, false, same)
			read(s, 3, 35, 90, 100, false, same)
			read(s, 3, 90, 100, 100, true, same)
		}, Holds, "200 records compared", nil},
		{"the same, from within a batch", func(s *ledgerStory) {
			read(s, 3, 0, 35, 100, false, same)
			read(s, 3, 33, 100, 100, true, same)
		}, Holds, "records compared", nil},
		{"a tail above its high watermark, cut since", func(s *ledgerStory) {
			read(s, 3, 0, 100, 80, true, other(90))
			read(s, 3, 80, 100, 100, true, same)
		}, Holds, "200 records compared", nil},
		{"one batch differs", func(s *ledgerStory) { read(s, 3, 0, 100, 100, true, other(45)) },
			Violated, "n1 and n3 hold different bytes of orders-0 at the offsets 40 to 59, below both their high watermarks", []string{KindReplicasDiffer}},
		{"two batches differ, read in pieces", func(s *ledgerStory) {
			read(s, 3, 0, 50, 100, false, other(5))
			read(s, 3, 50, 100, 100, true, other(95))
		}, Violated, "at the offsets 0 to 19", []string{KindReplicasDiffer, KindReplicasDiffer}},
		{"the last batch differs", func(s *ledgerStory) { read(s, 3, 0, 100, 100, true, other(95)) }, Violated, "at the offsets 80 to 99", []string{KindReplicasDiffer}},
		{"the same, where retention has let go of the beginning", func(s *ledgerStory) {
			s.ages(100)
			s.retires(1, 60, 100)
			s.starts(3, "follower", 60, 100, 100, history.CauseFollowed)
			read(s, 3, 60, 100, 100, true, same)
			s.ops[len(s.ops)-1].Drain.From = 0
		}, Holds, "140 records compared", nil},
		{"one batch differs behind what retention has let go of", func(s *ledgerStory) {
			s.ages(100)
			s.retires(1, 60, 100)
			s.starts(3, "follower", 60, 100, 100, history.CauseFollowed)
			read(s, 3, 60, 100, 100, true, other(85))
			s.ops[len(s.ops)-1].Drain.From = 0
		}, Violated, "at the offsets 80 to 99", []string{KindReplicasDiffer}},
		{"a hole", func(s *ledgerStory) {
			read(s, 3, 0, 100, 100, true, same)
			d := s.ops[len(s.ops)-1].Drain
			d.Stretches = append(d.Stretches[:1:1], d.Stretches[2:]...)
		}, Holds, "180 records compared", nil},
		{"not to its end", func(s *ledgerStory) { read(s, 3, 0, 60, 100, false, same) }, Inconclusive, "drain of orders-0 on n3 stopped at 60 of 100", nil},
		{"not at all", func(*ledgerStory) {}, Inconclusive, "orders-0 on n3 was never read", nil},
		{"without hashes, and too short to miss them", func(s *ledgerStory) { s.drain(3, 0, 100, 100, true) }, Holds, "100 records compared", nil},
		{"unclean elections", func(s *ledgerStory) {
			read(s, 3, 0, 100, 100, true, other(45))
			s.run.Contract.Unclean = true
		}, NotApplicable, "unclean elections are allowed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.send(1, 100)
			read(s, 1, 0, 100, 100, true, same)
			read(s, 2, 0, 100, 100, true, same)
			c.third(s)
			wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), c.outcome, c.reason, c.kinds...)
		})
	}
}

func TestReplicaAgreementWithoutHashes(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 9)
	s.drainAll()
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), NotApplicable, "recorded no hashes")
	s = newLedgerStory()
	s.drainAll()
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), Inconclusive, "no two replicas could be compared")
	s.run.RecordTopics[0].Replicas = []int32{1}
	s.ops = s.ops[:2] // of n1 alone
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), NotApplicable, "no record topic has a second replica")
}

// What is not synced and lost its last member is exempt, as for acked-records.
func TestReplicaAgreementLeavesOutWhatIsExempt(t *testing.T) {
	s := newLedgerStory()
	s.run.Contract.Flush = "none"
	s.send(1, 10)
	for n, bytes := range map[int32]func(int64) uint64{1: same, 2: same, 3: other(5)} {
		hashes(s.drain(n, 0, 10, 10, true), bytes)
	}
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), Violated, "different bytes", KindReplicasDiffer)
	s.enter(1, 1, history.Apply{Command: "set_partition_isr", Key: "orders-0", Changes: []history.PartitionChange{{Topic: "orders", Leader: 3, ISR: []int32{3}}}}, 1, 2, 3)
	s.enter(1, 1, history.Apply{Command: "register_broker", Key: "broker-3"}, 1, 2, 3)
	s.faults = []*history.Fault{{ID: 1, Kind: "power-loss", Nodes: []int32{3}, Asked: 1, Effective: 2}}
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), Inconclusive, "nothing is claimed of orders-0")
}

// A pair of which nothing was compared though there was enough to compare leaves the run open, whatever other pairs say.
func TestAPairOfReplicasThatWasNeverCompared(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 3000)
	hashes(s.drain(1, 0, 3000, 3000, true), same)
	hashes(s.drain(2, 0, 3000, 3000, true), same)
	s.drain(3, 0, 3000, 3000, true)
	wants(t, feed(newReplicaAgreement(alone(&s.run)), s.story), Inconclusive, "orders-0 was never compared between n1 and n3, though both were read up to 3000")
}
