package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrCrashed is what every call answers on a Mem that has crashed, and on files that were opened before.
var ErrCrashed = errors.New("the file system has crashed")

// Mem is a file system in memory that knows what was synced. See Crash.
type Mem struct {
	mu      sync.Mutex
	root    *inode
	locks   map[string]bool
	crashed bool
}

// inode is a file or a directory. Two views are kept: the one that readers see, and the one that is durable.
type inode struct {
	dir bool

	// A file's bytes are only ever appended or cut, so durable may share its array with data: a cut below
	// len(durable) takes the capacity away from data, and the next append copies.
	data    []byte
	durable []byte
	floor   int // data[:floor] is durable and has not been cut since the last sync

	kids        map[string]*inode
	durableKids map[string]*inode
}

func newDir() *inode {
	return &inode{dir: true, kids: map[string]*inode{}, durableKids: map[string]*inode{}}
}

// NewMem gives an empty file system. Relative and absolute paths start at the same root.
func NewMem() *Mem { return &Mem{root: newDir(), locks: map[string]bool{}} }

func split(path string) []string {
	p := strings.Trim(filepath.ToSlash(filepath.Clean(path)), "/")
	if p == "" || p == "." {
		return nil
	}
	return strings.Split(p, "/")
}

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// find walks to a path; the lock is held.
func (m *Mem) find(path string) (*inode, error) {
	if m.crashed {
		return nil, ErrCrashed
	}
	n := m.root
	for _, name := range split(path) {
		if !n.dir {
			return nil, errors.New("not a directory")
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
func (m *Mem) parent(path string) (dir *inode, name string, err error) {
	parts := split(path)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	dir, err = m.find(filepath.Join(parts[:len(parts)-1]...))
	if err == nil && !dir.dir {
		err = errors.New("not a directory")
	}
	return dir, parts[len(parts)-1], err
}

func (m *Mem) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent(path)
	if err != nil {
		return nil, pathError("create", path, err)
	}
	n, ok := dir.kids[name]
	switch {
	case !ok:
		n = &inode{}
		dir.kids[name] = n
	case n.dir:
		return nil, pathError("create", path, errors.New("is a directory"))
	default:
		n.cut(0)
	}
	return &memFile{m: m, n: n, path: path, writable: true}, nil
}

func (m *Mem) open(op, path string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(path)
	if err == nil && n.dir {
		err = errors.New("is a directory")
	}
	if err != nil {
		return nil, pathError(op, path, err)
	}
	return &memFile{m: m, n: n, path: path, writable: writable}, nil
}

func (m *Mem) Open(path string) (File, error)       { return m.open("open", path, false) }
func (m *Mem) OpenAppend(path string) (File, error) { return m.open("open", path, true) }

func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fdir, fname, err := m.parent(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	n, ok := fdir.kids[fname]
	if !ok {
		return pathError("rename", from, fs.ErrNotExist)
	}
	tdir, tname, err := m.parent(to)
	if err != nil {
		return pathError("rename", to, err)
	}
	if old, ok := tdir.kids[tname]; ok && (old.dir || n.dir) {
		return pathError("rename", to, fs.ErrExist)
	}
	delete(fdir.kids, fname)
	tdir.kids[tname] = n
	return nil
}

func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent(path)
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
	delete(dir.kids, name)
	return nil
}

func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return pathError("mkdir", dir, ErrCrashed)
	}
	n := m.root
	for _, name := range split(dir) {
		k, ok := n.kids[name]
		if !ok {
			k = newDir()
			n.kids[name] = k
		}
		if !k.dir {
			return pathError("mkdir", dir, errors.New("not a directory"))
		}
		n = k
	}
	return nil
}

// findDir is find for what must be a directory.
func (m *Mem) findDir(op, path string) (*inode, error) {
	n, err := m.find(path)
	if err == nil && !n.dir {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, pathError(op, path, err)
	}
	return n, nil
}

func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findDir("list", dir)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.kids)), nil
}

func (m *Mem) Stat(path string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(path)
	if err != nil {
		return Info{}, pathError("stat", path, err)
	}
	return Info{Size: int64(len(n.data)), Dir: n.dir}, nil
}

func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findDir("syncdir", dir)
	if err != nil {
		return err
	}
	n.durableKids = maps.Clone(n.kids)
	return nil
}

func (m *Mem) Lock(path string) (io.Closer, error) {
	f, err := m.OpenAppend(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = m.Create(path)
	}
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	key := strings.Join(split(path), "/")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[key] {
		return nil, pathError("lock", path, ErrLocked)
	}
	m.locks[key] = true
	return &memLock{m: m, key: key}, nil
}

type memLock struct {
	m    *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.locks, l.key)
	})
	return nil
}

// cut shortens a file. The durable view stays as it is until the next sync.
func (n *inode) cut(size int) {
	n.data = n.data[:size:size]
	n.floor = min(n.floor, size)
}

type memFile struct {
	m        *Mem
	n        *inode
	path     string
	writable bool
	closed   bool
}

// check says whether the file can be used; the lock is held.
func (f *memFile) check(op string, write bool) error {
	switch {
	case f.m.crashed:
		return pathError(op, f.path, ErrCrashed)
	case f.closed:
		return pathError(op, f.path, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.path, fs.ErrPermission)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.path, fs.ErrInvalid)
	}
	if off >= int64(len(f.n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	f.n.data = append(f.n.data, p...)
	return len(p), nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.n.durable = f.n.data
	f.n.floor = len(f.n.data)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 || size > int64(len(f.n.data)) {
		return pathError("truncate", f.path, fmt.Errorf("size %d outside 0..%d: %w", size, len(f.n.data), fs.ErrInvalid))
	}
	f.n.cut(int(size))
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("size", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) Name() string { return f.path }

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}
