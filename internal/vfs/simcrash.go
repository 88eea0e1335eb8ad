package vfs

import (
	"maps"
	"slices"
)

// Crash is the end of a process (SIGKILL) at a virtual time that is not before the last Begin: calls stamped later did not
// happen, the others did, synced or not, since the kernel lives on. A write that was under way keeps whole pages of 4 KiB
// in proportion to the time it had. Open files and locks of that boot are dead. The next operation begins at t or later.
func (s *Sim) Crash(t int64) {
	s.stop(t)
	s.root.eachKnown(map[*simNode]bool{}, func(n *simNode) {
		n.undo(t)
		if n.failedSync > 0 && !n.lingers { // see SyncError
			n.lose("", func(SimChoice) int { return 0 })
			n.failedSync = 0
		}
	})
}

// Choose answers a number in [0, N) for a choice; others are taken modulo N. It must be a pure function of the choice, or
// of state that is asked in the same order each time: a Sim asks in a fixed order.
type Choose func(SimChoice) int

// SimChoice is one thing that a loss of power leaves open: N versions of it existed since the last sync, the oldest
// being 0, which is always the one that was synced.
type SimChoice struct {
	What   SimLoss
	Path   string // with slashes from the root
	Offset int64  // of a sector
	N      int    // 2 or more
}

// SimLoss says what of a file system a choice is about.
type SimLoss uint8

// What there is to choose. The rules of fsync leave nothing else open.
const (
	LossSector SimLoss = iota // which version of a sector is found; Offset is its place
	LossSize                  // which length of a file
	LossName                  // which file (or none) stands at a name
)

// SectorBytes is what a disk writes whole or not at all.
const SectorBytes = 512

// PowerLoss is Crash, and then the loss of what the kernel held: of everything not synced by t, choose says what
// is found; nil finds nothing of it. The model is as unkind as POSIX allows, within what a journaling file system keeps whole:
//
//   - Each sector of 512 bytes is found in one of the versions that it had since the file's last sync, independent of other
//     sectors, so later writes may survive earlier ones. A version never has a later write of the sector without an earlier one.
//   - The length is one of those that the file had since then, also one in the middle of a write at a sector's boundary.
//     Bytes within it that no found sector has are zeros.
//   - A cut (Truncate, Create of an existing file) belongs to the length: with a length from before the cut the old bytes may be
//     found again, but those of the sector that the cut went through may be zeros; with a later one they are gone.
//   - Synced bytes are never lost, unless they were cut.
//   - Each name of a directory is found as it was at one time since the directory's last sync, independent of other names. But
//     a rename within one directory is found whole or not at all. Across directories both must be synced, or the file may be
//     found at both names, or lost.
//
// Afterwards all that was found is durable.
func (s *Sim) PowerLoss(t int64, choose Choose) {
	s.stop(t)
	if choose == nil {
		choose = func(SimChoice) int { return 0 }
	}
	pick := func(c SimChoice) int {
		if c.N < 2 {
			return 0
		}
		i := choose(c) % c.N
		if i < 0 {
			i += c.N
		}
		return i
	}
	s.root.powerLoss("", t, pick)
}

// stop ends a boot.
func (s *Sim) stop(t int64) {
	if t < s.settled {
		panic("vfs: a crash before the last operation began")
	}
	s.boot++
	clear(s.locks)
	s.now, s.settled = t, t
	s.dropFaults()
}

// eachKnown visits the nodes below n, those too that a name was taken from and may be given back to.
func (n *simNode) eachKnown(seen map[*simNode]bool, visit func(*simNode)) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	for _, e := range n.names {
		e.before.eachKnown(seen, visit)
		e.after.eachKnown(seen, visit)
	}
	visit(n)
	for _, k := range n.kids { // in any order: they do not depend on each other, and nothing is asked
		k.eachKnown(seen, visit)
	}
}

// undo takes back what is stamped later than t.
func (n *simNode) undo(t int64) {
	n.last = min(n.last, t)
	if n.failedSync > t+1 {
		n.failedSync = 0
	}
	for i := len(n.names) - 1; i >= 0 && n.names[i].stamp > t; i-- {
		if e := n.names[i]; !e.sync {
			n.put(e.name, e.before)
		}
		n.names = slices.Delete(n.names, i, i+1)
	}
	for i := len(n.changes) - 1; i >= 0 && n.changes[i].stamp > t; i-- {
		c := n.changes[i]
		n.changes = slices.Delete(n.changes, i, i+1)
		switch c.kind {
		case simCut:
			n.data = append(n.data, c.cut...)
		case simWrite:
			n.data = n.data[:c.off]
			const page = 4096
			if c.start < t && c.stamp > c.start { // by pages that the time sufficed for
				pages := int64(c.n/page) * (t - c.start) / (c.stamp - c.start)
				if k := int(pages) * page; k > 0 {
					n.data = n.data[:c.off+k]
					n.changes = append(n.changes, simChange{start: c.start, stamp: t, kind: simWrite, off: c.off, n: k})
				}
			}
		}
	}
	n.settle(t)
	n.settleNames(t)
}

func (n *simNode) powerLoss(at string, t int64, pick Choose) {
	n.undo(t)
	if !n.dir {
		n.lose(at, pick)
		n.failedSync = 0
		return
	}
	n.loseNames(at, pick)
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		n.kids[name].powerLoss(joinSim(at, name), t, pick)
	}
}

