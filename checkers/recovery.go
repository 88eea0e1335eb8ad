package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/history"
)

// Kinds of violation of recovery.
const (
	KindFailoverLate = "failover-late" // the fault lasts, and no healthy node took over a partition in time
	KindWriteLate    = "write-late"    // healed, and no write is acknowledged in time
	KindISRLate      = "isr-late"      // healed, and the ISR is not full in time

	// KindCoreNotServing: a majority of the nodes was whole and left alone, and did not serve in time while the others stayed broken.
	KindCoreNotServing = "core-not-serving"
)

// The bounds that recovery is held to, beside the run's session timeout and election interval.
const (
	raftElections = 2 * time.Second // two of raft's election time-outs
	failoverSlack = time.Second     // by contract
	// An election of raft may find no winner (section 5.2 of its paper: a split vote; a vote that is lost on its way has the same effect) and begins anew after another
	// time-out, in a new term. So many in a row are no defect of the broker; each costs at most two time-outs.
	mostSplitVotes = 3
	// clientSlack is what a client may lose beside the cluster: one request that runs into its time-out of 3 s, one dial of 1 s, one
	// refresh of metadata, and as much again as scheduling on a full machine takes.
	clientSlack = 6 * time.Second
	isrSlack    = 5 * time.Second // to catch up, and for the proposals
	// requestLost is what a lost request between nodes costs: it is given up after 3 s. seldomLost is the loss, in millionths, below which two in a row are not to be expected.
	requestLost = 3 * time.Second
	seldomLost  = 1000
	// cutMargin is how much of the end of a history that was cut may be missing: what was under way, and what was not flushed.
	cutMargin = 10 * time.Second
)

// recovery measures how long a cluster takes to work again: while a fault lasts, until healthy nodes lead what the faulty
// ones led; after its end, until each record partition acknowledges a write, and until each ISR is full. All are times: what is
// missed while the machine stood still for no fault of ours is inconclusive, what the next fault or the end of the run cuts short is not
// judged.
type recovery struct {
	ledger
	run     *history.Run
	ops     *operations
	views   *views
	leading map[partition][]leading        // replicas that say that they lead, record topics only
	changes map[partition]map[uint64]isrAt // by raft index
	writes  []write                        // of the partition that is being judged, by their beginnings
	sent    *tape                          // on which they stand
	stalls  []*history.Event
	votes   []*history.Event // a node stood for raft leader

	lastVote uint64          // the highest term in which one stood
	won      map[uint64]bool // terms of raft that have a leader

	lastAt int64 // time of the last event
	lastOp int64 // time of the last answer to a client
	isCut  bool  // operations or events may be missing at the end

	judged, cut                 int64
	slowFailover, slowW, slowIS time.Duration
	excused                     []string
}

// causeAlterPartition is what a broker says of an ISR that a partition's leader asked for; other causes are the controller's own.
const causeAlterPartition = "alter_partition"

// isrAt is a committed state of an ISR, with the earliest time at which a node had applied it: a paused or restarted node says it late.
type isrAt struct {
	index uint64
	time  int64
	full  bool
	isr   []int32
	event *history.Event
}

// leading is a replica that says that it leads.
type leading struct {
	time  int64
	node  int32
	epoch int32
	told  viewRef
}

// write is a produce operation, with its number on the tape.
type write struct {
	invoke, complete int64
	i                int32
	ok, refused      bool // acknowledged; too few replicas were in sync
}

func newRecovery(s *shared) *recovery {
	c := &recovery{
		ledger: ledger{id: Recovery}, run: s.run, ops: s.operations(), views: s.seen(),
		leading: map[partition][]leading{}, changes: map[partition]map[uint64]isrAt{}, won: map[uint64]bool{},
	}
	for _, t := range s.run.RecordTopics {
		for p := range t.Partitions {
			c.changes[partition{t.Name, p}] = map[uint64]isrAt{}
		}
	}
	return c
}

