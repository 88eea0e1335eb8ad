package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/internal/vfs"
)

// DamageError says that a stored log is not what was written, in a way that no crash explains.
type DamageError struct {
	File   string
	Pos    int64 // byte in the file
	Reason string
	Torn   bool // nothing says that these bytes were ever synced: a crash does explain them (Options.RefuseTorn)
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

// recover reads the segments from the last compaction on, and its snapshot; the last segment is left open for appending.
func (l *Log) recover() (State, error) {
	st := State{HardState: &pb.HardState{}}
	files, err := l.list()
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.fs.MkdirAll(l.dir); err == nil {
			err = l.fs.SyncDir(filepath.Dir(l.dir))
		}
	}
	if err != nil {
		return st, err
	}
	seqs := files.segments
	// The roll that a torn header belongs to synced the segment before it, which so must be whole.
	cut, torn, err := l.dropTornHeader(seqs)
	if err != nil {
		return st, err
	}
	if torn {
		seqs = seqs[:len(seqs)-1]
	}
	st.Cut = cut
	begin, err := l.beginning(seqs)
	if err != nil {
		return st, err
	}
	if l.snapshot.index > 0 {
		if st.Snapshot, err = l.loadSnapshot(); err != nil {
			return st, err
		}
	}
	st.BaseIndex, st.BaseTerm = l.base.index, l.base.term
	for i := begin; i < len(seqs); i++ {
		if err := l.load(seqs[i], i == len(seqs)-1, torn, &st); err != nil {
			return st, err
		}
	}
	if len(seqs) == 0 {
		if err := l.create(1); err != nil {
			return st, err
		}
	}
	l.hard, l.entries = proto.CloneOf(st.HardState), st.Entries[:len(st.Entries):len(st.Entries)]
	if err := l.consistent(&st); err != nil {
		return st, err
	}
	return st, l.clear(files)
}

// consistent checks what no single frame shows. The snapshot may be ahead of the hard state's commit index, which not every change of
// is synced: it is committed all the same.
func (l *Log) consistent(st *State) error {
	damage := func(format string, args ...any) error {
		return &DamageError{File: l.path, Pos: l.size, Reason: fmt.Sprintf(format, args...)}
	}
	if c := st.HardState.GetCommit(); c > l.last() {
		return damage("the hard state's commit index is %d, but the last entry is %d", c, l.last())
	}
	s := l.snapshot
	switch {
	case s.index > l.last():
		return damage("the last entry is %d, before the snapshot's index %d", l.last(), s.index)
	case s.index > l.base.index && st.Entries[s.index-l.base.index-1].GetTerm() != s.term:
		return damage("entry %d has term %d, the snapshot of that index has term %d", s.index, st.Entries[s.index-l.base.index-1].GetTerm(), s.term)
	case s.index > st.HardState.GetCommit():
		st.HardState.Commit = proto.Uint64(s.index)
		l.hard.Commit = proto.Uint64(s.index)
	}
	return nil
}

// files are the log's files, by the numbers in their names, ascending.
type files struct {
	segments, snapshots []uint64
	temporary           []string // paths of what was not finished
}

func (l *Log) list() (f files, err error) {
	names, err := l.fs.List(l.dir) // sorted
	if err != nil {
		return f, err
	}
	for _, name := range names {
		path := filepath.Join(l.dir, name)
		if finished, unfinished := strings.CutSuffix(name, temporary); unfinished {
			_, segment, badSegment := parseName(finished, ".wal", segmentName)
			_, snapshot, badSnapshot := parseName(finished, ".snap", snapshotName)
			if segment && badSegment == nil || snapshot && badSnapshot == nil {
				f.temporary = append(f.temporary, path)
			}
			continue
		}
		seq, segment, err := parseName(name, ".wal", segmentName)
		if err != nil {
			return f, &DamageError{File: path, Reason: err.Error()}
		}
		index, snapshot, err := parseName(name, ".snap", snapshotName)
		if err != nil {
			return f, &DamageError{File: path, Reason: err.Error()}
		}
		switch {
		case segment:
			f.segments = append(f.segments, seq)
		case snapshot:
			f.snapshots = append(f.snapshots, index)
		}
	}
	return f, nil
}

// beginning finds the segment that the log begins with, which is the last that a compaction made, or else number 1. From there on
// the numbers follow one another. What stands before it is what a compaction left behind.
func (l *Log) beginning(seqs []uint64) (int, error) {
	for i := len(seqs) - 1; i >= 0; i-- {
		path := filepath.Join(l.dir, segmentName(seqs[i]))
		if i < len(seqs)-1 && seqs[i]+1 != seqs[i+1] {
			return 0, &DamageError{File: filepath.Join(l.dir, segmentName(seqs[i+1])), Reason: fmt.Sprintf("segment %d is missing", seqs[i+1]-1)}
		}
		h, err := l.readHeader(path, seqs[i])
		if err != nil {
			return 0, err
		}
		if h.begins() {
			l.base, l.snapshot, l.first = h.base, h.snapshot, h.seq
			return i, nil
		}
	}
	if len(seqs) > 0 && seqs[0] != 1 {
		return 0, &DamageError{File: filepath.Join(l.dir, segmentName(seqs[0])), Reason: "segment 1 is missing, and no compaction began with this one"}
	}
	return 0, nil
}

func (l *Log) readHeader(path string, seq uint64) (h header, err error) {
	f, err := l.fs.Open(path)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return h, err
	}
	return l.checkHeader(f, path, seq, size)
}

// clear removes what an earlier compaction, or one that a crash cut short, left behind.
func (l *Log) clear(f files) error {
	for _, path := range f.temporary {
		if err := l.fs.Remove(path); err != nil {
			return fmt.Errorf("remove what is unfinished: %w", err)
		}
	}
	return l.dropBefore(f)
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
	if seq := seqs[len(seqs)-1]; len(seqs) == 1 && seq != 1 {
		// The log began here, and such a segment is never torn. Without it nothing would be left, not even the vote.
		return 0, false, &DamageError{File: path, Reason: "the header is cut short, and there is no other segment"}
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
	h, err := l.checkHeader(f, path, seq, size)
	if err != nil {
		return err
	}
	l.size, l.mark = headerSize, headerSize
	bad, err := l.scan(size, st)
	if err != nil {
		return err
	}
	first := h.begins() && l.size == headerSize
	if first && bad == nil {
		bad = errors.New("the frame is missing that a compaction begins with")
	}
	if bad != nil {
		damage := &DamageError{File: path, Pos: l.size, Reason: bad.Error()}
		if !last || whole || first {
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
		if l.opts.RefuseTorn {
			damage.Torn = true
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

func (l *Log) checkHeader(f vfs.File, path string, seq uint64, size int64) (header, error) {
	head := make([]byte, min(size, headerSize))
	if err := readAt(f, head, 0); err != nil {
		return header{}, err
	}
	h, err := parseHeader(head)
	switch {
	case err != nil:
		return h, &DamageError{File: path, Reason: err.Error()}
	case h.format != Format:
		return h, &FormatError{File: path, Have: h.format, Want: Format}
	case h.node != l.node:
		return h, &NodeError{File: path, Have: h.node, Want: l.node}
	case h.seq != seq:
		return h, &DamageError{File: path, Reason: fmt.Sprintf("the header says segment %d", h.seq)}
	}
	return h, nil
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
		if err := follows(st.BaseIndex, st.BaseIndex+uint64(len(st.Entries)), e); err != nil {
			return err
		}
		st.Entries = append(st.Entries[:e.GetIndex()-st.BaseIndex-1], e)
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
