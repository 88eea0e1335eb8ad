package producers_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
)

func sent(id int64, epoch int16, sequence, records int32) batch.Header {
	return batch.Header{ProducerID: id, ProducerEpoch: epoch, BaseSequence: sequence, Records: records, LastOffsetDelta: records - 1}
}

// Each story is what a log holds, in order, and what is said of a batch that is sent then.
func TestJudge(t *testing.T) {
	type batches []batch.Header
	for _, c := range []struct {
		name    string
		log     batches
		then    batch.Header
		verdict producers.Verdict
		offset  int64 // of a duplicate
	}{
		{"the first batch", nil, sent(7, 0, 0, 3), producers.Append, 0},
		{"a later batch of nobody known", nil, sent(7, 0, 3, 3), producers.Unknown, 0},
		{"the next", batches{sent(7, 0, 0, 3)}, sent(7, 0, 3, 1), producers.Append, 0},
		{"the same", batches{sent(7, 0, 0, 3)}, sent(7, 0, 0, 3), producers.Duplicate, 0},
		{"one before the last", batches{sent(7, 0, 0, 3), sent(8, 0, 0, 5), sent(7, 0, 3, 1), sent(7, 0, 4, 2)}, sent(7, 0, 3, 1), producers.Duplicate, 8},
		{"the same sequence with fewer records", batches{sent(7, 0, 0, 3)}, sent(7, 0, 0, 2), producers.OutOfOrder, 0},
		{"a gap", batches{sent(7, 0, 0, 3)}, sent(7, 0, 4, 1), producers.OutOfOrder, 0},
		{"five are remembered", batches{sent(7, 0, 0, 1), sent(7, 0, 1, 1), sent(7, 0, 2, 1), sent(7, 0, 3, 1), sent(7, 0, 4, 1)}, sent(7, 0, 0, 1), producers.Duplicate, 0},
		{"a sixth is not", batches{sent(7, 0, 0, 1), sent(7, 0, 1, 1), sent(7, 0, 2, 1), sent(7, 0, 3, 1), sent(7, 0, 4, 1), sent(7, 0, 5, 1)}, sent(7, 0, 0, 1), producers.OutOfOrder, 0},
		{"an old epoch", batches{sent(7, 1, 0, 1)}, sent(7, 0, 1, 1), producers.Fenced, 0},
		{"a new epoch", batches{sent(7, 0, 0, 1)}, sent(7, 1, 0, 1), producers.Append, 0},
		{"a new epoch in the middle", batches{sent(7, 0, 0, 1)}, sent(7, 1, 1, 1), producers.OutOfOrder, 0},
		{"what an older epoch sent is not known again", batches{sent(7, 0, 0, 1), sent(7, 0, 1, 1), sent(7, 1, 0, 1)}, sent(7, 1, 1, 1), producers.Append, 0},
		{"behind the last sequence comes 0", batches{sent(7, 0, math.MaxInt32, 1)}, sent(7, 0, 0, 1), producers.Append, 0},
		{"a batch that goes beyond it", batches{sent(7, 0, math.MaxInt32-1, 4)}, sent(7, 0, 2, 1), producers.Append, 0},
		{"and not one too few", batches{sent(7, 0, math.MaxInt32-1, 4)}, sent(7, 0, 1, 1), producers.OutOfOrder, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := producers.New(0)
			at := int64(0)
			for _, h := range c.log {
				h.BaseOffset = at
				at = h.NextOffset()
				table.Add(h)
			}
			verdict, first := table.Judge(c.then)
			if verdict != c.verdict || verdict == producers.Duplicate && first.Offset != c.offset {
				t.Errorf("verdict %d, offset %d; want %d, %d", verdict, first.Offset, c.verdict, c.offset)
			}
		})
	}
}

func TestPlainBatchesLeaveNoTrace(t *testing.T) {
	table := producers.New(0)
	table.Add(sent(-1, -1, -1, 3))
	if table.Len() != 0 || !table.Equal(nil) {
		t.Errorf("%d producers", table.Len())
	}
}

