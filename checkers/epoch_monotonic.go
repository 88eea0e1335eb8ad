package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// Kinds of violation of epoch-monotonic.
const (
	KindEpochBack       = "epoch-back"        // a leader or partition epoch goes back, or a partition epoch is used twice
	KindEpochLeaders    = "epoch-two-leaders" // one leader epoch, two leaders
	KindStaleApplied    = "stale-applied"     // a command took effect on another partition epoch than it was made for
	KindLeaderOutside   = "leader-outside-isr"
	KindEpochOfOldBoot  = "epoch-of-old-boot" // a broker leads in an epoch that it led in an earlier boot
	createTopicCommand  = "create_topic"
	noPartitionLeader   = -1
	partitionRoleLeader = "leader"
)

// epochMonotonic holds the partitions' epochs to what makes them useful as fences: along the raft log they rise, each leader epoch has
// one leader, elected from the ISR, and what nodes say of themselves agrees with that.
type epochMonotonic struct {
	ledger
	run     *history.Run
	lines   *views
	entries *entries
	elected map[epochOf]chosen // by the log
	leads   map[epochOf]teller // the first that says so of itself
	told    map[string]bool

	changes, views int64
}

// epochOf is one leader epoch of a partition.
type epochOf struct {
	lived
	epoch int32
}

// chosen is who was elected by an entry.
type chosen struct {
	index  uint64
	leader int32
}

// teller is the event of a node, by its number.
type teller struct {
	boot
	seq uint64
}

func newEpochMonotonic(s *shared) *epochMonotonic {
	return &epochMonotonic{
		ledger: ledger{id: EpochMonotonic}, run: s.run, lines: s.seen(), entries: s.committed(),
		elected: map[epochOf]chosen{}, leads: map[epochOf]teller{}, told: map[string]bool{},
	}
}

func (c *epochMonotonic) Event(e *history.Event) {
	c.lines.take(e)
	c.entries.add(e)
}

// once reports a violation unless one of the same kind was told of the same thing.
func (c *epochMonotonic) once(kind string, about any, at *history.Event, nodes []int32, sentence string, evidence ...*history.Event) {
	key := fmt.Sprint(kind, about)
	if c.told[key] {
		return
	}
	c.told[key] = true
	v := Violation{Kind: kind, Time: at.Time, Nodes: slices.Compact(nodes), Sentence: sentence}
	for _, e := range evidence {
		if e != nil {
			v.Evidence = append(v.Evidence, eventLine(e))
		}
	}
	c.violate(v)
}

// changed is a partition's state with the entry that made it.
type changed struct {
	by *history.Event
	*history.PartitionChange
}

// alongTheLog follows each partition from entry to entry.
func (c *epochMonotonic) alongTheLog() {
	now := map[partition]changed{}
	c.entries.inOrder(func(e *history.Event, a *history.Apply) {
		if a.Outcome != history.Applied {
			return
		}
		for i := range a.Changes {
			next := changed{e, &a.Changes[i]}
			p := partition{next.Topic, next.Partition}
			if next.Gone {
				delete(now, p)
				continue
			}
			c.changes++
			if a.ExpectedEpoch >= 0 && next.PartitionEpoch != a.ExpectedEpoch+1 {
				c.once(KindStaleApplied, a.Index, e, []int32{a.Proposer}, fmt.Sprintf("entry %d (%s) was made for partition epoch %d of %s and took effect on %d",
					a.Index, a.Command, a.ExpectedEpoch, p, next.PartitionEpoch-1), e)
			}
			old, known := now[p]
			if a.Command == createTopicCommand {
				known = false
			}
			c.leader(p, old, known, next)
			if known {
				c.rises(p, old, next)
			}
			now[p] = next
			at := epochOf{lived{p, c.lines.topics.life(p.topic, a.Index)}, next.LeaderEpoch}
			if _, ok := c.elected[at]; !ok && next.Leader != noPartitionLeader {
				c.elected[at] = chosen{a.Index, next.Leader}
			}
		}
	})
}

// leader asks that who leads is in the ISR, and that who was elected was in it before. The latter is known only where no change
// between is missing, and an unclean election is free of it.
func (c *epochMonotonic) leader(p partition, old changed, known bool, next changed) {
	if next.Leader == noPartitionLeader {
		return
	}
	index := next.by.Body.(*history.Apply).Index
	if !slices.Contains(next.ISR, next.Leader) {
		c.once(KindLeaderOutside, index, next.by, []int32{next.Leader},
			fmt.Sprintf("entry %d made n%d leader of %s, whose ISR is %s", index, next.Leader, p, nodes(next.ISR)), next.by)
		return
	}
	elected := known && next.LeaderEpoch > old.LeaderEpoch && next.PartitionEpoch == old.PartitionEpoch+1
	if elected && !c.run.Contract.Unclean && !slices.Contains(old.ISR, next.Leader) {
		c.once(KindLeaderOutside, index, next.by, []int32{next.Leader},
			fmt.Sprintf("entry %d elected n%d leader of %s, whose ISR was %s", index, next.Leader, p, nodes(old.ISR)), old.by, next.by)
	}
}

