// Package partlog stores the records of one partition replica: raw Kafka record batches, offsets and leader epochs
// already set, one after the other in segment files. The disk executor (broker/disk) calls it; it knows nothing of
// replication, and keeps no time.
//
// # On disk
//
// A log is a directory. Each segment is a file named by its first offset in 20 digits, `.log`, holding nothing but
// batches, each with a checksum that covers all of it (seal.go). There is no index file: the sparse offset index and the leader-epoch index (epoch and first offset, KIP-101)
// are made anew from the batches at open, which reads and checks everything anyway. A small file, `synced`, says how much
// of the last segment was synced.
//
// # What a crash may leave
//
// Only the last segment may hold bytes that were never synced, because a segment is synced before the
// next is made. A loss of power finds any of their sectors and loses the others, so at open the last segment is cut at its
// first bad byte, whatever stands behind it, if that byte is not among those that `synced` knows as synced. If it is, or
// stands in an earlier segment, it is damage: bytes that are not there, fail their CRC32C, or are a batch whose offset does not follow
// on or whose leader epoch goes back. Damage is never repaired here; Open says where it is, with a *DamageError.
package partlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
	"soak/internal/vfs"
)

// Options of a log. The zero value gives the defaults.
type Options struct {
	SegmentBytes int64 // a segment grows to this size, by more only if one append is larger; default 64 MiB
	IndexBytes   int64 // one entry of the offset index for so many bytes; default 4 KiB, as in Kafka
	RefuseTorn   bool  // a torn tail is a *DamageError whose Torn is set, instead of being cut
}

const (
	defaultSegmentBytes = 64 << 20
	defaultIndexBytes   = 4 << 10

	maxScratch = 256 << 10 // a log keeps a buffer of so many bytes at most
)

// EpochStart says at which offset a leader epoch begins.
type EpochStart struct {
	Epoch int32
	Start int64
}

var (
	// ErrOutOfRange is a read or truncation at an offset that the log does not hold.
	ErrOutOfRange = errors.New("offset out of range")
	// ErrOrder is an append that does not follow on: its offset is not the log end, or its epoch goes back.
	ErrOrder = errors.New("append out of order")
	// ErrClosed is any call on a closed or removed log.
	ErrClosed = errors.New("partition log is closed")
)

// Log is an open partition log. One goroutine at a time may write (every method but Read); Read may be called
// beside it from any number of them.
type Log struct {
	fs   vfs.FS
	dir  string
	opts Options
	cut  int64

	marks  marks            // the writer's alone
	opened *producers.Table // what Open found, until it is asked for or the log has changed

	scratch []byte // the writer's: what it writes

	mu     sync.RWMutex // held to change what follows; the writer alone reads it without
	segs   []*segment   // ascending by offset, never empty; the last one takes the appends
	epochs []EpochStart
	failed error // what poisoned the log
	closed bool
}

// Open opens the log in dir and checks every byte of it; where there is none it makes an empty one that starts at offset
// 0. All that the log holds on return is durable. The parent of dir must exist.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.IndexBytes <= 0 {
		o.IndexBytes = defaultIndexBytes
	}
	l := &Log{fs: fsys, dir: dir, opts: o}
	if err := l.recover(); err != nil {
		l.closeFiles()
		return nil, fmt.Errorf("open partition log: %w", err)
	}
	return l, nil
}

// Cut is how many bytes of a torn tail Open cut.
func (l *Log) Cut() int64 { return l.cut }

// Start is the log start offset.
func (l *Log) Start() int64 { return l.segs[0].base }

// End is the log end offset: one past the last record, written though perhaps not yet synced.
func (l *Log) End() int64 { return l.active().next }

// Epochs gives the leader epochs and where each begins, ascending.
func (l *Log) Epochs() []EpochStart { return slices.Clone(l.epochs) }

// File is the file that holds every byte not yet synced, for a group commit: sync it and all appends so far are durable.
// It changes with the next append. Tell the log how its sync went, with Synced or Fail.
func (l *Log) File() vfs.File { return l.active().file }

func (l *Log) active() *segment { return l.segs[len(l.segs)-1] }

