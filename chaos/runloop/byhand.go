package runloop

import (
	"fmt"
	"time"

	"soak/chaos/scenario"
	"soak/history"
)

// A run that somebody else steers: a test breaks and mends as it goes, and says when it has seen enough. What it did is in Executed, so that
// its schedule can be run again without it.

// Break asks for a fault as soon as its target exists, whatever else is under way. Times and events of the fault are not looked at. Its id is
// one more than there were faults before; it is recorded when it is over, or at once if it cannot come.
type Break struct{ Fault scenario.Fault }

// Mend asks for the healing of a fault that is in effect.
type Mend struct{ ID int }

// Conclude lets a steered run go the rest of its way: everything is healed, the intervals that it lacks are waited for, then it recovers
// and is drained.
type Conclude struct{}

func (Break) isInput()    {}
func (Mend) isInput()     {}
func (Conclude) isInput() {}

// ByHand is the trigger of a fault that nobody planned.
const ByHand = "by hand"

// held reports whether the run goes on until somebody says otherwise.
func (l *Loop) held() bool { return l.c.Steered && l.concluded == 0 }

func (l *Loop) breakNow(f scenario.Fault) {
	f.At, f.When, f.Overlap = scenario.Fixed(time.Duration(max(0, l.now-l.loadFrom))), "", true
	target, err := scenario.ParseTarget(f.Target)
	l.faults.steps = append(l.faults.steps, step{plan: f, target: target, fault: history.Fault{
		ID: len(l.faults.steps) + 1, Kind: f.Kind, Target: f.Target, Clients: f.Clients, Trigger: ByHand,
	}})
	st := &l.faults.steps[len(l.faults.steps)-1]
	switch {
	case err != nil:
		l.giveUp(st, err.Error())
	case !l.held():
		l.giveUp(st, "never injected: the run goes its own way")
	case l.phase != PhaseSteady && l.phase != PhaseFaults:
		l.giveUp(st, fmt.Sprintf("never injected: the run is in its phase %s", l.phase))
	}
}

// mend closes the window of a fault that is in effect.
func (l *Loop) mend(id int) {
	if st := l.step(id); st != nil && st.state == active {
		st.deadline = l.now
	}
}

func (l *Loop) conclude() {
	if !l.held() {
		return
	}
	l.concluded = max(l.now, 1)
	for i := range l.faults.steps {
		l.mend(i + 1)
	}
}
