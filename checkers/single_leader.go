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
	entries   map[entryID]*commit
	waiting   map[uint64][]*commit // term → entries whose term's leader is not known yet
	elections elections
	passages  map[boot]int // how often a snapshot took the place of entries

	checks, proposals int64
	unnamed           int64 // entries that name no proposer
}

// entryID tells an entry seen on three nodes, and again after a restart, from another entry at its index.
type entryID struct {
	index, term    uint64
	proposer       int32
	boot, attempt  uint64
	command, topic string
}

// commit is a committed entry with the first event that showed it.
type commit struct {
	id     entryID
	first  *history.Event
	seenBy []passage
}

// passage is a part of a node's life in which it applied one entry after the other: a snapshot that it is sent begins another.
type passage struct {
	boot
	snapshots int
}

func (c *commit) apply() *history.Apply { return c.first.Body.(*history.Apply) }

func newSingleLeader(*history.Run) *singleLeader {
	return &singleLeader{
		ledger: ledger{id: SingleLeaderProposing}, leaders: newLeaders(), sequences: newSequences(),
		actors: map[uint64][]*history.Event{}, entries: map[entryID]*commit{}, waiting: map[uint64][]*commit{},
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
	c.elections.boundaries(a)
	if a.Command == "" || a.Command == "empty" {
		return // raft's own entry at the begin of a term
	}
	id := entryID{a.Index, a.Term, a.Proposer, a.ProposerBoot, a.Attempt, a.Command, a.Key}
	entry, known := c.entries[id]
	life := boot{e.Node, e.Boot}
	by := passage{life, c.passages[life]}
	if !known {
		entry = &commit{id: id, first: e}
		c.entries[id] = entry
		switch {
		case a.Proposer == 0:
			c.unnamed++
		case c.leaders.leader(a.Term) == 0:
			c.waiting[a.Term] = append(c.waiting[a.Term], entry)
		default:
			c.proposer(entry)
		}
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
	a, leader := entry.apply(), c.leaders.of[entry.id.term]
	if a.Proposer == leader.Node {
		return
	}
	c.violate(Violation{
		Kind: KindForeignProposer, Time: entry.first.Time, Nodes: []int32{a.Proposer}, Evidence: []string{eventLine(leader), eventLine(entry.first)},
		Sentence: fmt.Sprintf("the committed entry %d (%s %s) was proposed by n%d, but the raft leader of its term %d is n%d", a.Index, a.Command, a.Key, a.Proposer, a.Term, leader.Node),
	})
}

func twiceElected(first, second *commit) Violation {
	if first.id.index > second.id.index {
		first, second = second, first
	}
	a, b := first.apply(), second.apply()
	v := Violation{
		Kind: KindTwiceElected, Time: second.first.Time, Nodes: []int32{a.Proposer}, Evidence: []string{eventLine(first.first), eventLine(second.first)},
		Sentence: fmt.Sprintf("%s was elected a leader twice for partition epoch %d: entries %d by n%d (%s) and %d by n%d (%s)",
			a.Key, a.ExpectedEpoch, a.Index, a.Proposer, a.Outcome, b.Index, b.Proposer, b.Outcome),
	}
	if b.Proposer != a.Proposer {
		v.Nodes = append(v.Nodes, b.Proposer)
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

// elections finds partitions that were given a leader twice for one partition epoch. A topic that is deleted and created
// anew begins its epochs anew: creation and deletion of its name part what stands before from what stands behind.
type elections struct {
	count  int64
	of     map[electionID][]*commit
	parted map[string][]uint64 // topic → indexes of its creations and deletions
	paired map[*commit]bool    // reported as the second of a pair
}

type electionID struct {
	partition string
	epoch     int32
}

func newElections() elections {
	return elections{of: map[electionID][]*commit{}, parted: map[string][]uint64{}, paired: map[*commit]bool{}}
}

func (s *elections) boundaries(a *history.Apply) {
	if a.Outcome == history.Applied && (a.Command == "create_topic" || a.Command == "delete_topic") && !slices.Contains(s.parted[a.Key], a.Index) {
		s.parted[a.Key] = append(s.parted[a.Key], a.Index)
	}
}

// add takes an entry as seen in one passage of a node's life, and answers an earlier election that it repeats. Both must have been seen in
// it: a node speaks in the order of the log, so that whatever parts them has been seen as well.
func (s *elections) add(entry *commit, by passage) *commit {
	a := entry.apply()
	// An election refused for an unknown topic belongs to the topic's earlier life.
	if a.Command != "set_partition_leader" || a.ExpectedEpoch < 0 || strings.HasPrefix(a.Error, "unknown topic") {
		return nil
	}
	id := electionID{a.Key, a.ExpectedEpoch}
	if !slices.Contains(s.of[id], entry) {
		s.of[id] = append(s.of[id], entry)
		s.count++
	}
	if s.paired[entry] {
		return nil
	}
	for _, other := range s.of[id] {
		if other != entry && !s.paired[other] && slices.Contains(other.seenBy, by) && !s.apart(other, entry) {
			s.paired[entry] = true
			return other
		}
	}
	return nil
}

// unordered are the repeated elections that no single passage saw both of, the lower index first.
func (s *elections) unordered() [][2]*commit {
	var out [][2]*commit
	for _, entries := range s.of {
		for i, second := range entries {
			for _, first := range entries[:i] {
				if !s.paired[first] && !s.paired[second] && !s.apart(first, second) {
					s.paired[second] = true
					out = append(out, [2]*commit{first, second})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b [2]*commit) int { return int(a[1].id.index) - int(b[1].id.index) })
	return out
}

// apart reports whether the topic was created or deleted between the two entries.
func (s *elections) apart(a, b *commit) bool {
	low, high := min(a.id.index, b.id.index), max(a.id.index, b.id.index)
	topic := a.apply().Key
	if i := strings.LastIndexByte(topic, '-'); i >= 0 {
		topic = topic[:i]
	}
	for _, index := range s.parted[topic] {
		if low < index && index < high {
			return true
		}
	}
	return false
}
