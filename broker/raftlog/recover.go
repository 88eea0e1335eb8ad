package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/internal/vfs"
)

// DamageError says that a stored log is not what was written, in a way that no crash explains.
type DamageError struct {
	File   string
	Pos    int64 // byte in the file
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("damaged: %s at byte %d: %s", e.File, e.Pos, e.Reason)
}

// Hint says what a person can do. A raft node that forgot its vote must not come back under its old id as if nothing were.
func (e *DamageError) Hint() string {
	return "keep a copy of the file and restore this node's data directory from a backup taken while it was stopped; with an empty directory the node may vote twice in a term"
}

// FormatError says that a segment was written in a format that this version does not know.
type FormatError struct {
	File       string
	Have, Want uint32
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has raft log format %d, this version reads format %d", e.File, e.Have, e.Want)
}

// Hint says what a person can do.
func (e *FormatError) Hint() string { return "start the version that wrote it, or a newer one" }

// NodeError says that a segment is another node's.
type NodeError struct {
	File       string
	Have, Want int32
}

func (e *NodeError) Error() string {
	return fmt.Sprintf("%s belongs to node %d, this is node %d", e.File, e.Have, e.Want)
}

// Hint says what a person can do.
func (e *NodeError) Hint() string { return "give each node a data directory of its own" }

// recover reads all segments; the last one is left open for appending.
func (l *Log) recover() (State, error) {
	st := State{HardState: &pb.HardState{}}
	seqs, err := l.segments()
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.fs.MkdirAll(l.dir); err == nil {
			err = l.fs.SyncDir(filepath.Dir(l.dir))
		}
	}
	if err != nil {
		return st, err
	}
	// The roll that a torn header belongs to synced the segment before it, which so must be whole.
	cut, torn, err := l.dropTornHeader(seqs)
	if err != nil {
		return st, err
	}
	if torn {
		seqs = seqs[:len(seqs)-1]
	}
	st.Cut = cut
	for i, seq := range seqs {
		if err := l.load(seq, i == len(seqs)-1, torn, &st); err != nil {
			return st, err
		}
	}
	if len(seqs) == 0 {
		if err := l.create(1); err != nil {
			return st, err
		}
	}
	l.hard = proto.CloneOf(st.HardState)
	l.last = uint64(len(st.Entries))
	if c := st.HardState.GetCommit(); c > l.last {
		return st, &DamageError{File: l.path, Pos: l.size, Reason: fmt.Sprintf("the hard state's commit index is %d, but the last entry is %d", c, l.last)}
	}
	return st, nil
}

// segments lists the sequence numbers, which follow one another.
func (l *Log) segments() ([]uint64, error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, name := range names {
		path := filepath.Join(l.dir, name)
		seq, ours, err := parseSegmentName(name)
		if err != nil {
			return nil, &DamageError{File: path, Reason: err.Error()}
		}
		if !ours {
			continue
		}
		if want := uint64(len(seqs)) + 1; seq != want { // names sort by number
			return nil, &DamageError{File: path, Reason: fmt.Sprintf("segment %d is missing", want)}
		}
		seqs = append(seqs, seq)
	}
	return seqs, nil
}

// dropTornHeader removes a last segment whose making was cut short: it holds no more than a header, and that a bad one.
func (l *Log) dropTornHeader(seqs []uint64) (cut int64, torn bool, err error) {
	if len(seqs) == 0 {
		return 0, false, nil
	}
	path := filepath.Join(l.dir, segmentName(seqs[len(seqs)-1]))
	f, err := l.fs.Open(path)
	if err != nil {
		return 0, false, err
	}
	size, err := f.Size()
	if err == nil && size <= headerSize {
		head := make([]byte, size)
		if err = readAt(f, head, 0); err == nil {
			_, bad := parseHeader(head)
			torn = bad != nil
		}
	}
	if err = errors.Join(err, f.Close()); err != nil || !torn {
		return 0, false, err
	}
	if err := errors.Join(l.fs.Remove(path), l.fs.SyncDir(l.dir)); err != nil {
		return 0, false, fmt.Errorf("remove the torn segment: %w", err)
	}
	return size, true, nil
}

