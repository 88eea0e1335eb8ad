// Package scenario is what a run is asked to do, as a person writes it: strict YAML with times in election
// intervals, the embedded scenarios, and the rules by which flags change a scenario (Resolve).
//
// A Scenario that has been resolved is all that the run loop needs. The executed schedule of a run is a Scenario
// too, with the time, the nodes and the role of each fault filled in, so that it can be run again as it was.
//
// The package reads one file at most (Load); it starts nothing and knows no clock.
package scenario

import (
	"fmt"
	"slices"
	"time"

	"soak/chaos"
	"soak/history"
)

// Scenario is one run's plan. Parse and Load return one that is valid; Resolve applies flags.
type Scenario struct {
	Name             string
	Description      string
	Nodes            int           // ids are 1..Nodes; 3 to 9
	ElectionInterval time.Duration // period of the leader-election service
	SessionTimeout   time.Duration // of a broker's session; at least 500 ms
	Flush            string        // the brokers' flush policy: "" (every record is synced before it counts) or "none"
	RetentionCheck   time.Duration // how often leaders look for what a topic's retention lets go; 0: the brokers' own 30 s
	Intervals        int           // interval checks to count from the end of start; 0 only with a Duration
	Duration         time.Duration // 0, or: the run ends after this long, counted from the end of start
	Steady           int           // interval checks to count before the first fault
	Topics           []Topic       // record topics; never deleted in a run
	Workloads        Workloads
	Sim              Sim // the machine of a simulated run
	Faults           []Fault
	Mix              Mix      // faults that the seed draws; see Drawn
	Liveness         Liveness // after the faults
	Minimums         history.Minimums
}

// FlushNone is the flush policy that leaves records to the kernel: they count when they are written.
const FlushNone = "none"

const flushSync = "sync" // as a person may write it

// Workloads says what clients do. A zero rate switches one off.
type Workloads struct {
	Produce    Produce
	Metadata   Metadata
	Autocreate Autocreate
	Consume    Consume
}

// Produce is the open-loop producers' load over all record topics.
type Produce struct {
	Rate       int // records a second, over all producers
	Producers  int
	Batch      int // records of one operation
	ValueBytes int

	Idempotent bool          // all producers but every fourth
	Lifetime   time.Duration // of an idempotent producer, after which a new one takes its place; 0: as long as the run
}

// Metadata is the load of admin operations.
type Metadata struct {
	Rate    int // operations a second
	Clients int // each has one operation at a time
	Names   int // topic names in use at one time
}

// Autocreate is the load of topics created by being produced to.
type Autocreate struct {
	PerMinute int // new topics a minute
}

// Consume is the consumers that read the record topics along, from the phase steady to the drain.
type Consume struct {
	Readers int // 0: none, but in a simulated run Sim.Readers
}

// Fault is one step of the schedule. It becomes due at At (from the end of start); with When, it fires at the first such event
// from then on. The run loop keeps faults apart unless Overlap is set.
type Fault struct {
	Kind    string
	Target  string // see ParseTarget
	At      Span
	When    string // "", "leader_check", "isr_shrunk" or "leader_changed"
	For     Span   // lower bounds apply: see Window
	Brief   bool   // lasts For exactly, without the lower bounds
	Clients bool   // faults of links: those of clients as well
	chaos.Parameters
	Overlap bool // may begin while another fault is active or the cluster is not whole

	// In an executed schedule: what was chosen.
	Nodes []int32
	Role  string // the role that the nodes had: "raft-leader", "partition-leader", "follower", "all"
}

// Events that a fault can wait for.
const (
	WhenLeaderCheck   = "leader_check"   // the raft leader logged a check
	WhenISRShrunk     = "isr_shrunk"     // an ISR of a record partition lost a member
	WhenLeaderChanged = "leader_changed" // another node became raft leader
)

// On the raft leader a fault lasts long enough for the others to elect: two election time-outs of raft and a little.
const leaderWindow = 3 * time.Second

// windowSlack is what a fault lasts beyond session + interval, so that a periodic check surely meets the expired session.
const windowSlack = 200 * time.Millisecond