func (c *epochMonotonic) rises(p partition, old, next changed) {
	index := next.by.Body.(*history.Apply).Index
	switch {
	case next.LeaderEpoch < old.LeaderEpoch:
		c.once(KindEpochBack, index, next.by, []int32{next.by.Node},
			fmt.Sprintf("the leader epoch of %s went back from %d to %d at entry %d", p, old.LeaderEpoch, next.LeaderEpoch, index), old.by, next.by)
	case next.PartitionEpoch <= old.PartitionEpoch:
		c.once(KindEpochBack, index, next.by, []int32{next.by.Node},
			fmt.Sprintf("the partition epoch of %s went from %d to %d at entry %d; it must rise", p, old.PartitionEpoch, next.PartitionEpoch, index), old.by, next.by)
	case next.LeaderEpoch == old.LeaderEpoch && next.Leader != old.Leader:
		c.once(KindEpochLeaders, epochOf{lived{p, index}, next.LeaderEpoch}, next.by, []int32{old.Leader, next.Leader},
			fmt.Sprintf("%s was led by %s and by %s in leader epoch %d", p, leaderName(old.Leader), leaderName(next.Leader), next.LeaderEpoch), old.by, next.by)
	}
}

func leaderName(id int32) string {
	if id == noPartitionLeader {
		return "no node"
	}
	return node(id)
}

// asTheySay compares what each node says of its replicas with the log, with the others, and with what it said before.
func (c *epochMonotonic) asTheySay(b boot) {
	said := map[lived]*history.Event{}
	c.lines.walk(b, func(e *history.Event, applied uint64, _ bool) {
		view, ok := e.Body.(*history.Partition)
		if !ok || applied == 0 {
			return
		}
		c.views++
		p := lived{partition{view.Topic, view.Partition}, c.lines.topics.life(view.Topic, applied)}
		if before := said[p]; before != nil {
			was := before.Body.(*history.Partition)
			if view.LeaderEpoch < was.LeaderEpoch || view.PartitionEpoch < was.PartitionEpoch {
				c.once(KindEpochBack, []any{b, p}, e, []int32{b.node}, fmt.Sprintf("n%d saw the epochs of %s go back from %d (partition epoch %d) to %d (%d) within one boot",
					b.node, p.partition, was.LeaderEpoch, was.PartitionEpoch, view.LeaderEpoch, view.PartitionEpoch), before, e)
			}
		}
		said[p] = e
		if view.Role == partitionRoleLeader {
			c.leading(e, epochOf{p, view.LeaderEpoch})
		}
	})
}

// leading takes a node that says that it leads.
func (c *epochMonotonic) leading(e *history.Event, at epochOf) {
	if by, known := c.elected[at]; known && by.leader != e.Node {
		c.once(KindEpochLeaders, at, e, []int32{by.leader, e.Node},
			fmt.Sprintf("n%d led %s in leader epoch %d, for which n%d was elected", e.Node, at.partition, at.epoch, by.leader), c.entries.first(by.index), e)
	}
	first, known := c.leads[at]
	switch {
	case !known:
		c.leads[at] = teller{boot{e.Node, e.Boot}, e.Seq}
	case first.node != e.Node:
		c.once(KindEpochLeaders, at, e, []int32{first.node, e.Node},
			fmt.Sprintf("n%d and n%d both led %s in leader epoch %d", first.node, e.Node, at.partition, at.epoch), c.lines.event(first), e)
	case first.boot.boot != e.Boot:
		c.once(KindEpochOfOldBoot, at, e, []int32{e.Node},
			fmt.Sprintf("n%d led %s in leader epoch %d in its boot %d and again in boot %d", e.Node, at.partition, at.epoch, first.boot.boot, e.Boot), c.lines.event(first), e)
	}
}

func (c *epochMonotonic) Finish() Verdict {
	c.alongTheLog()
	for _, b := range c.lines.boots() {
		c.asTheySay(b)
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(c.changes+c.views, "partition states", fmt.Sprintf("epochs rose along %s, each with one leader of the ISR", plural(c.changes, "change")), c.lines.sequences.gaps())
	if c.total == 0 && c.changes == 0 {
		v.Outcome, v.Reason = NotApplicable, "the nodes do not tell how partitions change"
	}
	v.Measures = append(v.Measures, Measure{Name: "partition changes", Seen: c.changes}, Measure{Name: "leader epochs", Seen: int64(len(c.elected))})
	return v
}
