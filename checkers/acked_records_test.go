package checkers

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"soak/history"
)

// record is what a replica holds at an offset.
type record struct {
	producer uint32
	seq      uint64
	bad      string
	reborn   bool // of the producer's second incarnation
}

// ledgerStory writes records to one partition, orders-0, and reads three replicas back.
type ledgerStory struct {
	*story
	logs map[int32][]record
	next map[uint32]uint64
}

func newLedgerStory() *ledgerStory {
	s := &ledgerStory{story: newStory(), logs: map[int32][]record{}, next: map[uint32]uint64{}}
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2, 3}}}
	return s
}

// send writes a batch to all replicas and acknowledges it.
func (s *ledgerStory) send(producer uint32, count int32) *history.Operation {
	op := s.attempt(producer, count, history.OK)
	for i := range count {
		op.Produce.Offsets = append(op.Produce.Offsets, int64(len(s.logs[1])))
		s.store(record{producer: producer, seq: op.Produce.FirstSeq + uint64(i)})
	}
	return op
}

// attempt is a send that stores nothing.
func (s *ledgerStory) attempt(producer uint32, count int32, o history.Outcome) *history.Operation {
	first := s.next[producer]
	s.next[producer] += uint64(count)
	return s.op(history.Operation{Outcome: o, Produce: &history.ProduceOp{
		Topic: "orders", Producer: producer, Incarnation: 1, FirstSeq: first, Count: count, Acked: -1, Acks: -1,
	}})
}

func (s *ledgerStory) store(r record) {
	for n := int32(1); n <= 3; n++ {
		s.logs[n] = append(s.logs[n], r)
	}
}

// drain reads a replica from an offset to its end, in pieces, with the high watermark given.
func (s *ledgerStory) drain(node int32, from, to, high int64, end bool) *history.Operation {
	d := &history.DrainOp{Topic: "orders", Replica: node, From: from, To: to, LogEnd: -1, High: high, End: end}
	if end {
		d.LogEnd = to
	}
	for at := from; at < to; at++ {
		r := s.logs[node][at]
		switch {
		case r.bad == "hole":
		case r.bad != "":
			d.Bad = append(d.Bad, history.BadRecord{Offset: at, Why: r.bad})
		default:
			span := history.Span{Offset: at, Producer: r.producer, Incarnation: 1, Seq: r.seq, Count: 1}
			if r.reborn {
				span.Incarnation = 2
			}
			d.Spans = append(d.Spans, span)
		}
	}
	return s.op(history.Operation{Drain: d})
}

func (s *ledgerStory) drainAll() {
	for n := int32(1); n <= 3; n++ {
		end := int64(len(s.logs[n]))
		s.drain(n, 0, end/2, end, false)
		s.drain(n, end/2, end, end, true)
	}
}

func (s *ledgerStory) judge() Verdict { return feed(newAckedRecords(alone(&s.run)), s.story) }

func TestAckedRecordsAccepts(t *testing.T) {
	for name, more := range map[string]func(s *ledgerStory){
		"all read back":               func(*ledgerStory) {},
		"unknown and not there":       func(s *ledgerStory) { s.attempt(2, 3, history.Unknown) },
		"unknown and there":           func(s *ledgerStory) { s.attempt(7, 1, history.Unknown); s.store(record{producer: 7}) },
		"failed and not there":        func(s *ledgerStory) { s.attempt(2, 3, history.Failed) },
		"acknowledged without offset": func(s *ledgerStory) { s.send(1, 1).Produce.Offsets = []int64{-1} },
		"acknowledged without any offset": func(s *ledgerStory) {
			s.send(1, 2).Produce.Offsets = nil
		},
		"a duplicate": func(s *ledgerStory) { s.store(record{producer: 1, seq: 0}) },
		"failed once, acknowledged then": func(s *ledgerStory) {
			s.attempt(1, 1, history.Failed)
			s.next[1]--
			s.send(1, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLedgerStory()
			s.send(1, 5)
			s.send(2, 3)
			more(s)
			s.drainAll()
			wants(t, s.judge(), Holds, "were read back at their offsets")
		})
	}
}

func TestAckedRecordsAcceptsAFollowersTailAboveItsHighWatermark(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 4)
	s.logs[3][3] = record{producer: 9, seq: 9} // it will be cut
	s.attempt(9, 10, history.Unknown)
	s.drain(1, 0, 4, 4, true)
	s.drain(2, 0, 4, 4, true)
	s.drain(3, 0, 4, 3, true)
	wants(t, s.judge(), Holds, "")
}

