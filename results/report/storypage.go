package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"soak/checkers"
)

// storyPage is one violation on the page.
type storyPage struct {
	Number                        int
	Checker, What, Kind, Sentence string
	At, Nodes, Faults             string
	Same                          []sameRow // the other violations of its cause
	SameCount                     int
	AtLeast                       bool   // the verdict keeps no more of them
	Total                         string // of lost records
	Leads                         string // partitions whose leader is drawn
	Legend                        template.HTML
	Steps                         []stepRow
	LeftOut                       int
	Lanes                         []string
	Evidence                      []string
	ActiveFaults                  []faultRow
	Operations                    string
	Intervals                     *Intervals
	Knowledge                     *Knowledge
	Replay                        *command // to look closer
	Sends                         *Sends
	Log                           []logRow
	LogLeft                       string
}

// logRow is a line of a log on the page.
type logRow struct {
	At, Node, Text string
	Bad            bool
}

// stepRow is one row of a story.
type stepRow struct {
	At, Gap, Text string
	Class         string
	Drawing       template.HTML
	Evidence      bool
	Aside         bool   // of an operation that only surrounds what went wrong
	ID            string // of an operation that the violation names
}

func (c *collected) storyPages() []storyPage {
	var out []storyPage
	for _, s := range c.shown() {
		p := storyPage{Number: s.number, Checker: s.checker, What: upper(explains(s.checker)), Kind: strings.ReplaceAll(s.v.Kind, "-", " "), Sentence: shortIDs(s.v.Sentence),
			Nodes: nodeNames(s.v.Nodes), Faults: c.faultWords(s.v.Faults, s.concern()), Evidence: s.v.Evidence, Legend: storyLegend}
		p.Same, p.SameCount = c.same(s)
		p.AtLeast = c.keptFewer(s)
		led := s.partitions(c)
		p.Leads = strings.Join(led.names(), ", ")
		if s.v.Time != 0 {
			p.At = c.clock(s.v.Time)
		}
		p.Faults = cmp.Or(p.Faults, c.noFaultWords(s.v.Time, s.concern()))
		if len(s.v.Faults) > 0 {
			p.Faults = "during " + p.Faults
		}
		s.settle()
		p.Intervals, p.Sends = s.intervals(c), c.sendsDrawing(s)
		if s.lost != nil {
			p.Total = strings.TrimSpace(c.lostInAll() + " " + s.lostWords(c))
		}
		steps, leftOut := c.steps(s)
		p.LeftOut = leftOut
		p.Lanes = append(p.Lanes, "clients")
		for _, n := range c.nodes {
			p.Lanes = append(p.Lanes, fmt.Sprintf("n%d", n))
		}
		digits := digitsOf(steps, c.from)
		for i, st := range steps {
			row := stepRow{At: c.clockTo(st.at, digits), Text: st.text, Evidence: st.evidence, Aside: st.aside, ID: s.named(st.id), Drawing: c.drawStep(st, led)}
			if i > 0 {
				row.Gap = gapWords(st.at - steps[i-1].at)
			}
			switch {
			case st.fault:
				row.Class = "fault"
			case st.evidence:
				row.Class = "evidence"
			case st.aside:
				row.Class = "aside"
			}
			p.Steps = append(p.Steps, row)
		}
		log, others := c.excerpt(s)
		if others > 0 {
			p.LogLeft = plural(int64(others), "other line")
		}
		for _, l := range log {
			p.Log = append(p.Log, logRow{c.clock(l.at), fmt.Sprintf("n%d", l.node), l.text, l.bad})
		}
		p.ActiveFaults = c.storyFaults(s)
		p.Operations = s.operationWords(steps)
		p.Replay = c.storyCommand(s)
		if s.metadata != nil && s.metadata.knew != nil {
			p.Knowledge = s.metadata.knew.page(c)
		}
		out = append(out, p)
	}
	return out
}

// partitions are those whose leaders a story draws.
type partitions []partition

func (l partitions) names() []string {
	var out []string
	for _, p := range l {
		out = append(out, p.String())
	}
	return out
}

// partitions of a story are those that it is about.
func (s *story) partitions(c *collected) partitions {
	var out partitions
	for p := range c.states.placings {
		if s.keys[p.String()] {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b partition) int { return strings.Compare(a.String(), b.String()) })
	return out[:min(len(out), 2)]
}

// leadsPartition reports whether a node was the leader of one of the partitions, by the cluster's metadata.
func (c *collected) leadsPartition(node int32, at int64, list partitions) bool {
	for _, p := range list {
		if leaderAt(c.states.placings[p], at) == node {
			return true
		}
	}
	return false
}