// loseNames decides what stands at each name that changed since the last sync.
func (n *simNode) loseNames(at string, pick Choose) {
	changes := n.names
	n.names = nil
	versions := map[string][]int{} // of a name: the changes of it
	for i, e := range changes {
		versions[e.name] = append(versions[e.name], i)
	}
	found := map[string]int{} // of a name: how many of its changes are found
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		found[name] = pick(SimChoice{What: LossName, Path: joinSim(at, name), N: len(versions[name]) + 1})
	}
	// A rename is found whole or not at all, and with a change of a name all earlier ones of that name: so one rename may
	// bring others with it. What is found only grows, so this ends.
	for again := true; again; {
		again = false
		for i, e := range changes {
			if e.to == "" {
				continue
			}
			removed, _ := slices.BinarySearch(versions[e.name], i)
			added, _ := slices.BinarySearch(versions[e.to], i-1) // the change just before
			if (found[e.name] > removed) != (found[e.to] > added) {
				found[e.name], found[e.to] = max(found[e.name], removed+1), max(found[e.to], added+1)
				again = true
			}
		}
	}
	for name, vs := range versions {
		if k := found[name]; k > 0 {
			n.put(name, changes[vs[k-1]].after)
		} else {
			n.put(name, changes[vs[0]].before)
		}
	}
}

// lose decides what a file holds of what was not synced, and makes that durable.
func (n *simNode) lose(at string, pick Choose) {
	if len(n.changes) == 0 {
		return
	}
	l := newLoss(n)
	n.changes = nil
	size, since := l.pickSize(at, pick)
	found := make([]byte, size)
	copy(found, l.base)
	for sector := l.from; sector*SectorBytes < min(l.to, size); sector++ {
		l.pickSector(at, sector, since, found, pick)
	}
	n.data = found
}

// loss is a file whose changes since the last sync are open.
type loss struct {
	from0    int    // where in the file data begins: 0, but for a Shim, which has the end of a file alone
	base     []byte // what was synced
	changes  []simChange
	written  [][]byte // by each write
	sizes    []int    // after each change
	from     int      // first sector that a change touches
	to       int      // byte behind the last one
	touching [][]int  // for each sector from from on: the changes that touch it
}

func newLoss(n *simNode) *loss {
	l := &loss{from0: n.shim.from, changes: n.changes, written: make([][]byte, len(n.changes)), sizes: make([]int, len(n.changes))}
	data := n.data
	lowest := len(data)
	for i, c := range slices.Backward(l.changes) {
		l.sizes[i] = len(data)
		l.to = max(l.to, len(data))
		lowest = min(lowest, c.off)
		if c.kind == simWrite {
			l.written[i] = slices.Clone(data[c.off:])
			data = data[:c.off]
		} else {
			data = append(data, c.cut...)
			l.to = max(l.to, len(data))
		}
	}
	l.base = data
	l.from = lowest / SectorBytes
	l.touching = make([][]int, (l.to+SectorBytes-1)/SectorBytes-l.from)
	for i, c := range l.changes {
		end := c.off + len(l.written[i])
		if c.kind == simCut {
			end = c.off + len(c.cut)
		}
		for sector := c.off / SectorBytes; sector*SectorBytes < end; sector++ {
			l.touching[sector-l.from] = append(l.touching[sector-l.from], i)
		}
	}
	return l
}

// pickSize chooses a length, and answers it with the number of changes that it is later than or in the middle of.
func (l *loss) pickSize(at string, pick Choose) (size, since int) {
	type length struct{ size, since int }
	all := []length{{len(l.base), 0}}
	for i, c := range l.changes {
		if c.kind == simWrite {
			for edge := (c.off/SectorBytes + 1) * SectorBytes; edge < l.sizes[i]; edge += SectorBytes {
				all = append(all, length{edge, i + 1})
			}
		}
		all = append(all, length{l.sizes[i], i + 1})
	}
	is := all[pick(SimChoice{What: LossSize, Path: at, N: len(all)})]
	return is.size, is.since
}

// pickSector chooses a version of a sector and puts it into found. The length is from after the first since changes: so are their cuts.
func (l *loss) pickSector(at string, sector, since int, found []byte, pick Choose) {
	start := sector * SectorBytes
	touching := l.touching[sector-l.from]
	versions := []int{0} // how many of the touching changes are in it
	for k, i := range touching {
		c := l.changes[i]
		switch {
		case c.kind == simCut && i < since:
			versions = []int{k + 1}
		case c.kind == simWrite || c.off > start: // a cut in front of a sector leaves its bytes to the length
			versions = append(versions, k+1)
		}
	}
	version := versions[pick(SimChoice{What: LossSector, Path: at, Offset: int64(l.from0 + start), N: len(versions)})]
	var bytes [SectorBytes]byte
	if start < len(l.base) {
		copy(bytes[:], l.base[start:])
	}
	for _, i := range touching[:version] {
		c := l.changes[i]
		if c.kind == simCut {
			clear(bytes[max(c.off-start, 0):])
			continue
		}
		if c.off >= start {
			copy(bytes[c.off-start:], l.written[i])
		} else {
			copy(bytes[:], l.written[i][start-c.off:])
		}
	}
	copy(found[start:], bytes[:])
}
