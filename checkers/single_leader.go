package checkers

import (
	"fmt"
	"slices"
	"strings"

	"soak/history"
)

// Kinds of violation of single-leader-proposing.
const (
	KindCheckByOther    = "check-by-non-leader"    // a leader check by a node that is not its term's raft leader
	KindProposalByOther = "proposal-by-non-leader" // a proposal attempted by such a node
	KindTwoLeaders      = "two-leaders"            // two nodes led, or acted as leader in, one term
	KindForeignProposer = "foreign-proposer"       // a committed entry whose proposer is not its term's leader
	KindTwiceElected    = "elected-twice"          // two committed elections for one partition and partition epoch
)

// singleLeader holds the story's first property: in each term one node acts, and it is the raft leader.
type singleLeader struct {
	ledger
	leaders   leaders
	sequences sequences
	actors    map[uint64][]*history.Event // term → the first check or proposal of each node that says it leads
	entries   map[entryKey]*commit        // nil: nothing about it can be wrong any more
	waiting   map[uint64][]*commit        // term → entries whose term's leader is not known yet
	elections elections
	passages  map[boot]int // how often a snapshot took the place of entries

	checks, proposals int64
	unnamed           int64 // entries that name no proposer
}

// entryKey tells an entry seen on three nodes, and again after a restart, from another entry at its index and in its term: by a hash of the rest of what it is. A
// night has a quarter of a million of them, so the key is all that is kept of most.
type entryKey struct{ index, term, rest uint64 }

func keyOf(a *history.Apply) entryKey {
	return entryKey{a.Index, a.Term, newDigest().number(uint64(a.Proposer)).number(a.ProposerBoot).number(a.Attempt).word(a.Command).word(a.Key).sum()}
}

// commit is a committed entry that something may yet be wrong about, with the first event that showed it.
type commit struct {
	entryKey
	command, key, outcome string
	epoch                 int32 // expected
	elects                bool  // a partition's leader
	proposer              int32
	time                  int64
	line                  string // evidence; the event itself would be twice as large
	seenBy                []passage
}

func newCommit(key entryKey, e *history.Event, a *history.Apply) *commit {
	return &commit{
		entryKey: key, command: strings.Clone(a.Command), key: strings.Clone(a.Key), outcome: strings.Clone(string(a.Outcome)), epoch: a.ExpectedEpoch, elects: ofElection(a),
		proposer: a.Proposer, time: e.Time, line: eventLine(e),
	}
}

// passage is a part of a node's life in which it applied one entry after the other: a snapshot that it is sent begins another.
type passage struct {
	boot
	snapshots int
}

func newSingleLeader(*history.Run) *singleLeader {
	return &singleLeader{
		ledger: ledger{id: SingleLeaderProposing}, leaders: newLeaders(), sequences: newSequences(),
		actors: map[uint64][]*history.Event{}, entries: map[entryKey]*commit{}, waiting: map[uint64][]*commit{},
		elections: newElections(), passages: map[boot]int{},
	}
}

func (c *singleLeader) Event(e *history.Event) {
	c.sequences.see(e)
	switch b := e.Body.(type) {
	case *history.RoleChange:
		c.role(e, b)
	case *history.LeaderCheck:
		c.checks++
		if b.Role != history.RoleLeader {
			c.violate(Violation{
				Kind: KindCheckByOther, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)},
				Sentence: fmt.Sprintf("n%d ran a partition leader check in term %d while its raft role was %s", e.Node, b.Term, b.Role),
			})
			return
		}
		c.acts(e, b.Term)
	case *history.Propose:
		c.proposals++
		if b.Role != history.RoleLeader {
			c.violate(Violation{
				Kind: KindProposalByOther, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)},
				Sentence: fmt.Sprintf("n%d tried to propose %s %s in term %d while its raft role was %s (%s)", e.Node, b.Command, b.Key, b.Term, b.Role, b.Outcome),
			})
			return
		}
		c.acts(e, b.Term)
	case *history.Apply:
		c.apply(e, b)
	case *history.Snapshot:
		if _, ok := replaced(e); ok {
			c.passages[boot{e.Node, e.Boot}]++
		}
	}
}

func (c *singleLeader) role(e *history.Event, r *history.RoleChange) {
	other, isNew := c.leaders.learn(e)
	if other != nil {
		c.violate(Violation{
			Kind: KindTwoLeaders, Time: e.Time, Nodes: []int32{other.Node, e.Node}, Evidence: []string{eventLine(other), eventLine(e)},
			Sentence: fmt.Sprintf("n%d and n%d both led raft term %d", other.Node, e.Node, r.Term),
		})
	}
	if !isNew {
		return
	}
	for _, actor := range c.actors[r.Term] {
		c.compare(actor, r.Term)
	}
	for _, entry := range c.waiting[r.Term] {
		c.proposer(entry)
		if !entry.elects {
			c.entries[entry.entryKey] = nil
		}
	}
	delete(c.waiting, r.Term)
}

// acts takes a check or proposal by a node that says it leads the term.
func (c *singleLeader) acts(e *history.Event, term uint64) {
	for _, other := range c.actors[term] {
		if other.Node == e.Node {
			return
		}
	}
	if c.leaders.leader(term) == 0 && len(c.actors[term]) > 0 {
		other := c.actors[term][0]
		c.violate(Violation{
			Kind: KindTwoLeaders, Time: e.Time, Nodes: []int32{other.Node, e.Node}, Evidence: []string{eventLine(other), eventLine(e)},
			Sentence: fmt.Sprintf("n%d and n%d both acted as raft leader of term %d", other.Node, e.Node, term),
		})
	}
	c.actors[term] = append(c.actors[term], e)
	c.compare(e, term)
}

