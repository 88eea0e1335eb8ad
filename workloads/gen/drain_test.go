package gen

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"soak/history"
)

// replicas is what the drain reads: log ends by replica, high watermarks by partition.
type replicas struct {
	end  map[string]int64
	high map[string]int64
}

func cell(d *history.DrainOp) (replica, partition string) {
	partition = fmt.Sprint(d.Topic, d.Partition)
	return fmt.Sprint(partition, "@", d.Replica), partition
}

func (r replicas) read(op *history.Operation) {
	d := op.Drain
	at, part := cell(d)
	op.Outcome = history.OK
	d.To = min(d.From+100, r.end[at])
	d.LogEnd, d.High = r.end[at], r.high[part]
	d.End = d.To == r.end[at]
}

// TestDrainReadsEverythingInOrder: whatever fails in between, each replica is read from 0 to its end without a gap.
func TestDrainReadsEverythingInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := replicas{map[string]int64{}, map[string]int64{}}
		for p := range int32(3) {
			part := fmt.Sprint("orders", p)
			r.high[part] = rapid.Int64Range(0, 1000).Draw(t, "high")
			for n := int32(1); n <= 3; n++ {
				r.end[fmt.Sprint(part, "@", n)] = r.high[part] + rapid.Int64Range(0, 50).Draw(t, "beyond")
			}
		}
		d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 3}}, Replicas: []int32{1, 2, 3}, Start: begin})
		next := map[string]int64{}
		now, failures := begin, rapid.IntRange(0, 20).Draw(t, "failures")
		for steps := 0; !d.Finished(); steps++ {
			if steps > 10_000 {
				t.Fatal("no end")
			}
			ops, wake := d.Next(now)
			busy := map[int32]int{}
			for _, op := range ops {
				if busy[op.Node]++; busy[op.Node] > drainPerNode {
					t.Fatalf("too many pieces at n%d", op.Node)
				}
				at, _ := cell(op.Drain)
				if op.Drain.From != next[at] || op.Node != op.Drain.Replica {
					t.Fatalf("%s reads on at %d, want %d", at, op.Drain.From, next[at])
				}
				if failures > 0 && rapid.Bool().Draw(t, "fails") {
					op.Outcome = history.Unknown
					failures--
				} else {
					r.read(op)
					next[at] = op.Drain.To
				}
				d.Done(now, op)
			}
			if len(ops) == 0 {
				now = max(now+1, wake)
			}
		}
		if d.GaveUp() {
			t.Fatal("gave up after 20 failures, which are 4 s at most")
		}
		for at, end := range r.end {
			if next[at] != end {
				t.Fatalf("%s was read to %d of %d", at, next[at], end)
			}
		}
	})
}

// TestDrainWaitsForAReplicaThatIsBehind: its log ends below a high watermark that another replica has named.
func TestDrainWaitsForAReplicaThatIsBehind(t *testing.T) {
	r := replicas{map[string]int64{"orders0@1": 50, "orders0@2": 40}, map[string]int64{"orders0": 50}}
	d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 1}}, Replicas: []int32{1, 2}, Start: begin})
	now := begin
	for !d.Finished() {
		ops, wake := d.Next(now)
		for _, op := range ops {
			r.read(op)
			d.Done(now, op)
		}
		if now > begin+2*second {
			r.end["orders0@2"] = 50
		}
		if len(ops) == 0 {
			now = max(now+1, wake)
		}
	}
	if d.GaveUp() || now < begin+2*second {
		t.Errorf("finished after %d ns, gave up: %t", now-begin, d.GaveUp())
	}
}

