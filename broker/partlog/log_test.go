package partlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/broker/partlog"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/internal/vfs"
)

// small makes many segments and a sparse index out of a few batches.
var small = partlog.Options{SegmentBytes: 400, IndexBytes: 150}

func open(t *testing.T, fsys vfs.FS) *partlog.Log {
	t.Helper()
	l, err := partlog.Open(fsys, "log", small)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill appends n batches of two records, with the leader epoch rising after every third, and answers them.
func fill(t *testing.T, l *partlog.Log, n int) [][]byte {
	t.Helper()
	var bs [][]byte
	for i := range n {
		b := batchtest.Make(l.End(), int32(1+i/3), fmt.Sprintf("value-%d", i), "x")
		if err := l.Append(l.End(), b); err != nil {
			t.Fatal(err)
		}
		bs = append(bs, b)
	}
	return bs
}

// readAll reads the log from its start to its end, one answer after the other.
func readAll(t *testing.T, l *partlog.Log) []byte {
	t.Helper()
	var all []byte
	for o := l.Start(); o < l.End(); {
		data, err := l.Read(o, 1)
		if err != nil {
			t.Fatal(err)
		}
		hs, err := batch.Validate(data, 0)
		if err != nil || len(hs) == 0 || hs[0].BaseOffset != o {
			t.Fatalf("read at %d: %v, %+v", o, err, hs)
		}
		all = append(all, data...)
		o = hs[len(hs)-1].NextOffset()
	}
	return all
}

func segments(t *testing.T, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.List("log")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".log") })
}

