package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// Shim stands between a broker and a real file system and can break it: refuse or delay calls (Inject), and lose power
// (LosePower), after which the files are as a machine may find them that lost what was not synced. It exists for fault injection
// alone; a broker that is not told to has none.
//
// To lose what was not synced it keeps a journal of it, in the model of Sim, so that both lose by the same rules: of files where
// writes began and what cuts took away (the bytes themselves are in the file), of directories the names that changed. A file whose
// name is gone is kept open until that is durable. What an earlier process left unsynced it does not know, and takes for durable.
//
// Of a file at most 64 MiB count as not synced; what is older counts as written back, as a kernel does with it some time.
type Shim struct {
	fs  FS
	dir string // absolute; for what the shim itself needs for a moment

	gate sync.RWMutex // every call holds it for reading; a loss of power takes it and never gives it back

	mu     sync.Mutex // guards what follows
	root   *simNode
	serial int64 // of changes
	faults []*ShimFault
	cut    *powerCut // armed
}

// shimNode is what a Shim knows of a file beside its changes.
type shimNode struct {
	size    int  // now
	dirty   int  // bytes written since the last sync
	syncing int  // syncs under way
	before  int  // changes of names that may bring it back
	held    File // where its name is gone; nil otherwise
	from    int  // during a loss of power: where the file's unsynced part begins, at a sector
}

// maxUnsynced bounds what of a file is kept in mind as not synced, bytes.
const maxUnsynced = 64 << 20

// NewShim puts a shim over a file system. Paths are made absolute, so that a name is one name; dir is the data directory, beside
// which a loss of power may put files for a moment.
func NewShim(fsys FS, dir string) (*Shim, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", dir, err)
	}
	return &Shim{fs: fsys, dir: abs, root: newSimDir()}, nil
}

// FS is the file system as the broker sees it.
func (s *Shim) FS() FS { return shimFS{s, false} }

// shimFS is one of the two ways through a shim: the broker's, or that of probes, whose calls meet faults too but are not counted as the broker's.
type shimFS struct {
	*Shim
	probe bool
}

// find answers the node at a path, and nil where there is none; what the journal does not know yet is looked up. The lock is held.
func (s *Shim) find(path string) (*simNode, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	n := s.root
	at := string(filepath.Separator)
	for _, name := range split(abs) {
		if !n.dir {
			return nil, nil // the call itself will say what is wrong
		}
		at = filepath.Join(at, name)
		k := n.kids[name]
		if k == nil {
			if slices.ContainsFunc(n.names, func(e simName) bool { return e.name == name }) {
				return nil, nil // it was removed
			}
			i, err := s.fs.Stat(at)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			k = &simNode{}
			if i.Dir {
				k = newSimDir()
			}
			k.shim.size = int(i.Size)
			n.put(name, k)
		}
		n = k
	}
	return n, nil
}

// parent answers the directory that a path's name is in, nil if there is none, and the name. The lock is held.
func (s *Shim) parent(path string) (*simNode, string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	n, err := s.find(filepath.Dir(abs))
	if n != nil && !n.dir {
		n = nil
	}
	return n, filepath.Base(abs), err
}

// name notes that a name stands for another node. The lock is held.
func (s *Shim) name(dir *simNode, name string, after *simNode, to string) {
	if dir == nil {
		return
	}
	if was := dir.kids[name]; was != nil {
		was.shim.before++
	}
	dir.set(s.serial, uint64(s.serial), name, after, to)
}

// hold keeps a file whose name is about to go. The lock is held.
func (s *Shim) hold(n *simNode, path string) error {
	if n == nil || n.dir || n.shim.held != nil {
		return nil
	}
	f, err := s.fs.Open(path)
	if err == nil {
		n.shim.held = f
	}
	return err
}

// let lets go of a file that was held for nothing: its name did not go after all. The lock is held.
func (n *simNode) let() {
	if n != nil && n.shim.held != nil {
		_ = n.shim.held.Close() // it was opened for reading
		n.shim.held = nil
	}
}

func (s shimFS) Create(path string) (File, error) {
	var f File
	err := s.call(OpCreate, path, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		dir, name, err := s.parent(path)
		if err != nil {
			return err
		}
		n, err := s.find(path)
		if err != nil {
			return err
		}
		var cut []byte
		if n != nil && !n.dir {
			if cut, err = s.read(n, path, 0); err != nil {
				return err
			}
		}
		inner, err := s.fs.Create(path)
		if err != nil {
			return err
		}
		s.serial++
		if n == nil {
			n = &simNode{}
			s.name(dir, name, n, "")
		} else {
			s.noteCut(n, 0, cut)
		}
		f = &shimFile{File: inner, s: s, n: n}
		return nil
	})
	return f, err
}

