package core

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// snapshots keeps the raft log short: every SnapshotEntries entries the metadata are stored whole, and the entries behind which
// nobody is left are dropped. A node that is behind the first entry left is sent the snapshot.
type snapshots struct {
	taking     bool // one of this node's own is on its way to the disk
	installing int  // received ones on their way to the disk
	tooLarge   uint64
}

// trailing is how many entries before a snapshot are kept, for followers that are slightly behind.
func (c Config) trailing() uint64 { return uint64(c.SnapshotEntries) / 4 }

// snapshotIfDue takes a snapshot of the applied state. It is in force, and the log is cut, when the disk has both.
func (n *Node) snapshotIfDue() {
	if n.snaps.taking || n.snaps.installing > 0 || n.applied < max(n.store.snapshotIndex(), n.snaps.tooLarge)+uint64(n.cfg.SnapshotEntries) {
		return
	}
	data := n.state.Snapshot()
	if len(data) > meta.MaxSnapshot {
		n.snaps.tooLarge = n.applied // no message could carry it: the log is kept, and the next try is a whole period away
		return
	}
	snap := &pb.Snapshot{Data: data, Metadata: &pb.SnapshotMetadata{
		ConfState: proto.CloneOf(n.store.conf), Index: proto.Uint64(n.applied), Term: proto.Uint64(n.appliedTerm),
	}}
	base := n.store.offset
	if keep := n.cfg.trailing(); n.applied > keep {
		base = max(base, n.applied-keep)
	}
	n.emit(&history.StateHash{Index: n.applied, Hash: n.state.Hash()})
	n.snaps.taking = true
	hasty := n.cfg.Bugs.Has(bugs.CompactBeforeSnapshotDurable)
	if hasty {
		n.bugHit(bugs.CompactBeforeSnapshotDurable)
	}
	n.submit(DiskOp{Kind: OpRaftSnapshot, Snapshot: snap, Base: base, Hasty: hasty}, func(*DiskDone) {
		n.snaps.taking = false
		n.store.compact(snap, base)
		n.tellSnapshot(history.SnapshotTaken, snap)
	})
}

func (n *Node) tellSnapshot(what string, s *pb.Snapshot) {
	n.emit(&history.Snapshot{What: what, Index: s.GetMetadata().GetIndex(), Term: s.GetMetadata().GetTerm(), Bytes: int64(len(s.GetData()))})
}

// mayInstall checks a snapshot from the network before raft sees it: raft takes what it is given for committed.
func (n *Node) mayInstall(s *pb.Snapshot) bool {
	if !slices.Equal(s.GetMetadata().GetConfState().GetVoters(), n.store.conf.GetVoters()) || s.GetMetadata().GetTerm() == 0 {
		return false
	}
	_, err := meta.Restore(s.GetData())
	return err == nil
}

// restore puts a snapshot in the place of the state, and brings everything that follows from the metadata into line, as if each change
// that it covers had been applied.
func (n *Node) restore(snap *pb.Snapshot, what string) {
	next, err := meta.Restore(snap.GetData())
	if err != nil {
		n.fatal(fmt.Errorf("raft snapshot of index %d: %w", snap.GetMetadata().GetIndex(), err))
		return
	}
	next.Bugs, next.Self = n.cfg.Bugs, n.cfg.ID
	if n.cfg.Bugs.Has(bugs.SnapshotOmitsField) {
		n.forgetLeaderEpochs(next)
	}
	old := n.state
	n.state, n.applied, n.appliedTerm = next, snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()
	n.tellSnapshot(what, snap)
	n.emit(&history.StateHash{Index: n.applied, Hash: n.state.Hash()})
	n.followState(old)
	n.elector.under, n.elector.shrink = map[PartitionID]bool{}, map[PartitionID]bool{} // what was under way is settled, or another's by now
	n.forgetProposals()
	n.releaseAtIndex()
}

// forgetLeaderEpochs is what a snapshot without that field comes to.
func (n *Node) forgetLeaderEpochs(s *meta.State) {
	for _, t := range s.Topics {
		for _, p := range t.Partitions {
			if p.LeaderEpoch != 0 {
				p.LeaderEpoch = 0
				n.bugHit(bugs.SnapshotOmitsField)
			}
		}
	}
}

// followState goes over what changed since the state before: topics that are gone, partitions, registrations, in this order.
func (n *Node) followState(old *meta.State) {
	for _, t := range old.Topics {
		if n.state.TopicByID(t.ID) == nil {
			n.topicDeleted(t, 0)
		}
	}
	for _, t := range n.state.Topics {
		for i, p := range t.Partitions {
			was := old.Partition(t.ID, int32(i))
			if was == nil || was.PartitionEpoch != p.PartitionEpoch {
				n.partitionChanged(t, int32(i), 0)
			} else if r := n.repl.parts[PartitionID{Topic: t.ID, Partition: int32(i)}]; r != nil {
				r.topic = t // its configuration may have changed
			}
		}
	}
	for _, b := range n.state.Brokers {
		if was := old.Broker(b.ID); was == nil || was.Boot != b.Boot {
			n.brokerRegistered(b.ID, b.Boot)
			n.registrationApplied(*b)
		}
	}
}

const (
	// A follower that has not confirmed a snapshot after snapshotPatience, and as long again as so many bytes take at snapshotRate, has not got it.
	snapshotPatience = 2 * time.Second
	snapshotRate     = 4 << 20 // bytes a second
)

// snapshotSent watches over a snapshot that was sent: raft sends its receiver nothing more until it confirms, and whether the message
// arrived nobody tells.
func (n *Node) snapshotSent(m *pb.Message) {
	to := m.GetTo()
	patience := snapshotPatience + time.Duration(len(m.GetSnapshot().GetData()))*time.Second/snapshotRate
	n.after(patience, func() {
		waits := false
		n.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			waits = waits || id == to && pr.State == tracker.StateSnapshot
		})
		if waits && n.AmILeader() {
			n.rn.ReportSnapshot(to, raft.SnapshotFailure) // at the follower's next sign of life it is sent again
			n.noteRole()
		}
	})
}
