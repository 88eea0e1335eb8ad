package scenario

import (
	"fmt"
	"slices"
	"time"

	"soak/chaos"
)

// Flags are what the command line changes. A zero value means not given.
type Flags struct {
	Intervals        int
	Duration         time.Duration
	ElectionInterval time.Duration
	SessionTimeout   time.Duration
	Nodes            int
}

// What the design fixes about minimums.
const (
	fewestIntervals = 10               // coverage accepts no fewer, whatever was asked
	fullSchedule    = 30               // below this many intervals a cut schedule proves what there is time for
	fullWork        = 60 * time.Second // counts of work are asked for in full from this much load on
)

// Resolve returns a copy with the flags applied. Minimums change in one way only: counts of work are scaled by
// min(1, N × interval / 60 s); when fewer than 30 intervals and fewer than the scenario's own are asked for, the faults are cut to one kill, one
// pause and one partition, one of them on the raft leader; intervals are as asked, never under 10. With a duration alone,
// two thirds of the checks that fit are asked for, since each election costs some, and never more than the scenario's own.
// What is too short for its minimums is accepted: it ends inconclusive. Errors are of type *Error.
func (s *Scenario) Resolve(f Flags) (*Scenario, error) {
	c := s.clone()
	if err := c.shape(f); err != nil {
		return nil, err
	}
	if f.Intervals == 0 && f.Duration == 0 && f.ElectionInterval == 0 {
		return c, nil
	}
	asked, load := s.Intervals, time.Duration(s.Intervals)*c.ElectionInterval
	switch {
	case f.Intervals > 0:
		asked, load = f.Intervals, time.Duration(f.Intervals)*c.ElectionInterval
		c.Intervals, c.Duration = f.Intervals, f.Duration
		c.Minimums.Intervals = max(fewestIntervals, asked)
		if !c.fits() {
			return nil, &Error{
				Msg:  fmt.Sprintf("%d intervals of %s take %s at least and do not fit into --duration %s", asked, c.ElectionInterval, load, f.Duration),
				Hint: "give one of --intervals and --duration, or a longer duration",
			}
		}
	case f.Duration > 0:
		asked = int(f.Duration / c.ElectionInterval)
		load = time.Duration(asked) * c.ElectionInterval
		c.Duration = f.Duration
		c.Intervals = intervalsOf(f.Duration, c.ElectionInterval, s.Intervals)
		c.Minimums.Intervals = max(fewestIntervals, c.Intervals)
	case !c.fits():
		return nil, &Error{
			Msg:  fmt.Sprintf("%d intervals of %s take %s at least and do not fit into the scenario's duration of %s", c.Intervals, c.ElectionInterval, load, c.Duration),
			Hint: "give --duration or --intervals as well",
		}
	case c.Duration > 0:
		load = c.Duration // which the interval does not change
	}
	c.scaleWork(load)
	c.scaleMix(s.load())
	if asked < fullSchedule && asked < s.Intervals {
		c.cutFaults(asked)
	}
	return c, nil
}

// fits reports whether the intervals asked for fit into the duration, if there is one.
func (s *Scenario) fits() bool {
	return s.Duration == 0 || time.Duration(s.Intervals) <= s.Duration/s.ElectionInterval
}

// intervalsOf is how many intervals are asked for where a duration is given without their number: two thirds of the checks that fit,
// since each election costs some, and at most that many.
func intervalsOf(d, interval time.Duration, most int) int {
	return int(min(int64(most), int64(d/interval)*2/3))
}

