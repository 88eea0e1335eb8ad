package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"soak/chaos"
)

// brokersRetentionCheck is how often leaders look where nobody says.
const brokersRetentionCheck = 30 * time.Second

// Explain tells the scenario in words, a line each: the cluster, the load, the phases with their faults and what each is for, what the run
// must have seen to prove anything, and how long it takes. Which drivers can do it, the drivers know.
func (s *Scenario) Explain() []string {
	var out []string
	p := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	p("%s: %s", s.Name, cmp.Or(s.Description, "no description"))
	p("")
	p("cluster")
	flush := "every record synced before it counts"
	if s.Flush == FlushNone {
		flush = "records left to the kernel"
	}
	p("  %d nodes; election interval %s, session time-out %s; %s", s.Nodes, s.ElectionInterval, s.SessionTimeout, flush)
	for _, t := range s.Topics {
		p("  %s", t.words())
	}
	if s.LetsGo() {
		p("  leaders look for what may go every %s", cmp.Or(s.RetentionCheck, brokersRetentionCheck))
	}
	p("")
	p("load")
	for _, l := range s.loadWords() {
		p("  %s", l)
	}
	p("")
	p("phases")
	p("  start: until every node answers")
	p("  steady: %d election intervals without faults", s.Steady)
	out = append(out, s.faultWords()...)
	if s.Liveness.On() {
		p("  liveness: %s are healed and must serve while %s of the others goes on", NodesTarget(s.Liveness.Core), s.Liveness.Others)
	}
	p("  heal, recover: everything is healed, and the cluster must be whole again")
	p("  drain: every replica of the record topics is read to its end")
	p("")
	p("must have seen, or the run is inconclusive")
	for _, m := range s.minimumWords() {
		p("  %s", m)
	}
	p("")
	p("takes about %s, with the cluster's start and the drain, without judging", s.Expected().Round(time.Second))
	return out
}

func (s *Scenario) loadWords() []string {
	var out []string
	if w := s.Workloads.Produce; w.Rate > 0 {
		line := fmt.Sprintf("produce: %d records a second of %d bytes by %d producers, acks=all", w.Rate, w.ValueBytes, w.Producers)
		if w.Idempotent {
			line += "; all but every fourth are idempotent"
			if w.Lifetime > 0 {
				line += fmt.Sprintf(", and a new one takes the place of each after %s", w.Lifetime)
			}
		}
		out = append(out, line)
	}
	if w := s.Workloads.Metadata; w.Rate > 0 {
		out = append(out, fmt.Sprintf("metadata: %d admin operations a second by %d clients on %d topic names at one time", w.Rate, w.Clients, w.Names))
	}
	if w := s.Workloads.Autocreate; w.PerMinute > 0 {
		out = append(out, fmt.Sprintf("autocreate: %d topics a minute, created by being produced to through followers", w.PerMinute))
	}
	if out == nil {
		out = append(out, "none")
	}
	return out
}

func (s *Scenario) faultWords() []string {
	ends := fmt.Sprintf("until %d election intervals have counted and the last fault is healed", s.Intervals)
	if s.Duration > 0 {
		ends = "until " + s.Duration.String() + " have passed"
	}
	m := s.Mix
	if len(s.Faults) == 0 && len(m.Kinds) == 0 {
		return []string{"  faults: none, " + ends}
	}
	out := []string{"  faults: " + ends}
	faults := slices.Clone(s.Faults)
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.At.In(s.ElectionInterval), b.At.In(s.ElectionInterval)) })
	for _, f := range faults {
		out = append(out, "    "+s.faultLine(f), "      "+purpose(f))
	}
	if len(m.Kinds) > 0 {
		line := fmt.Sprintf("    a mix: the run's seed draws up to %d faults for each %s (%s)", m.Most, m.Period, m.Period.In(s.ElectionInterval))
		if m.Quiet > 1 {
			line += fmt.Sprintf(", and leaves one period in %d quiet", m.Quiet)
		}
		out = append(out, line, "    which ones, where and for how long is another matter with each seed; the run's schedule.yaml tells. They are drawn from:")
		for _, k := range m.Kinds {
			out = append(out, "      "+k+": "+purpose(Fault{Kind: k}))
		}
	}
	return out
}

