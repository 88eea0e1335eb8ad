package sim

import (
	"fmt"

	"soak/history"
	"soak/workloads/gen"
)

// crashClients kills clients: at once if there is anything that this ends, else a moment after what they begin next.
func (s *sim) crashClients(f *fault) {
	f.crash = true
	s.crashes++
	s.strikeClients(f)
}

func (s *sim) strikeClients(f *fault) {
	if !f.crash {
		return
	}
	cut := s.clients.Crash(s.now, f.spec.Client)
	s.pumpClients()
	if n := cut.Operations + cut.Conns; n > 0 {
		s.disarmCrash(f)
		s.prove(f, fmt.Sprintf("%s: crashed; %d operations cut off, %d connections closed", f.spec.Client, cut.Operations, cut.Conns), int64(n))
	}
}

func (s *sim) disarmCrash(f *fault) {
	if f.crash {
		f.crash = false
		s.crashes--
	}
}

// noteStart is called for each operation that clients begin while a crash waits for one: it comes at an instant of the operation.
func (s *sim) noteStart(op *history.Operation) {
	for _, f := range s.active {
		if f.crash && gen.Meant(f.spec.Client, op.Client) {
			within := 2 * (s.mix.LatencyMax + s.mix.TurnMax + s.mix.SyncMax)
			s.at(s.now+spread(mix(s.seed, saltClient, uint64(f.spec.ID), uint64(s.now)), 0, within), func() { s.strikeClients(f) })
		}
	}
}

// restartClients brings crashed clients back.
func (s *sim) restartClients(f *fault) {
	s.disarmCrash(f)
	if f.proven {
		s.clients.Restart(s.now, f.spec.Client)
		s.pumpClients()
		f.see("after", f.spec.Client+": runs again, and remembers nothing", 1, s.now)
	}
	s.over(f)
}
