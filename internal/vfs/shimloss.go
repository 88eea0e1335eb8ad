package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ShimLoss is what a loss of power did to the files.
type ShimLoss struct {
	Unsynced int64 // bytes that were written and not synced
	Dropped  int64 // of these, how many are not found; or found as they were before
	Files    int   // that lost some
	Names    int   // made, renamed or removed since the last sync of their directory, and found as they were before
}

// powerCut is a loss of power that waits for its moment.
type powerCut struct {
	choose Choose
	done   chan struct{} // closed when it has come; then:
	loss   ShimLoss
	err    error
}

// LosePower makes the files look as a machine may find them that lost its power: what was synced is there, and of the rest what choose
// says, by the rules of Sim.PowerLoss (nil: nothing of it). Where that would lose no byte of what is unsynced, nothing of it is found.
//
// It comes in the place of the broker's next sync of a file with unsynced bytes, when there is something to lose; or after that time if
// there is none until then. It waits for the calls under way, and lets no further call through, ever: what is left to do is to end
// the process. Only the first of several is answered.
func (s *Shim) LosePower(choose Choose, within time.Duration) (ShimLoss, error) {
	c := &powerCut{choose: choose, done: make(chan struct{})}
	s.mu.Lock()
	s.cut = c
	s.mu.Unlock()
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case <-c.done:
		return c.loss, c.err
	case <-patience.C:
	}
	s.mu.Lock()
	waits := s.cut == c
	if waits {
		s.cut = nil
	}
	s.mu.Unlock()
	if waits {
		return s.lose(choose, true)
	}
	<-c.done
	return c.loss, c.err
}

// powerFails is called before each sync of the broker's. If the power fails it does not return.
func (s *Shim) powerFails(n *simNode) {
	s.mu.Lock()
	c := s.cut
	if c == nil || len(n.changes) == 0 {
		s.mu.Unlock()
		return
	}
	s.cut = nil
	s.mu.Unlock()
	c.loss, c.err = s.lose(c.choose, true)
	close(c.done)
	select {}
}

// SeededChoice is a Choose by a seed. Each leans another way: nothing is found, nearly all is, or any piece of it.
func SeededChoice(seed uint64) Choose {
	lean := mixShim(seed) % 4
	return func(c SimChoice) int {
		h := seed
		for _, x := range []uint64{uint64(c.What), uint64(c.Offset)} {
			h = mixShim(h ^ x)
		}
		for i := range len(c.Path) {
			h = mixShim(h ^ uint64(c.Path[i]))
		}
		switch {
		case lean == 0:
			return 0
		case lean == 1 && h>>32%8 != 0:
			return c.N - 1
		}
		return int(h % uint64(c.N))
	}
}

// mixShim is the finalizer of splitmix64 (Steele, Lea, Flood).
func mixShim(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lose does it, so that it costs something if it must. The locks stay taken.
func (s *Shim) lose(choose Choose, must bool) (ShimLoss, error) {
	s.gate.Lock()
	s.mu.Lock()
	l := shimLoser{s: s, at: map[*simNode]string{}, found: map[*simNode]string{}, was: map[*simNode]map[string]*simNode{}, stays: map[*simNode]string{}, end: map[*simNode][]byte{}}
	survey(s.root, string(filepath.Separator), l.at)
	// Files whose name is gone may come back with what was written to them.
	var err error
	s.root.eachKnown(map[*simNode]bool{}, func(n *simNode) {
		switch {
		case err != nil:
		case n.dir:
			l.noteNames(n)
		case len(n.changes) > 0:
			err = l.load(n)
		}
	})
	if err != nil {
		return ShimLoss{}, fmt.Errorf("reading what was not synced: %w", err)
	}
	pick := func(c SimChoice) int {
		if c.N < 2 || choose == nil {
			return 0
		}
		return (choose(c)%c.N + c.N) % c.N
	}
	if must && l.spares(pick) {
		pick = func(SimChoice) int { return 0 }
	}
	s.root.powerLoss("", math.MaxInt64-1, pick)
	survey(s.root, string(filepath.Separator), l.found)
	l.count()
	if err := l.place(); err != nil {
		return l.loss, fmt.Errorf("leaving the files as after a loss of power: %w", err)
	}
	return l.loss, nil
}

// shimLoser is one loss of power.
type shimLoser struct {
	s     *Shim
	at    map[*simNode]string              // where each known node stands
	found map[*simNode]string              // and where it is found
	was   map[*simNode]map[string]*simNode // of directories whose names changed: what stands at those names
	stays map[*simNode]string              // files at names that did not change: they stay, or go with their directory
	end   map[*simNode][]byte              // of files that changed: their end, as it is
	loss  ShimLoss
}

// survey notes where the nodes below n are; of several places the first.
func survey(n *simNode, at string, places map[*simNode]string) {
	if _, twice := places[n]; twice {
		return
	}
	places[n] = at
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		survey(n.kids[name], filepath.Join(at, name), places)
	}
}

