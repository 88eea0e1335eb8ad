package broker

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/vfs"
)

// fakeStorage holds each call of Do until the test lets it go.
type fakeStorage struct {
	gate chan struct{}

	mu     sync.Mutex
	calls  [][]uint64
	reads  []uint64
	closed bool
}

func (f *fakeStorage) Do(ops []core.DiskOp, _ func([]vfs.File) error) (done []core.DiskDone) {
	var ids []uint64
	for _, op := range ops {
		ids = append(ids, op.ID)
		done = append(done, core.DiskDone{ID: op.ID})
	}
	f.mu.Lock()
	f.calls = append(f.calls, ids)
	f.mu.Unlock()
	if f.gate != nil {
		<-f.gate
	}
	return done
}

func (f *fakeStorage) Read(op core.DiskOp) core.DiskDone {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, op.ID)
	return core.DiskDone{ID: op.ID, Data: []byte("r")}
}

func (f *fakeStorage) Cuts() []disk.Cut { return []disk.Cut{{Log: "raft", Bytes: 3}} }

func (f *fakeStorage) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func TestAQueueTakesEverythingWaitingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStorage{gate: make(chan struct{})}
		var mu sync.Mutex
		var done []uint64
		d := startDisks(f, nil, func(x *core.DiskDone) {
			mu.Lock()
			defer mu.Unlock()
			done = append(done, x.ID)
		})
		op := func(id uint64, k core.DiskOpKind) core.DiskOp { return core.DiskOp{ID: id, Kind: k} }
		d.submit([]core.DiskOp{op(1, core.OpLogAppend)})
		synctest.Wait()
		d.submit([]core.DiskOp{op(2, core.OpLogAppend), op(3, core.OpLogTruncate)})
		d.submit([]core.DiskOp{op(4, core.OpLogDelete)})
		d.submit([]core.DiskOp{op(5, core.OpRaftSave)})
		d.submit([]core.DiskOp{op(6, core.OpLogRead)})
		synctest.Wait()

		// The raft queue and reads do not wait for the logs.
		if d := cmp.Diff([][]uint64{{1}, {5}}, f.calls); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]uint64{6}, done); d != "" {
			t.Error(d)
		}
		close(f.gate)
		d.flush()
		if d := cmp.Diff([]uint64{2, 3, 4}, f.calls[2]); d != "" || len(f.calls) != 3 {
			t.Errorf("%d calls, the last:\n%s", len(f.calls), d)
		}
		if len(done) != 6 {
			t.Errorf("%d completions, want 6", len(done))
		}
		var logs []uint64
		for _, id := range done {
			if id <= 4 {
				logs = append(logs, id)
			}
		}
		if d := cmp.Diff([]uint64{1, 2, 3, 4}, logs); d != "" {
			t.Errorf("completions out of order:\n%s", d)
		}
	})
}
