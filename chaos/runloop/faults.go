package runloop

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
	"soak/workloads/gen"
)

// Bounds in ns on what a due fault waits for, where election intervals do not give one.
const (
	wholeLimit  = 15 * second // for the cluster to be whole again; then the fault comes all the same
	targetLimit = 10 * second // for its target to exist (or 5 intervals, if that is more); then it is given up
	answerLimit = 30 * second // for the driver's answer to Inject or Heal: its own bound is 15 s
	healRetry   = second
	healTries   = 3
)

type stepState uint8

const (
	pending   stepState = iota
	injecting           // Inject asked for
	active              // its effect was seen
	healing             // Heal asked for
	over                // recorded
)

// step is one fault of the schedule on its way.
type step struct {
	plan     scenario.Fault
	target   scenario.Target
	ofCore   bool // of the liveness phase, and not of the schedule
	state    stepState
	armed    bool  // due, nothing in its way: waits for its event
	fired    bool  // its event came
	waiting  int64 // since when it waits for its event or target, 0 if it does not
	deadline int64 // injecting, healing: for the answer; active: the window's end
	retryAt  int64 // healing: when to ask again, 0 if asked
	tries    int
	fault    history.Fault
}

// schedule is the faults of a run, in the order of their times.
type schedule struct {
	steps    []step
	lastOver int64 // when the last fault was over

	// The steps before closed are over, those from reached on are pending and have never been due: a long schedule is mostly one or the
	// other, and is looked at with every input.
	closed, reached int
}

// open are the steps that are neither over for good nor still far off.
func (s *schedule) open() []step {
	for s.closed < len(s.steps) && s.steps[s.closed].state == over {
		s.closed++
	}
	s.reached = max(s.reached, s.closed)
	return s.steps[s.closed:s.reached]
}

func (l *Loop) planFaults() error {
	plan := slices.Clone(l.s.Faults)
	slices.SortStableFunc(plan, func(a, b scenario.Fault) int {
		return cmp.Compare(a.At.In(l.s.ElectionInterval), b.At.In(l.s.ElectionInterval))
	})
	for i, f := range plan {
		t, err := scenario.ParseTarget(f.Target)
		if err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
		l.faults.steps = append(l.faults.steps, step{plan: f, target: t, fault: history.Fault{
			ID: i + 1, Kind: f.Kind, Target: f.Target, Clients: f.Clients, Trigger: trigger(f),
		}})
	}
	return nil
}

func trigger(f scenario.Fault) string {
	if f.When != "" {
		return "when " + f.When
	}
	return "at " + f.At.String()
}

// hit is the nodes that a fault is on, or is about to be, or was until its end has been seen; of those that keep a node from its work.
func (s *schedule) hit() []int32 { return s.hitBy(chaos.Lone) }

func (s *schedule) hitBy(which func(kind string) bool) []int32 {
	var ids []int32
	open := s.open()
	for i := range open {
		st := &open[i]
		if (st.state == injecting || st.state == active || st.state == healing) && which(st.fault.Kind) {
			ids = append(ids, st.fault.Nodes...)
		}
	}
	return ids
}

func (s *schedule) busy() bool {
	open := s.open()
	for i := range open {
		if st := open[i].state; st == injecting || st == active || st == healing {
			return true
		}
	}
	return false
}

func (s *schedule) finished() bool {
	s.open()
	for i := s.closed; i < len(s.steps); i++ {
		if s.steps[i].state != over {
			return false
		}
	}
	return true
}

// advanceFaults begins the faults phase when it is time, moves faults that are under way, and asks for those that are due.
func (l *Loop) advanceFaults() {
	if l.phase == PhaseSteady {
		if l.counted < l.s.Steady {
			return
		}
		l.enter(PhaseFaults)
	}
	l.advanceActive()
	blocked := l.faults.busy()
	for i := l.faults.closed; i < len(l.faults.steps); i++ {
		st := &l.faults.steps[i]
		if i >= l.faults.reached {
			// Due times rise along the schedule, but for those of executed triggers, which may come half an interval early.
			if due := l.dueAt(st); l.now < due-int64(l.s.ElectionInterval) {
				l.wakeAt(due - int64(l.s.ElectionInterval))
				break
			}
			l.faults.reached = i + 1
		}
		if st.state != pending {
			continue
		}
		if st.plan.Overlap || !blocked {
			l.advancePending(st)
		}
		// One that is not over yet keeps all that follow it waiting, unless they were written to overlap.
		blocked = blocked || st.state != over
	}
}

// dueAt is when a fault may come at the earliest.
func (l *Loop) dueAt(st *step) int64 {
	at := l.loadFrom + int64(st.plan.At.In(l.s.ElectionInterval))
	if st.plan.When != "" && len(st.plan.Nodes) > 0 && !l.c.Exact {
		// An executed schedule gives the time at which the event came; it may come a little earlier this time.
		at -= int64(l.s.ElectionInterval / 2)
	}
	return at
}

