package report

import (
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"soak/history"
)

// Intervals is the drawing of operations that no order explains: overlapping bars, each with the states that were possible once it had taken effect, and
// before them the writes that the last answer contradicts.
type Intervals struct {
	Name    string
	Earlier int
	Before  string
	Scale   template.HTML
	Rows    []intervalRow
	Broken  string // what the axis leaves out
	Context bool   // some of it only surrounds what went wrong
}

type intervalRow struct {
	ID, Client, Node, Asked, Answered, Words, After, Index string
	Last, Open, Contradicted                               bool
	Aside                                                  bool // it only surrounds what went wrong
	Drawing                                                template.HTML
}

// maxIntervals bounds the bars of a drawing; they are the last of the window.
const maxIntervals = 30

// maxStretched is how many times as long as the window the axis may become to hold the writes before it too. Beyond that they have no bar.
const maxStretched = 40

// intervals draws the smallest window of a violation of linearizable-metadata; nil of others, and where it could not be found.
func (s *story) intervals(c *collected) *Intervals {
	if s.metadata == nil || !s.metadata.ok {
		return nil
	}
	w := s.metadata.window
	out := &Intervals{Earlier: w.Earlier, Before: stateList(w.Before)}
	list := w.Operations[max(0, len(w.Operations)-maxIntervals):]
	from, to := list[0].Operation.Invoke, s.v.Time
	for _, o := range list {
		from = min(from, o.Operation.Invoke)
	}
	// All of it on one axis, if the window can still be seen then.
	first := from
	for _, o := range w.Contradicts {
		first = min(first, o.Operation.Invoke)
	}
	if to-first <= maxStretched*max(to-from, 1) {
		from = first
	} else if len(w.Contradicts) > 0 {
		out.Broken = fmt.Sprintf("The axis begins at %s; what was answered before it has no bar.", c.clock(from))
	}
	pad := max((to-from)/30, 1)
	from, to = from-pad, to+pad
	out.Scale = intervalScale(c, from, to)
	digits := 3
	if to-from < 50e6 {
		digits = 6
	}
	for _, o := range slices.Concat(w.Contradicts, list) {
		op := o.Operation
		out.Name = op.Meta.Name
		row := intervalRow{ID: op.ID, Client: op.Client, Node: nodeOr(op.Node, "not recorded"), Asked: c.clockTo(op.Invoke, digits), Words: shortIDs(o.Words), After: stateList(o.After), Last: o.Last, Open: o.Open, Contradicted: op == s.metadata.broken, Aside: s.aside(op)}
		if o.Broken && !row.Contradicted {
			row.After = "the topic that the last answer speaks of"
		}
		switch {
		case !o.Open:
			row.Answered = c.clockTo(op.Complete, digits)
		case op.Outcome == history.OK && op.Complete != 0:
			row.Answered = "later"
		}
		if op.Meta.Index != 0 && !o.Open {
			row.Index = fmt.Sprint(op.Meta.Index)
		}
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
		if end > 0 {
			d.open("rect", "class", class, "x", x, "width", max(end-x, 0.6), "y", 4, "height", 14, "rx", 2)
			d.text("title", fmt.Sprintf("%s: %s (%s)", op.Client, row.Words, lengthWords(op.Complete-op.Invoke)))
			d.close("rect")
		} else {
			d.text("text", "← earlier", "x", 0, "y", 15)
		}
		d.close("svg")
		row.Drawing = d.html()
		out.Context = out.Context || row.Aside
		out.Rows = append(out.Rows, row)
	}
	return out
}

// maxLabels bounds the labels of the axis, whatever the times are: three are aimed at.
const maxLabels = 16

// intervalScale is the axis of the bars, in the run's seconds.
func intervalScale(c *collected, from, to int64) template.HTML {
	if to-from <= 0 {
		return "" // times of a damaged folder, beyond what their difference can say
	}
	var d svg
	d.open("svg", "class", "intervals scale", "width", "100%", "height", 18, "role", "img", "aria-label", "time from "+c.clock(from)+" to "+c.clock(to))
	step := niceStep(to-from, 3)
	digits := 0
	for unit := int64(1e9); unit > step && digits < 6; unit /= 10 {
		digits++
	}
	first := (from-c.from)/step*step + c.from
	for nth := range int64(maxLabels) {
		at := first + nth*step
		if at > to {
			break
		}
		if at < from {
			continue
		}
		x := place(at, from, to)
		anchor := "middle"
		if x < 8 {
			anchor = "start"
		} else if x > 92 {
			anchor = "end"
		}
		d.empty("line", "class", "grid", "x1", x, "x2", x, "y1", 13, "y2", 18)
		d.text("text", c.clockTo(at, digits), "x", x, "y", 11, "text-anchor", anchor)
	}
	d.close("svg")
	return d.html()
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
