// Package raftlog is the write-ahead log of one raft node: its hard state and entries, over vfs. The disk executor
// (broker/disk) calls it with what raft asks to be stored, in raft's order, and reads everything back at open.
//
// # On disk
//
// A directory of segment files, `raft-` and a sequence number in 16 digits, `.wal`, and of snapshots, `raft-` and the raft index in
// 16 digits, `.snap`. Numbers are little-endian, checksums CRC32C.
//
//	header:   "SOAKRAFT", format uint32, node id uint32, sequence number uint64,
//	          base index and term uint64, snapshot index and term uint64 (see Compaction), CRC uint32
//	frames:   magic uint32, length uint32, CRC uint32, body
//	body:     kind (1: save), then for a save
//	          hard state: 0, or 1 length uint32 protobuf; entries: count uint32, each length uint32 protobuf
//	          (3: mark) nothing: all that stands before it in the segment was durable when it was written
//	snapshot: "SOAKSNAP", format uint32, node id uint32, length uint64, protobuf, CRC uint32
//
// One Save is one frame, so a crash keeps it whole or not at all. A frame's CRC also covers its segment's number and its
// position: a frame that got elsewhere is none. An entry replaces those of the same and higher indexes before it.
//
// # What a crash may leave
//
// A segment is synced before the next is made, and its header before any frame, so only the last one can hold bytes that
// were never synced. A loss of power finds any of their sectors and loses the others, so good frames may stand behind
// torn ones. What tells that from damage is the mark, which is written after each sync (without a sync of its own: a killed
// process leaves it to the kernel, a loss of power may lose it). At open the last segment is cut at its first bad
// byte, unless a mark stands behind it. That, and anything else (a bad frame in an earlier segment, a gap in the
// indexes, a commit index beyond the last entry), is damage, which Open refuses with a *DamageError.
//
// # Compaction
//
// Compact and Install put a snapshot in the place of entries. First the snapshot is made durable under its name: temporary file, sync,
// rename, sync of the directory. Then, in the same four steps, a segment that needs none before it: its header names
// the snapshot and the last entry that is gone (the base), its first frame holds the hard state and all entries behind the base. The rename of the
// segment is what puts both in force. Only then do earlier segments and snapshots go; what a crash leaves of them goes at the next open.
//
// So a segment that a compaction began is whole under its name, and the snapshot that it names is: neither can be torn, and
// whatever is wrong with them is damage.
package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/internal/vfs"
)

// Format is the version of the format on disk that this package writes, and the only one it reads.
const Format = 3 // 2 had no snapshots

// Options of a log. The zero value gives the defaults.
type Options struct {
	SegmentBytes int64 // a new segment is begun when one has reached this size; default 16 MiB
	RefuseTorn   bool  // a torn tail is a *DamageError whose Torn is set, instead of being cut
}

const defaultSegmentBytes = 16 << 20

// ErrOrder is a Save that does not fit what is stored: a gap in the indexes, or a commit index beyond the last entry. Nothing was written.
var ErrOrder = errors.New("raft save out of order")

// State is what Open found.
type State struct {
	HardState *pb.HardState // never nil; empty if none was saved
	Snapshot  *pb.Snapshot  // the one in force, nil if there is none
	// The entry before the first one: (0, 0) without a snapshot, otherwise the snapshot's or an earlier one.
	BaseIndex, BaseTerm uint64
	Entries             []*pb.Entry // without a gap, from index BaseIndex+1
	Cut                 int64       // bytes of a torn tail that were cut
}

// Empty says whether nothing was ever saved.
func (s State) Empty() bool {
	return len(s.Entries) == 0 && s.Snapshot == nil && proto.Size(s.HardState) == 0
}

// Log is an open log. It is for one goroutine at a time.
type Log struct {
	fs   vfs.FS
	dir  string
	node int32
	opts Options

	file  vfs.File // the last segment
	path  string
	seq   uint64
	first uint64 // sequence number of the segment that the log begins with
	size  int64
	mark  int64 // where the last mark in the file ends, or the header: nothing behind it is known as synced at an open

	hard     *pb.HardState // the last one saved
	base     entryID       // of the entry before the first
	entries  []*pb.Entry   // what is saved, to write again behind a compaction; the entries are shared with who saved them
	snapshot entryID       // the snapshot in force
	buf      []byte        // one frame, used again
	failed   error
}

// Open opens node's log in dir, checks every byte of it, cuts a torn tail, and answers what it holds; where there is none it
// makes an empty one. All that it answers is durable. The parent of dir must exist. Errors: *DamageError, *FormatError, *NodeError, or
// those of the file system.
func Open(fsys vfs.FS, dir string, node int32, o Options) (*Log, State, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	l := &Log{fs: fsys, dir: dir, node: node, opts: o, hard: &pb.HardState{}}
	st, err := l.recover()
	if err != nil {
		if l.file != nil {
			_ = l.file.Close() // the first error says what is wrong
		}
		return nil, State{}, fmt.Errorf("open raft log: %w", err)
	}
	return l, st, nil
}

