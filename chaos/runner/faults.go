package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"soak/chaos"
	"soak/chaos/runloop"
	"soak/history"
)

// maxProbes bounds the evidence that probing adds to one fault: a minute's worth.
const maxProbes = 60

// faults keeps what probing shows of the faults under way, until their line is recorded.
type faults struct {
	byID map[int]*activeFault
}

type activeFault struct {
	effective bool // injected, and no heal asked for yet: worth probing
	probing   bool
	evidence  []history.Evidence
	failed    error // the first probe that did not see the fault
}

// probed is the answer to a probe.
type probed struct {
	id       int
	evidence []history.Evidence
	err      error
}

func (f *faults) injected(in runloop.FaultInjected) {
	if a := f.byID[in.ID]; a != nil {
		a.effective = in.Err == nil
	}
}

func (f *faults) probed(p probed) {
	a := f.byID[p.id]
	if a == nil {
		return
	}
	a.probing = false
	if !a.effective {
		return // healing had begun: what it saw is neither during nor after
	}
	if p.err != nil {
		if a.failed == nil {
			a.failed = p.err
		}
		return
	}
	if room := maxProbes - len(a.evidence); room > 0 {
		a.evidence = append(a.evidence, p.evidence[:min(room, len(p.evidence))]...)
	}
}

// inject asks the cluster for a fault. Its context ends with an early end of the run: whatever came of it by then is
// healed with the rest.
func (s *shell) inject(spec chaos.Spec) {
	s.faults.byID[spec.ID] = &activeFault{}
	go func() {
		ctx, cancel := context.WithTimeout(s.work, faultTimeout)
		defer cancel()
		ev, err := s.cluster.Inject(ctx, spec)
		if err != nil {
			err = fmt.Errorf("injecting %s on %v: %w", spec.Kind, spec.Nodes, err)
		}
		s.in.put(runloop.FaultInjected{ID: spec.ID, Evidence: ev, Err: err})
	}()
}

// heal asks the cluster to heal a fault. An early end does not cut it short.
func (s *shell) heal(id int) {
	if a := s.faults.byID[id]; a != nil {
		a.effective = false
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), faultTimeout)
		defer cancel()
		ev, err := s.cluster.Heal(ctx, id)
		if err != nil {
			err = fmt.Errorf("healing fault %d: %w", id, err)
		}
		s.in.put(runloop.FaultHealed{ID: id, Evidence: ev, Err: err})
	}()
}

// probeAll looks at every fault in effect that is not being looked at.
func (s *shell) probeAll() {
	for id, a := range s.faults.byID {
		if !a.effective || a.probing || s.ending {
			continue
		}
		a.probing = true
		go func() {
			ctx, cancel := context.WithTimeout(s.work, probeTimeout)
			defer cancel()
			ev, err := s.cluster.Probe(ctx, id)
			s.in.put(probed{id, ev, err})
		}()
	}
}

// recordFault writes a fault's line, with what probing saw in the order of its times.
func (s *shell) recordFault(f history.Fault) {
	if a := s.faults.byID[f.ID]; a != nil {
		delete(s.faults.byID, f.ID)
		f.Evidence = append(slices.Clone(f.Evidence), a.evidence...)
		slices.SortStableFunc(f.Evidence, func(x, y history.Evidence) int { return cmp.Compare(x.Time, y.Time) })
		if a.failed != nil {
			s.note("probing fault %d (%s on %s): %v", f.ID, f.Kind, f.Target, a.failed)
		}
	}
	s.o.Recorder.Fault(f)
	s.o.Observe(&f)
}

func (s *shell) note(format string, args ...any) {
	s.o.Run.Notes = append(s.o.Run.Notes, fmt.Sprintf(format, args...))
}