func (l *Loop) advancePending(st *step) {
	due := l.dueAt(st)
	if l.now < due {
		l.wakeAt(due)
		return
	}
	if !st.fired && !st.plan.Overlap && !l.quiet(st, due) {
		return
	}
	if st.waiting == 0 {
		st.waiting = l.now
	}
	limit := st.waiting + max(targetLimit, 5*int64(l.s.ElectionInterval))
	if st.plan.When != "" && !st.fired && !l.c.Exact {
		st.armed = true
		limit = st.waiting + max(targetLimit, 10*int64(l.s.ElectionInterval))
		if l.now >= limit {
			l.giveUp(st, "never fired: no "+st.plan.When+" came in "+time.Duration(limit-st.waiting).String())
			return
		}
		l.wakeAt(limit)
		return
	}
	if st.plan.Kind == chaos.ClientCrash {
		l.advanceClientCrash(st, limit)
		return
	}
	nodes := l.resolve(st)
	switch {
	case len(nodes) > 0:
		l.inject(st, nodes)
	case l.now >= limit:
		l.giveUp(st, fmt.Sprintf("never injected: no node was %s in %s", st.plan.Target, time.Duration(limit-st.waiting)))
	default:
		l.wakeAt(limit) // and looked at again with each input
	}
}

// quiet reports whether the cluster has been left alone long enough since the last fault, and is whole; or that this has been
// waited for long enough.
func (l *Loop) quiet(st *step, due int64) bool {
	gap := l.faults.lastOver + int64(l.s.ElectionInterval/2)
	if l.faults.lastOver != 0 && l.now < gap {
		l.wakeAt(gap)
		return false
	}
	if l.view.whole() {
		return true
	}
	limit := max(due, l.faults.lastOver) + wholeLimit
	if l.now < limit {
		l.wakeAt(limit)
		return false
	}
	if st.waiting == 0 {
		l.note("fault %d, %s, came although the cluster was not whole %s after it was due", st.fault.ID, st.fault.Words(), time.Duration(wholeLimit))
	}
	return true
}

// resolve chooses the nodes of a fault, none if its target does not exist now. Nodes that a fault is on that clashes with it are left alone.
func (l *Loop) resolve(st *step) []int32 {
	kind := st.plan.Kind
	clash := chaos.Clash
	if l.c.Simulated {
		clash = chaos.HealEachOther
	}
	hit := l.faults.hitBy(func(other string) bool { return clash(other, kind) })
	if l.c.Exact && len(st.plan.Nodes) > 0 {
		return st.plan.Nodes
	}
	return l.view.choose(st.target, kind, hit, l.rand)
}

// advanceClientCrash asks for a crash of clients, unless one of them is down already.
func (l *Loop) advanceClientCrash(st *step, limit int64) {
	open := l.faults.open()
	down := slices.ContainsFunc(open, func(o step) bool {
		return o.fault.Kind == chaos.ClientCrash && (o.state == injecting || o.state == active || o.state == healing) &&
			(gen.Meant(o.target.Client, st.target.Client) || gen.Meant(st.target.Client, o.target.Client) || o.target.Client == st.target.Client)
	})
	switch {
	case !down:
		l.inject(st, nil)
	case l.now >= limit:
		l.giveUp(st, fmt.Sprintf("never injected: %s was down for %s", st.plan.Target, time.Duration(limit-st.waiting)))
	default:
		l.wakeAt(limit)
	}
}

func (l *Loop) inject(st *step, nodes []int32) {
	st.state = injecting
	st.deadline = l.now + answerLimit
	l.wakeAt(st.deadline)
	f := &st.fault
	f.Nodes = slices.Clone(nodes)
	f.Asked = l.now
	f.OnRaftLeader = slices.Contains(nodes, l.view.leader)
	switch {
	case st.target.Role == scenario.TargetAll:
		f.Role = scenario.TargetAll
	case len(nodes) > 0:
		f.Role = l.view.roleOf(nodes[0])
	}
	l.status.FaultsAsked++
	l.emit(Inject{Spec: chaos.Spec{ID: f.ID, Kind: f.Kind, Nodes: slices.Clone(nodes), Clients: f.Clients, Client: st.target.Client, Parameters: st.plan.Parameters}})
}

// advanceActive moves faults that are under way: windows that close, answers that never come.
func (l *Loop) advanceActive() {
	open := l.faults.open()
	for i := range open {
		st := &open[i]
		switch {
		case st.state == injecting && l.now >= st.deadline:
			st.fault.Error = fmt.Sprintf("no answer to the injection in %s", time.Duration(answerLimit))
			l.heal(st)
		case st.state == active && l.now >= st.deadline:
			l.heal(st)
		case st.state == healing && st.retryAt != 0 && l.now >= st.retryAt:
			l.heal(st)
		case st.state == healing && st.retryAt == 0 && l.now >= st.deadline:
			l.over(st, fmt.Sprintf("no answer to the healing in %s", time.Duration(answerLimit)))
		}
		switch {
		case st.state == healing && st.retryAt != 0:
			l.wakeAt(st.retryAt)
		case st.state == injecting || st.state == active || st.state == healing:
			l.wakeAt(st.deadline)
		}
	}
}

