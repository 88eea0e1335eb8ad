package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// pollEvery is how often a log is looked at for more. Triggers fire on events, so it bounds how late they are; three
// files cost nothing at this rate.
const pollEvery = 10 * time.Millisecond

// follower feeds a file that grows to a writer, from its beginning.
type follower struct {
	stop chan struct{}
	done chan struct{}
	err  error // valid when done is closed
}

// follow starts following the file at path, which may not exist yet.
func follow(path string, to io.Writer) *follower {
	f := &follower{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.err = f.run(path, to)
	}()
	return f
}

// finish reads what is there to its end, and stops.
func (f *follower) finish() error {
	close(f.stop)
	<-f.done
	return f.err
}

func (f *follower) run(path string, to io.Writer) error {
	var file *os.File
	buf := make([]byte, 64<<10)
	for last := false; ; {
		if file == nil {
			var err error
			file, err = os.Open(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("following a log: %w", err)
			}
			if err == nil {
				defer file.Close()
			} else {
				file = nil
			}
		}
		if file != nil {
			if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{file}, buf); err != nil {
				return fmt.Errorf("following a log: %w", err)
			}
		}
		if last {
			return nil
		}
		select {
		case <-f.stop:
			last = true
		case <-time.After(pollEvery):
		}
	}
}

// appendTo opens a log for a node to write on, at the beginning of a line: a kill may have cut the last one.
func appendTo(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	var last [1]byte
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size > 0 {
		_, err = f.ReadAt(last[:], size-1)
		if err == nil && last[0] != '\n' {
			_, err = f.WriteString("\n")
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	return f, nil
}

// tailOf reads the end of a file from offset from on, at most 4 KiB; nothing if it cannot be read.
func tailOf(path string, from int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	from = max(from, size-4<<10)
	b := make([]byte, max(0, size-from))
	n, _ := f.ReadAt(b, from)
	return b[:n]
}
