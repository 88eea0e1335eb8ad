package checkers

import (
	"testing"

	"soak/history"
)

func TestPhantomRead(t *testing.T) {
	span := func(offset int64, producer uint32, seq uint64, count int32) history.Span {
		return history.Span{Offset: offset, Producer: producer, Seq: seq, Count: count}
	}
	given := func(s *story, high int64, spans ...history.Span) {
		s.op(history.Operation{Client: "consume-1", Node: 1, Consume: &history.ConsumeOp{Topic: "orders", High: high, Spans: spans}})
	}
	drained := func(s *story, node int32, end bool, to int64, spans ...history.Span) {
		s.op(history.Operation{Drain: &history.DrainOp{Topic: "orders", Replica: node, To: to, LogEnd: to, High: to, End: end, Spans: spans}})
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"all is there", func(s *story) {
			given(s, 10, span(0, 1, 0, 5), span(5, 2, 0, 5))
			drained(s, 1, true, 10, span(0, 1, 0, 5), span(5, 2, 0, 5))
			drained(s, 2, true, 10, span(0, 1, 0, 5), span(5, 2, 0, 5))
		}, Holds, "all of 10 records given", nil},
		{"cut into other spans", func(s *story) {
			given(s, 10, span(3, 1, 3, 4))
			drained(s, 1, true, 10, span(0, 1, 0, 5), span(5, 1, 5, 5))
			drained(s, 2, true, 10, span(0, 1, 0, 10))
		}, Holds, "all of 4 records given", nil},
		{"the tail is gone", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			drained(s, 1, true, 8, span(0, 1, 0, 8))
			drained(s, 2, true, 8, span(0, 1, 0, 8))
		}, Violated, "2 records of orders-0 from offset 8 on (producer 1, sequence 8) below the high watermark 10, and every replica ends below it", []string{KindReadGone}},
		{"the tail is gone with the power of the last in-sync replica", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			s.created()
			s.lastLosesPower(2, "power-loss")
			drained(s, 1, true, 8, span(0, 1, 0, 8))
			drained(s, 2, true, 8, span(0, 1, 0, 8))
		}, Inconclusive, "nothing is claimed of orders-0", nil},
		{"something else is there", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			for n := int32(1); n <= 2; n++ {
				drained(s, n, true, 10, span(0, 1, 0, 4), span(4, 2, 0, 2), span(6, 1, 6, 4))
			}
		}, Violated, "2 records of orders-0 from offset 4 on", []string{KindReadChanged}},
		{"told once for what hangs together", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			for n := int32(1); n <= 2; n++ {
				drained(s, n, true, 8, span(0, 1, 0, 4), span(4, 2, 0, 1), span(5, 3, 0, 1), span(6, 1, 6, 1), span(7, 3, 1, 1))
			}
		}, Violated, "2 records of orders-0 from offset 4 on", []string{KindReadChanged, KindReadChanged, KindReadGone}},
		{"of another incarnation", func(s *story) {
			given(s, 1, history.Span{Incarnation: 1, Count: 1})
			drained(s, 1, true, 1, history.Span{Incarnation: 2, Count: 1})
			drained(s, 2, true, 1, history.Span{Incarnation: 2, Count: 1})
		}, Violated, "something else", []string{KindReadChanged}},
		{"a hole is there", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			for n := int32(1); n <= 2; n++ {
				drained(s, n, true, 10, span(0, 1, 0, 4), span(5, 1, 5, 5))
			}
		}, Violated, "1 record of orders-0 from offset 4 on", []string{KindReadChanged}},
		{"above the high watermark nothing is promised", func(s *story) {
			given(s, 8, span(0, 1, 0, 10))
			drained(s, 1, true, 8, span(0, 1, 0, 8))
			drained(s, 2, true, 8, span(0, 1, 0, 8))
		}, Holds, "all of 8 records given", nil},
		{"one replica has it", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			drained(s, 1, true, 10, span(0, 1, 0, 10))
			drained(s, 2, true, 10, span(0, 2, 0, 10))
		}, Holds, "", nil},
		{"it has gone by retention", func(s *story) {
			s.ages(100)
			given(s, 10, span(0, 1, 0, 10))
			s.retires(1, 6, 10)
			for n := int32(1); n <= 2; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
				drained(s, n, true, 10, span(6, 1, 6, 4))
			}
		}, Holds, "all of 10 records given to consumers are in the final log, but for 6 records that had gone", nil},
		{"all of it has gone by retention", func(s *story) {
			s.ages(100)
			given(s, 10, span(0, 1, 0, 10))
			s.retires(1, 10, 10)
			for n := int32(1); n <= 2; n++ {
				s.starts(n, "follower", 10, 10, 10, history.CauseFollowed)
				drained(s, n, true, 10)
			}
		}, Holds, "but for 10 records", nil},
		{"more has gone than retention let go", func(s *story) {
			s.ages(100)
			given(s, 10, span(0, 1, 0, 10))
			s.retires(1, 6, 10)
			for n := int32(1); n <= 2; n++ {
				s.starts(n, "follower", 6, 10, 10, history.CauseFollowed)
				drained(s, n, true, 10, span(8, 1, 8, 2))
			}
		}, Violated, "2 records of orders-0 from offset 6 on", []string{KindReadChanged}},
		{"one replica, whose log begins earlier, lacks it", func(s *story) {
			s.ages(100)
			given(s, 10, span(0, 1, 0, 10))
			s.retires(1, 6, 10)
			drained(s, 1, true, 10, span(6, 1, 6, 4))
			drained(s, 2, true, 10, span(1, 1, 1, 9))
		}, Violated, "1 record of orders-0 from offset 0 on", []string{KindReadChanged}},
		{"it has gone from a topic that keeps its records", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			for n := int32(1); n <= 2; n++ {
				s.retires(n, 6, 10)
				drained(s, n, true, 10, span(6, 1, 6, 4))
			}
		}, Violated, "6 records of orders-0 from offset 0 on", []string{KindReadChanged}},
		{"a replica was not read to its end", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			drained(s, 1, true, 8, span(0, 1, 0, 8))
			drained(s, 2, false, 8, span(0, 1, 0, 8))
		}, Inconclusive, "2 records given to consumers, where", nil},
		{"a replica was not read at all", func(s *story) {
			given(s, 10, span(0, 1, 0, 10))
			drained(s, 1, true, 10, span(0, 2, 0, 10))
		}, Inconclusive, "orders-0 on n2 was never read", nil},
		{"no drain", func(s *story) { given(s, 10, span(0, 1, 0, 10)) }, Inconclusive, "never read", nil},
		{"no consumer", func(s *story) { drained(s, 1, true, 8, span(0, 1, 0, 8)) }, NotApplicable, "no consumer", nil},
		{"unclean elections", func(s *story) {
			s.run.Contract.Unclean = true
			given(s, 10, span(0, 1, 0, 10))
			drained(s, 1, true, 0)
			drained(s, 2, true, 0)
		}, NotApplicable, "unclean", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2}}}
			c.tell(s)
			wants(t, feed(newPhantomRead(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}
