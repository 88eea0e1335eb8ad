package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	snapshotMagic = "SOAKSNAP"
	snapshotHead  = 8 + 4 + 4 + 8

	// maxSnapshotFile bounds what is read of a snapshot that may be anything.
	maxSnapshotFile = 64 << 20
)

// Compact puts a snapshot of an index that the log holds, and that is committed, in the place of the entries up to base, which is not behind
// that index. All that was saved is durable on return, as after Sync. A snapshot not newer than the one in force does nothing.
// durable is true: only a planted bug leaves the snapshot itself to the kernel.
func (l *Log) Compact(snap *pb.Snapshot, base uint64, durable bool) error {
	if l.failed != nil {
		return l.failed
	}
	s := idOf(snap)
	if s.index <= l.snapshot.index {
		return nil
	}
	if s.index > l.last() || base > s.index || base < l.base.index {
		return fmt.Errorf("%w: snapshot of index %d and entries behind %d of a log that holds %d to %d", ErrOrder, s.index, base, l.base.index+1, l.last())
	}
	from := entryID{base, l.base.term}
	if base > l.base.index {
		from.term = l.entries[base-l.base.index-1].GetTerm()
	}
	return l.begin(snap, from, l.hard, l.entries[base-l.base.index:], durable)
}

// Install puts a snapshot that another node made in the place of everything that is stored, and entries behind it. The
// hard state (nil: unchanged) is saved with it: all of it is in force on return, and durable, or nothing is.
func (l *Log) Install(snap *pb.Snapshot, hs *pb.HardState, entries []*pb.Entry) error {
	if l.failed != nil {
		return l.failed
	}
	s := idOf(snap)
	last := s.index
	for _, e := range entries {
		if err := follows(s.index, last, e); err != nil {
			return fmt.Errorf("%w: behind a snapshot: %v", ErrOrder, err)
		}
		last = e.GetIndex()
	}
	if hs == nil {
		hs = l.hard
	}
	switch {
	case s.index <= l.snapshot.index:
		return fmt.Errorf("%w: snapshot of index %d after one of index %d", ErrOrder, s.index, l.snapshot.index)
	case hs.GetCommit() > last:
		return fmt.Errorf("%w: commit index %d beyond the last entry %d", ErrOrder, hs.GetCommit(), last)
	}
	return l.begin(snap, s, hs, entries, true)
}

func idOf(snap *pb.Snapshot) entryID {
	return entryID{snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()}
}

// begin makes a snapshot and a segment that begins with it durable, puts both in force, and removes what they replace.
func (l *Log) begin(snap *pb.Snapshot, base entryID, hs *pb.HardState, entries []*pb.Entry, durable bool) error {
	s := idOf(snap)
	hs = proto.CloneOf(hs)
	hs.Commit = proto.Uint64(max(hs.GetCommit(), s.index)) // raft refuses to start with less
	if err := l.writeSnapshot(snap, durable); err != nil {
		return l.fail(fmt.Errorf("store the raft snapshot of index %d: %w", s.index, err))
	}
	if err := l.beginSegment(header{node: l.node, seq: l.seq + 1, base: base, snapshot: s}, hs, entries); err != nil {
		return l.fail(fmt.Errorf("begin a raft log segment behind the snapshot of index %d: %w", s.index, err))
	}
	l.base, l.snapshot, l.hard = base, s, hs
	l.entries = append([]*pb.Entry(nil), entries...) // an array of their own: the old one holds what is gone
	if err := l.Synced(); err != nil {
		return err
	}
	old, err := l.list()
	if err == nil {
		err = l.dropBefore(old)
	}
	if err != nil {
		return l.fail(fmt.Errorf("compact the raft log: %w", err))
	}
	return nil
}

func (l *Log) writeSnapshot(snap *pb.Snapshot, durable bool) error {
	b := append([]byte(nil), snapshotMagic...)
	b = put32(put32(b, Format), uint32(l.node))
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(put64(b, 0), snap)
	if err != nil {
		return err
	}
	if len(b)+4 > maxSnapshotFile {
		return fmt.Errorf("%d bytes, at most %d", len(b)+4, maxSnapshotFile)
	}
	binary.LittleEndian.PutUint64(b[snapshotHead-8:], uint64(len(b)-snapshotHead))
	return l.place(snapshotName(snap.GetMetadata().GetIndex()), put32(b, crc32.Checksum(b, castagnoli)), durable)
}

