package checkers

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
)

// spillAt is how many bytes are held in memory before a file is made for them, and spillWrite how many are written to it at a time.
const (
	spillAt    = 8 << 20
	spillWrite = 256 << 10
)

// spill is where the records of a run wait, encoded, until they are judged: in memory while they are few, then in a file without a name, which is gone with
// the process however that ends. What finds no room there stays in memory. It is written from one goroutine, then read from many.
type spill struct {
	dirs    []string // where the file may be made; the first that can be written to is taken
	limit   int      // spillAt
	block   int      // tapeBlock
	stretch int64    // auditStretch
	fetches int      // fetchesAtATime
	file    spillFile
	pending []byte // what is not in the file
	written int64  // what is

	names strings32

	mu  sync.Mutex
	err error // the first that a read met
}

// spillFile is an *os.File, or one of a test.
type spillFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

func newSpill(dirs ...string) *spill {
	return &spill{dirs: dirs, limit: spillAt, block: tapeBlock, stretch: auditStretch, fetches: fetchesAtATime}
}

// write takes data and answers where it can be read.
func (s *spill) write(data []byte) (at int64) {
	at = s.written + int64(len(s.pending))
	s.pending = append(s.pending, data...)
	if len(s.pending) < s.limit {
		return at
	}
	if s.file == nil && !s.create() {
		return at
	}
	n, err := s.file.Write(s.pending)
	s.written += int64(n)
	s.pending = append(s.pending[:0], s.pending[n:]...)
	if err != nil { // a full disk, for one: a verdict that takes more memory is better than none
		s.limit = math.MaxInt
	}
	return at
}

// create makes the file and takes its name away. Where none can be made, all stays in memory.
func (s *spill) create() bool {
	for _, dir := range s.dirs {
		file, err := os.CreateTemp(dir, ".judging-*")
		if err == nil {
			s.file, s.limit = file, min(s.limit, spillWrite)
			if err := os.Remove(file.Name()); err != nil {
				s.fail(fmt.Errorf("taking the name from the temporary file of the records that wait to be judged: %w", err))
			}
			return true
		}
	}
	s.limit = math.MaxInt
	return false
}

// read answers what was written, for the caller to keep. It panics where the file cannot be read: a checker ends there, and who judges asks for the error.
func (s *spill) read(at int64, size int, buf []byte) []byte {
	if at >= s.written {
		from := int(at - s.written)
		return append(buf[:0], s.pending[from:from+size]...)
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	there := min(size, int(s.written-at)) // the rest had no room
	copy(buf[there:], s.pending)
	if n, err := s.file.ReadAt(buf[:there], at); n < there {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		err = fmt.Errorf("reading the records that wait to be judged from their temporary file: %w", err)
		s.fail(err)
		panic(err)
	}
	return buf
}

func (s *spill) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *spill) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// close lets go of the file, and so of what is in it.
func (s *spill) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// strings32 gives strings numbers: those of a history are few, and each stands in many records.
type strings32 struct {
	number map[string]uint64
	list   []string
}

func (x *strings32) of(s string) uint64 {
	n, known := x.number[s]
	if !known {
		if x.number == nil {
			x.number = map[string]uint64{}
		}
		n = uint64(len(x.list))
		x.number[s] = n
		x.list = append(x.list, s)
	}
	return n
}