// Fail poisons the log: every later call answers an error that wraps err. What a failed write or sync left on
// disk is not known, so nothing may be built on it before the log is opened, and checked, again.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err)
}

// Failed is what every call answers since the log was poisoned or closed, nil while it is sound. It is for the writer.
func (l *Log) Failed() error { return l.failed }

func (l *Log) fail(err error) error {
	if l.failed == nil {
		l.failed = fmt.Errorf("partition log %s is unusable since an earlier error: %w", l.dir, err)
	}
	return err
}

// Append writes whole batches, of which the first has base offset offset; that must be the log end. They are durable after
// the next sync. The batches' headers are checked against each other (ErrOrder, or batch's errors), and a refused
// append leaves the log as it was; a failed write poisons it.
func (l *Log) Append(offset int64, data []byte) error {
	if l.failed != nil {
		return l.failed
	}
	hs, err := l.checkAppend(offset, data)
	if err != nil {
		return fmt.Errorf("append to %s at offset %d: %w", l.dir, offset, err)
	}
	if s := l.active(); s.size > 0 && s.size+int64(len(data)) > l.opts.SegmentBytes {
		if err := l.roll(); err != nil {
			return err
		}
	}
	l.opened = nil
	s := l.active()
	l.scratch = sealed(l.scratch, data, hs)
	if cap(l.scratch) > maxScratch {
		defer func() { l.scratch = nil }()
	}
	if _, err := s.file.Write(l.scratch); err != nil {
		err = fmt.Errorf("append to %s: %w", s.path, err)
		l.Fail(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range hs {
		l.add(s, h)
	}
	return nil
}

func (l *Log) checkAppend(offset int64, data []byte) ([]batch.Header, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: no batch", ErrOrder)
	}
	next, epoch := l.End(), l.lastEpoch()
	if offset != next {
		return nil, fmt.Errorf("%w: the log ends at %d", ErrOrder, next)
	}
	var hs []batch.Header
	for rest := data; len(rest) > 0; {
		h, err := batch.ParseHeader(rest)
		switch {
		case err != nil:
			return nil, err
		case h.Size > int64(len(rest)):
			return nil, fmt.Errorf("%w: %d bytes of %d", batch.ErrShort, len(rest), h.Size)
		case h.BaseOffset != next:
			return nil, fmt.Errorf("%w: a batch has base offset %d, want %d", ErrOrder, h.BaseOffset, next)
		case h.LeaderEpoch < epoch:
			return nil, fmt.Errorf("%w: a batch has leader epoch %d after %d", ErrOrder, h.LeaderEpoch, epoch)
		}
		hs = append(hs, h)
		next, epoch = h.NextOffset(), h.LeaderEpoch
		rest = rest[h.Size:]
	}
	return hs, nil
}

// lastEpoch is the least epoch that the next batch may have.
func (l *Log) lastEpoch() int32 {
	if n := len(l.epochs); n > 0 {
		return l.epochs[n-1].Epoch
	}
	return 0
}

// add takes note of a batch that stands at the end of the segment.
func (l *Log) add(s *segment, h batch.Header) {
	s.add(h, l.opts.IndexBytes)
	if n := len(l.epochs); n == 0 || h.LeaderEpoch > l.epochs[n-1].Epoch {
		l.epochs = append(l.epochs, EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
	}
}

// roll begins a new segment. The old one is synced first: then a crash can tear only the last.
func (l *Log) roll() error {
	err := l.active().file.Sync()
	var s *segment
	if err == nil {
		s, err = createSegment(l.fs, l.dir, l.End())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.fail(fmt.Errorf("begin a new segment of %s: %w", l.dir, err))
	}
	l.segs = append(l.segs, s)
	return nil
}

// Truncate cuts the log so that it ends at offset and answers the new end, durable on return. Batches are never split: an
// offset inside one cuts that batch whole, and the end is its base offset. At or beyond the log end nothing is cut; before the
// log start it is ErrOutOfRange.
func (l *Log) Truncate(offset int64) (end int64, err error) {
	l.mu.Lock() // for all of it: readers must not see files vanish under them
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return 0, l.failed
	case offset < l.Start():
		return 0, fmt.Errorf("truncate %s to %d: %w: it starts at %d", l.dir, offset, ErrOutOfRange, l.Start())
	}
	if err := l.truncate(offset); err != nil {
		return 0, l.fail(fmt.Errorf("truncate %s to %d: %w", l.dir, offset, err))
	}
	return l.End(), nil
}

func (l *Log) truncate(offset int64) error {
	if l.active().next > offset {
		l.opened = nil
		if err := l.marks.clear(); err != nil {
			return err
		}
	}
	// From the last segment down, each made durable: a crash in between leaves a shorter log, never one with a gap.
	for len(l.segs) > 1 && l.active().base > offset {
		s := l.active()
		if err := errors.Join(s.file.Close(), l.fs.Remove(s.path), l.fs.SyncDir(l.dir)); err != nil {
			return err
		}
		l.segs = l.segs[:len(l.segs)-1]
	}
	s := l.active()
	if offset < s.next {
		pos, h, err := s.find(offset, l.opts.IndexBytes)
		if err != nil {
			return err
		}
		if err := s.file.Truncate(pos); err != nil {
			return err
		}
		s.cutTo(pos, h.BaseOffset)
	}
	l.epochs = slices.DeleteFunc(l.epochs, func(e EpochStart) bool { return e.Start >= s.next })
	if err := s.file.Sync(); err != nil {
		return err
	}
	return l.setMark()
}

// Read answers whole batches from the one that holds offset on: as many of its segment as fit into limit bytes, but at least
// one. At the log end it answers nothing; outside of the log, ErrOutOfRange. The CRCs are checked: bytes that went bad since they
// were written are a *DamageError, not an answer.
func (l *Log) Read(offset int64, limit int) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.failed != nil {
		return nil, l.failed
	}
	if offset == l.End() {
		return nil, nil
	}
	if offset < l.Start() || offset > l.End() {
		return nil, fmt.Errorf("read %s at %d: %w: it holds %d to %d", l.dir, offset, ErrOutOfRange, l.Start(), l.End())
	}
	i, _ := slices.BinarySearchFunc(l.segs, offset, func(s *segment, o int64) int {
		if s.next <= o {
			return -1
		}
		return 1
	})
	data, err := l.segs[i].read(offset, limit, l.opts.IndexBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", l.dir, offset, err)
	}
	return data, nil
}

