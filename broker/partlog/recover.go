package partlog

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
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

// Hint says what a person can do.
func (e *DamageError) Hint() string {
	return "keep a copy of the file and restore this node's data directory from a backup taken while it was stopped; do not empty it: raft's vote lies in it, and the node would vote twice in a term"
}

// recover opens all segments, checks them, cuts a torn tail and builds the indexes.
func (l *Log) recover() error {
	bases, err := listSegments(l.fs, l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.fs.MkdirAll(l.dir); err == nil {
			err = l.fs.SyncDir(filepath.Dir(l.dir))
		}
	}
	if err != nil {
		return err
	}
	if l.marks, err = openMarks(l.fs, l.dir); err != nil {
		return err
	}
	l.opened = producers.New(0)
	last := l.marks.last
	if n := len(bases); last != (mark{}) && (n == 0 || bases[n-1] < last.base) {
		return &DamageError{File: filepath.Join(l.dir, segmentName(last.base)), Reason: fmt.Sprintf("missing, though %d bytes of it were synced", last.size)}
	}
	if len(bases) == 0 { // new, or a crash came before its first segment
		s, err := createSegment(l.fs, l.dir, 0)
		if err != nil {
			return err
		}
		l.segs = []*segment{s}
		return nil
	}
	for i, base := range bases {
		path := filepath.Join(l.dir, segmentName(base))
		if i > 0 && base != l.End() {
			return &DamageError{File: path, Reason: fmt.Sprintf("the segment before it ends at offset %d", l.End())}
		}
		f, err := l.fs.OpenAppend(path)
		if err != nil {
			return err
		}
		s := &segment{path: path, file: f, base: base, next: base}
		l.segs = append(l.segs, s)
		if err := l.load(s, i == len(bases)-1); err != nil {
			return err
		}
	}
	// A process that was killed may have left bytes and names that only the kernel holds. From here on they count as
	// durable, so they must be.
	if err := errors.Join(l.active().file.Sync(), l.fs.SyncDir(l.dir)); err != nil {
		return err
	}
	return l.setMark()
}

func listSegments(fsys vfs.FS, dir string) ([]int64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, name := range names {
		base, ours, err := parseSegmentName(name)
		if err != nil {
			return nil, &DamageError{File: filepath.Join(dir, name), Reason: err.Error()}
		}
		if ours {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// load reads a segment from its beginning to the first byte that is not a good batch, and decides what that byte means.
func (l *Log) load(s *segment, last bool) error {
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	bad, err := l.scan(s, size)
	if err != nil {
		return err
	}
	synced := size // of an earlier segment; it is as long as the next one's name says
	if last {
		if synced = 0; l.marks.last.base == s.base {
			synced = l.marks.last.size
		}
	}
	if s.size < synced {
		if bad == nil {
			bad = errors.New("the file ends")
		}
		reason := bad.Error()
		if last {
			reason += fmt.Sprintf("; yet %d bytes were synced", synced)
		}
		return &DamageError{File: s.path, Pos: s.size, Reason: reason}
	}
	if bad == nil {
		return nil
	}
	if l.opts.RefuseTorn {
		return &DamageError{File: s.path, Pos: s.size, Reason: bad.Error(), Torn: true}
	}
	l.cut = size - s.size
	if err := s.file.Truncate(s.size); err != nil {
		return fmt.Errorf("cut the torn tail: %w", err)
	}
	return nil
}

// scan adds the good batches of a segment's size bytes, one by one. What is wrong with the first bad one is bad; err is a failed read.
// Memory is bounded by the read buffer, whatever the lengths in the file say.
func (l *Log) scan(s *segment, size int64) (bad, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, size), int(min(max(size, batch.HeaderSize), scanBuffer)))
	for s.size < size {
		head, err := r.Peek(batch.HeaderSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		h, bad := batch.ParseHeader(head)
		switch {
		case bad != nil:
			return bad, nil
		case h.Size > size-s.size:
			return fmt.Errorf("%w: %d bytes of %d", batch.ErrShort, size-s.size, h.Size), nil
		case h.BaseOffset != s.next:
			return fmt.Errorf("base offset %d, want %d", h.BaseOffset, s.next), nil
		case h.LeaderEpoch < l.lastEpoch():
			return fmt.Errorf("leader epoch %d after %d", h.LeaderEpoch, l.lastEpoch()), nil
		}
		want := h.CRC ^ headSum(head) // before checksum reads on, and over it
		crc, err := checksum(r, h.Size)
		if err != nil {
			return nil, err
		}
		if crc != want {
			return fmt.Errorf("%w: computed %08x, stored %08x", batch.ErrCRC, crc, want), nil
		}
		l.add(s, h)
		l.opened.Add(h)
	}
	return nil, nil
}

// scanBuffer is how much of a segment is read at a time. A smaller segment takes no more than its size.
const scanBuffer = 64 << 10

// checksum reads one batch of the given size and computes its CRC a buffer at a time.
func checksum(r *bufio.Reader, size int64) (uint32, error) {
	if _, err := r.Discard(crcStart); err != nil {
		return 0, err
	}
	crc := uint32(0)
	for left := size - crcStart; left > 0; {
		piece, err := r.Peek(int(min(left, int64(r.Size()))))
		if err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, piece)
		left -= int64(len(piece))
		if _, err := r.Discard(len(piece)); err != nil {
			return 0, err
		}
	}
	return crc, nil
}
