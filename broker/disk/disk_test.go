package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/broker/partlog"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/broker/raftlog"
	"soak/internal/vfs"
)

var opts = disk.Options{Node: 1, Members: []int32{1, 2, 3}, SegmentBytes: 500, RaftSegmentBytes: 300}

func open(t testing.TB, fsys vfs.FS) (*disk.Dir, core.Boot, uint64) {
	t.Helper()
	d, boot, n, err := disk.Open(fsys, "data/n1", opts)
	if err != nil {
		t.Fatal(err)
	}
	return d, boot, n
}

func part(topic byte, p int32) core.PartitionID {
	return core.PartitionID{Topic: [16]byte{topic, 15: 0xff}, Partition: p}
}

func hard(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func entry(term, index uint64) *pb.Entry {
	return &pb.Entry{Term: &term, Index: &index, Data: fmt.Appendf(nil, "entry %d", index)}
}

func appendOp(id uint64, p core.PartitionID, offset int64, epoch int32, values ...string) core.DiskOp {
	return core.DiskOp{ID: id, Kind: core.OpLogAppend, Part: p, Offset: offset, Sync: true, Data: batchtest.Make(offset, epoch, values...)}
}

func do(t testing.TB, d *disk.Dir, ops ...core.DiskOp) []core.DiskDone {
	t.Helper()
	done := d.Do(ops, disk.SyncSerial)
	for i, c := range done {
		if c.ID != ops[i].ID {
			t.Fatalf("completion %d is of operation %d, want %d", i, c.ID, ops[i].ID)
		}
	}
	return done
}

func mustDo(t testing.TB, d *disk.Dir, ops ...core.DiskOp) []core.DiskDone {
	t.Helper()
	done := do(t, d, ops...)
	for _, c := range done {
		if c.Err != nil {
			t.Fatalf("operation %d: %v", c.ID, c.Err)
		}
	}
	return done
}

func TestOpenAndReopen(t *testing.T) {
	m := vfs.NewMem()
	d, boot, n := open(t, m)
	if !boot.First || n != 1 || len(boot.Logs) != 0 || !proto.Equal(boot.HardState, &pb.HardState{}) {
		t.Fatalf("first boot: number %d, %+v", n, boot)
	}
	a, b := part(1, 10), part(1, 2)
	mustDo(t, d, core.DiskOp{ID: 1, Kind: core.OpRaftSave, HardState: hard(1, 1, 0), Entries: []*pb.Entry{entry(1, 1), entry(1, 2)}, Sync: true})
	done := mustDo(t, d,
		appendOp(2, a, 0, 1, "x", "y"),
		appendOp(3, b, 0, 1, "x"),
		appendOp(4, a, 2, 4, "z"),
		core.DiskOp{ID: 5, Kind: core.OpLogTruncate, Part: b, Offset: 0},
		core.DiskOp{ID: 6, Kind: core.OpLogRead, Part: a, Offset: 1, Max: 1},
	)
	for i, want := range []int64{2, 1, 3, 0} {
		if done[i].End != want {
			t.Errorf("operation %d: end %d, want %d", done[i].ID, done[i].End, want)
		}
	}
	if !bytes.Equal(done[4].Data, batchtest.Make(0, 1, "x", "y")) {
		t.Errorf("read %x", done[4].Data)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, boot, n = open(t, m.Crash(vfs.CrashOptions{}))
	want := core.Boot{
		HardState: hard(1, 1, 0),
		Entries:   []*pb.Entry{entry(1, 1), entry(1, 2)},
		Logs: []core.LogInfo{ // in the order of partition numbers
			{ID: b},
			{ID: a, End: 3, Epochs: []core.EpochStart{{Epoch: 1, Start: 0}, {Epoch: 4, Start: 2}}},
		},
	}
	if diff := cmp.Diff(want, boot, protocmp.Transform()); diff != "" || n != 2 {
		t.Errorf("boot %d (-want +got):\n%s", n, diff)
	}
}

func TestOpenOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for want := uint64(1); want <= 3; want++ {
		d, boot, n, err := disk.Open(vfs.OS(), dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		if n != want || boot.First != (want == 1) {
			t.Errorf("boot %d, first %v; want %d", n, boot.First, want)
		}
		off := int64(want - 1)
		ops := []core.DiskOp{
			appendOp(1, part(1, 0), off, 1, "value"), appendOp(2, part(2, 0), off, 1, "value"),
			{ID: 3, Kind: core.OpRaftSave, Entries: []*pb.Entry{entry(1, want)}, Sync: true},
		}
		for _, c := range d.Do(ops, disk.SyncParallel) {
			if c.Err != nil {
				t.Error(c.Err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(t *testing.T, m *vfs.Mem, name, content string) {
		if err := m.MkdirAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		f, err := m.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	node := func(content string) func(*testing.T, *vfs.Mem) {
		return func(t *testing.T, m *vfs.Mem) { write(t, m, "data/n1/node.json", content) }
	}
	const segment = "data/n1/logs/010000000000000000000000000000ff-0/00000000000000000000.log"
	cases := []struct {
		name string
		do   func(t *testing.T, m *vfs.Mem)
		as   any // pointer to the error's type
		says string
	}{
		{"another opener", func(t *testing.T, m *vfs.Mem) { open(t, m) }, new(*disk.LockedError), "data/n1 is in use"},
		{"another node", func(t *testing.T, m *vfs.Mem) {
			d, _, _, err := disk.Open(m, "data/n1", disk.Options{Node: 3})
			if err != nil || d.Close() != nil {
				t.Fatal(err)
			}
		}, new(*disk.WrongNodeError), "belongs to node 3, this is node 1"},
		{"other members", func(t *testing.T, m *vfs.Mem) {
			d, _, _, err := disk.Open(m, "data/n1", disk.Options{Node: 1, Members: []int32{1, 2, 4}})
			if err != nil || d.Close() != nil {
				t.Fatal(err)
			}
		}, new(*disk.MembersError), "a cluster of nodes [1 2 4]"},
		{"a newer format", node(`{"format":4,"node":{"id":1}}`), new(*disk.FormatError), "format 4"},
		{"a node id that is none", node(`{"format":3,"node":{"id":1}}`), new(*disk.DamageError), "node.json"},
		{"an older format that reads alike", node(`{"format":2,"node":1,"boot":1}`), new(*disk.FormatError), "format 2, this version opens format 3"},
		{"no format", node(`{}`), new(*disk.FormatError), "format 0"},
		{"no JSON", node("{"), new(*disk.DamageError), "node.json"},
		{"an empty node.json", node(""), new(*disk.DamageError), "node.json"},
		{"a huge node.json", node(strings.Repeat(" ", 5000)), new(*disk.DamageError), "5000 bytes"},
		{"another boot", node(`{"format":3,"node":1,"boot":3,"crc":12345}`), new(*disk.DamageError), "CRC computed"},
		{"no checksum", node(`{"format":3,"node":1,"boot":1}`), new(*disk.DamageError), "stored 00000000"},
		{"logs without node.json", func(t *testing.T, m *vfs.Mem) {
			d, _, _ := open(t, m)
			if err := errors.Join(d.Close(), m.Remove("data/n1/node.json")); err != nil {
				t.Fatal(err)
			}
		}, new(*disk.DamageError), "missing"},
		{"a damaged partition log", func(t *testing.T, m *vfs.Mem) {
			d, _, _ := open(t, m)
			mustDo(t, d, appendOp(1, part(1, 0), 0, 1, "x"))
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, m, segment, string(batchtest.Make(5, 1, "x")))
		}, new(*partlog.DamageError), segment + " at byte 0"},
		{"a damaged raft log", func(t *testing.T, m *vfs.Mem) {
			d, _, _ := open(t, m)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, m, "data/n1/raft/raft-0000000000000001.wal", strings.Repeat("x", 100))
		}, new(*raftlog.DamageError), "raft-0000000000000001.wal at byte 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			c.do(t, m)
			_, _, _, err := disk.Open(m, "data/n1", opts)
			if err == nil || !errors.As(err, c.as) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Open = %v, want a %T that says %q", err, c.as, c.says)
			}
			if disk.Hint(err) == "" {
				t.Error("no hint")
			}
			if c.name == "another opener" {
				return
			}
			l, err := m.Lock("data/n1/lock")
			if err != nil {
				t.Fatalf("the lock was not given back: %v", err)
			}
			_ = l.Close()
		})
	}
	t.Run("a file", func(t *testing.T) {
		m := vfs.NewMem()
		write(t, m, "data/n1", "")
		if _, _, _, err := disk.Open(m, "data/n1", opts); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("no node id", func(t *testing.T) {
		if _, _, _, err := disk.Open(vfs.NewMem(), "d", disk.Options{}); err == nil {
			t.Error("node id 0 was taken")
		}
	})
	if disk.Hint(io.EOF) != "" {
		t.Error("a hint for an error that has none")
	}
}

// The power goes at each call that Open makes: the next Open works, and no boot number is given twice.
func TestCrashInOpen(t *testing.T) {
	off := errors.New("power is gone")
	for stop := 0; ; stop++ {
		m := vfs.NewMem()
		given := map[uint64]bool{}
		d, _, n := open(t, m)
		given[n] = true
		mustDo(t, d, appendOp(1, part(1, 0), 0, 1, "x"))
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		calls := 0
		_, _, n, err := disk.Open(vfs.Hooked(m, func(vfs.Op, string) error {
			if calls++; calls > stop {
				return off
			}
			return nil
		}), "data/n1", opts)
		if err == nil {
			given[n] = true
		} else if !errors.Is(err, off) {
			t.Fatal(err)
		}
		for _, survives := range []bool{false, true} {
			m = m.Crash(vfs.CrashOptions{Name: func(string) bool { return survives }})
			d, boot, n := open(t, m)
			if given[n] || len(boot.Logs) != 1 || boot.Logs[0].End != 1 {
				t.Fatalf("stopped at call %d: boot %d (given %v), %+v", stop, n, given, boot.Logs)
			}
			given[n] = true
			_ = d
		}
		if err == nil {
			if stop < 10 {
				t.Fatalf("Open made only %d calls: nothing was tested", stop)
			}
			return
		}
	}
}

// A process is killed at each call that it makes, and what the kernel holds stays; the next one goes on from there, and then the
// power goes. What the second one confirmed must not rest on a name that the first one never synced.
func TestKillThenPowerLoss(t *testing.T) {
	killed := errors.New("killed")
	write := func(d *disk.Dir) error {
		var errs []error
		for _, c := range d.Do([]core.DiskOp{
			{Kind: core.OpRaftSave, HardState: hard(1, 1, 0), Entries: []*pb.Entry{entry(1, 1)}, Sync: true},
			appendOp(1, part(1, 0), 0, 1, "x"),
		}, disk.SyncSerial) {
			errs = append(errs, c.Err)
		}
		return errors.Join(errs...)
	}
	for stop := 0; ; stop++ {
		m := vfs.NewMem()
		calls := 0
		d, _, _, err := disk.Open(vfs.Hooked(m, func(vfs.Op, string) error {
			if calls++; calls > stop {
				return killed
			}
			return nil
		}), "data/n1", opts)
		if err == nil {
			err = write(d)
			if cerr := d.Close(); err == nil {
				err = cerr
			}
		}
		if err == nil {
			if stop < 20 {
				t.Fatalf("only %d calls: nothing was tested", stop)
			}
			return
		}
		if !errors.Is(err, killed) {
			t.Fatal(err)
		}
		d, boot, _ := open(t, m)
		if len(boot.Logs) == 0 || boot.Logs[0].End == 0 {
			if err := write(d); err != nil {
				t.Fatal(err)
			}
		}
		_, boot, _ = open(t, m.Crash(vfs.CrashOptions{}))
		if len(boot.Logs) != 1 || boot.Logs[0].End != 1 || len(boot.Entries) != 1 {
			t.Fatalf("killed at call %d, then a loss of power: %+v", stop, boot)
		}
	}
}

func TestGroupCommit(t *testing.T) {
	d, _, _ := open(t, vfs.NewMem())
	a, b := part(1, 0), part(2, 0)
	lazy := appendOp(3, part(3, 0), 0, 1, "not synced")
	lazy.Sync = false
	var synced [][]string
	done := d.Do([]core.DiskOp{
		appendOp(1, a, 0, 1, "1"), appendOp(2, b, 0, 1, "1"), lazy, appendOp(4, a, 1, 1, "2"),
		{ID: 5, Kind: core.OpLogDelete, Part: b},
	}, func(files []vfs.File) error {
		var names []string
		for _, f := range files {
			names = append(names, filepath.Base(filepath.Dir(f.Name())))
		}
		synced = append(synced, names)
		return disk.SyncSerial(files)
	})
	for i, c := range done {
		if c.Err != nil || c.ID != uint64(i+1) {
			t.Errorf("completion %d: operation %d, %v", i, c.ID, c.Err)
		}
	}
	if diff := cmp.Diff([][]string{{"010000000000000000000000000000ff-0"}}, synced); diff != "" {
		t.Errorf("files synced (-want +got):\n%s", diff)
	}
	never := func([]vfs.File) error { t.Error("a sync with nothing to sync"); return nil }
	lazy.Offset, lazy.Data = 1, batchtest.Make(1, 1, "x")
	d.Do([]core.DiskOp{lazy}, never)
	d.Do(nil, never)
}

func TestDoRefuses(t *testing.T) {
	d, _, _ := open(t, vfs.NewMem())
	mustDo(t, d, appendOp(1, part(1, 0), 0, 2, "x"))
	none := part(9, 0)
	cases := []struct {
		name string
		op   core.DiskOp
		want error // nil: any
		fine bool
	}{
		{"append behind a gap", appendOp(1, part(1, 0), 2, 2, "x"), partlog.ErrOrder, false},
		{"append at an offset that is taken", appendOp(1, part(1, 0), 0, 2, "x"), partlog.ErrOrder, false},
		{"first append not at 0", appendOp(1, none, 5, 2, "x"), partlog.ErrOrder, false},
		{"truncate before the start", core.DiskOp{Kind: core.OpLogTruncate, Part: part(1, 0), Offset: -1}, partlog.ErrOutOfRange, false},
		{"read beyond the end", core.DiskOp{Kind: core.OpLogRead, Part: part(1, 0), Offset: 2}, partlog.ErrOutOfRange, false},
		{"read of no log", core.DiskOp{Kind: core.OpLogRead, Part: none, Offset: 1}, partlog.ErrOutOfRange, false},
		{"read of no log at 0", core.DiskOp{Kind: core.OpLogRead, Part: none}, nil, true},
		{"truncate of no log", core.DiskOp{Kind: core.OpLogTruncate, Part: none, Offset: 7}, nil, true},
		{"removal of no log", core.DiskOp{Kind: core.OpLogDelete, Part: none}, nil, true},
		{"a gap in the raft log", core.DiskOp{Kind: core.OpRaftSave, Entries: []*pb.Entry{entry(1, 2)}}, raftlog.ErrOrder, false},
		{"a snapshot", core.DiskOp{Kind: core.OpRaftSave, Snapshot: &pb.Snapshot{}}, nil, false},
		{"an unknown kind", core.DiskOp{Kind: 99}, nil, false},
	}
	for _, c := range cases {
		err := do(t, d, c.op)[0].Err
		if c.fine != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// Nothing of that broke anything, or made a log.
	mustDo(t, d, appendOp(1, part(1, 0), 1, 2, "y"), core.DiskOp{Kind: core.OpRaftSave, Entries: []*pb.Entry{entry(1, 1)}, Sync: true})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := do(t, d, appendOp(1, none, 0, 1, "x"))[0].Err; !errors.Is(err, disk.ErrClosed) {
		t.Errorf("append after Close = %v, want ErrClosed", err)
	}
	if err := d.Read(core.DiskOp{Part: part(1, 0)}).Err; !errors.Is(err, disk.ErrClosed) {
		t.Errorf("read after Close = %v, want ErrClosed", err)
	}
	if err := d.Close(); !errors.Is(err, disk.ErrClosed) {
		t.Errorf("second Close = %v, want ErrClosed", err)
	}
}

func TestErrorsPoison(t *testing.T) {
	broken := errors.New("input/output error")
	raftOp := func(i uint64) core.DiskOp {
		return core.DiskOp{ID: i, Kind: core.OpRaftSave, Entries: []*pb.Entry{entry(1, i)}, Sync: true}
	}
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		t.Run(string(op), func(t *testing.T) {
			m := vfs.NewMem()
			bad := "" // substring of the paths that fail
			d, _, _ := open(t, vfs.Hooked(m, func(o vfs.Op, path string) error {
				if bad != "" && o == op && strings.Contains(path, bad) {
					return &vfs.ShortWrite{N: 7, Err: broken}
				}
				return nil
			}))
			a, b, c := part(1, 0), part(2, 0), part(3, 0)
			mustDo(t, d, appendOp(1, a, 0, 1, "x"), appendOp(2, b, 0, 1, "x"), appendOp(3, c, 0, 1, "x"))
			mustDo(t, d, raftOp(1))

			bad = "logs/01"
			done := do(t, d, appendOp(1, a, 1, 1, "y"), appendOp(2, b, 1, 1, "y"), appendOp(3, a, 2, 1, "z"))
			if !errors.Is(done[0].Err, broken) || !errors.Is(done[2].Err, broken) {
				t.Errorf("on the bad disk: %v, %v", done[0].Err, done[2].Err)
			}
			// Of a failed group commit nobody knows which file it was; a failed write is one log's matter.
			if wantErr := op == vfs.OpSync; wantErr != (done[1].Err != nil) {
				t.Errorf("beside the bad log: %v", done[1].Err)
			}
			bad = ""
			done = do(t, d, appendOp(1, a, 1, 1, "y"), core.DiskOp{ID: 2, Kind: core.OpLogTruncate, Part: a},
				core.DiskOp{ID: 3, Kind: core.OpLogDelete, Part: a}, core.DiskOp{ID: 4, Kind: core.OpLogRead, Part: a})
			for _, c := range done {
				if !errors.Is(c.Err, broken) {
					t.Errorf("operation %d on the poisoned log = %v, want the first error", c.ID, c.Err)
				}
			}
			mustDo(t, d, appendOp(1, c, 1, 1, "y"))
			mustDo(t, d, raftOp(2))
			bad = "raft"
			if err := do(t, d, raftOp(3))[0].Err; !errors.Is(err, broken) {
				t.Errorf("raft save on the bad disk = %v", err)
			}
			bad = ""
			if err := do(t, d, raftOp(3))[0].Err; !errors.Is(err, broken) {
				t.Errorf("raft save after the error = %v, want the first error", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			_, boot, _ := open(t, m.Crash(vfs.CrashOptions{}))
			ends := map[core.PartitionID]int64{}
			for _, l := range boot.Logs {
				ends[l.ID] = l.End
			}
			if ends[a] < 1 || ends[b] < 1 || ends[c] != 2 || len(boot.Entries) < 2 {
				t.Errorf("after it the logs end at %v, raft at %d", ends, len(boot.Entries))
			}
		})
	}
}

// A log that could not be made is as good as poisoned: the operations behind its first append must not seem to work.
func TestFailedCreationPoisons(t *testing.T) {
	broken := errors.New("no space left on device")
	full := false
	d, _, _ := open(t, vfs.Hooked(vfs.NewMem(), func(op vfs.Op, path string) error {
		if full && op == vfs.OpCreate {
			return broken
		}
		return nil
	}))
	full = true
	p := part(1, 0)
	done := do(t, d, appendOp(1, p, 0, 1, "x"), core.DiskOp{ID: 2, Kind: core.OpLogTruncate, Part: p}, appendOp(3, p, 0, 1, "x"))
	full = false
	done = append(done, do(t, d, appendOp(4, p, 0, 1, "x"), core.DiskOp{ID: 5, Kind: core.OpLogRead, Part: p})...)
	for _, c := range done {
		if !errors.Is(c.Err, broken) {
			t.Errorf("operation %d = %v, want the first error", c.ID, c.Err)
		}
	}
	mustDo(t, d, appendOp(1, part(2, 0), 0, 1, "x"))
}

func TestSyncs(t *testing.T) {
	broken := errors.New("input/output error")
	var mu sync.Mutex
	synced := map[string]int{}
	fsys := vfs.Hooked(vfs.NewMem(), func(op vfs.Op, path string) error {
		if op != vfs.OpSync {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		synced[path]++
		if path == "f7" {
			return broken
		}
		return nil
	})
	var files []vfs.File
	for i := range 100 {
		f, err := fsys.Create(fmt.Sprintf("f%d", i))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for name, f := range map[string]func([]vfs.File) error{"serial": disk.SyncSerial, "parallel": disk.SyncParallel} {
		clear(synced)
		if err := f(files); !errors.Is(err, broken) || !strings.Contains(err.Error(), "f7") {
			t.Errorf("%s = %v, want the error of f7", name, err)
		}
		if len(synced) != len(files) {
			t.Errorf("%s synced %d of %d files", name, len(synced), len(files))
		}
		if err := f(files[:1]); err != nil {
			t.Errorf("%s of one file: %v", name, err)
		}
		if err := f(nil); err != nil {
			t.Errorf("%s of none: %v", name, err)
		}
	}
}

// Both queues and readers at once; the race detector watches.
func TestQueuesSideBySide(t *testing.T) {
	d, _, _ := open(t, vfs.NewMem())
	mustDo(t, d, appendOp(1, part(1, 0), 0, 1, "first", "second"))
	var wg sync.WaitGroup
	run := func(f func(i int) error) {
		wg.Go(func() {
			for i := range 100 {
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	run(func(i int) error {
		return d.Do([]core.DiskOp{{Kind: core.OpRaftSave, Entries: []*pb.Entry{entry(1, uint64(i)+1)}, Sync: true}}, disk.SyncParallel)[0].Err
	})
	run(func(i int) error {
		p := part(2, int32(i))
		var errs []error
		for _, c := range d.Do([]core.DiskOp{
			appendOp(1, part(1, 0), int64(i+2), 1, "x"), appendOp(2, p, 0, 1, "x"), {Kind: core.OpLogDelete, Part: part(2, int32(i-1))},
		}, disk.SyncParallel) {
			errs = append(errs, c.Err)
		}
		return errors.Join(errs...)
	})
	for range 2 {
		run(func(int) error {
			c := d.Read(core.DiskOp{Kind: core.OpLogRead, Part: part(1, 0), Offset: 1, Max: 1 << 20})
			if _, err := batch.Validate(c.Data, 0); c.Err != nil || err != nil || len(c.Data) == 0 {
				return fmt.Errorf("read %d bytes: %v, %v", len(c.Data), c.Err, err)
			}
			return nil
		})
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
