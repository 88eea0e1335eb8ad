package checkers

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"soak/history"
)

// smallSpill writes to a file after a few records, in blocks of a few, and compares a few offsets at a time.
func smallSpill(dir string) *spill {
	s := newSpill(dir)
	s.limit, s.block, s.stretch, s.fetches = 200, 100, 16, 3
	return s
}

func drawOperation(t *rapid.T, name string) *history.Operation {
	id := rapid.SampledFrom([]string{"p1.7", "p1.0", "p1.07", "consume-99", "", "a", "3", "x99999999999999999999"})
	op := &history.Operation{
		ID: id.Draw(t, "id"), Client: rapid.SampledFrom([]string{"", "produce-1", "c"}).Draw(t, "client"), Node: rapid.Int32Range(0, 5).Draw(t, "node"),
		Invoke: rapid.Int64().Draw(t, "invoke"), Complete: rapid.Int64().Draw(t, "complete"), Error: rapid.SampledFrom([]string{"", "no answer", "a\"b\n"}).Draw(t, "error"),
		Outcome: rapid.SampledFrom([]history.Outcome{history.OK, history.Failed, history.Unknown, "", "odd"}).Draw(t, "outcome"),
	}
	spans := func() (out []history.Span) {
		for range rapid.IntRange(0, 3).Draw(t, "spans") {
			out = append(out, history.Span{Offset: rapid.Int64().Draw(t, "offset"), Producer: rapid.Uint32().Draw(t, "producer"), Incarnation: rapid.Uint32().Draw(t, "incarnation"),
				Seq: rapid.Uint64().Draw(t, "seq"), Count: rapid.Int32().Draw(t, "count")})
		}
		return out
	}
	if rapid.Bool().Draw(t, name) {
		c := &history.ConsumeOp{Topic: "orders", Partition: 3, LeaderEpoch: rapid.Int32().Draw(t, "epoch"), From: rapid.Int64().Draw(t, "from"), To: rapid.Int64().Draw(t, "to"), High: rapid.Int64().Draw(t, "high"), Spans: spans()}
		if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
			c.Bad = []history.BadRecord{{Offset: 3, Why: "corrupt"}}
		}
		op.Consume = c
		return op
	}
	p := &history.ProduceOp{Topic: "orders", Partition: 3, Producer: rapid.Uint32().Draw(t, "producer"), Incarnation: rapid.Uint32().Draw(t, "incarnation"), FirstSeq: rapid.Uint64().Draw(t, "seq"),
		Count: rapid.Int32().Draw(t, "count"), Acked: rapid.Int64().Draw(t, "acked"), Acks: rapid.Int16().Draw(t, "acks"), Idempotent: rapid.Bool().Draw(t, "idempotent"), Disordered: rapid.Bool().Draw(t, "disordered")}
	first := rapid.Int64Range(-1, 1<<40).Draw(t, "first")
	for i := range rapid.Int64Range(0, 4).Draw(t, "offsets") {
		p.Offsets = append(p.Offsets, first+i)
	}
	if len(p.Offsets) > 1 && rapid.Bool().Draw(t, "apart") {
		p.Offsets[1] = rapid.Int64().Draw(t, "second")
	}
	op.Produce = p
	return op
}

