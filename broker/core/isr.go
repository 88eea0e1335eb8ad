package core

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/history"
)

// alterMark is the one AlterPartition that a leader has under way for a partition. It holds for one partition epoch.
type alterMark struct {
	under     bool
	unsure    bool  // an earlier one of this partition epoch got no answer: it may take effect yet
	notBefore int64 // the last was refused: not asked again before
}

// alterRetry is how long a leader waits after an AlterPartition that was refused or not answered.
const alterRetry = 200 * time.Millisecond

// noteISR has the partition's ISR looked at in the next Ready.
func (n *Node) noteISR(r *replica) {
	if !r.isISRDue {
		r.isISRDue = true
		n.repl.isrDue = append(n.repl.isrDue, r)
	}
}

// wantISR is the ISR as it should be: this node, the members that do not lag, and those that have caught up.
func (n *Node) wantISR(r *replica) []int32 {
	want := []int32{n.cfg.ID}
	for i := range r.followers {
		f := &r.followers[i]
		member := slices.Contains(r.state.ISR, f.id)
		if member && (n.now < n.repl.graceUntil || !r.lags(f, n.now, n.cfg.ReplicaLag)) ||
			!member && r.mayJoin(f, n.now, n.cfg.ReplicaLag) && n.replicaLive(f.id) && f.boot == n.bootOf(f.id) {
			want = append(want, f.id)
		}
	}
	slices.Sort(want)
	return want
}

// lags reports whether a member has not reached our log end for longer than lag. One that has everything does not lag, however
// long it has been silent: its session is the controller's business.
func (r *replica) lags(f *follower, now int64, lag time.Duration) bool {
	return f.end != r.end && now-f.caughtUp > int64(lag)
}

// mayJoin reports whether a follower has what every member must have: all below the high watermark, and this epoch's beginning (without
// the latter it could hold, above the high watermark, another leader's batches where acknowledged ones belong).
func (r *replica) mayJoin(f *follower, now int64, lag time.Duration) bool {
	return f.fetched != 0 && now-f.fetched <= int64(lag) && f.end >= r.hw && f.end >= r.epochStart
}

// alterISRs asks the controller, in one request, for the ISRs that should change.
func (n *Node) alterISRs() {
	if len(n.repl.isrDue) == 0 {
		return
	}
	due := n.repl.isrDue
	n.repl.isrDue = nil
	slices.SortFunc(due, func(a, b *replica) int { return comparePartition(a.id, b.id) })
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.BrokerEpoch = n.cfg.ID, int64(n.cfg.Boot)
	var asked []askedISR
	for _, r := range due {
		r.isISRDue = false
		if r.deleted || r.role != replicaLeader || r.alter.under || n.now < r.alter.notBefore {
			continue
		}
		want := n.wantISR(r)
		if slices.Equal(want, r.state.ISR) && !r.alter.unsure {
			continue
		}
		for _, id := range want {
			if !slices.Contains(r.state.ISR, id) && !slices.Contains(r.adding, id) {
				r.adding = append(r.adding, id)
			}
		}
		if n.cfg.Bugs.Has(bugs.ISRShrinkBeforeCommit) && len(want) < len(r.state.ISR) {
			n.bugHit(bugs.ISRShrinkBeforeCommit)
			r.state.ISR = want
			n.advanceHW(r)
		}
		r.alter.under = true
		asked = append(asked, askedISR{r, r.state.PartitionEpoch})
		addAlter(req, r, want, n.bootOf)
	}
	if len(asked) > 0 {
		n.controllerRequest(req, ctlInfo{cause: "alter_partition"}, func(res ctlResult) { n.altered(asked, res) })
	}
}

// askedISR is one partition of an AlterPartition request.
type askedISR struct {
	r     *replica
	epoch int32 // partition epoch that it was made for
}

func addAlter(req *kmsg.AlterPartitionRequest, r *replica, isr []int32, bootOf func(int32) uint64) {
	if k := len(req.Topics); k == 0 || req.Topics[k-1].TopicID != r.id.Topic {
		t := kmsg.NewAlterPartitionRequestTopic()
		t.TopicID = r.id.Topic
		req.Topics = append(req.Topics, t)
	}
	p := kmsg.NewAlterPartitionRequestTopicPartition()
	p.Partition, p.LeaderEpoch, p.PartitionEpoch = r.id.Partition, r.state.LeaderEpoch, r.state.PartitionEpoch
	for _, id := range isr {
		m := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
		m.BrokerID, m.BrokerEpoch = id, int64(bootOf(id))
		p.NewEpochISR = append(p.NewEpochISR, m)
	}
	t := &req.Topics[len(req.Topics)-1]
	t.Partitions = append(t.Partitions, p)
}

// altered takes the answer to an AlterPartition. It changes no ISR: applied commands do. It only frees the mark, so that
// the leader may ask again, and says what may still come.
func (n *Node) altered(asked []askedISR, res ctlResult) {
	retry := false
	for _, a := range asked {
		r := a.r
		if r.deleted || r.role != replicaLeader || r.state.PartitionEpoch != a.epoch || !r.alter.under {
			continue // decided meanwhile
		}
		code := alterCode(r.id, res)
		if code == errNone {
			continue // committed: applying it here, soon, clears the mark
		}
		r.alter.under, r.alter.notBefore = false, n.now+int64(alterRetry)
		retry = true
		if code == errRequestTimedOut {
			r.alter.unsure = true
		} else if !r.alter.unsure {
			r.adding = nil
			n.advanceHW(r)
		}
	}
	if retry {
		n.after(alterRetry, func() {
			for _, a := range asked {
				if !a.r.deleted && a.r.role == replicaLeader {
					n.noteISR(a.r)
				}
			}
		})
	}
}

// alterCode is what became of one partition: errRequestTimedOut where that is not known.
func alterCode(id PartitionID, res ctlResult) int16 {
	switch res.status {
	case ctlRefused:
		return errNotController
	case ctlUnknown:
		return errRequestTimedOut
	}
	resp, ok := res.resp.(*kmsg.AlterPartitionResponse)
	if !ok {
		return errRequestTimedOut
	}
	if resp.ErrorCode != errNone {
		return resp.ErrorCode
	}
	for i := range resp.Topics {
		if resp.Topics[i].TopidID != id.Topic {
			continue
		}
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.Partition == id.Partition {
				return p.ErrorCode
			}
		}
	}
	return errRequestTimedOut
}

// isrCommitted follows a committed change of the ISR in an epoch that this node leads. index is that of the entry, 0 where a snapshot
// covers it.
func (n *Node) isrCommitted(r *replica, old []int32, index uint64) {
	if !slices.Equal(old, r.state.ISR) {
		if index != 0 {
			n.emit(&history.Claim{What: "isr_changed", Key: r.name(), Index: index, Leader: r.state.Leader, LeaderEpoch: r.state.LeaderEpoch})
		}
		for i := range r.followers {
			f := &r.followers[i]
			if slices.Contains(r.state.ISR, f.id) && !slices.Contains(old, f.id) {
				f.caughtUp = n.now // a new member gets the whole lag time
			}
		}
	}
	n.advanceHW(r) // a removal may have been all that held it
	n.noteISR(r)
}
