package core

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// maxTicksOwed bounds how many raft ticks a stalled node catches up with: two election timeouts are enough for a
// leader that lost its quorum to step down (CheckQuorum) before it acts on anything.
func (n *Node) maxTicksOwed() int { return 2 * n.cfg.ElectionTicks }

func (n *Node) initRaft(boot Boot) error {
	w, err := newWindow(n.cfg.Peers, boot)
	if err != nil {
		return err
	}
	n.store = w
	n.applied = w.snapshotIndex()
	n.rn, err = raft.NewRawNode(&raft.Config{
		ID:              uint64(n.cfg.ID),
		ElectionTick:    n.cfg.ElectionTicks,
		HeartbeatTick:   n.cfg.HeartbeatTicks,
		Storage:         w,
		Applied:         n.applied,
		MaxSizePerMsg:   1 << 20,
		MaxInflightMsgs: 256,
		// A leader cut off from its quorum must not pile up proposals without bound.
		MaxUncommittedEntriesSize: 16 << 20,
		CheckQuorum:               true,
		PreVote:                   true,
		AsyncStorageWrites:        true,
		DisableProposalForwarding: !n.cfg.Bugs.Has(bugs.ForwardHidesError),
		Logger:                    raftLogger{},
	})
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	n.tickAt(n.now + int64(n.cfg.Tick) + n.tickPhase())
	return nil
}

// tickPhase sets the ticks of the nodes apart by fractions of a tick. Raft draws its election time-outs in whole ticks; without this, nodes
// that were started together would time out in the same instant one time in ten, and split the vote.
func (n *Node) tickPhase() int64 {
	i := slices.Index(n.cfg.Peers, n.cfg.ID)
	return int64(n.cfg.Tick) * int64(i) / int64(len(n.cfg.Peers))
}

// tickAt sets raft's next tick. A node that was stalled catches up, with a bound; ticks before that are forgotten.
func (n *Node) tickAt(at int64) {
	n.timers.at(at, func() {
		n.rn.Tick()
		for owed := 1; owed < n.maxTicksOwed() && at+int64(n.cfg.Tick) <= n.now; owed++ {
			at += int64(n.cfg.Tick)
			n.rn.Tick()
		}
		if at+int64(n.cfg.Tick) <= n.now {
			at = n.now
		}
		n.noteRole()
		n.tickAt(at + int64(n.cfg.Tick))
	})
}

// AmILeader reports whether this node is the raft leader, and so the controller. It says nothing of whether
// the group has a leader: that is LeaderStatus, and no caller derives the one from the other.
func (n *Node) AmILeader() bool {
	now := n.rn.BasicStatus().RaftState == raft.StateLeader
	if n.cfg.Bugs.Has(bugs.CachedIsLeader) {
		if n.wasLeader != now {
			n.bugHit(bugs.CachedIsLeader)
		}
		return n.wasLeader
	}
	return now
}

// LeaderStatus reports which node is the raft leader as far as this node knows, whether one is known, and this node's
// own role. On a follower known is true as soon as some leader is known; it does not mean "I am the leader".
func (n *Node) LeaderStatus() (leader int32, known bool, role history.Role) {
	st := n.rn.BasicStatus()
	return int32(st.Lead), st.Lead != raft.None, roleOf(st.RaftState)
}

func roleOf(s raft.StateType) history.Role {
	switch s {
	case raft.StateLeader:
		return history.RoleLeader
	case raft.StateCandidate:
		return history.RoleCandidate
	case raft.StatePreCandidate:
		return history.RolePreCandidate
	}
	return history.RoleFollower
}

// noteRole tells of a change of term, role or known leader, and lets the parts that depend on it know. It is called after
// everything that may have stepped raft.
func (n *Node) noteRole() {
	st := n.rn.BasicStatus()
	r := history.RoleChange{Term: st.GetTerm(), Role: roleOf(st.RaftState), Leader: int32(st.Lead)}
	if r == n.role {
		return
	}
	old := n.role
	n.role = r
	change := r // a copy, made only here: r itself would be on the heap in every call
	n.emit(&change)
	if old.Role == history.RoleLeader && (r.Role != history.RoleLeader || r.Term != old.Term) {
		n.controllerLost()
		n.electorLost()
	}
	if r.Leader != 0 && (old.Leader != r.Leader || old.Term != r.Term) {
		n.leaderKnown()
	}
}

