package core

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// window is raft's Storage: the durable entries since the last snapshot, in memory. The disk below it is written by
// OpRaftSave; entries enter the window when their write has completed.
type window struct {
	hardState  *pb.HardState
	conf       *pb.ConfState
	offset     uint64 // index of the entry before the first one, not behind the snapshot's
	offsetTerm uint64
	entries    []*pb.Entry  // entries[i] has index offset+1+i
	snapshot   *pb.Snapshot // the last one that is durable, nil if there is none
}

func newWindow(peers []int32, boot Boot) (*window, error) {
	w := &window{hardState: boot.HardState, conf: &pb.ConfState{}}
	for _, p := range peers {
		w.conf.Voters = append(w.conf.Voters, uint64(p))
	}
	w.snapshot, w.offset, w.offsetTerm = boot.Snapshot, boot.BaseIndex, boot.BaseTerm
	w.append(boot.Entries)
	if s := w.snapshotIndex(); s < w.offset || s > w.lastIndex() {
		return nil, fmt.Errorf("raft log holds entries %d to %d and a snapshot of index %d, which do not go together; restore the data directory", w.firstIndex(), w.lastIndex(), s)
	} else if s > w.hardState.GetCommit() {
		// Not every change of the commit index is synced. What is in a snapshot was committed, and raft refuses to start with less.
		w.hardState = &pb.HardState{Term: proto.Uint64(w.hardState.GetTerm()), Vote: proto.Uint64(w.hardState.GetVote()), Commit: proto.Uint64(s)}
	}
	if hs := boot.HardState; hs != nil && hs.GetCommit() > w.lastIndex() {
		return nil, fmt.Errorf("raft log ends at %d, before its commit index %d: entries that it had acknowledged are missing; restore the data directory. Do not empty it: the node would vote again in terms in which it has voted", w.lastIndex(), hs.GetCommit())
	}
	return w, nil
}

// append adds entries, replacing what they overlap.
func (w *window) append(es []*pb.Entry) {
	if len(es) == 0 {
		return
	}
	first := es[0].GetIndex()
	if first > w.lastIndex()+1 {
		panic(fmt.Sprintf("core: raft entries from %d appended to a window that ends at %d", first, w.lastIndex()))
	}
	if first <= w.offset {
		es = es[w.offset+1-first:]
		first = w.offset + 1
	}
	keep := first - w.offset - 1
	if keep < uint64(len(w.entries)) {
		w.entries = w.entries[:keep:keep] // replaced entries may still be in hands that were given them
	}
	w.entries = append(w.entries, es...)
}

// compact puts a snapshot of this node's own, now durable, in the place of the entries up to base.
func (w *window) compact(snap *pb.Snapshot, base uint64) {
	if snap.GetMetadata().GetIndex() <= w.snapshotIndex() {
		return // one that was received meanwhile is newer
	}
	w.snapshot = snap
	if base > w.offset {
		w.offsetTerm = w.entries[base-w.offset-1].GetTerm()
		w.entries = slices.Clone(w.entries[base-w.offset:]) // an array of their own: the old one holds what is gone
		w.offset = base
	}
}

// install puts a snapshot that was received, now durable, in the place of everything.
func (w *window) install(snap *pb.Snapshot) {
	w.snapshot, w.entries = snap, nil
	w.offset, w.offsetTerm = snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()
}

func (w *window) snapshotIndex() uint64 { return w.snapshot.GetMetadata().GetIndex() }

func (w *window) firstIndex() uint64 { return w.offset + 1 }
func (w *window) lastIndex() uint64  { return w.offset + uint64(len(w.entries)) }

// InitialState implements raft.Storage.
func (w *window) InitialState() (*pb.HardState, *pb.ConfState, error) {
	return w.hardState, w.conf, nil
}

// Entries implements raft.Storage.
func (w *window) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= w.offset {
		return nil, raft.ErrCompacted
	}
	if hi > w.lastIndex()+1 {
		return nil, raft.ErrUnavailable
	}
	es := w.entries[lo-w.offset-1 : hi-w.offset-1 : hi-w.offset-1]
	var size uint64
	for i, e := range es {
		size += uint64(proto.Size(e))
		if size > maxSize && i > 0 {
			return es[:i:i], nil
		}
	}
	return es, nil
}

// Term implements raft.Storage.
func (w *window) Term(i uint64) (uint64, error) {
	switch {
	case i < w.offset:
		return 0, raft.ErrCompacted
	case i == w.offset:
		return w.offsetTerm, nil
	case i > w.lastIndex():
		return 0, raft.ErrUnavailable
	}
	return w.entries[i-w.offset-1].GetTerm(), nil
}

// FirstIndex implements raft.Storage.
func (w *window) FirstIndex() (uint64, error) { return w.firstIndex(), nil }

// LastIndex implements raft.Storage.
func (w *window) LastIndex() (uint64, error) { return w.lastIndex(), nil }

// Snapshot implements raft.Storage. Who asks is behind the first entry, so that there is one.
func (w *window) Snapshot() (*pb.Snapshot, error) {
	if w.snapshot == nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return w.snapshot, nil
}
