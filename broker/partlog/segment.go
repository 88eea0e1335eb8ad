package partlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"soak/broker/partlog/batch"
	"soak/internal/vfs"
)

// segment is one file of a log.
type segment struct {
	path string
	file vfs.File
	base int64 // first offset, the file's name
	next int64 // one past the last offset
	size int64 // bytes of whole batches
	// maxTime is the latest time that a batch was given, in ms since 1970. After a truncation it may be that of one that is gone.
	maxTime int64
	// firstTime is that of the first batch.
	firstTime int64
	// index holds the first batch, and then each batch that begins IndexBytes or more behind the last one held.
	index []indexEntry
}

type indexEntry struct{ offset, pos int64 }

const segmentSuffix = ".log"

func segmentName(base int64) string { return fmt.Sprintf("%020d%s", base, segmentSuffix) }

// parseSegmentName answers the base offset; ours is false for files that are none of the log's.
func parseSegmentName(name string) (base int64, ours bool, err error) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false, nil
	}
	base, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || segmentName(base) != name {
		return 0, true, fmt.Errorf("%q is not a segment's name", name)
	}
	return base, true, nil
}

// createSegment makes an empty segment, its name durable.
func createSegment(fsys vfs.FS, dir string, base int64) (*segment, error) {
	path := filepath.Join(dir, segmentName(base))
	f, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{path: path, file: f, base: base, next: base}, nil
}

// add takes note of a batch written at the end.
func (s *segment) add(h batch.Header, every int64) {
	if n := len(s.index); n == 0 || s.size-s.index[n-1].pos >= every {
		s.index = append(s.index, indexEntry{offset: h.BaseOffset, pos: s.size})
	}
	if s.size == 0 {
		s.firstTime = h.MaxTimestamp
	}
	s.size += h.Size
	s.next = h.NextOffset()
	s.maxTime = max(s.maxTime, h.MaxTimestamp)
}

// cutTo forgets what stands from pos on, where the batch with base offset next began.
func (s *segment) cutTo(pos, next int64) {
	s.index = slices.DeleteFunc(s.index, func(e indexEntry) bool { return e.pos >= pos })
	s.size, s.next = pos, next
}

// find answers where the batch that holds offset begins, and its header. The offset is in the segment.
func (s *segment) find(offset, every int64) (int64, batch.Header, error) {
	i, found := slices.BinarySearchFunc(s.index, offset, func(e indexEntry, o int64) int {
		switch {
		case e.offset < o:
			return -1
		case e.offset > o:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	start := s.index[i].pos
	// By the index's rule the batch begins less than every bytes behind the entry.
	buf := make([]byte, min(every+batch.HeaderSize, s.size-start))
	if err := s.readAt(buf, start); err != nil {
		return 0, batch.Header{}, err
	}
	for at := int64(0); at < int64(len(buf)); {
		h, err := batch.ParseHeader(buf[at:])
		if err != nil {
			return 0, h, &DamageError{File: s.path, Pos: start + at, Reason: err.Error()}
		}
		if offset < h.NextOffset() {
			return start + at, h, nil
		}
		at += h.Size
	}
	return 0, batch.Header{}, &DamageError{File: s.path, Pos: start, Reason: fmt.Sprintf("no batch holds offset %d any more", offset)}
}

// read answers whole batches from the one that holds offset on.
func (s *segment) read(offset int64, limit int, every int64) ([]byte, error) {
	pos, h, err := s.find(offset, every)
	if err != nil {
		return nil, err
	}
	if h.Size > s.size-pos {
		return nil, &DamageError{File: s.path, Pos: pos, Reason: fmt.Sprintf("batch length %d reaches beyond the end", h.Size)}
	}
	buf := make([]byte, min(s.size-pos, max(h.Size, int64(limit))))
	if err := s.readAt(buf, pos); err != nil {
		return nil, err
	}
	at := int64(0)
	for at < int64(len(buf)) {
		rest := buf[at:]
		if h, err := batch.ParseHeader(rest); at > 0 && (errors.Is(err, batch.ErrShort) || err == nil && h.Size > int64(len(rest))) {
			break // the limit cut it
		}
		if len(rest) >= batch.HeaderSize {
			seal(rest)
		}
		h, err := batch.Parse(rest)
		if err != nil {
			return nil, &DamageError{File: s.path, Pos: pos + at, Reason: err.Error()}
		}
		at += h.Size
	}
	return buf[:at:at], nil
}

// readAt fills buf; the bytes were there when the segment was opened or written, so an early end is damage.
func (s *segment) readAt(buf []byte, pos int64) error {
	n, err := s.file.ReadAt(buf, pos)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &DamageError{File: s.path, Pos: pos + int64(n), Reason: fmt.Sprintf("the file ends, though %d bytes were stored", s.size)}
	}
	return err
}
