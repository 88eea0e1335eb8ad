package sim

import (
	"fmt"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/chaos/scenario"
	"soak/chaos/sim/simclient"
	"soak/history"
	"soak/internal/vfs"
)

// node is one broker: its core while it is up, its disk always.
type node struct {
	s  *sim
	id int32

	life   int // counts starts and ends: what was set in motion in an earlier life is void
	boot   uint64
	core   *core.Node // nil while it is down
	random stream
	clock  clock

	fs   *vfs.Sim
	dir  *disk.Dir
	raft diskQueue
	logs diskQueue

	paused  int // faults that hold it
	inbox   []core.Input
	due     bool  // a turn is set for what is in the inbox
	busy    int64 // until then it works on its last turn
	wake    int64 // the core wants to be turned then
	wakeSet int64 // the earliest turn that is set for wakes, 0 none

	starting bool // its disk is open, its core is not there yet

	leaving  bool   // it was asked to end, and hands over what it leads
	left     bool   // it has done that
	held     int    // faults that keep it down, and its own end if it is being stopped
	stopping bool   // it has been told to stop, and is not done yet
	broken   int    // faults of its disk: that it stops or cannot start is right
	doomed   bool   // it has met such a fault in this life, and is about to stop
	crashIn  *fault // kills it in its next disk operation
	slowBy   int64  // its processor takes so many times as long
	slowDisk int64  // and its syncs
	ppm      int64  // its clock's own rate
	onTurn   func(took int64)
}

// alive reports whether there is a process: it runs, or is starting.
func (n *node) alive() bool { return n.core != nil || n.starting }

// start opens the disk and brings the node up. An error means that the node cannot start: what its disk holds is refused.
func (n *node) start() error {
	s := n.s
	if n.stopping {
		s.endStop(n, "killed", -1)
	}
	n.life++
	begin := s.now
	n.fs.Begin(begin)
	dir, boot, number, err := disk.Open(n.fs, "/data", disk.Options{Node: n.id, SegmentBytes: s.mix.SegmentBytes, Unsynced: s.o.Scenario.Flush == scenario.FlushNone, Bugs: s.o.Bugs})
	ready := n.fs.End()
	s.noteDisk(n)
	if err != nil {
		if bug, ok := disk.Planted(err); ok { // there is no core to tell
			s.observation(&history.Bug{Name: bug.Name(), Decisions: 1})
		}
		return fmt.Errorf("n%d cannot open its disk: %w", n.id, err)
	}
	n.dir, n.boot = dir, number
	n.raft, n.logs = diskQueue{n: n}, diskQueue{n: n}
	n.random = stream{seed: s.seed, node: uint64(n.id), boot: number}
	life := n.life
	n.starting = true
	s.at(max(ready, begin+int64(s.mix.StartTime)), func() {
		if n.life != life {
			return // killed while it was starting
		}
		n.starting = false
		n.up(boot)
	})
	return nil
}

func (n *node) up(boot core.Boot) {
	s := n.s
	cfg := s.config(n)
	s.rng.current = &n.random
	c, err := core.New(cfg, boot, n.clock.at(s.now))
	s.rng.current = nil
	if err != nil {
		s.crashed(n, fmt.Errorf("n%d cannot start: %w", n.id, err))
		return
	}
	n.core, n.inbox, n.due, n.busy, n.wake, n.wakeSet = c, nil, false, s.now, 0, 0
	n.turnAt(s.now)
}

// down ends the node's life at once, as SIGKILL does.
func (n *node) down() {
	n.life++
	n.starting, n.leaving, n.left, n.doomed = false, false, false, false
	n.core, n.dir, n.inbox, n.due, n.wake, n.wakeSet = nil, nil, nil, false, 0, 0
	n.s.clientsLose(n)
}

