package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	"soak/history"
)

// KindRetainedTooShort is records that were removed from a log's beginning before the topic's retention let them go.
const KindRetainedTooShort = "retained-too-short"

// retained judges where logs begin: which records may be gone because their topic asked for it. What it finds allowed excuses their absence from the
// other checkers; what it does not is a violation of acked-records, and excuses nothing.
//
// A leader decides, and tells by what: its clock, its log end. Followers may go as far as a leader that was allowed to. So a record's age is taken as the broker
// takes it, the leader's clock against the time that the producer gave. That one is not recorded, but it is no earlier than the call by which the record was handed
// over, so that a record which was too young by the time of the call surely was.
type retained struct {
	run      *history.Run
	ops      *operations
	views    *views
	unsynced unsynced
	last     *history.Event
	lines    map[replica]map[uint64]*startLine // by boot

	mu     sync.Mutex // held while it is judged: one checker may have been left behind in it when the next asks
	judged bool
	floors map[partition]int64
	starts map[replica]int64
	moved  map[partition][]move
	early  []Violation
	moves  int64    // log starts that moved
	unsure []string // of which nothing can be said
}

// startLine is what one replica told, in one boot, of where its log begins.
type startLine struct{ told []*history.Event }

func newRetained(s *shared) *retained {
	return &retained{run: s.run, ops: s.operations(), views: s.seen(), unsynced: newUnsynced(s.run), lines: map[replica]map[uint64]*startLine{}}
}

// see takes every event, whichever checker hands it over first, and keeps those that tell of another log start, or of a decision.
func (c *retained) see(e *history.Event) {
	if e == c.last {
		return
	}
	c.last = e
	c.views.take(e) // for its gaps
	c.unsynced.see(e)
	p, ok := e.Body.(*history.Partition)
	if !ok {
		return
	}
	r := replica{partition{p.Topic, p.Partition}, e.Node}
	if c.lines[r] == nil {
		c.lines[r] = map[uint64]*startLine{}
	}
	l := c.lines[r][e.Boot]
	if l == nil {
		l = &startLine{}
		c.lines[r][e.Boot] = l
	}
	n := len(l.told)
	decision := isDecision(e)
	switch {
	case n == 0:
	case decision && isDecision(l.told[n-1]) && startOf(l.told[n-1]) == p.LogStart && l.told[n-1].Seq < e.Seq:
		l.told[n-1] = e // nothing came of the one before
		return
	case !decision && startOf(l.told[n-1]) == p.LogStart:
		return
	}
	l.told = append(l.told, e)
}

func startOf(e *history.Event) int64 { return e.Body.(*history.Partition).LogStart }

// isDecision reports whether a leader tells that it is about to have records removed. It is not for anybody else to decide.
func isDecision(e *history.Event) bool {
	p := e.Body.(*history.Partition)
	return p.Cause == history.CauseRetention && p.Role == partitionRoleLeader
}

// move is a log start that was seen to have moved.
type move struct {
	replica
	from, to int64
	at       int64 // by the clock of who tells of it
	end      int64 // of the log then
	told     *history.Event
	read     *piece         // told by the final read, and by no event
	decided  *history.Event // by which the replica, as leader, had its disk remove it
	own      bool           // it is surely that decision's
}