func (c *recovery) Event(e *history.Event) {
	c.lastAt = max(c.lastAt, e.Time)
	switch b := e.Body.(type) {
	case *history.Stall:
		c.stalls = append(c.stalls, e)
	case *history.RoleChange:
		if b.Role == history.RoleCandidate {
			c.votes = append(c.votes, e)
			c.lastVote = max(c.lastVote, b.Term)
		}
		if b.Role == history.RoleLeader || b.Leader != 0 {
			c.won[b.Term] = true
		}
	case *history.Partition:
		p := partition{b.Topic, b.Partition}
		if c.leading != nil && c.changes[p] != nil && b.Role == partitionRoleLeader {
			c.leading[p] = append(c.leading[p], leading{e.Time, e.Node, b.LeaderEpoch, c.views.take(e)})
		}
	case *history.Apply:
		for i := range b.Changes {
			ch := &b.Changes[i]
			of := c.changes[partition{ch.Topic, ch.Partition}]
			if of == nil {
				continue
			}
			if old, known := of[b.Index]; !known || e.Time < old.time {
				of[b.Index] = isrAt{b.Index, e.Time, len(ch.ISR) == len(ch.Replicas), ch.ISR, e}
			}
		}
	}
}

func (c *recovery) Operation(op *history.Operation) {
	c.lastOp = max(c.lastOp, op.Complete)
	if op.Produce != nil {
		c.ops.take(op)
	}
}

// load gets the writes of a partition, in place of those of the one before.
func (c *recovery) load(p partition) {
	c.sent, c.writes = c.ops.sends(p), c.writes[:0]
	c.sent.each(func(i int, op *history.Operation) {
		c.writes = append(c.writes, write{op.Invoke, op.Complete, int32(i), op.Outcome == history.OK, strings.HasPrefix(op.Error, "NOT_ENOUGH_REPLICAS")})
	})
	by := func(a, b write) int { return cmp.Compare(a.invoke, b.invoke) }
	if !slices.IsSortedFunc(c.writes, by) {
		slices.SortStableFunc(c.writes, by)
	}
}

// release gives back what judging took, which for a long partition is much: other checkers are to be judged yet.
func (c *recovery) release() { c.sent, c.writes = nil, nil }

// from is the writes that began at an instant or later.
func (c *recovery) from(at int64) []write {
	i, _ := slices.BinarySearchFunc(c.writes, at, func(w write, t int64) int { return cmp.Compare(w.invoke, t) })
	return c.writes[i:]
}

func (c *recovery) line(w write) string { return opLine(c.sent.at(int(w.i))) }

func (c *recovery) session() time.Duration { return time.Duration(c.run.SessionTimeout) }

// lossSlack is what a network that loses messages all the time may cost: one request between nodes, two in a row where that is to be expected.
func (c *recovery) lossSlack() time.Duration {
	switch ppm := c.run.Contract.LossPPM; {
	case ppm == 0:
		return 0
	case ppm < seldomLost:
		return requestLost
	}
	return 2 * requestLost
}

// failoverBound is from the effect of a fault to another leader: the contract's.
func (c *recovery) failoverBound() time.Duration {
	bound := max(c.session(), raftElections) + failoverSlack
	return bound + c.lossSlack()
}

// writeBound is from the end of a fault to the first acknowledged write.
func (c *recovery) writeBound() time.Duration { return c.failoverBound() + clientSlack }

// isrBound is from the end of a fault to the full ISR: a session that expires late, a replica that lags for as long as it may, one interval of
// the service, and the catching up.
func (c *recovery) isrBound() time.Duration {
	lag := max(c.session(), time.Second)
	bound := c.session() + lag + time.Duration(c.run.ElectionInterval) + isrSlack
	return bound + c.lossSlack()
}

// incomplete tells that operations or events may be missing: what was not seen near the end may have happened all the same.
func (c *recovery) incomplete(n history.Notes) {
	c.isCut = historyCut(n) || slices.ContainsFunc(n.Truncated, func(f string) bool { return strings.HasPrefix(f, history.EventsFile) })
}

// loadEnd is when clients stopped and nodes were no longer expected to settle.
func (c *recovery) loadEnd() int64 {
	if c.isCut {
		return min(c.lastAt, c.lastOp) - int64(cutMargin)
	}
	for _, p := range c.run.Phases {
		if p.Name == "drain" && p.Start != 0 {
			return p.Start
		}
	}
	return c.lastAt
}

