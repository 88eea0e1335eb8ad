package core

import (
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// window is raft's Storage: the durable entries since the last snapshot, in memory. The disk below it is written by
// OpRaftSave; entries enter the window when their write has completed.
type window struct {
	hardState  *pb.HardState
	conf       *pb.ConfState
	offset     uint64 // index of the entry before the first one (of the snapshot, once there are any)
	offsetTerm uint64
	entries    []*pb.Entry // entries[i] has index offset+1+i
	snapshot   *pb.Snapshot
}

func newWindow(peers []int32, boot Boot) (*window, error) {
	w := &window{hardState: boot.HardState, conf: &pb.ConfState{}}
	for _, p := range peers {
		w.conf.Voters = append(w.conf.Voters, uint64(p))
	}
	if boot.Snapshot != nil {
		return nil, fmt.Errorf("the data directory holds a raft snapshot, which this version does not read: start it with the version that wrote it")
	}
	w.append(boot.Entries)
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

// Snapshot implements raft.Storage. Nothing is compacted in this version, so no node ever needs one.
func (w *window) Snapshot() (*pb.Snapshot, error) {
	if w.snapshot == nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return w.snapshot, nil
}