func TestAckedRecordsRefuses(t *testing.T) {
	all := func(s *ledgerStory, at int, r record) {
		for n := range s.logs {
			s.logs[n][at] = r
		}
	}
	for _, c := range []struct {
		name   string
		more   func(s *ledgerStory)
		reason string
		kinds  []string
	}{
		{"the tail is gone everywhere", func(s *ledgerStory) {
			for n := range s.logs {
				s.logs[n] = s.logs[n][:6]
			}
		}, "a node acknowledged 2 records of orders-0 at 1.004 s (Unix time) (offsets 6 to 7; producer 2.1 sequences 1 to 2). None of n1, n2, n3 holds them in the end: lost from the end of the log", []string{"lost-tail"}},
		{"the tail was truncated", func(s *ledgerStory) {
			for n := range s.logs {
				s.logs[n] = s.logs[n][:7]
			}
			s.event(2, &history.Partition{Topic: "orders", LogEnd: 7, Cause: "truncation"})
		}, "acknowledged 1 record of orders-0 at 1.004 s (Unix time) (offset 7; producer 2.1 sequence 2). None of n1, n2, n3 holds it in the end: lost where a replica cut its log. n2 cut its log back to offset 7 at", []string{"lost-truncated"}},
		{"the tail was truncated, and the nodes tell the story", func(s *ledgerStory) {
			for n := range s.logs {
				s.logs[n] = s.logs[n][:7]
			}
			s.ops[len(s.ops)-1].Node = 1
			s.event(3, &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: 4, LogEnd: 7})
			s.event(1, &history.Partition{Topic: "orders", Role: "follower", LeaderEpoch: 4, LogEnd: 7, Cause: "truncation"})
		}, "n1 acknowledged 1 record of orders-0 at 1.004 s (Unix time) (offset 7; producer 2.1 sequence 2). None of n1, n2, n3 holds it in the end: lost where a replica cut its log. " +
			"n3 took over as the partition's leader at 1.005 s (Unix time) (leader epoch 4) with a log that ended at offset 7. n1 cut its log back to offset 7 at 1.006 s", []string{"lost-truncated"}},
		{"a hole", func(s *ledgerStory) { all(s, 2, record{bad: "hole"}) }, "(offset 2; producer 1.1 sequence 2). None of n1, n2, n3 holds it in the end: lost from among later ones that are there", []string{"lost-middle", KindHole, KindHole, KindHole}},
		{"the begin is gone", func(s *ledgerStory) { all(s, 0, record{bad: "hole"}) }, "lost from before the first record that was read", []string{"lost-prefix", KindHole, KindHole, KindHole}},
		{"overwritten by another's record", func(s *ledgerStory) {
			s.attempt(9, 1, history.Unknown)
			all(s, 2, record{producer: 9})
		}, "lost, with another record at its offset",
			[]string{"lost-overwritten", KindInconsistent, KindInconsistent, KindInconsistent}},
		{"one replica differs", func(s *ledgerStory) {
			s.attempt(9, 2, history.Unknown)
			s.logs[3][2] = record{producer: 9, seq: 0}
			s.logs[3][3] = record{producer: 9, seq: 1}
		}, "acknowledged records at each of the offsets 2 to 3 of orders-0 at 1.002 s (Unix time), beginning with producer 1.1 sequence 2. But n3 holds other records there, beginning with producer 9.1 sequence 0", []string{KindInconsistent}},
		{"two acknowledgements of one offset", func(s *ledgerStory) {
			s.send(3, 1).Produce.Offsets[0] = 0
			s.ops[0].Node, s.ops[2].Node = 2, 3
		}, "n2 acknowledged a record at offset 0 of orders-0 at 1.002 s (Unix time) (producer 1.1 sequence 0). Then n3 acknowledged another record there at 1.006 s (Unix time) (producer 3.1 sequence 0). " +
			"One offset has one record: one of the two acknowledgements is broken", []string{KindInconsistent}},
		{"nobody sent it", func(s *ledgerStory) { s.store(record{producer: 8, seq: 3}); s.store(record{producer: 8, seq: 4}) },
			"orders-0 at each of the offsets 8 to 9 on n1 holds a record that nobody sent: producer 8.1 sequence 3", []string{KindPhantom}},
		{"a sequence that was not sent yet", func(s *ledgerStory) { s.store(record{producer: 1, seq: 5}) }, "nobody sent", []string{KindPhantom}},
		{"failed but visible", func(s *ledgerStory) { s.attempt(6, 1, history.Failed); s.store(record{producer: 6}) },
			"orders-0 at offset 8 on n1 holds a record whose send surely failed: producer 6.1 sequence 0", []string{KindFailedVisible}},
		{"corrupt on one replica", func(s *ledgerStory) { s.logs[2][3].bad = "corrupt" }, "orders-0 at offset 3 on n2 holds what this run did not write there: corrupt", []string{KindCorrupt}},
		{"misrouted", func(s *ledgerStory) { s.store(record{bad: "misrouted"}) }, "misrouted", []string{KindMisrouted}},
		{"of another run", func(s *ledgerStory) { s.store(record{bad: "other run"}) }, "other run", []string{KindForeign}},
		{"acknowledged without offset, and gone", func(s *ledgerStory) {
			s.attempt(2, 1, history.OK)
		}, "at an offset that the client was not told", []string{"lost-tail"}},
		{"acknowledged without offset, and gone from among others", func(s *ledgerStory) {
			s.attempt(2, 1, history.OK)
			s.send(2, 1)
		}, "(at an offset that the client was not told; producer 2.1 sequence 3). None of n1, n2, n3 holds it in the end: lost from among", []string{"lost-middle"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.send(1, 5)
			s.send(2, 3)
			c.more(s)
			s.drainAll()
			wants(t, s.judge(), Violated, c.reason, c.kinds...)
		})
	}
}

