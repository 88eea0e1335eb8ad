package raftlog_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"soak/broker/raftlog"
	"soak/internal/vfs"
)

func snap(index, term uint64) *pb.Snapshot {
	return &pb.Snapshot{
		Data:     fmt.Appendf(nil, "state at %d", index),
		Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(index), Term: proto.Uint64(term), ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}}},
	}
}

// sameSnapshot checks the snapshot and the base beside what same does.
func sameSnapshot(t *testing.T, st raftlog.State, want *pb.Snapshot, base uint64) {
	t.Helper()
	if d := cmp.Diff(want, st.Snapshot, protocmp.Transform()); d != "" {
		t.Errorf("snapshot (-want +got):\n%s", d)
	}
	if st.BaseIndex != base || st.BaseTerm == 0 {
		t.Errorf("entries begin behind index %d of term %d, want index %d", st.BaseIndex, st.BaseTerm, base)
	}
}

// names lists the log's files with one of the suffixes.
func names(t *testing.T, fsys vfs.FS, suffixes ...string) (out []string) {
	t.Helper()
	all, err := fsys.List("raft")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(n, s) }) {
			out = append(out, n)
		}
	}
	return out
}

// compacted is a log of 20 entries, compacted at 12 with the entries from 9 on kept.
func compacted(t *testing.T) *vfs.Mem {
	m := vfs.NewMem()
	l, _ := open(t, m, small)
	for i := uint64(1); i <= 20; i++ {
		save(t, l, hard(1, 1, i-1), ents(1, i, i), false)
	}
	if err := l.Compact(snap(12, 1), 8, true); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCompact(t *testing.T) {
	m := compacted(t)
	if got := names(t, m, ".wal", ".snap", ".tmp"); len(got) != 2 {
		t.Errorf("files %q, want one segment and one snapshot", got)
	}
	m = m.Crash(vfs.CrashOptions{}) // what was saved before is durable with it
	l, st := open(t, m, small)
	same(t, st, hard(1, 1, 19), ents(1, 9, 20))
	sameSnapshot(t, st, snap(12, 1), 8)
	if st.Empty() {
		t.Error("it is called empty")
	}
	// It goes on: entries are replaced, segments rolled, and an older snapshot does nothing.
	save(t, l, hard(2, 1, 19), ents(2, 20, 20), true)
	if err := l.Compact(snap(12, 1), 12, true); err != nil {
		t.Fatal(err)
	}
	for i := uint64(21); i <= 30; i++ {
		save(t, l, hard(2, 1, i-1), ents(2, i, i), true)
	}
	l, st = open(t, m, small)
	same(t, st, hard(2, 1, 29), slices.Concat(ents(1, 9, 19), ents(2, 20, 30)))
	sameSnapshot(t, st, snap(12, 1), 8)
	if err := l.Compact(snap(30, 2), 30, true); err != nil {
		t.Fatal(err)
	}
	save(t, l, nil, ents(2, 31, 31), true)
	_, st = open(t, m.Crash(vfs.CrashOptions{}), small)
	same(t, st, hard(2, 1, 30), ents(2, 31, 31)) // the commit index is raised to the snapshot's
	sameSnapshot(t, st, snap(30, 2), 30)
}

func TestInstall(t *testing.T) {
	m := vfs.NewMem()
	l, _ := open(t, m, small)
	save(t, l, hard(1, 2, 3), ents(1, 1, 9), true) // 4 to 9 were never committed
	if err := l.Install(snap(50, 4), hard(5, 0, 50), ents(5, 51, 52)); err != nil {
		t.Fatal(err)
	}
	m = m.Crash(vfs.CrashOptions{})
	l, st := open(t, m, small)
	same(t, st, hard(5, 0, 50), ents(5, 51, 52))
	sameSnapshot(t, st, snap(50, 4), 50)
	if err := l.Install(snap(60, 5), nil, nil); err != nil {
		t.Fatal(err)
	}
	save(t, l, nil, ents(5, 61, 61), true)
	_, st = open(t, m.Crash(vfs.CrashOptions{}), small)
	same(t, st, hard(5, 0, 60), ents(5, 61, 61))
	sameSnapshot(t, st, snap(60, 5), 60)
}

func TestSnapshotsThatDoNotFit(t *testing.T) {
	m := compacted(t)
	l, _ := open(t, m, small)
	for name, err := range map[string]error{
		"a snapshot of what is not stored":             l.Compact(snap(21, 1), 8, true),
		"entries gone that the snapshot lacks":         l.Compact(snap(15, 1), 16, true),
		"entries kept that are gone":                   l.Compact(snap(15, 1), 7, true),
		"an older snapshot installed":                  l.Install(snap(12, 1), nil, nil),
		"a gap behind an installed one":                l.Install(snap(40, 1), nil, ents(1, 42, 42)),
		"an entry before an installed one":             l.Install(snap(40, 1), nil, ents(1, 40, 40)),
		"a commit index beyond an installed one":       l.Install(snap(40, 1), hard(1, 1, 41), nil),
		"an entry saved in the place of one compacted": l.Save(nil, ents(2, 8, 8), true),
	} {
		if !errors.Is(err, raftlog.ErrOrder) {
			t.Errorf("%s: %v, want ErrOrder", name, err)
		}
	}
	_, st := open(t, m, small)
	same(t, st, hard(1, 1, 19), ents(1, 9, 20))
}

// Nothing of a compaction is torn under its name: whatever is wrong is damage, which names the file.
func TestCompactedLogDamaged(t *testing.T) {
	const segment, snapshot = "raft/raft-0000000000000008.wal", "raft/raft-0000000000000012.snap"
	whole := compacted(t)
	if got := names(t, whole, ".wal", ".snap"); !slices.Equal(got, []string{"raft-0000000000000008.wal", "raft-0000000000000012.snap"}) {
		t.Fatalf("files %q: the cases below name others", got)
	}
	for _, c := range []struct {
		name, file string
		harm       func(b []byte) []byte
	}{
		{"snapshot cut short", snapshot, func(b []byte) []byte { return b[:len(b)-1] }},
		{"snapshot empty", snapshot, func([]byte) []byte { return nil }},
		{"snapshot longer", snapshot, func(b []byte) []byte { return append(b, 0) }},
		{"header cut short", segment, func(b []byte) []byte { return b[:59] }},
		{"first frame missing", segment, func(b []byte) []byte { return b[:60] }},
		{"first frame cut short", segment, func(b []byte) []byte { return b[:70] }},
	} {
		t.Run(c.name, func(t *testing.T) { wantDamage(t, whole, c.file, c.harm) })
	}
	t.Run("any bit of the snapshot", func(t *testing.T) {
		for bit := range 8 * len(load(t, whole, snapshot)) {
			if bit/8 >= 8 && bit/8 < 12 {
				continue // the format, which is told as another one
			}
			wantDamage(t, whole, snapshot, func(b []byte) []byte { b[bit/8] ^= 1 << (bit % 8); return b })
		}
	})
	t.Run("snapshot missing", func(t *testing.T) {
		m := compacted(t)
		if err := m.Remove(snapshot); err != nil {
			t.Fatal(err)
		}
		_, _, err := raftlog.Open(m, "raft", 1, small)
		if d := (*raftlog.DamageError)(nil); !errors.As(err, &d) || d.File != snapshot || d.Hint() == "" {
			t.Errorf("Open = %v, want damage of %s", err, snapshot)
		}
	})
	t.Run("another index's snapshot under the name", func(t *testing.T) {
		m := compacted(t)
		l, _ := open(t, m, small)
		if err := l.Compact(snap(15, 1), 12, true); err != nil {
			t.Fatal(err)
		}
		wantDamage(t, whole, snapshot, func([]byte) []byte { return load(t, m, "raft/raft-0000000000000015.snap") })
	})
	t.Run("another node's snapshot", func(t *testing.T) {
		m := vfs.NewMem()
		l, _, err := raftlog.Open(m, "raft", 2, small)
		if err != nil {
			t.Fatal(err)
		}
		save(t, l, hard(1, 1, 12), ents(1, 1, 12), true)
		if err := l.Compact(snap(12, 1), 12, true); err != nil {
			t.Fatal(err)
		}
		wantDamage(t, whole, snapshot, func([]byte) []byte { return load(t, m, snapshot) })
	})
	t.Run("snapshot of another format", func(t *testing.T) {
		m := compacted(t)
		b := load(t, m, snapshot)
		binary.LittleEndian.PutUint32(b[8:], raftlog.Format+1)
		store(t, m, snapshot, b)
		_, _, err := raftlog.Open(m, "raft", 1, small)
		if e := (*raftlog.FormatError)(nil); !errors.As(err, &e) || e.File != snapshot {
			t.Errorf("Open = %v, want another format of %s", err, snapshot)
		}
	})
}

// wantDamage harms one file of a log and wants it named.
func wantDamage(t *testing.T, whole *vfs.Mem, file string, harm func([]byte) []byte) {
	t.Helper()
	m := vfs.NewMem()
	for _, n := range names(t, whole, ".wal", ".snap") {
		store(t, m, "raft/"+n, load(t, whole, "raft/"+n))
	}
	store(t, m, file, harm(load(t, m, file)))
	_, _, err := raftlog.Open(m, "raft", 1, small)
	if d := (*raftlog.DamageError)(nil); !errors.As(err, &d) || d.File != file {
		t.Errorf("Open = %v, want damage of %s", err, file)
	}
}

// What a crash left of a compaction is cleared away at the next open, and is not in the way of the next one.
func TestLeftoversOfACompaction(t *testing.T) {
	before, after := vfs.NewMem(), compacted(t)
	l, _ := open(t, before, small)
	for i := uint64(1); i <= 20; i++ {
		save(t, l, hard(1, 1, i-1), ents(1, i, i), false)
	}
	old := names(t, before, ".wal")
	t.Run("begun and not in force", func(t *testing.T) {
		m := vfs.NewMem()
		for _, n := range old {
			store(t, m, "raft/"+n, load(t, before, "raft/"+n))
		}
		for name, b := range map[string][]byte{"raft-0000000000000012.snap": load(t, after, "raft/raft-0000000000000012.snap"), "raft-0000000000000008.wal.tmp": {1}, "raft-0000000000000013.snap.tmp": {2}, "other.tmp": {3}} {
			store(t, m, "raft/"+name, b)
		}
		l, st := open(t, m, small)
		same(t, st, hard(1, 1, 19), ents(1, 1, 20))
		if st.Snapshot != nil {
			t.Error("a snapshot is in force that no segment begins with")
		}
		if got := names(t, m, ".snap", ".tmp"); !slices.Equal(got, []string{"other.tmp"}) {
			t.Errorf("left over %q, want what is not ours", got)
		}
		if err := l.Compact(snap(12, 1), 8, true); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("in force and not cleared away", func(t *testing.T) {
		for missing := range old { // a loss of power may bring back any of the names
			m := compacted(t)
			for i, n := range old {
				if i != missing {
					store(t, m, "raft/"+n, load(t, before, "raft/"+n))
				}
			}
			store(t, m, "raft/raft-0000000000000005.snap", []byte("of an earlier compaction"))
			_, st := open(t, m, small)
			same(t, st, hard(1, 1, 19), ents(1, 9, 20))
			sameSnapshot(t, st, snap(12, 1), 8)
			if got := names(t, m, ".wal", ".snap"); len(got) != 2 {
				t.Errorf("files %q, want one segment and one snapshot", got)
			}
		}
	})
}
