package watch

import (
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"soak/chaos/runloop"
	"soak/cmd/soak/internal/show"
	"soak/history"
)

// The least room that the board needs; where there is less, one line of status is drawn in its place.
const (
	boardColumns = 60
	boardRows    = 14
)

// wideColumns is from where two parts of the board stand side by side.
const wideColumns = 120

// boardFaults bounds the active faults that are shown, each with a line of its own.
const boardFaults = 3

// kept is how many seconds of measurements are kept for the sparklines.
const kept = 60

// board is what the live view shows besides the run loop's status.
type board struct {
	nodes      nodeStates
	seconds    []history.Metric // the last ones, oldest first
	checkers   int              // live ones
	virtual    bool             // the run is simulated
	violations map[string]int   // by checker
}

func (b *board) metric(m history.Metric) {
	if len(b.seconds) == kept {
		b.seconds = append(b.seconds[:0], b.seconds[1:]...)
	}
	b.seconds = append(b.seconds, m)
}

// draw lays the board out, every line shorter than columns. elapsed counts from the run's start.
func (b *board) draw(s runloop.Status, style show.Style, columns int, elapsed time.Duration) []string {
	columns--
	wide := columns+1 >= wideColumns
	lines := []string{style.Bold(show.Cut(b.head(s, style, elapsed), columns))}
	nodes, links := b.nodes.row(s, style), b.nodes.links(s.Active, style)
	if wide {
		lines = append(lines, beside(nodes, "links  "+links, columns))
	} else {
		lines = append(lines, nodes, "links  "+links)
	}
	lines = append(lines, b.faults(s, b.last().Time)...)
	spark := 20
	if wide {
		spark = kept
	}
	records, latency := b.records(style, spark), b.latency(style, spark)
	lines = append(lines, records, latency)
	last := "checks   " + show.Plural(int64(b.checkers), "live checker") + ", no violation so far"
	if len(b.violations) > 0 {
		last = "checks   " + b.violated()
	}
	lines = append(lines, last)
	for i, l := range lines {
		if i == 0 {
			continue // cut and painted
		}
		lines[i] = show.Cut(style.Text(l), columns)
		if i == len(lines)-1 && len(b.violations) > 0 {
			lines[i] = style.Bad(lines[i])
		}
	}
	return lines
}

// beside puts the second text behind the first, in the middle of the line where the first leaves it free.
func beside(a, b string, columns int) string {
	gap := columns/2 - utf8.RuneCountInString(a)
	return a + strings.Repeat(" ", max(gap, 3)) + b
}

func (b *board) head(s runloop.Status, style show.Style, elapsed time.Duration) string {
	text := fmt.Sprintf("%-8s", s.Phase)
	if s.Wanted > 0 {
		text += " " + bar(float64(s.Intervals)/float64(s.Wanted), 20, style.ASCII) + fmt.Sprintf(" %d/%d intervals", s.Intervals, s.Wanted)
	} else {
		text += " " + show.Plural(int64(s.Intervals), "interval")
	}
	text += "   " + show.Seconds(elapsed.Truncate(100*time.Millisecond))
	if s.Left > 0 {
		text += ", " + show.Seconds(s.Left.Round(time.Second)) + " left"
	}
	return style.Text(text)
}

func (b *board) faults(s runloop.Status, now int64) []string {
	count := fmt.Sprintf("%d asked, %d proven", s.FaultsAsked, s.FaultsProven)
	if len(s.Active) == 0 {
		return []string{"faults   none now; " + count}
	}
	var lines []string
	for i := range s.Active {
		if i == boardFaults {
			lines = append(lines, fmt.Sprintf("         and %d more", len(s.Active)-boardFaults))
			break
		}
		label := "         "
		if i == 0 {
			label = "faults   "
		}
		lines = append(lines, label+faultWords(&s.Active[i], now))
	}
	lines[len(lines)-1] += "; " + count
	return lines
}

// faultWords says what a fault is, since when it is known to act, and by what that is known.
func faultWords(f *history.Fault, now int64) string {
	text := f.Words()
	if !f.Proven() {
		return text + ": no evidence yet"
	}
	if now > f.Effective {
		text += " for " + show.Seconds(time.Duration(now-f.Effective).Truncate(100*time.Millisecond))
	}
	for i := len(f.Evidence) - 1; i >= 0; i-- {
		if f.Evidence[i].Phase != "before" {
			return text + ": " + f.Evidence[i].What
		}
	}
	return text + ": proven"
}

func (b *board) last() history.Metric {
	if len(b.seconds) == 0 {
		return history.Metric{}
	}
	return b.seconds[len(b.seconds)-1]
}

func (b *board) records(style show.Style, n int) string {
	m := b.last()
	values := make([]int64, len(b.seconds))
	for i := range b.seconds {
		values[i] = perSecond(b.seconds[i].Acked, b.seconds[i].Interval)
	}
	return fmt.Sprintf("records  %s  %s/s, %s", spark(values, n, style.ASCII), show.Count(perSecond(m.Acked, m.Interval)), show.Plural(m.Failed+m.Unknown, "error"))
}

func (b *board) latency(style show.Style, n int) string {
	m := b.last()
	values := make([]int64, len(b.seconds))
	for i := range b.seconds {
		values[i] = b.seconds[i].LatencyP99
	}
	text := "latency  " + spark(values, n, style.ASCII)
	if b.virtual {
		return "latency  not measured in virtual time"
	}
	if m.LatencyMax == 0 {
		return text + "  nothing was answered"
	}
	return text + fmt.Sprintf("  p50 %s, p99 %s, most %s", millis(m.LatencyP50), millis(m.LatencyP99), millis(m.LatencyMax))
}

// violated names the checkers that found something, with how much.
func (b *board) violated() string {
	names := make([]string, 0, len(b.violations))
	for name := range b.violations {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (%d)", name, b.violations[name])
	}
	return "VIOLATED " + strings.Join(names, ", ")
}

func perSecond(n, interval int64) int64 {
	if interval <= 0 {
		return 0
	}
	return int64(float64(n) * float64(time.Second) / float64(interval))
}

// millis writes a latency with three digits or so: 0.85 ms, 12.3 ms, 450 ms.
func millis(ns int64) string {
	ms := float64(ns) / 1e6
	switch {
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
