package partlog

import (
	"errors"
	"fmt"
	"slices"
)

// Retention says which segments of a log's beginning may go. A segment goes as a whole, and none goes before an earlier one.
type Retention struct {
	Below  int64 // only what lies below this offset
	Until  int64 // all that lies below this offset; 0: nothing is to go for that
	Before int64 // what holds no record of this time or later, in ms since 1970; a record without a time is of no time. 0: nothing is to go for its age
	Bytes  int64 // the oldest of a log that is as large without them; negative: nothing is to go for the log's size

	FirstRecord bool // a planted bug: a segment's age is that of its first batch
}

// Retain removes segments from the log's beginning and answers the log start offset, durable on return. The last segment stays, but for one whose
// records have all reached their age: an empty one follows it then.
func (l *Log) Retain(r Retention) (start int64, err error) {
	if l.failed != nil {
		return 0, l.failed
	}
	if s := l.active(); s.size > 0 && r.aged(s) && s.next <= r.Below {
		if err := l.roll(); err != nil {
			return 0, err
		}
	}
	l.mu.Lock() // for all of it: readers must not see files vanish under them
	defer l.mu.Unlock()
	total := int64(0)
	for _, s := range l.segs {
		total += s.size
	}
	for len(l.segs) > 1 {
		s := l.segs[0]
		if s.next > r.Below || !(s.next <= r.Until || r.aged(s) || r.Bytes >= 0 && total-s.size >= r.Bytes) {
			break
		}
		// From the first segment up, each made durable: a crash in between leaves a log that begins earlier, never one with a gap.
		if err := errors.Join(s.file.Close(), l.fs.Remove(s.path), l.fs.SyncDir(l.dir)); err != nil {
			return 0, l.fail(fmt.Errorf("remove segment %s, which retention has ended: %w", s.path, err))
		}
		total -= s.size
		l.segs = l.segs[1:]
	}
	l.epochs = epochsFrom(l.epochs, l.Start(), l.End())
	return l.Start(), nil
}

// aged reports whether all records of a segment are older than what is kept.
func (r Retention) aged(s *segment) bool {
	at := s.maxTime
	if r.FirstRecord {
		at = s.firstTime
	}
	return r.Before > 0 && at > 0 && at < r.Before
}

// epochsFrom are the epochs of a log that begins at start, as they are found when it is opened.
func epochsFrom(epochs []EpochStart, start, end int64) []EpochStart {
	if start == end {
		return nil
	}
	i := len(epochs)
	for i > 0 && epochs[i-1].Start > start {
		i--
	}
	out := slices.Clone(epochs[max(i-1, 0):])
	if len(out) > 0 {
		out[0].Start = max(out[0].Start, start)
	}
	return out
}

// Restart empties the log and has it begin at offset, durable on return: nothing that it held is of use. A crash in the middle leaves a beginning of the
// log as it was, or an empty one that begins at 0 or at offset.
func (l *Log) Restart(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if err := l.restart(offset); err != nil {
		return l.fail(fmt.Errorf("begin %s anew at %d: %w", l.dir, offset, err))
	}
	return nil
}

func (l *Log) restart(offset int64) error {
	l.opened = nil
	if err := l.marks.clear(); err != nil {
		return err
	}
	for i, s := range slices.Backward(l.segs) {
		if err := errors.Join(s.file.Close(), l.fs.Remove(s.path), l.fs.SyncDir(l.dir)); err != nil {
			return err
		}
		l.segs = l.segs[:i]
	}
	s, err := createSegment(l.fs, l.dir, offset)
	if err != nil {
		return err
	}
	l.segs, l.epochs = []*segment{s}, nil
	return l.setMark()
}

// SetSegmentBytes changes the size to which segments grow from here on, at least 1. It is for the writer.
func (l *Log) SetSegmentBytes(n int64) { l.opts.SegmentBytes = max(n, 1) }
