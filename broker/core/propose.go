package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// proposal is a command on its way through raft.
type proposal struct {
	attempt uint64
	term    uint64
	done    func(applied)
}

// applied is how a proposal ended.
type applied struct {
	lost    bool // it is not in the log and never will be
	unknown bool // a snapshot has covered what became of it, or it may come yet
	res     meta.Result
	index   uint64
}

// NotLeaderError is the refusal of a proposal by a node that is not the raft leader.
type NotLeaderError struct {
	ID     int32
	State  string // raft's name of the node's state
	Leader int32  // 0 if none is known
}

func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("Cannot propose: this node (id=%d) is not the leader (state=%s, leader=%d)", e.ID, e.State, e.Leader)
}

// errDropped: raft took the proposal to be hopeless right now (no leader, too much uncommitted).
var errDropped = errors.New("proposal dropped by raft")

// propose hands a command to raft if this node is its leader; done is called when the command was applied here, or is
// known never to be. Every attempt is an event, refused or not. On an error done is not called.
func (n *Node) propose(cmd *meta.Command, done func(applied)) error {
	n.noteRole()
	st := n.rn.BasicStatus()
	n.attempt++
	cmd.Proposer, cmd.ProposerTerm, cmd.ProposerBoot, cmd.Attempt = n.cfg.ID, st.GetTerm(), n.cfg.Boot, n.attempt
	ev := &history.Propose{
		Command: cmd.Kind(), Key: cmd.Key(), Term: st.GetTerm(), Role: roleOf(st.RaftState), Leader: int32(st.Lead),
		Attempt: cmd.Attempt, Outcome: history.ProposeAccepted, Op: cmd.Op, Via: cmd.Via, Cause: cmd.Cause,
	}
	leads := st.RaftState == raft.StateLeader
	if !leads && n.cfg.Bugs.Has(bugs.ForwardHidesError) {
		n.bugHit(bugs.ForwardHidesError)
		ev.Outcome = history.ProposeForwards
	} else if !leads {
		err := &NotLeaderError{ID: n.cfg.ID, State: stateName(st.RaftState), Leader: int32(st.Lead)}
		ev.Outcome, ev.Error = history.ProposeRefused, err.Error()
		n.emit(ev)
		return err
	}
	if err := n.rn.Propose(cmd.Encode()); err != nil {
		ev.Outcome, ev.Error = history.ProposeDropped, err.Error()
		n.emit(ev)
		return fmt.Errorf("%w: %w", errDropped, err)
	}
	n.emit(ev)
	n.proposals = append(n.proposals, &proposal{attempt: cmd.Attempt, term: st.GetTerm(), done: done})
	return nil
}

// stateName is raft's state without its prefix: "Follower", "Leader", ….
func stateName(s raft.StateType) string {
	const prefix = "State"
	if name := s.String(); len(name) > len(prefix) && name[:len(prefix)] == prefix {
		return name[len(prefix):]
	}
	return s.String()
}

// proposalApplied completes this node's own proposal.
func (n *Node) proposalApplied(cmd *meta.Command, res meta.Result, index uint64) {
	if cmd.Proposer != n.cfg.ID || cmd.ProposerBoot != n.cfg.Boot {
		return
	}
	i, ok := slices.BinarySearchFunc(n.proposals, cmd.Attempt, func(p *proposal, a uint64) int { return cmp.Compare(p.attempt, a) })
	if ok {
		p := n.proposals[i]
		n.proposals = slices.Delete(n.proposals, i, i+1)
		p.done(applied{res: res, index: index})
	}
}

// forgetProposals completes all proposals that wait, when a snapshot has taken the place of entries among which theirs may be.
func (n *Node) forgetProposals() {
	waiting := n.proposals
	n.proposals = nil
	for _, p := range waiting {
		p.done(applied{unknown: true})
	}
}

// dropLostProposals completes the proposals of earlier terms once an entry of a later one is applied: terms only rise along
// the log, so they are not in it and never will be.
func (n *Node) dropLostProposals(term uint64) {
	if len(n.proposals) == 0 || n.cfg.Bugs.Has(bugs.ForwardHidesError) {
		return // forwarded, a proposal can appear in a later term than it was made in
	}
	if n.cfg.Bugs.Has(bugs.WaiterLeak) && n.proposals[0].term < term {
		n.bugHit(bugs.WaiterLeak)
		return
	}
	var lost []*proposal
	n.proposals = slices.DeleteFunc(n.proposals, func(p *proposal) bool {
		if p.term < term {
			lost = append(lost, p)
			return true
		}
		return false
	})
	for _, p := range lost {
		p.done(applied{lost: true})
	}
}
