package partlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"soak/internal/vfs"
)

// markName is the file of marks.
const markName = "synced"

// A record of it: base offset of a segment, bytes of that segment, CRC32C of both; little-endian.
const markSize = 8 + 8 + 4

// marksBytes is how long the file grows before it begins anew.
const marksBytes = 200 * markSize

// mark says how much of a log was synced: all segments before the one of base, and size bytes of that one.
type mark struct{ base, size int64 }

// marks is the file. The last whole record in it counts. It is never synced for its own sake: a killed process leaves it to
// the kernel, and after a loss of power an older mark, or none, says less but nothing false.
type marks struct {
	file vfs.File
	size int64
	last mark
}

// openMarks opens the file in a log's directory, or makes it; the caller makes its name durable.
func openMarks(fsys vfs.FS, dir string) (marks, error) {
	path := filepath.Join(dir, markName)
	f, err := fsys.OpenAppend(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = fsys.Create(path)
	}
	if err != nil {
		return marks{}, err
	}
	m := marks{file: f}
	if err := m.read(); err != nil {
		return marks{}, errors.Join(err, f.Close())
	}
	return m, nil
}

func (m *marks) read() error {
	size, err := m.file.Size()
	if err != nil {
		return err
	}
	m.size = size
	// A file that is longer than any that was written holds nothing to trust behind that length.
	b := make([]byte, min(size, marksBytes))
	if n, err := m.file.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("read %s: %w", m.file.Name(), err)
	}
	for ; len(b) >= markSize; b = b[markSize:] {
		le := binary.LittleEndian
		if le.Uint32(b[16:]) == crc32.Checksum(b[:16], castagnoli) {
			m.last = mark{base: int64(le.Uint64(b)), size: int64(le.Uint64(b[8:]))}
		}
	}
	return nil
}

// set writes a mark that is not less than the last one.
func (m *marks) set(to mark) error {
	if m.last == to {
		return nil
	}
	if m.size+markSize > marksBytes || m.size%markSize != 0 {
		if err := m.file.Truncate(0); err != nil {
			return err
		}
		m.size = 0
	}
	var b [markSize]byte
	le := binary.LittleEndian
	le.PutUint64(b[:], uint64(to.base))
	le.PutUint64(b[8:], uint64(to.size))
	le.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	if _, err := m.file.Write(b[:]); err != nil {
		return err
	}
	m.size += markSize
	m.last = to
	return nil
}

// clear forgets all marks, durable on return: what they speak of is about to be cut.
func (m *marks) clear() error {
	if m.size == 0 {
		return nil
	}
	if err := m.file.Truncate(0); err != nil {
		return err
	}
	m.size, m.last = 0, mark{}
	return m.file.Sync()
}

// Synced tells the log that File was synced and nothing appended since, so that damage of what was synced is told from a torn
// tail at the next open. A mark that cannot be written poisons the log.
func (l *Log) Synced() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	return l.setMark()
}

// setMark marks all of the log as synced; the lock is held.
func (l *Log) setMark() error {
	s := l.active()
	if err := l.marks.set(mark{base: s.base, size: s.size}); err != nil {
		return l.fail(fmt.Errorf("mark %s as synced: %w", s.path, err))
	}
	return nil
}
