package disk

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/partlog"
	"soak/internal/vfs"
)

// target is a log as the group commit sees it.
type target interface {
	File() vfs.File // what to sync
	Synced() error  // File was synced; an error poisons
	Fail(error)     // poison it
	Failed() error  // what poisoned it
	Close() error
}

// Do executes everything that waits in one queue (the raft log's, or the partition logs'): it writes all of it in order, then
// syncs all files that a synced operation touched with one call of sync (SyncSerial, SyncParallel, or the simulator's), and answers a
// completion for every operation, in the order given. The two queues may be in Do at the same time, each once; reads are executed too.
//
// After a failed write or sync the log concerned is poisoned: what it holds on disk is not known. Every operation of this call on it fails, and so does every later
// one. When sync fails that is every log synced, for nobody says which file it was.
//
// Appends must begin at the log end, and the first one at 0, which makes the log. DiskOp.Epochs is not needed: the
// batches carry their epochs. Truncations are synced one by one, whatever Sync says. A truncation or removal of a log that is not there does nothing.
func (d *Dir) Do(ops []core.DiskOp, sync func([]vfs.File) error) []core.DiskDone {
	done := make([]core.DiskDone, len(ops))
	on := make([]target, len(ops)) // what each operation wrote to
	var toSync []target
	for i := range ops {
		op := &ops[i]
		done[i].ID = op.ID
		if op.Kind == core.OpLogRead {
			done[i] = d.Read(*op)
			continue
		}
		on[i], done[i].End, done[i].Err = d.write(op)
		if l, ok := on[i].(*partlog.Log); ok && op.Kind == core.OpLogTruncate && done[i].Err == nil {
			done[i].Producers, done[i].Err = l.Producers()
		}
		switch {
		case op.Kind == core.OpLogDelete && done[i].Err == nil: // nothing is left to sync
			gone := on[i]
			toSync = slices.DeleteFunc(toSync, func(t target) bool { return t == gone })
			for j := range on[:i+1] {
				if on[j] == gone {
					on[j] = nil
				}
			}
		case op.Kind == core.OpLogRetain && done[i].Err == nil && d.opts.Bugs.Has(bugs.RetentionByFirstRecord):
			d.retainByFirstRecord(op, &done[i])
		case op.Sync && op.Kind == core.OpLogAppend && d.opts.Bugs.Has(bugs.AckBeforeFsync):
			done[i].Bugs = done[i].Bugs.With(bugs.AckBeforeFsync)
		case op.Sync && on[i] != nil && !slices.Contains(toSync, on[i]):
			toSync = append(toSync, on[i])
		}
	}
	toSync = slices.DeleteFunc(toSync, func(t target) bool { return t.Failed() != nil })
	if len(toSync) > 0 {
		files := make([]vfs.File, len(toSync))
		for i, t := range toSync {
			files[i] = t.File()
		}
		if err := sync(files); err != nil {
			for _, t := range toSync {
				t.Fail(fmt.Errorf("group commit of %d files: %w", len(files), err))
			}
		} else {
			for _, t := range toSync {
				_ = t.Synced() // poisons the log, which is looked at below
			}
		}
	}
	for i, t := range on {
		if t != nil && done[i].Err == nil {
			done[i].Err = t.Failed()
		}
	}
	return done
}