func (s shimFS) open(path string, open func(string) (File, error)) (File, error) {
	var f File
	err := s.call(OpOpen, path, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		inner, err := open(path)
		if err != nil {
			return err
		}
		n, err := s.find(path)
		if err == nil && n == nil {
			err = fs.ErrNotExist
		}
		if err != nil {
			return errors.Join(err, inner.Close())
		}
		f = &shimFile{File: inner, s: s, n: n}
		return nil
	})
	return f, err
}

func (s shimFS) Open(path string) (File, error)       { return s.open(path, s.fs.Open) }
func (s shimFS) OpenAppend(path string) (File, error) { return s.open(path, s.fs.OpenAppend) }

func (s shimFS) Rename(from, to string) error {
	return s.call(OpRename, to, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		fdir, fname, err := s.parent(from)
		if err != nil {
			return err
		}
		tdir, tname, err := s.parent(to)
		if err != nil {
			return err
		}
		n, err := s.find(from)
		if err != nil {
			return err
		}
		old, err := s.find(to)
		if err != nil {
			return err
		}
		if old != n {
			if err := s.hold(old, to); err != nil {
				return err
			}
		}
		if err := s.fs.Rename(from, to); err != nil {
			old.let()
			return err
		}
		if n == nil || old == n {
			return nil
		}
		s.serial++
		s.name(tdir, tname, n, "")
		successor := ""
		if fdir == tdir {
			successor = tname
		}
		s.name(fdir, fname, nil, successor)
		return nil
	})
}

func (s shimFS) Remove(path string) error {
	return s.call(OpRemove, path, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		dir, name, err := s.parent(path)
		if err != nil {
			return err
		}
		n, err := s.find(path)
		if err != nil {
			return err
		}
		if err := s.hold(n, path); err != nil {
			return err
		}
		if err := s.fs.Remove(path); err != nil {
			n.let()
			return err
		}
		if n != nil {
			s.serial++
			s.name(dir, name, nil, "")
		}
		return nil
	})
}

func (s shimFS) MkdirAll(dir string) error {
	return s.call(OpMkdir, dir, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		var missing []string // the deepest first
		for at := abs; ; at = filepath.Dir(at) {
			n, err := s.find(at)
			if err != nil {
				return err
			}
			if n != nil {
				break
			}
			missing = append(missing, at)
		}
		if err := s.fs.MkdirAll(dir); err != nil {
			return err
		}
		for _, at := range slices.Backward(missing) {
			parent, name, err := s.parent(at)
			if err != nil {
				return err
			}
			s.serial++
			s.name(parent, name, newSimDir(), "")
		}
		return nil
	})
}

func (s shimFS) List(dir string) (names []string, err error) {
	err = s.call(OpList, dir, func() (err error) { names, err = s.fs.List(dir); return err })
	return names, err
}

func (s shimFS) Stat(path string) (i Info, err error) {
	err = s.call(OpStat, path, func() (err error) { i, err = s.fs.Stat(path); return err })
	return i, err
}

// SyncDir makes those changes of names durable that were made before it was called.
func (s shimFS) SyncDir(dir string) error {
	return s.call(OpSyncDir, dir, func() error {
		s.mu.Lock()
		n, err := s.find(dir)
		last := s.serial
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if err := s.fs.SyncDir(dir); err != nil || n == nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		done := 0
		for ; done < len(n.names) && n.names[done].stamp <= last; done++ {
			if was := n.names[done].before; was != nil {
				if was.shim.before--; was.shim.before == 0 {
					was.let()
				}
			}
		}
		n.names = slices.Delete(n.names, 0, done)
		return nil
	})
}

func (s shimFS) Lock(path string) (c io.Closer, err error) {
	err = s.call(OpLock, path, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		dir, name, err := s.parent(path)
		if err != nil {
			return err
		}
		n, err := s.find(path)
		if err != nil {
			return err
		}
		if c, err = s.fs.Lock(path); err == nil && n == nil {
			s.serial++
			s.name(dir, name, &simNode{}, "")
		}
		return err
	})
	return c, err
}

// read reads a file from a byte on to its end. The lock is held.
func (s *Shim) read(n *simNode, path string, from int) ([]byte, error) {
	if n.shim.size <= from {
		return nil, nil
	}
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := readFrom(f, n.shim.size, from)
	return b, errors.Join(err, f.Close())
}

func readFrom(f File, size, from int) ([]byte, error) {
	b := make([]byte, size-from)
	if k, err := f.ReadAt(b, int64(from)); k < len(b) {
		return nil, fmt.Errorf("read %d of %d bytes of %s: %w", k, len(b), f.Name(), err)
	}
	return b, nil
}
