package report

import (
	"fmt"
	"html/template"
	"regexp"
	"strings"

	"soak/checkers"
	"soak/history"
)

// Intervals is the drawing of operations that no order explains: overlapping bars, each with the states that were possible once it had taken effect.
type Intervals struct {
	Name    string
	Earlier int
	Before  string
	Rows    []intervalRow
}

type intervalRow struct {
	Client, Words, After string
	Last, Open           bool
	Drawing              template.HTML
}

// maxIntervals bounds the bars of a drawing; they are the last of the window.
const maxIntervals = 30

// intervals draws the smallest window of a violation of linearizable-metadata; nil of others, and where it could not be found.
func (s *story) intervals() *Intervals {
	if s.checker != checkers.LinearizableMetadata {
		return nil
	}
	var ops []*history.Operation
	for _, op := range s.operations {
		if op.Meta != nil && s.ids[op.ID] {
			ops = append(ops, op)
		}
	}
	w, ok := checkers.Unexplained(ops, s.v.Time)
	if !ok || len(w.Operations) == 0 {
		return nil
	}
	out := &Intervals{Earlier: w.Earlier, Before: stateList(w.Before)}
	list := w.Operations[max(0, len(w.Operations)-maxIntervals):]
	from, to := list[0].Operation.Invoke, s.v.Time
	for _, o := range list {
		from = min(from, o.Operation.Invoke)
	}
	to += max((to-from)/20, 1)
	for _, o := range list {
		op := o.Operation
		out.Name = op.Meta.Name
		row := intervalRow{Client: op.Client, Words: shortIDs(o.Words), After: stateList(o.After), Last: o.Last, Open: o.Open}
		var d svg
		d.open("svg", "class", "intervals", "width", "100%", "height", 22, "aria-hidden", "true")
		x, end := place(op.Invoke, from, to), percent(100)
		if !o.Open {
			end = place(op.Complete, from, to)
		}
		class := "interval"
		switch {
		case o.Last:
			class += " last"
		case o.Open:
			class += " open"
		}
		d.open("rect", "class", class, "x", x, "width", max(end-x, 0.4), "y", 4, "height", 14, "rx", 2)
		d.text("title", fmt.Sprintf("%s: %s (%s)", op.Client, row.Words, lengthWords(op.Complete-op.Invoke)))
		d.close("rect")
		d.close("svg")
		row.Drawing = d.html()
		out.Rows = append(out.Rows, row)
	}
	return out
}

// stateList are possible states, in words.
func stateList(states []string) string {
	if len(states) > 6 {
		return shortIDs(strings.Join(states[:6], " or ")) + fmt.Sprintf(" or %d others", len(states)-6)
	}
	return shortIDs(strings.Join(states, " or "))
}

var topicID = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{24}\b`)

// shortIDs cuts topic ids down to what tells them apart.
func shortIDs(s string) string { return topicID.ReplaceAllString(s, "$1") }
