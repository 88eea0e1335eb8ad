// Package watch follows a run that is under way: it feeds the live checkers with what the runner records, says what
// is going on, tells violations as they are found, and asks for the end of the run where the first is to end it. It
// decides nothing about the run's verdict: that is judged from the run folder, afterwards.
package watch

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"soak/chaos/runloop"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/history"
)

// Every is the time between two lines of progress where lines cannot be redrawn.
const Every = 5 * time.Second

// shownOfKind bounds the lines for one kind of violation of one checker: a bug that violates a hundred times a second
// must not drown the run. All are counted, and all are in the verdict.
const shownOfKind = 3

// Config says what is watched and where it is told.
type Config struct {
	Checkers []checkers.Checker // live ones
	Stderr   io.Writer
	Style    show.Style // of Stderr
	JSON     *JSON      // nil: none
	Quiet    bool       // no progress
	Now      func() time.Time
	Start    time.Time // what times are counted from
	Virtual  bool      // the run is simulated: its own clock is shown, to the virtual second, and throughput by it

	// Fatal is asked once for each violation; the first that it says true for calls End. nil: none ends the run.
	Fatal func(checker string, v checkers.Violation) bool
	End   func(reason string)
}

// Watch follows one run. Its methods may be called from any goroutine.
type Watch struct {
	c Config

	mu      sync.Mutex
	told    []int        // violations already told, by checker
	kinds   map[kind]int // and how many of each kind
	found   int          // violations in all
	ended   bool         // End was called
	phase   string       // last told
	active  map[int]bool // faults told as active
	proven  map[int]bool // and as in effect
	board   board
	drawn   []string       // the lines of the board or of status as drawn, none if there are none
	columns int            // of the terminal when they were
	lastOut time.Time      // of the last line of progress
	lastRow time.Time      // of the last status as JSON
	noLead  bool           // these two said that no leader is known
	status  runloop.Status // the last
}

type kind struct{ checker, kind string }

// New returns a Watch. A nil Now is the system's clock.
func New(c Config) *Watch {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Start.IsZero() {
		c.Start = c.Now()
	}
	b := board{checkers: len(c.Checkers), virtual: c.Virtual, violations: make(map[string]int)}
	return &Watch{c: c, board: b, told: make([]int, len(c.Checkers)), kinds: make(map[kind]int), active: make(map[int]bool), proven: make(map[int]bool)}
}

// Observe takes a record as the runner wrote it: *history.Event, *history.Operation, *history.Fault or *history.Metric.
func (w *Watch) Observe(record any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch r := record.(type) {
	case *history.Event:
		for _, c := range w.c.Checkers {
			c.Event(r)
		}
		w.board.nodes.event(r)
	case *history.Operation:
		for _, c := range w.c.Checkers {
			c.Operation(r)
		}
	case *history.Fault:
		for _, c := range w.c.Checkers {
			c.Fault(r)
		}
		w.tellFault(r)
	case *history.Metric:
		for _, c := range w.c.Checkers {
			if m, ok := c.(checkers.Metered); ok {
				m.Metric(r)
			}
		}
		w.board.metric(*r)
	}
}

// Status takes how the run stands. It is called a few times a second; violations are looked for then.
func (w *Watch) Status(s runloop.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.status; w.c.Virtual && s.Since > last.Since {
		w.board.metric(history.Metric{Time: s.Now, Interval: int64(s.Since - last.Since), Acked: s.Acked - last.Acked, Failed: s.Failed - last.Failed, Unknown: s.Unknown - last.Unknown})
	}
	w.status = s
	w.tellViolations()
	if s.Phase != w.phase {
		w.phase = s.Phase
		w.c.JSON.write(map[string]any{"type": "phase", "phase": s.Phase, "seconds": w.since()})
		w.lastOut, w.lastRow = time.Time{}, time.Time{} // a new phase is told at once
	}
	if w.noLead && s.RaftLeader != 0 {
		w.lastOut, w.lastRow = time.Time{}, time.Time{} // so is a leader: what was said last is not true any more
	}
	for i := range s.Active {
		f := &s.Active[i]
		if !w.active[f.ID] {
			w.active[f.ID] = true
			w.print(fmt.Sprintf("%s  fault %d: %s", w.clock(), f.ID, f.Words()))
			w.c.JSON.write(map[string]any{"type": "fault", "state": "asked", "id": f.ID, "kind": f.Kind, "target": f.Target,
				"nodes": f.Nodes, "seconds": w.since()})
		}
		if f.Proven() && !w.proven[f.ID] {
			w.proven[f.ID] = true
			w.c.JSON.write(map[string]any{"type": "fault", "state": "in effect", "id": f.ID, "kind": f.Kind, "target": f.Target,
				"nodes": f.Nodes, "seconds": w.since()})
		}
	}
	w.progress()
}

