package disk_test

import (
	"errors"
	"testing"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/vfs"
)

// Which lives of a data directory the next one is told of as unclean.
func TestUncleanBoots(t *testing.T) {
	type life struct {
		unsynced bool
		end      string // "closed", "killed", "failed": what the log's last sync said before Close
	}
	for _, c := range []struct {
		name  string
		lives []life
		want  uint64
	}{
		{"none before", nil, 0},
		{"synced records survive a kill", []life{{false, "killed"}}, 0},
		{"an orderly stop", []life{{true, "closed"}}, 0},
		{"a kill", []life{{true, "killed"}}, 1},
		{"a stop whose log had failed", []life{{true, "failed"}}, 1},
		{"an orderly stop does not make up for the kill before it", []life{{true, "killed"}, {true, "closed"}}, 1},
		{"nor does a life of synced records", []life{{true, "killed"}, {false, "killed"}}, 1},
		{"the last one counts", []life{{true, "killed"}, {true, "closed"}, {true, "killed"}, {true, "closed"}}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			for _, l := range c.lives {
				o := opts
				o.Unsynced = l.unsynced
				d, boot, _, err := disk.Open(m, "data/n1", o)
				if err != nil {
					t.Fatal(err)
				}
				var end int64
				if len(boot.Logs) > 0 {
					end = boot.Logs[0].End
				}
				op := appendOp(1, part(1, 0), end, 1, "value")
				op.Sync = !l.unsynced
				for _, done := range do(t, d, op) {
					if done.Err != nil {
						t.Fatal(done.Err)
					}
				}
				switch l.end {
				case "failed":
					d.Do([]core.DiskOp{appendOp(2, part(1, 0), end+1, 1, "more")}, func([]vfs.File) error { return errors.New("no sync") })
					fallthrough
				case "closed":
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
				case "killed":
					m = m.Crash(vfs.CrashOptions{})
				}
			}
			_, boot, _ := open(t, m)
			if boot.Unclean != c.want {
				t.Errorf("unclean boot %d, want %d", boot.Unclean, c.want)
			}
		})
	}
}

// What is not to be synced is not: a loss of power takes it, and a kill does not.
func TestUnsyncedAppendsAreLeftToTheKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		sync bool
		want int64
	}{{"synced", true, 2}, {"not synced", false, 0}} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			d, _, _ := open(t, m)
			op := appendOp(1, part(1, 0), 0, 1, "a", "b")
			op.Sync = c.sync
			if done := do(t, d, op); done[0].Err != nil || done[0].End != 2 {
				t.Fatalf("%+v", done[0])
			}
			_, boot, _ := open(t, m.Crash(vfs.CrashOptions{})) // nothing that was not synced is left
			if len(boot.Logs) != 1 || boot.Logs[0].End != c.want {
				t.Errorf("after a loss of power: %+v, want a log that ends at %d", boot.Logs, c.want)
			}
		})
	}
}