// receive puts an input before the node. Whatever waits is worked on in one turn, time first.
func (n *node) receive(in core.Input) {
	if n.core == nil {
		return
	}
	n.inbox = append(n.inbox, in)
	if !n.due && n.paused == 0 {
		n.turnAt(max(n.s.now, n.busy))
	}
}

func (n *node) turnAt(when int64) {
	n.due = true
	n.s.turn(when, n)
}

// turnDue is a turn, or the wake-up that the core asked for.
func (n *node) turnDue() {
	s := n.s
	if n.core == nil || n.paused > 0 {
		n.due, n.wakeSet = false, 0 // a resume sets a turn
		return
	}
	if s.now >= n.wakeSet {
		n.wakeSet = 0
	}
	if s.now < n.busy {
		n.turnAt(n.busy)
		return
	}
	n.due = false
	if len(n.inbox) == 0 && n.wake > s.now {
		n.setWake() // what set this turn was worked on in an earlier one
		return
	}
	s.rng.current = &n.random
	local := n.clock.at(s.now)
	n.core.Step(local, core.Tick{})
	inbox := n.inbox
	n.inbox, s.spareInbox = s.spareInbox, nil
	for i, in := range inbox {
		n.core.Step(local, in)
		inbox[i] = nil
	}
	s.spareInbox = inbox[:0] // two slices take turns, so that a turn needs no new one
	out := n.core.Ready()
	s.rng.current = nil
	n.carryOut(&out)
}

// setWake has the node turned when its core wants to be, unless a turn is set for before that.
func (n *node) setWake() {
	if n.wakeSet == 0 || n.wake < n.wakeSet {
		n.wakeSet = n.wake
		n.s.turn(n.wake, n)
	}
}

// carryOut does what a Ready says: events first, then the disk, then messages and answers.
func (n *node) carryOut(out *core.Output) {
	s := n.s
	took := s.turnTime(n)
	n.busy = s.now + took
	if n.onTurn != nil {
		n.onTurn(took)
		n.onTurn = nil
	}
	for i := range out.Events {
		s.event(out.Events[i])
	}
	if out.Fatal != nil {
		s.crashed(n, out.Fatal)
		return
	}
	for i := range out.Disk {
		n.submit(&out.Disk[i])
	}
	for _, m := range out.Messages {
		s.sendPeer(m)
	}
	for i := range out.Responses {
		s.answer(n, &out.Responses[i])
	}
	for _, id := range out.Close {
		s.resetConn(simclient.Conn(id))
	}
	n.left = n.left || out.Stopped
	n.wake = s.now + max(n.clock.span(int64(out.Wake)), 1000)
	n.setWake()
}

// pause holds the node as SIGSTOP does: nothing of it runs, and what reaches it waits.
func (n *node) pause() { n.paused++ }

// resume lets it go on: it finds everything that came meanwhile at once.
func (n *node) resume() {
	n.paused--
	if n.paused > 0 || n.core == nil {
		return
	}
	n.raft.kick()
	n.logs.kick()
	n.turnAt(n.s.now)
}

// exit tells, as the runner of a real cluster does, that the node's process has ended.
func (s *sim) exit(n *node, signal string, code int, asked bool) {
	s.observation(&history.Exit{Of: n.id, Code: code, Signal: signal, Asked: asked})
}

// crashed ends a node that stopped of itself: a failed disk, a broken invariant, a disk that it refuses.
func (s *sim) crashed(n *node, why error) {
	asked := n.broken > 0 || n.doomed
	n.down()
	n.fs.Crash(s.now)
	s.exit(n, "", 1, asked)
	switch {
	case !asked:
		s.observation(&history.LogLine{Of: n.id, What: "fatal", Line: why.Error()})
	case n.broken == 0: // its disk was mended before it knew
		s.at(s.now+healPoll, func() { s.revive(n) })
	}
}

// wakeUp has the node look at its clock anew.
func (n *node) wakeUp() {
	if n.core != nil && n.paused == 0 {
		n.turnAt(n.s.now)
	}
}
