package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"soak/history"
)

const (
	// maxLine bounds what is kept of a line. The longest event is an applied command that changes every partition of a
	// cluster, far below this; longer lines are cut, and a cut event counts as damaged.
	maxLine = 1 << 20

	// maxQuote is how much of a line a history.LogLine quotes.
	maxQuote = 500
)

// Collector reads one node's log, as bytes of it come in, and tells a Sink what matters in it: audit events, each once
// and in the order of the log, the node's own measurements, and lines that speak of a crash or of a proposal that was refused. It is an io.Writer that never
// fails. Its methods are safe for concurrent use, but bytes are read in the order of the calls.
type Collector struct {
	node int32
	sink Sink

	mu      sync.Mutex
	partial []byte
	cut     bool // the line in partial is longer than maxLine
	boot    uint64
	seq     uint64        // of the last event of boot
	started uint64        // highest boot with a Started event
	change  chan struct{} // closed and replaced when started grows
	damaged int
	rest    io.Writer // of lines that were not told as events, nil where nobody wants them
}

// NewCollector reads the log of node.
func NewCollector(node int32, sink Sink) *Collector {
	return &Collector{node: node, sink: sink, change: make(chan struct{})}
}

// KeepRest has each line written to w, with its end, that is not told as an event: what a log holds beside what a run records. What cannot be
// written is left out. It is called before the first bytes of the log.
func (c *Collector) KeepRest(w io.Writer) { c.rest = w }

// Write takes the next bytes of the log.
func (c *Collector) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			c.keep(p)
			break
		}
		if len(c.partial) == 0 && !c.cut {
			c.line(p[:min(end, maxLine)], end > maxLine, false)
		} else {
			c.keep(p[:end])
			c.line(c.partial, c.cut, false)
			c.partial, c.cut = c.partial[:0], false
		}
		p = p[end+1:]
	}
	return n, nil
}

// Flush takes what has come of an unfinished last line for a whole one: the node has ended in the middle of it.
func (c *Collector) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.partial) > 0 {
		c.line(c.partial, c.cut, false)
	}
	c.partial, c.cut = c.partial[:0], false
}

// Line takes one whole line, without its end. A line that has been read before, or may have been, is again: then only
// events that are new are told, because these carry a number by which to tell.
func (c *Collector) Line(line []byte, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line(line[:min(len(line), maxLine)], len(line) > maxLine, again)
}

// Boot is the highest boot number of which a Started event has been read, 0 before the first.
func (c *Collector) Boot() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

// WaitBoot waits until a Started event of a boot higher than above has been read, and returns that boot.
func (c *Collector) WaitBoot(ctx context.Context, above uint64) (uint64, error) {
	for {
		c.mu.Lock()
		boot, change := c.started, c.change
		c.mu.Unlock()
		if boot > above {
			return boot, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for n%d to say that it has started (after boot %d): %w", c.node, above, ctx.Err())
		}
	}
}

// Damaged counts the lines that claimed to be events and could not be read.
func (c *Collector) Damaged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damaged
}

func (c *Collector) keep(p []byte) {
	if room := maxLine - len(c.partial); len(p) > room {
		p, c.cut = p[:room], true
	}
	c.partial = append(c.partial, p...)
}

// cannotPropose is what a log must never hold, as the story's broker wrote it.
var cannotPropose = []byte("Cannot propose")

// lineStart begins every line of the broker's JSON log.
var lineStart = []byte(`{"time":"`)

func (c *Collector) line(line []byte, cut, again bool) {
	e, ok, err := history.ParseEvent(line)
	if c.rest != nil && !again && (!ok || e.Node != c.node) {
		c.rest.Write(append(bytes.Clone(line), '\n'))
	}
	if err != nil {
		// A kill may cut the last line of a boot, with the first line of the next one directly behind it.
		if at := bytes.LastIndex(line, lineStart); at > 0 {
			if after, found, err := history.ParseEvent(line[at:]); err == nil && found {
				e, ok = after, true
			}
		}
		c.damaged++
	}
	if ok {
		c.event(e)
		return
	}
	if again {
		return
	}
	if !cut && c.stats(line) {
		return
	}
	if what := alarm(line); what != "" {
		c.tell(what, line)
	}
	// An event that says so counts as the proposal that it is, even where its line is damaged.
	if err == nil && bytes.Contains(line, cannotPropose) {
		c.tell("cannot_propose", line)
	}
}

