package runner

import (
	"cmp"
	"context"
	"errors"
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
	kind      string
	effective bool // injected, and no heal asked for yet: worth probing
	probing   bool
	evidence  []history.Evidence
	failed    error // the first probe that could not look at the fault
	seen      int64 // when it was last seen in effect
	lapsed    error // the first probe that saw it not in effect
}

// probed is the answer to a probe.
type probed struct {
	id       int
	asked    int64 // when
	last     bool  // asked before the healing, and answered before it began
	evidence []history.Evidence
	err      error
}

func (f *faults) injected(now int64, in runloop.FaultInjected) {
	if a := f.byID[in.ID]; a != nil {
		a.effective, a.seen = in.Err == nil, now
	}
}

func (f *faults) probed(p probed) {
	a := f.byID[p.id]
	if a == nil {
		return
	}
	if !p.last {
		a.probing = false
		if !a.effective {
			return // healing had begun: what it saw is neither during nor after
		}
	}
	switch {
	case errors.Is(p.err, chaos.ErrLapsed):
		if a.lapsed == nil {
			a.lapsed = p.err
		}
	case p.err != nil:
		if a.failed == nil {
			a.failed = p.err
		}
	case len(p.evidence) > 0 && a.lapsed == nil:
		a.seen = max(a.seen, p.asked)
	}
	if room := maxProbes - len(a.evidence); room > 0 {
		a.evidence = append(a.evidence, p.evidence[:min(room, len(p.evidence))]...)
	}
}

// inject asks the cluster for a fault. Its context ends with an early end of the run: whatever came of it by then is
// healed with the rest.
func (s *shell) inject(spec chaos.Spec) {
	s.faults.byID[spec.ID] = &activeFault{kind: spec.Kind}
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

// heal asks the cluster to heal a fault, after a last look whether it is still there. An early end does not cut it short, but for the look.
func (s *shell) heal(id int) {
	look, patience := false, faultTimeout
	if a := s.faults.byID[id]; a != nil {
		look, a.effective = a.effective && !s.ending, false
		if a.kind == chaos.Rolling {
			patience = rollTimeout
		}
	}
	go func() {
		if look {
			if p := s.probe(id); s.work.Err() == nil {
				p.last = true
				s.in.put(p)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
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
		go func() { s.in.put(s.probe(id)) }()
	}
}

func (s *shell) probe(id int) probed {
	ctx, cancel := context.WithTimeout(s.work, probeTimeout)
	defer cancel()
	asked := s.now()
	ev, err := s.cluster.Probe(ctx, id)
	return probed{id: id, asked: asked, evidence: ev, err: err}
}

// recordFault writes a fault's line, with what probing saw in the order of its times.
func (s *shell) recordFault(f history.Fault) {
	if a := s.faults.byID[f.ID]; a != nil {
		delete(s.faults.byID, f.ID)
		f.Evidence = append(slices.Clone(a.evidence), f.Evidence...)
		slices.SortStableFunc(f.Evidence, func(x, y history.Evidence) int { return cmp.Compare(x.Time, y.Time) })
		if a.lapsed != nil {
			f.Lapsed = a.seen
			if f.Error != "" {
				f.Error += "; "
			}
			f.Error += "it did not last: " + a.lapsed.Error()
		}
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
