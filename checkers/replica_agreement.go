package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// KindReplicasDiffer is a range of offsets below the high watermarks of two replicas that hold different bytes there.
const KindReplicasDiffer = "replicas-differ"

// replicaAgreement holds the replicas of a partition to hold the same bytes below their high watermarks: the same batches, headers included, as
// followers copy them. It compares the hashes that the drain recorded of what it read.
type replicaAgreement struct {
	ledger
	run      *history.Run
	ops      *operations
	drains   *drains
	unsynced unsynced
	kept     *retained

	compared, uncompared int64    // records
	never                []string // pairs of replicas of which no record was compared, though enough of each was read
	pairs, few           int64    // compared; not compared, and read for less than comparing may take
}

// comparable is how many offsets two replicas must have been read for to be sure to have a batch begin in common twice: stretches have about 1,024 offsets.
const comparable = 2 * 1024

func newReplicaAgreement(s *shared) *replicaAgreement {
	ops := s.operations()
	return &replicaAgreement{ledger: ledger{id: ReplicaAgreement}, run: s.run, ops: ops, drains: &ops.drains, unsynced: newUnsynced(s.run), kept: s.retention()}
}

func (c *replicaAgreement) Event(e *history.Event) {
	c.unsynced.see(e)
	c.kept.see(e)
}

func (c *replicaAgreement) Operation(op *history.Operation) { c.ops.take(op) }

// mark is an offset at which a batch begins on a replica, with the sum of all stretches before it in its chain: stretches without a gap between them.
type mark struct {
	at    int64
	sum   uint64
	chain int
	op    *piece // that read what lies before it
}

// marks are a replica's, of what it answered below its own high watermark of the time, ascending.
func (c *replicaAgreement) marks(r replica) []mark {
	var held []mark // at the ends of stretches
	var from []int64
	for _, op := range c.drains.pieces[r] { // in the order of their beginnings
		for _, s := range op.Stretches {
			if s.To <= op.High && (len(held) == 0 || s.From >= held[len(held)-1].at) {
				held, from = append(held, mark{at: s.To, sum: s.Hash, op: op}), append(from, s.From)
			}
		}
	}
	var out []mark
	for i, m := range held {
		n := len(out)
		if n == 0 || out[n-1].at != from[i] {
			chain := 0
			if n > 0 {
				chain = out[n-1].chain + 1
			}
			out = append(out, mark{at: from[i], chain: chain, op: m.op})
			n++
		}
		out = append(out, mark{at: m.at, sum: out[n-1].sum + m.sum, chain: out[n-1].chain, op: m.op})
	}
	return out
}

// compare holds two replicas' marks against each other, from one offset that both have to the next.
func (c *replicaAgreement) compare(a, b replica, of, with []mark) {
	var before [2]mark
	seen := false
	for len(of) > 0 && len(with) > 0 {
		switch x, y := of[0], with[0]; {
		case x.at < y.at:
			of = of[1:]
		case x.at > y.at:
			with = with[1:]
		default:
			of, with = of[1:], with[1:]
			if seen && before[0].chain == x.chain && before[1].chain == y.chain {
				c.compared += x.at - before[0].at
				if x.sum-before[0].sum != y.sum-before[1].sum {
					c.differ(a, b, before[0].at, x, y)
				}
			}
			before, seen = [2]mark{x, y}, true
		}
	}
}

func (c *replicaAgreement) differ(a, b replica, from int64, x, y mark) {
	first, second := x.op.operation(), y.op.operation()
	v := Violation{
		Kind: KindReplicasDiffer, Time: max(first.Complete, second.Complete), Nodes: []int32{a.node, b.node},
		Sentence: fmt.Sprintf("n%d and n%d hold different bytes of %s at the offsets %d to %d, below both their high watermarks", a.node, b.node, a.partition, from, x.at-1),
	}
	for _, op := range []*history.Operation{first, second} {
		short, cut := *op.Drain, *op
		short.Spans, short.Bad = nil, nil
		short.Stretches = slices.DeleteFunc(slices.Clone(short.Stretches), func(s history.Stretch) bool { return s.To <= from || s.From >= x.at })
		cut.Drain = &short
		v.Operations, v.Evidence = append(v.Operations, op.ID), append(v.Evidence, opLine(&cut))
	}
	c.violate(v)
}