// undisturbed is until when the cluster was left alone from an instant on: until the next fault, or the end of the load. 0 if another fault
// was under way at that instant.
func (c *recovery) undisturbed(from int64, than *history.Fault) int64 {
	until := c.loadEnd()
	for _, f := range c.faults {
		switch {
		case f == than || f.Asked == 0:
		case f.Asked <= from && (f.Healed == 0 || f.Healed > from):
			return 0
		case f.Asked > from:
			until = min(until, f.Asked)
		}
	}
	return until
}

// stalled finds a stall in a window that no fault explains: a paused node's own standing still is what the fault is.
func (c *recovery) stalled(from, to int64) *history.Event {
	for _, e := range c.stalls {
		begin := e.Time - e.Body.(*history.Stall).Nanos
		if e.Time < from || begin > to {
			continue
		}
		ours := slices.ContainsFunc(c.faults, func(f *history.Fault) bool {
			return slices.Contains(f.Nodes, e.Node) && f.Asked <= e.Time && (f.Healed == 0 || begin <= f.Healed)
		})
		if !ours {
			return e
		}
	}
	return nil
}

// late reports a missed bound.
func (c *recovery) late(kind string, p partition, f *history.Fault, from int64, bound time.Duration, nodes []int32, what string, evidence []string) {
	sentence := fmt.Sprintf("%s: %s within %s of fault %d (%s)", p, what, bound, f.ID, f.Plain())
	if c.run.HarnessError != "" {
		c.excused = append(c.excused, sentence+"; the harness failed: "+c.run.HarnessError)
		return
	}
	if stall := c.stalled(from, from+int64(bound)); stall != nil {
		c.excused = append(c.excused, whileStalled(sentence, stall, clockOf(c.run)))
		return
	}
	c.violate(Violation{Kind: kind, Time: from + int64(bound), Nodes: nodes, Sentence: sentence, Evidence: evidence})
}

// outage reports whether a fault takes whole nodes away from the others, as far as failover knows how to judge.
func outage(f *history.Fault) bool {
	return f.Kind == "kill" || f.Kind == "pause" || f.Kind == "partition"
}

// settled reports whether the cluster had the time of a failover to itself before a fault: the contract speaks of one that serves, not of
// one that is still coming back.
func (c *recovery) settled(before *history.Fault) bool {
	from := before.Asked - int64(c.failoverBound())
	return !slices.ContainsFunc(c.faults, func(f *history.Fault) bool {
		return f != before && f.Asked != 0 && f.Asked <= before.Asked && (f.Healed == 0 || f.Healed > from)
	})
}

// splitVotes is how many elections that began in a window had no winner: terms in which a node stood, which nobody is known to have won, and
// which another such term followed, be that after the window.
func (c *recovery) splitVotes(from, to int64) int {
	split := map[uint64]bool{}
	for _, e := range c.votes {
		if term := e.Body.(*history.RoleChange).Term; e.Time >= from && e.Time <= to && term < c.lastVote && !c.won[term] {
			split[term] = true
		}
	}
	return min(len(split), mostSplitVotes)
}

// withElections is a bound with the time for the elections without a winner that began in it. Each gives time to another.
func (c *recovery) withElections(f *history.Fault, bound time.Duration) time.Duration {
	for splits := 0; ; {
		longer := bound + time.Duration(splits)*raftElections
		n := c.splitVotes(f.Asked, f.Effective+int64(longer))
		if n == splits {
			return longer
		}
		splits = n
	}
}

// shrunkTo reports whether a leader's own requests, of the epoch that it was last seen to lead in, left only nodes of a fault in the ISR. What it
// asked for before it was cut off may be committed without it, as late as a failover is due: what is committed later, or once the fault is to end, it may have asked
// for when it was back.
func (c *recovery) shrunkTo(f *history.Fault, p partition, view *history.Partition) bool {
	until := f.Effective + int64(c.failoverBound())
	if f.HealAsked != 0 {
		until = min(until, f.HealAsked)
	}
	var last *history.PartitionChange
	own := false
	for _, s := range c.changes[p] {
		if s.time > until {
			continue
		}
		a := s.event.Body.(*history.Apply)
		for i := range a.Changes {
			ch := &a.Changes[i]
			if (partition{ch.Topic, ch.Partition}) == p && ch.LeaderEpoch == view.LeaderEpoch && ch.PartitionEpoch > view.PartitionEpoch &&
				(last == nil || ch.PartitionEpoch > last.PartitionEpoch) {
				last, own = ch, a.Cause == causeAlterPartition
			}
		}
	}
	return own && !slices.ContainsFunc(last.ISR, func(id int32) bool { return !slices.Contains(f.Nodes, id) })
}