// shape applies what concerns the cluster: nodes, interval, session.
func (c *Scenario) shape(f Flags) *Error {
	bad := func(flag string, value any, want string) *Error {
		return &Error{Msg: fmt.Sprintf("%s %v: want %s", flag, value, want), Hint: "leave it out for the scenario's own"}
	}
	switch {
	case f.Intervals < 0 || f.Intervals > maxIntervals:
		return bad("--intervals", f.Intervals, "at least 1")
	case f.Duration < 0 || f.Duration > maxDuration:
		return bad("--duration", f.Duration, "more than 0 and at most "+maxDuration.String())
	case f.ElectionInterval != 0 && (f.ElectionInterval < minInterval || f.ElectionInterval > maxInterval):
		return bad("--election-interval", f.ElectionInterval, fmt.Sprintf("between %s and %s", minInterval, maxInterval))
	case f.SessionTimeout != 0 && (f.SessionTimeout < minSession || f.SessionTimeout > maxInterval):
		return bad("--session-timeout", f.SessionTimeout, fmt.Sprintf("between %s and %s", minSession, maxInterval))
	case f.Nodes != 0 && (f.Nodes < minNodes || f.Nodes > maxNodes):
		return bad("--nodes", f.Nodes, fmt.Sprintf("between %d and %d", minNodes, maxNodes))
	}
	if f.ElectionInterval > 0 {
		// The session keeps its proportion to the interval, as the broker's default of one half does.
		ratio := int64(c.SessionTimeout) * 1000 / int64(c.ElectionInterval)
		c.SessionTimeout = min(maxInterval, max(minSession, f.ElectionInterval/1000*time.Duration(ratio)))
		c.ElectionInterval = f.ElectionInterval
	}
	if f.SessionTimeout > 0 {
		c.SessionTimeout = f.SessionTimeout
	}
	if f.Nodes > 0 {
		c.Nodes = f.Nodes
		for i := range c.Faults {
			// Of an executed schedule: nodes that a smaller cluster does not have are chosen anew.
			if slices.ContainsFunc(c.Faults[i].Nodes, func(id int32) bool { return int(id) > f.Nodes }) {
				c.Faults[i].Nodes, c.Faults[i].Role = nil, ""
			}
		}
		for i := range c.Topics {
			c.Topics[i].Replication = int16(f.Nodes)
			c.Topics[i].MinInsyncReplicas = min(c.Topics[i].MinInsyncReplicas, int16(f.Nodes))
		}
	}
	if msg := c.coreProblem(); msg != "" {
		return &Error{Msg: fmt.Sprintf("liveness: core: %s: %s", NodesTarget(c.Liveness.Core), msg), Hint: "leave out --nodes or change the scenario's core"}
	}
	for i, fault := range c.Faults {
		t, err := ParseTarget(fault.Target)
		if err != nil {
			return &Error{Msg: err.Error()}
		}
		if msg := c.targetProblem(t); msg != "" {
			return &Error{Msg: fmt.Sprintf("fault %d: target %q: %s", i+1, fault.Target, msg), Hint: "raise --nodes or change the scenario"}
		}
	}
	return nil
}

// scaleWork lowers the counts of work to what the load's time allows, rounded up. Of what is asked for at all, 1 remains however short
// the time: a run that saw none has proven nothing of it.
func (c *Scenario) scaleWork(load time.Duration) {
	if load >= fullWork {
		return
	}
	scale := func(n *int) {
		if *n > 0 {
			*n = max(1, int((int64(*n)*int64(load/time.Millisecond)+int64(fullWork/time.Millisecond)-1)/int64(fullWork/time.Millisecond)))
		}
	}
	m := &c.Minimums
	scale(&m.AckedRecords)
	scale(&m.MetaOps)
	scale(&m.MetaOverlaps)
	scale(&m.AutoCreated)
}

// scaleMix lowers what a mix has to prove where there is less time for it than the scenario itself has: fewer periods draw fewer faults.
func (c *Scenario) scaleMix(own time.Duration) {
	load := c.load()
	if len(c.Mix.Kinds) == 0 || load >= own {
		return
	}
	m := &c.Minimums
	for _, n := range []*int{&m.Faults, &m.LongFaults, &m.LeaderFaults, &m.LeaderChanges} {
		*n = int(int64(*n) * int64(load/time.Millisecond) / int64(own/time.Millisecond))
	}
	m.Faults = max(m.Faults, 1)
}

// cutFaults keeps the first kill, the first pause and the first partition, one of them on the raft leader, and spreads them over
// the intervals there are.
func (c *Scenario) cutFaults(intervals int) {
	var kept []int
	onLeader := false
	for _, kind := range []string{chaos.Kill, chaos.Pause, chaos.Partition} {
		if i := c.first(kind, ""); i >= 0 {
			kept = append(kept, i)
			onLeader = onLeader || c.Faults[i].Target == TargetRaftLeader
		}
	}
	for k := 0; k < len(kept) && !onLeader; k++ {
		if i := c.first(c.Faults[kept[k]].Kind, TargetRaftLeader); i >= 0 {
			kept[k], onLeader = i, true
		}
	}
	for i := 0; i < len(c.Faults) && len(kept) == 0; i++ {
		kept = append(kept, i) // a schedule of other kinds keeps its first
	}
	if len(kept) == 0 {
		return
	}
	slices.Sort(kept)
	faults := make([]Fault, len(kept))
	for i, k := range kept {
		faults[i] = c.Faults[k]
	}
	// They begin where the scenario's first one does. The run loop holds each back until the cluster is whole again.
	first := faults[0].At.In(c.ElectionInterval)
	room := max(time.Duration(intervals)*c.ElectionInterval-first, time.Duration(len(faults))*c.ElectionInterval)
	for i := range faults[1:] {
		at := first + room*time.Duration(i+1)/time.Duration(len(faults))
		faults[i+1].At = Intervals(int64(at * 1000 / c.ElectionInterval))
	}
	c.Faults = faults
	m := &c.Minimums
	m.Faults = min(m.Faults, len(faults))
	m.LongFaults = min(m.LongFaults, 2, len(faults))
	m.LeaderFaults = min(m.LeaderFaults, 1)
	m.LeaderChanges = min(m.LeaderChanges, 1)
}

// first is the index of the first fault of a kind, and with a target if one is given; -1 if there is none.
func (c *Scenario) first(kind, target string) int {
	return slices.IndexFunc(c.Faults, func(f Fault) bool {
		return f.Kind == kind && (target == "" || f.Target == target)
	})
}
