package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"soak/history"
)

// logLine is a line of a node's log.
type logLine struct {
	at    int64
	node  int32
	text  string
	bad   bool   // a warning or worse
	about string // the partition that it names
	event string
}

// Bounds of the excerpts.
const (
	logBefore   = int64(1500e6)
	logAfter    = int64(500e6)
	logAround   = int64(250e6) // beside what became of lost records
	maxLogLines = 40           // of a story
	maxLogRead  = 4 << 20      // bytes of one node's log that are looked at behind the place
	maxZstdLog  = 1 << 30      // bytes of a compressed log, unpacked: it must be read from its beginning
)

// excerpt is what all nodes logged around a violation and has to do with it, in the order of time, and how many other lines there were.
func (c *collected) excerpt(s *story) (kept []logLine, others int) {
	at := cmp.Or(s.v.Time, s.to-after)
	if at <= after {
		return nil, 0
	}
	var all []logLine
	windows := [][2]int64{{at - logBefore, at + logAfter}}
	if s.lost != nil { // what became of the records is told later
		for _, e := range []*history.Event{s.lost.led, s.lost.cut} {
			if last := windows[len(windows)-1][1]; e != nil && e.Time > last {
				windows = append(windows, [2]int64{max(e.Time-logAround, last+1), e.Time + logAround})
			}
		}
	}
	for _, n := range c.nodes {
		for _, w := range windows {
			all = append(all, nodeLog(filepath.Join(c.Dir, "logs", fmt.Sprintf("n%d.log", n)), n, w[0], w[1])...)
		}
	}
	read := len(all)
	all = slices.DeleteFunc(all, func(l logLine) bool { return !s.wantsLog(l) })
	slices.SortStableFunc(all, func(a, b logLine) int {
		return cmp.Or(cmp.Compare(distance(a.at, at), distance(b.at, at)))
	})
	all = all[:min(len(all), maxLogLines)]
	slices.SortStableFunc(all, func(a, b logLine) int { return cmp.Compare(a.at, b.at) })
	return all, read - len(all)
}

// wantsLog keeps the lines about the story's partitions, of elections and terms, of planted bugs, and what the nodes concerned say that is about no partition at all.
func (s *story) wantsLog(l logLine) bool {
	switch {
	case l.event == "role" || l.event == "bug" || l.event == "started":
		return true
	case l.about != "":
		return s.keys[l.about]
	}
	if len(s.v.Nodes) == 0 || slices.Contains(s.v.Nodes, l.node) {
		return true
	}
	return slices.ContainsFunc(s.v.Nodes, func(n int32) bool {
		return slices.Contains(strings.FieldsFunc(l.text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), fmt.Sprintf("n%d", n))
	})
}

// nodeLog reads one node's log between two instants. A log that cannot be read gives nothing: the story is told without it.
func nodeLog(path string, node int32, from, to int64) []logLine {
	var r io.Reader
	limit := int64(maxLogRead)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		if err := seekLog(f, from); err != nil {
			return nil
		}
		r = f
	} else {
		if f, err = os.Open(path + ".zst"); err != nil {
			return nil
		}
		defer f.Close()
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil
		}
		defer z.Close()
		r, limit = z, maxZstdLog
	}
	var out []logLine
	sc := bufio.NewScanner(io.LimitReader(r, limit))
	sc.Buffer(make([]byte, 64<<10), 1<<20)
	for sc.Scan() {
		at, ok := logTime(sc.Bytes())
		if !ok || at < from {
			continue
		}
		if at > to {
			break
		}
		if l, ok := readLogLine(sc.Bytes(), at, node); ok && len(out) < 2000 {
			out = append(out, l)
		}
	}
	return out
}

// seekLog goes to a place shortly before an instant, by halving: a log's lines ascend in time.
func seekLog(f *os.File, at int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	low, high := int64(0), st.Size()
	buf := make([]byte, 32<<10)
	for high-low > int64(len(buf)) {
		middle := (low + high) / 2
		n, err := f.ReadAt(buf, middle)
		if n == 0 {
			return err
		}
		t, ok := int64(0), false
		for _, line := range bytes.Split(buf[:n], []byte("\n"))[1:] { // the first is cut
			if t, ok = logTime(line); ok {
				break
			}
		}
		if !ok || t >= at {
			high = middle
		} else {
			low = middle
		}
	}
	_, err = f.Seek(low, io.SeekStart)
	return err
}

// logTime is the time that a line of a log begins with.
func logTime(line []byte) (int64, bool) {
	const key = `{"time":"`
	if !bytes.HasPrefix(line, []byte(key)) {
		return 0, false
	}
	end := bytes.IndexByte(line[len(key):], '"')
	if end < 0 {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(line[len(key):len(key)+end]))
	return t.UnixNano(), err == nil
}

// partitionKey is how a proposal names a partition.
var partitionKey = regexp.MustCompile(`-\d+$`)

// noise is what a node logs all the time.
func noise(event, cause, msg string) bool {
	return msg == "stats" || cause == "periodic" || cause == history.CauseRetention || event == "read" || event == "state_hash" || event == "apply" || event == "claim"
}

func readLogLine(line []byte, at int64, node int32) (logLine, bool) {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return logLine{}, false
	}
	text := func(k string) string { s, _ := fields[k].(string); return s }
	if noise(text("event"), text("cause"), text("msg")) {
		return logLine{}, false
	}
	l := logLine{at: at, node: node, bad: text("level") != "INFO" && text("level") != "DEBUG"}
	l.event = text("event")
	switch n, ok := fields["partition"].(float64); {
	case text("topic") != "" && ok:
		l.about = fmt.Sprintf("%s-%d", text("topic"), int32(n))
	case text("topic") != "":
		l.about = text("topic")
	case partitionKey.MatchString(text("key")):
		l.about = text("key")
	}
	parts := []string{text("level"), text("msg")}
	if text("event") == "" { // an event's message says it all
		for _, k := range []string{"peer", "error", "address", "topic", "partition", "client"} {
			if v, ok := fields[k]; ok {
				parts = append(parts, fmt.Sprintf("%s=%v", k, v))
			}
		}
	} else if e := text("error"); e != "" && e != text("msg") {
		parts = append(parts, "error="+e)
	}
	l.text = cutText(strings.Join(parts, " "), 300)
	return l, true
}