// ownTermApplied reports whether this node is the raft leader and has applied the first entry of its own term: only then does its state
// hold everything that was committed before it, and only then may the controller act.
func (n *Node) ownTermApplied() bool {
	return n.role.Role == history.RoleLeader && n.appliedTerm == n.role.Term
}

// onRaft takes a raft message from another node.
func (n *Node) onRaft(from int32, m *pb.Message) {
	if m.GetFrom() != uint64(from) || m.GetTo() != uint64(n.cfg.ID) || raft.IsLocalMsg(m.GetType()) {
		return
	}
	if m.GetType() == pb.MsgProp && !n.cfg.Bugs.Has(bugs.ForwardHidesError) {
		// Only the controller proposes; a proposal that comes from the network is refused.
		n.ctl.refusedProps++
		return
	}
	if m.GetType() == pb.MsgSnap && !n.mayInstall(m.GetSnapshot()) {
		return // damaged, or another cluster's: the sender asks again
	}
	// An error here is a message raft does not want (unknown peer, dropped proposal): nothing to do, the sender asks again.
	_ = n.rn.Step(m)
	n.noteRole()
}

// raftReady carries out what raft has ready, until it has no more.
func (n *Node) raftReady() {
	for n.rn.HasReady() {
		rd := n.rn.Ready()
		for _, rs := range rd.ReadStates {
			n.readConfirmed(rs)
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				n.raftSave(m, rd.MustSync)
			case raft.LocalApplyThread:
				n.applyEntries(m.GetEntries())
				n.stepAll(m.GetResponses())
				n.snapshotIfDue()
			default:
				if m.GetType() == pb.MsgSnap {
					n.snapshotSent(m)
				}
				n.send(int32(m.GetTo()), &PeerMessage{Raft: m})
			}
		}
		n.noteRole()
	}
	n.wasLeader = n.role.Role == history.RoleLeader
}

// raftSave hands a MsgStorageAppend to the disk. Its entries enter the window when the disk is done, before its
// responses are stepped.
func (n *Node) raftSave(m *pb.Message, mustSync bool) {
	op := DiskOp{Kind: OpRaftSave, Entries: m.GetEntries(), Snapshot: m.GetSnapshot()}
	if m.Term != nil || m.Vote != nil || m.Commit != nil {
		op.HardState = &pb.HardState{Term: proto.Uint64(m.GetTerm()), Vote: proto.Uint64(m.GetVote()), Commit: proto.Uint64(m.GetCommit())}
	}
	responses := m.GetResponses()
	// Without responses nobody is told, so durability is not asked for (raft's rule for MsgStorageAppend).
	op.Sync = mustSync || len(responses) > 0
	if op.Snapshot != nil {
		n.snaps.installing++
	}
	n.submit(op, func(*DiskDone) {
		if op.Snapshot != nil {
			n.snaps.installing--
			n.store.install(op.Snapshot)
			n.restore(op.Snapshot, history.SnapshotInstalled)
		}
		n.store.append(op.Entries)
		if op.HardState != nil {
			n.store.hardState = op.HardState
		}
		n.stepAll(responses)
	})
}

// stepAll delivers the responses that were waiting for the local storage: to raft itself or to other nodes.
func (n *Node) stepAll(ms []*pb.Message) {
	for _, m := range ms {
		if m.GetTo() == uint64(n.cfg.ID) {
			if err := n.rn.Step(m); err != nil && err != raft.ErrProposalDropped {
				n.fatal(fmt.Errorf("raft refuses its own storage's answer: %w", err))
			}
		} else {
			n.send(int32(m.GetTo()), &PeerMessage{Raft: m})
		}
	}
	n.noteRole()
}

// stateHashEvery is how many entries lie between two hashes of the whole state.
const stateHashEvery = 100