// write executes one operation up to its sync, and answers what it wrote to (nil if there is no such log) and where that log ends.
func (d *Dir) write(op *core.DiskOp) (on target, end int64, err error) {
	if d.isClosed() {
		return nil, 0, ErrClosed
	}
	switch {
	case op.Kind == core.OpRaftSnapshot:
		return d.raft, 0, d.raft.Compact(op.Snapshot, op.Base, !op.Hasty)
	case op.Kind == core.OpRaftSave && op.Snapshot != nil:
		return d.raft, 0, d.raft.Install(op.Snapshot, op.HardState, op.Entries)
	case op.Kind == core.OpRaftSave:
		return d.raft, 0, d.raft.Save(op.HardState, op.Entries, false)
	}
	l, err := d.log(op.Part)
	if err != nil {
		return nil, 0, err
	}
	switch op.Kind {
	case core.OpLogAppend:
		if l == nil {
			if op.Offset != 0 {
				return nil, 0, fmt.Errorf("append to %s at offset %d: %w: there is no such log", d.logDir(op.Part), op.Offset, partlog.ErrOrder)
			}
			if l, err = d.openLog(op.Part); err != nil {
				return nil, 0, err
			}
		}
		if op.Segment > 0 {
			l.SetSegmentBytes(op.Segment)
		}
		err = l.Append(op.Offset, op.Data)
		return l, l.End(), err
	case core.OpLogRetain:
		if l == nil {
			return nil, 0, nil
		}
		start, err := l.Retain(retention(op.Retain))
		return l, start, err
	case core.OpLogRestart:
		if l == nil {
			if l, err = d.openLog(op.Part); err != nil {
				return nil, 0, err
			}
		}
		return l, op.Offset, l.Restart(op.Offset)
	case core.OpLogTruncate:
		if l == nil {
			return nil, 0, nil
		}
		end, err = l.Truncate(op.Offset)
		return l, end, err
	case core.OpLogDelete:
		if l == nil {
			return nil, 0, nil
		}
		if err := l.Remove(); err != nil {
			return l, 0, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.logs, op.Part)
		return l, 0, nil
	}
	return nil, 0, fmt.Errorf("unknown disk operation %d", op.Kind)
}

// log answers a partition's log, nil if there is none.
func (d *Dir) log(id core.PartitionID) (*partlog.Log, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil, ErrClosed
	}
	return d.logs[id], d.broken[id]
}

// Read executes an OpLogRead. It may be called from any number of goroutines beside Do. A log that is not there reads as an empty one.
func (d *Dir) Read(op core.DiskOp) core.DiskDone {
	done := core.DiskDone{ID: op.ID}
	l, err := d.log(op.Part)
	switch {
	case err != nil:
		done.Err = err
	case l != nil:
		done.Data, done.Err = l.Read(op.Offset, int(op.Max))
	case op.Offset != 0:
		done.Err = fmt.Errorf("read %s at %d: %w: there is no such log", d.logDir(op.Part), op.Offset, partlog.ErrOutOfRange)
	}
	return done
}

// SyncSerial syncs one file after the other, all of them even if one fails.
func SyncSerial(files []vfs.File) error {
	errs := make([]error, len(files))
	for i, f := range files {
		errs[i] = syncFile(f)
	}
	return errors.Join(errs...)
}

// maxParallel bounds the threads that wait in fsync at a time.
const maxParallel = 32

// SyncParallel syncs files side by side: the device takes many flushes in little more time than one.
func SyncParallel(files []vfs.File) error {
	if len(files) == 1 {
		return syncFile(files[0])
	}
	errs := make([]error, len(files))
	slots := make(chan struct{}, maxParallel)
	var wg sync.WaitGroup
	for i, f := range files {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = syncFile(f)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func syncFile(f vfs.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return nil
}

func retention(r core.Retention) partlog.Retention {
	return partlog.Retention{Below: r.Below, Until: r.Until, Before: r.Before, Bytes: r.Bytes}
}

// retainByFirstRecord is the planted bug: what is left is looked at again, by the age of each segment's first record.
func (d *Dir) retainByFirstRecord(op *core.DiskOp, done *core.DiskDone) {
	l, err := d.log(op.Part)
	if l == nil || err != nil {
		return
	}
	r := retention(op.Retain)
	r.FirstRecord = true
	start := done.End
	if done.End, done.Err = l.Retain(r); done.Err == nil && done.End > start {
		done.Bugs = done.Bugs.With(bugs.RetentionByFirstRecord)
	}
}
