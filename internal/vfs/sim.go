package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// Sim is a file system in virtual time: the disk of one simulated node, from its first boot to its last.
//
// The simulator runs an operation of the disk executor at the operation's start, in one go, between Begin and End. Each
// call moves a cursor of virtual time forward by its latency and takes effect where the cursor then stands; End tells
// where that is for the last one: the time of the operation's completion. Several operations may overlap in virtual time
// (a node has two write queues and a pool of readers), as long as no two of them touch the same files in writing. A
// read sees what the calls before it in the simulator's order did, though they are stamped later: the executor does not ask
// for bytes whose writing has not completed.
//
// Crash and PowerLoss undo what was stamped later than their time, which is why a Sim keeps a journal of every file and
// directory. It holds what was not synced, and what was stamped behind the last Begin: crashes do not go back behind it.
//
// Times are nanoseconds on the simulator's clock. A Sim uses no clock, goroutine or randomness, and is for one
// goroutine at a time. Paths are those of Mem.
type Sim struct {
	root    *simNode
	latency Latency
	faults  []*Injected
	locks   map[string]uint32 // boot that took it
	now     int64             // the cursor
	settled int64             // no crash comes at an earlier time
	boot    uint32            // handles of an earlier one are dead
	calls   uint64            // calls that changed something: their number tells the halves of a rename from others
}

// Latency tells how long a call takes, in nanoseconds: bytes is the length of a read or write, and what a sync has to write
// out; 0 for others. It must be a pure function, or one of state that the simulator keeps.
type Latency func(op Op, path string, bytes int) int64

// NewSim gives an empty file system at virtual time 0. A nil latency takes no time.
func NewSim(latency Latency) *Sim {
	return &Sim{root: newSimDir(), latency: latency, locks: map[string]uint32{}}
}

// Begin starts an operation at a virtual time, which is not earlier than that of any Begin, Crash or PowerLoss before it.
func (s *Sim) Begin(start int64) {
	if start < s.settled {
		panic(fmt.Sprintf("vfs: an operation begins at %d, but the file system is at %d", start, s.settled))
	}
	s.now, s.settled = start, start
	s.dropFaults()
}

// End tells the virtual time at which the operation's last call was done.
func (s *Sim) End() int64 { return s.now }

// SyncAll syncs files side by side, for the executor's group commit: each takes its own latency from the same start, and the
// last one ends it. All of them are tried; the error names those that failed.
func (s *Sim) SyncAll(files []File) error {
	start, end := s.now, s.now
	var errs []error
	for _, f := range files {
		s.now = start
		if err := f.Sync(); err != nil {
			errs = append(errs, fmt.Errorf("sync %s: %w", f.Name(), err))
		}
		end = max(end, s.now)
	}
	s.now = end
	return errors.Join(errs...)
}

// simNode is a file or a directory.
type simNode struct {
	last int64 // stamp of the last change: those of one node never go back

	data    []byte
	changes []simChange // of a file, since the last sync that is settled
	mergeAt int         // see settle
	// failedSync is the stamp+1 of a sync that failed and dropped pages: from there on no sync makes anything durable.
	failedSync int64
	lingers    bool

	dir   bool
	kids  map[string]*simNode
	names []simName // changes of a directory, since the last sync that is settled

	shim shimNode // of a Shim alone
}

type simKind uint8

const (
	simWrite simKind = iota
	simCut
	simSync
)

// simChange is a change of a file, as much of it as undoing takes.
type simChange struct {
	start, stamp int64
	kind         simKind
	off          int    // where a write began, or what a cut left
	n            int    // bytes written
	cut          []byte // what a cut took away
}

// simName is a change of one name in a directory, or (sync) the mark of a sync.
type simName struct {
	stamp         int64
	call          uint64
	sync          bool
	name          string
	before, after *simNode // nil: no such name
	to            string   // the name that took over, where a rename within the directory removed this one
}

func newSimDir() *simNode { return &simNode{dir: true, kids: map[string]*simNode{}} }

// step lets time pass for a call.
func (s *Sim) step(op Op, path string, bytes int) {
	if s.latency == nil {
		return
	}
	d := s.latency(op, path, bytes)
	if len(s.faults) > 0 {
		d += s.delay(path, d)
	}
	s.now += d
}

