package checkers

import (
	"cmp"
	"slices"
	"strings"

	"soak/history"
)

// elections finds partitions that were given a leader twice for one partition epoch. A topic that is deleted and created
// anew begins its epochs anew: creation and deletion of its name part what stands before from what stands behind.
//
// Names retire: where a node's story holds a topic's creation, its deletion and, as nodes speak in the order of the log, all between, and no election in it was
// repeated, nothing of that life is kept. Where events are missing of that story, it may be the repetition that is, for another node to tell.
type elections struct {
	count  int64
	topics map[string]*topicElections
	paired map[*commit]bool // reported as the second of a pair
}

// topicElections are those of the topics that have had one name.
type topicElections struct {
	bounds []topicBound // ascending by index
	of     map[electionID][]*commit
}

// topicBound is the creation or deletion of a topic.
type topicBound struct {
	index   uint64
	created bool
	seenBy  []passage
}

type electionID struct {
	partition string
	epoch     int32
}

func newElections() elections {
	return elections{topics: map[string]*topicElections{}, paired: map[*commit]bool{}}
}

func (s *elections) topic(name string) *topicElections {
	t := s.topics[name]
	if t == nil {
		t = &topicElections{of: map[electionID][]*commit{}}
		s.topics[name] = t
	}
	return t
}

// ofElection reports whether an entry elects a leader. An election refused for an unknown topic belongs to the topic's earlier life.
func ofElection(a *history.Apply) bool {
	return a.Command == "set_partition_leader" && a.ExpectedEpoch >= 0 && !strings.HasPrefix(a.Error, "unknown topic")
}

// topicOf is the topic of a partition's key.
func topicOf(key string) string {
	if i := strings.LastIndexByte(key, '-'); i >= 0 {
		return key[:i]
	}
	return key
}

// boundary takes an entry as seen in one passage of a node's life, of which whole tells that no event is missing, in case it creates or deletes a topic, and answers
// the entries that retire.
func (s *elections) boundary(a *history.Apply, by passage, whole bool) (retired []entryKey) {
	created := a.Command == createTopicCommand
	if a.Outcome != history.Applied || !created && a.Command != "delete_topic" {
		return nil
	}
	t := s.topic(a.Key)
	at, known := slices.BinarySearchFunc(t.bounds, a.Index, func(b topicBound, i uint64) int { return cmp.Compare(b.index, i) })
	if !known {
		t.bounds = slices.Insert(t.bounds, at, topicBound{index: a.Index, created: created})
	}
	bound := &t.bounds[at]
	if !slices.Contains(bound.seenBy, by) {
		bound.seenBy = append(bound.seenBy, by)
	}
	if created || !whole || at == 0 || !t.bounds[at-1].created || !slices.Contains(t.bounds[at-1].seenBy, by) {
		return nil
	}
	from, to := t.bounds[at-1].index, a.Index
	var gone []electionID
	for id, entries := range t.of {
		within := func(e *commit) bool { return from < e.index && e.index < to }
		switch {
		case !slices.ContainsFunc(entries, within):
		case len(entries) == 1 && slices.Contains(entries[0].seenBy, by):
			gone = append(gone, id)
		default:
			return nil // repeated, or shown by others alone: it stays until the end
		}
	}
	for _, id := range gone {
		retired = append(retired, t.of[id][0].entryKey)
		delete(t.of, id)
	}
	if at == 1 && len(t.bounds) == 2 && len(t.of) == 0 {
		delete(s.topics, a.Key)
	}
	return retired
}

// add takes an entry as seen in one passage of a node's life, and answers an earlier election that it repeats. Both must have been seen in
// it: a node speaks in the order of the log, so that whatever parts them has been seen as well.
func (s *elections) add(entry *commit, by passage) *commit {
	if !entry.elects {
		return nil
	}
	t, id := s.topic(topicOf(entry.key)), electionID{entry.key, entry.epoch}
	if !slices.Contains(t.of[id], entry) {
		t.of[id] = append(t.of[id], entry)
		s.count++
	}
	if s.paired[entry] {
		return nil
	}
	for _, other := range t.of[id] {
		if other != entry && !s.paired[other] && slices.Contains(other.seenBy, by) && !t.apart(other, entry) {
			s.paired[entry] = true
			return other
		}
	}
	return nil
}

// unordered are the repeated elections that no single passage saw both of, the lower index first.
func (s *elections) unordered() [][2]*commit {
	var out [][2]*commit
	for _, t := range s.topics {
		for _, entries := range t.of {
			for i, second := range entries {
				for _, first := range entries[:i] {
					if !s.paired[first] && !s.paired[second] && !t.apart(first, second) {
						s.paired[second] = true
						out = append(out, [2]*commit{first, second})
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b [2]*commit) int { return cmp.Compare(a[1].index, b[1].index) })
	return out
}

// apart reports whether the topic was created or deleted between the two entries.
func (t *topicElections) apart(a, b *commit) bool {
	low, high := min(a.index, b.index), max(a.index, b.index)
	return slices.ContainsFunc(t.bounds, func(b topicBound) bool { return low < b.index && b.index < high })
}
