package runloop

import (
	"fmt"
	"math"
	"time"

	"soak/chaos/scenario"
	"soak/history"
	"soak/workloads/gen"
)

// Config configures New.
type Config struct {
	Scenario *scenario.Scenario // resolved
	Seed     uint64             // every choice comes from it
	RunHash  uint64             // run id carried in record headers
	Start    int64              // Unix ns: when the run begins

	// Exact takes the nodes of an executed schedule as they stand, for the simulator. Without it they are chosen
	// anew by the target's role, and a fault that an event fired waits for such an event around its time.
	Exact bool

	// Simulated says that faults on one node do not keep each other from being brought about, as they may on a real cluster (chaos.Clash).
	Simulated bool

	// Steered leaves it to others what is broken and for how long: the scenario has no schedule, faults come with Break and end with Mend, and
	// the faults phase lasts until Conclude.
	Steered bool
}

// Phases, in order. PhaseDone is a Status only: it is never entered.
const (
	PhaseStart  = "start"  // until every node answers and every record partition has a leader
	PhaseSteady = "steady" // load, no faults, until the scenario's quiet intervals have counted
	PhaseFaults = "faults" // the schedule
	// PhaseLiveness is there if the scenario says so: a core of nodes is healed and must serve, the others stay broken.
	PhaseLiveness = "liveness"
	PhaseHeal     = "heal"    // whatever is still broken
	PhaseRecover  = "recover" // load, until the cluster is whole
	PhaseDrain    = "drain"   // no load: what is under way ends, then every replica is read
	PhaseDone     = "done"
)

// Bounds in ns on what the loop waits for. Each is far above what a sound cluster needs, and ends a run that would hang.
const (
	second = int64(time.Second)

	startLimit   = 60 * second  // from ClusterStarted to ready
	launchLimit  = 300 * second // for ClusterStarted itself: an image may have to be built
	healLimit    = 35 * second  // for the heal phase: a driver's own bound is 15 s, and 28 of a rolling restart
	endNowLimit  = 5 * second   // for healing after EndNow: a person is waiting
	recoverLimit = 15 * second  // at least: see recoverBound
	settleLimit  = 5 * second   // for operations under way when the load stops; their own time-outs are 3 s

	pollEvery = 200 * int64(time.Millisecond)
)

// Loop is one run. It is not safe for concurrent use.
type Loop struct {
	c    Config
	s    *scenario.Scenario
	rand *gen.Rand
	now  int64
	wake int64

	phase     string
	phases    []history.Phase
	entered   int64 // when the phase began
	loadFrom  int64 // end of start: intervals, schedule and duration count from here; 0 before
	loadTo    int64 // end of the faults phase: checks up to here count; 0 before
	concluded int64 // when Conclude came; 0 before
	lastHit   int64 // time of the latest check counted
	counted   int   // interval checks from loadFrom to loadTo
	actions   []Action
	ended     string // reason given to EndNow
	problem   string
	notes     []string

	unrecovered string // what was not whole at the end of the recover phase

	launched int64 // when ClusterStarted came, 0 before
	view     view
	polls    polls
	setup    setup
	faults   schedule
	load     load
	core     core
	drain    *gen.Drain

	status Status
}

// New checks the configuration and begins the run: the first Actions are there at once.
func New(c Config) (*Loop, error) {
	if c.Scenario == nil {
		return nil, fmt.Errorf("run loop: no scenario")
	}
	if c.Start <= 0 {
		return nil, fmt.Errorf("run loop: start time %d is not after 1970: 0 stands for never", c.Start)
	}
	if c.Steered && (len(c.Scenario.Faults) > 0 || c.Scenario.Liveness.On()) {
		return nil, fmt.Errorf("run loop: a run that is steered from outside has no schedule, and this scenario has one")
	}
	l := &Loop{c: c, s: c.Scenario, rand: gen.NewRand(c.Seed), now: c.Start}
	l.view = newView(c.Scenario)
	l.polls = newPolls(c.Scenario.Nodes)
	l.setup = newSetup(c.Scenario)
	if err := l.planFaults(); err != nil {
		return nil, fmt.Errorf("run loop: %w", err)
	}
	// Checks the workloads' configuration now; the times are set when the load begins.
	if _, err := newLoad(c, c.Start); err != nil {
		return nil, fmt.Errorf("run loop: %w", err)
	}
	l.enter(PhaseStart)
	l.emit(StartCluster{})
	l.wake = l.now
	return l, nil
}

// Step takes one input at a time (Unix ns). Time that goes back is taken as standing still.
func (l *Loop) Step(now int64, in Input) {
	l.now = max(l.now, now)
	if l.phase == PhaseDone {
		return
	}
	switch in := in.(type) {
	case ClusterStarted:
		l.clusterStarted(in)
	case EventSeen:
		l.eventSeen(&in.Event)
	case OpDone:
		l.opDone(in.Op)
	case FaultInjected:
		l.faultInjected(in)
	case FaultHealed:
		l.faultHealed(in)
	case EndNow:
		l.endNow(in.Reason)
	case Break:
		l.breakNow(in.Fault)
	case Mend:
		l.mend(in.ID)
	case Conclude:
		l.conclude()
	}
	l.advance()
}

