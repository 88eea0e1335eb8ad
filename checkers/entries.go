package checkers

import (
	"maps"
	"slices"
	"sync"

	"soak/history"
)

// entries are the committed entries of the raft log, each as it was first seen on any node, for all checkers of a run. They wait on a tape, as views do.
type entries struct {
	tape    eventTape
	at      map[uint64]int // raft index → number on the tape
	sorted  bool           // the tape is in the order of the indexes
	newest  uint64         // raft index of the last on the tape
	forgets bool           // nothing is kept, and nothing can be asked for
	last    *history.Event

	mu   sync.Mutex       // of what follows: a checker that ran out of its time may still ask when the next does
	near []*history.Event // a stretch of the tape that was asked for last
	from int              // number of its first
}

func newEntries(s *spill) *entries {
	return &entries{tape: eventTape{spill: s}, at: map[uint64]int{}, sorted: true}
}

// add takes every event. Each checker hands over what it sees; the first counts.
func (x *entries) add(e *history.Event) {
	a, ok := e.Body.(*history.Apply)
	if !ok || e == x.last || x.forgets {
		return
	}
	x.last = e
	if _, known := x.at[a.Index]; known {
		return
	}
	x.at[a.Index] = x.tape.count
	x.sorted = x.sorted && a.Index > x.newest
	x.newest = a.Index
	x.tape.add(e)
}

// first is the first event that showed the entry at an index, nil if none did.
func (x *entries) first(index uint64) *history.Event {
	i, known := x.at[index]
	switch {
	case !known:
		return nil
	case x.tape.spill == nil:
		return x.tape.events[i]
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if i < x.from || i >= x.from+len(x.near) {
		data, first := x.tape.holding(i)
		x.from, x.near = first, nil
		x.tape.decode(data, first, func(_ int, e *history.Event) bool { x.near = append(x.near, e); return true })
	}
	return x.near[i-x.from]
}

// inOrder shows the entries by raft index.
func (x *entries) inOrder(visit func(e *history.Event, a *history.Apply)) {
	if x.sorted {
		x.tape.each(func(_ int, e *history.Event) bool { visit(e, e.Body.(*history.Apply)); return true })
		return
	}
	for _, index := range slices.Sorted(maps.Keys(x.at)) { // nearly in order, so nearly always in the stretch at hand
		e := x.first(index)
		visit(e, e.Body.(*history.Apply))
	}
}

// partitionsAt replays the entries and answers the partitions as they stood at each of the given indexes.
func (x *entries) partitionsAt(indexes []uint64) map[uint64]map[partition]history.PartitionChange {
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	out := make(map[uint64]map[partition]history.PartitionChange, len(indexes))
	now := map[partition]history.PartitionChange{}
	upTo := func(index uint64) { // all entries below it are in
		for len(indexes) > 0 && indexes[0] < index {
			out[indexes[0]] = maps.Clone(now)
			indexes = indexes[1:]
		}
	}
	x.inOrder(func(_ *history.Event, a *history.Apply) {
		upTo(a.Index)
		if a.Outcome != history.Applied || len(indexes) == 0 {
			return
		}
		for _, ch := range a.Changes {
			if p := (partition{ch.Topic, ch.Partition}); ch.Gone {
				delete(now, p)
			} else {
				now[p] = ch
			}
		}
	})
	for _, index := range indexes {
		out[index] = maps.Clone(now)
	}
	return out
}
