package checkers

import (
	"fmt"
	"testing"
	"time"

	"soak/history"
)

const millisecond = int64(time.Millisecond)

// calmRun is a run of a minute: a write of ten records every 100 ms, each of which takes five, and a fetch that brings it two later.
func calmRun() *story {
	s := newStory()
	s.run.SessionTimeout, s.run.ElectionInterval = int64(time.Second), int64(2*time.Second)
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2, 3}}}
	s.run.Phases = []history.Phase{{Name: "steady", Start: s.now, End: s.now + 2*1e9}, {Name: "faults", Start: s.now + 2*1e9, End: s.now + 60*1e9}, {Name: "drain", Start: s.now + 60*1e9, End: s.now + 61*1e9}}
	for i := range int64(600) {
		at := s.now + i*100*millisecond
		w := s.sendTimes(1, uint64(i*10), 10, at, at+5*millisecond, i*10)
		w.Node = 1
		s.op(history.Operation{Node: 1, Invoke: at - 50*millisecond, Complete: at + 7*millisecond, Consume: &history.ConsumeOp{
			Topic: "orders", From: i * 10, To: i*10 + 10, High: i*10 + 10, Spans: []history.Span{{Offset: i * 10, Producer: 1, Incarnation: 1, Seq: uint64(i * 10), Count: 10}},
		}})
	}
	return s
}

// delay makes every n-th write, or fetch, from one time to another later by so much.
func (s *story) delay(n int, from, to time.Duration, by time.Duration, reads bool) {
	count := 0
	for _, op := range s.ops {
		at := op.Invoke - s.run.Phases[0].Start
		if (op.Consume != nil) != reads || at < int64(from) || at > int64(to) {
			continue
		}
		if count++; count%n == 0 {
			op.Complete += int64(by)
		}
	}
}

func TestLatencyQuiet(t *testing.T) {
	const all = time.Minute
	fault := func(s *story, from, to time.Duration) {
		begin := s.run.Phases[0].Start
		s.faults = append(s.faults, &history.Fault{ID: len(s.faults) + 1, Kind: "kill", Nodes: []int32{1}, Asked: begin + int64(from), Effective: begin + int64(from) + 1, HealAsked: begin + int64(to), Healed: begin + int64(to)})
	}
	stall := func(s *story, node int32, at time.Duration) {
		e := s.event(node, &history.Stall{Nanos: 400 * millisecond})
		e.Time = s.run.Phases[0].Start + int64(at)
	}
	for _, c := range []struct {
		name    string
		more    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"quick answers", func(*story) {}, Holds, "the p99 of 1199 operations in fault-free time is within 2s", nil},
		{"one in two hundred late", func(s *story) { s.delay(200, 0, all, 5*time.Second, false) }, Holds, "", nil},
		{"one in fifty late", func(s *story) { s.delay(50, 0, all, 3*time.Second, false) }, Violated, "the p99 of 599 acks=all writes in fault-free time is 3.005s, above 2s", []string{KindSlowInQuiet}},
		{"late, and then their outcome unknown", func(s *story) {
			s.delay(50, 0, all, 3*time.Second, false)
			for _, op := range s.ops {
				if op.Produce != nil && op.Complete-op.Invoke > 1e9 {
					op.Outcome, op.Produce.Offsets = history.Unknown, nil
				}
			}
		}, Violated, "acks=all writes", []string{KindSlowInQuiet}},
		{"late fetches", func(s *story) { s.delay(50, 0, all, 3*time.Second, true) }, Violated, "reads of acknowledged records in fault-free time is 3.002s", []string{KindSlowInQuiet}},
		{"fetches that waited for something to come", func(s *story) {
			for _, op := range s.ops {
				if op.Consume != nil {
					op.Invoke -= int64(10 * time.Second)
				}
			}
		}, Holds, "", nil},
		{"late in a fault and soon after it", func(s *story) {
			fault(s, 10*time.Second, 15*time.Second)
			s.delay(1, 10*time.Second, 20*time.Second, 4*time.Second, false)
		}, Holds, "", nil},
		{"late long after a fault", func(s *story) {
			fault(s, 10*time.Second, 15*time.Second)
			s.delay(10, 30*time.Second, all, 4*time.Second, false)
		}, Violated, "", []string{KindSlowInQuiet}},
		{"late while a core serves alone", func(s *story) {
			begin := s.run.Phases[0].Start
			s.run.Phases = append(s.run.Phases, history.Phase{Name: "liveness", Start: begin + 10*1e9, End: begin + 20*1e9})
			s.delay(1, 10*time.Second, 24*time.Second, 4*time.Second, false)
		}, Holds, "", nil},
		{"late around a stall alone", func(s *story) {
			stall(s, 0, 20*time.Second)
			s.delay(1, 19500*time.Millisecond, 20500*time.Millisecond, 3*time.Second, false)
		}, Inconclusive, "the machine stalled meanwhile", nil},
		{"late around a stall of the disk alone", func(s *story) {
			e := s.event(0, &history.Stall{What: history.StallDisk, Nanos: 5 * second})
			e.Time = s.run.Phases[0].Start + int64(25*time.Second)
			s.delay(1, 21*time.Second, 24*time.Second, 4*time.Second, false)
		}, Inconclusive, "the machine's disk stalled meanwhile, for 5s until 25.000 s", nil},
		{"late around a stall and elsewhere", func(s *story) {
			stall(s, 0, 20*time.Second)
			s.delay(10, 0, all, 3*time.Second, false)
		}, Violated, "", []string{KindSlowInQuiet}},
		{"faults all the time", func(s *story) { fault(s, 0, all) }, NotApplicable, "not enough data: 0 acks=all writes", nil},
		{"a fault that was never healed", func(s *story) { fault(s, time.Second, all); s.faults[0].Healed = 0 }, NotApplicable, "not enough data", nil},
		{"a network that loses messages", func(s *story) {
			s.run.Noise = []string{"messages are lost"}
			s.delay(50, 0, all, 3*time.Second, false)
		}, NotApplicable, "there is no quiet on this machine: messages are lost", nil},
		{"the harness failed", func(s *story) {
			s.run.HarnessError = "disk full"
			s.delay(50, 0, all, 3*time.Second, false)
		}, Inconclusive, "the harness failed: disk full", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calmRun()
			c.more(s)
			wants(t, feed(newLatencyQuiet(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}

func TestLatencyQuietOfFewOperations(t *testing.T) {
	s := calmRun()
	s.ops = s.ops[:2*(quietSamples-1)]
	s.delay(2, 0, time.Minute, 3*time.Second, false)
	v := feed(newLatencyQuiet(alone(&s.run)), s)
	wants(t, v, NotApplicable, fmt.Sprintf("%d acks=all writes were seen in fault-free time, and %d are needed", quietSamples-1, quietSamples))
}