// beginSegment makes the segment that the log goes on with.
func (l *Log) beginSegment(h header, hs *pb.HardState, entries []*pb.Entry) error {
	b := appendHeader(nil, h)
	b, err := appendSave(append(b, make([]byte, frameHead)...), hs, entries)
	if err != nil {
		return err
	}
	if err := fits(len(b) - headerSize - frameHead); err != nil {
		return err
	}
	sealFrame(b[headerSize:], h.seq, headerSize)
	if err := l.place(segmentName(h.seq), b, true); err != nil {
		return err
	}
	path := filepath.Join(l.dir, segmentName(h.seq))
	f, err := l.fs.OpenAppend(path)
	if err != nil {
		return err
	}
	if err := l.file.Close(); err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.path, l.seq, l.first, l.size, l.mark = f, path, h.seq, h.seq, int64(len(b)), headerSize
	return nil
}

// place makes a file that is there under its name only whole and durable.
func (l *Log) place(name string, b []byte, durable bool) error {
	path := filepath.Join(l.dir, name)
	f, err := l.fs.Create(path + temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := l.fs.Rename(path+temporary, path); err != nil || !durable {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// dropBefore removes the segments before the one that the log begins with, and every snapshot but the one in force. Nobody needs them,
// so nobody waits until they are durably gone.
func (l *Log) dropBefore(f files) error {
	for _, seq := range f.segments {
		if seq < l.first {
			if err := l.fs.Remove(filepath.Join(l.dir, segmentName(seq))); err != nil {
				return err
			}
		}
	}
	for _, index := range f.snapshots {
		if index != l.snapshot.index {
			if err := l.fs.Remove(filepath.Join(l.dir, snapshotName(index))); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadSnapshot reads the snapshot that the log begins with.
func (l *Log) loadSnapshot() (snap *pb.Snapshot, err error) {
	path := filepath.Join(l.dir, snapshotName(l.snapshot.index))
	f, err := l.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{File: path, Reason: fmt.Sprintf("missing, though segment %d begins with it", l.first)}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < snapshotHead+4 || size > maxSnapshotFile {
		return nil, &DamageError{File: path, Reason: fmt.Sprintf("%d bytes, must be %d to %d", size, snapshotHead+4, maxSnapshotFile)}
	}
	b := make([]byte, size)
	if err := readAt(f, b, 0); err != nil {
		return nil, err
	}
	snap, format, err := l.parseSnapshot(b)
	switch {
	case err != nil:
		return nil, &DamageError{File: path, Reason: err.Error()}
	case format != Format:
		return nil, &FormatError{File: path, Have: format, Want: Format}
	case idOf(snap) != l.snapshot:
		s := idOf(snap)
		return nil, &DamageError{File: path, Reason: fmt.Sprintf("it is of index %d and term %d, segment %d begins with index %d and term %d", s.index, s.term, l.first, l.snapshot.index, l.snapshot.term)}
	}
	return snap, nil
}

// parseSnapshot checks all of a file that is long enough for its head, and answers no snapshot where the format is another one.
func (l *Log) parseSnapshot(b []byte) (*pb.Snapshot, uint32, error) {
	le := binary.LittleEndian
	body := b[snapshotHead : len(b)-4]
	if string(b[:8]) != snapshotMagic {
		return nil, 0, errors.New("not a raft snapshot")
	}
	if format := le.Uint32(b[8:]); format != Format {
		return nil, format, nil
	}
	if got, want := crc32.Checksum(b[:len(b)-4], castagnoli), le.Uint32(b[len(b)-4:]); got != want {
		return nil, 0, fmt.Errorf("CRC computed %08x, stored %08x", got, want)
	}
	if have := int32(le.Uint32(b[12:])); have != l.node {
		return nil, 0, fmt.Errorf("it belongs to node %d, this is node %d", have, l.node)
	}
	if n := le.Uint64(b[16:]); n != uint64(len(body)) {
		return nil, 0, fmt.Errorf("%d bytes of %d", len(body), n)
	}
	snap := &pb.Snapshot{}
	return snap, Format, proto.Unmarshal(body, snap)
}
