package campaign

import (
	"cmp"
	"slices"
	"time"
)

// Group is the failures of one signature: the shortest of them, and how many there were.
type Group struct {
	Failure
	Seed    uint64
	Hash    uint64
	Faults  int
	Virtual time.Duration
	Count   int
}

// Tally sums up answers.
type Tally struct {
	Kinds                    []string // of faults that can come, for the coverage
	Seeds, Failed, Rechecked int      // runs, those that failed, those that were simulated twice
	Virtual                  time.Duration
	Events                   int64
	Faults                   int
	Met                      map[string]int
	Snapshots                map[string]int // raft snapshots: "taken", "restored", "installed"
	Inconclusive             map[string]int // by checker: runs that it could not judge
	groups                   map[string]*Group
}

// NewTally is an empty one, of runs in which these kinds of faults can come.
func NewTally(kinds []string) *Tally {
	return &Tally{Kinds: kinds, Met: map[string]int{}, Snapshots: map[string]int{}, Inconclusive: map[string]int{}, groups: map[string]*Group{}}
}

// Add counts an answer in.
func (t *Tally) Add(a *Answer) {
	t.Seeds++
	t.Virtual += a.Virtual
	t.Events += a.Events
	t.Faults += a.Faults
	if Again(a.Seed) {
		t.Rechecked++
	}
	for k, n := range a.Met {
		t.Met[k] += n
	}
	for k, n := range a.Snapshots {
		t.Snapshots[k] += n
	}
	for _, c := range a.Inconclusive {
		t.Inconclusive[c]++
	}
	if len(a.Failures) > 0 {
		t.Failed++
	}
	for _, f := range a.Failures {
		t.group(f, a)
	}
}

// group keeps the shortest run of a signature: the fewest faults, then the earliest failure, then the lowest seed.
func (t *Tally) group(f Failure, a *Answer) {
	g := &Group{Failure: f, Seed: a.Seed, Hash: a.Hash, Faults: a.Faults, Virtual: a.Virtual}
	old := t.groups[f.Signature()]
	if old != nil {
		g.Count = old.Count
		if g.cost(old) > 0 {
			old.Count++
			return
		}
	}
	g.Count++
	t.groups[f.Signature()] = g
}

func (g *Group) cost(o *Group) int {
	at := func(g *Group) int64 {
		if g.At > 0 {
			return g.At
		}
		return int64(g.Virtual)
	}
	return cmp.Or(cmp.Compare(g.Faults, o.Faults), cmp.Compare(at(g), at(o)), cmp.Compare(g.Seed, o.Seed))
}

// Groups are the failures by signature, the most frequent first.
func (t *Tally) Groups() []*Group {
	out := make([]*Group, 0, len(t.groups))
	for _, g := range t.groups {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Signature(), b.Signature()))
	})
	return out
}

// Again reports whether a seed is one of the twentieth that are simulated twice.
func Again(seed uint64) bool {
	h := (seed + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h ^= h >> 31
	return h%20 == 0
}

// Hole is a kind of fault that no run has shown to a state.
type Hole struct{ Kind, State string }

// Holes are what the coverage lacks, of what the runs can show.
func (t *Tally) Holes() []Hole {
	var out []Hole
	for _, k := range t.Kinds {
		for _, s := range States() {
			if t.Met[k+"/"+s] == 0 {
				out = append(out, Hole{k, s})
			}
		}
	}
	return out
}
