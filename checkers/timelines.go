package checkers

import (
	"cmp"
	"slices"

	"soak/history"
)

// timelines keeps events by the life of a node that told them, in the order in which it told them: the only order that
// events of one node promise. What a checker replays from it is what that node knew.
type timelines struct {
	sequences sequences
	of        map[boot]*eventTape
	topics    topicLives
	spill     *spill // nil: events stay in memory
}

func newTimelines() timelines {
	return timelines{sequences: newSequences(), of: map[boot]*eventTape{}, topics: topicLives{}}
}

// see takes every event, for the gaps, and keeps those that the caller asks for.
func (t *timelines) see(e *history.Event, keep bool) {
	t.sequences.see(e)
	if a, ok := e.Body.(*history.Apply); ok {
		t.topics.learn(a)
	}
	if keep && e.Node != 0 {
		b := boot{e.Node, e.Boot}
		if t.of[b] == nil {
			t.of[b] = &eventTape{boot: b, spill: t.spill}
		}
		t.of[b].add(e)
	}
}

// boots are the lives that told something, by node and boot.
func (t *timelines) boots() []boot {
	out := make([]boot, 0, len(t.of))
	for b := range t.of {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b boot) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.boot, b.boot)) })
	return out
}

// walk replays a life. applied is the raft index that the node had applied when it spoke, as its earlier events show; 0 where that is
// not known: before its first entry, and behind a gap until the next. gap tells that events are missing before this one.
func (t *timelines) walk(b boot, visit func(e *history.Event, applied uint64, gap bool)) {
	var holes []uint64 // where events begin to be missing
	for first := range t.sequences.missing[b] {
		holes = append(holes, first)
	}
	slices.Sort(holes)
	var applied uint64
	t.of[b].inOrder(func(e *history.Event) {
		gap := false
		for len(holes) > 0 && e.Seq > holes[0] {
			holes, gap, applied = holes[1:], true, 0
		}
		switch body := e.Body.(type) {
		case *history.Apply:
			applied = body.Index
		case *history.StateHash: // after a restored snapshot, too
			applied = max(applied, body.Index)
		}
		visit(e, applied, gap)
	})
}

// topicLives knows when topics of one name were created and deleted, as raft indexes: a topic that is deleted and created anew begins
// its epochs and offsets anew.
type topicLives map[string][]uint64

func (t topicLives) learn(a *history.Apply) {
	if a.Outcome != history.Applied || a.Command != "create_topic" && a.Command != "delete_topic" {
		return
	}
	bounds := t[a.Key]
	if at, known := slices.BinarySearch(bounds, a.Index); !known {
		t[a.Key] = slices.Insert(bounds, at, a.Index)
	}
}

// life names the life of a topic that an index belongs to: the last creation or deletion up to it, 0 if none is known.
func (t topicLives) life(topic string, index uint64) uint64 {
	bounds := t[topic]
	at, known := slices.BinarySearch(bounds, index)
	if known {
		return index
	}
	if at == 0 {
		return 0
	}
	return bounds[at-1]
}

// lived is a partition in one life of its topic.
type lived struct {
	partition
	life uint64
}

// replaced reports whether an event says that a snapshot took the place of the node's state: what it had not applied yet of the entries up to
// the index goes by without apply events, on this node. That is no gap in the evidence: others tell of those entries.
func replaced(e *history.Event) (index uint64, ok bool) {
	s, ok := e.Body.(*history.Snapshot)
	if !ok || s.What == history.SnapshotTaken {
		return 0, false
	}
	return s.Index, true
}