// failover judges the partitions that a lasting fault robbed of their leader.
func (c *recovery) failover(f *history.Fault, p partition, replicas []int32) {
	bound := c.failoverBound()
	if !outage(f) || len(f.Nodes) == 0 || 2*len(f.Nodes) >= c.run.Nodes || f.Lasted() < int64(bound) || !c.settled(f) || c.undisturbed(f.Asked, f) < f.Effective+int64(bound) {
		return
	}
	var last *leading
	told := c.leading[p]
	for i := range told {
		if e := &told[i]; e.time <= f.Asked && (last == nil || e.epoch >= last.epoch) {
			last = e
		}
	}
	if last == nil || !slices.Contains(f.Nodes, last.node) {
		return
	}
	led := last.told.event()
	view := led.Body.(*history.Partition)
	if !slices.ContainsFunc(view.ISR, func(id int32) bool { return !slices.Contains(f.Nodes, id) }) {
		return // nobody else may lead
	}
	if c.shrunkTo(f, p, view) {
		return // nor here: that the leader did not live to see its own last change does not undo it
	}
	took := int64(-1)
	for i := range told {
		if e := &told[i]; e.time >= f.Asked && e.epoch > view.LeaderEpoch && (took < 0 || e.time < took) && !slices.Contains(f.Nodes, e.node) {
			took = e.time
		}
	}
	bound = c.withElections(f, bound)
	if (took < 0 || took > f.Effective+int64(bound)) && (f.Lasted() < int64(bound) || c.undisturbed(f.Asked, f) < f.Effective+int64(bound)) {
		return
	}
	c.judged++
	if took >= 0 && took <= f.Effective+int64(bound) {
		c.slowFailover = max(c.slowFailover, time.Duration(took-f.Effective))
		return
	}
	c.late(KindFailoverLate, p, f, f.Effective, bound, []int32{led.Node},
		fmt.Sprintf("no healthy node of %s took over from n%d", nodes(replicas), led.Node), []string{eventLine(led)})
}

// firstWrite judges how soon a write is acknowledged after the end of a fault. Where no client tried in time, there is nothing to judge.
func (c *recovery) firstWrite(f *history.Fault, p partition) {
	bound, until := c.writeBound(), c.undisturbed(f.Healed, f)
	if until <= f.Healed {
		return
	}
	limit := f.Healed + int64(bound)
	var first, tried *write
	// Sorted by their beginnings; what began long before the end of the fault is over.
	ops := c.from(f.Healed - int64(bound))
	for i := range ops {
		op := &ops[i]
		if op.invoke > limit {
			break
		}
		if op.ok && op.complete >= f.Healed && (first == nil || op.complete < first.complete) {
			first = op
		}
		if tried == nil && op.invoke >= f.Healed && op.invoke <= limit-int64(clientSlack) {
			tried = op
		}
	}
	switch {
	case first != nil && first.complete <= limit:
		c.judged++
		c.slowW = max(c.slowW, time.Duration(first.complete-f.Healed))
	case until < limit || tried == nil:
		c.cut++
	default:
		c.judged++
		c.late(KindWriteLate, p, f, f.Healed, bound, nil, "no write was acknowledged after the end", []string{c.line(*tried)})
	}
}

