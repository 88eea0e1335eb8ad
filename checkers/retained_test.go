package checkers

import (
	"slices"
	"testing"

	"soak/history"
)

// ages gives orders a retention of so many milliseconds.
func (s *story) ages(ms int64) { s.run.RecordTopics[0].RetentionMillis = ms }

// retires has a node, as leader, look for what may go, a second later, and remove everything below an offset.
func (s *story) retires(node int32, start, end int64) {
	s.now += second
	s.starts(node, "leader", 0, end, end, history.CauseRetention)
	s.starts(node, "leader", start, end, end, history.CauseRetained)
}

// begins reads a replica back whose log begins at an offset.
func (s *ledgerStory) begins(node int32, start int64) {
	end := int64(len(s.logs[node]))
	op := s.drain(node, start, end, end, true)
	op.Drain.From, op.Drain.LogStart = 0, start
}

// retention is a history of ten records in orders-0, a send each, ten milliseconds apart, of which n1 leads.
func retention(ms, bytes int64) *ledgerStory {
	s := newLedgerStory()
	s.run.Contract.ValueBytes = 100
	s.run.RecordTopics[0].RetentionMillis, s.run.RecordTopics[0].RetentionBytes = ms, bytes
	s.starts(1, "leader", 0, 0, 0, "boot")
	for range 10 {
		s.send(1, 1)
		s.now += 8_000_000
	}
	return s
}

func TestRetentionAccepts(t *testing.T) {
	for _, c := range []struct {
		name      string
		ms, bytes int64
		tell      func(s *ledgerStory)
		reason    string
	}{
		{"by age, followed by all", 500, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			for n := int32(2); n <= 3; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
			}
			for n := int32(1); n <= 3; n++ {
				s.begins(n, 6)
			}
		}, "all of 4 acknowledged records were read back at their offsets; 6 more had gone by their topics' retention"},
		{"the newest was old enough by a millisecond", 1049, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.begins(1, 6)
			s.begins(2, 0)
			s.begins(3, 0)
		}, ""},
		{"all of it", 500, 0, func(s *ledgerStory) {
			s.retires(1, 10, 10)
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 10, 10, 10, history.CauseFollowed)
				s.begins(n, 10)
			}
		}, "all of 0 acknowledged records"},
		{"logs that begin at different offsets", 500, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.starts(2, "follower", 4, 10, 10, history.CauseFollowed)
			s.begins(1, 6)
			s.begins(2, 4)
			s.begins(3, 0)
		}, "all of 10 acknowledged records"},
		{"a follower that began anew at its leader's start", 500, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.starts(3, "follower", 6, 6, 6, history.CauseRestart)
			for n := int32(1); n <= 3; n++ {
				s.begins(n, map[int32]int64{1: 6, 3: 6}[n])
			}
		}, ""},
		{"read before it went", 500, 0, func(s *ledgerStory) {
			for n := int32(1); n <= 3; n++ {
				s.begins(n, 0)
			}
			s.retires(1, 6, 10)
		}, "all of 10 acknowledged records"},
		{"by size", 0, 400, func(s *ledgerStory) {
			s.retires(1, 8, 10) // 400 bytes fit into two records of at most 209
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 8, 10, 10, history.CauseFollowed)
				s.begins(n, 8)
			}
		}, "2 acknowledged records were read back at their offsets; 8 more"},
		{"by size first, and then by age", 1000, 400, func(s *ledgerStory) {
			s.retires(1, 10, 10)
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 10, 10, 10, history.CauseFollowed)
				s.begins(n, 10)
			}
		}, ""},
		{"by the leader's clock, which runs ahead", 500, 0, func(s *ledgerStory) {
			s.now -= second
			s.retires(1, 6, 10)
			for _, e := range s.events[len(s.events)-2:] {
				e.Time += second
			}
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
				s.begins(n, 6)
			}
		}, ""},
		{"found at the next start, for its leader was killed before it could tell", 500, 0, func(s *ledgerStory) {
			s.now += second
			s.starts(1, "leader", 0, 10, 10, history.CauseRetention)
			s.restart(1)
			s.starts(1, "follower", 6, 6, 10, "boot")
			s.begins(1, 6)
			s.begins(2, 0)
			s.begins(3, 0)
		}, ""},
		{"by brokers that tell no events, and are old enough by the reader's clock", 500, 0, func(s *ledgerStory) {
			s.now += 3 * second
			for n := int32(1); n <= 3; n++ {
				s.begins(n, 6)
			}
		}, ""},
		{"a record whose offset nobody was told may be among what went", 500, 0, func(s *ledgerStory) {
			s.attempt(2, 1, history.OK)
			s.retires(1, 6, 10)
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
				s.begins(n, 6)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := retention(c.ms, c.bytes)
			c.tell(s)
			wants(t, s.judge(), Holds, c.reason)
		})
	}
}

