package raftlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"soak/broker/raftlog"
	"soak/internal/vfs"
)

// small begins a new segment every few saves.
var small = raftlog.Options{SegmentBytes: 200}

const firstSegment = "raft/raft-0000000000000001.wal"

func open(t testing.TB, fsys vfs.FS, o raftlog.Options) (*raftlog.Log, raftlog.State) {
	t.Helper()
	l, st, err := raftlog.Open(fsys, "raft", 1, o)
	if err != nil {
		t.Fatal(err)
	}
	return l, st
}

func hard(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

// ents makes entries of one term at indexes from to to.
func ents(term, from, to uint64) []*pb.Entry {
	var es []*pb.Entry
	for i := from; i <= to; i++ {
		es = append(es, &pb.Entry{Term: proto.Uint64(term), Index: proto.Uint64(i), Data: fmt.Appendf(nil, "term %d index %d", term, i)})
	}
	return es
}

func save(t testing.TB, l *raftlog.Log, hs *pb.HardState, es []*pb.Entry, sync bool) {
	t.Helper()
	if err := l.Save(hs, es, sync); err != nil {
		t.Fatal(err)
	}
}

func same(t testing.TB, st raftlog.State, hs *pb.HardState, es []*pb.Entry) {
	t.Helper()
	if d := cmp.Diff(hs, st.HardState, protocmp.Transform()); d != "" {
		t.Errorf("hard state (-want +got):\n%s", d)
	}
	if d := cmp.Diff(es, st.Entries, protocmp.Transform()); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

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
}

func TestSaveReopen(t *testing.T) {
	m := vfs.NewMem()
	l, st := open(t, m, small)
	if !st.Empty() {
		t.Fatalf("a new log holds %+v", st)
	}
	save(t, l, hard(1, 2, 0), ents(1, 1, 5), true)
	save(t, l, nil, ents(1, 6, 9), false)
	save(t, l, hard(1, 2, 7), nil, false)
	save(t, l, nil, nil, false)
	save(t, l, hard(2, 3, 7), ents(2, 8, 8), false) // replaces 8 and 9
	save(t, l, nil, ents(2, 9, 12), true)
	want := slices.Concat(ents(1, 1, 7), ents(2, 8, 12))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := m.List("raft")
	if err != nil || len(names) < 2 {
		t.Fatalf("files %q, %v: rolling is not tested", names, err)
	}
	// Every later segment begins with the hard state, so that compaction can remove those before it.
	b, err := proto.Marshal(hard(1, 2, 0))
	if err != nil {
		t.Fatal(err)
	}
	second := load(t, m, "raft/"+names[1])
	if kind := second[60+12:]; !bytes.HasPrefix(kind, []byte{1, 1, byte(len(b)), 0, 0, 0}) || !bytes.HasPrefix(kind[6:], b) {
		t.Errorf("the second segment begins with % x", kind)
	}
	_, st = open(t, m.Crash(vfs.CrashOptions{}), small)
	same(t, st, hard(2, 3, 7), want)
	if st.Empty() || st.Cut != 0 {
		t.Errorf("empty %v, cut %d", st.Empty(), st.Cut)
	}
}

// What a killed process wrote and did not sync is counted as durable by whoever opens the log next, so Open makes it so.
func TestOpenMakesDurable(t *testing.T) {
	m := vfs.NewMem()
	l, _ := open(t, m, raftlog.Options{})
	save(t, l, hard(4, 2, 1), ents(4, 1, 3), false)
	_, st := open(t, m, raftlog.Options{})
	same(t, st, hard(4, 2, 1), ents(4, 1, 3))
	_, st = open(t, m.Crash(vfs.CrashOptions{}), raftlog.Options{})
	same(t, st, hard(4, 2, 1), ents(4, 1, 3))
}

func TestSaveRefuses(t *testing.T) {
	m := vfs.NewMem()
	l, _ := open(t, m, raftlog.Options{})
	save(t, l, hard(1, 1, 3), ents(1, 1, 4), true)
	cases := []struct {
		name string
		hs   *pb.HardState
		es   []*pb.Entry
	}{
		{"a gap", nil, ents(1, 6, 6)},
		{"a gap between entries", nil, append(ents(1, 5, 5), ents(1, 7, 7)...)},
		{"index 0", nil, ents(1, 0, 0)},
		{"commit beyond the last entry", hard(1, 1, 5), nil},
		{"a tail cut below the commit index", nil, ents(2, 2, 2)},
	}
	for _, c := range cases {
		if err := l.Save(c.hs, c.es, true); !errors.Is(err, raftlog.ErrOrder) {
			t.Errorf("%s: %v, want ErrOrder", c.name, err)
		}
	}
	save(t, l, hard(1, 1, 5), ents(1, 5, 5), true)
	_, st := open(t, m, raftlog.Options{})
	same(t, st, hard(1, 1, 5), ents(1, 1, 5))
}

// markSize is the length of a mark in a segment.
const markSize = 12 + 1

// threeSaves answers the bytes of a segment and where each save begins. The last save was not synced: no mark stands behind it.
func threeSaves(t testing.TB) (b []byte, at [3]int) {
	m := vfs.NewMem()
	l, _ := open(t, m, raftlog.Options{})
	for i := range at {
		at[i] = len(load(t, m, firstSegment))
		n := uint64(i)
		save(t, l, hard(1, 2, n), ents(1, 2*n+1, 2*n+2), i < 2)
	}
	return load(t, m, firstSegment), at
}

func TestRecover(t *testing.T) {
	all, at := threeSaves(t)
	flip := func(pos int) []byte {
		b := slices.Clone(all)
		b[pos] ^= 0x40
		return b
	}
	cases := []struct {
		name   string
		data   []byte
		saves  int // that survive
		damage int // position, or -1
	}{
		{"whole", all, 3, -1},
		{"last byte missing", all[:len(all)-1], 2, -1},
		{"cut in a frame's head", all[:at[2]+5], 2, -1},
		{"cut between frames", all[:at[2]], 2, -1},
		{"zeros at the end", append(slices.Clone(all), make([]byte, 9000)...), 3, -1},
		{"a flipped bit in the last frame", flip(len(all) - 1), 2, -1},
		{"a flipped bit in the last frame's magic", flip(at[2]), 2, -1},
		{"a flipped bit in the last frame's length", flip(at[2] + 7), 2, -1},
		{"an older frame copied to the end", append(slices.Clone(all), all[at[0]:at[1]]...), 3, -1},
		{"cut in the header", all[:at[0]-1], 0, -1},
		{"an empty file", nil, 0, -1},
		{"a header of zeros", make([]byte, at[0]), 0, -1},
		{"a flipped bit in the header", flip(20), 0, 0},
		{"a flipped bit in the file's magic", flip(3), 0, 0},
		{"a flipped bit in the first frame", flip(at[1] - markSize - 1), 0, at[0]},
		{"a flipped bit in the middle frame", flip(at[2] - markSize - 1), 0, at[1]},
		{"a flipped bit in the first mark", flip(at[1] - 1), 0, at[1] - markSize},
		{"a flipped bit in the middle frame's magic", flip(at[1]), 0, at[1]},
		{"a huge length in the middle", flip(at[1] + 7), 0, at[1]},
		{"garbage, and a mark far behind", frameBehind(slices.Clone(all[:at[1]]), 300_000, []byte{3}), 0, at[1]},
		{"garbage, and a mark of another place behind", append(frameBehind(slices.Clone(all[:at[1]]), 300, nil), all[at[1]-markSize:at[1]]...), 1, -1},
		// Sectors that were never synced survive a loss of power in any order.
		{"garbage, and a good save far behind", frameBehind(slices.Clone(all[:at[1]]), 300_000, []byte{1, 0, 0, 0, 0, 0}), 1, -1},
		{"a sector of zeros, and a good save behind", append(slices.Concat(all[:at[2]], make([]byte, 512)), sealed(1, uint64(at[2]+512), []byte{1, 0, 0, 0, 0, 0})...), 2, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			store(t, m, firstSegment, c.data)
			l, st, err := raftlog.Open(m, "raft", 1, raftlog.Options{})
			if c.damage >= 0 {
				var d *raftlog.DamageError
				if !errors.As(err, &d) || d.File != firstSegment || d.Pos != int64(c.damage) {
					t.Fatalf("Open = %v, want damage at byte %d", err, c.damage)
				}
				if !slices.Equal(load(t, m, firstSegment), c.data) {
					t.Error("a damaged file was changed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n := uint64(c.saves)
			want := &pb.HardState{}
			if n > 0 {
				want = hard(1, 2, n-1)
			}
			same(t, st, want, ents(1, 1, 2*n))
			kept := 0
			if n > 0 {
				kept = append(at[1:], len(all))[n-1]
			} else if len(c.data) > at[0] {
				kept = at[0]
			}
			if st.Cut != int64(len(c.data)-kept) {
				t.Errorf("cut %d bytes of %d, want to keep %d", st.Cut, len(c.data), kept)
			}
			save(t, l, hard(3, 1, 1), ents(3, 2*n+1, 2*n+1), true)
			_, st = open(t, m, raftlog.Options{})
			same(t, st, hard(3, 1, 1), append(ents(1, 1, 2*n), ents(3, 2*n+1, 2*n+1)...))
			if st.Cut != 0 {
				t.Errorf("opened again it cut %d bytes", st.Cut)
			}
		})
	}
}

// frameBehind appends n bytes of garbage and then, if there is a body, a frame that is sealed for its place.
func frameBehind(b []byte, n int, body []byte) []byte {
	b = append(b, slices.Repeat([]byte{0x7a}, n)...)
	if body == nil {
		return b
	}
	return append(b, sealed(1, uint64(len(b)), body)...)
}

// sealed writes a frame as the package's doc describes it, without the package's own code.
func sealed(seq, pos uint64, body []byte) []byte {
	le := binary.LittleEndian
	f := le.AppendUint32(nil, 0x5ec0da7a)
	f = le.AppendUint32(f, uint32(len(body)))
	covered := le.AppendUint64(nil, seq)
	covered = le.AppendUint64(covered, pos)
	covered = le.AppendUint32(covered, uint32(len(body)))
	covered = append(covered, body...)
	f = le.AppendUint32(f, crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
	return append(f, body...)
}

// Frames with a good CRC that make no sense are damage even at the end: a torn write does not make them.
func TestRecoverNonsense(t *testing.T) {
	all, _ := threeSaves(t)
	le := binary.LittleEndian
	entry := func(e *pb.Entry) []byte {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return append(le.AppendUint32([]byte{1, 0, 1, 0, 0, 0}, uint32(len(b))), b...)
	}
	commit, err := proto.Marshal(hard(1, 1, 9))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"empty":                        {},
		"unknown kind":                 {2, 0, 0, 0, 0, 0},
		"hard state flag":              {1, 7, 0, 0, 0, 0},
		"hard state length":            {1, 1, 0xff, 0xff, 0xff, 0xff},
		"entry count":                  {1, 0, 0xff, 0xff, 0xff, 0xff},
		"bytes behind the entries":     {1, 0, 0, 0, 0, 0, 0},
		"bytes behind a mark":          {3, 0},
		"a gap in the indexes":         entry(ents(1, 8, 8)[0]),
		"index 0":                      entry(ents(1, 0, 0)[0]),
		"commit beyond the last entry": append(append(le.AppendUint32([]byte{1, 1}, uint32(len(commit))), commit...), 0, 0, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			m := vfs.NewMem()
			store(t, m, firstSegment, append(slices.Clone(all), sealed(1, uint64(len(all)), body)...))
			_, _, err := raftlog.Open(m, "raft", 1, raftlog.Options{})
			var d *raftlog.DamageError
			if !errors.As(err, &d) || d.Pos < int64(len(all)) {
				t.Errorf("Open = %v, want damage at byte %d or behind", err, len(all))
			}
		})
	}
}

func TestRecoverManySegments(t *testing.T) {
	build := func(t *testing.T) (*vfs.Mem, []string) {
		m := vfs.NewMem()
		l, _ := open(t, m, small)
		for i := uint64(1); i <= 20; i++ {
			save(t, l, hard(1, 1, i-1), ents(1, i, i), true)
		}
		names, err := m.List("raft")
		if err != nil || len(names) < 4 {
			t.Fatalf("%q, %v", names, err)
		}
		for i, n := range names {
			names[i] = "raft/" + n
		}
		return m, names
	}
	damaged := func(t *testing.T, m *vfs.Mem, file string) {
		t.Helper()
		_, _, err := raftlog.Open(m, "raft", 1, small)
		if d := (*raftlog.DamageError)(nil); !errors.As(err, &d) || d.File != file {
			t.Errorf("Open = %v, want damage of %s", err, file)
		}
	}
	cutByte := func(t *testing.T, m *vfs.Mem, file string) {
		b := load(t, m, file)
		store(t, m, file, b[:len(b)-1])
	}
	t.Run("an earlier segment cut short", func(t *testing.T) {
		m, files := build(t)
		cutByte(t, m, files[1])
		damaged(t, m, files[1])
	})
	t.Run("a segment missing", func(t *testing.T) {
		m, files := build(t)
		if err := m.Remove(files[1]); err != nil {
			t.Fatal(err)
		}
		damaged(t, m, files[2])
	})
	t.Run("a segment in the place of another", func(t *testing.T) {
		m, files := build(t)
		store(t, m, files[2], load(t, m, files[1]))
		damaged(t, m, files[2])
	})
	t.Run("a name that is none", func(t *testing.T) {
		m, _ := build(t)
		store(t, m, "raft/raft-9.wal", nil)
		damaged(t, m, "raft/raft-9.wal")
	})
	t.Run("a torn new segment goes, the one before must be whole", func(t *testing.T) {
		m, files := build(t)
		next := fmt.Sprintf("raft/raft-%016d.wal", len(files)+1)
		store(t, m, next, []byte("SOAKRA"))
		_, st := open(t, m, small)
		same(t, st, hard(1, 1, 19), ents(1, 1, 20))
		if _, err := m.Stat(next); err == nil || st.Cut != 6 {
			t.Errorf("the torn segment is still there, cut %d", st.Cut)
		}
		store(t, m, next, []byte("SOAKRA"))
		cutByte(t, m, files[len(files)-1])
		damaged(t, m, files[len(files)-1])
	})
}

func TestOtherNodeOrFormat(t *testing.T) {
	m := vfs.NewMem()
	l, _ := open(t, m, raftlog.Options{})
	save(t, l, hard(1, 1, 0), nil, true)
	_, _, err := raftlog.Open(m, "raft", 2, raftlog.Options{})
	if e := (*raftlog.NodeError)(nil); !errors.As(err, &e) || e.Have != 1 || e.Want != 2 || e.Hint() == "" {
		t.Errorf("another node's log: %v", err)
	}
	b := load(t, m, firstSegment)
	b[8] = raftlog.Format + 1
	store(t, m, firstSegment, b)
	_, _, err = raftlog.Open(m, "raft", 1, raftlog.Options{})
	if e := (*raftlog.FormatError)(nil); !errors.As(err, &e) || e.Have != raftlog.Format+1 || e.Hint() == "" {
		t.Errorf("a newer format: %v", err)
	}
}

func TestPoison(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			broken := errors.New("input/output error")
			fail := false
			m := vfs.NewMem()
			l, _ := open(t, vfs.Hooked(m, func(o vfs.Op, _ string) error {
				if fail && o == op {
					return &vfs.ShortWrite{N: 3, Err: broken}
				}
				return nil
			}), small)
			save(t, l, hard(1, 1, 0), ents(1, 1, 1), true)
			fail = true
			var err error
			for i := uint64(2); i < 20 && err == nil; i++ {
				err = l.Save(nil, ents(1, i, i), false)
			}
			if !errors.Is(err, broken) {
				t.Fatalf("Save = %v, want the disk's error", err)
			}
			fail = false
			for what, err := range map[string]error{"Save": l.Save(hard(2, 1, 0), nil, false), "Sync": l.Sync()} {
				if !errors.Is(err, broken) {
					t.Errorf("%s on a poisoned log = %v, want the first error", what, err)
				}
			}
			_, st := open(t, m.Crash(vfs.CrashOptions{}), small)
			if len(st.Entries) == 0 || st.HardState.GetTerm() != 1 {
				t.Errorf("what was synced before is gone: %+v", st)
			}
		})
	}
}