// movesOf lists how one replica's log start moved, boot by boot.
func (c *retained) movesOf(r replica) []move {
	boots := make([]uint64, 0, len(c.lines[r]))
	for b := range c.lines[r] {
		boots = append(boots, b)
	}
	slices.Sort(boots)
	var out []move
	var start, end int64
	var decided *history.Event
	for _, b := range boots {
		told := c.lines[r][b].told
		slices.SortStableFunc(told, func(x, y *history.Event) int { return cmp.Compare(x.Seq, y.Seq) })
		for i, e := range told {
			p := e.Body.(*history.Partition)
			end = max(end, p.LogEnd)
			if p.LogStart > start {
				m := move{replica: r, from: start, to: p.LogStart, at: e.Time, end: p.LogEnd, told: e}
				switch {
				case p.Cause == history.CauseRetained:
					m.decided, m.own = decided, decided != nil && c.followsUp(decided, e)
				case i == 0: // a life that ended between the disk's doing and the telling of it
					m.decided, m.end = decided, end
				}
				out = append(out, m)
			}
			start = p.LogStart
			if isDecision(e) {
				decided = e
			}
		}
	}
	for _, x := range c.ops.drains.pieces[r] {
		if x.LogStart > start {
			out = append(out, move{replica: r, from: start, to: x.LogStart, at: x.complete, end: max(end, x.LogEnd, x.To), read: x})
			start = x.LogStart
		}
	}
	return out
}

// followsUp reports whether nothing is missing between a decision and what came of one, so that it came of this one.
func (c *retained) followsUp(decided, done *history.Event) bool {
	return decided.Boot == done.Boot && !c.views.sequences.missed(boot{done.Node, done.Boot}, decided.Seq, done.Seq)
}

// judge is done once, by whichever checker ends first. Half of it excuses too little: one that crashes in it leaves it to the next to crash as well.
func (c *retained) judge(faults []*history.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.judged {
		return
	}
	c.floors, c.starts, c.moved, c.early, c.moves, c.unsure = map[partition]int64{}, map[replica]int64{}, map[partition][]move{}, nil, 0, nil
	exempt := c.unsynced.exempt(faults)
	trusted := trustedClocks(faults)
	topics := map[string]*history.TopicInfo{}
	for i := range c.run.RecordTopics {
		topics[c.run.RecordTopics[i].Name] = &c.run.RecordTopics[i]
	}
	of := map[partition][]move{}
	seen := map[replica]bool{}
	take := func(r replica) {
		if topics[r.topic] == nil || seen[r] {
			return
		}
		seen[r] = true
		for _, m := range c.movesOf(r) {
			c.moves++
			of[r.partition] = append(of[r.partition], m)
			c.starts[r] = max(c.starts[r], m.to)
		}
	}
	for r := range c.lines {
		take(r)
	}
	for r := range c.ops.drains.pieces {
		take(r)
	}
	parts := make([]partition, 0, len(of))
	for p := range of {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, comparePartitions)
	for _, p := range parts {
		slices.SortStableFunc(of[p], func(a, b move) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.node, b.node), cmp.Compare(a.to, b.to))
		})
		j := partitionRetention{retained: c, partition: p, topic: topics[p.topic], exempt: exempt[p] != "", trusted: trusted}
		j.judge(of[p])
		c.moved[p] = of[p]
	}
	c.judged = true
}

// clocksAgree is how far the clocks of two machines are taken to be apart, in ns, where no fault has touched them.
const clocksAgree = 1_000_000_000

// partitionRetention judges one partition.
type partitionRetention struct {
	*retained
	partition
	topic   *history.TopicInfo
	exempt  bool
	trusted bool // no fault has made a clock wrong

	acked   []ackedAt // by offset; made when first asked for
	indexed bool
	allowed []ackedUntil
}

// ackedAt is an acknowledged operation's offsets, and when its records were handed over.
type ackedAt struct {
	first, last int64
	millis      int64
	i           int
}

// ackedUntil is how far a leader was allowed to go, and when it decided to.
type ackedUntil struct{ at, to int64 }

// basis is what a decision to remove was made by.
type basis struct {
	at, end int64
	slack   int64
}