// TestDrainStopsOnlyWhenNothingProgresses: one replica never answers, another brings a little every four seconds.
func TestDrainStopsOnlyWhenNothingProgresses(t *testing.T) {
	r := replicas{map[string]int64{"orders0@1": 1000, "orders0@2": 1000}, map[string]int64{"orders0": 1000}}
	d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 1}}, Replicas: []int32{1, 2}, Start: begin})
	now, lastProgress := begin, begin-4*second
	for {
		ops, wake := d.Next(now)
		if d.Finished() {
			break
		}
		for _, op := range ops {
			op.Outcome = history.Failed
			if op.Node == 1 && now >= lastProgress+4*second {
				r.read(op)
				lastProgress = now
			}
			d.Done(now, op)
		}
		if len(ops) == 0 {
			now = max(now+1, wake)
		}
	}
	if !d.GaveUp() || d.Left() != 1 {
		t.Errorf("gave up %t with %d left, want one replica unread", d.GaveUp(), d.Left())
	}
	if now != lastProgress+5*second || lastProgress < begin+9*4*second {
		t.Errorf("stopped %d s after the last progress, which was at %d s", (now-lastProgress)/second, (lastProgress-begin)/second)
	}
}

// TestDrainReadsAgainWhatMayHaveBeenCut: a replica ends with a tail above its high watermark and below that of another.
func TestDrainReadsAgainWhatMayHaveBeenCut(t *testing.T) {
	d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 1}}, Replicas: []int32{1, 2}, Start: begin})
	done := func(now int64, op *history.Operation, to, high int64, end bool) {
		op.Outcome, op.Drain.To, op.Drain.High, op.Drain.End = history.OK, to, high, end
		d.Done(now, op)
	}
	ops, _ := d.Next(begin)
	done(begin, ops[1], 4, 2, true)
	done(begin, ops[0], 6, 6, true)
	ops, _ = d.Next(begin)
	if len(ops) != 1 || ops[0].Drain.Replica != 2 || ops[0].Drain.From != 2 {
		t.Fatalf("read on with %+v, want n2 from its high watermark, 2", ops[0].Drain)
	}
	// A piece that is not the end goes on where it stopped, or a long tail would be read for ever.
	done(begin, ops[0], 3, 2, false)
	ops, _ = d.Next(begin + second)
	if len(ops) != 1 || ops[0].Drain.From != 3 {
		t.Fatalf("read on with %+v, want from 3", ops)
	}
	done(begin+second, ops[0], 4, 2, true)
	if ops, _ := d.Next(begin + second); len(ops) != 0 {
		t.Errorf("read %+v at once although nothing was new", ops[0].Drain)
	}
	ops, _ = d.Next(begin + 2*second)
	done(begin+2*second, ops[0], 6, 6, true)
	if ops[0].Drain.From != 2 || !d.Finished() || d.GaveUp() {
		t.Errorf("read from %d, finished %t, gave up %t", ops[0].Drain.From, d.Finished(), d.GaveUp())
	}
}

// TestDrainRefusesToGoBack: a piece that ends before it began is an answer to something else.
func TestDrainRefusesToGoBack(t *testing.T) {
	d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 1}}, Replicas: []int32{1}, Start: begin})
	ops, _ := d.Next(begin)
	ops[0].Outcome, ops[0].Drain.To, ops[0].Drain.High = history.OK, 10, 20
	d.Done(begin, ops[0])
	ops, _ = d.Next(begin)
	ops[0].Outcome, ops[0].Drain.To, ops[0].Drain.End = history.OK, 5, true
	d.Done(begin, ops[0])
	ops, _ = d.Next(begin + second)
	if len(ops) != 1 || ops[0].Drain.From != 10 {
		t.Errorf("read on with %+v, want from 10", ops)
	}
}

func TestDrainOfEmptyLogsEnds(t *testing.T) {
	r := replicas{map[string]int64{}, map[string]int64{}}
	d := NewDrain(DrainConfig{Topics: []Topic{{"orders", 2}}, Replicas: []int32{1, 2, 3}, Start: begin})
	ops, _ := d.Next(begin)
	for _, op := range ops {
		r.read(op)
		d.Done(begin, op)
	}
	if len(ops) != 6 || !d.Finished() || d.GaveUp() {
		t.Errorf("%d pieces, finished %t", len(ops), d.Finished())
	}
}