// What waits on a tape comes back as it was, in its order, and one by one with its ID.
func TestATapeGivesBackWhatItTook(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := smallSpill(dir)
		defer s.close()
		tape := &tape{partition: partition{"orders", 3}, spill: s}
		var want []string
		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			op := drawOperation(t, "fetch")
			want = append(want, opLine(op))
			tape.add(op)
		}
		seen := 0
		tape.each(func(i int, op *history.Operation) {
			x := *op
			if x.ID == "" {
				x.ID = tape.at(i).ID
			}
			if got := opLine(&x); i != seen || got != want[i] {
				t.Fatalf("operation %d is %s, want %s", i, got, want[i])
			}
			seen++
		})
		if seen != len(want) || tape.len() != seen {
			t.Fatalf("%d operations of %d", seen, len(want))
		}
		i := rapid.IntRange(0, seen-1).Draw(t, "at")
		if got := opLine(tape.at(i)); got != want[i] {
			t.Fatalf("operation %d alone is %s, want %s", i, got, want[i])
		}
		// No operation with an offset in a stretch is passed over.
		from := rapid.Int64Range(0, 1<<40).Draw(t, "from")
		w := stretchOf{from, from + 1 + rapid.Int64Range(0, 1<<39).Draw(t, "long")}
		touched := map[int]bool{}
		tape.touching(w, func(i int, _ *history.Operation) { touched[i] = true })
		tape.each(func(i int, op *history.Operation) {
			if op.Produce != nil && slices.ContainsFunc(op.Produce.Offsets, w.holds) && !touched[i] {
				t.Fatalf("operation %d has an offset in %v", i, w)
			}
		})
	})
}

func TestAnEventTapeGivesBackWhatItTook(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := smallSpill(dir)
		defer s.close()
		lines := timelines{sequences: newSequences(), of: map[boot]*eventTape{}, topics: topicLives{}, spill: s}
		var want []string
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			e := &history.Event{Node: 2, Boot: 1 << 40, Seq: rapid.Uint64Range(1, 100).Draw(t, "seq"), Time: rapid.Int64().Draw(t, "time")}
			if rapid.Bool().Draw(t, "view") {
				e.Body = &history.Partition{Topic: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"), Partition: rapid.Int32().Draw(t, "partition"), Role: "leader", Leader: rapid.Int32().Draw(t, "leader"),
					LeaderEpoch: rapid.Int32().Draw(t, "epoch"), PartitionEpoch: rapid.Int32().Draw(t, "pepoch"), ISR: rapid.SliceOfN(rapid.Int32(), 0, 3).Draw(t, "isr"),
					HighWatermark: rapid.Int64().Draw(t, "high"), LogEnd: rapid.Int64().Draw(t, "end"), LogStart: rapid.Int64().Draw(t, "start"), Cause: rapid.SampledFrom([]string{"", "periodic"}).Draw(t, "cause")}
			} else {
				e.Body = &history.Apply{Index: rapid.Uint64().Draw(t, "index"), Command: "create_topic", Key: "a", Outcome: history.Refused, Changes: []history.PartitionChange{{Topic: "a", ISR: []int32{1}}}}
			}
			want = append(want, string(history.AppendEvent(nil, e)))
			lines.see(e, true)
		}
		tape := lines.of[boot{2, 1 << 40}]
		var got []string
		tape.each(func(i int, e *history.Event) bool {
			got = append(got, string(history.AppendEvent(nil, e)))
			return true
		})
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		i := rapid.IntRange(0, len(want)-1).Draw(t, "at")
		if got := string(history.AppendEvent(nil, tape.at(i))); got != want[i] {
			t.Fatalf("event %d is %s, want %s", i, got, want[i])
		}
		var seqs []uint64
		lines.walk(boot{2, 1 << 40}, func(e *history.Event, _ uint64, _ bool) { seqs = append(seqs, e.Seq) })
		if len(seqs) != len(want) || !slices.IsSorted(seqs) {
			t.Fatalf("walked in the order %v", seqs)
		}
	})
}