// stamp answers the time at which a change of the nodes takes effect, and takes note of it.
func (s *Sim) stamp(nodes ...*simNode) int64 {
	at := s.now
	for _, n := range nodes {
		at = max(at, n.last)
	}
	for _, n := range nodes {
		n.last = at
	}
	return at
}

// set makes name stand for after (nil: nothing) in dir.
func (d *simNode) set(at int64, call uint64, name string, after *simNode, to string) {
	d.names = append(d.names, simName{stamp: at, call: call, name: name, before: d.kids[name], after: after, to: to})
	d.put(name, after)
}

func (d *simNode) put(name string, n *simNode) {
	if n == nil {
		delete(d.kids, name)
	} else {
		d.kids[name] = n
	}
}

var errNotDir = errors.New("not a directory")
var errIsDir = errors.New("is a directory")

func (s *Sim) find(path string) (*simNode, error) {
	n := s.root
	for _, name := range split(path) {
		if !n.dir {
			return nil, errNotDir
		}
		k, ok := n.kids[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = k
	}
	return n, nil
}

// parent finds the directory that holds (or would hold) the last element of path.
func (s *Sim) parent(path string) (dir *simNode, name string, err error) {
	parts := split(path)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	dir, err = s.find(filepath.Join(parts[:len(parts)-1]...))
	if err == nil && !dir.dir {
		err = errNotDir
	}
	return dir, parts[len(parts)-1], err
}

func (s *Sim) Create(path string) (File, error) {
	dir, name, err := s.parent(path)
	if err == nil {
		s.step(OpCreate, path, 0)
		_, err = s.refuse(OpCreate, path, 0)
	}
	if err != nil {
		return nil, pathError("create", path, err)
	}
	n, ok := dir.kids[name]
	switch {
	case !ok:
		n = &simNode{}
		s.calls++
		dir.set(s.stamp(dir, n), s.calls, name, n, "")
	case n.dir:
		return nil, pathError("create", path, errIsDir)
	default:
		s.cut(n, 0)
	}
	return &simFile{s: s, n: n, path: path, boot: s.boot, writable: true}, nil
}

func (s *Sim) open(op, path string, writable bool) (File, error) {
	n, err := s.find(path)
	if err == nil && n.dir {
		err = errIsDir
	}
	if err != nil {
		return nil, pathError(op, path, err)
	}
	s.step(OpOpen, path, 0)
	return &simFile{s: s, n: n, path: path, boot: s.boot, writable: writable}, nil
}

func (s *Sim) Open(path string) (File, error)       { return s.open("open", path, false) }
func (s *Sim) OpenAppend(path string) (File, error) { return s.open("open", path, true) }

func (s *Sim) Rename(from, to string) error {
	fdir, fname, err := s.parent(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	n, ok := fdir.kids[fname]
	if !ok {
		return pathError("rename", from, fs.ErrNotExist)
	}
	tdir, tname, err := s.parent(to)
	if err != nil {
		return pathError("rename", to, err)
	}
	old, ok := tdir.kids[tname]
	if ok && (old.dir || n.dir) {
		return pathError("rename", to, fs.ErrExist)
	}
	s.step(OpRename, to, 0)
	if old == n {
		return nil
	}
	at := s.stamp(fdir, tdir)
	s.calls++
	tdir.set(at, s.calls, tname, n, "")
	successor := ""
	if fdir == tdir {
		successor = tname
	}
	fdir.set(at, s.calls, fname, nil, successor)
	return nil
}

func (s *Sim) Remove(path string) error {
	dir, name, err := s.parent(path)
	if err != nil {
		return pathError("remove", path, err)
	}
	n, ok := dir.kids[name]
	if !ok {
		return pathError("remove", path, fs.ErrNotExist)
	}
	if n.dir && len(n.kids) > 0 {
		return pathError("remove", path, errors.New("directory not empty"))
	}
	s.step(OpRemove, path, 0)
	s.calls++
	dir.set(s.stamp(dir), s.calls, name, nil, "")
	return nil
}

func (s *Sim) MkdirAll(dir string) error {
	n := s.root
	for _, name := range split(dir) {
		k, ok := n.kids[name]
		if !ok {
			s.step(OpMkdir, dir, 0)
			if _, err := s.refuse(OpMkdir, dir, 0); err != nil {
				return pathError("mkdir", dir, err)
			}
			k = newSimDir()
			s.calls++
			n.set(s.stamp(n, k), s.calls, name, k, "")
		}
		if !k.dir {
			return pathError("mkdir", dir, errNotDir)
		}
		n = k
	}
	return nil
}

func (s *Sim) findDir(op, path string) (*simNode, error) {
	n, err := s.find(path)
	if err == nil && !n.dir {
		err = errNotDir
	}
	if err != nil {
		return nil, pathError(op, path, err)
	}
	return n, nil
}

func (s *Sim) List(dir string) ([]string, error) {
	n, err := s.findDir("list", dir)
	if err != nil {
		return nil, err
	}
	s.step(OpList, dir, 0)
	return slices.Sorted(maps.Keys(n.kids)), nil
}

func (s *Sim) Stat(path string) (Info, error) {
	n, err := s.find(path)
	if err != nil {
		return Info{}, pathError("stat", path, err)
	}
	return Info{Size: int64(len(n.data)), Dir: n.dir}, nil
}

// SyncDir makes the names in a directory durable. A sync fault fails it too; then its names stay as they were, not durable.
func (s *Sim) SyncDir(dir string) error {
	n, err := s.findDir("syncdir", dir)
	if err != nil {
		return err
	}
	s.step(OpSyncDir, dir, 0)
	if _, err := s.refuse(OpSyncDir, dir, 0); err != nil {
		return pathError("syncdir", dir, err)
	}
	if len(n.names) == 0 {
		return nil
	}
	n.settleNames(s.settled)
	n.names = append(n.names, simName{stamp: s.stamp(n), sync: true})
	return nil
}

func (s *Sim) Lock(path string) (io.Closer, error) {
	f, err := s.OpenAppend(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.Create(path)
	}
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	key := strings.Join(split(path), "/")
	if _, held := s.locks[key]; held {
		return nil, pathError("lock", path, ErrLocked)
	}
	s.locks[key] = s.boot
	return &simLock{s: s, key: key, boot: s.boot}, nil
}

type simLock struct {
	s    *Sim
	key  string
	boot uint32
	gone bool
}

func (l *simLock) Close() error {
	if !l.gone && l.boot == l.s.boot {
		delete(l.s.locks, l.key)
	}
	l.gone = true
	return nil
}

// settleNames drops what no crash from time t on can undo and no loss of power lose.
func (n *simNode) settleNames(t int64) {
	for i := len(n.names) - 1; i >= 0; i-- {
		if e := n.names[i]; e.sync && e.stamp <= t {
			n.names = slices.Delete(n.names, 0, i+1)
			return
		}
	}
}

// SimFileInfo is what Files tells of a file.
type SimFileInfo struct {
	Path string // with slashes, from the root
	Size int64
	// Synced is how many bytes from the start are at rest on the disk: nothing written or cut since touches them. Of a file whose
	// name is not durable that says little.
	Synced int64
}

// Files lists all files, sorted by path: what there is to flip bits in.
func (s *Sim) Files() []SimFileInfo {
	var all []SimFileInfo
	s.root.walk("", func(p string, n *simNode) {
		n.settle(s.settled)
		synced := len(n.data)
		for _, c := range n.changes {
			if c.kind != simSync {
				synced = min(synced, c.off)
			}
		}
		all = append(all, SimFileInfo{Path: p, Size: int64(len(n.data)), Synced: int64(synced)})
	})
	return all
}

// walk visits the files below a node, in order.
func (n *simNode) walk(at string, visit func(string, *simNode)) {
	if !n.dir {
		visit(at, n)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		n.kids[name].walk(joinSim(at, name), visit)
	}
}

func joinSim(at, name string) string {
	if at == "" {
		return name
	}
	return at + "/" + name
}

// never is a time that does not come.
const never = math.MaxInt64
