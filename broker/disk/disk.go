// Package disk is everything a broker keeps: it opens a data directory into core.Boot and executes the core's disk
// operations, over vfs.FS. All of it is synchronous and deterministic, without clock, goroutine (but for the helper
// SyncParallel) or randomness: the shell runs one goroutine for each queue, the simulator calls in virtual time.
//
// # The data directory
//
//	lock                          held by flock while the directory is open
//	node.json                     format version, node id, boot number; whether this life is one of unsynced records
//	raft/                         see package raftlog
//	logs/<topic id>-<partition>/  see package partlog; the topic id in hex
//
// node.json is the first thing written and is replaced by temporary file, sync, rename, and sync of the directory. The boot number in it
// grows, durably, each time the directory is opened, so that no two lives of a node share one.
package disk

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/partlog"
	"soak/broker/raftlog"
	"soak/internal/vfs"
)

// Options say whose directory it is to be. Sizes of 0 are the packages' defaults.
type Options struct {
	Node             int32   // node id, at least 1
	Members          []int32 // of its cluster, ascending; nil: not checked
	SegmentBytes     int64   // of a partition log's segment
	RaftSegmentBytes int64
	// Unsynced tells that appends to partition logs are not to be synced before they count: then a life that was not ended by Close may have lost some,
	// and the next Open says so in Boot.Unclean.
	Unsynced bool
	Bugs     bugs.Set // planted ones, of which this package has ack-before-fsync, torn-tail-fatal and retention-by-first-record
}

// refuseTorn is what becomes of a torn tail, of whichever log: it is cut, for nobody was ever told that it is durable.
func (o Options) refuseTorn() bool { return o.Bugs.Has(bugs.TornTailFatal) }

// Dir is an open data directory.
type Dir struct {
	fs   vfs.FS
	dir  string
	opts Options
	lock io.Closer
	raft *raftlog.Log
	cuts []Cut
	info nodeInfo

	mu     sync.RWMutex // guards what follows: the write queues and readers meet here
	logs   map[core.PartitionID]*partlog.Log
	broken map[core.PartitionID]error // logs that could not be made: as good as poisoned
	closed bool
}

// Cut is a torn tail that was cut when the directory was opened: bytes that were written but never confirmed as durable.
type Cut struct {
	Log   string // directory of the log
	Bytes int64
}

// Open locks the data directory, which it makes if there is none, reads and checks all of it, and counts the boot. The
// boot number is 1 at first. Errors: *LockedError, *WrongNodeError, *FormatError, *DamageError, those of packages raftlog
// and partlog, or the file system's; see Hint.
func Open(fsys vfs.FS, dir string, o Options) (*Dir, core.Boot, uint64, error) {
	d := &Dir{fs: fsys, dir: dir, opts: o, logs: map[core.PartitionID]*partlog.Log{}, broken: map[core.PartitionID]error{}}
	boot, number, err := d.open()
	if err != nil {
		_ = d.closeAll() // the first error says what is wrong
		return nil, core.Boot{}, 0, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return d, boot, number, nil
}

func (d *Dir) open() (core.Boot, uint64, error) {
	if d.opts.Node < 1 {
		return core.Boot{}, 0, fmt.Errorf("node id %d: it must be at least 1", d.opts.Node)
	}
	if err := mkdirDurable(d.fs, d.dir); err != nil {
		return core.Boot{}, 0, err
	}
	var err error
	if d.lock, err = d.fs.Lock(filepath.Join(d.dir, "lock")); err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			err = &LockedError{Dir: d.dir}
		}
		return core.Boot{}, 0, err
	}
	if d.info, err = countBoot(d.fs, d.dir, d.opts); err != nil {
		return core.Boot{}, 0, err
	}
	raftDir := filepath.Join(d.dir, "raft")
	raft, st, err := raftlog.Open(d.fs, raftDir, d.opts.Node, raftlog.Options{SegmentBytes: d.opts.RaftSegmentBytes, RefuseTorn: d.opts.refuseTorn()})
	if err != nil {
		return core.Boot{}, 0, err
	}
	d.raft = raft
	d.noteCut(raftDir, st.Cut)
	boot := core.Boot{
		First: st.Empty(), HardState: st.HardState, Snapshot: st.Snapshot, BaseIndex: st.BaseIndex, BaseTerm: st.BaseTerm, Entries: st.Entries,
		Unclean: d.info.Unclean,
	}
	if boot.Logs, err = d.openLogs(); err != nil {
		return core.Boot{}, 0, err
	}
	// Directories that an earlier process made and was killed before it synced: see the logs, which do the same.
	for _, dir := range []string{d.logsDir(), d.dir, filepath.Dir(d.dir)} {
		if err := syncDirIfMine(d.fs, dir); err != nil {
			return core.Boot{}, 0, err
		}
	}
	return boot, d.info.Boot, nil
}

