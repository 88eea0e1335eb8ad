package sim

import (
	"errors"
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
	answered bool // the run loop was told that it is in effect, or that it is not

	struck    []*node // the nodes it struck
	cut       []*link // the directions that it cuts
	away      bool    // flapping: the cut is open now
	disks     []diskFault
	rot       []rotten
	keepsDown bool // nodes that are down already are held down as well
	crash     bool // of clients: it waits for something to cut off
	rolled    bool // a rolling restart has come to its end
	kills     int  // of a crash loop
}

// Capabilities says which kinds of fault the simulator can do: all that scenarios know.
func Capabilities() chaos.Capabilities {
	can := chaos.Capabilities{}
	for _, kind := range swarmKinds {
		can[kind] = ""
	}
	return can
}

// proofLimit is how long a fault may go without anything that meets it. Then it is given up, as on real clusters.
const proofLimit = int64(5_000_000_000)

var errUnmet = errors.New("nothing met it within 5s")

// inject brings a fault about. The answer comes, as an input to the run loop, when its effect was seen.
func (s *sim) inject(spec chaos.Spec) {
	f := &fault{spec: spec, keepsDown: s.loop.Status().Phase == runloop.PhaseLiveness}
	s.faults[spec.ID] = f
	s.active = append(s.active, f)
	switch spec.Kind {
	case chaos.Kill, chaos.RestartAll:
		s.killAll(f)
	case chaos.Stop:
		s.stopAll(f)
	case chaos.Rolling:
		s.rollFrom(f, 0)
	case chaos.CrashLoop:
		f.struck = s.targets(f)
		s.crashEach(f)
	case chaos.PowerLoss:
		s.losePower(f)
	case chaos.DiskCrash:
		s.armCrash(f)
	case chaos.Pause:
		s.pauseAll(f)
	case chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping, chaos.Delay, chaos.Loss:
		s.partition(f)
	case chaos.Reset:
		s.resetEach(f)
	case chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError:
		s.breakDisks(f)
	case chaos.BitRot:
		s.letRot(f)
	case chaos.ClockJump, chaos.ClockRate:
		s.changeClocks(f)
	case chaos.SlowNode:
		s.slowDown(f)
	case chaos.ClientCrash:
		s.crashClients(f)
	default:
		s.tellInjected(f, fmt.Errorf("the simulator has no fault %q", spec.Kind))
		return
	}
	if !f.proven {
		s.at(s.now+proofLimit, func() {
			if !f.proven && !f.healed {
				s.tellInjected(f, errUnmet)
			}
		})
	}
}

// targets are the nodes that a fault is asked for.
func (s *sim) targets(f *fault) []*node {
	var ns []*node
	for _, id := range f.spec.Nodes {
		ns = append(ns, s.nodes[id])
	}
	return ns
}

func (f *fault) see(phase, what string, count, now int64) {
	f.evidence = append(f.evidence, history.Evidence{Time: now, Phase: phase, What: what, Count: count})
}

// prove takes the first thing that met a fault, and tells the run loop. It may be called in the middle of anything.
func (s *sim) prove(f *fault, what string, count int64) {
	f.see("during", what, count, s.now)
	if f.proven {
		return
	}
	f.proven = true
	s.at(s.now, func() {
		if !f.healed {
			s.tellInjected(f, nil)
		}
	})
}

// tellInjected answers the run loop with what has been seen so far.
func (s *sim) tellInjected(f *fault, err error) {
	if f.answered {
		return
	}
	f.answered = true
	ev := f.evidence
	f.evidence = nil
	s.step(runloop.FaultInjected{ID: f.spec.ID, Evidence: ev, Err: err})
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
	case chaos.Kill, chaos.Stop, chaos.RestartAll, chaos.PowerLoss, chaos.DiskCrash:
		s.release(f)
	case chaos.Rolling:
		s.overWhenRolled(f)
	case chaos.CrashLoop:
		f.see("after", fmt.Sprintf("%d kills in all", f.kills), int64(f.kills), s.now)
		s.overWhenUp(f)
	case chaos.Pause:
		for _, n := range f.struck {
			n.resume()
			f.see("after", fmt.Sprintf("n%d: running", n.id), 1, s.now)
		}
		s.over(f)
	case chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping, chaos.Delay, chaos.Loss:
		s.mendLinks(f)
	case chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError:
		s.mendDisks(f)
	case chaos.BitRot:
		s.restoreFiles(f)
	case chaos.ClockRate:
		for _, n := range f.struck {
			n.clock.rate(s.now, n.ppm)
			n.wakeUp()
			f.see("after", fmt.Sprintf("n%d: %d ppm", n.id, n.ppm), n.ppm, s.now)
		}
		s.over(f)
	case chaos.SlowNode:
		for _, n := range f.struck {
			n.slowBy /= f.spec.Factor
			f.see("after", fmt.Sprintf("n%d: at its own speed", n.id), 1, s.now)
		}
		s.over(f)
	case chaos.ClientCrash:
		s.restartClients(f)
	default: // a jump of the clock stays, connections are made anew
		s.over(f)
	}
}

func (s *sim) over(f *fault) {
	s.step(runloop.FaultHealed{ID: f.spec.ID, Evidence: f.evidence})
}

// healPoll is how often the end of a fault is looked for.
const healPoll = int64(5_000_000)

// when does something as soon as a condition holds, or limit has passed (0: the run loop gives up by itself).
func (s *sim) when(holds func() bool, limit int64, then func()) {
	if holds() || limit > 0 && s.now >= limit {
		then()
		return
	}
	s.at(s.now+healPoll, func() { s.when(holds, limit, then) })
}

// changeClocks displaces clocks, or changes their rates.
func (s *sim) changeClocks(f *fault) {
	for _, n := range s.targets(f) {
		before := n.clock.at(s.now)
		if f.spec.Kind == chaos.ClockJump {
			n.clock.jump(s.now, int64(f.spec.By))
			s.prove(f, fmt.Sprintf("n%d: its clock jumped by %s", n.id, f.spec.By), n.clock.at(s.now)-before)
		} else {
			n.clock.rate(s.now, n.ppm+f.spec.PPM)
			s.prove(f, fmt.Sprintf("n%d: its clock runs at %+d ppm", n.id, n.ppm+f.spec.PPM), f.spec.PPM)
		}
		f.struck = append(f.struck, n)
		n.wakeUp()
	}
}

// slowDown makes processors slow. It is proven by the next turn.
func (s *sim) slowDown(f *fault) {
	for _, n := range s.targets(f) {
		n.slowBy *= f.spec.Factor
		f.struck = append(f.struck, n)
		n.onTurn = func(took int64) {
			if !f.healed {
				s.prove(f, fmt.Sprintf("n%d: a turn took %d µs", n.id, took/1000), took)
			}
		}
	}
}
