package partlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"soak/broker/partlog"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/internal/vfs"
)

func load(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

func store(t testing.TB, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	if err := fsys.MkdirAll(path.Dir(name)); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// storeMark writes a mark as the package's doc describes it: size bytes of the segment with a base offset were synced.
func storeMark(t testing.TB, fsys vfs.FS, base, size int, more ...byte) {
	t.Helper()
	le := binary.LittleEndian
	b := le.AppendUint64(nil, uint64(base))
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	store(t, fsys, "log/synced", append(b, more...))
}

// onDisk is a batch as the package's doc describes it on disk: the CRC is xor'ed with one over what lies before it.
func onDisk(base int64, epoch int32, values ...string) []byte {
	b := batchtest.Make(base, epoch, values...)
	head := crc32.Checksum(b[:17], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[17:], binary.BigEndian.Uint32(b[17:])^head)
	return b
}

const firstSegment = "log/00000000000000000000.log"

// One segment of three batches, what is done to its bytes, and how many of them were synced.
func TestRecoverOneSegment(t *testing.T) {
	inner := onDisk(9, 1, "a good batch of a higher offset, as a value")
	b0, b1, b2 := onDisk(0, 1, "a", "b"), onDisk(2, 1, "c", "d"), onDisk(4, 2, "e", "f")
	all := slices.Concat(b0, b1, b2)
	at1, at2 := len(b0), len(b0)+len(b1)
	flip := func(pos int) []byte {
		b := slices.Clone(all)
		b[pos] ^= 0x40
		return b
	}
	flip1 := func(pos int) []byte {
		b := slices.Clone(all)
		b[pos] ^= 1
		return b
	}
	huge := func(pos int) []byte {
		b := slices.Clone(all)
		binary.BigEndian.PutUint32(b[pos+8:], 1<<31-1)
		return b
	}
	cases := []struct {
		name   string
		data   []byte
		synced int   // bytes
		end    int64 // of the log, where it opens
		damage int   // position, or -1
	}{
		{"whole", all, len(all), 6, -1},
		{"whole, nothing known as synced", all, 0, 6, -1},
		{"last byte missing", all[:len(all)-1], at2, 4, -1},
		{"cut in a header", all[:at2+10], at2, 4, -1},
		{"cut in the first header", all[:10], 0, 0, -1},
		{"zeros at the end", append(slices.Clone(all), make([]byte, 5000)...), len(all), 6, -1},
		{"a flipped bit in the last batch", flip(len(all) - 1), at2, 4, -1},
		{"a torn batch with an older batch in it", append(slices.Clone(all), onDisk(6, 2, string(b0), "torn")[:120]...), len(all), 6, -1},
		{"a huge length in the last batch", huge(at2), at2, 4, -1},
		// Sectors that were never synced survive a loss of power in any order.
		{"a bad batch, a good one behind", flip(at2 - 1), at1, 2, -1},
		{"a bad first batch, good ones behind", flip(at1 - 1), 0, 0, -1},
		{"a batch of zeros, a good one behind", slices.Concat(b0, make([]byte, len(b1)), b2), at1, 2, -1},
		{"a base offset whose sector is gone", slices.Concat(b0, make([]byte, 8), b1[8:], b2), at1, 2, -1},
		{"garbage, then a good batch far behind", slices.Concat(b0, bytes.Repeat([]byte{2}, 300_000), onDisk(7, 2, "x")), at1, 2, -1},
		{"a good batch of a higher offset inside a torn one", slices.Concat(b0, onDisk(2, 1, string(inner), strings.Repeat("x", 100))[:250]), at1, 2, -1},
		// What was synced does not tear.
		{"a synced byte missing", all[:len(all)-1], len(all), 0, at2},
		{"a synced batch missing at the end", all[:at2], len(all), 0, at2},
		{"all of the file missing", nil, at1, 0, 0},
		{"a flipped bit in the last batch, synced", flip(len(all) - 1), len(all), 0, at2},
		{"a flipped bit in the first batch", flip(at1 - 1), at1, 0, 0},
		{"a flipped bit in the middle batch", flip(at2 - 1), at2, 0, at1},
		{"a huge length in the middle", huge(at1), at2, 0, at1},
		{"a bad magic in the middle", flip(at1 + 16), at2, 0, at1},
		{"a flipped base offset", flip(at1 + 7), at2, 0, at1},
		{"a flipped base offset at the end", flip(at2 + 7), len(all), 0, at2},
		{"a flipped leader epoch", flip(at1 + 15), at2, 0, at1},
		{"a leader epoch that is higher by one", flip1(at2 + 15), len(all), 0, at2},
		{"a batch missing", slices.Concat(b0, b2), at2, 0, at1},
		{"a batch twice", slices.Concat(b0, b0), at2, 0, at1},
		{"an epoch that goes back", slices.Concat(b0, b1, onDisk(4, 0, "e")), at2 + 1, 0, at2},
		{"a negative epoch", slices.Concat(b0, onDisk(2, -1, "e")), at1 + 1, 0, at1},
		{"garbage, synced", slices.Concat(b0, bytes.Repeat([]byte{2}, 300_000)), at1 + 1, 0, at1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			store(t, m, firstSegment, c.data)
			if c.synced > 0 {
				storeMark(t, m, 0, c.synced, 1, 2, 3) // with a torn one behind
			}
			l, err := partlog.Open(m, "log", partlog.Options{})
			if c.damage >= 0 {
				var d *partlog.DamageError
				if !errors.As(err, &d) {
					t.Fatalf("Open = %v, want damage", err)
				}
				if d.File != firstSegment || d.Pos != int64(c.damage) || !strings.Contains(err.Error(), firstSegment) {
					t.Errorf("damage at %s byte %d, want %s byte %d", d.File, d.Pos, firstSegment, c.damage)
				}
				if !bytes.Equal(load(t, m, firstSegment), c.data) {
					t.Error("a damaged file was changed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kept := slices.Concat(batchtest.Make(0, 1, "a", "b"), batchtest.Make(2, 1, "c", "d"), batchtest.Make(4, 2, "e", "f"))[:len(b0)*int(c.end)/2]
			if l.End() != c.end || !bytes.Equal(readAll(t, l), kept) {
				t.Errorf("the log ends at %d, want %d", l.End(), c.end)
			}
			if l.Cut() != int64(len(c.data)-len(kept)) {
				t.Errorf("cut %d bytes of %d, kept %d", l.Cut(), len(c.data), len(kept))
			}
			if err := l.Append(c.end, batchtest.Make(c.end, 3, "next")); err != nil {
				t.Error(err)
			}
			if l, err = partlog.Open(m, "log", partlog.Options{}); err != nil || l.End() != c.end+1 || l.Cut() != 0 {
				t.Errorf("after the cut and an append: %v", err)
			}
		})
	}
}

func TestRecoverManySegments(t *testing.T) {
	cases := []struct {
		name string
		do   func(t *testing.T, m *vfs.Mem, files []string)
		file int // whose damage is reported
	}{
		{"a byte missing in an earlier segment", func(t *testing.T, m *vfs.Mem, files []string) {
			b := load(t, m, files[1])
			store(t, m, files[1], b[:len(b)-1])
		}, 1},
		{"a batch missing in an earlier segment", func(t *testing.T, m *vfs.Mem, files []string) {
			b := load(t, m, files[1])
			h, err := batch.ParseHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			store(t, m, files[1], b[:h.Size])
		}, 2},
		{"a segment missing", func(t *testing.T, m *vfs.Mem, files []string) {
			if err := m.Remove(files[1]); err != nil {
				t.Fatal(err)
			}
		}, 2},
		{"a name that is none", func(t *testing.T, m *vfs.Mem, files []string) { store(t, m, "log/7.log", nil) }, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			fill(t, open(t, m), 20)
			var files []string
			for _, n := range segments(t, m) {
				files = append(files, "log/"+n)
			}
			c.do(t, m, files)
			want := "log/7.log"
			if c.file >= 0 {
				want = files[c.file]
			}
			_, err := partlog.Open(m, "log", small)
			if d := (*partlog.DamageError)(nil); !errors.As(err, &d) || d.File != want {
				t.Errorf("Open = %v, want damage of %s", err, want)
			}
		})
	}
}

// What a mark says is checked against what is there; a mark that is none says nothing.
func TestRecoverMarks(t *testing.T) {
	b0, b1 := onDisk(0, 1, "a", "b"), onDisk(2, 1, "c", "d")
	const second = "log/00000000000000000002.log"
	build := func() *vfs.Mem {
		m := vfs.NewMem()
		store(t, m, firstSegment, b0)
		store(t, m, second, b1)
		return m
	}
	damaged := func(m *vfs.Mem, file string) {
		t.Helper()
		_, err := partlog.Open(m, "log", small)
		if d := (*partlog.DamageError)(nil); !errors.As(err, &d) || d.File != file {
			t.Errorf("Open = %v, want damage of %s", err, file)
		}
	}
	m := build()
	storeMark(t, m, 2, len(b1))
	if end := open(t, m).End(); end != 4 {
		t.Errorf("the log ends at %d, want 4", end)
	}
	if err := m.Remove(second); err != nil {
		t.Fatal(err)
	}
	damaged(m, second) // the last segment is missing
	if err := m.Remove(firstSegment); err != nil {
		t.Fatal(err)
	}
	damaged(m, second) // and all others

	m = build()
	storeMark(t, m, 0, len(b0)) // of a time before the roll: it says nothing of the last segment
	store(t, m, second, b1[:len(b1)-1])
	if end := open(t, m).End(); end != 2 {
		t.Errorf("the log ends at %d, want 2", end)
	}

	m = build()
	store(t, m, second, b1[:len(b1)-1])
	store(t, m, "log/synced", bytes.Repeat([]byte{7}, 10_000))
	if end := open(t, m).End(); end != 2 {
		t.Errorf("with a mark that is none the log ends at %d, want 2", end)
	}
	if end := open(t, m).End(); end != 2 {
		t.Errorf("opened again it ends at %d, want 2", end)
	}
}

// After each sync the end is known, and after a cut nothing beyond it is.
func TestMarksFollowTheLog(t *testing.T) {
	m := vfs.NewMem()
	l := open(t, m)
	rot := func() error {
		var name string
		var b []byte
		for _, file := range segments(t, m) {
			if content := load(t, m, "log/"+file); len(content) > 0 { // a cut may have emptied the last
				name, b = "log/"+file, content
			}
		}
		b[len(b)-1] ^= 1
		store(t, m, name, b)
		_, err := partlog.Open(m, "log", small)
		b[len(b)-1] ^= 1
		store(t, m, name, b)
		return err
	}
	var d *partlog.DamageError
	for i := range 450 { // more than the file holds before it begins anew
		fill(t, l, 1)
		if err := errors.Join(l.File().Sync(), l.Synced()); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 || i > 440 {
			if err := rot(); !errors.As(err, &d) {
				t.Fatalf("after %d appends a bad last batch is %v, want damage", i+1, err)
			}
		}
	}
	if i, err := m.Stat("log/synced"); err != nil || i.Size > 4000 {
		t.Errorf("the marks take %d bytes, %v", i.Size, err)
	}
	for _, to := range []int64{899, 880, 500, 6} {
		if _, err := l.Truncate(to); err != nil {
			t.Fatal(err)
		}
		found := m.Crash(vfs.CrashOptions{})
		if end := open(t, found).End(); end != to-to%2 {
			t.Errorf("after a cut to %d and a loss of power the log ends at %d", to, end)
		}
		m, l = found, open(t, found)
		if err := rot(); !errors.As(err, &d) {
			t.Errorf("after a cut to %d a bad last batch is %v, want damage", to, err)
		}
	}
}

// What a killed process wrote and did not sync is counted as durable by whoever opens the log next, so Open makes it so.
func TestOpenMakesDurable(t *testing.T) {
	m := vfs.NewMem()
	fill(t, open(t, m), 20)
	if end := open(t, m).End(); end != 40 {
		t.Fatalf("the log ends at %d", end)
	}
	if end := open(t, m.Crash(vfs.CrashOptions{})).End(); end != 40 {
		t.Errorf("after a loss of power the log ends at %d, it was opened with 40", end)
	}
}

// A failing disk is not a torn write: nothing may be cut.
func TestReadErrorCutsNothing(t *testing.T) {
	m := vfs.NewMem()
	fill(t, open(t, m), 3)
	before := load(t, m, firstSegment)
	broken := errors.New("input/output error")
	_, err := partlog.Open(vfs.Hooked(m, func(op vfs.Op, _ string) error {
		if op == vfs.OpRead {
			return broken
		}
		return nil
	}), "log", small)
	if !errors.Is(err, broken) {
		t.Errorf("Open = %v, want the disk's error", err)
	}
	if !bytes.Equal(before, load(t, m, firstSegment)) {
		t.Error("the file was changed")
	}
}

// Bytes that go bad under an open log are not handed out.
func TestReadChecksCRC(t *testing.T) {
	m := vfs.NewMem()
	l := open(t, m)
	fill(t, l, 2)
	b := load(t, m, firstSegment)
	b[len(b)-1] ^= 1
	store(t, m, firstSegment, b)
	if _, err := l.Read(0, 1); err != nil {
		t.Errorf("the good batch: %v", err)
	}
	var d *partlog.DamageError
	if _, err := l.Read(2, 1); !errors.As(err, &d) || d.Pos != int64(len(b)/2) {
		t.Errorf("the bad batch: %v, want damage at byte %d", err, len(b)/2)
	}
	store(t, m, firstSegment, b[:len(b)/2])
	if _, err := l.Read(2, 1); !errors.As(err, &d) {
		t.Errorf("the missing batch: %v, want damage", err)
	}
}

// FuzzRecover opens a log of arbitrary bytes: it opens or is damaged, and what opens reads back whole and opens again.
func FuzzRecover(f *testing.F) {
	good := slices.Concat(batchtest.Make(0, 1, "a", "b"), batchtest.Make(2, 1, "c"), batchtest.Make(3, 2, "d"))
	f.Add(good, []byte{})
	f.Add(good, batchtest.Make(4, 2, "e"))
	f.Add(good[:len(good)-3], []byte{})
	f.Add(append(slices.Clone(good), make([]byte, 100)...), []byte{1, 2, 3})
	f.Add([]byte{}, []byte{})
	long := slices.Clone(good)
	binary.BigEndian.PutUint32(long[8:], 1<<31-1)
	f.Add(long, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := vfs.NewMem()
		store(t, m, firstSegment, a)
		if len(b) > 0 {
			store(t, m, "log/00000000000000000004.log", b)
		}
		l, err := partlog.Open(m, "log", small)
		if err != nil {
			if d := (*partlog.DamageError)(nil); !errors.As(err, &d) || d.Pos < 0 || d.Pos > int64(max(len(a), len(b))) {
				t.Fatalf("Open = %v, want damage inside the file", err)
			}
			return
		}
		got := readAll(t, l)
		if !bytes.Equal(got, slices.Concat(a, b)[:len(got)]) {
			t.Fatal("the log holds other bytes than the files")
		}
		if again := open(t, m); again.Cut() != 0 || again.End() != l.End() {
			t.Fatalf("opened again: cut %d, end %d; before: end %d", again.Cut(), again.End(), l.End())
		}
	})
}
