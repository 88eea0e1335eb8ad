package partlog

import (
	"testing"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/broker/partlog/producers"
	"soak/internal/vfs"
)

// What a log knows of producers is the same whether it was found at Open, with everything else, or read from the headers later; and after a
// truncation it is that of what is left. Some batches are longer than is read at once.
func TestProducersOfALog(t *testing.T) {
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	o := Options{SegmentBytes: 300 << 10}
	l, err := Open(fsys, "/d/log", o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Producers(); err != nil || got.Len() != 0 {
		t.Fatalf("an empty log: %d producers, error %v", got.Len(), err)
	}
	long := string(make([]byte, 100<<10))
	want := producers.New(0)
	var ends []int64
	var tables []*producers.Table // by number of batches
	for i := range 40 {
		value := "x"
		if i%7 == 3 {
			value = long
		}
		b := batchtest.Make(l.End(), 0, value, "y")
		if i%4 != 0 {
			b = batchtest.By(b, int64(i%3), 0, int32(i))
		}
		if err := l.Append(l.End(), b); err != nil {
			t.Fatal(err)
		}
		h, err := batch.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		want.Add(h)
		upTo, err := l.Producers()
		if err != nil || !upTo.Equal(want) {
			t.Fatalf("after batch %d: read %+v, error %v", i, upTo, err)
		}
		ends, tables = append(ends, l.End()), append(tables, upTo)
	}
	if len(l.segs) < 2 {
		t.Fatalf("%d segments: the test proves nothing", len(l.segs))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{39, 25, 24, 3, 1} { // batches left
		l, err := Open(fsys, "/d/log", o)
		if err != nil {
			t.Fatal(err)
		}
		found, err := l.Producers()
		if err != nil || !found.Equal(want) {
			t.Fatalf("at Open: %+v, error %v", found, err)
		}
		if _, err := l.Truncate(ends[n-1]); err != nil {
			t.Fatal(err)
		}
		want = tables[n-1]
		if left, err := l.Producers(); err != nil || !left.Equal(want) {
			t.Fatalf("with %d batches left: %+v, error %v", n, left, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A truncation right after Open, which nobody asked before.
	l, err = Open(fsys, "/d/log", o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if left, err := l.Producers(); err != nil || left.Len() != 0 {
		t.Fatalf("with nothing left: %d producers, error %v", left.Len(), err)
	}
}

// What remembering producers costs when a log is opened, and what it costs to read them again after a truncation: 64 MiB in batches of about 1 KiB,
// of a thousand idempotent producers or of plain ones.
func BenchmarkProducers(b *testing.B) {
	const batches = 64 << 10
	for _, idempotent := range []bool{false, true} {
		fsys := vfs.OS()
		dir := b.TempDir() + "/log"
		l, err := Open(fsys, dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		value := string(make([]byte, 950))
		for i := range batches {
			data := batchtest.Make(l.End(), 0, value)
			if idempotent {
				data = batchtest.By(data, int64(i%1000), 0, int32(i/1000))
			}
			if err := l.Append(l.End(), data); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		name := map[bool]string{false: "plain", true: "idempotent"}[idempotent]
		b.Run("open/"+name, func(b *testing.B) {
			for b.Loop() {
				l, err := Open(fsys, dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				l.Close()
			}
		})
		b.Run("again/"+name, func(b *testing.B) {
			l, err := Open(fsys, dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if _, err := l.Producers(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := l.Producers(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