func TestAppendReadReopen(t *testing.T) {
	m := vfs.NewMem()
	l := open(t, m)
	if l.Start() != 0 || l.End() != 0 {
		t.Fatalf("a new log holds %d to %d", l.Start(), l.End())
	}
	bs := fill(t, l, 20)
	want := bytes.Join(bs, nil)
	epochs := []partlog.EpochStart{{1, 0}, {2, 6}, {3, 12}, {4, 18}, {5, 24}, {6, 30}, {7, 36}}
	check := func(l *partlog.Log) {
		t.Helper()
		if got := readAll(t, l); !bytes.Equal(got, want) {
			t.Errorf("read %d bytes back, wrote %d", len(got), len(want))
		}
		if d := cmp.Diff(epochs, l.Epochs()); d != "" {
			t.Error(d)
		}
	}
	check(l)
	if n := len(segments(t, m)); n < 4 {
		t.Fatalf("only %d segments: rolling is not tested", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, m)
	check(l)
	fill(t, open(t, vfs.NewMem()), 1)
	if err := l.Append(40, batchtest.Make(40, 7, "more")); err != nil {
		t.Errorf("append after reopening: %v", err)
	}
}

func TestRead(t *testing.T) {
	l := open(t, vfs.NewMem())
	bs := fill(t, l, 20)
	size := len(bs[0])
	cases := []struct {
		offset int64
		limit  int
		want   [][]byte
	}{
		{0, 1, bs[:1]},
		{1, 1, bs[:1]}, // inside a batch: the batch that holds it
		{0, 0, bs[:1]},
		{0, -5, bs[:1]},
		{0, 2*size - 1, bs[:1]},
		{0, 2 * size, bs[:2]},
		{0, 2*size + batch.HeaderSize, bs[:2]}, // a header that fits without its records
		{3, 2 * size, bs[1:3]},
		{40, 100, nil}, // the log end
	}
	for _, c := range cases {
		got, err := l.Read(c.offset, c.limit)
		if err != nil || !bytes.Equal(got, bytes.Join(c.want, nil)) {
			t.Errorf("Read(%d, %d) = %d bytes, %v; want %d batches", c.offset, c.limit, len(got), err, len(c.want))
		}
	}
	for o := range int64(40) { // every offset is found, through the sparse index and across segments
		got, err := l.Read(o, 1)
		if err != nil || !bytes.Equal(got, bs[o/2]) {
			t.Errorf("Read(%d): %v, wrong batch", o, err)
		}
	}
	for _, o := range []int64{-1, 41} {
		if _, err := l.Read(o, 1); !errors.Is(err, partlog.ErrOutOfRange) {
			t.Errorf("Read(%d) = %v, want ErrOutOfRange", o, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	l := open(t, vfs.NewMem())
	fill(t, l, 4) // ends at 8 in epoch 2
	good := batchtest.Make(8, 2, "a")
	cases := []struct {
		name   string
		offset int64
		data   []byte
		want   error
	}{
		{"a gap", 9, batchtest.Make(9, 2, "a"), partlog.ErrOrder},
		{"an offset that is taken", 7, batchtest.Make(7, 2, "a"), partlog.ErrOrder},
		{"an offset that the batch does not have", 8, batchtest.Make(9, 2, "a"), partlog.ErrOrder},
		{"an epoch that goes back", 8, batchtest.Make(8, 1, "a"), partlog.ErrOrder},
		{"a gap between batches", 8, slices.Concat(good, batchtest.Make(10, 2, "b")), partlog.ErrOrder},
		{"half a batch", 8, good[:len(good)-1], batch.ErrShort},
		{"no batch", 8, nil, partlog.ErrOrder},
	}
	for _, c := range cases {
		if err := l.Append(c.offset, c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := l.Append(8, good); err != nil {
		t.Errorf("after the refusals a good append fails: %v", err)
	}
	if err := open(t, vfs.NewMem()).Append(0, batchtest.Make(0, -1, "no epoch")); !errors.Is(err, partlog.ErrOrder) {
		t.Errorf("a batch without leader epoch: %v, want ErrOrder", err)
	}
}

func TestTruncate(t *testing.T) {
	for offset := int64(0); offset <= 42; offset++ {
		m := vfs.NewMem()
		l := open(t, m)
		bs := fill(t, l, 20)
		want := min(offset/2*2, 40) // inside a batch: cut to its start
		end, err := l.Truncate(offset)
		if err != nil || end != want || l.End() != want {
			t.Fatalf("Truncate(%d) = %d, %v; the log ends at %d; want %d", offset, end, err, l.End(), want)
		}
		m = m.Crash(vfs.CrashOptions{}) // durable on return, but for appends that were never synced
		if l = open(t, m); l.End() > want {
			t.Fatalf("after Truncate(%d) and a crash the log ends at %d", offset, l.End())
		}
		if offset < 40 && l.End() != want {
			t.Fatalf("after Truncate(%d) and a crash the log ends at %d: the cut was not synced", offset, l.End())
		}
		kept := bs[:l.End()/2]
		for _, e := range l.Epochs() {
			if e.Start >= l.End() {
				t.Errorf("after Truncate(%d) epoch %+v is still known", offset, e)
			}
		}
		next := batchtest.Make(l.End(), 9, "after")
		if err := l.Append(l.End(), next); err != nil {
			t.Fatalf("append after Truncate(%d): %v", offset, err)
		}
		if got := readAll(t, l); !bytes.Equal(got, append(bytes.Join(kept, nil), next...)) {
			t.Errorf("after Truncate(%d) and an append the log holds other bytes", offset)
		}
	}
	if _, err := open(t, vfs.NewMem()).Truncate(-1); !errors.Is(err, partlog.ErrOutOfRange) {
		t.Errorf("Truncate(-1) = %v, want ErrOutOfRange", err)
	}
}

// A truncation that a crash cuts short leaves a log that opens, and is a prefix of the old one.
func TestCrashInTruncate(t *testing.T) {
	for stop := 0; ; stop++ {
		m := vfs.NewMem()
		calls, armed := 0, false
		off := errors.New("power is gone")
		l, err := partlog.Open(vfs.Hooked(m, func(vfs.Op, string) error {
			if armed {
				if calls++; calls > stop {
					return off
				}
			}
			return nil
		}), "log", small)
		if err != nil {
			t.Fatal(err)
		}
		bs := fill(t, l, 20)
		if err := l.File().Sync(); err != nil {
			t.Fatal(err)
		}
		armed = true
		_, err = l.Truncate(4)
		if err == nil {
			if stop < 3 {
				t.Fatalf("the truncation made only %d calls: nothing was tested", stop)
			}
			return
		}
		if !errors.Is(err, off) {
			t.Fatal(err)
		}
		if _, again := l.Truncate(4); !errors.Is(again, off) {
			t.Errorf("after a failed truncation the log goes on: %v", again)
		}
		l = open(t, m.Crash(vfs.CrashOptions{}))
		if l.End() < 4 || l.End() > 40 || !bytes.Equal(readAll(t, l), bytes.Join(bs[:l.End()/2], nil)) {
			t.Errorf("stopped at call %d: the log ends at %d", stop, l.End())
		}
	}
}

func TestPoison(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			broken := errors.New("input/output error")
			fail := false
			l, err := partlog.Open(vfs.Hooked(vfs.NewMem(), func(o vfs.Op, _ string) error {
				if fail && o == op {
					return &vfs.ShortWrite{N: 10, Err: broken}
				}
				return nil
			}), "log", small)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, l, 1)
			fail = true
			err = nil
			for i := 0; i < 10 && err == nil; i++ { // enough to need a new segment
				err = l.Append(l.End(), batchtest.Make(l.End(), 1, strings.Repeat("x", 100)))
			}
			if !errors.Is(err, broken) {
				t.Fatalf("append = %v, want the disk's error", err)
			}
			fail = false
			_, terr := l.Truncate(0)
			_, rerr := l.Read(0, 1)
			for what, err := range map[string]error{
				"Append": l.Append(l.End(), batchtest.Make(l.End(), 1, "x")), "Truncate": terr, "Read": rerr, "Remove": l.Remove(),
			} {
				if !errors.Is(err, broken) {
					t.Errorf("%s on a poisoned log = %v, want the first error", what, err)
				}
			}
		})
	}
}

func TestRemove(t *testing.T) {
	m := vfs.NewMem()
	l := open(t, m)
	fill(t, l, 20)
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 1); !errors.Is(err, partlog.ErrClosed) {
		t.Errorf("read after Remove = %v, want ErrClosed", err)
	}
	names, err := m.List("/")
	if err != nil || len(names) != 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

func TestRemoveLeftovers(t *testing.T) {
	m := vfs.NewMem()
	fsys := vfs.Hooked(m, func(op vfs.Op, _ string) error {
		if op == vfs.OpRemove {
			return errors.New("power is gone")
		}
		return nil
	})
	l, err := partlog.Open(fsys, "log", small)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 20)
	if err := l.Remove(); err == nil {
		t.Fatal("Remove succeeded although no file could be removed")
	}
	m = m.Crash(vfs.CrashOptions{})
	if err := partlog.RemoveLeftovers(m, "/"); err != nil {
		t.Fatal(err)
	}
	if names, _ := m.List("/"); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// Readers run beside the writer; the race detector watches.
func TestReadBesideWrites(t *testing.T) {
	l := open(t, vfs.NewMem())
	fill(t, l, 10)
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for o := int64(0); ; o = (o + 2) % 10 {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			data, err := l.Read(o, 1000)
			if err == nil && len(data) == 0 {
				err = errors.New("no data below the log end")
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for range 50 {
		for range 6 {
			if err := l.Append(l.End(), batchtest.Make(l.End(), 9, "beside", "x")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Truncate(10); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