func (s *Scenario) faultLine(f Fault) string {
	when := "at " + f.At.In(s.ElectionInterval).Round(time.Millisecond).String()
	if f.When != "" {
		when = "when " + f.When + " is seen, from " + f.At.In(s.ElectionInterval).Round(time.Millisecond).String() + " on"
	}
	line := fmt.Sprintf("%s: %s of %s", when, f.Kind, f.Target)
	if f.Clients {
		line += ", clients too"
	}
	line += ", for " + s.Window(f, f.Target == TargetRaftLeader).Round(time.Millisecond).String()
	if f.Overlap {
		line += ", whatever else is going on"
	}
	return line
}

// purpose says what a fault is for: what the cluster has to do about it.
func purpose(f Fault) string {
	why := map[string]string{
		chaos.Kill:       "its session expires: its leaderships must move, and it must come back with all that it acknowledged",
		chaos.Stop:       "it ends in order: its leaderships must move, and nothing be lost on the way",
		chaos.RestartAll: "nobody is left to ask: only what the disks hold comes back",
		chaos.Rolling:    "an upgrade: the cluster must serve throughout",
		chaos.CrashLoop:  "it never gets far: each start must leave the cluster no worse",
		chaos.Pause:      "it wakes up thinking that nothing has happened: it must not act on what it knew",
		chaos.Partition:  "it lives, alone: the others must go on without it, and it must notice",
		chaos.OneWay:     "one side still hears the other: neither may take that for a whole link",
		chaos.Bridge:     "two nodes disagree about who is there: there must still be one leader",
		chaos.AllApart:   "no majority anywhere: nothing may be acknowledged, and all must find together again",
		chaos.ClientsCut: "the cluster is whole and clients cannot see it: they must find their way around",
		chaos.Flapping:   "the cut comes and goes: leaderships must not be lost between two",
		chaos.Reset:      "requests are lost in the middle: what was sent again must not be there twice",
		chaos.Delay:      "everything is late: time-outs must tell slow from dead",
		chaos.Bandwidth:  "followers fall behind: the ISR must say so",
		chaos.Loss:       "packets are sent again and come late: nobody may be taken for dead at once",
		chaos.PowerLoss:  "what was not synced is gone: what was acknowledged must not be",
		chaos.DiskCrash:  "it dies in the middle of a write: the torn end must be found and cut",
		chaos.DiskFull:   "nothing more can be written: it must stop, and acknowledge nothing",
		chaos.SlowDisk:   "slow, not dead: it must be let go, or waited for",
		chaos.WriteError: "a write failed: it must stop",
		chaos.SyncError:  "it cannot tell what is durable: it must stop",
		chaos.ReadError:  "a read failed: it must not take that for an empty log",
		chaos.BitRot:     "a bit has turned over: it must notice before anybody is told wrong",
		chaos.ClockJump:  "nothing that is promised may rest on the clock",
		chaos.ClockRate:  "nothing that is promised may rest on clocks that agree",
		chaos.SlowNode:   "it answers late: it may lose its leaderships, and nothing else",

		chaos.ClientCrash: "a client's unknown outcomes: done or not done, and never half",
	}[f.Kind]
	switch f.Target {
	case TargetRaftLeader:
		return why + "; another controller must be elected and act"
	case TargetPartitionLeader:
		return why + "; the controller lives, so the election service must act"
	}
	return why
}

func (s *Scenario) minimumWords() []string {
	m := s.Minimums
	var out []string
	for _, x := range []struct {
		n    int
		what string
	}{
		{max(m.Intervals, fewestIntervals), "election intervals, of each a check by the acting raft leader"},
		{m.Faults, "faults with evidence"},
		{m.LongFaults, fmt.Sprintf("of them longer than session + interval (%s)", s.SessionTimeout+s.ElectionInterval)},
		{m.LeaderFaults, "of them on the raft leader"},
		{m.LeaderChanges, "changes of the raft leader"},
		{m.AckedRecords, "acknowledged records"},
		{m.MetaOps, "metadata operations"},
		{m.MetaOverlaps, "pairs of them at the same time on the same name"},
		{m.AutoCreated, "topics created through followers"},
	} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%s: %d", x.what, x.n))
		}
	}
	return append(out, "every fault that was asked for, proven; and the drain complete")
}
