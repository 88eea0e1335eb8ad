package checkers

import (
	"fmt"

	"soak/history"
)

// Kinds of violation of zero-proposal-errors.
const (
	KindCannotPropose = "cannot-propose" // a typed attempt by a node that is not leader
	KindCannotLog     = "cannot-log"     // a "Cannot propose" line in a node's log
)

// proposalErrors holds the story's second property: no log holds "Cannot propose", at any time, start-up included. An attempt by a
// non-leader counts whether it was refused, dropped or forwarded. What a sound broker may meet is counted apart: proposals
// that raft dropped from its leader around a loss of leadership, and compare-and-set refusals.
type proposalErrors struct {
	ledger
	sequences                    sequences
	attempts, dropped, forwarded int64
	refusals                     map[uint64]bool // indexes of committed entries that changed nothing
}

func newProposalErrors(*history.Run) *proposalErrors {
	return &proposalErrors{ledger: ledger{id: ZeroProposalErrors}, sequences: newSequences(), refusals: map[uint64]bool{}}
}

func (c *proposalErrors) Event(e *history.Event) {
	c.sequences.see(e)
	switch b := e.Body.(type) {
	case *history.Propose:
		c.propose(e, b)
	case *history.Apply:
		if b.Outcome == history.Refused {
			c.refusals[b.Index] = true
		}
	case *history.LogLine:
		if b.What == "cannot_propose" {
			c.violate(Violation{
				Kind: KindCannotLog, Time: e.Time, Nodes: []int32{b.Of}, Evidence: []string{eventLine(e)},
				Sentence: fmt.Sprintf("the log of n%d holds %q", b.Of, b.Line),
			})
		}
	}
}

func (c *proposalErrors) propose(e *history.Event, b *history.Propose) {
	c.attempts++
	switch b.Outcome {
	case history.ProposeDropped:
		if b.Role == history.RoleLeader {
			c.dropped++
		}
	case history.ProposeForwards:
		c.forwarded++
	}
	if b.Role == history.RoleLeader && b.Outcome != history.ProposeRefused {
		return
	}
	sentence := fmt.Sprintf("n%d tried to propose %s %s in term %d while its raft role was %s (%s)", e.Node, b.Command, b.Key, b.Term, b.Role, b.Outcome)
	if b.Error != "" {
		sentence += ": " + b.Error
	}
	c.violate(Violation{Kind: KindCannotPropose, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)}, Sentence: sentence})
}

func (c *proposalErrors) Finish() Verdict {
	var missing []string
	if c.attempts == 0 {
		missing = append(missing, "no proposal was seen")
	}
	missing = append(missing, c.sequences.gaps()...)
	v := c.verdict(c.attempts, "proposals", fmt.Sprintf("all %s were attempted by the raft leader", plural(c.attempts, "proposal")), missing)
	v.Measures = append(v.Measures,
		Measure{Name: "proposals", Seen: c.attempts},
		Measure{Name: "dropped around a loss of leadership", Seen: c.dropped},
		Measure{Name: "forwarded by non-leaders", Seen: c.forwarded},
		Measure{Name: "entries refused when applied", Seen: int64(len(c.refusals))})
	return v
}
