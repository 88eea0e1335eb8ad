package measure

import (
	"cmp"
	"slices"
)

// gapsKept is how many of the longest gaps of a partition are remembered. A gap is split when a record comes that belongs into its middle, which only
// happens as far as clients' answers were recorded out of order: by fractions of a second.
const gapsKept = 8

// gaps finds the longest time between two acknowledgements in a row, from instants that come nearly in order.
type gaps struct {
	last    int64
	longest []gap // the longest first
}

type gap struct{ from, to int64 }

func (g gap) length() int64 { return g.to - g.from }

// begin sets the instant from which on an acknowledgement is waited for.
func (g *gaps) begin(at int64) { g.last = at }

// see takes an acknowledgement.
func (g *gaps) see(at int64) {
	if at > g.last {
		g.keep(gap{g.last, at})
		g.last = at
		return
	}
	for i, x := range g.longest {
		if x.from < at && at < x.to {
			g.longest = slices.Delete(g.longest, i, i+1)
			g.keep(gap{x.from, at})
			g.keep(gap{at, x.to})
			return
		}
	}
}

func (g *gaps) keep(x gap) {
	if len(g.longest) == gapsKept && x.length() <= g.longest[gapsKept-1].length() {
		return
	}
	at, _ := slices.BinarySearchFunc(g.longest, x, func(a, b gap) int { return cmp.Compare(b.length(), a.length()) })
	g.longest = slices.Insert(g.longest, at, x)
	g.longest = g.longest[:min(len(g.longest), gapsKept)]
}

// most is the longest gap up to an end, in ns.
func (g *gaps) most(end int64) int64 {
	n := max(0, end-g.last)
	if len(g.longest) > 0 {
		n = max(n, g.longest[0].length())
	}
	return n
}
