package sim

import (
	"fmt"
	"slices"

	"soak/broker/core"
	"soak/internal/vfs"
)

// kill ends a node as SIGKILL does: what its calls have written so far stays in the page cache.
func (s *sim) kill(n *node) {
	n.down()
	n.fs.Crash(s.now)
	s.exit(n, "killed", -1, true)
}

// stopPatience is how long a node may hand over what it leads after SIGTERM. Its own bound is shorter, by its own clock.
const stopPatience = int64(4_000_000_000)

// stop ends a node as SIGTERM does: it hands over what it leads, and closes its disk. ended is called, with what was seen, when its process is
// gone, however that came: another fault may end it meanwhile.
func (s *sim) stop(n *node, ended func(how string)) {
	if n.core == nil || n.paused > 0 {
		s.closeDown(n, ended)
		return
	}
	life, until := n.life, s.now+stopPatience
	n.leaving = true
	n.receive(core.Shutdown{})
	s.when(func() bool { return n.life != life || n.left || s.now >= until }, 0, func() {
		if n.life != life {
			ended(fmt.Sprintf("n%d: ended otherwise while it handed over", n.id))
			s.revive(n)
			return
		}
		s.closeDown(n, ended)
	})
}

// closeDown ends a node in order, with exit code 0, once what its disk is doing is done and its data directory is synced and closed, and
// then calls ended. Until then only endStop ends it. One that is only starting, or stands still, has not got as far as to do any of that, and ends at once.
func (s *sim) closeDown(n *node, ended func(how string)) {
	dir, closeAt := n.dir, max(s.now, n.raft.until, n.logs.until)
	orderly := n.core != nil && n.paused == 0
	n.down()
	n.stopping = true
	n.held++
	life := n.life
	end := func(code int) {
		s.endStop(n, "", code)
		ended(fmt.Sprintf("n%d: exit code %d", n.id, code))
		s.revive(n)
	}
	if !orderly {
		s.at(s.now, func() {
			if n.stopping && n.life == life {
				end(0)
			}
		})
		return
	}
	s.at(closeAt, func() {
		if !n.stopping || n.life != life {
			return
		}
		code := 0
		n.fs.Begin(s.now)
		if dir.Close() != nil {
			code = 1
		}
		s.noteDisk(n)
		s.at(n.fs.End(), func() {
			if n.stopping && n.life == life {
				end(code)
			}
		})
	})
}

// endStop ends a node that is being stopped: it is done, or whoever waits for it kills it.
func (s *sim) endStop(n *node, signal string, code int) {
	n.stopping = false
	n.held--
	n.life++
	n.fs.Crash(s.now)
	s.exit(n, signal, code, true)
}

// stopAll stops nodes, until the fault is healed.
func (s *sim) stopAll(f *fault) {
	for _, n := range s.targets(f) {
		if n.alive() {
			f.hold(n)
			s.stop(n, func(how string) { s.prove(f, how, 1) })
		}
	}
}

// rollFrom stops and starts the targets one after the other, beginning with the i-th: the next one once the last is up, and Every after it
// was stopped. Healing does away with that wait.
func (s *sim) rollFrom(f *fault, i int) {
	ns := s.targets(f)
	if i == len(ns) {
		f.rolled = true
		return
	}
	n, began := ns[i], s.now
	if n.alive() {
		s.stop(n, func(how string) { s.prove(f, how, 1) })
	}
	s.when(func() bool {
		return !n.leaving && !n.stopping && (n.core != nil || n.held > 0 || n.broken > 0) && (f.healed || s.now >= began+int64(f.spec.Every))
	}, 0, func() {
		f.see("during", fmt.Sprintf("n%d: up again, boot %d", n.id, n.boot), 1, s.now)
		s.rollFrom(f, i+1)
	})
}

// crashEach kills the targets and starts them again, each Every, until healing.
func (s *sim) crashEach(f *fault) {
	for _, n := range s.targets(f) {
		if n.alive() {
			s.kill(n)
			f.kills++
			s.prove(f, fmt.Sprintf("n%d: signal: killed", n.id), 1)
		}
		s.revive(n)
	}
	s.at(s.now+int64(f.spec.Every), func() {
		if !f.healed {
			s.crashEach(f)
		}
	})
}

// overWhenRolled answers once a rolling restart has come to its last node.
func (s *sim) overWhenRolled(f *fault) {
	s.when(func() bool { return f.rolled }, 0, func() {
		f.see("after", fmt.Sprintf("all %d nodes were restarted", len(f.spec.Nodes)), int64(len(f.spec.Nodes)), s.now)
		s.over(f)
	})
}