// brokenRun draws a history of sends, fetches and reads in which much may be wrong.
func brokenRun(t *rapid.T) *story {
	s := newStory()
	s.run.Nodes = 3
	s.run.RecordTopics = []history.TopicInfo{{Name: "orders", Partitions: 2, Replicas: []int32{1, 2}}}
	s.run.Contract.Idempotent = true
	rare := func(what string) bool { return rapid.IntRange(0, 24).Draw(t, what) == 0 }
	type put struct {
		producer uint32
		seq      uint64
	}
	log := map[int32][]put{}
	next := map[put]uint64{}
	s.run.Phases = []history.Phase{{Name: "start", Start: 1, End: 2}, {Name: "steady", Start: s.now, End: s.now + 1<<50}}
	for range rapid.IntRange(1, 60).Draw(t, "operations") {
		p, by := rapid.Int32Range(0, 1).Draw(t, "partition"), rapid.Uint32Range(1, 2).Draw(t, "producer")
		if rapid.IntRange(0, 3).Draw(t, "fetch") == 0 && len(log[p]) > 0 {
			from := rapid.IntRange(0, len(log[p])-1).Draw(t, "from")
			f := &history.ConsumeOp{Topic: "orders", Partition: p, From: int64(from), To: int64(len(log[p])), High: int64(len(log[p]))}
			for at := from; at < len(log[p]); at++ {
				f.Spans = append(f.Spans, history.Span{Offset: int64(at), Producer: log[p][at].producer, Incarnation: 1, Seq: log[p][at].seq, Count: 1})
			}
			if rare("low") {
				f.High--
			}
			s.op(history.Operation{Node: 1, Consume: f})
			continue
		}
		count := rapid.Int32Range(1, 3).Draw(t, "count")
		op := history.Operation{Client: fmt.Sprint("produce-", by), Produce: &history.ProduceOp{Topic: "orders", Partition: p, Producer: by, Incarnation: 1, FirstSeq: next[put{by, uint64(p)}], Count: count,
			Acks: -1, Acked: -1, Idempotent: by == 1}}
		if rare("again") && op.Produce.FirstSeq > 0 {
			op.Produce.FirstSeq--
		}
		first := int64(len(log[p]))
		if rare("back") && first > 2 {
			first -= 2
		}
		fate := rapid.IntRange(0, 9).Draw(t, "fate")
		for i := range int64(count) {
			if fate < 8 {
				op.Produce.Offsets = append(op.Produce.Offsets, first+i)
			}
			if fate != 9 || rare("visible") {
				log[p] = append(log[p], put{by, op.Produce.FirstSeq + uint64(i)})
			}
		}
		next[put{by, uint64(p)}] = op.Produce.FirstSeq + uint64(count)
		switch fate {
		case 8:
			op.Outcome = history.Unknown
		case 9:
			op.Outcome, op.Error = history.Failed, "NOT_LEADER_OR_FOLLOWER"
		}
		s.op(op)
	}
	for p := range int32(2) {
		for node := int32(1); node <= 2; node++ {
			d := &history.DrainOp{Topic: "orders", Partition: p, Replica: node, High: int64(len(log[p])), LogEnd: int64(len(log[p]))}
			if rare("log start") { // of a topic that keeps its records
				d.LogStart = int64(len(log[p]))
			}
			for at, x := range log[p] {
				switch {
				case rare("hole"):
				case rare("other"):
					d.Spans = append(d.Spans, history.Span{Offset: int64(at), Producer: x.producer, Incarnation: 1, Seq: x.seq + 1, Count: 1})
				case rare("bad"):
					d.Bad = append(d.Bad, history.BadRecord{Offset: int64(at), Why: "corrupt"})
				default:
					d.Spans = append(d.Spans, history.Span{Offset: int64(at), Producer: x.producer, Incarnation: 1, Seq: x.seq, Count: 1})
				}
				if d.To = int64(at) + 1; at%5 == 4 && at+1 < len(log[p]) {
					s.op(history.Operation{Node: node, Drain: d})
					d = &history.DrainOp{Topic: "orders", Partition: p, Replica: node, From: d.To, High: d.High, LogEnd: d.LogEnd}
				}
			}
			d.End = true
			s.op(history.Operation{Node: node, Drain: d})
		}
	}
	return s
}