func (c *partitionRetention) judge(moves []move) {
	if c.exempt && !c.topic.KeepsAll() {
		// Its offsets may be used again for other records: those that stood there may have gone lawfully, whatever stands there now.
		for _, m := range moves {
			c.floors[c.partition] = max(c.floors[c.partition], m.to)
		}
		return
	}
	lawful := make([]int64, len(moves)) // as far as each was allowed by its own decision
	gaps := c.views.sequences.gaps()
	unheard := len(gaps) > 0 || !slices.ContainsFunc(moves, func(m move) bool { return m.decided != nil })
	for i, m := range moves {
		if m.decided == nil {
			continue
		}
		d := m.decided.Body.(*history.Partition)
		lawful[i] = c.allowedTo(m, basis{at: m.decided.Time, end: d.LogEnd})
		if lawful[i] > m.from {
			c.allow(m.decided.Time, lawful[i])
		}
	}
	for i, m := range moves {
		by := max(lawful[i], c.allowedBy(m.at))
		// Brokers that tell of no decisions are held to the clock of who removed, or read, where clocks can be trusted. Ours tell of each before it is carried out.
		if by < m.to && !m.own && c.trusted && unheard {
			if by = max(by, c.allowedTo(m, basis{at: m.at, end: m.end, slack: clocksAgree})); by > m.from {
				c.floors[c.partition] = max(c.floors[c.partition], by)
			}
		}
		switch {
		case by >= m.to:
		case !m.own && !c.trusted && len(gaps) > 0 && !c.topic.KeepsAll():
			// Who decided may be among what is missing, and by which clock nobody knows.
			c.floors[c.partition] = max(c.floors[c.partition], m.to)
			c.unsure = append(c.unsure, fmt.Sprintf("whether %s was allowed to remove the offsets %d to %d of %s: clocks were wrong, and %s", node(m.node), max(by, m.from), m.to-1, c.partition, gaps[0]))
		default:
			c.violate(m, max(by, m.from))
		}
	}
}

func (c *partitionRetention) allow(at, to int64) {
	c.allowed = append(c.allowed, ackedUntil{at, to})
	c.floors[c.partition] = max(c.floors[c.partition], to)
}

// allowedBy is how far any leader had been allowed to go by an instant of another node's clock.
func (c *partitionRetention) allowedBy(at int64) (to int64) {
	for _, a := range c.allowed {
		if !c.trusted || a.at <= at+clocksAgree {
			to = max(to, a.to)
		}
	}
	return to
}

// allowedTo is how far a move was allowed to go.
func (c *partitionRetention) allowedTo(m move, b basis) int64 {
	if c.topic.KeepsAll() {
		return m.from
	}
	from := m.from
	if c.topic.RetentionBytes > 0 {
		from = max(from, c.sizeFloor(b.end))
	}
	oldest := int64(math.MinInt64) // what was handed over then or later is too young
	if ms := c.topic.RetentionMillis; ms > 0 {
		oldest = (b.at+b.slack)/1e6 - ms
	}
	for _, a := range c.between(from, m.to) {
		if a.millis >= oldest {
			return max(from, a.first)
		}
	}
	return m.to
}

// between is the acknowledged operations that have offsets from one up to, but not with, another.
func (c *partitionRetention) between(from, to int64) []ackedAt {
	if from >= to {
		return nil
	}
	c.index()
	i := sort.Search(len(c.acked), func(i int) bool { return c.acked[i].last >= from })
	n := sort.Search(len(c.acked), func(i int) bool { return c.acked[i].first >= to })
	return c.acked[min(i, n):n]
}

// recordOverhead is what a record takes at most beside its value where it is a batch of its own: a batch's header of 61 bytes, and lengths, times and counts of up to
// 48.
const recordOverhead = 109

// sizeFloor is the offset below which everything may go for its size, with the log's end where it is: as few records behind it as can hold the bytes that are
// to stay. How large each is, is known from above only.
func (c *partitionRetention) sizeFloor(end int64) int64 {
	if c.run.Contract.ValueBytes == 0 {
		return math.MaxInt64
	}
	most := int64(c.run.Contract.ValueBytes) + recordOverhead
	return end - (c.topic.RetentionBytes+most-1)/most
}

