package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// Kinds of violation of balance.
const (
	KindNotPreferred   = "not-preferred" // quiet for long, and a partition is not led by its preferred replica
	KindPlacement      = "placement"     // the preferred replicas of one topic are not spread over the living nodes
	KindElectedTooMuch = "elected-too-often"
)

const (
	// quietChecks is how many quiet interval checks in a row a partition may be led by another than its preferred replica. The
	// contract gives the third such check the task of moving it; two more leave time for the entry to be applied.
	quietChecks = 5

	// electionsFree and electionsEach bound a partition's leader epochs: so many in any run, and so many for each disturbance (a
	// fault, an expired session, a boot after the first, a raft term, a stall). One disturbance moves a leader away and back, or to
	// none and back.
	electionsFree = 4
	electionsEach = 2
)

// balance asks that leaderships lie where the contract puts them, and move only for a reason. It replays the life of each node that
// acts as controller: what quiet means is what that controller knew.
type balance struct {
	ledger
	lines   *views
	entries *entries
	members []int32
	stalls  []*history.Event

	snapshots []uint64 // indexes of those that took the place of some node's state

	checks, quiet int64
	placed        int64
	disturbances  int64
	boots         map[boot]bool
	terms         map[uint64]bool
	excused       []string
	clock         func(int64) string
	mostElections int64
	// restored are the partitions at each index whose snapshot took the place of some node's state.
	restored map[uint64]map[partition]history.PartitionChange
}

func newBalance(s *shared) *balance {
	return &balance{ledger: ledger{id: Balance}, clock: clockOf(s.run), lines: s.seen(), entries: s.committed(), boots: map[boot]bool{}, terms: map[uint64]bool{}}
}

func (c *balance) Event(e *history.Event) {
	switch b := e.Body.(type) {
	case *history.Started:
		for _, id := range b.Nodes {
			if !slices.Contains(c.members, id) {
				c.members = append(c.members, id)
			}
		}
		if life := (boot{e.Node, e.Boot}); !c.boots[life] {
			c.boots[life] = true
			c.disturbances++
		}
	case *history.RoleChange:
		if b.Role == history.RoleLeader && !c.terms[b.Term] {
			c.terms[b.Term] = true
			c.disturbances++
		}
	case *history.Stall:
		c.stalls = append(c.stalls, e)
		c.disturbances++
	case *history.Session:
		if b.State != "live" {
			c.disturbances++
		}
	}
	if index, ok := replaced(e); ok {
		c.snapshots = append(c.snapshots, index)
	}
	c.lines.take(e)
	c.entries.add(e)
}

// watched is a partition as a controller knew it.
type watched struct {
	history.PartitionChange
	checks int   // quiet interval checks in a row that found it led by another than its preferred replica
	since  int64 // time of the check before the first of them
}

// controllerLife replays what one node knew in one boot.
type controllerLife struct {
	*balance
	at       boot
	parts    map[partition]*watched
	expired  map[int32]bool
	last     *history.Event // the last interval check
	restless bool           // something happened since then that makes a check not quiet
}

func (l *controllerLife) event(e *history.Event, gap bool) {
	if gap { // what is missing may have changed anything
		l.parts, l.last, l.restless = map[partition]*watched{}, nil, true
	}
	switch b := e.Body.(type) {
	case *history.Session:
		l.expired[b.Broker] = b.State != "live"
		l.restless = true
	case *history.StateHash:
	case *history.Snapshot:
		if index, ok := replaced(e); ok {
			l.restore(index)
		}
	case *history.Apply:
		l.apply(e, b)
	case *history.LeaderCheck:
		l.check(e, b)
	}
}

// restore takes what the log made of the partitions up to a snapshot's index. That the snapshot holds the same is metadata-agreement's
// business.
func (l *controllerLife) restore(index uint64) {
	l.parts, l.restless = map[partition]*watched{}, true
	for p, ch := range l.restored[index] {
		l.parts[p] = &watched{PartitionChange: ch}
	}
}

func (l *controllerLife) apply(e *history.Event, a *history.Apply) {
	if a.Outcome != history.Applied {
		return
	}
	for _, ch := range a.Changes {
		p := partition{ch.Topic, ch.Partition}
		if ch.Gone {
			delete(l.parts, p)
			continue
		}
		l.restless = l.restless || a.Command != createTopicCommand && a.Cause != "rebalance"
		l.parts[p] = &watched{PartitionChange: ch}
	}
	if a.Command == createTopicCommand && a.Proposer == l.at.node && a.ProposerBoot == l.at.boot {
		l.placement(e, a)
	}
}

// placement asks that the preferred replicas of a new topic are spread evenly over the nodes whose sessions lived for its creator.
func (l *controllerLife) placement(e *history.Event, a *history.Apply) {
	l.placed++
	count := map[int32]int{}
	for _, id := range l.members {
		if !l.expired[id] {
			count[id] = 0
		}
	}
	for _, ch := range a.Changes {
		if len(ch.Replicas) > 0 {
			if _, live := count[ch.Replicas[0]]; live {
				count[ch.Replicas[0]]++
			}
		}
	}
	most, least := int32(0), int32(0)
	for _, id := range l.members {
		if n, live := count[id]; live {
			if most == 0 || n > count[most] {
				most = id
			}
			if least == 0 || n < count[least] {
				least = id
			}
		}
	}
	if most == 0 || count[most]-count[least] <= 1 {
		return
	}
	l.violate(Violation{
		Kind: KindPlacement, Time: e.Time, Nodes: []int32{a.Proposer}, Evidence: []string{eventLine(e)},
		Sentence: fmt.Sprintf("of the %d partitions of %s n%d is the preferred replica of %d and n%d of %d", len(a.Changes), a.Key, most, count[most], least, count[least]),
	})
}

