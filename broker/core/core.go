package core

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// Node is one broker as a state machine. Its methods must be called by one caller at a time.
type Node struct {
	cfg Config
	now int64 // Unix ns of the last Step
	out Output
	seq uint64 // of the last event

	timers timers

	// raft and the replicated metadata
	rn          *raft.RawNode
	store       *window
	state       *meta.State
	applied     uint64 // index of the last applied entry
	appliedTerm uint64 // its term: equal to raft's term once the own-term entry of a leader is applied
	role        history.RoleChange
	wasLeader   bool // when raft's output was last handled; read by a planted bug alone
	attempt     uint64
	proposals   []*proposal   // waiting to be applied, ascending by attempt
	atIndex     []indexWaiter // waiting for applied to reach an index
	snaps       snapshots

	disk     map[uint64]func(*DiskDone) // completions due, by operation
	nextDisk uint64

	conns    map[ConnID]*conn
	sessions sessions
	elector  elector
	ctl      controller
	fwd      forwarder
	reads    reads
	startup  startup
	leave    handOver
	repl     replication

	bugHits map[bugs.Bug]uint64
}

// New returns a node that has recovered boot at time now (Unix ns). Nothing is sent before the first Ready.
func New(cfg Config, boot Boot, now int64) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, now: now,
		state:   meta.NewState(),
		disk:    map[uint64]func(*DiskDone){},
		conns:   map[ConnID]*conn{},
		bugHits: map[bugs.Bug]uint64{},
	}
	n.state.Bugs, n.state.Self = cfg.Bugs, cfg.ID
	n.emit(&history.Started{Version: cfg.Version, Nodes: slices.Clone(cfg.Peers), Bugs: cfg.Bugs.Names()})
	if err := n.initRaft(boot); err != nil {
		return nil, err
	}
	n.initSessions()
	n.initElector()
	n.initForwarder()
	n.initStartup(boot)
	n.initReplication(boot)
	if boot.Snapshot != nil {
		n.restore(boot.Snapshot, history.SnapshotRestored)
		if err := n.out.Fatal; err != nil {
			return nil, err
		}
	}
	n.noteRole()
	return n, nil
}

// Step takes one input at time now (Unix ns, never before the last one's). Timers that are due fire first. What
// follows from the input is collected by Ready.
func (n *Node) Step(now int64, in Input) {
	n.advance(now)
	switch in := in.(type) {
	case Tick:
	case *ClientRequest:
		n.onRequest(in)
	case ConnClosed:
		n.onConnClosed(in.Conn)
	case PeerInput:
		n.onPeer(in.Msg)
	case Shutdown:
		n.onShutdown()
	case *DiskDone:
		done := n.disk[in.ID]
		delete(n.disk, in.ID)
		if done == nil {
			n.fatal(fmt.Errorf("completion of disk operation %d, which is not under way", in.ID))
			return
		}
		done(in)
	default:
		n.fatal(fmt.Errorf("unknown input %T", in))
	}
	n.noteRole()
}

// Ready returns what must happen now and begins the next collection.
func (n *Node) Ready() Output {
	n.raftReady()
	n.flushReads()
	n.replicationReady()
	n.raftReady() // reads and ISR requests may have stepped raft
	out := n.out
	n.out = Output{}
	out.Stopped, out.Kept = n.leave.over, n.leave.kept
	out.Wake = n.timers.wake(n.now)
	if n.replicationDue() {
		out.Wake = 0 // raft's last round applied something that replication has to act on
	}
	return out
}

// advance moves the clock, notes a stall of the node itself, and fires due timers in order of time.
func (n *Node) advance(now int64) {
	if now < n.now {
		now = n.now // a wall clock that was set back does not move the node back
	}
	if stalled := now - n.now; stalled > int64(n.cfg.SessionTimeout)/2 {
		n.sessions.graceUntil = now + int64(n.cfg.SessionTimeout)
	}
	n.now = now
	n.timers.fire(now)
}

// after runs f once d from now, unless cancelled.
func (n *Node) after(d time.Duration, f func()) *timer { return n.timers.at(n.now+int64(d), f) }

func (n *Node) emit(b history.Body) {
	n.seq++
	n.out.Events = append(n.out.Events, history.Event{Node: n.cfg.ID, Boot: n.cfg.Boot, Seq: n.seq, Time: n.now, Body: b})
}

// fatal asks the caller to stop the node: the first cause is kept.
func (n *Node) fatal(err error) {
	if n.out.Fatal == nil {
		n.out.Fatal = err
	}
}