// What waits in a spill is judged as what is in memory, violations and their evidence included.
func TestASpilledRunIsJudgedAsOneInMemory(t *testing.T) {
	dir := t.TempDir()
	kinds := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		s := brokenRun(t)
		feed := func(of *shared) *Report {
			f := newFeeder(of.run, newOn(of))
			for _, op := range s.ops {
				f.Operation(op)
			}
			return f.Report()
		}
		want := feed(&shared{run: &s.run})
		for _, stretch := range []int64{auditStretch, 16} {
			small := smallSpill(dir)
			small.stretch = stretch
			got := feed(&shared{run: &s.run, spill: small})
			if small.failed() != nil {
				t.Fatal(small.failed())
			}
			small.close()
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%d offsets at a time: %s", stretch, d)
			}
		}
		for _, v := range want.Verdicts {
			for _, x := range v.Violations {
				kinds[x.Kind] = true
			}
		}
	})
	for _, kind := range []string{KindInconsistent, KindHole, KindPhantom, KindCorrupt, KindDuplicate, KindRealTime, KindSendOrder, KindReadChanged, KindStaleRead, KindFailedVisible, KindRetainedTooShort} {
		if !kinds[kind] {
			t.Errorf("no run was drawn in which %s was found", kind)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// smallDisk has room for so many bytes.
type smallDisk struct {
	data []byte
	room int
}

func (d *smallDisk) Write(b []byte) (int, error) {
	if n := d.room - len(d.data); n < len(b) {
		d.data = append(d.data, b[:n]...)
		return n, syscall.ENOSPC
	}
	d.data = append(d.data, b...)
	return len(b), nil
}

func (d *smallDisk) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(d.data).ReadAt(b, at)
}

func (d *smallDisk) Close() error { return nil }

// A disk that fills up in the middle of a block takes nothing from the verdict: what had no room is judged from memory.
func TestADiskThatFillsUpChangesNoVerdict(t *testing.T) {
	filled := 0
	rapid.Check(t, func(t *rapid.T) {
		s := brokenRun(t)
		feed := func(of *shared) *Report {
			f := newFeeder(of.run, newOn(of))
			for _, op := range s.ops {
				f.Operation(op)
			}
			return f.Report()
		}
		small, disk := smallSpill(""), &smallDisk{room: rapid.IntRange(0, 3000).Draw(t, "room")}
		small.file = disk
		want, got := feed(&shared{run: &s.run}), feed(&shared{run: &s.run, spill: small})
		if small.failed() != nil {
			t.Fatal(small.failed())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("with room for %d bytes: %s", disk.room, d)
		}
		if len(disk.data) == disk.room && disk.room > 0 {
			filled++
		}
	})
	if filled == 0 {
		t.Error("no disk was drawn that filled up")
	}
}

// Where no file can be made, or nothing written to it, a run is judged in memory, and a violated one stays so. What was written and cannot be read is fatal for the
// verdict, and the error says so.
func TestNoRoomForWhatMustWait(t *testing.T) {
	for _, missing := range []bool{false, true} {
		s := goodRun()
		if missing {
			s.run.RecordTopics = append(s.run.RecordTopics, history.TopicInfo{Name: "gone", Partitions: 1, Replicas: []int32{1}})
			s.op(history.Operation{Produce: &history.ProduceOp{Topic: "gone", Producer: 7, Incarnation: 1, Count: 1, Acks: -1, Acked: -1, Offsets: []int64{0}}})
			s.op(history.Operation{Node: 1, Drain: &history.DrainOp{Topic: "gone", Replica: 1, End: true}})
		}
		dir := folder(t, s)
		want, _, err := Judge(dir, &s.run)
		if err != nil || (want.Outcome == Violated) != missing {
			t.Fatalf("%+v, %v", want, err)
		}
		same := func(of *shared) {
			t.Helper()
			got, _, err := judgeOn(dir, of)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
		same(&shared{run: &s.run, spill: smallSpill(filepath.Join(t.TempDir(), "nowhere"))})
		of := &shared{run: &s.run, spill: smallSpill(t.TempDir())}
		of.spill.file = &smallDisk{} // no room at all
		same(of)

		of = &shared{run: &s.run, spill: smallSpill(t.TempDir())}
		file, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		of.spill.file = file
		if _, _, err := judgeOn(dir, of); err == nil || !strings.Contains(err.Error(), "reading the records that wait to be judged") {
			t.Errorf("%v", err)
		}
	}
}