// check counts quiet interval checks: the same leader in the same term, every session alive, every replica in its ISR, nothing
// that moved but rebalancing, and no fault.
func (l *controllerLife) check(e *history.Event, b *history.LeaderCheck) {
	if b.Cause != history.CauseInterval || b.Role != history.RoleLeader {
		l.restless = l.restless || b.Cause != history.CauseInterval
		return
	}
	l.checks++
	before := l.last
	l.last = e
	quiet := !l.restless && before != nil && before.Body.(*history.LeaderCheck).Term == b.Term && len(l.members) > 0 && !l.faulty(before.Time, e.Time)
	l.restless = false
	for _, dead := range l.expired {
		quiet = quiet && !dead
	}
	for _, w := range l.parts {
		quiet = quiet && len(w.ISR) == len(w.Replicas)
	}
	if !quiet {
		for _, w := range l.parts {
			w.checks = 0
		}
		return
	}
	l.quiet++
	l.count(before.Time, e)
}

func (l *controllerLife) count(before int64, e *history.Event) {
	names := make([]partition, 0, len(l.parts))
	for p := range l.parts {
		names = append(names, p)
	}
	slices.SortFunc(names, comparePartitions)
	for _, p := range names {
		w := l.parts[p]
		if len(w.Replicas) == 0 || w.Leader == w.Replicas[0] {
			w.checks = 0
			continue
		}
		if w.checks == 0 {
			w.since = before
		}
		if w.checks++; w.checks != quietChecks {
			continue
		}
		sentence := fmt.Sprintf("n%d led %s through %d quiet checks of n%d, though its preferred replica n%d was in the ISR", w.Leader, p, w.checks, e.Node, w.Replicas[0])
		if stall := l.stalled(w.since, e.Time); stall != nil {
			l.excused = append(l.excused, whileStalled(sentence, stall, l.clock))
			continue
		}
		l.violate(Violation{Kind: KindNotPreferred, Time: e.Time, Nodes: []int32{w.Leader}, Evidence: []string{eventLine(e)}, Sentence: sentence})
	}
}

// faulty reports whether a fault was under way at any time of a window.
func (c *balance) faulty(from, to int64) bool {
	return slices.ContainsFunc(c.faults, func(f *history.Fault) bool {
		return f.Asked != 0 && f.Asked <= to && (f.Healed == 0 || f.Healed >= from)
	})
}

func (c *balance) stalled(from, to int64) *history.Event {
	for _, e := range c.stalls {
		if s := e.Body.(*history.Stall); e.Time >= from && e.Time-s.Nanos <= to {
			return e
		}
	}
	return nil
}

// elections bounds how often a partition's leader epoch rose. The bound is far above what a sound cluster needs: it is there for the
// one that elects at every check.
func (c *balance) elections() {
	allowed := int64(electionsFree) + electionsEach*(c.disturbances+int64(len(c.faults))-int64(len(c.members)))
	now, rises := map[partition]int32{}, map[partition]int64{}
	c.entries.inOrder(func(e *history.Event, a *history.Apply) {
		if a.Outcome != history.Applied {
			return
		}
		for _, ch := range a.Changes {
			p := partition{ch.Topic, ch.Partition}
			epoch, known := now[p]
			now[p] = ch.LeaderEpoch
			if ch.Gone || a.Command == createTopicCommand {
				rises[p] = 0
				continue
			}
			if !known || ch.LeaderEpoch <= epoch {
				continue
			}
			rises[p]++
			c.mostElections = max(c.mostElections, rises[p])
			if rises[p] == allowed+1 {
				c.violate(Violation{
					Kind: KindElectedTooMuch, Time: e.Time, Nodes: []int32{a.Proposer}, Evidence: []string{eventLine(e)},
					Sentence: fmt.Sprintf("%s was given a new leader epoch %d times by entry %d; faults, expired sessions, restarts, stalls and raft terms explain at most %d", p, rises[p], a.Index, allowed),
				})
			}
		}
	})
}

func (c *balance) Finish() Verdict {
	slices.Sort(c.members)
	c.restored = c.entries.partitionsAt(c.snapshots)
	for _, b := range c.lines.boots() {
		life := controllerLife{balance: c, at: b, parts: map[partition]*watched{}, expired: map[int32]bool{}}
		c.lines.walk(b, func(e *history.Event, _ uint64, gap bool) { life.event(e, gap) })
	}
	c.elections()
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(c.checks+c.placed, "interval checks and topics created", "leaders lay where they belong, and moved no more than disturbances explain",
		slices.Concat(c.excused, c.lines.sequences.gaps()))
	if c.total == 0 && c.checks+c.placed == 0 {
		v.Outcome, v.Reason = NotApplicable, "the nodes do not tell of their leader checks and topics"
	}
	v.Measures = append(v.Measures, Measure{Name: "quiet interval checks", Seen: c.quiet}, Measure{Name: "topics placed", Seen: c.placed},
		Measure{Name: "most elections of a partition", Seen: c.mostElections}, Measure{Name: "disturbances", Seen: c.disturbances + int64(len(c.faults)) - int64(len(c.members))})
	return v
}
