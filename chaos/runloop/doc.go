// Package runloop is the run: phases, schedule, triggers, choice of targets, workload generators and drain as one
// state machine that owns no time. A shell feeds it time and what happened (Step) and does what it answers (Actions):
// chaos/runner with real clocks, clusters and clients; the simulator with virtual ones.
//
// Phases: start → steady → faults → (liveness →) heal → recover → drain → done. (Judging is not the loop's: it reads the run folder.)
//
// A run can also be steered: its faults come and go as a test asks for them (Config.Steered, Break, Mend, Conclude).
//
// Roles is the same knowledge of who is what, and the same choice of targets, for those who inject faults by hand (chaos/hand).
//
// A test refuses time.Now, time.Sleep, go statements, channels, global random numbers and unordered map ranges here.
package runloop

import (
	"soak/chaos"
	"soak/history"
)

// Input is something that happened. Step takes the time (Unix ns) with each.
type Input interface{ isInput() }

// Tick is time passing; due at the latest at the time that Actions asked for.
type Tick struct{}

// ClusterStarted answers StartCluster.
type ClusterStarted struct{ Err error }

// EventSeen is an audit event, or an observation of the runner.
type EventSeen struct{ Event history.Event }

// OpDone completes an Invoke: the same operation with Complete, Outcome and results filled in.
type OpDone struct{ Op *history.Operation }

// FaultInjected answers Inject.
type FaultInjected struct {
	ID       int
	Evidence []history.Evidence
	Err      error
}

// FaultHealed answers Heal.
type FaultHealed struct {
	ID       int
	Evidence []history.Evidence
	Err      error
}

// EndNow ends the run early: a violation with --fail-fast, or a signal. Faults are healed; nothing is drained.
type EndNow struct{ Reason string }

func (Tick) isInput()           {}
func (ClusterStarted) isInput() {}
func (EventSeen) isInput()      {}
func (OpDone) isInput()         {}
func (FaultInjected) isInput()  {}
func (FaultHealed) isInput()    {}
func (EndNow) isInput()         {}

// Action is something to be done now.
type Action interface{ isAction() }

// StartCluster asks for Cluster.Start.
type StartCluster struct{}

// Invoke asks for a client operation to be carried out, without waiting for earlier ones (open loop). Invoke has been set.
type Invoke struct{ Op *history.Operation }

// Inject asks for a fault. The loop keeps the history.Fault and emits it by Record when it is over.
type Inject struct{ Spec chaos.Spec }

// Heal asks for a fault to be healed.
type Heal struct{ ID int }

// Record asks for a finished fault's line in faults.jsonl.
type Record struct{ Fault history.Fault }

// EnterPhase announces a phase.
type EnterPhase struct{ Name string }

// Finished ends the run. The shell closes the cluster.
type Finished struct{}

func (StartCluster) isAction() {}
func (Invoke) isAction()       {}
func (Inject) isAction()       {}
func (Heal) isAction()         {}
func (Record) isAction()       {}
func (EnterPhase) isAction()   {}
func (Finished) isAction()     {}