// Who took over, or cut its log, before a record was appended made room for it: only what came in a later leader epoch is its end. A send that lasted through the change
// of leaders names no node, and began before.
func TestTheTakeoverBeforeARecordIsNotItsEnd(t *testing.T) {
	for _, c := range []struct {
		name      string
		node      int32 // that the send names
		more      func(s *ledgerStory)
		kind      string
		says      []string
		saysNever string
	}{
		{"nobody after it", 0, func(*ledgerStory) {}, "lost-tail", []string{"the leader of orders-0 (n2, as the nodes tell) acknowledged 1 record"}, "offset 7 at"},
		{"nobody after it, by the record of the send", 2, func(*ledgerStory) {}, "lost-tail", []string{"n2 acknowledged 1 record"}, "took over"},
		{"another, and a cut", 0, func(s *ledgerStory) {
			s.event(3, &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: 5, LogEnd: 7})
			s.event(2, &history.Partition{Topic: "orders", Role: "follower", LeaderEpoch: 5, LogEnd: 7, Cause: "truncation"})
		}, "lost-truncated", []string{"n3 took over as the partition's leader", "(leader epoch 5)", "n2 cut its log back to offset 7"}, "n2 took over"},
		{"the same node, once more", 2, func(s *ledgerStory) {
			s.event(2, &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: 6, LogEnd: 7})
		}, "lost-tail", []string{"n2 took over as the partition's leader", "(leader epoch 6)"}, "(leader epoch 4)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			s.event(1, &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: 3})
			s.send(1, 7)
			invoke := s.tick()
			s.event(2, &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: 4, LogEnd: 7})
			s.event(3, &history.Partition{Topic: "orders", Role: "follower", LeaderEpoch: 4, LogEnd: 7, Cause: "truncation"})
			op := s.send(2, 1)
			op.Invoke, op.Node = invoke, c.node
			c.more(s)
			for n := range s.logs {
				s.logs[n] = s.logs[n][:7]
			}
			s.drainAll()
			v := s.judge()
			wants(t, v, Violated, "lost", c.kind)
			for _, w := range c.says {
				if !strings.Contains(v.Reason, w) {
					t.Errorf("%q is not said: %s", w, v.Reason)
				}
			}
			if strings.Contains(v.Reason, c.saysNever) {
				t.Errorf("%q is said: %s", c.saysNever, v.Reason)
			}
		})
	}
}

