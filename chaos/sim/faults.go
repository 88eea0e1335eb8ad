package sim

import (
	"fmt"
	"slices"

	"soak/chaos"
	"soak/chaos/runloop"
	"soak/history"
)

// fault is an injected fault. Its effect is noted where it bites, as on real clusters: what no message, call or node met is not proven.
type fault struct {
	spec     chaos.Spec
	evidence []history.Evidence
	proven   bool
	healed   bool
	cut      []*link // partition: the directions that it cuts
	struck   []*node // kill, pause: the nodes it struck
	waiting  func(*link)
}

// Capabilities says which kinds of fault the simulator can do: all that scenarios know.
func Capabilities() chaos.Capabilities {
	return chaos.Capabilities{chaos.Kill: "", chaos.RestartAll: "", chaos.Pause: "", chaos.Partition: ""}
}

// inject brings a fault about. The answer comes, as an input to the run loop, when its effect was seen.
func (s *sim) inject(spec chaos.Spec) {
	f := &fault{spec: spec}
	s.faults[spec.ID] = f
	s.active = append(s.active, f)
	switch spec.Kind {
	case chaos.Kill, chaos.RestartAll:
		for _, id := range spec.Nodes {
			n := s.nodes[id]
			if n.core == nil {
				continue
			}
			s.kill(n)
			f.struck = append(f.struck, n)
			f.see("during", fmt.Sprintf("n%d: signal: killed", id), 1, s.now)
		}
		s.injected(f)
	case chaos.Pause:
		for _, id := range spec.Nodes {
			n := s.nodes[id]
			n.pause()
			f.struck = append(f.struck, n)
			f.see("during", fmt.Sprintf("n%d: stopped", id), 1, s.now)
		}
		s.injected(f)
	case chaos.Partition:
		s.partition(f)
	default:
		s.step(runloop.FaultInjected{ID: spec.ID, Err: fmt.Errorf("the simulator has no fault %q", spec.Kind)})
	}
}

func (f *fault) see(phase, what string, count, now int64) {
	f.evidence = append(f.evidence, history.Evidence{Time: now, Phase: phase, What: what, Count: count})
}

// injected answers the run loop with what has been seen so far.
func (s *sim) injected(f *fault) {
	f.proven = true
	ev := f.evidence
	f.evidence = nil
	s.step(runloop.FaultInjected{ID: f.spec.ID, Evidence: ev})
}

// kill ends a node as SIGKILL does: what its calls have written so far stays in the page cache.
func (s *sim) kill(n *node) {
	n.down()
	n.fs.Crash(s.now)
	s.exit(n, "killed", -1, true)
}

// partition cuts the targets from all other nodes, and from the clients where asked. It is proven by the first message that it takes.
func (s *sim) partition(f *fault) {
	for _, a := range f.spec.Nodes {
		for b := int32(0); int(b) < len(s.nodes); b++ {
			if slices.Contains(f.spec.Nodes, b) || b == 0 && !f.spec.Clients {
				continue
			}
			for _, l := range []*link{s.link(a, b), s.link(b, a)} {
				l.cuts++
				f.cut = append(f.cut, l)
			}
		}
	}
}

// noteDrop is called for each message that a cut has taken.
func (s *sim) noteDrop(l *link) {
	for _, f := range s.active {
		if !f.proven && !f.healed && slices.Contains(f.cut, l) {
			f.see("during", fmt.Sprintf("a message n%d→n%d dropped", l.from, l.to), 1, s.now)
			f.proven = true
			s.at(s.now, func() {
				if !f.healed {
					s.injected(f)
				}
			})
		}
	}
}

// heal ends a fault. The answer comes when its end was seen.
func (s *sim) heal(id int) {
	f := s.faults[id]
	if f == nil || f.healed {
		s.step(runloop.FaultHealed{ID: id})
		return
	}
	f.healed = true
	s.active = slices.DeleteFunc(s.active, func(x *fault) bool { return x == f })
	switch f.spec.Kind {
	case chaos.Kill, chaos.RestartAll:
		for _, n := range f.struck {
			if n.core != nil || n.starting {
				continue
			}
			if err := n.start(); err != nil {
				s.crashed(n, err)
				s.step(runloop.FaultHealed{ID: id, Err: err})
				return
			}
		}
		s.healedWhen(f, func() bool {
			return !slices.ContainsFunc(f.struck, func(n *node) bool { return n.core == nil })
		}, "up again, boot %d")
	case chaos.Pause:
		for _, n := range f.struck {
			n.resume()
			f.see("after", fmt.Sprintf("n%d: running", n.id), 1, s.now)
		}
		s.step(runloop.FaultHealed{ID: id, Evidence: f.evidence})
	case chaos.Partition:
		for _, l := range f.cut {
			l.cuts--
		}
		before := make([]int64, len(f.cut))
		for i, l := range f.cut {
			before[i] = l.passed
		}
		s.healedWhen(f, func() bool {
			for i, l := range f.cut {
				if l.passed > before[i] {
					return true
				}
			}
			return false
		}, "messages pass")
	}
}

// healPoll is how often the end of a fault is looked for.
const healPoll = int64(1_000_000)

// healedWhen answers the run loop once the end was seen; a node that does not come back is the run loop's to give up on.
func (s *sim) healedWhen(f *fault, over func() bool, what string) {
	if !over() {
		s.at(s.now+healPoll, func() { s.healedWhen(f, over, what) })
		return
	}
	if len(f.struck) > 0 {
		for _, n := range f.struck {
			f.see("after", fmt.Sprintf("n%d: "+what, n.id, n.boot), 1, s.now)
		}
	} else {
		f.see("after", what, 1, s.now)
	}
	s.step(runloop.FaultHealed{ID: f.spec.ID, Evidence: f.evidence})
}
