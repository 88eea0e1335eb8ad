package vfs

import (
	"errors"
	"slices"
)

// shimFile is an open file of a Shim.
type shimFile struct {
	File
	s shimFS
	n *simNode
}

func (f *shimFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.s.call(OpRead, f.Name(), func() (err error) { n, err = f.File.ReadAt(p, off); return err })
	return n, err
}

func (f *shimFile) Write(p []byte) (n int, err error) {
	err = f.s.write(f.Name(), p, func(fits []byte) (err error) {
		n, err = f.File.Write(fits)
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		f.s.noteWrite(f.n, n)
		return err
	})
	return n, err
}

// noteWrite notes that bytes were appended. The lock is held.
func (s *Shim) noteWrite(n *simNode, bytes int) {
	if bytes == 0 {
		return
	}
	s.serial++
	h := &n.shim
	n.changes = append(n.changes, simChange{start: s.serial, stamp: s.serial, kind: simWrite, off: h.size, n: bytes})
	h.size += bytes
	h.dirty += bytes
	if len(n.changes) > max(n.mergeAt, 64) && h.syncing == 0 {
		n.settle(s.serial)
	}
	for h.dirty > maxUnsynced && len(n.changes) > 1 {
		h.dirty -= n.changes[0].n
		n.changes = slices.Delete(n.changes, 0, 1)
	}
}

// noteCut notes that a file was cut to size, and what that took away. The lock is held.
func (s *Shim) noteCut(n *simNode, size int, cut []byte) {
	if size < n.shim.size {
		s.serial++
		n.changes = append(n.changes, simChange{stamp: s.serial, kind: simCut, off: size, cut: cut})
		n.shim.size = size
	}
}

func (f *shimFile) Truncate(size int64) error {
	return f.s.call(OpTruncate, f.Name(), func() error {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		var cut []byte
		if size >= 0 && size < int64(f.n.shim.size) {
			var err error
			if cut, err = readFrom(f.File, f.n.shim.size, int(size)); err != nil {
				return err
			}
		}
		if err := f.File.Truncate(size); err != nil {
			return err
		}
		f.s.noteCut(f.n, int(size), cut)
		return nil
	})
}

// Sync makes durable what was written before it was called. An armed loss of power comes in its place, where there is something to lose.
func (f *shimFile) Sync() error {
	if !f.s.probe {
		f.s.powerFails(f.n)
	}
	err := f.s.call(OpSync, f.Name(), func() error {
		f.s.mu.Lock()
		last := f.s.serial
		f.n.shim.syncing++
		f.s.mu.Unlock()
		err := f.File.Sync()
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		f.n.shim.syncing--
		if err != nil {
			return err
		}
		f.n.synced(last)
		return nil
	})
	if made := (*ShimError)(nil); errors.As(err, &made) && !f.s.probe {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		if len(f.n.changes) > 0 {
			f.n.failedSync = 1
		}
	}
	return err
}

// synced forgets the changes up to a serial, unless an earlier sync has failed: what that dropped no later one writes.
func (n *simNode) synced(last int64) {
	if n.failedSync != 0 {
		return
	}
	done := 0
	for ; done < len(n.changes) && n.changes[done].stamp <= last; done++ {
		n.shim.dirty -= n.changes[done].n
	}
	n.changes = slices.Delete(n.changes, 0, done)
}
