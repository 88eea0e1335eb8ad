package sim

import (
	"fmt"
	"slices"

	"soak/chaos"
	"soak/chaos/sim/simclient"
)

// partition disturbs links, in the shape that the kind of fault says. It is proven by the first message that it takes, or delays.
func (s *sim) partition(f *fault) {
	kind := f.spec.Kind
	in := kind != chaos.OneWay || f.spec.Way == chaos.WayIn
	out := kind != chaos.OneWay && kind != chaos.Loss || kind == chaos.OneWay && f.spec.Way == chaos.WayOut
	for i, a := range f.spec.Nodes {
		for b := range int32(len(s.nodes)) {
			among := slices.Index(f.spec.Nodes, b)
			switch {
			case b == 0 && kind == chaos.ClientsCut: // clients, and nobody else
			case b == 0 && !f.spec.Clients || b != 0 && kind == chaos.ClientsCut || a == b:
				continue
			case (kind == chaos.Bridge || kind == chaos.AllApart) && among <= i: // each pair of the targets once, and nobody else
				continue
			case kind == chaos.Delay && among >= 0 && among < i: // each pair once
				continue
			case kind == chaos.Loss || kind == chaos.Delay:
			case kind != chaos.Bridge && kind != chaos.AllApart && among >= 0:
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
	if kind == chaos.Flapping {
		s.flap(f)
	}
}

// move adds what the fault does to its links, or takes it away.
func (f *fault) move(by int) {
	for _, l := range f.cut {
		switch f.spec.Kind {
		case chaos.Delay:
			l.delay += int64(by) * int64(f.spec.By)
			l.jitter += int64(by) * int64(f.spec.Jitter)
		case chaos.Loss:
			l.loss += int64(by) * f.spec.PPM
		default:
			l.cuts += by
		}
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

// taken reports whether a fault takes the message that is being sent on a link: all while it is cut, or a share of them.
func (s *sim) taken(l *link) bool {
	if l.cuts > 0 {
		s.noteDrop(l, false)
		return true
	}
	if l.loss > 0 && chance(mix(s.seed, saltLoss, l.key(), uint64(s.now/noiseStep)), l.loss) {
		s.noteDrop(l, true)
		return true
	}
	return false
}

// noteDrop is called for each message that a cut has taken, or chance.
func (s *sim) noteDrop(l *link, byChance bool) {
	l.dropped++
	for _, f := range s.active {
		if !f.proven && !f.away && f.spec.Kind != chaos.Delay && (f.spec.Kind == chaos.Loss) == byChance && slices.Contains(f.cut, l) {
			s.prove(f, fmt.Sprintf("a message n%d→n%d dropped", l.from, l.to), 1)
		}
	}
}

// lag is what delays add to a message that is sent on a link now.
func (s *sim) lag(l *link) int64 {
	if l.delay == 0 {
		return 0
	}
	d := l.delay + between(mix(s.seed, saltDelay, l.key(), uint64(s.now/noiseStep)), 0, l.jitter)
	for _, f := range s.active {
		if !f.proven && f.spec.Kind == chaos.Delay && slices.Contains(f.cut, l) {
			s.prove(f, fmt.Sprintf("a message n%d→n%d takes %d µs longer", l.from, l.to, d/1000), d)
		}
	}
	return d
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
