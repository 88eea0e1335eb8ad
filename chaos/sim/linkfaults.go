package sim

import (
	"fmt"
	"slices"

	"soak/chaos"
	"soak/chaos/sim/simclient"
)

// partition cuts links, in the shape that the kind of fault says. It is proven by the first message that it takes.
func (s *sim) partition(f *fault) {
	in := f.spec.Kind != chaos.OneWay || f.spec.Way == chaos.WayIn
	out := f.spec.Kind != chaos.OneWay || f.spec.Way == chaos.WayOut
	for i, a := range f.spec.Nodes {
		for b := range int32(len(s.nodes)) {
			among := slices.Index(f.spec.Nodes, b)
			switch {
			case f.spec.Kind == chaos.Bridge && among <= i: // each pair of the targets once, and nobody else
				continue
			case f.spec.Kind != chaos.Bridge && (among >= 0 || b == 0 && !f.spec.Clients):
				continue
			}
			if in {
				f.cut = append(f.cut, s.link(b, a))
			}
			if out {
				f.cut = append(f.cut, s.link(a, b))
			}
		}
	}
	f.move(1)
	if f.spec.Kind == chaos.Flapping {
		s.flap(f)
	}
}

// move adds to the number of faults that cut the links, or takes from it.
func (f *fault) move(by int) {
	for _, l := range f.cut {
		l.cuts += by
	}
}

// flap opens and closes a partition in turns.
func (s *sim) flap(f *fault) {
	s.at(s.now+int64(f.spec.Every), func() {
		if f.healed {
			return
		}
		f.away = !f.away
		if f.away {
			f.move(-1)
		} else {
			f.move(1)
		}
		s.flap(f)
	})
}

// noteDrop is called for each message that a cut has taken.
func (s *sim) noteDrop(l *link) {
	l.dropped++
	for _, f := range s.active {
		if !f.proven && !f.away && slices.Contains(f.cut, l) {
			s.prove(f, fmt.Sprintf("a message n%d→n%d dropped", l.from, l.to), 1)
		}
	}
}

// linkWait is how long the end of a partition is waited for where nobody sends: all its nodes may be down.
const linkWait = int64(1_000_000_000)

// mendLinks opens what a fault cut. Its end is seen by the first message that passes.
func (s *sim) mendLinks(f *fault) {
	if !f.away {
		f.move(-1)
	}
	before := make([]int64, len(f.cut))
	for i, l := range f.cut {
		before[i] = l.passed
	}
	passed := func() bool {
		for i, l := range f.cut {
			if l.passed > before[i] {
				return true
			}
		}
		return false
	}
	s.when(passed, s.now+linkWait, func() {
		if passed() {
			f.see("after", "messages pass", 1, s.now)
		} else {
			f.see("after", "the links are open; nobody sends", 0, s.now)
		}
		s.over(f)
	})
}

// resetEach resets the clients' connections to the targets again and again.
func (s *sim) resetEach(f *fault) {
	for _, n := range s.targets(f) {
		reset := 0
		s.lose(func(c clientConn) bool {
			if c.node == n {
				reset++
				s.closed(c, 1)
			}
			return c.node == n
		})
		if reset > 0 && !f.proven {
			s.prove(f, fmt.Sprintf("n%d: %d connections reset", n.id, reset), int64(reset))
		}
	}
	s.at(s.now+max(int64(f.spec.Every), 1_000_000), func() {
		if !f.healed {
			s.resetEach(f)
		}
	})
}

// resetNow reports whether a client's request meets a reset of its connection: it arrives, and its answer does not.
func (s *sim) resetNow(l *link, conn simclient.Conn) bool {
	return s.mix.ResetPPM > 0 && chance(mix(s.seed, saltReset, l.key(), uint64(conn), uint64(s.now)), s.mix.ResetPPM)
}