func (l *shimLoser) noteNames(dir *simNode) {
	for _, e := range dir.names {
		if l.was[dir] == nil {
			l.was[dir] = map[string]*simNode{}
		}
		l.was[dir][e.name] = dir.kids[e.name]
	}
}

// load reads the end of a file from its first unsynced sector on, and gives it to the node: the model needs no more of it.
func (l *shimLoser) load(n *simNode) (err error) {
	low := n.shim.size
	for _, c := range n.changes {
		low = min(low, c.off)
		l.loss.Unsynced += int64(c.n)
	}
	low -= low % SectorBytes
	n.shim.from = low
	for i := range n.changes {
		n.changes[i].off -= low
	}
	f := n.shim.held
	if path, named := l.at[n]; named {
		if f, err = l.s.fs.Open(path); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	if f == nil { // it has no name and none to come back to
		n.changes = nil
		return nil
	}
	if n.data, err = readFrom(f, n.shim.size, low); err != nil {
		return err
	}
	l.end[n] = slices.Clone(n.data)
	return nil
}

// spares reports whether a choice would lose nothing of what files hold, though there is something to lose.
func (l *shimLoser) spares(pick Choose) bool {
	for n, end := range l.end {
		trial := simNode{data: slices.Clone(n.data), changes: slices.Clone(n.changes), shim: n.shim}
		trial.lose(strings.Join(split(l.at[n]), "/"), pick)
		if differing(end, trial.data) > 0 {
			return false
		}
	}
	return len(l.end) > 0
}

// differing counts the bytes of a that b does not have in their place.
func differing(a, b []byte) (n int) {
	n = max(0, len(a)-len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// count compares what is found with what was there.
func (l *shimLoser) count() {
	for n, end := range l.end {
		found := n.data
		if _, is := l.found[n]; !is {
			found = nil
		}
		if dropped := differing(end, found); dropped > 0 {
			l.loss.Files++
			l.loss.Dropped += int64(dropped)
		}
	}
}

// spot is a name whose directory changed since its last sync.
type spot struct {
	path       string
	was, found *simNode
}

// spots lists the names that a loss decided, below a directory that is found; those of a directory before those of what is in it.
func (l *shimLoser) spots(dir *simNode, at string) (all []spot) {
	for _, name := range slices.Sorted(maps.Keys(l.was[dir])) {
		all = append(all, spot{path: filepath.Join(at, name), was: l.was[dir][name], found: dir.kids[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(dir.kids)) {
		path := filepath.Join(at, name)
		if k := dir.kids[name]; k.dir {
			all = append(all, l.spots(k, path)...)
		} else if _, changed := l.was[dir][name]; !changed {
			l.stays[k] = path
		}
	}
	return all
}

// place moves, makes, cuts and removes files until they are what was found.
func (l *shimLoser) place() error {
	spots := l.spots(l.s.root, string(filepath.Separator))
	first := maps.Clone(l.stays) // where a found node comes to stand
	var again []spot             // and once more
	for _, sp := range spots {
		if sp.found != sp.was {
			l.loss.Names++
		}
		if sp.found == nil {
			continue
		}
		if _, twice := first[sp.found]; twice {
			again = append(again, sp)
			continue
		}
		first[sp.found] = sp.path
	}
	aside, err := l.clear(spots, first)
	if err != nil {
		return err
	}
	for _, sp := range spots {
		if sp.found != nil && first[sp.found] == sp.path {
			if err := l.putBack(sp.found, sp.path, aside); err != nil {
				return err
			}
		}
	}
	for n := range l.end {
		path, is := first[n]
		if !is {
			path = l.found[n]
		}
		if path != "" {
			if err := l.rewrite(n, path); err != nil {
				return err
			}
		}
	}
	for _, sp := range again {
		if err := l.copy(first[sp.found], sp.path); err != nil {
			return err
		}
	}
	return nil
}

// clear empties the names that something else is found at, what is in a directory before the directory: what is found elsewhere
// waits beside the data directory, the rest goes.
func (l *shimLoser) clear(spots []spot, first map[*simNode]string) (aside map[*simNode]string, err error) {
	aside = map[*simNode]string{}
	var leave []*simNode
	for n, to := range first {
		if at, stands := l.at[n]; stands && at != to && l.stays[n] == "" {
			leave = append(leave, n)
		}
	}
	for _, sp := range spots {
		if sp.was != nil && sp.found != sp.was && first[sp.was] == "" {
			leave = append(leave, sp.was)
		}
	}
	slices.SortFunc(leave, func(a, b *simNode) int {
		return cmp.Or(cmp.Compare(depth(l.at[b]), depth(l.at[a])), cmp.Compare(l.at[a], l.at[b]))
	})
	for i, n := range slices.Compact(leave) {
		if first[n] == "" {
			if err := l.removeAll(l.at[n]); err != nil {
				return nil, err
			}
			continue
		}
		aside[n] = fmt.Sprintf("%s.power-%d", l.s.dir, i)
		if err := l.s.fs.Rename(l.at[n], aside[n]); err != nil {
			return nil, err
		}
	}
	return aside, nil
}

func depth(path string) int { return strings.Count(path, string(filepath.Separator)) }

// removeAll removes a file or a directory with all that is in it. What is not there is no error: it went with its directory.
func (l *shimLoser) removeAll(path string) error {
	i, err := l.s.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && i.Dir {
		var names []string
		if names, err = l.s.fs.List(path); err != nil {
			return err
		}
		for _, name := range names {
			if err := l.removeAll(filepath.Join(path, name)); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	return l.s.fs.Remove(path)
}

// putBack has a node stand at a name.
func (l *shimLoser) putBack(n *simNode, path string, aside map[*simNode]string) error {
	if from, is := aside[n]; is {
		return l.s.fs.Rename(from, path)
	}
	if at, stands := l.at[n]; stands && at == path {
		return nil
	}
	if n.dir {
		return l.s.fs.MkdirAll(path)
	}
	if n.shim.held == nil {
		return fmt.Errorf("nothing is left of %s", path)
	}
	b, err := readFrom(n.shim.held, n.shim.size, 0)
	if err != nil {
		return err
	}
	return l.create(path, b)
}

func (l *shimLoser) create(path string, content []byte) error {
	f, err := l.s.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// rewrite gives a file the end that was found.
func (l *shimLoser) rewrite(n *simNode, path string) error {
	f, err := l.s.fs.OpenAppend(path)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(n.shim.from)); err == nil {
		_, err = f.Write(n.data)
	}
	return errors.Join(err, f.Close())
}

// copy makes a second file of one that two names are found for: a rename across directories that half survived.
func (l *shimLoser) copy(from, to string) error {
	i, err := l.s.fs.Stat(from)
	if err != nil {
		return err
	}
	if i.Dir {
		return nil // no file system gives a directory two names: it is found once
	}
	f, err := l.s.fs.Open(from)
	if err != nil {
		return err
	}
	b, err := readFrom(f, int(i.Size), 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.create(to, b)
}