// Save appends entries, which replace any with the same or a higher index, and the hard state (nil: unchanged) as one record.
// With sync it is durable on return; otherwise after the next Sync, or a sync of File. A failed write or sync
// poisons the log: nothing can be saved any more until it is opened, and checked, again.
func (l *Log) Save(hs *pb.HardState, entries []*pb.Entry, sync bool) error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.check(hs, entries); err != nil {
		return err
	}
	if hs != nil || len(entries) > 0 {
		if l.size >= l.opts.SegmentBytes {
			if err := l.roll(); err != nil {
				return l.fail(fmt.Errorf("begin a new raft log segment: %w", err))
			}
		}
		if err := l.write(hs, entries); err != nil {
			return err
		}
		l.entries = merge(l.base.index, l.entries, entries)
		if hs != nil {
			l.hard = proto.CloneOf(hs) // the caller may go on changing it
		}
	}
	if sync {
		return l.Sync()
	}
	return nil
}

// check refuses what does not fit what is stored.
func (l *Log) check(hs *pb.HardState, entries []*pb.Entry) error {
	last := l.last()
	for _, e := range entries {
		if err := follows(l.base.index, last, e); err != nil {
			return fmt.Errorf("%w: %v", ErrOrder, err)
		}
		last = e.GetIndex()
	}
	if hs == nil {
		hs = l.hard
	}
	if hs.GetCommit() > last {
		return fmt.Errorf("%w: commit index %d beyond the last entry %d", ErrOrder, hs.GetCommit(), last)
	}
	return nil
}

// last is the index of the last entry, stored here or covered by the snapshot; 0 if there is none.
func (l *Log) last() uint64 { return l.base.index + uint64(len(l.entries)) }

// follows says whether an entry may come after one of index last: at the next index, or in the place of an earlier one behind base.
func follows(base, last uint64, e *pb.Entry) error {
	if i := e.GetIndex(); i <= base || i > last+1 {
		return fmt.Errorf("entry %d after entry %d", i, last)
	}
	return nil
}

// merge appends entries, which follow, to those behind base. What they replace may be in other hands, and stays as it is.
func merge(base uint64, have, entries []*pb.Entry) []*pb.Entry {
	for _, e := range entries {
		if keep := e.GetIndex() - base - 1; keep < uint64(len(have)) {
			have = have[:keep:keep]
		}
		have = append(have, e)
	}
	return have
}

// write appends one frame.
func (l *Log) write(hs *pb.HardState, entries []*pb.Entry) error {
	b, err := appendSave(append(l.buf[:0], make([]byte, frameHead)...), hs, entries)
	if err != nil {
		return fmt.Errorf("encode raft save: %w", err)
	}
	if err := fits(len(b) - frameHead); err != nil {
		return err
	}
	sealFrame(b, l.seq, l.size)
	if l.buf = b; cap(b) > maxKeptBuffer {
		l.buf = nil
	}
	if _, err := l.file.Write(b); err != nil {
		return l.fail(fmt.Errorf("append to %s: %w", l.path, err))
	}
	l.size += int64(len(b))
	return nil
}

func fits(body int) error {
	if body > math.MaxInt32 {
		return fmt.Errorf("raft save of %d bytes: more than a frame can hold", body)
	}
	return nil
}

// maxKeptBuffer bounds what one large save leaves allocated.
const maxKeptBuffer = 1 << 20

// roll begins a new segment with the hard state, the old one synced: then a crash can tear only the last.
func (l *Log) roll() error {
	old := l.file
	if err := old.Sync(); err != nil {
		return err
	}
	if err := l.create(l.seq + 1); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return err
	}
	return l.write(l.hard, nil)
}

// create makes the segment of a sequence number, durable with its header, and makes it the one that is written to.
func (l *Log) create(seq uint64) error {
	path := filepath.Join(l.dir, segmentName(seq))
	f, err := l.fs.Create(path)
	if err != nil {
		return err
	}
	head := appendHeader(nil, header{node: l.node, seq: seq})
	_, err = f.Write(head)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.path, l.seq, l.size, l.mark = f, path, seq, int64(len(head)), int64(len(head))
	return nil
}

// Sync makes everything saved durable.
func (l *Log) Sync() error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("sync %s: %w", l.path, err))
	}
	return l.Synced()
}

// Synced tells the log that File was synced and nothing saved since. It writes a mark that says so; a mark that
// cannot be written poisons the log.
func (l *Log) Synced() error {
	if l.failed != nil {
		return l.failed
	}
	if l.size == l.mark {
		return nil
	}
	l.buf = appendMark(l.buf[:0], l.seq, l.size)
	if _, err := l.file.Write(l.buf); err != nil {
		return l.fail(fmt.Errorf("mark %s as synced: %w", l.path, err))
	}
	l.size += markSize
	l.mark = l.size
	return nil
}

// File is the file that holds every byte not yet synced, for a group commit with other files. It changes with the next
// Save. Tell the log how its sync went, with Synced or Fail.
func (l *Log) File() vfs.File { return l.file }

// Fail poisons the log: every later call answers an error that wraps err.
func (l *Log) Fail(err error) { _ = l.fail(err) }

// Failed is what every call answers since the log was poisoned or closed, nil while it is sound.
func (l *Log) Failed() error { return l.failed }

func (l *Log) fail(err error) error {
	if l.failed == nil {
		l.failed = fmt.Errorf("the raft log %s is unusable since an earlier error: %w", l.dir, err)
	}
	return err
}

// ErrClosed is any call on a closed log.
var ErrClosed = errors.New("raft log is closed")

// Close closes the log without syncing it.
func (l *Log) Close() error {
	if errors.Is(l.failed, ErrClosed) {
		return ErrClosed
	}
	l.failed = ErrClosed
	return l.file.Close()
}

// put32 and put64 spell out the byte order in one place.
func put32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func put64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }
