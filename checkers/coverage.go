package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"soak/history"
)

// fewestIntervals is asked of every run, whatever its minimums say: the story's bug passed a test that saw one.
const fewestIntervals = 10

// coverage asks whether the run proved something. It never accuses: what is missing makes the run inconclusive.
type coverage struct {
	ledger
	run     *history.Run
	leaders leaders
	ops     *operations
	drains  *drains
	checks  []int64               // times of the periodic checks by an acting raft leader in the highest term seen so far
	term    uint64                // highest seen in any event
	created map[string][]creation // topic → the entries that auto-created it
	reached map[string]bool       // planted bugs that changed a decision
	meta    map[string][]*history.Operation

	acked, answered int64
}

// creation is an applied, automatic creation of a topic.
type creation struct {
	term uint64
	via  int32
}

func newCoverage(s *shared) *coverage {
	ops := s.operations()
	return &coverage{
		ledger: ledger{id: Coverage}, run: s.run, leaders: newLeaders(), ops: ops, drains: &ops.drains,
		created: map[string][]creation{}, reached: map[string]bool{}, meta: map[string][]*history.Operation{},
	}
}

func (c *coverage) Event(e *history.Event) {
	c.term = max(c.term, e.Term())
	switch b := e.Body.(type) {
	case *history.RoleChange:
		c.leaders.learn(e)
	case *history.LeaderCheck:
		// Counted in the highest term seen so far only: an old leader that does not know it yet proves nothing.
		if b.Cause == history.CauseInterval && b.Role == history.RoleLeader && b.Term == c.term {
			c.checks = append(c.checks, e.Time)
		}
	case *history.Apply:
		if b.Command == "create_topic" && b.Outcome == history.Applied && b.Via != 0 && strings.HasPrefix(b.Cause, "auto_create") {
			c.created[b.Key] = append(c.created[b.Key], creation{b.Term, b.Via})
		}
	case *history.Bug:
		c.reached[b.Name] = c.reached[b.Name] || b.Decisions > 0
	}
}

func (c *coverage) Operation(op *history.Operation) {
	c.ops.take(op)
	if op.Produce != nil && op.Outcome == history.OK {
		c.acked += int64(op.Produce.Count)
	}
	if ofMetadataWorkload(op) && op.Outcome == history.OK {
		c.answered++
		c.meta[op.Meta.Name] = append(c.meta[op.Meta.Name], op)
	}
}

// startEnd is when the phase "start" ended; false if it never did.
func (c *coverage) startEnd() (int64, bool) {
	for _, p := range c.run.Phases {
		if p.Name == "start" {
			return p.End, p.End != 0
		}
	}
	return 0, false
}

// faultsEnd is when the faults phase ended, or the steady one of a run that did not get further; 0 if that is not known.
func (c *coverage) faultsEnd() (end int64) {
	for _, p := range c.run.Phases {
		if p.Name == "steady" || p.Name == "faults" {
			end = p.End
		}
	}
	return end
}

func (c *coverage) Finish() Verdict {
	started, ok := c.startEnd()
	var missing []string
	switch {
	case c.run.HarnessError != "":
		missing = append(missing, "the harness failed: "+c.run.HarnessError)
	case c.run.Interrupted != "":
		missing = append(missing, "the run was interrupted: "+c.run.Interrupted)
	case ok && unfinished(c.run):
		missing = append(missing, fmt.Sprintf("the run got no further than its phase %q: its runner was ended", c.run.Phases[len(c.run.Phases)-1].Name))
	}
	if !ok {
		missing = append(missing, "the cluster was never ready: the run did not get past its start")
	}
	measures := c.measures(started, ok)
	for _, m := range measures {
		if m.Seen < m.Needed {
			missing = append(missing, fmt.Sprintf("%s %d of %d", m.Name, m.Seen, m.Needed))
		}
	}
	missing = append(missing, c.unproven()...)
	for _, bug := range c.run.Bugs {
		if !c.reached[bug] {
			missing = append(missing, fmt.Sprintf("the planted bug %s was never reached", bug))
		}
	}
	for _, kind := range c.run.Needs {
		if !slices.ContainsFunc(c.faults, func(f *history.Fault) bool { return f.Kind == kind && f.Proven() }) {
			missing = append(missing, fmt.Sprintf("a planted bug shows only after a fault of the kind %s, and there was none", kind))
		}
	}
	if c.run.Minimums.AckedRecords > 0 && len(c.drains.want) == 0 {
		missing = append(missing, "the run names no topic to read back")
	}
	missing = append(missing, c.drains.shortfalls()...)
	v := c.verdict(int64(len(measures)), "minimums", "the run saw all that it must see", missing)
	v.Measures = measures
	return v
}

