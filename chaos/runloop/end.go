package runloop

import (
	"fmt"
	"strings"
	"time"

	"soak/workloads/gen"
)

// lateBy is how late each fault of a schedule may make the next one: the cluster has to be whole in between, and an engine answers when it can.
const lateBy = 15 * second

// checkEnd ends the faults phase. With a duration it ends after that. Without, it ends when the intervals have counted and the
// last fault is healed, at the latest after 2N + 10 intervals or the schedule's length + 10 s, whichever is more; a schedule that
// is all that is left to wait for has 15 s more a fault.
func (l *Loop) checkEnd() {
	if l.held() {
		return
	}
	end, why := l.loadFrom+int64(l.s.Duration), "the duration was over"
	if l.s.Duration == 0 {
		if l.phase == PhaseFaults && l.counted >= l.s.Intervals && l.faults.finished() {
			l.endFaults()
			return
		}
		end, why = l.latestEnd()
	}
	if l.now < end {
		l.wakeAt(end)
		return
	}
	if l.s.Duration == 0 {
		l.note("%s", why)
	}
	l.giveUpPending(why)
	l.endFaults()
}

// latestEnd is when a run of so many intervals is ended though something is missing, and what that is.
func (l *Loop) latestEnd() (int64, string) {
	longest := max(time.Duration(2*l.s.Intervals+10)*l.s.ElectionInterval, l.s.ScheduleLength()+10*time.Second)
	why := fmt.Sprintf("only %d of %d intervals had counted", l.counted, l.s.Intervals)
	if l.counted >= l.s.Intervals {
		longest = max(longest, l.s.ScheduleLength()+10*time.Second+time.Duration(len(l.s.Faults))*time.Duration(lateBy))
		why = "the faults of the schedule were not over"
	}
	return max(l.loadFrom, l.concluded) + int64(longest), why + " after " + longest.String()
}

// advanceHeal asks for every fault under way to be healed, and waits for the answers.
func (l *Loop) advanceHeal() {
	limit := l.entered + healLimit
	if l.ended != "" {
		limit = l.entered + endNowLimit
	}
	for i := range l.faults.steps {
		st := &l.faults.steps[i]
		// One that is being injected is healed when the driver has answered: drivers do one thing at a time to a fault.
		if st.state == active {
			st.deadline = l.now
		}
		if l.now >= limit && st.state != over {
			l.over(st, fmt.Sprintf("not healed within %s", time.Duration(limit-l.entered)))
		}
	}
	l.advanceActive()
	switch {
	case l.faults.busy():
		l.wakeAt(limit)
	case l.ended != "":
		l.finish()
	default:
		l.enter(PhaseRecover)
	}
}

// advanceRecover waits, under load, until every node answers and every ISR is whole.
func (l *Loop) advanceRecover() {
	since := l.entered - 1 // a poll made in the instant of entering counts
	ops, wake := l.polls.ask(l.now, since, l.nodes())
	for _, op := range ops {
		l.emit(Invoke{Op: op})
	}
	silent := l.polls.silent(since)
	whole := l.view.whole()
	bound := l.recoverBound()
	limit := l.entered + bound
	switch {
	case len(silent) == 0 && whole:
	case l.now >= limit:
		what := "not every record partition has its whole ISR"
		if len(silent) > 0 {
			what = "no answer from " + strings.Join(silent, ", ")
		}
		l.unrecovered = fmt.Sprintf("the cluster had not recovered %s after the last fault was healed: %s", time.Duration(bound), what)
		l.note("%s", l.unrecovered)
	default:
		l.wakeAt(wake)
		l.wakeAt(limit)
		return
	}
	l.load.stopped = true
	l.enter(PhaseDrain)
}

// recoverBound is how long a cluster may take to be whole again: a session that expires late, a replica that lags for as long as it may,
// one interval of the election service, and the catching up; so long that the checker of recovery sees its own bounds to their end.
func (l *Loop) recoverBound() int64 {
	session := int64(l.s.SessionTimeout)
	return max(recoverLimit, session+max(session, second)+int64(l.s.ElectionInterval)+6*second)
}

// Unrecovered says what was not whole at the end of the recover phase, "" if all was, or the phase was never reached.
func (l *Loop) Unrecovered() string { return l.unrecovered }

// advanceDrain lets operations under way end, then reads every replica.
func (l *Loop) advanceDrain() {
	if l.drain == nil {
		limit := l.entered + settleLimit
		left := l.load.inFlight() + l.core.inFlight()
		if left > 0 && l.now < limit {
			l.wakeAt(limit)
			return
		}
		if left > 0 {
			l.note("%d operations had not ended %s after the load stopped", left, time.Duration(settleLimit))
		}
		l.drain = gen.NewDrain(gen.DrainConfig{Topics: recordTopics(l.c), Replicas: l.nodes(), Start: l.now})
	}
	ops, wake := l.drain.Next(l.now)
	for _, op := range ops {
		l.emit(Invoke{Op: op})
	}
	l.wakeAt(wake)
	if l.drain.Finished() {
		if l.drain.GaveUp() {
			l.note("the drain stopped with %d replicas not read to their end", l.drain.Left())
		}
		l.finish()
	}
}