func (c *Collector) tell(what string, line []byte) {
	c.sink.Event(history.Event{Time: time.Now().UnixNano(), Body: &history.LogLine{Of: c.node, What: what, Line: Quote(line)}})
}

// event passes on what is new. A log is written in order, so whatever is not beyond the last one has been read before.
func (c *Collector) event(e history.Event) {
	if e.Node != c.node {
		c.damaged++
		return
	}
	if e.Boot < c.boot || e.Boot == c.boot && e.Seq <= c.seq {
		return
	}
	c.boot, c.seq = e.Boot, e.Seq
	c.sink.Event(e)
	if _, is := e.Body.(*history.Started); is && e.Boot > c.started {
		c.started = e.Boot
		close(c.change)
		c.change = make(chan struct{})
	}
}

// stats passes a node's own measurement on, and reports whether the line is one.
func (c *Collector) stats(line []byte) bool {
	if !bytes.Contains(line, []byte(`"msg":"stats"`)) {
		return false
	}
	var s struct {
		Msg      string
		Boot     uint64
		Memory   int64
		HeapLive int64 `json:"heap_live"`

		Goroutines, Descriptors, Disk int64

		Waiting *int64
	}
	if err := json.Unmarshal(line, &s); err != nil || s.Msg != "stats" {
		return false
	}
	c.sink.Stats(history.NodeMetric{
		Node: c.node, Up: true, Boot: s.Boot,
		Memory: max(0, s.Memory), HeapLive: s.HeapLive, Goroutines: s.Goroutines, Descriptors: max(0, s.Descriptors),
		Disk: s.Disk, Waiting: s.Waiting,
	})
	return true
}

// injectedMark stands in what a node says of a disk error that the run itself made up (faultshim.Mark).
var injectedMark = []byte("[fault shim]")

// StoppedByFault reports whether a node's last words are that it stops of a disk error that the run itself made up. Its end is then what the
// fault asked for: a broker must not go on with a disk that it cannot trust.
func StoppedByFault(log []byte) bool {
	for line := range bytes.Lines(log) {
		if alarm(line) == "disk_fault" {
			return true
		}
	}
	return false
}

// alarm says what a line that is no event tells of: "panic", "data_race", "fatal", "disk_fault" (a fatal error that was injected), or "".
func alarm(line []byte) string {
	switch {
	case bytes.HasPrefix(line, []byte("panic:")):
		return "panic"
	case bytes.HasPrefix(line, []byte("fatal error:")):
		return "fatal"
	case bytes.HasPrefix(line, []byte("WARNING: DATA RACE")):
		return "data_race"
	case bytes.Contains(line, []byte(`"msg":"fatal"`)):
		var l struct{ Level, Msg string }
		if json.Unmarshal(line, &l) == nil && l.Level == "ERROR" && l.Msg == "fatal" {
			if bytes.Contains(line, injectedMark) {
				return "disk_fault"
			}
			return "fatal"
		}
	}
	return ""
}

// Quote is a line as a history.LogLine carries it: valid UTF-8 of at most 500 bytes, its beginning.
func Quote(line []byte) string {
	return string(bytes.ToValidUTF8(line[:min(len(line), maxQuote)], nil))
}

// Tail is the end of a log in the same form, of one or more lines: what a node said last before an exit that nobody asked for.
func Tail(log []byte) string {
	log = bytes.TrimRight(log, "\n")
	return string(bytes.ToValidUTF8(log[max(0, len(log)-maxQuote):], nil))
}
