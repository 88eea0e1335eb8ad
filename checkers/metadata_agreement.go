package checkers

import (
	"fmt"

	"soak/history"
)

// Kinds of violation of metadata-agreement.
const (
	KindEntriesDiffer = "entries-differ" // two nodes applied different entries at one raft index
	KindChangesDiffer = "changes-differ" // the hash chained over all resulting changes differs
	KindStatesDiffer  = "states-differ"  // the hash of the whole state, computed afresh, differs
)

// metadataAgreement holds the nodes' metadata against each other: at one raft index every node, in each of its boots, must have come to
// the same state. The hash of an entry is chained over all before it, so that two nodes that differ once differ ever after:
// only the first difference of a pair is told.
type metadataAgreement struct {
	ledger
	entries *entries
	prints  map[uint64]print          // index → of the first event that showed its entry
	states  map[uint64]*history.Event // index → the first event that showed it
	told    map[disagreement]bool
	// A snapshot that took the place of a node's state must be followed by the hash of what came of it, and that be compared.
	restored []*history.Event
	lastSeq  map[boot]uint64
	hashed   map[boot]map[uint64]bool // of the lives that restored something: the indexes hashed since
	shared   map[uint64]bool          // indexes whose state two lives hashed

	compared int64
}

// disagreement is a kind of difference between two lives of nodes.
type disagreement struct {
	kind        string
	first, this boot
}

// print is hashes of an entry, by which two are compared: what was committed, and what came of it; and who told it.
type print struct {
	entry, result uint64
	by            boot
}

func printOf(e *history.Event, a *history.Apply) print {
	return print{
		entry:  newDigest().number(a.Term).number(a.Attempt).number(uint64(a.Proposer)).word(a.Command).word(a.Key).sum(),
		result: newDigest().number(a.Hash).word(string(a.Outcome)).sum(),
		by:     boot{e.Node, e.Boot},
	}
}

func newMetadataAgreement(s *shared) *metadataAgreement {
	return &metadataAgreement{
		ledger:  ledger{id: MetadataAgreement},
		entries: s.committed(), prints: map[uint64]print{}, states: map[uint64]*history.Event{}, told: map[disagreement]bool{},
		lastSeq: map[boot]uint64{}, hashed: map[boot]map[uint64]bool{}, shared: map[uint64]bool{},
	}
}

func (c *metadataAgreement) Event(e *history.Event) {
	life := boot{e.Node, e.Boot}
	c.lastSeq[life] = max(c.lastSeq[life], e.Seq)
	if _, ok := replaced(e); ok {
		c.restored = append(c.restored, e)
		if c.hashed[life] == nil {
			c.hashed[life] = map[uint64]bool{}
		}
	}
	switch b := e.Body.(type) {
	case *history.Apply:
		c.entries.add(e)
		first, known := c.prints[b.Index]
		this := printOf(e, b)
		if !known {
			c.prints[b.Index] = this
			return
		}
		c.compared++
		switch {
		case first.entry != this.entry:
			c.differ(KindEntriesDiffer, b.Index, first.by, c.entries.first(b.Index), e, "applied different entries")
		case first.result != this.result:
			c.differ(KindChangesDiffer, b.Index, first.by, c.entries.first(b.Index), e, fmt.Sprintf("came to different changes by %s %s", b.Command, b.Key))
		}
	case *history.StateHash:
		if hashed := c.hashed[life]; hashed != nil {
			hashed[b.Index] = true
		}
		first, known := c.states[b.Index]
		if !known {
			c.states[b.Index] = e
			return
		}
		c.compared++
		if first.Node != e.Node || first.Boot != e.Boot {
			c.shared[b.Index] = true
		}
		if first.Body.(*history.StateHash).Hash != b.Hash {
			c.differ(KindStatesDiffer, b.Index, boot{first.Node, first.Boot}, first, e, "hold different states")
		}
	}
}

// differ takes a difference between what a life told first, by an event that is nil while a run goes on, and what another tells now.
func (c *metadataAgreement) differ(kind string, index uint64, by boot, first, second *history.Event, how string) {
	pair := disagreement{kind, by, boot{second.Node, second.Boot}}
	if c.told[pair] {
		return
	}
	c.told[pair] = true
	who := fmt.Sprintf("n%d and n%d", by.node, second.Node)
	nodes := []int32{by.node, second.Node}
	if by.node == second.Node {
		who, nodes = fmt.Sprintf("n%d in its boots %d and %d", by.node, by.boot, second.Boot), nodes[:1]
	}
	var evidence []string
	if first != nil {
		evidence = append(evidence, eventLine(first))
	}
	c.violate(Violation{
		Kind: kind, Time: second.Time, Nodes: nodes, Evidence: append(evidence, eventLine(second)),
		Sentence: fmt.Sprintf("%s %s at raft index %d", who, how, index),
	})
}

// unproven are the restored snapshots of which nothing shows that they are what was taken. A node that was killed before it said more is none.
func (c *metadataAgreement) unproven() (missing []string) {
	for _, e := range c.restored {
		life, index := boot{e.Node, e.Boot}, e.Body.(*history.Snapshot).Index
		switch {
		case !c.hashed[life][index] && c.lastSeq[life] > e.Seq:
			missing = append(missing, fmt.Sprintf("n%d put a snapshot of raft index %d in the place of its state in boot %d, and told no hash of it", e.Node, index, e.Boot))
		case c.hashed[life][index] && !c.shared[index]:
			missing = append(missing, fmt.Sprintf("n%d put a snapshot of raft index %d in the place of its state in boot %d, and nobody else told a hash of that index", e.Node, index, e.Boot))
		}
	}
	return missing
}

func (c *metadataAgreement) Finish() Verdict {
	missing := c.unproven()
	if c.compared == 0 {
		missing = append(missing, "no raft index was seen to be applied twice")
	}
	v := c.verdict(c.compared, "comparisons", fmt.Sprintf("all of %s at equal raft indexes agree", plural(c.compared, "comparison")), missing)
	if c.total == 0 && len(c.prints)+len(c.states) == 0 {
		v.Outcome, v.Reason = NotApplicable, "the nodes do not tell what they apply"
	}
	v.Measures = append(v.Measures, Measure{Name: "raft indexes applied", Seen: int64(len(c.prints))}, Measure{Name: "whole states hashed", Seen: int64(len(c.states))})
	if len(c.restored) > 0 {
		v.Measures = append(v.Measures, Measure{Name: "snapshots restored", Seen: int64(len(c.restored))})
	}
	return v
}
