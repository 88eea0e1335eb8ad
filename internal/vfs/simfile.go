package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// simFile is an open file of a Sim. Its owner is one boot: after a crash it is dead.
type simFile struct {
	s        *Sim
	n        *simNode
	path     string
	boot     uint32
	writable bool
	closed   bool
}

func (f *simFile) check(op string, write bool) error {
	switch {
	case f.boot != f.s.boot:
		return pathError(op, f.path, ErrCrashed)
	case f.closed:
		return pathError(op, f.path, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.path, fs.ErrPermission)
	}
	return nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.path, fs.ErrInvalid)
	}
	f.s.step(OpRead, f.path, len(p))
	if _, err := f.s.refuse(OpRead, f.path, len(p)); err != nil {
		return 0, pathError("read", f.path, err)
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

func (f *simFile) Write(p []byte) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	s, n := f.s, f.n
	start := max(s.now, n.last)
	s.step(OpWrite, f.path, len(p))
	fits, err := s.refuse(OpWrite, f.path, len(p))
	if fits > 0 {
		n.changes = append(n.changes, simChange{start: start, stamp: s.stampOne(n), kind: simWrite, off: len(n.data), n: fits})
		if need := len(n.data) + fits; need > cap(n.data) {
			n.data = slices.Grow(n.data, max(need, 2*len(n.data))-len(n.data)) // append alone grows a large file by a quarter, and copies it as often
		}
		n.data = append(n.data, p[:fits]...)
		if len(n.changes) > max(n.mergeAt, 64) {
			n.settle(s.settled)
		}
	}
	if err != nil {
		return fits, pathError("write", f.path, err)
	}
	return fits, nil
}

// stampOne is stamp for the common case.
func (s *Sim) stampOne(n *simNode) int64 {
	n.last = max(n.last, s.now)
	return n.last
}

func (f *simFile) Sync() error {
	if err := f.check("sync", false); err != nil {
		return err
	}
	s, n := f.s, f.n
	n.settle(s.settled)
	dirty := 0
	for i := len(n.changes) - 1; i >= 0 && n.changes[i].kind != simSync; i-- {
		dirty += n.changes[i].n
	}
	s.step(OpSync, f.path, dirty)
	if err := s.refuseSync(f); err != nil {
		return pathError("sync", f.path, err)
	}
	// Where a failed sync dropped pages, later ones find nothing to write, succeed, and promise nothing.
	if len(n.changes) > 0 && n.failedSync == 0 && n.changes[len(n.changes)-1].kind != simSync {
		n.changes = append(n.changes, simChange{stamp: s.stampOne(n), kind: simSync})
	}
	return nil
}

func (f *simFile) Truncate(size int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 || size > int64(len(f.n.data)) {
		return pathError("truncate", f.path, fmt.Errorf("size %d outside 0..%d: %w", size, len(f.n.data), fs.ErrInvalid))
	}
	f.s.step(OpTruncate, f.path, 0)
	f.s.cut(f.n, int(size))
	return nil
}

func (s *Sim) cut(n *simNode, size int) {
	if size < len(n.data) {
		n.changes = append(n.changes, simChange{stamp: s.stampOne(n), kind: simCut, off: size, cut: slices.Clone(n.data[size:])})
		n.data = n.data[:size]
	}
}

func (f *simFile) Size() (int64, error) {
	if err := f.check("size", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *simFile) Name() string { return f.path }

func (f *simFile) Close() error {
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}

// settle drops the changes that no crash from time t on can undo and no loss of power lose, and where many are left
// (a file that is never synced) takes neighbouring writes of the past together: a loss of power then has fewer
// versions of a sector to choose from, all of them still right.
func (n *simNode) settle(t int64) {
	for i := len(n.changes) - 1; i >= 0; i-- {
		if c := &n.changes[i]; c.kind == simSync && c.stamp <= t {
			n.changes = slices.Delete(n.changes, 0, i+1)
			break
		}
	}
	const many = 256
	if n.mergeAt = max(n.mergeAt, many); len(n.changes) <= n.mergeAt {
		return
	}
	kept := n.changes[:0]
	for _, c := range n.changes {
		if k := len(kept) - 1; k >= 0 && c.kind == simWrite && kept[k].kind == simWrite && c.stamp <= t {
			kept[k].n += c.n
			kept[k].stamp = c.stamp
			continue
		}
		kept = append(kept, c)
	}
	clear(n.changes[len(kept):])
	n.changes = kept
	n.mergeAt = max(many, 2*len(kept))
}
