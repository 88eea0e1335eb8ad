package report

import (
	"cmp"
	"slices"

	"soak/history"
)

func (s *story) concern() concern { return concernOf(s.checker, s.keys) }

// begins is when the first operation was asked for that a violation comes down to; its own instant where none is known.
func (s *story) begins() int64 {
	at := s.v.Time
	for _, op := range s.operations {
		if s.cited(op.ID) && !s.aside(op) && op.Drain == nil {
			at = min(at, op.Invoke)
		}
	}
	return at
}

// maxEnded bounds the faults of a story that had ended before it.
const maxEnded = 5

// storyFaults are the faults that were active at a violation's instant, and before them the last of those that ended shortly before its first operation, or since.
func (c *collected) storyFaults(s *story) []faultRow {
	var active []faultRow
	var ended []*history.Fault
	from := s.begins() - aftermath
	for i := range c.faults {
		f := &c.faults[i]
		switch {
		case slices.Contains(s.v.Faults, f.ID):
			active = append(active, c.faultRow(f, s.concern()))
		case s.v.Time != 0 && f.Proven() && f.Healed != 0 && f.Healed >= from && f.Healed <= s.v.Time:
			ended = append(ended, f)
		}
	}
	slices.SortStableFunc(ended, func(a, b *history.Fault) int { return cmp.Compare(a.Healed, b.Healed) })
	var out []faultRow
	for _, f := range ended[max(0, len(ended)-maxEnded):] {
		r := c.faultRow(f, s.concern())
		r.Ended = lengthWords(s.v.Time - f.Healed)
		out = append(out, r)
	}
	return append(out, active...)
}