// load reads one segment into st, and leaves it open if it is the last. whole says that nothing in it can be torn.
func (l *Log) load(seq uint64, last, whole bool, st *State) error {
	path := filepath.Join(l.dir, segmentName(seq))
	f, err := l.fs.OpenAppend(path)
	if err != nil {
		return err
	}
	l.file, l.path, l.seq = f, path, seq
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := l.loadHeader(f, size); err != nil {
		return err
	}
	bad, err := l.scan(size, st)
	if err != nil {
		return err
	}
	if bad != nil {
		damage := &DamageError{File: path, Pos: l.size, Reason: bad.Error()}
		if !last || whole {
			return damage
		}
		at, err := findMark(f, seq, l.size+1, size)
		if err != nil {
			return err
		}
		if at >= 0 {
			damage.Reason += fmt.Sprintf("; yet it was synced, says the mark at byte %d", at)
			return damage
		}
		st.Cut += size - l.size
		if err := f.Truncate(l.size); err != nil {
			return fmt.Errorf("cut the torn tail: %w", err)
		}
	}
	if last {
		// A process that was killed may have left bytes and names that only the kernel holds. From here on they count
		// as durable (a vote, above all), so they must be.
		if err := errors.Join(f.Sync(), l.fs.SyncDir(l.dir)); err != nil {
			return err
		}
		return l.Synced()
	}
	l.file = nil
	return f.Close()
}

func (l *Log) loadHeader(f vfs.File, size int64) error {
	head := make([]byte, min(size, headerSize))
	if err := readAt(f, head, 0); err != nil {
		return err
	}
	h, err := parseHeader(head)
	switch {
	case err != nil:
		return &DamageError{File: l.path, Reason: err.Error()}
	case h.format != Format:
		return &FormatError{File: l.path, Have: h.format, Want: Format}
	case h.node != l.node:
		return &NodeError{File: l.path, Have: h.node, Want: l.node}
	case h.seq != l.seq:
		return &DamageError{File: l.path, Reason: fmt.Sprintf("the header says segment %d", h.seq)}
	}
	l.size, l.mark = headerSize, headerSize
	return nil
}

// scan takes in the good frames of the current segment. What is wrong with the first bad one is bad; err is a failed read, or
// damage in a frame that was written as it stands.
func (l *Log) scan(size int64, st *State) (bad, err error) {
	for l.size < size {
		left := size - l.size
		if left < frameHead {
			return fmt.Errorf("frame head cut short: %d bytes", left), nil
		}
		var head [frameHead]byte
		if err := readAt(l.file, head[:], l.size); err != nil {
			return nil, err
		}
		f, bad := parseFrame(head[:], left)
		if bad != nil {
			return bad, nil
		}
		body := make([]byte, f.length) // no longer than the file
		if err := readAt(l.file, body, l.size+frameHead); err != nil {
			return nil, err
		}
		if crc := crc32.Update(frameSalt(l.seq, l.size, uint32(f.length)), castagnoli, body); crc != f.crc {
			return fmt.Errorf("frame CRC computed %08x, stored %08x", crc, f.crc), nil
		}
		isMark := len(body) == 1 && body[0] == kindMark
		if !isMark {
			if err := st.add(body); err != nil {
				return nil, &DamageError{File: l.path, Pos: l.size, Reason: err.Error()}
			}
		}
		l.size += frameHead + f.length
		if isMark {
			l.mark = l.size
		}
	}
	return nil, nil
}

// add applies a save to the state.
func (st *State) add(body []byte) error {
	hs, entries, err := parseSave(body)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := follows(uint64(len(st.Entries)), e); err != nil {
			return err
		}
		st.Entries = append(st.Entries[:e.GetIndex()-1], e)
	}
	if hs != nil {
		st.HardState = hs
	}
	return nil
}

// searchChunk is how many positions findMark looks at with one read.
const searchChunk = 256 << 10

// findMark looks in [from, size) for a mark, and answers its position or -1. One that stands there by chance, or was
// written for another place, does not have the checksum.
func findMark(f vfs.File, seq uint64, from, size int64) (int64, error) {
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)
	buf := make([]byte, searchChunk+markSize-1)
	var mark []byte
	for start := from; start+markSize <= size; start += searchChunk {
		chunk := buf[:min(int64(len(buf)), size-start)]
		if err := readAt(f, chunk, start); err != nil {
			return -1, err
		}
		for i := 0; ; i++ {
			next := bytes.Index(chunk[i:], magic)
			if next < 0 {
				break
			}
			i += next
			at := start + int64(i)
			if mark = appendMark(mark[:0], seq, at); bytes.HasPrefix(chunk[i:], mark) {
				return at, nil
			}
		}
	}
	return -1, nil
}

// readAt fills b, which the file's size says is there.
func readAt(f vfs.File, b []byte, pos int64) error {
	if n, err := f.ReadAt(b, pos); n < len(b) {
		return fmt.Errorf("read %s at byte %d: %w", f.Name(), pos, err)
	}
	return nil
}
