package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// boot names one life of a node.
type boot struct {
	node int32
	boot uint64
}

// sequences finds gaps: sequence numbers that are missing inside a boot. What a kill cut from a boot's end is none. Events
// without a number (of a foreign image, read by log patterns) and the runner's own are passed over.
type sequences struct {
	next    map[boot]uint64            // one above the highest number seen
	missing map[boot]map[uint64]uint64 // first → last of each hole
}

func newSequences() sequences {
	return sequences{next: map[boot]uint64{}, missing: map[boot]map[uint64]uint64{}}
}

func (s *sequences) see(e *history.Event) {
	if e.Node == 0 || e.Seq == 0 {
		return
	}
	b := boot{e.Node, e.Boot}
	next := max(s.next[b], 1)
	switch {
	case e.Seq > next:
		if s.missing[b] == nil {
			s.missing[b] = map[uint64]uint64{}
		}
		s.missing[b][next] = e.Seq - 1
		s.next[b] = e.Seq + 1
	case e.Seq == next:
		s.next[b] = e.Seq + 1
	default:
		s.late(b, e.Seq)
	}
}

// late fills a hole by an event that came after a later one, as may happen where two readers feed one file.
func (s *sequences) late(b boot, seq uint64) {
	holes := s.missing[b]
	for first, last := range holes {
		if seq < first || seq > last {
			continue
		}
		delete(holes, first)
		if first < seq {
			holes[first] = seq - 1
		}
		if seq < last {
			holes[seq+1] = last
		}
		return
	}
}

// whole reports whether no event of a life is missing up to the last that was seen.
func (s *sequences) whole(b boot) bool { return len(s.missing[b]) == 0 }

// missed reports whether an event is missing between two of one life.
func (s *sequences) missed(b boot, from, to uint64) bool {
	for first, last := range s.missing[b] {
		if first < to && last > from {
			return true
		}
	}
	return false
}

// gaps describes the holes left, in the order of nodes and boots.
func (s *sequences) gaps() []string {
	boots := make([]boot, 0, len(s.missing))
	for b, holes := range s.missing {
		if len(holes) > 0 {
			boots = append(boots, b)
		}
	}
	slices.SortFunc(boots, func(a, b boot) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.boot, b.boot)) })
	var out []string
	for _, b := range boots {
		var count, first uint64
		for from, to := range s.missing[b] {
			count += to - from + 1
			if first == 0 || from < first {
				first = from
			}
		}
		out = append(out, fmt.Sprintf("%s of n%d in boot %d missing from number %d on", plural(int64(count), "event"), b.node, b.boot, first))
	}
	return out
}