func (d *Dir) noteCut(log string, n int64) {
	if n > 0 {
		d.cuts = append(d.cuts, Cut{Log: log, Bytes: n})
	}
}

// Cuts lists what Open cut.
func (d *Dir) Cuts() []Cut { return d.cuts }

func (d *Dir) logsDir() string { return filepath.Join(d.dir, "logs") }

func (d *Dir) openLogs() ([]core.LogInfo, error) {
	if err := mkdirDurable(d.fs, d.logsDir()); err != nil {
		return nil, err
	}
	if err := partlog.RemoveLeftovers(d.fs, d.logsDir()); err != nil {
		return nil, err
	}
	names, err := d.fs.List(d.logsDir())
	if err != nil {
		return nil, err
	}
	var infos []core.LogInfo
	for _, name := range names {
		id, ok := parseLogName(name)
		if !ok {
			continue // not ours: what a file manager or a mount point leaves
		}
		l, err := d.openLog(id)
		if err != nil {
			return nil, err
		}
		d.noteCut(d.logDir(id), l.Cut())
		info := core.LogInfo{ID: id, Start: l.Start(), End: l.End()}
		if info.Producers, err = l.Producers(); err != nil {
			return nil, err
		}
		for _, e := range l.Epochs() {
			info.Epochs = append(info.Epochs, core.EpochStart{Epoch: e.Epoch, Start: e.Start})
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b core.LogInfo) int { return compareIDs(a.ID, b.ID) })
	return infos, nil
}

// openLog opens or makes a partition's log and takes note of it.
func (d *Dir) openLog(id core.PartitionID) (*partlog.Log, error) {
	l, err := partlog.Open(d.fs, d.logDir(id), partlog.Options{SegmentBytes: d.opts.SegmentBytes, RefuseTorn: d.opts.refuseTorn()})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.broken[id] = err
		return nil, err
	}
	d.logs[id] = l
	return l, nil
}

func compareIDs(a, b core.PartitionID) int {
	return cmp.Or(slices.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Partition, b.Partition))
}

func (d *Dir) logDir(id core.PartitionID) string { return filepath.Join(d.logsDir(), logName(id)) }

func logName(id core.PartitionID) string {
	return fmt.Sprintf("%s-%d", hex.EncodeToString(id.Topic[:]), id.Partition)
}

func parseLogName(name string) (id core.PartitionID, ok bool) {
	topic, partition, ok := strings.Cut(name, "-")
	if !ok || len(topic) != 2*len(id.Topic) {
		return id, false
	}
	if _, err := hex.Decode(id.Topic[:], []byte(topic)); err != nil {
		return id, false
	}
	p, err := strconv.ParseInt(partition, 10, 32)
	id.Partition = int32(p)
	return id, err == nil && logName(id) == name
}

// ErrClosed answers every operation after Close.
var ErrClosed = errors.New("data directory is closed")

// Close syncs what is sound, closes everything and gives the lock back. If all was sound, the directory says from then on that nothing of this life
// is missing. Nobody may be in Do or Read.
func (d *Dir) Close() error {
	if d.isClosed() {
		return ErrClosed
	}
	var errs []error
	sound := len(d.broken) == 0
	for _, t := range d.targets() {
		if t.Failed() != nil {
			sound = false
			continue
		}
		err := syncFile(t.File())
		if err == nil {
			err = t.Synced()
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil && sound && d.info.Unsynced {
		d.info.Unsynced = false
		err = writeNode(d.fs, d.dir, d.info)
	}
	if err = errors.Join(err, d.closeAll()); err != nil {
		return fmt.Errorf("close data directory %s: %w", d.dir, err)
	}
	return nil
}

func (d *Dir) isClosed() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.closed
}

// targets lists every open log, in a fixed order.
func (d *Dir) targets() []target {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var ts []target
	if d.raft != nil {
		ts = append(ts, d.raft)
	}
	for _, id := range slices.SortedFunc(maps.Keys(d.logs), compareIDs) {
		ts = append(ts, d.logs[id])
	}
	return ts
}

func (d *Dir) closeAll() error {
	var errs []error
	for _, t := range d.targets() {
		errs = append(errs, t.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return errors.Join(errs...)
}

// mkdirDurable makes a directory and its missing parents, each durable in the one above it.
func mkdirDurable(fsys vfs.FS, dir string) error {
	i, err := fsys.Stat(dir)
	switch {
	case err == nil && !i.Dir:
		return fmt.Errorf("%s is a file, not a directory", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirDurable(fsys, parent); err != nil {
			return err
		}
		// An earlier process may have made the parent and been killed before it synced the name.
		if err := syncDirIfMine(fsys, filepath.Dir(parent)); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// syncDirIfMine syncs a directory unless it may not be opened: those above the data directory may be another user's.
func syncDirIfMine(fsys vfs.FS, dir string) error {
	if err := fsys.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