// compare holds an actor against its term's leader, once that is known.
func (c *singleLeader) compare(actor *history.Event, term uint64) {
	leader := c.leaders.leader(term)
	if leader == 0 || leader == actor.Node {
		return
	}
	kind, what := KindCheckByOther, "ran a partition leader check"
	if _, ok := actor.Body.(*history.Propose); ok {
		kind, what = KindProposalByOther, "proposed"
	}
	c.violate(Violation{
		Kind: kind, Time: actor.Time, Nodes: []int32{actor.Node}, Evidence: []string{eventLine(c.leaders.of[term]), eventLine(actor)},
		Sentence: fmt.Sprintf("n%d %s as leader of term %d, whose raft leader is n%d", actor.Node, what, term, leader),
	})
}

func (c *singleLeader) apply(e *history.Event, a *history.Apply) {
	life := boot{e.Node, e.Boot}
	by := passage{life, c.passages[life]}
	for _, done := range c.elections.boundary(a, by, c.sequences.whole(life)) {
		c.entries[done] = nil
	}
	if a.Command == "" || a.Command == "empty" {
		return // raft's own entry at the begin of a term
	}
	key := keyOf(a)
	entry, known := c.entries[key]
	if !known {
		leader := c.leaders.leader(a.Term)
		waits := a.Proposer != 0 && leader == 0
		if waits || ofElection(a) || a.Proposer != 0 && a.Proposer != leader {
			entry = newCommit(key, e, a)
		}
		switch {
		case a.Proposer == 0:
			c.unnamed++
		case waits:
			c.waiting[a.Term] = append(c.waiting[a.Term], entry)
		case entry != nil:
			c.proposer(entry)
		}
		if entry != nil && !waits && !entry.elects {
			entry = nil
		}
		c.entries[key] = entry
	}
	if entry == nil {
		return
	}
	if !slices.Contains(entry.seenBy, by) {
		entry.seenBy = append(entry.seenBy, by)
		if pair := c.elections.add(entry, by); pair != nil {
			c.violate(twiceElected(pair, entry))
		}
	}
}

// proposer holds a committed entry's proposer against its term's leader, which is known.
func (c *singleLeader) proposer(entry *commit) {
	leader := c.leaders.of[entry.term]
	if entry.proposer == leader.Node {
		return
	}
	c.violate(Violation{
		Kind: KindForeignProposer, Time: entry.time, Nodes: []int32{entry.proposer}, Evidence: []string{eventLine(leader), entry.line},
		Sentence: fmt.Sprintf("the committed entry %d (%s %s) was proposed by n%d, but the raft leader of its term %d is n%d", entry.index, entry.command, entry.key, entry.proposer, entry.term, leader.Node),
	})
}

func twiceElected(first, second *commit) Violation {
	if first.index > second.index {
		first, second = second, first
	}
	v := Violation{
		Kind: KindTwiceElected, Time: second.time, Nodes: []int32{first.proposer}, Evidence: []string{first.line, second.line},
		Sentence: fmt.Sprintf("%s was elected a leader twice for partition epoch %d: entries %d by n%d (%s) and %d by n%d (%s)",
			first.key, first.epoch, first.index, first.proposer, first.outcome, second.index, second.proposer, second.outcome),
	}
	if second.proposer != first.proposer {
		v.Nodes = append(v.Nodes, second.proposer)
	}
	return v
}

func (c *singleLeader) Finish() Verdict {
	gaps := c.sequences.gaps()
	if len(gaps) == 0 {
		for _, pair := range c.elections.unordered() {
			c.violate(twiceElected(pair[0], pair[1]))
		}
	}
	var missing []string
	if c.checks == 0 {
		missing = append(missing, "no partition leader check was seen")
	}
	missing = append(missing, gaps...)
	terms := make([]uint64, 0, len(c.waiting))
	for term := range c.waiting {
		terms = append(terms, term)
	}
	slices.Sort(terms)
	for _, term := range terms {
		missing = append(missing, fmt.Sprintf("the raft leader of term %d is unknown, and %s in it", term, countEntries(len(c.waiting[term]))))
	}
	if c.unnamed > 0 {
		missing = append(missing, fmt.Sprintf("committed entries without a proposer: %d", c.unnamed))
	}
	checked := c.checks + c.proposals + int64(len(c.entries))
	v := c.verdict(checked, "checks, proposals and entries",
		fmt.Sprintf("in each of %s only its leader checked and proposed", plural(int64(len(c.leaders.of)), "raft term")), missing)
	v.Measures = append(v.Measures,
		Measure{Name: "leader checks", Seen: c.checks}, Measure{Name: "proposals", Seen: c.proposals},
		Measure{Name: "committed entries", Seen: int64(len(c.entries))}, Measure{Name: "terms", Seen: int64(len(c.leaders.of))},
		Measure{Name: "elections", Seen: c.elections.count})
	return v
}

func countEntries(n int) string {
	if n == 1 {
		return "1 entry was committed"
	}
	return fmt.Sprintf("%d entries were committed", n)
}