// Window is how long the fault lasts from the evidence of its effect to the request to heal it: For, but never less than
// session + interval + 200 ms, and on the raft leader never less than 3 s. One that is meant to be brief lasts For.
func (s *Scenario) Window(f Fault, onRaftLeader bool) time.Duration {
	if f.Brief {
		return f.For.In(s.ElectionInterval)
	}
	w := max(f.For.In(s.ElectionInterval), s.SessionTimeout+s.ElectionInterval+windowSlack)
	if onRaftLeader {
		w = max(w, leaderWindow)
	}
	return w
}

// ScheduleLength is the time from the end of start until the last fault's window would close if nothing were late.
func (s *Scenario) ScheduleLength() time.Duration {
	var end time.Duration
	for _, f := range s.Faults {
		end = max(end, f.At.In(s.ElectionInterval)+s.Window(f, f.Target == TargetRaftLeader))
	}
	return end
}

// ExpectedIntervals is how many election intervals the run lasts if nothing is late, and every leader checks in time.
func (s *Scenario) ExpectedIntervals() int {
	if s.Duration > 0 {
		return int(s.Duration / s.ElectionInterval)
	}
	return max(s.Intervals, int(s.ScheduleLength()/s.ElectionInterval))
}

// FaultKinds lists the kinds of the schedule and of the mix, each once, sorted: what a driver must be able to do.
func (s *Scenario) FaultKinds() []string {
	var kinds []string
	for _, f := range s.Faults {
		kinds = append(kinds, f.Kind)
	}
	kinds = append(kinds, s.Mix.Kinds...)
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// Expected estimates the whole run from start to the end of the drain, without judging.
func (s *Scenario) Expected() time.Duration {
	const start, recoverAndDrain = 4 * time.Second, 6 * time.Second
	if s.Duration > 0 {
		return start + s.Duration + recoverAndDrain
	}
	load := time.Duration(s.Intervals) * s.ElectionInterval
	for _, f := range s.Faults {
		if f.Target == TargetRaftLeader || f.Target == TargetAll {
			// A new leader checks first one interval after its election; half of that falls on the old rhythm.
			load += 1500*time.Millisecond + s.ElectionInterval/2
		}
	}
	return start + max(load, s.ScheduleLength()) + recoverAndDrain
}

// clone copies deeply: Resolve and the loop never change the scenario that they were given.
func (s *Scenario) clone() *Scenario {
	c := *s
	c.Topics = slices.Clone(s.Topics)
	c.Liveness.Core = slices.Clone(s.Liveness.Core)
	c.Faults = slices.Clone(s.Faults)
	c.Mix.Kinds = slices.Clone(s.Mix.Kinds)
	for i := range c.Faults {
		c.Faults[i].Nodes = slices.Clone(c.Faults[i].Nodes)
	}
	return &c
}

// WithFaults is a copy of s with another schedule.
func (s *Scenario) WithFaults(faults []Fault) *Scenario {
	c := s.clone()
	c.Faults = slices.Clone(faults)
	return c
}

// kinds of fault that a schedule may hold in this version, in the order that help lists them.
var kinds = []string{
	chaos.Kill, chaos.Stop, chaos.RestartAll, chaos.Rolling, chaos.CrashLoop, chaos.Pause,
	chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping, chaos.Reset, chaos.Delay, chaos.Bandwidth, chaos.Loss,
	chaos.PowerLoss, chaos.DiskCrash, chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError, chaos.BitRot,
	chaos.ClockJump, chaos.ClockRate, chaos.SlowNode, chaos.ClientCrash,
}

// whens are the events that a fault may wait for.
var whens = []string{WhenLeaderCheck, WhenISRShrunk, WhenLeaderChanged}

// Error is what is wrong with a scenario, and where. Line and Col count from 1; Line is 0 where no line is at fault (flags).
type Error struct {
	File      string
	Line, Col int
	Msg       string
	Hint      string
}

func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Msg
	case e.Line == 0:
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
}