// fullISR judges how soon every replica is in the ISR again.
func (c *recovery) fullISR(f *history.Fault, p partition, states []isrAt) {
	bound, until := c.isrBound(), c.undisturbed(f.Healed, f)
	if until <= f.Healed {
		return
	}
	limit := f.Healed + int64(bound)
	var at *isrAt // the state at the end of the fault
	full := int64(-1)
	for i := range states {
		s := &states[i]
		if s.time <= f.Healed {
			at = s
			continue
		}
		if s.full && full < 0 {
			full = s.time
		}
	}
	switch {
	case at == nil && full < 0:
		return // it did not exist yet
	case at != nil && at.full:
		full = f.Healed
	}
	switch {
	case full >= 0 && full <= limit:
		c.judged++
		c.slowIS = max(c.slowIS, time.Duration(full-f.Healed))
	case until < limit || at == nil:
		c.cut++
	default:
		c.judged++
		c.late(KindISRLate, p, f, f.Healed, bound, nil, "the ISR was not full after the end", []string{eventLine(at.event)})
	}
}

// liveness judges a core that had to serve while the others stayed broken. The run loop, which asked it, says what was missing.
func (c *recovery) liveness() {
	l := c.run.Liveness
	switch {
	case l == nil || l.From == 0:
	case l.Served != 0:
		c.judged++
	case len(l.Missing) > 0:
		c.judged++
		sentence := fmt.Sprintf("the core %s did not serve within %s of its healing while the others were broken (%s): %s",
			nodes(l.Core), time.Duration(l.Bound), l.Others, strings.Join(l.Missing, "; "))
		if c.run.HarnessError != "" {
			c.excused = append(c.excused, sentence+"; the harness failed: "+c.run.HarnessError)
			return
		}
		if stall := c.stalled(l.From, l.From+l.Bound); stall != nil {
			c.excused = append(c.excused, whileStalled(sentence, stall, clockOf(c.run)))
			return
		}
		c.violate(Violation{Kind: KindCoreNotServing, Time: l.From + l.Bound, Nodes: l.Core, Sentence: sentence, Evidence: l.Missing})
	}
}

// states are a partition's ISRs along the raft log. The time of each is at least that of the one before.
func (c *recovery) states(p partition) []isrAt {
	out := make([]isrAt, 0, len(c.changes[p]))
	for _, s := range c.changes[p] {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b isrAt) int { return cmp.Compare(a.index, b.index) })
	for i := 1; i < len(out); i++ {
		out[i].time = max(out[i].time, out[i-1].time)
	}
	return out
}

func (c *recovery) Finish() Verdict {
	var healed int64
	for _, f := range c.faults {
		if f.Proven() && f.Healed != 0 {
			healed++
		}
	}
	if c.mayTrustClocks() {
		for _, t := range c.run.RecordTopics {
			for n := range t.Partitions {
				p := partition{t.Name, n}
				c.load(p)
				states := c.states(p)
				for _, f := range c.faults {
					if !f.Proven() {
						continue
					}
					c.failover(f, p, t.Replicas)
					if f.Healed != 0 {
						c.firstWrite(f, p)
						if len(states) > 0 {
							c.fullISR(f, p, states)
						}
					}
				}
			}
		}
	}
	c.liveness()
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(c.judged, "recoveries", fmt.Sprintf("every partition recovered in time, %s", plural(c.judged, "time")), c.excused)
	switch {
	case c.total > 0 || len(c.excused) > 0:
	case !c.mayTrustClocks():
		v.Outcome, v.Reason = NotApplicable, "clocks were made wrong: the nodes' times cannot be compared"
	case healed == 0:
		v.Outcome, v.Reason = NotApplicable, "no fault was seen to begin and to end"
	case c.judged == 0:
		v.Outcome, v.Reason = NotApplicable, "no recovery could be watched to its end before the next fault or the end of the run"
	}
	v.Measures = append(v.Measures,
		Measure{Name: "slowest failover", Seen: c.slowFailover.Milliseconds(), Unit: "ms"},
		Measure{Name: "slowest first write after a fault", Seen: c.slowW.Milliseconds(), Unit: "ms"},
		Measure{Name: "slowest full ISR after a fault", Seen: c.slowIS.Milliseconds(), Unit: "ms"},
		Measure{Name: "recoveries cut short", Seen: c.cut})
	return v
}

// mayTrustClocks reports whether times of different nodes may be compared: no fault has touched their clocks.
func (c *recovery) mayTrustClocks() bool { return trustedClocks(c.faults) }

func trustedClocks(faults []*history.Fault) bool {
	return !slices.ContainsFunc(faults, func(f *history.Fault) bool { return strings.HasPrefix(f.Kind, "clock") })
}