func TestRetentionRefuses(t *testing.T) {
	follow := func(s *ledgerStory, start int64) {
		for n := int32(2); n <= 3; n++ {
			s.starts(n, "follower", start, 10, 10, history.CauseFollowed)
		}
		for n := int32(1); n <= 3; n++ {
			s.begins(n, start)
		}
	}
	// What went too early excuses nothing: it is missing as well.
	lost := func(early ...string) []string { return append(early, KindHole, KindHole, KindHole) }
	for _, c := range []struct {
		name      string
		ms, bytes int64
		tell      func(s *ledgerStory)
		reason    string
		kinds     []string
	}{
		{"a topic that keeps its records", 0, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			follow(s, 6)
		}, "acknowledged 6 records", lost("lost-prefix", KindRetainedTooShort, KindRetainedTooShort, KindRetainedTooShort)},
		{"one replica of a topic that keeps its records", 0, 0, func(s *ledgerStory) {
			s.starts(2, "follower", 3, 10, 10, history.CauseFollowed)
			s.begins(1, 0)
			s.begins(2, 3)
			s.begins(3, 0)
		}, "n2 removed the offsets 0 to 2 of orders-0 by 1.102 s (Unix time), and orders keeps its records for ever: producer 1.1 sequence 0 was acknowledged at offset 0", []string{KindRetainedTooShort, KindHole}},
		{"a restart of the log of a topic that keeps its records", 0, 0, func(s *ledgerStory) {
			s.starts(2, "follower", 10, 10, 10, history.CauseRestart)
			s.begins(1, 0)
			s.begins(2, 10)
			s.begins(3, 0)
		}, "and orders keeps its records for ever: producer 1.1 sequence 0 was acknowledged at offset 0", []string{KindRetainedTooShort, KindHole}},
		{"a log start that only the final read tells, of a topic that keeps its records", 0, 0, func(s *ledgerStory) {
			s.begins(1, 0)
			s.begins(2, 3)
			s.begins(3, 0)
		}, "and orders keeps its records for ever", []string{KindRetainedTooShort, KindHole}},
		{"the newest was too young", 1050, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			follow(s, 6)
		}, "acknowledged 1 record of orders-0", lost("lost-prefix", KindRetainedTooShort, KindRetainedTooShort, KindRetainedTooShort)},
		{"too many went for their size", 0, 600, func(s *ledgerStory) {
			s.retires(1, 8, 10) // 600 bytes take three records of at most 209
			follow(s, 8)
		}, "acknowledged 1 record of orders-0", lost("lost-prefix", KindRetainedTooShort, KindRetainedTooShort, KindRetainedTooShort)},
		{"too young for age, and too many for size", 1200, 600, func(s *ledgerStory) {
			s.retires(1, 8, 10)
			follow(s, 8)
		}, "acknowledged 1 record of orders-0", lost("lost-prefix", KindRetainedTooShort, KindRetainedTooShort, KindRetainedTooShort)},
		{"a leader goes too far, and the others do not follow", 1050, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.begins(1, 6)
			s.begins(2, 0)
			s.begins(3, 0)
		}, "n1 removed the offsets 0 to 5 of orders-0 by 2.103 s (Unix time) (as leader in epoch 0, decided at 2.102 s (Unix time) with a log that ended at 10), " +
			"and those from 5 on were not older than 1050 ms: producer 1.1 sequence 5 was acknowledged at offset 5, and handed over 1050 ms before", []string{KindRetainedTooShort, KindHole}},
		{"a follower goes further than its leader", 500, 0, func(s *ledgerStory) {
			s.retires(1, 4, 10)
			s.starts(2, "follower", 8, 10, 10, history.CauseFollowed)
			s.begins(1, 4)
			s.begins(2, 8)
			s.begins(3, 0)
		}, "n2 removed the offsets 0 to 7 of orders-0 by 2.104 s (Unix time), and no leader had been allowed to remove those from 4 on by then", []string{KindRetainedTooShort, KindHole}},
		{"a follower goes long before any leader", 30_000, 0, func(s *ledgerStory) {
			s.starts(2, "follower", 6, 10, 10, history.CauseFollowed)
			s.now += 60 * second
			s.retires(1, 6, 10)
			s.begins(1, 6)
			s.begins(2, 6)
			s.begins(3, 0)
		}, "n2 removed the offsets 0 to 5 of orders-0", []string{KindRetainedTooShort}},
		{"a follower decides by itself", 500, 0, func(s *ledgerStory) {
			s.retires(1, 3, 10)
			s.now += 2 * second
			s.starts(2, "follower", 0, 10, 10, history.CauseRetention)
			s.starts(2, "follower", 6, 10, 10, history.CauseRetained)
			s.begins(1, 3)
			s.begins(2, 6)
			s.begins(3, 0)
		}, "n2 removed the offsets 0 to 5 of orders-0 by 4.105 s (Unix time), and no leader had been allowed to remove those from 3 on by then", []string{KindRetainedTooShort, KindHole}},
		{"more than the log start tells is missing", 500, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			for n := int32(1); n <= 3; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
				s.begins(n, 7)
				s.ops[len(s.ops)-1].Drain.LogStart = 6
			}
		}, "acknowledged 1 record of orders-0", lost("lost-prefix")},
		{"a replica whose log begins earlier lacks what others were allowed to remove", 500, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.begins(1, 6)
			s.begins(2, 5)
			s.ops[len(s.ops)-1].Drain.LogStart = 0
			s.begins(3, 0)
		}, "orders-0 on n2 holds no record at the offsets 0 to 4", []string{KindHole}},
		{"by brokers that tell no events, and too young by the reader's clock", 5000, 0, func(s *ledgerStory) {
			for n := int32(1); n <= 3; n++ {
				s.begins(n, 6)
			}
		}, "", []string{"lost-prefix", KindRetainedTooShort, KindHole, KindRetainedTooShort, KindHole, KindRetainedTooShort, KindHole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := retention(c.ms, c.bytes)
			c.tell(s)
			wants(t, s.judge(), Violated, c.reason, c.kinds...)
		})
	}
}