// submit starts a disk operation; done is called with its completion. A failed write or sync is fatal before done sees it.
func (n *Node) submit(op DiskOp, done func(*DiskDone)) {
	n.nextDisk++
	op.ID = n.nextDisk
	write := op.Kind != OpLogRead
	n.disk[op.ID] = func(d *DiskDone) {
		for _, b := range []bugs.Bug{bugs.AckBeforeFsync, bugs.RetentionByFirstRecord} {
			if d.Bugs.Has(b) {
				n.bugHit(b)
			}
		}
		if d.Err != nil && write {
			n.fatal(fmt.Errorf("disk: %w", d.Err))
			return
		}
		done(d)
	}
	n.out.Disk = append(n.out.Disk, op)
}

// send hands a message to another node.
func (n *Node) send(to int32, m *PeerMessage) {
	m.From, m.To, m.FromBoot = n.cfg.ID, to, n.cfg.Boot
	n.out.Messages = append(n.out.Messages, m)
}

func (n *Node) onPeer(m *PeerMessage) {
	if m.To != n.cfg.ID || !slices.Contains(n.cfg.Peers, m.From) || m.From == n.cfg.ID {
		return
	}
	switch {
	case m.Raft != nil:
		n.onRaft(m.From, m.Raft)
	case m.Heartbeat != nil:
		n.onHeartbeat(m.From, m.FromBoot)
	case m.Forward != nil:
		n.onForward(m.From, m.FromBoot, m.Forward)
	case m.Answer != nil:
		n.onForwardAnswer(m.From, m.Answer)
	case m.Fetch != nil:
		n.onPeerFetch(m.From, m.FromBoot, m.Fetch)
	case m.FetchResp != nil:
		n.onPeerFetchResp(m.From, m.FromBoot, m.FetchResp)
	}
}

// bugHit counts a decision that a planted bug changed, and tells of it at the first and at powers of two.
func (n *Node) bugHit(b bugs.Bug) {
	n.bugHits[b]++
	if c := n.bugHits[b]; c&(c-1) == 0 {
		n.emit(&history.Bug{Name: b.Name(), Decisions: c})
	}
}

// Stats are the core's gauges.
type Stats struct {
	Node       int32  `json:"node"`
	Boot       uint64 `json:"boot"`
	Role       string `json:"role"`
	Term       uint64 `json:"term"`
	Leader     int32  `json:"leader"` // 0: none known
	Applied    uint64 `json:"applied"`
	Snapshot   uint64 `json:"snapshot"` // raft index of the last snapshot, 0 if there is none
	RaftLog    int    `json:"raft_log"` // entries in memory and on disk
	Ready      bool   `json:"ready"`    // registered in this boot and a leader is known
	Topics     int    `json:"topics"`
	Partitions int    `json:"partitions"`

	Proposals int `json:"proposals"` // waiting to be applied
	// RefusedProposals counts raft proposals that came from the network: only the controller proposes.
	RefusedProposals uint64 `json:"refused_proposals"`
	Forwards         int    `json:"forwards"`     // waiting for the controller's answer
	Reads            int    `json:"reads"`        // waiting for ReadIndex
	Waiters          int    `json:"waiters"`      // produce requests waiting for the high watermark
	Parked           int    `json:"parked"`       // fetches waiting for data
	Sessions         int    `json:"sessions"`     // live
	Connections      int    `json:"connections"`  // with requests under way
	DiskOps          int    `json:"disk_ops"`     // under way
	QueuedBytes      int64  `json:"queued_bytes"` // appended and not yet on disk
}

// Waiting is how many requests, of clients and of the node itself, wait for something. Each has a time-out: what stays for longer has been forgotten.
func (s *Stats) Waiting() int {
	return s.Proposals + s.Forwards + s.Reads + s.Waiters + s.Parked + s.DiskOps
}

// Stats returns the gauges.
func (n *Node) Stats() Stats {
	st := n.rn.BasicStatus()
	s := Stats{
		Node: n.cfg.ID, Boot: n.cfg.Boot, Role: string(roleOf(st.RaftState)), Term: st.GetTerm(), Leader: int32(st.Lead),
		RefusedProposals: n.ctl.refusedProps,
		Applied:          n.applied, Snapshot: n.store.snapshotIndex(), RaftLog: len(n.store.entries), Ready: n.startup.registered && st.Lead != 0, Topics: len(n.state.Topics),
		Proposals: len(n.proposals), Forwards: len(n.fwd.pending), Reads: n.reads.waiting(), Sessions: n.liveCount(),
		Connections: len(n.conns), DiskOps: len(n.disk),
	}
	n.replicationStats(&s)
	return s
}