func (n *Node) applyEntries(entries []*pb.Entry) {
	for _, e := range entries {
		if e.GetIndex() != n.applied+1 {
			n.fatal(fmt.Errorf("raft gave entry %d to apply after %d", e.GetIndex(), n.applied))
			return
		}
		n.applied, n.appliedTerm = e.GetIndex(), e.GetTerm()
		if e.GetType() == pb.EntryNormal && len(e.GetData()) > 0 {
			n.applyCommand(e)
		}
		n.dropLostProposals(e.GetTerm())
		if n.applied%stateHashEvery == 0 {
			n.emit(&history.StateHash{Index: n.applied, Hash: n.state.Hash()})
		}
		n.releaseAtIndex()
	}
	if n.ownTermApplied() {
		n.controllerReady()
	}
	if len(entries) > 0 && n.appliedTerm == n.role.Term && n.mayElect() {
		n.electorReady()
		n.electorFollowUp()
	}
}

func (n *Node) applyCommand(e *pb.Entry) {
	cmd, err := meta.Decode(e.GetData())
	if err != nil {
		n.fatal(fmt.Errorf("entry %d (term %d): %w", e.GetIndex(), e.GetTerm(), err))
		return
	}
	res := n.state.Apply(e.GetIndex(), cmd)
	if res.BugReached {
		n.bugHit(res.Bug)
	}
	ev := &history.Apply{
		Index: e.GetIndex(), Term: e.GetTerm(), Command: cmd.Kind(), Key: cmd.Key(),
		Proposer: cmd.Proposer, ProposerTerm: cmd.ProposerTerm, ProposerBoot: cmd.ProposerBoot, Attempt: cmd.Attempt,
		ExpectedEpoch: cmd.ExpectedEpoch(), Outcome: history.Applied, Changes: res.Changes, Hash: res.Chain,
		Via: cmd.Via, Cause: cmd.Cause, Op: cmd.Op,
	}
	if res.Refused != "" {
		ev.Outcome, ev.Error = history.Refused, string(res.Refused)
	}
	n.emit(ev)
	if res.Deleted != nil {
		n.topicDeleted(res.Deleted, e.GetIndex())
	}
	for _, t := range res.Touched {
		n.partitionChanged(t.Topic, t.Partition, e.GetIndex())
	}
	if cmd.Register != nil && res.Refused == "" {
		// After the partitions that it changed: a broker's replicas go to work in the epochs of its new boot.
		n.brokerRegistered(cmd.Register.Broker.ID, cmd.Register.Broker.Boot)
		n.registrationApplied(cmd.Register.Broker)
	}
	n.electorApplied(cmd)
	n.proposalApplied(cmd, res, e.GetIndex())
}

// indexWaiter waits until this node has applied an index.
type indexWaiter struct {
	index uint64
	f     func()
}

// whenApplied calls f as soon as index is applied here, at once if it is.
func (n *Node) whenApplied(index uint64, f func()) {
	if n.applied >= index {
		f()
		return
	}
	n.atIndex = append(n.atIndex, indexWaiter{index, f})
}

func (n *Node) releaseAtIndex() {
	if len(n.atIndex) == 0 {
		return
	}
	var ready []func()
	n.atIndex = slices.DeleteFunc(n.atIndex, func(w indexWaiter) bool {
		if w.index <= n.applied {
			ready = append(ready, w.f)
			return true
		}
		return false
	})
	for _, f := range ready {
		f()
	}
}

// raftLogger passes raft's panics on and is silent otherwise: what raft does is told by events.
type raftLogger struct{}

func (raftLogger) Debug(...any)            {}
func (raftLogger) Debugf(string, ...any)   {}
func (raftLogger) Error(...any)            {}
func (raftLogger) Errorf(string, ...any)   {}
func (raftLogger) Info(...any)             {}
func (raftLogger) Infof(string, ...any)    {}
func (raftLogger) Warning(...any)          {}
func (raftLogger) Warningf(string, ...any) {}
func (raftLogger) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (raftLogger) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (raftLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (raftLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