// hold keeps a node down until the fault is healed.
func (f *fault) hold(n *node) {
	n.held++
	f.struck = append(f.struck, n)
}

func (s *sim) killAll(f *fault) {
	for _, n := range s.targets(f) {
		switch {
		case n.alive():
			s.kill(n)
		case f.keepsDown: // it must stay so when what took it down is healed
			f.hold(n)
			s.prove(f, fmt.Sprintf("n%d: was down, and stays so", n.id), 1)
			continue
		default:
			continue
		}
		f.hold(n)
		s.prove(f, fmt.Sprintf("n%d: signal: killed", n.id), 1)
	}
}

// losePower takes the power from nodes, and with it what their kernels held. A node that is down loses what its last life left unsynced.
func (s *sim) losePower(f *fault) {
	for _, n := range s.targets(f) {
		alive := n.alive()
		if alive {
			n.down()
		}
		lost, open := 0, 0
		choose := s.powerChoice(n)
		n.fs.PowerLoss(s.now, func(c vfs.SimChoice) int {
			k := choose(c)
			if open++; k < c.N-1 {
				lost++
			}
			return k
		})
		f.hold(n)
		if alive {
			s.exit(n, "power lost", -1, true)
			s.prove(f, fmt.Sprintf("n%d: lost power, and %d of %d pieces that were not synced", n.id, lost, open), int64(lost))
		}
	}
}

// powerChoice decides what a loss of power leaves of what was not synced. Each loss leans another way: nothing is left, nearly all is, or any
// piece of it.
func (s *sim) powerChoice(n *node) vfs.Choose {
	seed := s.mix.PowerSeed
	if seed == 0 {
		seed = s.seed
	}
	seed = mix(seed, saltPower, uint64(n.id), uint64(s.now))
	lean := seed >> 8 % 4
	return func(c vfs.SimChoice) int {
		h := mix(seed, uint64(c.What), uint64(c.Offset), textHash(c.Path))
		switch {
		case lean == 0:
			return 0
		case lean == 1 && h>>32%8 != 0:
			return c.N - 1
		}
		return int(h % uint64(c.N))
	}
}

// textHash is FNV-1a of a text.
func textHash(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return h
}

// armCrash kills nodes in the middle of their next disk operation.
func (s *sim) armCrash(f *fault) {
	for _, n := range s.targets(f) {
		if n.alive() {
			n.crashIn = f
		}
	}
}

// crashWithin is called for each disk operation: an armed crash comes at an instant within it.
func (n *node) crashWithin(begin, end int64) {
	f, s := n.crashIn, n.s
	if f == nil {
		return
	}
	n.crashIn = nil
	if f.healed {
		return
	}
	life := n.life
	at := between(mix(s.seed, saltCrash, uint64(n.id), uint64(begin)), begin, end+1)
	s.at(at, func() {
		if n.life != life || f.healed {
			return
		}
		s.kill(n)
		f.hold(n)
		s.prove(f, fmt.Sprintf("n%d: killed %d µs into a disk operation of %d µs", n.id, (at-begin)/1000, (end-begin)/1000), 1)
	})
}

// release lets the nodes of a fault start again, unless another one keeps them down.
func (s *sim) release(f *fault) {
	for _, n := range f.struck {
		switch {
		case n.leaving: // it did not end in time, as in closing below
			s.kill(n)
		case n.stopping:
			s.endStop(n, "killed", -1)
		}
		n.held--
		s.revive(n)
	}
	s.overWhenUp(f)
}

// revive starts a node that is down and that nothing keeps down.
func (s *sim) revive(n *node) {
	if n.held > 0 || n.alive() {
		return
	}
	if err := n.start(); err != nil {
		s.crashed(n, err)
	}
}

// overWhenUp answers once the nodes of a fault are up again, or down for another reason. A node that does not come back is the run loop's
// to give up on.
func (s *sim) overWhenUp(f *fault) {
	s.when(func() bool {
		return !slices.ContainsFunc(f.struck, func(n *node) bool { return n.held == 0 && n.broken == 0 && (n.core == nil || n.doomed) })
	}, 0, func() {
		for _, n := range f.struck {
			if n.core != nil {
				f.see("after", fmt.Sprintf("n%d: up again, boot %d", n.id, n.boot), 1, s.now)
			} else {
				f.see("after", fmt.Sprintf("n%d: left to another fault", n.id), 1, s.now)
			}
		}
		s.over(f)
	})
}

func (s *sim) pauseAll(f *fault) {
	for _, n := range s.targets(f) {
		n.pause()
		f.struck = append(f.struck, n)
		s.prove(f, fmt.Sprintf("n%d: stopped", n.id), 1)
	}
}
