package partlog

import (
	"fmt"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
)

// Producers is what the log knows of idempotent producers, all its batches read in order. After Open it costs nothing, because all of them were
// read anyway; later it reads their headers from disk. The table is the caller's. It is for the writer.
func (l *Log) Producers() (*producers.Table, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if t := l.opened; t != nil {
		l.opened = nil
		return t, nil
	}
	t := producers.New(0)
	for _, s := range l.segs {
		if err := s.headers(t.Add); err != nil {
			return nil, fmt.Errorf("read the producers of %s: %w", l.dir, err)
		}
	}
	return t, nil
}

// headersBuffer is how much is read at once in search of headers. Batches longer than that are passed over without being read.
const headersBuffer = 64 << 10

// headers calls f with each batch's header, in order.
func (s *segment) headers(f func(batch.Header)) error {
	buf := make([]byte, 0, min(headersBuffer, s.size))
	from, next := int64(0), s.base // where buf begins, and the offset that must come
	for pos := int64(0); pos < s.size; {
		if at := pos - from; at+batch.HeaderSize > int64(len(buf)) {
			from = pos
			buf = buf[:min(int64(cap(buf)), s.size-pos)]
			if err := s.readAt(buf, pos); err != nil {
				return err
			}
		}
		h, err := batch.ParseHeader(buf[pos-from:])
		if err == nil && h.BaseOffset != next {
			err = fmt.Errorf("base offset %d, want %d", h.BaseOffset, next)
		}
		if err != nil {
			return &DamageError{File: s.path, Pos: pos, Reason: err.Error()}
		}
		f(h)
		next = h.NextOffset()
		pos += h.Size
	}
	return nil
}