// digitsOf is how many digits tell a story's rows apart: at least three, and at most six, which is a microsecond.
func digitsOf(steps []step, from int64) int {
	digits := 3
	for i := 1; i < len(steps); i++ {
		for digits < 6 && steps[i].at != steps[i-1].at && secondsTo(steps[i].at-from, digits) == secondsTo(steps[i-1].at-from, digits) {
			digits++
		}
	}
	return digits
}

// sameRow is what else belongs to a story's cause: so many of one checker and kind.
type sameRow struct {
	Checker, Kind, First, Last, Sentence string
	Count                                int
}

func (c *collected) same(s *story) (out []sameRow, total int) {
	if s.cause == nil {
		return nil, 0
	}
	type group struct {
		row      sameRow
		from, to int64
	}
	var groups []*group
	for _, m := range s.cause.list {
		if m.v == s.v {
			continue
		}
		total++
		i := slices.IndexFunc(groups, func(g *group) bool { return g.row.Checker == m.checker && g.row.Kind == m.v.Kind })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{row: sameRow{Checker: m.checker, Kind: m.v.Kind, Sentence: cutText(shortIDs(m.v.Sentence), 400)}, from: m.v.Time, to: m.v.Time})
		}
		g := groups[i]
		g.row.Count++
		if m.v.Time != 0 {
			g.from, g.to = min(cmp.Or(g.from, m.v.Time), m.v.Time), max(g.to, m.v.Time)
		}
	}
	for _, g := range groups {
		if g.from != 0 {
			g.row.First, g.row.Last = c.clock(g.from), c.clock(g.to)
		}
		g.row.Kind = strings.ReplaceAll(g.row.Kind, "-", " ")
		out = append(out, g.row)
	}
	return out, total
}

// keptFewer reports whether a verdict that belongs to a story's cause counted more violations than it keeps.
func (c *collected) keptFewer(s *story) bool {
	if s.cause == nil {
		return false
	}
	return slices.ContainsFunc(c.Report.Verdicts, func(v checkers.Verdict) bool {
		return measure(&v, "violations") > int64(len(v.Violations)) && slices.ContainsFunc(s.cause.list, func(m causeMember) bool { return m.checker == v.Checker })
	})
}

// storyLegend says what the lanes of a story mean.
var storyLegend = func() template.HTML {
	var out svg
	item := func(words string, draw func()) {
		out.open("li")
		out.open("svg", "width", 34, "height", 18, "aria-hidden", "true")
		draw()
		out.close("svg")
		out.b.WriteString(" " + words)
		out.close("li")
	}
	lane := func(class string) func() {
		return func() { out.empty("line", "class", class, "x1", 17, "x2", 17, "y1", 0, "y2", 18) }
	}
	item("the node is up", lane("life up"))
	item("thick: it takes itself for raft's leader", lane("leads"))
	item("bar beside it: it leads the partition", func() {
		out.empty("line", "class", "life up", "x1", 12, "x2", 12, "y1", 0, "y2", 18)
		out.empty("rect", "class", "pleads", "x", 18, "y", 0, "width", 4, "height", 18)
	})
	item("dotted: down", lane("life down"))
	item("dashed: paused", lane("life paused"))
	item("wide dashes: cut off", lane("life cut"))
	item("a request", func() {
		out.empty("line", "class", "msg", "x1", 2, "x2", 31, "y1", 9, "y2", 9)
		out.open("svg", "x", 32, "y", 9, "overflow", "visible", "class", "head msg")
		out.empty("path", "d", "M-9 -5L-1 0L-9 5")
		out.close("svg")
	})
	item("an answer", func() {
		out.empty("line", "class", "msg answer", "x1", 3, "x2", 32, "y1", 9, "y2", 9)
		out.open("svg", "x", 2, "y", 9, "overflow", "visible", "class", "head msg answer")
		out.empty("path", "d", "M9 -5L1 0L9 5")
		out.close("svg")
	})
	item("something happened there (filled: evidence)", func() {
		out.open("svg", "x", 17, "y", 9, "overflow", "visible", "class", "at msg")
		out.empty("circle", "r", 4)
		out.close("svg")
	})
	item("it must not have, or was refused", func() {
		out.open("svg", "x", 17, "y", 9, "overflow", "visible", "class", "at msg failed")
		out.empty("path", "d", "M-5 -5L5 5M5 -5L-5 5")
		out.close("svg")
	})
	item("a fault begins or ends", func() {
		out.open("svg", "x", 17, "y", 9, "overflow", "visible", "class", "at fault")
		out.empty("path", "d", "M-6 -6H6V6H-6z")
		out.close("svg")
	})
	return out.html()
}()

// gapWords tell of the time since the row before, if it is worth telling.
func gapWords(ns int64) string {
	if ns < 250e6 {
		return ""
	}
	return lengthWords(ns) + " later"
}