// index lists the acknowledged operations that are claimed, by their offsets.
func (c *partitionRetention) index() {
	if c.indexed {
		return
	}
	c.indexed = true
	if c.run.Contract.Unclean || c.run.Contract.Acks != allReplicas {
		return
	}
	c.ops.sends(c.partition).each(func(i int, op *history.Operation) {
		if ordered(op) && !(c.exempt && op.Invoke <= c.unsynced.until[c.partition]) {
			c.acked = append(c.acked, ackedAt{firstOffset(op), lastOffset(op), op.Invoke / 1e6, i})
		}
	})
	slices.SortFunc(c.acked, func(a, b ackedAt) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.i, b.i)) })
}

// violate reports a move that went beyond what was allowed, from an offset on.
func (c *partitionRetention) violate(m move, from int64) {
	clock := clockOf(c.run)
	v := Violation{Kind: KindRetainedTooShort, Time: m.at, Nodes: []int32{m.node}}
	v.Sentence = fmt.Sprintf("%s removed the offsets %d to %d of %s by %s", node(m.node), m.from, m.to-1, c.partition, clock(m.at))
	at, t := m.at, c.topic
	if m.decided != nil {
		d := m.decided.Body.(*history.Partition)
		at = m.decided.Time
		v.Sentence += fmt.Sprintf(" (as leader in epoch %d, decided at %s with a log that ended at %d)", d.LeaderEpoch, clock(at), d.LogEnd)
		v.Evidence = append(v.Evidence, eventLine(m.decided))
	}
	switch {
	case t.KeepsAll():
		v.Sentence += fmt.Sprintf(", and %s keeps its records for ever", c.topic.Name)
	case m.decided == nil:
		v.Sentence += fmt.Sprintf(", and no leader had been allowed to remove those from %d on by then", from)
	case t.RetentionMillis > 0 && t.RetentionBytes > 0:
		v.Sentence += fmt.Sprintf(", and those from %d on were neither older than %d ms nor behind %d bytes", from, t.RetentionMillis, t.RetentionBytes)
	case t.RetentionMillis > 0:
		v.Sentence += fmt.Sprintf(", and those from %d on were not older than %d ms", from, t.RetentionMillis)
	default:
		v.Sentence += fmt.Sprintf(", and those from %d on had to stay for the partition to keep %d bytes", from, t.RetentionBytes)
	}
	if m.told != nil {
		v.Evidence = append(v.Evidence, eventLine(m.told))
	} else {
		op := *m.read.operation()
		short := *op.Drain
		short.Spans, short.Stretches = nil, nil
		op.Drain = &short
		v.Operations, v.Evidence = append(v.Operations, op.ID), append(v.Evidence, opLine(&op))
	}
	if kept := c.between(from, m.to); len(kept) > 0 {
		op := c.ops.sends(c.partition).at(kept[0].i)
		v.Sentence += fmt.Sprintf(": %s was acknowledged at offset %d", named(producerOf(op.Produce), op.Produce.FirstSeq), firstOffset(op))
		if t.RetentionMillis > 0 {
			v.Sentence += fmt.Sprintf(", and handed over %d ms before", (at-op.Invoke)/1e6)
		}
		v.Operations, v.Evidence = append(v.Operations, op.ID), append(v.Evidence, opLine(op))
	}
	c.early = append(c.early, v)
}

// gone is the offset below which a replica may lack records: it has told that its log begins there or later, and a leader was allowed to remove what lies below.
func (c *retained) gone(r replica) int64 { return min(c.floors[r.partition], c.starts[r]) }

// goneBefore reports whether a replica had no record at an offset any more, by its topic's retention, when its log did not yet reach to another. What is in
// no log is not remembered after a restart: a record that is sent again then is stored again.
func (c *retained) goneBefore(p partition, offset, later int64) bool {
	return slices.ContainsFunc(c.moved[p], func(m move) bool { return m.read == nil && offset < m.to && m.to <= c.floors[p] && m.end <= later })
}
