package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// Kinds of violation of claims.
const (
	KindClaimEarly  = "claim-before-commit" // the node had not applied the entry that its claim rests on
	KindClaimUnborn = "claim-without-entry" // the entry says something else
	KindAnswerUnfit = "answer-without-entry"
)

// claims holds what nodes assert ("elected", "created", "isr_changed", and success answered to a client) against the committed log: each
// rests on an entry of the same content that was applied at or before the claim.
type claims struct {
	ledger
	lines   *views
	entries *entries
	answers []*history.Operation

	checked  int64
	unproven []string
}

func newClaims(s *shared) *claims {
	return &claims{ledger: ledger{id: Claims}, lines: s.seen(), entries: s.committed()}
}

func (c *claims) Event(e *history.Event) {
	c.lines.take(e)
	c.entries.add(e)
}

func (c *claims) Operation(op *history.Operation) {
	m := op.Meta
	if m != nil && op.Outcome == history.OK && m.Code == 0 && m.Index != 0 && (m.Kind == history.MetaCreate || m.Kind == history.MetaDelete) {
		c.answers = append(c.answers, op)
	}
}

// claimed asks for the entry behind a node's claim. A node that has applied nothing beyond the index, by its own events, cannot know
// what it claims; after a gap it may.
func (c *claims) claimed(e *history.Event, claim *history.Claim, applied uint64, gapped bool) {
	c.checked++
	what := fmt.Sprintf("n%d claimed %q of %s at raft index %d", e.Node, claim.What, claim.Key, claim.Index)
	entry := c.entries.first(claim.Index)
	switch {
	case gapped && (entry == nil || applied < claim.Index):
		c.unproven = append(c.unproven, what+", and events are missing before it")
	case applied < claim.Index || claim.Index == 0:
		v := Violation{
			Kind: KindClaimEarly, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)},
			Sentence: fmt.Sprintf("%s, when it had applied no more than %d", what, applied),
		}
		if claim.Index == 0 {
			v.Sentence = fmt.Sprintf("n%d claimed %q of %s and named no committed entry that it rests on", e.Node, claim.What, claim.Key)
		}
		c.violate(v)
	case entry == nil:
		c.violate(Violation{
			Kind: KindClaimUnborn, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(e)}, Sentence: what + ", where no entry was applied",
		})
	case !bears(entry.Body.(*history.Apply), claim):
		c.violate(Violation{
			Kind: KindClaimUnborn, Time: e.Time, Nodes: []int32{e.Node}, Evidence: []string{eventLine(entry), eventLine(e)},
			Sentence: what + ", where the committed entry says otherwise",
		})
	}
}

// bears reports whether an entry has the content of a claim.
func bears(a *history.Apply, claim *history.Claim) bool {
	if a.Outcome != history.Applied {
		return false
	}
	if claim.What == "created" {
		return a.Command == createTopicCommand && a.Key == claim.Key
	}
	// "elected" and "isr_changed" name a partition and who leads it in which epoch.
	return slices.ContainsFunc(a.Changes, func(ch history.PartitionChange) bool {
		return !ch.Gone && partition{ch.Topic, ch.Partition}.String() == claim.Key && ch.Leader == claim.Leader && ch.LeaderEpoch == claim.LeaderEpoch
	})
}

// answered asks for the entry behind a success that a client was told. Without an event of that index nothing is known.
func (c *claims) answered(op *history.Operation) {
	c.checked++
	m := op.Meta
	entry := c.entries.first(m.Index)
	if entry == nil {
		c.unproven = append(c.unproven, fmt.Sprintf("the answer to %s (%s %s) rests on raft index %d, of which no event tells", op.ID, m.Kind, m.Name, m.Index))
		return
	}
	a := entry.Body.(*history.Apply)
	command := createTopicCommand
	if m.Kind == history.MetaDelete {
		command = "delete_topic"
	}
	if a.Command == command && a.Key == m.Name && a.Outcome == history.Applied {
		return
	}
	c.violate(Violation{
		Kind: KindAnswerUnfit, Time: op.Complete, Operations: []string{op.ID}, Evidence: []string{eventLine(entry), opLine(op)},
		Sentence: fmt.Sprintf("%s was told that its %s of %s succeeded at raft index %d, where the committed entry says otherwise", op.Client, m.Kind, m.Name, m.Index),
	})
}

func (c *claims) Finish() Verdict {
	for _, b := range c.lines.boots() {
		gapped := false
		c.lines.walk(b, func(e *history.Event, applied uint64, gap bool) {
			gapped = gapped || gap
			if claim, ok := e.Body.(*history.Claim); ok {
				c.claimed(e, claim, applied, gapped)
			}
		})
	}
	for _, op := range c.answers {
		c.answered(op)
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(c.checked, "claims", fmt.Sprintf("all of %s rest on a committed entry", plural(c.checked, "claim")), c.unproven)
	if c.total == 0 && c.checked == 0 {
		v.Outcome, v.Reason = NotApplicable, "the nodes claim nothing that names a raft index"
	}
	v.Measures = append(v.Measures, Measure{Name: "claims of nodes", Seen: c.checked - int64(len(c.answers))}, Measure{Name: "answers to clients", Seen: int64(len(c.answers))})
	return v
}