// What came of a decision that is missing is not held against the one before it.
func TestRetentionWithMissingDecisions(t *testing.T) {
	lose := func(s *ledgerStory, cause string) { // the last event of a cause
		for i := len(s.events) - 1; i >= 0; i-- {
			if p, ok := s.events[i].Body.(*history.Partition); ok && p.Cause == cause {
				s.events = slices.Delete(s.events, i, i+1)
				return
			}
		}
	}
	for _, c := range []struct {
		name    string
		clocks  bool // made wrong
		ms      int64
		tell    func(s *ledgerStory)
		outcome Outcome
	}{
		{"the second of two", false, 1500, func(s *ledgerStory) {
			s.retires(1, 0, 10)
			s.now += 2 * second
			s.retires(1, 6, 10)
			lose(s, history.CauseRetention)
		}, Holds},
		{"the second of two, when it went too early by the clock of its leader", false, 15_000, func(s *ledgerStory) {
			s.retires(1, 0, 10)
			s.now += 2 * second
			s.retires(1, 6, 10)
			lose(s, history.CauseRetention)
		}, Violated},
		{"the second of two, in the next life", false, 1500, func(s *ledgerStory) {
			s.retires(1, 0, 10)
			s.restart(1)
			s.starts(1, "leader", 0, 10, 10, "boot")
			s.now += 2 * second
			s.retires(1, 6, 10)
			lose(s, history.CauseRetention)
		}, Holds},
		{"the only one, where clocks were made wrong", true, 500, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.starts(2, "follower", 6, 10, 10, history.CauseFollowed)
			lose(s, history.CauseRetention)
		}, Inconclusive},
		{"the only one, of a topic that keeps its records, where clocks were made wrong", true, 0, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			lose(s, history.CauseRetention)
		}, Violated},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := retention(c.ms, 0)
			if c.clocks {
				s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "clock-jump", Asked: 1})
			}
			c.tell(s)
			s.begins(1, 6)
			s.begins(2, 0)
			s.begins(3, 0)
			if v := s.judge(); v.Outcome != c.outcome {
				t.Errorf("got %s: %s", v.Outcome, v.Reason)
			}
		})
	}
}

