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
	stop  chan struct{}
	done  chan struct{}
	spend bool  // what has been read may be given back to the file system
	spent int64 // up to where it has been
	err   error // valid when done is closed
}

// follow starts following the file at path, which may not exist yet. With spend the disk space of what has been read is given back while the file
// grows on: offsets stay, and there is no moment at which what a node writes could be lost, as there is in copying and truncating.
func follow(path string, to io.Writer, spend bool) *follower {
	f := &follower{stop: make(chan struct{}), done: make(chan struct{}), spend: spend}
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
			file, err = os.OpenFile(path, f.mode(), 0)
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
			f.release(file)
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

// mode is how the file is opened: giving space back is writing.
func (f *follower) mode() int {
	if f.spend {
		return os.O_RDWR
	}
	return os.O_RDONLY
}

// What is kept of a log that is spent: those who look at its end, when a node has ended, read far less; and space is given back in pieces that
// are worth a call.
const (
	keepBytes  = 4 << 20
	spendBytes = 4 << 20
)

// release gives the space of what was read back, but for the newest. Where the file system cannot, the file just grows.
func (f *follower) release(file *os.File) {
	if !f.spend {
		return
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil || at-keepBytes-f.spent < spendBytes {
		return
	}
	to := at - keepBytes
	if punch(file, f.spent, to-f.spent) != nil {
		f.spend = false
		return
	}
	f.spent = to
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