// What two nodes acknowledged is not told of one of them.
func TestEachNodeAnswersForItsOwnAcknowledgements(t *testing.T) {
	story := func(second int32) *ledgerStory {
		s := newLedgerStory()
		s.send(1, 2)
		s.send(1, 2).Node = 1
		s.send(1, 2).Node = second
		return s
	}
	for second, want := range map[int32][]string{
		1: {"n1 acknowledged 4 records"},
		2: {"n1 acknowledged 2 records", "n2 acknowledged 2 records"},
	} {
		s := story(second)
		for n := range s.logs {
			s.logs[n] = s.logs[n][:2]
		}
		s.drainAll()
		begins(t, s.judge(), want)
	}
	for second, want := range map[int32][]string{
		1: {"n1 acknowledged records at each of the offsets 2 to 5"},
		2: {"n1 acknowledged records at each of the offsets 2 to 3", "n2 acknowledged records at each of the offsets 4 to 5"},
	} {
		s := story(second)
		s.attempt(9, 4, history.Unknown)
		for i := range 4 {
			s.logs[3][2+i] = record{producer: 9, seq: uint64(i)}
		}
		s.drainAll()
		begins(t, s.judge(), want)
	}
}

func begins(t *testing.T, v Verdict, want []string) {
	t.Helper()
	if len(v.Violations) != len(want) {
		t.Errorf("%d violations, want %d: %s", len(v.Violations), len(want), v.Reason)
		return
	}
	for i, w := range want {
		if x := v.Violations[i]; !strings.HasPrefix(x.Sentence, w) {
			t.Errorf("%s; want %s", x.Sentence, w)
		}
	}
}

// Thousands of records of failed sends, apart from each other, are found within the checker's time, and each that is kept names its sender.
func TestManyFailedSendsThatAreVisibleAreFoundInTime(t *testing.T) {
	for _, visible := range []bool{true, false} {
		s := newLedgerStory()
		s.run.Phases = []history.Phase{{Name: "steady", Start: 1, End: 2}}
		for range 3000 {
			s.send(1, 1)
			if op := s.attempt(2, 1, history.Failed); visible {
				s.store(record{producer: 2, seq: op.Produce.FirstSeq})
			}
		}
		s.drainAll()
		dir := t.TempDir()
		of := &shared{run: &s.run, spill: newSpill(dir)}
		f := newFeeder(&s.run, newOn(of))
		for _, op := range s.ops {
			f.Operation(op)
		}
		r := f.Report()
		of.spill.close()
		v := r.Verdicts[slices.IndexFunc(r.Verdicts, func(v Verdict) bool { return v.Checker == AckedRecords })]
		if !visible {
			wants(t, v, Holds, "")
			continue
		}
		if v.Outcome != Violated || len(v.Violations) != maxViolations || !strings.Contains(v.Reason, "(and 2999 more)") {
			t.Fatalf("%s, %d violations: %s", v.Outcome, len(v.Violations), v.Reason)
		}
		for i, x := range v.Violations {
			if x.Kind != KindFailedVisible || len(x.Operations) != 2 || x.Operations[1] != s.ops[2*i+1].ID {
				t.Fatalf("%s: %v", x.Sentence, x.Operations)
			}
		}
	}
}

func TestAckedRecordsCannotTell(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		make         func(s *ledgerStory)
	}{
		{"nothing acknowledged", "no acknowledged record was seen", func(s *ledgerStory) { s.drainAll() }},
		{"never read", "orders-0 on n2 was never read", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 4, 4, true)
			s.drain(3, 0, 4, 4, true)
		}},
		{"stopped early", "drain of orders-0 on n2 stopped at 2 of 4", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 4, 4, true)
			s.drain(2, 0, 2, 4, false)
			s.drain(3, 0, 4, 4, true)
		}},
		{"an end below another's high watermark", "drain of orders-0 on n2 stopped at 2 of 4", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 4, 4, true)
			s.drain(2, 0, 2, 2, true)
			s.drain(3, 0, 4, 4, true)
		}},
		{"a piece is missing", "drain of orders-0 on n2 stopped at 1 of 4", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 4, 4, true)
			s.drain(2, 0, 1, 4, false)
			s.drain(2, 2, 4, 4, true)
			s.drain(3, 0, 4, 4, true)
		}},
		{"more came after an end", "drain of orders-0 on n1 stopped at 4 of", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 2, 2, true)
			s.drain(1, 2, 4, 2, false)
		}},
		{"absent, but not everything was read", "4 acknowledged records not read back", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(2, 0, 0, 0, true)
			s.drain(3, 0, 0, 0, true)
		}},
		{"a failed read", "orders-0 on n2 was never read", func(s *ledgerStory) {
			s.send(1, 4)
			s.drain(1, 0, 4, 4, true)
			s.drain(2, 0, 4, 4, true).Outcome = history.Failed
			s.drain(3, 0, 4, 4, true)
		}},
		{"there, but above every high watermark", "2 acknowledged records not read back below a high watermark", func(s *ledgerStory) {
			s.send(1, 4)
			for n := int32(1); n <= 3; n++ {
				s.drain(n, 0, 4, 2, true)
			}
		}},
		{"no topic named", "names no topic to read back", func(s *ledgerStory) {
			s.run.RecordTopics = nil
			s.send(1, 4)
			s.drainAll()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLedgerStory()
			c.make(s)
			wants(t, s.judge(), Inconclusive, c.reason)
		})
	}
}

