package runloop

import (
	"slices"
	"time"

	"soak/history"
)

// Status is where the run stands, for a person who watches.
type Status struct {
	Phase                     string
	Now                       int64         // Unix ns, on the loop's clock
	Since                     time.Duration // from its start
	Intervals, Wanted         int           // interval checks counted, of those asked for or needed, whichever is more
	RaftLeader                int32         // 0 if none is known
	Term                      uint64
	Active                    []history.Fault // being injected, in effect or being healed
	Acked, Failed, Unknown    int64           // records
	MetaOps                   int64           // operations of the metadata workload that were answered
	Left                      time.Duration   // estimate until Finished
	FaultsAsked, FaultsProven int
}

// count adds a completed operation of the workloads.
func (s *Status) count(op *history.Operation) {
	switch {
	case op.Produce != nil:
		n := int64(op.Produce.Count)
		switch op.Outcome {
		case history.OK:
			s.Acked += n
		case history.Failed:
			s.Failed += n
		default:
			s.Unknown += n
		}
	case op.Meta != nil && op.Outcome == history.OK:
		s.MetaOps++
	}
}

// Status is where the run stands now. The value is the caller's.
func (l *Loop) Status() Status {
	s := l.status
	s.Phase, s.Now, s.Since = l.phase, l.now, time.Duration(l.now-l.c.Start)
	s.Intervals, s.Wanted = l.counted, max(l.s.Intervals, l.s.Minimums.Intervals)
	s.RaftLeader, s.Term = l.view.leader, l.view.leaderTerm
	for i := range l.faults.steps {
		if st := &l.faults.steps[i]; st.state == injecting || st.state == active || st.state == healing {
			f := st.fault
			f.Nodes, f.Evidence = slices.Clone(f.Nodes), slices.Clone(f.Evidence)
			s.Active = append(s.Active, f)
		}
	}
	s.Left = l.left()
	return s
}

// left estimates what is still to come, as scenario.Expected does for a whole run.
func (l *Loop) left() time.Duration {
	const toRecover, toDrain = 3 * time.Second, 3 * time.Second
	switch l.phase {
	case PhaseStart:
		return l.s.Expected()
	case PhaseSteady, PhaseFaults:
		elapsed := time.Duration(l.now - l.loadFrom)
		if l.s.Duration > 0 {
			return max(0, l.s.Duration-elapsed) + toRecover + toDrain
		}
		load := time.Duration(max(0, l.s.Intervals-l.counted)) * l.s.ElectionInterval
		if !l.faults.finished() {
			load = max(load, l.s.ScheduleLength()-elapsed)
		}
		return load + toRecover + toDrain
	case PhaseLiveness, PhaseHeal, PhaseRecover:
		return toRecover + toDrain
	case PhaseDrain:
		return toDrain
	}
	return 0
}