// A checker that crashes half-way leaves nobody with half of what is excused.
func TestRetentionIsJudgedWhollyOrNotAtAll(t *testing.T) {
	s := retention(500, 0)
	s.retires(1, 6, 10)
	shared := alone(&s.run)
	for _, e := range s.events {
		shared.retention().see(e)
	}
	kept := shared.retention()
	views := kept.views
	kept.views = nil // what asks for it crashes
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it did not crash")
			}
		}()
		kept.judge(nil)
	}()
	kept.views = views
	kept.judge(nil)
	if at := kept.gone(replica{partition{"orders", 0}, 1}); at != 6 {
		t.Errorf("after a crash all below offset %d is excused, want 6", at)
	}
}

// Where clocks were made wrong, a leader is held to its own decisions all the same.
func TestRetentionUnderWrongClocks(t *testing.T) {
	for _, c := range []struct {
		name    string
		ms      int64
		tell    func(s *ledgerStory)
		outcome Outcome
	}{
		{"a leader's decision by its own clock", 500, func(s *ledgerStory) { s.retires(1, 6, 10) }, Holds},
		{"a leader's decision that was too early by its own clock", 1050, func(s *ledgerStory) { s.retires(1, 6, 10) }, Violated},
		{"a follower whose clock is behind its leader's", 500, func(s *ledgerStory) {
			s.retires(1, 6, 10)
			s.starts(2, "follower", 6, 10, 10, history.CauseFollowed)
			s.events[len(s.events)-1].Time -= 30 * second
		}, Holds},
		{"a follower, and no leader", 500, func(s *ledgerStory) {
			s.now += 30 * second
			s.starts(2, "follower", 6, 10, 10, history.CauseFollowed)
		}, Violated},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := retention(c.ms, 0)
			s.faults = append(s.faults, &history.Fault{ID: 1, Kind: "clock-jump", Asked: 1})
			c.tell(s)
			for n := int32(1); n <= 3; n++ {
				s.begins(n, 0)
			}
			if v := s.judge(); v.Outcome != c.outcome {
				t.Errorf("got %s: %s", v.Outcome, v.Reason)
			}
		})
	}
}

// The offsets of an exempt partition may stand for other records than those that went. A topic that keeps its records has no log start to excuse anything, exempt or not.
func TestRetentionOfAnExemptPartition(t *testing.T) {
	for ms, kinds := range map[int64][]string{30_000: nil, 0: {KindRetainedTooShort, KindHole}} {
		s := retention(ms, 0)
		s.created()
		s.lastLosesPower(2, "power-loss")
		s.retires(1, 6, 10)
		s.begins(1, 6)
		s.begins(2, 0)
		s.begins(3, 0)
		var got []string
		for _, v := range s.judge().Violations {
			got = append(got, v.Kind)
		}
		if !slices.Equal(got, kinds) {
			t.Errorf("with a retention of %d ms: %v, want %v", ms, got, kinds)
		}
	}
}