// Close closes the files without syncing them.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.closed = true
	l.failed = fmt.Errorf("%s: %w", l.dir, ErrClosed)
	return l.closeFiles()
}

func (l *Log) closeFiles() error {
	var errs []error
	if l.marks.file != nil {
		errs = append(errs, l.marks.file.Close())
	}
	for _, s := range l.segs {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// removedSuffix marks a directory whose removal has begun.
const removedSuffix = ".removed"

// Remove closes the log and removes it from disk. Its directory gets another name first: a crash in the middle
// leaves either the whole log or none, and a remainder that RemoveLeftovers clears.
func (l *Log) Remove() error {
	if l.failed != nil {
		return l.failed
	}
	gone := l.dir + removedSuffix
	err := l.Close()
	if err == nil {
		err = l.fs.Rename(l.dir, gone)
	}
	if err == nil {
		err = l.fs.SyncDir(filepath.Dir(l.dir))
	}
	if err == nil {
		err = removeAll(l.fs, gone)
	}
	if err != nil {
		err = fmt.Errorf("remove partition log %s: %w", l.dir, err)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = err // says more than that it is closed
		return err
	}
	return nil
}

// RemoveLeftovers clears what removals that a crash cut short left in a directory of logs.
func RemoveLeftovers(fsys vfs.FS, parent string) error {
	names, err := fsys.List(parent)
	if err != nil {
		return fmt.Errorf("look for removed partition logs: %w", err)
	}
	for _, name := range names {
		if filepath.Ext(name) != removedSuffix {
			continue
		}
		if err := removeAll(fsys, filepath.Join(parent, name)); err != nil {
			return fmt.Errorf("clear removed partition log: %w", err)
		}
	}
	return nil
}

func removeAll(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