// Against a model that keeps every batch of every producer: a batch is appended once, in order without a gap, duplicates of the last five are found where
// they stand, and two tables made from the same log are equal, also where the log is cut. Of too many producers those whose last batch is
// oldest are forgotten.
func TestAgainstAModel(t *testing.T) {
	const limit = 3
	rapid.Check(t, func(t *rapid.T) {
		table := producers.New(limit)
		var log []batch.Header
		known := func(id int64) (hs []batch.Header) { // its batches, if it is among those not forgotten
			for i := len(log) - 1; i >= 0; i-- {
				h := log[i]
				if h.ProducerID == id {
					hs = append([]batch.Header{h}, hs...)
				}
			}
			if len(hs) == 0 {
				return nil
			}
			// Replay who was forgotten when.
			var order []int64
			begun := map[int64]int{}
			for i, h := range log {
				at := -1
				for j, o := range order {
					if o == h.ProducerID {
						at = j
					}
				}
				if at >= 0 {
					order = append(order[:at:at], order[at+1:]...)
				} else {
					begun[h.ProducerID] = i
					if len(order) == limit {
						order = order[1:]
					}
				}
				order = append(order, h.ProducerID)
			}
			for _, o := range order {
				if o == id {
					hs = nil
					for _, h := range log[begun[id]:] {
						if h.ProducerID == id {
							hs = append(hs, h)
						}
					}
					return hs
				}
			}
			return nil
		}
		start := rapid.SampledFrom([]int32{0, math.MaxInt32 - 6}).Draw(t, "start")
		at := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.Int64Range(0, 4).Draw(t, "producer")
			records := rapid.Int32Range(1, 3).Draw(t, "records")
			before := known(id)
			h := sent(id, 0, 0, records)
			switch rapid.SampledFrom([]string{"next", "next", "next", "again", "gap", "begin"}).Draw(t, "what") {
			case "next":
				if n := len(before); n > 0 {
					h.BaseSequence = producers.Next(before[n-1].BaseSequence, before[n-1].Records)
				}
			case "again":
				if n := len(before); n > 0 {
					h = before[rapid.IntRange(0, n-1).Draw(t, "which")]
				}
			case "gap":
				h.BaseSequence = rapid.Int32Range(1, 20).Draw(t, "sequence")
			case "begin":
				if len(before) == 0 && start != 0 { // as if it had sent all before, in a log that begins later
					h.BaseSequence = start
					h.BaseOffset, at = at, at+int64(records)
					table.Add(h)
					log = append(log, h)
					continue
				}
			}
			verdict, first := table.Judge(h)
			want := fmt.Sprint(producers.Append)
			n := len(before)
			switch {
			case n == 0 && h.BaseSequence != 0:
				want = fmt.Sprint(producers.Unknown)
			case n > 0:
				want = fmt.Sprint(producers.OutOfOrder)
				for _, b := range before[max(0, n-producers.Remembered):] {
					if b.BaseSequence == h.BaseSequence && b.Records == h.Records {
						want = fmt.Sprint(producers.Duplicate, " at ", b.BaseOffset)
						break
					}
				}
				// All that was appended before, the wrap included.
				if int64(h.BaseSequence) == (int64(before[n-1].BaseSequence)+int64(before[n-1].Records))%(1<<31) {
					want = fmt.Sprint(producers.Append)
				}
			}
			got := fmt.Sprint(verdict)
			if verdict == producers.Duplicate {
				got = fmt.Sprint(verdict, " at ", first.Offset)
			}
			if got != want {
				t.Fatalf("producer %d sends sequence %d (%d records) after %+v: verdict %s, want %s", id, h.BaseSequence, h.Records, before, got, want)
			}
			if verdict == producers.Append {
				h.BaseOffset, at = at, at+int64(h.Records)
				table.Add(h)
				log = append(log, h)
			}
			if table.Len() > limit {
				t.Fatalf("%d producers, the limit is %d", table.Len(), limit)
			}
		}
		again, cut := producers.New(limit), producers.New(limit)
		for i, h := range log {
			again.Add(h)
			if i < len(log)-1 {
				cut.Add(h)
			}
		}
		if !again.Equal(table) {
			t.Fatal("the table made from the log anew is another one")
		}
		if len(log) > 0 && cut.Equal(table) {
			t.Fatal("the last batch made no difference")
		}
	})
}
