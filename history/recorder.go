package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Files of a run folder that hold its history.
const (
	EventsFile  = "events.jsonl"
	HistoryFile = "history.jsonl"
	FaultsFile  = "faults.jsonl"
	MetricsFile = "metrics.jsonl"
	RunFile     = "run.json"
)

// Compressed is what the name of a compressed file ends with.
const Compressed = ".zst"

// Recorder writes a run's history into its folder, one JSON object a line. It is safe for concurrent use.
//
// Its recording methods return nothing, because those who record cannot act on a full disk: the first failed write is
// kept, nothing is written to that file after it (a line behind a torn one would look like damage), and Err tells.
type Recorder struct {
	events, operations, faults, metrics *lines
}

// NewRecorder creates the four files in dir, which it creates if need be. A file that is there already is
// an error that wraps fs.ErrExist: a run is never written over.
func NewRecorder(dir string) (*Recorder, error) { return newRecorder(dir, false) }

// NewPackedRecorder is NewRecorder for long runs: all but the faults is compressed (zstd), and ordinary operations share lines. The folder is then of
// FormatVersion, otherwise of PlainFormat.
func NewPackedRecorder(dir string) (*Recorder, error) { return newRecorder(dir, true) }

func newRecorder(dir string, packed bool) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the run folder: %w", err)
	}
	r := &Recorder{}
	for _, f := range []struct {
		name string
		to   **lines
	}{{EventsFile, &r.events}, {HistoryFile, &r.operations}, {FaultsFile, &r.faults}, {MetricsFile, &r.metrics}} {
		l, err := newLines(filepath.Join(dir, f.name), packed && f.name != FaultsFile)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("creating the run's history: %w", err), r.Close())
		}
		*f.to = l
	}
	if packed {
		r.operations.pack = newPacker()
	}
	return r, nil
}

// Event records a broker's audit event, or an observation of the runner.
func (r *Recorder) Event(e Event) {
	r.events.add(func(buf []byte) ([]byte, error) { return AppendEvent(buf, &e), nil })
}

// Operation records a client operation once it is over. The operation must not change during the call.
func (r *Recorder) Operation(op *Operation) { r.operations.operation(op) }

// Fault records a fault once it is healed or given up.
func (r *Recorder) Fault(f Fault) { r.faults.json(&f) }

// Metric records one second's measurements.
func (r *Recorder) Metric(m Metric) { r.metrics.json(&m) }

// Err is the first write that failed, with the file's name, or nil.
func (r *Recorder) Err() error {
	var errs []error
	for _, l := range r.all() {
		l.mu.Lock()
		errs = append(errs, l.err)
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Flush hands everything recorded so far to the operating system. The caller calls it each second, so that a
// killed runner loses little.
func (r *Recorder) Flush() error {
	for _, l := range r.all() {
		l.mu.Lock()
		l.flush()
		l.mu.Unlock()
	}
	return r.Err()
}

// Close flushes, syncs and closes the files. It returns the first error of the recorder's life. Recording after
// Close is dropped and makes Err fail.
func (r *Recorder) Close() error {
	err := r.Flush()
	for _, l := range r.all() {
		err = errors.Join(err, l.close())
	}
	return err
}

func (r *Recorder) all() []*lines {
	var out []*lines
	for _, l := range []*lines{r.events, r.operations, r.faults, r.metrics} {
		if l != nil {
			out = append(out, l)
		}
	}
	return out
}

// lines is one file of lines.
type lines struct {
	mu     sync.Mutex
	file   *os.File
	zip    *zstd.Encoder // between w and file, nil where the file is plain
	w      *bufio.Writer
	pack   *packer // operations that will share a line; nil where each has its own
	buf    []byte
	err    error
	closed bool
}

// window is how far back the compression looks for what it has seen. A second of a busy run is far smaller, and more costs memory for little.
const window = 1 << 20

func newLines(path string, compressed bool) (*lines, error) {
	if compressed {
		path += Compressed
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	l := &lines{file: file}
	if !compressed {
		l.w = bufio.NewWriterSize(file, 256<<10)
		return l, nil
	}
	l.zip, err = zstd.NewWriter(file, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.w = bufio.NewWriterSize(l.zip, 256<<10)
	return l, nil
}

func (l *lines) json(v any) {
	line, err := json.Marshal(v) // outside the lock
	l.add(func(buf []byte) ([]byte, error) { return append(buf, line...), err })
}

// operation writes an operation, alone or with others.
func (l *lines) operation(op *Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pack != nil && l.pack.add(op) {
		if l.pack.full() {
			l.writePack()
		}
		return
	}
	l.writePack()
	line, err := json.Marshal(op)
	l.write(func(buf []byte) ([]byte, error) { return append(buf, line...), err })
}

// writePack writes the operations that have been collected, as one line.
func (l *lines) writePack() {
	if l.pack == nil || l.pack.empty() {
		return
	}
	l.write(func(buf []byte) ([]byte, error) {
		line, err := l.pack.line()
		return append(buf, line...), err
	})
	l.pack = newPacker()
}

// add writes one line.
func (l *lines) add(encode func([]byte) ([]byte, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(encode)
}

// write writes one line. A line that does not fit the buffer's rest is preceded by a flush, so that what reaches the
// file between flushes is whole lines, wherever the runner is killed. (Of a compressed file the reader takes the part that is there.)
func (l *lines) write(encode func([]byte) ([]byte, error)) {
	if l.err != nil {
		return
	}
	if l.closed {
		l.fail(os.ErrClosed)
		return
	}
	buf, err := encode(l.buf[:0])
	if err != nil {
		l.fail(err)
		return
	}
	l.buf = append(buf, '\n')
	if l.w.Available() < len(l.buf) {
		l.drain()
	}
	if l.err == nil {
		if _, err := l.w.Write(l.buf); err != nil {
			l.fail(err)
		}
	}
}

// flush hands all that was added to the operating system.
func (l *lines) flush() {
	if l.closed {
		return
	}
	l.writePack()
	l.drain()
	if l.err == nil && l.zip != nil {
		if err := l.zip.Flush(); err != nil {
			l.fail(err)
		}
	}
}

// drain empties the buffer.
func (l *lines) drain() {
	if l.err == nil && !l.closed {
		if err := l.w.Flush(); err != nil {
			l.fail(err)
		}
	}
}

func (l *lines) fail(err error) {
	l.err = fmt.Errorf("recording to %s: %w", filepath.Base(l.file.Name()), err)
}

func (l *lines) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.zip != nil && l.err == nil {
		err = l.zip.Close()
	}
	err = errors.Join(err, l.file.Sync(), l.file.Close())
	if err != nil && l.err == nil {
		l.fail(err)
		return l.err
	}
	return nil
}