// settled is the offset below which a replica was read and promises to change nothing.
func (c *replicaAgreement) settled(r replica) int64 {
	next, _ := c.drains.read(r)
	return min(next, c.drains.high(r))
}

// partition compares all its replicas with the one that was read furthest.
func (c *replicaAgreement) partition(replicas []replica) {
	best := slices.MaxFunc(replicas, func(a, b replica) int { return cmp.Compare(c.settled(a), c.settled(b)) })
	of := c.marks(best)
	for _, r := range replicas {
		if r == best {
			continue
		}
		before := c.compared
		c.compare(best, r, of, c.marks(r))
		from := max(c.kept.gone(best), c.kept.gone(r)) // what retention has let go on one is on both no more
		c.uncompared += max(0, c.settled(r)-from-(c.compared-before))
		switch both := min(c.settled(best), c.settled(r)); {
		case c.compared > before:
			c.pairs++
		case both-from > comparable:
			c.never = append(c.never, fmt.Sprintf("%s was never compared between n%d and n%d, though both were read up to %d", r.partition, best.node, r.node, both))
		case both > 0:
			c.few++
		}
	}
}

// hashed reports whether any piece of the drain came with hashes, and whether any holds records.
func (c *replicaAgreement) hashed() (hashes, records bool) {
	for _, pieces := range c.drains.pieces {
		for _, op := range pieces {
			hashes = hashes || len(op.Stretches) > 0
			records = records || op.To > op.From
		}
	}
	return hashes, records
}

func (c *replicaAgreement) Finish() Verdict {
	exempt := c.unsynced.exempt(c.faults)
	c.kept.judge(c.faults)
	hashes, records := c.hashed()
	var all []partition
	replicated := false
	for _, t := range c.run.RecordTopics {
		for n := range t.Partitions {
			p := partition{t.Name, n}
			all = append(all, p)
			replicas := c.drains.replicas(p)
			replicated = replicated || len(replicas) > 1
			if len(replicas) > 1 && !c.run.Contract.Unclean && exempt[p] == "" {
				c.partition(replicas)
			}
		}
	}
	slices.SortFunc(c.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Sentence, b.Sentence))
	})
	var missing []string
	if hashes || !records {
		missing = append(c.drains.shortfalls(), c.never...)
	}
	holds := fmt.Sprintf("replicas hold the same bytes, %s compared", plural(c.compared, "record"))
	if note := unclaimed(exempt, all); note != "" {
		holds += "; " + note
	}
	v := c.verdict(c.compared, "records compared between replicas", holds, missing)
	switch {
	case v.Outcome != Holds:
	case c.run.Contract.Unclean:
		v.Outcome, v.Reason = NotApplicable, "unclean elections are allowed: replicas may go apart"
	case !replicated:
		v.Outcome, v.Reason = NotApplicable, "no record topic has a second replica"
	case records && !hashes:
		v.Outcome, v.Reason = NotApplicable, "the final read recorded no hashes of what it read"
	case c.compared == 0 && c.kept.moves > 0:
		v.Outcome, v.Reason = NotApplicable, "retention has left nothing that two replicas could be compared by"
	case c.compared == 0:
		v.Outcome, v.Reason = Inconclusive, "no two replicas could be compared"
		if unclaimed(exempt, all) != "" {
			v.Reason += "; " + unclaimed(exempt, all)
		}
	}
	v.Measures = append(v.Measures, Measure{Name: "records not compared between replicas", Seen: c.uncompared},
		Measure{Name: "pairs of replicas compared", Seen: c.pairs}, Measure{Name: "pairs with too few records to compare", Seen: c.few})
	return v
}
