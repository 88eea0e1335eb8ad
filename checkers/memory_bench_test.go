package checkers

import (
	"fmt"
	"runtime"
	"testing"

	"soak/history"
)

// longRun feeds records of a long run to a checker, each made anew as the reader makes them: batches of five records of idempotent producers, a fetch of a
// consumer for each ten batches, and the states that three replicas of each of 24 partitions tell once a second, at 5,000 records/s. It answers how many records.
func longRun(c Checker, batches int) (records int64) {
	const partitions, size, batchesPerSecond = 24, 5, 1000
	next := make([]int64, partitions)
	seqs := map[boot]uint64{}
	tell := func(node int32, at int64, b history.Body) {
		life := boot{node, 1}
		seqs[life]++
		c.Event(&history.Event{Node: node, Boot: 1, Seq: seqs[life], Time: at, Body: b})
	}
	for i := range batches {
		p, at := int32(i%partitions), int64(i+1)*1_000_000
		first := next[p]
		next[p] += size
		op := &history.Operation{
			ID: fmt.Sprintf("produce-%d-%d", p%8, i), Client: fmt.Sprintf("produce-%d", p%8), Invoke: at, Complete: at + 5_000_000, Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: fmt.Sprintf("orders%d", p/12), Partition: p % 12, Producer: uint32(p % 8), Incarnation: 1, FirstSeq: uint64(first), Count: size, Acked: first - 1, Acks: -1, Idempotent: true},
		}
		for k := range int64(size) {
			op.Produce.Offsets = append(op.Produce.Offsets, first+k)
		}
		c.Operation(op)
		records += size
		if i%10 == 0 {
			c.Operation(&history.Operation{
				ID: fmt.Sprintf("consume-%d", i), Client: "consume-1", Node: 1, Invoke: at, Complete: at + 1_000_000, Outcome: history.OK,
				Consume: &history.ConsumeOp{Topic: fmt.Sprintf("orders%d", p/12), Partition: p % 12, LeaderEpoch: 0, From: first, To: first + size, High: first + size,
					Spans: []history.Span{{Offset: first, Producer: uint32(p % 8), Incarnation: 1, Seq: uint64(first), Count: size}}},
			})
		}
		if i%batchesPerSecond == 0 {
			for n := int32(1); n <= 3; n++ {
				for q := range int32(partitions) {
					role := "follower"
					if q%3+1 == n {
						role = "leader"
					}
					tell(n, at, &history.Partition{Topic: fmt.Sprintf("orders%d", q/12), Partition: q % 12, Role: role, Leader: q%3 + 1, ISR: []int32{1, 2, 3}, HighWatermark: next[q], LogEnd: next[q], Cause: "periodic"})
				}
			}
			if m, ok := c.(Metered); ok {
				x := &history.Metric{Time: at, Interval: 1e9, Acked: 5000}
				for n := int32(1); n <= 3; n++ {
					w := int64(3)
					x.Nodes = append(x.Nodes, history.NodeMetric{Node: n, Up: true, Boot: 1, Waiting: &w, Disk: records * 330, HeapLive: 20 << 20, Goroutines: 40, Descriptors: 60})
				}
				m.Metric(x)
			}
		}
	}
	return records
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkMemory says what each checker keeps in memory, alone, of a run that goes on and is judged from its folder: bytes a record, most of which it shares with the others. `all` is what they keep together.
//
//	go test ./checkers -run xxx -bench Memory -benchtime 1x
func BenchmarkMemory(b *testing.B) {
	run := &history.Run{Format: history.FormatVersion, ID: "r1", Nodes: 3, Contract: history.Contract{Acks: -1, Idempotent: true, ValueBytes: 256}}
	for _, t := range []string{"orders0", "orders1"} {
		run.RecordTopics = append(run.RecordTopics, history.TopicInfo{Name: t, Partitions: 12, Replicas: []int32{1, 2, 3}})
	}
	kept := func(b *testing.B, make func() Checker) {
		for range b.N {
			before := heap()
			c := make()
			records := longRun(c, 200_000)
			b.ReportMetric(float64(heap()-before)/float64(records), "B/record")
			runtime.KeepAlive(c)
		}
	}
	for _, e := range catalogue() {
		b.Run(e.ID, func(b *testing.B) { kept(b, func() Checker { return e.make(spilling(b, run)) }) })
	}
	b.Run("all", func(b *testing.B) { kept(b, func() Checker { return everyChecker(newOn(spilling(b, run))) }) })
}

// spilling is what checkers of a run share whose records wait in a spill.
func spilling(b *testing.B, run *history.Run) *shared {
	s := newSpill(b.TempDir())
	s.limit = spillWrite // what it holds at most is no part of what grows
	b.Cleanup(s.close)
	return &shared{run: run, spill: s}
}

// everyChecker is all of them as one.
type everyChecker []Checker

func (e everyChecker) ID() string                      { return "all" }
func (e everyChecker) Fault(*history.Fault)            {}
func (e everyChecker) Violations() []Violation         { return nil }
func (e everyChecker) Finish() Verdict                 { return Verdict{} }
func (e everyChecker) Event(x *history.Event)          { e.each(func(c Checker) { c.Event(x) }) }
func (e everyChecker) Operation(op *history.Operation) { e.each(func(c Checker) { c.Operation(op) }) }
func (e everyChecker) each(do func(Checker)) {
	for _, c := range e {
		do(c)
	}
}

func (e everyChecker) Metric(m *history.Metric) {
	e.each(func(c Checker) {
		if x, ok := c.(Metered); ok {
			x.Metric(m)
		}
	})
}