// Found is how many violations the live checkers have found so far.
func (w *Watch) Found() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellViolations()
	return w.found
}

// Say prints a line of its own, such as what a driver is building.
func (w *Watch) Say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.print(fmt.Sprintf(format, args...))
}

// Close wipes the board.
func (w *Watch) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wipe()
}

func (w *Watch) tellFault(f *history.Fault) {
	state, word := "proven", "proven, healed"
	switch {
	case !f.Proven():
		state, word = "unproven", "without evidence that it took effect"
	case f.Healed == 0:
		word = "proven, not seen healed"
	}
	if f.Error != "" {
		word += ": " + f.Error
	}
	w.print(fmt.Sprintf("%s  fault %d: %s: %s", w.clock(), f.ID, f.Words(), word))
	w.c.JSON.write(map[string]any{"type": "fault", "state": state, "id": f.ID, "kind": f.Kind, "target": f.Target,
		"nodes": f.Nodes, "error": f.Error, "seconds": w.since()})
}

func (w *Watch) tellViolations() {
	for i, c := range w.c.Checkers {
		all := c.Violations()
		for ; w.told[i] < len(all); w.told[i]++ {
			w.tellViolation(c.ID(), all[w.told[i]])
		}
	}
}

func (w *Watch) tellViolation(checker string, v checkers.Violation) {
	w.found++
	w.board.violations[checker]++
	k := kind{checker, v.Kind}
	w.kinds[k]++
	w.c.JSON.write(map[string]any{"type": "violation", "checker": checker, "kind": v.Kind, "sentence": v.Sentence,
		"nodes": v.Nodes, "time": v.Time, "seconds": w.since()})
	switch n := w.kinds[k]; {
	case n <= shownOfKind:
		w.printMarked(w.c.Style.Violation(checker)+": ", v.Sentence)
	case n == shownOfKind+1:
		w.printMarked(w.c.Style.Violation(checker)+": ", "more of this kind; they are counted, not shown")
	}
	if w.c.Fatal != nil && !w.ended && w.c.Fatal(checker, v) {
		w.ended = true
		w.c.End("violation of " + checker)
	}
}

// progress redraws the board, or prints it as a line when it is time for one.
func (w *Watch) progress() {
	now := w.c.Now()
	w.progressJSON(now)
	terminal := w.c.Style.Terminal
	if !terminal && now.Sub(w.lastOut) < Every {
		return
	}
	if terminal {
		w.redraw()
	} else {
		w.print(w.clock() + "  " + StatusLine(w.status, w.board.last(), w.found))
	}
	w.lastOut = now
}

// redraw puts the board, or one line where the terminal is too small for it, in the place of what was drawn last.
func (w *Watch) redraw() {
	columns, rows := show.Size(w.c.Stderr)
	w.wipe()
	w.columns = columns
	if columns >= boardColumns && rows >= boardRows {
		w.drawn = w.board.draw(w.status, w.c.Style, columns, w.elapsed())
	} else {
		w.drawn = []string{w.c.Style.Text(show.Cut(w.clock()+"  "+StatusLine(w.status, w.board.last(), w.found), columns-1))}
	}
	w.write(strings.Join(w.drawn, "\n"))
}

