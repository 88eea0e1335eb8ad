package checkers

import (
	"cmp"
	"slices"

	"soak/history"
)

// window is a stretch of time, Unix ns.
type window struct{ from, to int64 }

// quietTime is the time of the load without faults, without what follows one for as long as after says (ns), and without a core serving alone.
func quietTime(run *history.Run, faults []*history.Fault, loadEnd, after int64) []window {
	var busy []window
	whole := window{to: loadEnd}
	for _, p := range run.Phases {
		switch p.Name {
		case "steady":
			whole.from = p.Start
		case "liveness":
			busy = append(busy, window{p.Start, cmp.Or(p.End, whole.to)})
		}
	}
	if whole.from == 0 {
		return nil
	}
	for _, f := range faults {
		if f.Asked != 0 {
			busy = append(busy, window{f.Asked, cmp.Or(f.Healed, whole.to)})
		}
	}
	slices.SortFunc(busy, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	var out []window
	from := whole.from
	for _, b := range busy {
		if b.from > from {
			out = append(out, window{from, min(b.from, whole.to)})
		}
		from = max(from, b.to+after)
	}
	if from < whole.to {
		out = append(out, window{from, whole.to})
	}
	return out
}