func (l *Loop) heal(st *step) {
	st.state = healing
	st.retryAt = 0
	st.tries++
	st.deadline = l.now + answerLimit
	if st.fault.HealAsked == 0 {
		st.fault.HealAsked = l.now
	}
	l.emit(Heal{ID: st.fault.ID})
}

// over records a fault; why is what went wrong at its end, "" if nothing did.
func (l *Loop) over(st *step, why string) {
	st.state = over
	l.faults.lastOver = l.now
	if st.fault.Kind == chaos.ClientCrash {
		l.load.restart(st.target.Client)
	}
	addError(&st.fault, why)
	l.emit(Record{Fault: st.fault})
}

func addError(f *history.Fault, why string) {
	switch {
	case why == "":
	case f.Error == "":
		f.Error = why
	default:
		f.Error += "; " + why
	}
}

// giveUp records a fault that was due and never asked for: a run that lacks it has not done what it was asked to.
func (l *Loop) giveUp(st *step, why string) {
	st.state = over
	st.fault.Error = why
	l.emit(Record{Fault: st.fault})
}

// giveUpPending ends the schedule. Faults that were due are recorded as given up, unless the run itself was broken off; the others are
// noted.
func (l *Loop) giveUpPending(why string) {
	for i := range l.faults.steps {
		st := &l.faults.steps[i]
		switch {
		case st.state != pending:
		case l.loadFrom != 0 && l.now >= l.dueAt(st) && l.ended == "":
			l.giveUp(st, "never injected: "+why)
		default:
			st.state = over
			l.note("fault %d, %s, %s, was not reached: %s", st.fault.ID, st.fault.Words(), st.fault.Trigger, why)
		}
	}
}

func (l *Loop) step(id int) *step {
	if id < 1 || id > len(l.faults.steps) {
		return nil
	}
	return &l.faults.steps[id-1]
}

func (l *Loop) faultInjected(in FaultInjected) {
	st := l.step(in.ID)
	if st == nil || st.state != injecting {
		return
	}
	st.fault.Evidence = append(st.fault.Evidence, in.Evidence...)
	proven := slices.ContainsFunc(in.Evidence, func(e history.Evidence) bool { return e.Phase == "during" })
	switch {
	case in.Err != nil:
		addError(&st.fault, in.Err.Error())
		l.heal(st) // it may have taken effect in part
	case !proven:
		addError(&st.fault, "the driver gave no evidence of its effect")
		l.heal(st)
	default:
		st.state = active
		st.fault.Effective = l.now
		st.deadline = l.now + int64(l.s.Window(st.plan, st.fault.OnRaftLeader))
		l.status.FaultsProven++
		if st.fault.Kind == chaos.ClientCrash {
			l.load.crash(st.target.Client)
		}
	}
}

func (l *Loop) faultHealed(in FaultHealed) {
	st := l.step(in.ID)
	if st == nil || st.state != healing || st.retryAt != 0 {
		return
	}
	st.fault.Evidence = append(st.fault.Evidence, in.Evidence...)
	switch {
	case in.Err == nil:
		st.fault.Healed = l.now
		l.over(st, "")
	case st.tries < healTries:
		addError(&st.fault, fmt.Sprintf("healing it, try %d: %v", st.tries, in.Err))
		st.retryAt = l.now + healRetry
	default:
		l.over(st, "healing it: "+in.Err.Error())
	}
}

// eventTriggers fires the faults that wait for what has just been seen.
func (l *Loop) eventTriggers(s seen) {
	if l.phase != PhaseFaults {
		return
	}
	open := l.faults.open()
	for i := range open {
		st := &open[i]
		if st.state != pending || !st.armed || st.fired {
			continue
		}
		st.fired = st.plan.When == scenario.WhenLeaderCheck && s.leaderCheck ||
			st.plan.When == scenario.WhenISRShrunk && s.isrShrunk ||
			st.plan.When == scenario.WhenLeaderChanged && s.leaderChanged
		if st.fired {
			st.waiting = l.now // from here on for its target
		}
	}
}

// Executed is the schedule as it came about: a scenario with each fault's time from the end of start, nodes, role and length. Faults that
// were never injected follow as they were planned: the minimums ask for them, and a run that ended early is to go on when it is run again.
func (l *Loop) Executed() *scenario.Scenario {
	var done, left []scenario.Fault
	for i := range l.faults.steps {
		st := &l.faults.steps[i]
		f := st.plan
		if st.ofCore {
			continue
		}
		if st.fault.Asked == 0 {
			left = append(left, f)
			continue
		}
		f.At = scenario.Fixed(time.Duration(st.fault.Asked - l.loadFrom))
		if st.fault.Effective != 0 && st.fault.HealAsked > st.fault.Effective {
			f.For = scenario.Fixed(time.Duration(st.fault.HealAsked - st.fault.Effective))
		}
		f.Nodes, f.Role = slices.Clone(st.fault.Nodes), st.fault.Role
		done = append(done, f)
	}
	slices.SortStableFunc(done, func(a, b scenario.Fault) int { return cmp.Compare(a.At.Fixed, b.At.Fixed) })
	return l.s.WithFaults(append(done, left...))
}