// progressJSON writes the status for programs, whatever standard error is.
func (w *Watch) progressJSON(now time.Time) {
	if now.Sub(w.lastRow) < Every {
		return
	}
	s := w.status
	w.lastRow, w.noLead = now, s.RaftLeader == 0
	w.c.JSON.write(map[string]any{"type": "status", "phase": s.Phase, "intervals": s.Intervals, "wanted": s.Wanted,
		"leader": s.RaftLeader, "term": s.Term, "acked": s.Acked, "failed": s.Failed, "unknown": s.Unknown,
		"faults_asked": s.FaultsAsked, "faults_proven": s.FaultsProven, "violations": w.found, "seconds": w.since(),
		"records_per_second": perSecond(w.board.last().Acked, w.board.last().Interval), "latency_p50": w.board.last().LatencyP50, "latency_p99": w.board.last().LatencyP99, "left_seconds": s.Left.Seconds()})
}

// StatusLine says how a run stands: phase, intervals counted of asked, who leads, which fault is active, throughput
// and errors of the last second, time left.
func StatusLine(s runloop.Status, m history.Metric, violations int) string {
	parts := []string{s.Phase}
	if s.Wanted > 0 {
		parts = append(parts, fmt.Sprintf("%d/%d intervals", s.Intervals, s.Wanted))
	} else {
		parts = append(parts, show.Plural(int64(s.Intervals), "interval"))
	}
	if s.RaftLeader != 0 {
		parts = append(parts, fmt.Sprintf("n%d leads (term %d)", s.RaftLeader, s.Term))
	} else {
		parts = append(parts, "no leader")
	}
	var active []string
	for i := range s.Active {
		active = append(active, s.Active[i].Words())
	}
	if len(active) == 0 {
		active = []string{"no fault"}
	}
	parts = append(parts, strings.Join(active, " + "), throughput(m))
	if violations > 0 {
		parts = append(parts, show.Plural(int64(violations), "violation"))
	}
	if s.Left > 0 {
		parts = append(parts, show.Seconds(s.Left.Round(time.Second))+" left")
	}
	return strings.Join(parts, "  ")
}

func throughput(m history.Metric) string {
	return fmt.Sprintf("%s records/s, %s", show.Count(perSecond(m.Acked, m.Interval)), show.Plural(m.Failed+m.Unknown, "error"))
}

// elapsed is how long the run has been going on, on its own clock.
func (w *Watch) elapsed() time.Duration {
	if w.c.Virtual {
		return w.status.Since
	}
	return w.c.Now().Sub(w.c.Start)
}

func (w *Watch) since() float64 { return float64(w.elapsed().Milliseconds()) / 1000 }

func (w *Watch) clock() string { return fmt.Sprintf("%6.1f s", w.since()) }

// print writes a line above the board.
func (w *Watch) print(text string) { w.printLine(w.c.Style.Text(text)) }

// printMarked does the same after a mark that may hold colours.
func (w *Watch) printMarked(mark, text string) {
	w.printLine(w.clock() + "  " + mark + w.c.Style.Text(text))
}

func (w *Watch) printLine(text string) {
	drawn := w.drawn
	w.wipe()
	w.write(text + "\n")
	if len(drawn) > 0 {
		w.drawn = drawn
		w.write(strings.Join(drawn, "\n"))
	}
}

// wipe removes what is drawn and leaves the cursor where it began. A terminal that was made narrower since has broken
// the lines into more.
func (w *Watch) wipe() {
	if len(w.drawn) == 0 {
		return
	}
	up := 0
	columns, _ := show.Size(w.c.Stderr)
	for i, line := range w.drawn {
		n := 1
		if columns < w.columns {
			n = max(1, (show.Columns(line)+columns-1)/columns)
		}
		if i == len(w.drawn)-1 {
			n-- // the cursor stands in the last
		}
		up += n
	}
	w.drawn = nil
	if up > 0 {
		w.write(fmt.Sprintf("\r\x1b[%dA\x1b[J", up))
	} else {
		w.write("\r\x1b[J")
	}
}

// write ignores errors: a closed terminal must not end a run whose verdict is still to be written.
func (w *Watch) write(s string) {
	if !w.c.Quiet {
		_, _ = io.WriteString(w.c.Stderr, s)
	}
}
