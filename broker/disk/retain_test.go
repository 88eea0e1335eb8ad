package disk_test

import (
	"testing"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/disk"
	"soak/broker/partlog/batch/batchtest"
	"soak/internal/vfs"
)

// What retention removed stays removed when the directory is opened again, and so does the place where a log was begun anew.
func TestRetainAndRestart(t *testing.T) {
	m := vfs.NewMem()
	d, _, _ := open(t, m)
	a, b, none := part(1, 0), part(1, 1), part(2, 0)
	ops := []core.DiskOp{appendOp(1, b, 0, 1, "x")}
	for i := range int64(4) {
		op := appendOp(2, a, i, 1, "a value")
		op.Segment = 1 // each batch has a segment of its own
		ops = append(ops, op)
	}
	mustDo(t, d, ops...)
	done := mustDo(t, d,
		core.DiskOp{ID: 7, Kind: core.OpLogRetain, Part: a, Retain: core.Retention{Below: 3, Until: 4, Bytes: -1}},
		core.DiskOp{ID: 8, Kind: core.OpLogRetain, Part: none, Retain: core.Retention{Below: 3, Until: 4, Bytes: -1}},
		core.DiskOp{ID: 9, Kind: core.OpLogRestart, Part: b, Offset: 50},
		core.DiskOp{ID: 10, Kind: core.OpLogRestart, Part: none, Offset: 60},
		appendOp(11, none, 60, 4, "y"),
	)
	if done[0].End != 3 || done[1].End != 0 {
		t.Errorf("the logs begin at %d and %d", done[0].End, done[1].End)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, boot, _ := open(t, m.Crash(vfs.CrashOptions{}))
	want := map[core.PartitionID][2]int64{a: {3, 4}, b: {50, 50}, none: {60, 61}}
	for _, l := range boot.Logs {
		if got := [2]int64{l.Start, l.End}; got != want[l.ID] {
			t.Errorf("log %v holds %v, want %v", l.ID, got, want[l.ID])
		}
		delete(want, l.ID)
	}
	if len(want) > 0 {
		t.Errorf("not found again: %v", want)
	}
}

// The planted bug removes a segment by the age of its first record, and tells that it did.
func TestRetainByFirstRecord(t *testing.T) {
	for _, c := range []struct {
		bugs bugs.Set
		want int64
	}{{0, 0}, {bugs.Set(0).With(bugs.RetentionByFirstRecord), 2}} {
		d, _, _, err := disk.Open(vfs.NewMem(), "/data", disk.Options{Node: 1, Bugs: c.bugs})
		if err != nil {
			t.Fatal(err)
		}
		a := part(1, 0)
		first, second := appendOp(1, a, 0, 1, "old"), appendOp(2, a, 1, 1, "new")
		batchtest.At(first.Data, 1000)
		batchtest.At(second.Data, 2000)
		done := mustDo(t, d, first, second, core.DiskOp{ID: 3, Kind: core.OpLogRetain, Part: a, Retain: core.Retention{Below: 2, Before: 1500, Bytes: -1}})
		if got := done[2]; got.End != c.want || got.Bugs.Has(bugs.RetentionByFirstRecord) != (c.want > 0) {
			t.Errorf("with %v the log begins at %d, want %d; told %v", c.bugs.Names(), got.End, c.want, got.Bugs.Names())
		}
	}
}
