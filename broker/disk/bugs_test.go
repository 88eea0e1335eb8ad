package disk_test

import (
	"path/filepath"
	"strings"
	"testing"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/vfs"
)

func withBug(t *testing.T, fsys vfs.FS, b bugs.Bug) (*disk.Dir, core.Boot) {
	t.Helper()
	o := opts
	o.Bugs = bugs.Set(0).With(b)
	d, boot, _, err := disk.Open(fsys, "data/n1", o)
	if err != nil {
		t.Fatal(err)
	}
	return d, boot
}

func TestAckBeforeFsync(t *testing.T) {
	m := vfs.NewMem()
	d, _ := withBug(t, m, bugs.AckBeforeFsync)
	done := do(t, d, appendOp(1, part(1, 0), 0, 1, "a"), core.DiskOp{ID: 2, Kind: core.OpRaftSave, HardState: hard(3, 1, 0), Sync: true})
	if !done[0].Bugs.Has(bugs.AckBeforeFsync) || done[1].Bugs != 0 || done[0].Err != nil {
		t.Errorf("%+v: want the append, and it alone, to say that the bug changed it", done)
	}
	_, boot := withBug(t, m.Crash(vfs.CrashOptions{}), bugs.AckBeforeFsync)
	if len(boot.Logs) != 1 || boot.Logs[0].End != 0 || boot.HardState.GetTerm() != 3 {
		t.Errorf("after a loss of power: %+v, want no record, and the raft log as it was", boot)
	}
}

// A torn tail keeps the node from starting, in whichever log; what is sound does not, and neither does the bug take blame for damage.
func TestTornTailFatal(t *testing.T) {
	for _, c := range []struct {
		name string
		dir  string
		op   core.DiskOp
	}{
		{"partition log", "logs", appendOp(2, part(1, 0), 1, 1, "torn")},
		{"raft log", "raft", core.DiskOp{ID: 2, Kind: core.OpRaftSave, HardState: hard(4, 1, 0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			d, _ := withBug(t, m, bugs.TornTailFatal)
			do(t, d, appendOp(1, part(1, 0), 0, 1, "whole"), core.DiskOp{ID: 3, Kind: core.OpRaftSave, HardState: hard(3, 1, 0), Sync: true})
			c.op.Sync = false
			do(t, d, c.op)
			m = m.Crash(vfs.CrashOptions{Tail: func(path string, tail []byte) []byte {
				if len(tail) == 0 || !strings.Contains(path, c.dir) || filepath.Base(path) == "synced" {
					return tail
				}
				return tail[:len(tail)-1]
			}})
			o := opts
			o.Bugs = bugs.Set(0).With(bugs.TornTailFatal)
			for range 2 { // it never starts again
				_, _, _, err := disk.Open(m, "data/n1", o)
				if bug, ok := disk.Planted(err); err == nil || !ok || bug != bugs.TornTailFatal {
					t.Fatalf("error %v, planted %v", err, ok)
				}
			}
			sound, boot, _ := open(t, m)
			if len(sound.Cuts()) == 0 || boot.HardState.GetTerm() != 3 || boot.Logs[0].End != 1 {
				t.Errorf("the sound one cut %+v and found %+v", sound.Cuts(), boot)
			}
		})
	}
	if _, ok := disk.Planted(&disk.WrongNodeError{}); ok {
		t.Error("another node's directory is no planted bug")
	}
}