// drawStep draws a row's lanes: what each node was then, and what happened.
func (c *collected) drawStep(st step, led partitions) template.HTML {
	var out svg
	n := len(c.nodes) + 1
	x := func(i int) percent { return percent((float64(i) + 0.5) / float64(n) * 100) }
	laneOf := func(place int32) int {
		if place == clientLane {
			return 0
		}
		return slices.Index(c.nodes, place) + 1
	}
	out.open("svg", "class", "row", "width", "100%", "height", "100%", "aria-hidden", "true")
	out.empty("line", "class", "life clients", "x1", x(0), "x2", x(0), "y1", 0, "y2", "100%")
	for i, node := range c.nodes {
		class := c.stateAt(node, st.at)
		out.empty("line", "class", "life "+class, "x1", x(i+1), "x2", x(i+1), "y1", 0, "y2", "100%")
		if c.leadsAt(node, st.at) {
			out.empty("line", "class", "leads", "x1", x(i+1), "x2", x(i+1), "y1", 0, "y2", "100%")
		}
		if c.leadsPartition(node, st.at, led) {
			out.open("svg", "x", x(i+1), "overflow", "visible", "height", "100%")
			out.empty("rect", "class", "pleads", "x", 6, "y", 0, "width", 4, "height", "100%")
			out.close("svg")
		}
	}
	class := "msg"
	if st.failed {
		class += " failed"
	}
	if st.answer {
		class += " answer"
	}
	if st.evidence {
		class += " cited"
	}
	from, to := laneOf(st.from), laneOf(st.to)
	switch {
	case st.from == nowhere && st.to == nowhere:
	case st.fault:
		out.open("svg", "x", x(from), "y", 14, "overflow", "visible", "class", "at fault")
		out.empty("path", "d", "M-6 -6H6V6H-6z")
		out.close("svg")
	case from == to:
		out.open("svg", "x", x(from), "y", 14, "overflow", "visible", "class", "at "+class)
		if st.failed {
			out.empty("path", "d", "M-5 -5L5 5M5 -5L-5 5")
		} else {
			out.empty("circle", "r", 4)
		}
		out.close("svg")
	default:
		out.empty("line", "class", class, "x1", x(from), "x2", x(to), "y1", 14, "y2", 14)
		head := "M-9 -5L-1 0L-9 5"
		if to < from {
			head = "M9 -5L1 0L9 5"
		}
		out.open("svg", "x", x(to), "y", 14, "overflow", "visible", "class", "head "+class)
		out.empty("path", "d", head)
		out.close("svg")
	}
	out.close("svg")
	return out.html()
}

// stateAt is a node's state at an instant, as the class of its drawing.
func (c *collected) stateAt(node int32, at int64) string {
	class := "up"
	for _, s := range c.statesOf(node) {
		if s.from <= at && at < s.to {
			class = s.class
		}
	}
	return class
}

func (c *collected) statesOf(node int32) []stretch {
	if c.nodeStates == nil {
		c.nodeStates = map[int32][]stretch{}
	}
	list, ok := c.nodeStates[node]
	if !ok {
		list = nodeStates(node, c.states.lives[node], c.faults, c.from, c.to)
		c.nodeStates[node] = list
	}
	return list
}

func (c *collected) leadsAt(node int32, at int64) bool {
	l := c.states.lives[node]
	if l == nil {
		return false
	}
	for _, x := range l.leads {
		if x.from <= at && (x.to == 0 || at < x.to) {
			return true
		}
	}
	return false
}

// otherViolation is one that has no story.
type otherViolation struct{ Checker, Kind, Sentence, At string }

// maxOthers bounds the list of violations that are in no story; verdict.json has all that were kept.
const maxOthers = 150

func (c *collected) otherViolations() (out []otherViolation, left int) {
	if c.Report == nil {
		return nil, 0
	}
	most := c.room(maxOthers, 30)
	told := map[*checkers.Violation]bool{} // in a story, or in the table of its cause
	for _, s := range c.shown() {
		told[s.v] = true
		if s.cause != nil {
			for _, m := range s.cause.list {
				told[m.v] = true
			}
		}
	}
	for i := range c.Report.Verdicts {
		v := &c.Report.Verdicts[i]
		shown := 0
		for j := range v.Violations {
			x := &v.Violations[j]
			if told[x] {
				continue
			}
			if len(out) >= most || shown >= most/3 {
				left++
				continue
			}
			shown++
			o := otherViolation{Checker: v.Checker, Kind: x.Kind, Sentence: cutText(shortIDs(x.Sentence), 400)}
			if x.Time != 0 {
				o.At = c.clock(x.Time)
			}
			out = append(out, o)
		}
		left += int(max(measure(v, "violations")-int64(len(v.Violations)), 0))
	}
	return out, left
}