// What one replica read to its end proves needs no other: an acknowledged offset below its high watermark that is a hole.
func TestALossIsProvenByOneReplica(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 4)
	s.logs[2][1] = record{bad: "hole"}
	s.drain(2, 0, 4, 4, true)
	wants(t, s.judge(), Violated, "(offset 1; producer 1.1 sequence 1). None", "lost-middle", KindHole)
}

func TestARecordAcknowledgedAfterTheReadIsNeitherLostNorReadBack(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 4)
	s.drainAll()
	s.attempt(1, 1, history.OK).Produce.Offsets = []int64{4}
	wants(t, s.judge(), Inconclusive, "1 acknowledged record not read back")
}

func TestAckedRecordsKeepsToTheContract(t *testing.T) {
	lossy := func(change func(*history.Run)) *ledgerStory {
		s := newLedgerStory()
		s.send(1, 4)
		for n := range s.logs {
			s.logs[n] = s.logs[n][:2]
		}
		s.drainAll()
		change(&s.run)
		return s
	}
	wants(t, lossy(func(*history.Run) {}).judge(), Violated, "lost", "lost-tail")
	wants(t, lossy(func(r *history.Run) { r.Contract.Acks = 1 }).judge(), NotApplicable, "acks=1")
	wants(t, lossy(func(r *history.Run) { r.Contract.Unclean = true }).judge(), NotApplicable, "unclean")
	s := lossy(func(r *history.Run) { r.Contract.Acks = 1 })
	s.logs[1] = append(s.logs[1], record{producer: 77})
	s.drain(1, 2, 3, 3, true)
	wants(t, s.judge(), Violated, "nobody sent", KindPhantom)
}

func TestACutHistoryAccusesNobodyOfAPhantom(t *testing.T) {
	s := newLedgerStory()
	s.send(1, 4)
	s.store(record{producer: 8, seq: 3})
	s.drainAll()
	c := newAckedRecords(alone(&s.run))
	c.incomplete(history.Notes{Truncated: []string{history.HistoryFile}})
	wants(t, feed(c, s.story), Inconclusive, "3 records that nobody is known to have sent")

	s = newLedgerStory() // the same of a send that failed: it may have been repeated
	s.send(1, 4)
	s.attempt(8, 1, history.Failed)
	s.store(record{producer: 8})
	s.drainAll()
	c = newAckedRecords(alone(&s.run))
	c.incomplete(history.Notes{Truncated: []string{history.HistoryFile}})
	wants(t, feed(c, s.story), Inconclusive, "3 records that nobody is known to have sent")
}

// soundLedger draws sends and their outcomes; what is acknowledged is stored, what is unknown may be.
func soundLedger(t *rapid.T) *ledgerStory {
	s := newLedgerStory()
	s.send(1, 3)
	for range rapid.IntRange(0, 20).Draw(t, "sends") {
		p, n := rapid.Uint32Range(1, 3).Draw(t, "producer"), rapid.Int32Range(1, 4).Draw(t, "count")
		switch rapid.IntRange(0, 4).Draw(t, "outcome") {
		case 0:
			s.attempt(p, n, history.Failed)
		case 1:
			s.attempt(p, n, history.Unknown)
		case 2:
			first := s.next[p]
			s.attempt(p, n, history.Unknown)
			for i := range n {
				s.store(record{producer: p, seq: first + uint64(i)})
			}
		default:
			op := s.send(p, n)
			if rapid.IntRange(0, 4).Draw(t, "offsets") == 0 {
				op.Produce.Offsets = nil
			}
		}
	}
	return s
}

func TestAckedRecordsAcceptsEverySoundLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := soundLedger(t)
		s.drainAll()
		// The order of the records must not matter.
		slices.Reverse(s.ops)
		if v := s.judge(); v.Outcome != Holds {
			t.Fatalf("%s: %s", v.Outcome, v.Reason)
		}
	})
}

func TestAckedRecordsRefusesEveryMutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := soundLedger(t)
		at := rapid.IntRange(0, 2).Draw(t, "offset") // the first send is acknowledged, with its offsets
		node := rapid.Int32Range(1, 3).Draw(t, "node")
		var kind string
		switch rapid.IntRange(0, 4).Draw(t, "mutation") {
		case 0:
			kind = "lost-"
			for n := range s.logs {
				s.logs[n][at] = record{bad: "hole"}
			}
		case 1:
			kind = KindPhantom
			s.logs[node][at] = record{producer: 99, seq: 1}
		case 2:
			kind = KindInconsistent
			s.logs[node][at].seq = uint64(at+1) % 3
		case 3:
			kind = KindCorrupt
			s.logs[node][at].bad = "corrupt"
		case 4:
			kind = KindFailedVisible
			s.attempt(50, 1, history.Failed)
			s.store(record{producer: 50})
		}
		s.drainAll()
		v := s.judge()
		if v.Outcome != Violated || !slices.ContainsFunc(v.Violations, func(x Violation) bool { return strings.HasPrefix(x.Kind, kind) }) {
			t.Fatalf("want %s, got %s: %s", kind, v.Outcome, v.Reason)
		}
	})
}

func BenchmarkAckedRecords(b *testing.B) {
	s := newLedgerStory()
	for i := range uint32(20_000) {
		s.send(i%8, 5)
	}
	s.drainAll()
	for b.Loop() {
		if v := s.judge(); v.Outcome != Holds {
			b.Fatal(v.Reason)
		}
	}
	b.ReportMetric(float64(len(s.logs[1])), "records")
}

// TestACrashedProducer: what was under way when it crashed may be there or not, and its next incarnation counts anew; what was
// acknowledged before the crash, or after it, must be there all the same.
func TestACrashedProducer(t *testing.T) {
	reborn := func(s *ledgerStory, stored bool) {
		op := s.op(history.Operation{Outcome: history.OK, Produce: &history.ProduceOp{
			Topic: "orders", Producer: 1, Incarnation: 2, FirstSeq: 0, Count: 1, Acked: -1, Acks: -1, Offsets: []int64{int64(len(s.logs[1]))},
		}})
		if stored {
			s.store(record{producer: 1, seq: op.Produce.FirstSeq, reborn: true})
		}
	}
	for name, c := range map[string]struct {
		story   func(s *ledgerStory)
		outcome Outcome
		kinds   []string
	}{
		"cut off and gone": {func(s *ledgerStory) { s.send(1, 2); s.attempt(1, 2, history.Unknown); reborn(s, true) }, Holds, nil},
		"cut off and there": {func(s *ledgerStory) {
			s.send(1, 2)
			op := s.attempt(1, 1, history.Unknown)
			s.store(record{producer: 1, seq: op.Produce.FirstSeq})
			reborn(s, true)
		}, Holds, nil},
		"acknowledged before the crash, and lost": {func(s *ledgerStory) {
			s.send(2, 1)
			s.attempt(1, 1, history.OK).Produce.Offsets = []int64{1}
			s.attempt(1, 1, history.Unknown)
		}, Violated, []string{"lost-tail"}},
		"of the new incarnation, and lost": {func(s *ledgerStory) { s.send(1, 1); s.attempt(1, 1, history.Unknown); reborn(s, false) }, Violated, []string{"lost-tail"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLedgerStory()
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "client-crash", Target: "produce-1", Asked: 1, Effective: 1, HealAsked: 2, Healed: 2})
			c.story(s)
			s.drainAll()
			v := s.judge()
			var kinds []string
			for _, x := range v.Violations {
				kinds = append(kinds, x.Kind)
			}
			if v.Outcome != c.outcome || !slices.Equal(kinds, c.kinds) {
				t.Errorf("%s, %v: %s", v.Outcome, kinds, v.Reason)
			}
		})
	}
}