// Actions is what is to be done since the last call. The slice is the caller's.
func (l *Loop) Actions() []Action {
	out := l.actions
	l.actions = nil
	return out
}

// Wake is when the loop wants a Tick at the latest (Unix ns); it may lie in the past, then a Tick is wanted now.
func (l *Loop) Wake() int64 { return l.wake }

// Problem says why the run could not go its way ("the cluster was not ready within 1m0s: …"), "" if it could.
func (l *Loop) Problem() string { return l.problem }

// Notes says what the loop had to give up on the way, for the run's notes.
func (l *Loop) Notes() []string { return append([]string(nil), l.notes...) }

// Phases is the phases so far; End is 0 in the one that runs.
func (l *Loop) Phases() []history.Phase { return append([]history.Phase(nil), l.phases...) }

// Topics is the record topics, for the run's description: what the drain reads.
func (l *Loop) Topics() []history.TopicInfo {
	var out []history.TopicInfo
	for _, t := range l.s.Topics {
		out = append(out, t.Info(l.nodes()))
	}
	return out
}

func (l *Loop) nodes() []int32 { return l.view.all() }

func (l *Loop) emit(a Action) { l.actions = append(l.actions, a) }

func (l *Loop) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *Loop) wakeAt(t int64) { l.wake = min(l.wake, t) }

func (l *Loop) enter(phase string) {
	l.closePhase(phase)
	l.phase, l.entered = phase, l.now
	l.phases = append(l.phases, history.Phase{Name: phase, Start: l.now})
	l.emit(EnterPhase{Name: phase})
}

func (l *Loop) closePhase(next string) {
	n := len(l.phases)
	if n == 0 {
		return
	}
	l.phases[n-1].End = l.now
	if next != PhaseFaults && (l.phase == PhaseSteady || l.phase == PhaseFaults) {
		// A node's clock may be ahead of the runner's: what has counted lies within, or coverage would miss it.
		l.loadTo = max(l.now, l.lastHit)
		l.phases[n-1].End = l.loadTo
	}
}

// finish ends the run. Nothing follows Finished.
func (l *Loop) finish() {
	l.closePhase(PhaseDone)
	l.phase = PhaseDone
	l.emit(Finished{})
}

// advance does all that is due now, through as many phases as that takes, and sets the next wake-up.
func (l *Loop) advance() {
	for {
		phase := l.phase
		l.wake = math.MaxInt64
		switch phase {
		case PhaseStart:
			l.advanceStart()
		case PhaseSteady, PhaseFaults:
			l.advanceLoad()
			l.advanceFaults()
			l.checkEnd()
		case PhaseLiveness:
			l.advanceLoad()
			l.advanceLiveness()
		case PhaseHeal:
			l.advanceLoad()
			l.advanceHeal()
		case PhaseRecover:
			l.advanceLoad()
			l.advanceRecover()
		case PhaseDrain:
			l.advanceDrain()
		}
		if l.phase == phase || l.phase == PhaseDone {
			return
		}
	}
}

func (l *Loop) eventSeen(e *history.Event) {
	seen := l.view.event(e)
	// A node's line may be read after the phase has ended in which it was written. Coverage counts in the same way.
	if seen.intervalCheck && l.loadFrom != 0 && e.Time > l.loadFrom && (l.loadTo == 0 || e.Time <= l.loadTo) {
		l.counted++
		l.lastHit = max(l.lastHit, e.Time)
	}
	l.eventTriggers(seen)
}

// opDone gives an operation back to who asked for it.
func (l *Loop) opDone(op *history.Operation) {
	switch {
	case op == nil:
	case op.Meta != nil && op.Meta.Owner == ownerReady:
		l.polls.done(l.now, op)
	case op.Meta != nil && op.Meta.Owner == ownerSetup:
		l.setup.done(l.now, op)
	case op.Client == coreClient:
		l.core.opDone(l.now, op)
	case op.Drain != nil:
		if l.drain != nil {
			l.drain.Done(l.now, op)
		}
	default:
		l.load.done(l.now, op)
		l.status.count(op)
	}
}

// endNow heals and finishes, from wherever the run is.
func (l *Loop) endNow(reason string) {
	if l.ended != "" {
		return
	}
	l.ended = reason
	if reason == "" {
		l.ended = "asked to end"
	}
	l.load.stopped = true
	if l.phase != PhaseHeal {
		l.enter(PhaseHeal)
	}
	l.entered = l.now // the heal phase's short bound counts from here
	l.giveUpPending("the run was ended: " + l.ended)
}
