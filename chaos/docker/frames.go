package docker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Streams of the engine's multiplexed output.
const (
	stdout = 1
	stderr = 2
)

// maxFrame bounds one frame. The engine cuts log messages at 16 KiB.
const maxFrame = 1 << 20

// frames reads the engine's multiplexed stream: 8 bytes of head (the stream, three bytes of nothing, the size big
// endian), then the content, again and again.
type frames struct{ r *bufio.Reader }

// next gives the next frame; io.EOF at the end. The content is valid until the next call.
func (f frames) next(buf []byte) (stream byte, content []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[4:])
	if head[0] > 3 || size > maxFrame {
		return 0, nil, fmt.Errorf("a frame of the engine's stream begins with %x", head)
	}
	content = append(buf[:0], make([]byte, size)...)
	if _, err := io.ReadFull(f.r, content); err != nil {
		return 0, nil, err
	}
	if head[0] == 3 {
		return 0, nil, fmt.Errorf("the engine says: %s", bytes.TrimSpace(content))
	}
	return head[0], content, nil
}

// logLines puts lines together from log frames with timestamps: each frame is one message, "TIME text", where a message
// without a newline goes on in the next of its stream.
type logLines struct {
	partial [3][]byte
	begun   [3]time.Time
}

// errStamp says that a log message does not begin with its time.
var errStamp = errors.New("a message of the engine's log does not begin with its time")

// add takes a frame, and gives a whole line, without its end, and the time that it began, if it completes one.
func (l *logLines) add(stream byte, content []byte) (line []byte, at time.Time, whole bool, err error) {
	if stream > stderr {
		return nil, at, false, fmt.Errorf("a log message of stream %d", stream)
	}
	stamp, text, found := bytes.Cut(content, []byte(" "))
	at, err = time.Parse(time.RFC3339Nano, string(stamp))
	if !found || err != nil {
		return nil, at, false, errStamp
	}
	if len(l.partial[stream]) == 0 {
		l.begun[stream] = at
	}
	text, whole = bytes.CutSuffix(text, []byte("\n"))
	line = append(l.partial[stream], text...)
	if !whole {
		l.partial[stream] = line[:min(len(line), maxFrame)] // longer lines are cut
		return nil, at, false, nil
	}
	l.partial[stream] = nil
	return line, l.begun[stream], true, nil
}

// rest gives lines that have not come to their end.
func (l *logLines) rest() (lines [][]byte) {
	for i, p := range l.partial {
		if len(p) > 0 {
			lines = append(lines, p)
			l.partial[i] = nil
		}
	}
	return lines
}
