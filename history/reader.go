package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxLine bounds a line's length in bytes. The longest that Soak writes, a piece of the drain of one-byte
// records, stays under 2 MiB.
const maxLine = 16 << 20

// Handler takes what ReadFolder finds. A nil function's file is still read, for damage. An error ends the reading and
// is returned as it is.
type Handler struct {
	Fault     func(*Fault) error
	Operation func(*Operation) error
	Event     func(*Event) error
	Metric    func(*Metric) error
}

// Notes are what ReadFolder took although it was not whole.
type Notes struct {
	Missing   []string // files that are not there
	Truncated []string // files whose last line, or compressed end, is cut: the runner was killed, or the disk was full
	Unknown   int64    // events of kinds that this version does not know
}

// Lines are the notes in words, for a report.
func (n Notes) Lines() []string {
	var out []string
	for _, f := range n.Missing {
		out = append(out, f+" is missing")
	}
	for _, f := range n.Truncated {
		if strings.HasSuffix(f, Compressed) {
			out = append(out, f+" has no end and was read as far as it goes")
			continue
		}
		out = append(out, "the last line of "+f+" is cut and was left out")
	}
	if n.Unknown > 0 {
		out = append(out, fmt.Sprintf("events of unknown kinds were left out: %d", n.Unknown))
	}
	return out
}

// DamageError names the line of a run folder that cannot be read.
type DamageError struct {
	File string // base name
	Line int64  // from 1
	Err  error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *DamageError) Unwrap() error { return e.Err }

// ReadFolder streams a run folder's history: all faults, then all operations, events and metrics, each file in its own
// order. A file may be compressed (.jsonl.zst). A missing file and a cut last line are noted; a line elsewhere that
// cannot be read is a *DamageError. What a handler is given is its own to keep.
func ReadFolder(dir string, h Handler) (Notes, error) {
	var n Notes
	for _, f := range []struct {
		name string
		line func([]byte) error
	}{
		{FaultsFile, decodeLine(h.Fault, (*Fault).check)},
		{HistoryFile, operationLine(h.Operation)},
		{EventsFile, eventLine(h.Event, &n)},
		{MetricsFile, decodeLine(h.Metric, func(*Metric) error { return nil })},
	} {
		if err := readFile(dir, f.name, f.line, &n); err != nil {
			return n, err
		}
	}
	return n, nil
}

// handlerError carries a handler's own error past the damage report.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

func decodeLine[T any](handle func(*T) error, check func(*T) error) func([]byte) error {
	return func(line []byte) error {
		v := new(T)
		if err := json.Unmarshal(line, v); err != nil {
			return err
		}
		if err := check(v); err != nil {
			return err
		}
		if handle != nil {
			if err := handle(v); err != nil {
				return &handlerError{err}
			}
		}
		return nil
	}
}

// operationLine reads lines of one operation and of many.
func operationLine(handle func(*Operation) error) func([]byte) error {
	single := decodeLine(handle, (*Operation).check)
	return func(line []byte) error {
		if !isPack(line) {
			return single(line)
		}
		return unpack(line, func(op *Operation) error {
			if handle != nil {
				if err := handle(op); err != nil {
					return &handlerError{err}
				}
			}
			return nil
		})
	}
}

func eventLine(handle func(*Event) error, n *Notes) func([]byte) error {
	return func(line []byte) error {
		e, ok, err := ParseEvent(line)
		if err != nil {
			return err
		}
		if !ok {
			var any map[string]json.RawMessage
			if err := json.Unmarshal(line, &any); err != nil {
				return fmt.Errorf("reading an event: %w", err)
			}
			n.Unknown++
			return nil
		}
		if handle != nil {
			if err := handle(&e); err != nil {
				return &handlerError{err}
			}
		}
		return nil
	}
}

// ReadLines calls line with each line of one of a run folder's files, which may be compressed as ReadFolder takes it. It is for those who
// must read on behind a line that is damaged, or who need little of each: no line is decoded. The slice is valid until line returns. An
// error of line ends the reading: a *DamageError that wraps it, or a note if the line is cut at the end of the file.
func ReadLines(dir, name string, line func([]byte) error) (Notes, error) {
	var n Notes
	err := readFile(dir, name, line, &n)
	return n, err
}

// ParseOperations reads one line of history.jsonl, and gives what stands in it to take: one operation, or those of a pack. An error of take ends it.
func ParseOperations(line []byte, take func(*Operation) error) error {
	err := operationLine(take)(line)
	if h := (*handlerError)(nil); errors.As(err, &h) {
		return h.err
	}
	return err
}

// ParseOperation reads one operation that stands alone in a line.
func ParseOperation(line []byte) (*Operation, error) {
	var out *Operation
	err := decodeLine(func(op *Operation) error { out = op; return nil }, (*Operation).check)(line)
	return out, err
}

// ParseFault reads one line of faults.jsonl.
func ParseFault(line []byte) (*Fault, error) {
	var out *Fault
	err := decodeLine(func(f *Fault) error { out = f; return nil }, (*Fault).check)(line)
	return out, err
}

func readFile(dir, name string, line func([]byte) error, n *Notes) error {
	file, err := os.Open(filepath.Join(dir, name))
	compressed := errors.Is(err, fs.ErrNotExist)
	if compressed {
		file, err = os.Open(filepath.Join(dir, name+Compressed))
		if errors.Is(err, fs.ErrNotExist) {
			n.Missing = append(n.Missing, name)
			return nil
		}
		name += Compressed
	}
	if err != nil {
		return fmt.Errorf("reading the run's history: %w", err)
	}
	defer file.Close()
	var r io.Reader = file
	if compressed {
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		defer z.Close()
		r = z
	}
	cut, err := readLines(r, name, line)
	if st, serr := file.Stat(); compressed && serr == nil && st.Size() == 0 {
		cut = true // not even the beginning of its form was written
	}
	if cut {
		n.Truncated = append(n.Truncated, name)
	}
	return err
}

// readLines calls line for each line of r. It reports whether the last line was cut: it has no newline and cannot be read,
// or a compressed stream ended in its middle.
func readLines(r io.Reader, name string, line func([]byte) error) (cut bool, err error) {
	br := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for number := int64(1); ; number++ {
		text, err := nextLine(br, &long)
		whole := err == nil
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, &DamageError{name, number, err}
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if lerr := line(text); lerr != nil {
				var h *handlerError
				switch {
				case errors.As(lerr, &h):
					return false, h.err
				case whole:
					return false, &DamageError{name, number, lerr}
				}
				return true, nil
			}
		}
		if !whole {
			return errors.Is(err, io.ErrUnexpectedEOF), nil
		}
	}
}

var errLongLine = fmt.Errorf("the line is longer than %d bytes", maxLine)

// nextLine reads up to and with the next newline. The result is valid until the next call.
func nextLine(br *bufio.Reader, long *[]byte) ([]byte, error) {
	part, err := br.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return part, err
	}
	*long = append((*long)[:0], part...)
	for errors.Is(err, bufio.ErrBufferFull) {
		part, err = br.ReadSlice('\n')
		if len(*long)+len(part) > maxLine {
			return nil, errLongLine
		}
		*long = append(*long, part...)
	}
	return *long, err
}
