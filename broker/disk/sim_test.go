package disk_test

import (
	"errors"
	"maps"
	"path"
	"syscall"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"pgregory.net/rapid"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/broker/partlog"
	"soak/broker/raftlog"
	"soak/internal/vfs"
)

func simDisk() *vfs.Sim {
	return vfs.NewSim(func(op vfs.Op, _ string, bytes int) int64 {
		if op == vfs.OpSync || op == vfs.OpSyncDir {
			return 100
		}
		return 5 + int64(bytes)/50
	})
}

// simOpts make segments of several sectors.
var simOpts = disk.Options{Node: 1, SegmentBytes: 6000, RaftSegmentBytes: 6000}

// drawLoss draws what a loss of power leaves: a hash decides on each sector, length and name alone, leaning to the
// oldest, the newest, or neither.
func drawLoss(t *rapid.T) vfs.Choose {
	seed := rapid.Uint64().Draw(t, "loss")
	return func(c vfs.SimChoice) int {
		h := seed*0x9e3779b97f4a7c15 ^ uint64(c.Offset)<<8 ^ uint64(c.What)
		for _, b := range []byte(c.Path) {
			h = (h ^ uint64(b)) * 0x100000001b3
		}
		h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
		h ^= h >> 32
		switch lean := seed % 8; {
		case lean < 3 && h%8 != 0:
			return c.N - 1
		case lean == 3 && h%8 != 0:
			return 0
		}
		return int(h>>8) % c.N
	}
}

// On the simulated disk, with any sector, length and name of what was not synced found or lost, out of order: the directory opens
// again and holds all that a synced completion confirmed, and nothing that was not written.
func TestSimCrashAnywhere(t *testing.T) {
	crashedInDo, cuts := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		fsys := simDisk()
		mod := &model{logs: map[core.PartitionID][]logState{}, raft: []raftState{{hard: &pb.HardState{}}}, padding: 700}
		lastBoot := uint64(0)
		crash := func(from int64) (inside bool) {
			end := max(from, fsys.End())
			at := rapid.Int64Range(from, end).Draw(t, "crash")
			if rapid.IntRange(0, 3).Draw(t, "power stays") == 0 {
				fsys.Crash(at)
			} else {
				fsys.PowerLoss(at, drawLoss(t))
			}
			return at < end
		}
		openDir := func() (*disk.Dir, core.Boot, uint64, int64) {
			start := fsys.End()
			fsys.Begin(start)
			d, boot, n, err := disk.Open(fsys, "data", simOpts)
			if err != nil {
				t.Fatal(err)
			}
			if n <= lastBoot {
				t.Fatalf("boot %d after %d", n, lastBoot)
			}
			return d, boot, n, start
		}
		for range rapid.IntRange(1, 4).Draw(t, "lives") {
			d, boot, n, start := openDir()
			if rapid.IntRange(0, 3).Draw(t, "crash while it opens") == 0 {
				crash(start)
				continue
			}
			lastBoot = n
			cuts += len(d.Cuts())
			fsys.Begin(fsys.End())
			mod.check(t, d, boot)
			for calls := rapid.IntRange(1, 8).Draw(t, "calls of Do"); calls > 0; calls-- {
				start := fsys.End()
				fsys.Begin(start)
				var ops []core.DiskOp
				if rapid.IntRange(0, 2).Draw(t, "queue") == 0 {
					for range rapid.IntRange(1, 3).Draw(t, "saves") {
						ops = append(ops, mod.drawRaft(t))
					}
				} else {
					ops = mod.drawLogs(t)
				}
				for _, c := range d.Do(ops, fsys.SyncAll) {
					if c.Err != nil {
						t.Fatal(c.Err)
					}
				}
				if calls == 1 {
					if crash(start) {
						crashedInDo++
						break
					}
				}
				mod.completed(ops)
			}
		}
		d, boot, _, _ := openDir()
		cuts += len(d.Cuts())
		mod.check(t, d, boot)
		for p := range maps.Keys(mod.logs) { // and it goes on
			end, epoch := mod.log(p).next(t)
			if c := d.Do([]core.DiskOp{appendOp(1, p, end, epoch, "more")}, fsys.SyncAll)[0]; c.Err != nil || c.End != end+1 {
				t.Fatalf("append after recovery: end %d, %v", c.End, c.Err)
			}
		}
	})
	if crashedInDo == 0 || cuts == 0 {
		t.Errorf("%d crashes in the middle of Do, %d torn tails: the test proves too little", crashedInDo, cuts)
	}
}

