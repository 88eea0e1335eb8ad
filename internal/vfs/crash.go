package vfs

import (
	"maps"
	"path"
	"slices"
)

// CrashOptions says what survives a crash beyond what was synced. The zero value: nothing. Paths are given with
// slashes from the root, in sorted order, so that a seeded source of choices makes the same crash twice.
type CrashOptions struct {
	// Tail is given a copy of the bytes of a file that were written since its last sync and answers what is found in
	// their place: all, a part (a torn write), changed ones, or nil for none. A cut (File.Truncate) that was not
	// synced survives together with a tail that is not nil, and is undone with a nil one.
	Tail func(path string, tail []byte) []byte
	// Name says of a name that was made, removed or renamed since its directory's last sync whether that change survives.
	Name func(path string) bool
}

// Crash is a loss of power: it answers the file system that is found afterwards and kills the old one, whose calls
// and open files answer ErrCrashed from here on. Locks are gone.
func (m *Mem) Crash(o CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashed = true
	after := NewMem()
	// A file that two names reach (a rename half survived) is one file afterwards too.
	after.root = m.root.crash("", o, map[*inode]*inode{})
	return after
}

func (n *inode) crash(at string, o CrashOptions, seen map[*inode]*inode) *inode {
	if c, ok := seen[n]; ok {
		return c
	}
	if !n.dir {
		data := n.durable
		if o.Tail != nil {
			if tail := o.Tail(at, slices.Clone(n.data[n.floor:])); tail != nil {
				data = append(slices.Clone(n.data[:n.floor]), tail...)
			}
		}
		data = slices.Clone(data)
		c := &inode{data: data, durable: data, floor: len(data)}
		seen[n] = c
		return c
	}
	c := newDir()
	seen[n] = c
	names := maps.Clone(n.durableKids)
	maps.Copy(names, n.kids) // the union of names; which inode stands there is decided below
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p := path.Join(at, name)
		k := n.durableKids[name]
		if now := n.kids[name]; now != k && o.Name != nil && o.Name(p) {
			k = now
		}
		if k != nil {
			c.kids[name] = k.crash(p, o, seen)
		}
	}
	c.durableKids = maps.Clone(c.kids)
	return c
}