// measures are the rows of the report, each with what was asked.
func (c *coverage) measures(started int64, ready bool) []Measure {
	m := c.run.Minimums
	var intervals int64
	end := c.faultsEnd()
	for _, at := range c.checks {
		if ready && at > started && (end == 0 || at <= end) {
			intervals++
		}
	}
	var proven, long, onLeader int64
	for _, f := range c.faults {
		if !f.Proven() {
			continue
		}
		proven++
		long += int64(btoi(f.Lasted() > c.run.SessionTimeout+c.run.ElectionInterval))
		onLeader += int64(btoi(f.OnRaftLeader))
	}
	drained, replicas := c.drains.counts()
	return []Measure{
		{Name: "intervals", Seen: intervals, Needed: int64(max(fewestIntervals, m.Intervals))},
		{Name: "faults", Seen: proven, Needed: int64(m.Faults)},
		{Name: "long faults", Seen: long, Needed: int64(m.LongFaults)},
		{Name: "faults on the raft leader", Seen: onLeader, Needed: int64(m.LeaderFaults)},
		{Name: "raft leader changes", Seen: c.leaderChanges(started, ready), Needed: int64(m.LeaderChanges)},
		{Name: "acknowledged records", Seen: c.acked, Needed: int64(m.AckedRecords)},
		{Name: "metadata operations", Seen: c.answered, Needed: int64(m.MetaOps)},
		{Name: "overlapping metadata operations", Seen: c.overlapping(), Needed: int64(m.MetaOverlaps)},
		{Name: "topics auto-created through followers", Seen: c.throughFollowers(), Needed: int64(m.AutoCreated)},
		{Name: "replicas read to their end", Seen: drained, Needed: replicas},
	}
}

// unproven names each fault that was asked for and has no evidence, or did not last until it was to be healed.
func (c *coverage) unproven() []string {
	var out []string
	for _, f := range c.faults {
		text := fmt.Sprintf("fault %d, %s, has no evidence of its effect", f.ID, f.Plain())
		switch {
		case f.Lapsed != 0:
			text = fmt.Sprintf("fault %d, %s, ended before it was to be healed", f.ID, f.Plain())
		case f.Proven():
			continue
		}
		if f.Error != "" {
			text += ": " + f.Error
		}
		out = append(out, text)
	}
	return out
}

// leaderChanges counts the terms since the end of start whose raft leader is another than that of the term before.
func (c *coverage) leaderChanges(started int64, ready bool) int64 {
	if !ready {
		return 0
	}
	terms := make([]uint64, 0, len(c.leaders.of))
	for term := range c.leaders.of {
		terms = append(terms, term)
	}
	slices.Sort(terms)
	var changes int64
	for i, term := range terms {
		e := c.leaders.of[term]
		if i > 0 && e.Time >= started && e.Node != c.leaders.of[terms[i-1]].Node {
			changes++
		}
	}
	return changes
}

// overlapping counts the pairs of answered operations on one name that ran at the same time.
func (c *coverage) overlapping() int64 {
	var count int64
	for _, ops := range c.meta {
		calls := make([]metaCall, 0, len(ops))
		for _, op := range ops {
			calls = append(calls, metaCall{op: op, call: op.Invoke, ret: max(op.Complete, op.Invoke)})
		}
		slices.SortStableFunc(calls, func(a, b metaCall) int { return cmp.Compare(a.call, b.call) })
		count += overlaps(calls)
	}
	return count
}

// throughFollowers counts the topics whose creation reached a node that was not the leader of the entry's term.
func (c *coverage) throughFollowers() int64 {
	var count int64
	for _, entries := range c.created {
		through := slices.ContainsFunc(entries, func(e creation) bool {
			leader := c.leaders.leader(e.term)
			return leader != 0 && leader != e.via
		})
		count += int64(btoi(through))
	}
	return count
}