// One bit of the logs rots while a killed node lies still, all of it synced: whoever opens it is told, or nothing was lost (the bit
// was a mark's).
func TestSimBitRot(t *testing.T) {
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		fsys := simDisk()
		mod := &model{logs: map[core.PartitionID][]logState{}, raft: []raftState{{hard: &pb.HardState{}}}}
		d, _, _, err := disk.Open(fsys, "data", opts)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(2, 10).Draw(t, "calls of Do") {
			var ops []core.DiskOp
			if i%2 == 0 {
				ops = []core.DiskOp{mod.drawRaft(t)}
			} else {
				ops = mod.drawLogs(t)
			}
			for j := range ops {
				ops[j].Sync = true
			}
			for _, c := range d.Do(ops, fsys.SyncAll) {
				if c.Err != nil {
					t.Fatal(c.Err)
				}
			}
			mod.completed(ops)
		}
		fsys.Crash(fsys.End())
		var files []vfs.SimFileInfo
		for _, f := range fsys.Files() {
			if ext := path.Ext(f.Path); f.Size > 0 && (ext == ".wal" || ext == ".log" || ext == ".snap") {
				files = append(files, f)
			}
		}
		file := rapid.SampledFrom(files).Draw(t, "file")
		at := rapid.Int64Range(0, file.Size-1).Draw(t, "byte")
		fsys.Flip(file.Path, at, uint(rapid.IntRange(0, 7).Draw(t, "bit")))
		d, boot, _, err := disk.Open(fsys, "data", opts)
		var raft *raftlog.DamageError
		var records *partlog.DamageError
		var format *raftlog.FormatError
		switch {
		case err == nil:
			mod.check(t, d, boot)
		case errors.As(err, &raft), errors.As(err, &records), errors.As(err, &format):
			refused++
		default:
			t.Fatal(err)
		}
	})
	if refused == 0 {
		t.Error("nothing was ever refused: the test proves nothing")
	}
}

// A disk that fails is told in the completion, and what was confirmed before is there after the restart.
func TestSimFaultsReachTheCompletion(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault vfs.SimFault
		want  error
	}{
		{"full", vfs.SimFault{Kind: vfs.DiskFull, Free: 10, Short: true}, syscall.ENOSPC},
		{"failing write", vfs.SimFault{Kind: vfs.WriteError}, syscall.EIO},
		{"failing sync, once", vfs.SimFault{Kind: vfs.SyncError, Times: 1}, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := simDisk()
			d, _, _ := open(t, fsys)
			p := part(1, 0)
			for _, done := range d.Do([]core.DiskOp{appendOp(1, p, 0, 1, "kept")}, fsys.SyncAll) {
				if done.Err != nil {
					t.Fatal(done.Err)
				}
			}
			fsys.Begin(fsys.End())
			fault := fsys.Inject(c.fault)
			for id := range uint64(2) { // the first one fails, and the log stays poisoned
				if done := d.Do([]core.DiskOp{appendOp(2+id, p, 1, 1, "not confirmed")}, fsys.SyncAll)[0]; !errors.Is(done.Err, c.want) {
					t.Errorf("the completion says %v, want %v", done.Err, c.want)
				}
			}
			if fault.Refused != 1 {
				t.Errorf("%d calls refused, want 1", fault.Refused)
			}
			fault.Heal()
			fsys.Crash(fsys.End())
			_, boot, _ := open(t, fsys)
			if len(boot.Logs) != 1 || boot.Logs[0].End != 1 {
				t.Errorf("found %+v, want the confirmed record alone", boot.Logs)
			}
		})
	}
}
