package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// ordinary draws operations as a long run has them, in any order, and a few peculiar ones.
func ordinary(t *rapid.T) []*Operation {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *Operation {
		n := func(name string, low, high int64) int64 { return rapid.Int64Range(low, high).Draw(t, name) }
		op := &Operation{
			ID: fmt.Sprintf("p%d.%d", n("client", 1, 3), n("number", 0, 1<<40)), Client: rapid.SampledFrom([]string{"produce-1", "consume-1", ""}).Draw(t, "name"),
			Node: int32(n("node", 0, 3)), Invoke: n("invoke", 0, 1<<62), Outcome: OK,
		}
		op.Complete = op.Invoke + n("took", 0, 1<<40)
		switch n("kind", 0, 9) {
		case 0:
			op.ID = rapid.SampledFrom([]string{"", "p", "p01", "p1.00", "p-5", "p99999999999999999999"}).Draw(t, "id")
		case 1:
			op.Outcome, op.Error = Unknown, "timed out"
		case 2:
			op.Meta = &MetaOp{Kind: MetaDescribe, Name: "x"}
			return op
		}
		topic, partition := rapid.SampledFrom([]string{"orders", "payments"}).Draw(t, "topic"), int32(n("partition", 0, 2))
		if n("what", 0, 1) == 0 {
			p := &ProduceOp{
				Topic: topic, Partition: partition, Producer: uint32(n("producer", 0, 2)), Incarnation: uint32(n("incarnation", 0, 2)),
				FirstSeq: uint64(n("seq", 0, 1<<40)), Count: int32(n("count", 0, 4)), Acked: n("acked", -1, 1<<40), Acks: int16(n("acks", -1, 1)),
				Idempotent: n("idempotent", 0, 1) == 1, Disordered: n("disordered", 0, 9) == 0,
			}
			first, gap := n("offset", -1, 1<<40), n("gap", 0, 9)
			for i := range p.Count {
				p.Offsets = append(p.Offsets, first+int64(i))
			}
			if gap == 0 && p.Count > 1 {
				p.Offsets[1] = -1
			}
			op.Produce = p
			return op
		}
		c := &ConsumeOp{Topic: topic, Partition: partition, LeaderEpoch: int32(n("epoch", -1, 9)), From: n("from", 0, 1<<40), High: n("high", -1, 1<<40)}
		c.To = c.From + n("read", 0, 1000)
		for range n("spans", 0, 3) {
			c.Spans = append(c.Spans, Span{Offset: n("span", 0, 1<<40), Producer: uint32(n("by", 0, 2)), Incarnation: uint32(n("life", 0, 2)), Seq: uint64(n("first", 0, 1<<40)), Count: int32(n("records", 1, 9))})
		}
		if n("bad", 0, 9) == 0 {
			c.Bad = []BadRecord{{Offset: 3, Why: "corrupt"}}
		}
		op.Consume = c
		return op
	}), 0, 60).Draw(t, "operations")
}

func TestPackedOperationsAreReadBackInTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ordinary(t)
		flushed := rapid.IntRange(0, 60).Draw(t, "flushed")
		l := &lines{pack: newPacker()}
		var file bytes.Buffer
		l.w = bufio.NewWriter(&file)
		for i, op := range want {
			l.operation(op)
			if i == flushed {
				l.flush()
			}
		}
		if l.flush(); l.err != nil {
			t.Fatal(l.err)
		}
		var got []*Operation
		cut, err := readLines(&file, "", operationLine(func(op *Operation) error { got = append(got, op); return nil }))
		if err != nil || cut {
			t.Fatal(cut, err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

// produced is the i-th of many operations of a busy run.
func produced(i int) *Operation {
	at, part := int64(i/12*5), int32(i%12)
	return &Operation{
		ID: fmt.Sprintf("p%d.%d", i%4+1, i), Client: fmt.Sprintf("produce-%d", i%4+1), Invoke: 1_700_000_000_000_000_000 + int64(i)*1_000_003, Complete: 1_700_000_000_004_000_000 + int64(i)*1_000_007, Outcome: OK,
		Produce: &ProduceOp{Topic: "orders", Partition: part, Producer: uint32(i%4 + 1), FirstSeq: uint64(at), Count: 5, Offsets: []int64{at, at + 1, at + 2, at + 3, at + 4}, Acked: at - 1, Acks: -1},
	}
}

func TestPacksEndBeforeWhatIsPeculiarAndAreBounded(t *testing.T) {
	dir := t.TempDir()
	r, err := NewPackedRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3*maxPack + 10
	for i := range n {
		op := produced(i)
		if i == 2*maxPack+5 {
			op.Outcome = Unknown
		}
		r.Operation(op)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var packs []int
	var single int
	var notes Notes
	if err := readFile(dir, HistoryFile, func(line []byte) error {
		if !isPack(line) {
			single++
			return nil
		}
		var k pack
		err := json.Unmarshal(line, &k)
		packs = append(packs, len(k.Kinds))
		return err
	}, &notes); err != nil {
		t.Fatal(err)
	}
	if want := []int{maxPack, maxPack, 5, maxPack, 4}; !slices.Equal(packs, want) || single != 1 {
		t.Errorf("packs of %v and %d single lines; want %v and 1", packs, single, want)
	}
	size := func(name string) int64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	if got := size(HistoryFile + Compressed); got > n*12 {
		t.Errorf("%d operations take %d bytes", n, got)
	}
	if size(FaultsFile) != 0 {
		t.Error("faults are not plain")
	}
}

// A runner that is killed leaves what it has flushed, and the file may end anywhere behind that.
func TestACutCompressedFileIsReadAsFarAsItGoes(t *testing.T) {
	whole := t.TempDir()
	r, err := NewPackedRecorder(whole)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64 // of the file after each flush
	const each, flushes = 12, 4
	for i := range each * flushes {
		r.Operation(produced(i))
		if i%each == each-1 {
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(filepath.Join(whole, HistoryFile+Compressed))
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, st.Size())
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(whole, HistoryFile+Compressed))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cuts := []int{0, 1, len(data) - 1}
	for _, size := range sizes {
		cuts = append(cuts, int(size)-1, int(size), int(size)+1, int(size)+4)
	}
	for cut := 2; cut < len(data); cut += 11 {
		cuts = append(cuts, cut)
	}
	for _, cut := range cuts {
		if cut >= len(data) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, HistoryFile+Compressed), data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		got, notes, err := readAll(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		least := 0
		for _, size := range sizes {
			if int64(cut) >= size {
				least += each
			}
		}
		if len(got.Operations) < least {
			t.Fatalf("cut at %d: %d operations; %d had been flushed", cut, len(got.Operations), least)
		}
		for i, op := range got.Operations {
			if d := cmp.Diff(produced(i), op); d != "" {
				t.Fatalf("cut at %d: %s", cut, d)
			}
		}
		if !slices.Contains(notes.Truncated, HistoryFile+Compressed) || !strings.Contains(strings.Join(notes.Lines(), "\n"), "has no end") {
			t.Fatalf("cut at %d: %v", cut, notes.Lines())
		}
	}
	if len(sizes) != flushes || sizes[0] == 0 {
		t.Fatal(sizes)
	}
}

func TestADamagedCompressedFileIsNotTakenForAWholeOne(t *testing.T) {
	dir := t.TempDir()
	r, err := NewPackedRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		r.Operation(produced(i))
		if i%100 == 99 {
			r.Flush()
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, HistoryFile+Compressed)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 4; at < len(data); at += 61 {
		bad := bytes.Clone(data)
		bad[at] ^= 0xff
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, notes, err := readAll(dir); err == nil && len(notes.Truncated) == 0 {
			t.Errorf("the byte at %d was changed, and nobody noticed", at)
		}
	}
}

func TestPacksThatDoNotFitAreRefused(t *testing.T) {
	k := newPacker()
	for i := range 3 {
		if !k.add(produced(i)) {
			t.Fatal("an ordinary operation was not taken")
		}
	}
	good, err := k.line()
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack(good, func(*Operation) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		`"pack":"ppp"`:        `"pack":"ppc"`,
		`"pack":"ppp",`:       `"pack":"pp",`,
		`"sender":[0,1,2]`:    `"sender":[0,1,3]`,
		`"partition":[0,1,2]`: `"partition":[0,-1,2]`,
		`"count":[5,5,5]`:     `"count":[5,2000000,5]`,
		`"count":[5,5`:        `"count":[5,-5`,
		`"spans":[0,0,0]`:     `"spans":[0,1,0]`,
		`"offset":[0`:         `"offset":[0,0`,
		`"seq":[0,`:           `"seq":[`,
	} {
		bad := strings.Replace(string(good), from, to, 1)
		if bad == string(good) {
			t.Fatalf("%s is not in %s", from, good)
		}
		if err := unpack([]byte(bad), func(*Operation) error { return nil }); err == nil {
			t.Errorf("%s was taken", to)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	k := newPacker()
	for i := range 3 {
		k.add(produced(i))
	}
	k.add(&Operation{ID: "f1.7", Client: "consume-1", Node: 2, Invoke: 5, Complete: 9, Outcome: OK, Consume: &ConsumeOp{Topic: "orders", From: 40, To: 45, High: 45, Spans: []Span{{Offset: 40, Producer: 2, Seq: 20, Count: 5}}}})
	line, err := k.line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"pack":"c","senders":[{"id":"f"}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		unpack(line, func(op *Operation) error { return op.check() })
	})
}
