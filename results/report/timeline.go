package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"soak/checkers"
	"soak/history"
)

// timeline draws lanes below each other over one time axis.
type timeline struct {
	c       *collected
	ground  svg // the lanes' grounds, below the faults' bands
	plot    svg // what zooming stretches
	gutter  svg // the lanes' names
	y       int // where the next lane begins
	thinned int // states that were merged for want of room
	lanes   int // that states share the room of the drawing between
	left    []string
}

// Timeline is the run's timeline for the page.
type Timeline struct {
	Gutter, Plot template.HTML
	Height       int
	Thinned      int
	Left         []string // what has no lane
}

func drawTimeline(c *collected) Timeline {
	t := &timeline{c: c, lanes: 1 + 2*len(c.nodes) + min(len(c.states.placings), maxPartitions)}
	t.y = 20 // the axis
	t.phases()
	t.marks()
	t.faultBlocks()
	t.title("nodes")
	for _, n := range c.nodes {
		t.node(n)
	}
	t.raft()
	t.checks()
	t.partitions()
	t.measures()
	t.y += 8
	out := &t.ground
	t.bands(out)
	axis(out, c.from, c.to, t.y)
	return Timeline{Gutter: t.gutter.html(), Plot: out.html() + t.plot.html(), Height: t.y, Thinned: t.thinned, Left: t.left}
}

// x is the place of an instant.
func (t *timeline) x(at int64) percent { return place(at, t.c.from, t.c.to) }

func place(at, from, to int64) percent {
	return percent(float64(min(max(at, from), to)-from) / float64(to-from) * 100)
}

// lane begins a lane: its name goes to the gutter.
func (t *timeline) lane(name, title string, height int) (y int) {
	y = t.y
	t.y += height + 3
	if name != "" {
		t.gutter.open("text", "x", 0, "y", y+min(height, 20)/2+4, "class", "name")
		t.gutter.text("title", title)
		t.gutter.b.WriteString(template.HTMLEscapeString(name))
		t.gutter.close("text")
	}
	t.ground.empty("rect", "class", "lane", "x", 0, "width", "100%", "y", y, "height", height)
	return y
}

// title is a heading within the timeline.
func (t *timeline) title(text string) {
	t.y += 8
	t.gutter.text("text", text, "x", 0, "y", t.y+9, "class", "group")
	t.y += 15
}

// stretch draws one state: its text is cut at its own width.
func (t *timeline) stretch(s stretch, y, height int, class string) {
	x, end := t.x(s.from), t.x(s.to)
	width := max(end-x, 0.02)
	t.plot.open("svg", "x", x, "width", width, "y", y, "height", height, "class", "s "+s.class+" "+class)
	t.plot.text("title", s.title+t.when(s.from, s.to))
	t.plot.empty("rect", "width", "100%", "height", "100%")
	switch s.class {
	case "n2", "n3", "n4", "n5":
		t.plot.empty("rect", "width", "100%", "height", "100%", "class", "x"+s.class)
	}
	if s.text != "" && height >= 11 && end-x > 0.4 {
		// A text that has no room would be cut, or run into the next: the script chooses anew as it zooms, and the title has all of it.
		shown := fitting(s, float64(end-x)/100*assumedWidth)
		if shown == s.text {
			t.plot.text("text", shown, "x", 4, "y", height/2+4)
		} else {
			t.plot.text("text", shown, "x", 4, "y", height/2+4, "data-l", s.text, "data-s", s.short)
		}
	}
	t.plot.close("svg")
}

// assumedWidth is the plot's width in pixels as long as no script has measured it, and letter the width of a letter in it.
const (
	assumedWidth = 1050
	letter       = 6.4
)

// fitting is as much of a state's text as a width has room for: all, its short form, or none.
func fitting(s stretch, width float64) string {
	for _, text := range []string{s.text, s.short} {
		if text != "" && float64(len([]rune(text)))*letter+8 <= width {
			return text
		}
	}
	return ""
}

func (t *timeline) when(from, to int64) string {
	return fmt.Sprintf(" (%s to %s, %s)", t.c.clock(from), t.c.clock(to), lengthWords(to-from))
}

// clock is a time as the page tells it: since the run's start.
func (c *collected) clock(at int64) string {
	if at == 0 {
		return "no instant"
	}
	return seconds(at - c.from)
}

// clockTo is clock with so many digits behind the point.
func (c *collected) clockTo(at int64, digits int) string {
	if at == 0 {
		return "no instant"
	}
	return secondsTo(at-c.from, digits)
}

// seconds is a time to a thousandth, which is what verdicts tell too.
func seconds(ns int64) string { return secondsTo(ns, 3) }

func secondsTo(ns int64, digits int) string {
	sign := ""
	if ns < 0 {
		sign, ns = "−", -ns
	}
	s := float64(ns) / 1e9
	if s < 3600 {
		return fmt.Sprintf("%s%.*f s", sign, digits, s)
	}
	whole := int64(s)
	return fmt.Sprintf("%s%d:%02d:%0*.*f", sign, whole/3600, whole/60%60, digits+3, digits, s-float64(whole/60*60))
}

func (t *timeline) phases() {
	y := t.lane("phase", "the run's phases", 15)
	for _, p := range t.c.Run.Phases {
		end := p.End
		if end == 0 {
			end = t.c.to
		}
		if p.Start == 0 {
			continue
		}
		t.stretch(stretch{from: p.Start, to: end, class: "phase", text: p.Name, title: "phase " + p.Name}, y, 15, "")
	}
}

// maxMarks bounds the marks of violations that have no story of their own.
const maxMarks = 400

// marks are the violations: a triangle with its number leads to the story, a small one stands for those that are only listed.
func (t *timeline) marks() {
	if t.c.Report == nil || t.c.Report.Outcome != checkers.Violated {
		return
	}
	rows := t.markRows()
	y := t.lane("violations", "when promises were broken; each mark leads to its story", 24*(1+slices.Max(rows)))
	told := map[*checkers.Violation]bool{}
	for _, s := range t.c.shown() {
		told[s.v] = true
	}
	n := 0
	for vi := range t.c.Report.Verdicts {
		v := &t.c.Report.Verdicts[vi]
		step := max(1, len(v.Violations)/t.c.room(maxMarks, 50))
		for i := 0; i < len(v.Violations) && n < maxMarks; i += step {
			if x := &v.Violations[i]; !told[x] && x.Time != 0 {
				n++
				t.plot.open("svg", "x", t.x(x.Time), "y", y, "overflow", "visible", "class", "smallmark")
				t.plot.text("title", v.Checker+": "+x.Sentence+" ("+t.c.clock(x.Time)+")")
				t.plot.empty("path", "d", "M-3 16H3L0 22z")
				t.plot.close("svg")
			}
		}
	}
	for i, s := range t.c.shown() {
		at := s.at()
		t.plot.open("a", "href", fmt.Sprintf("#violation-%d", s.number), "class", "mark", "data-t", fmt.Sprint((at-t.c.from)/1000),
			"aria-label", fmt.Sprintf("violation %d, %s, at %s: %s", s.number, s.checker, t.c.clock(at), s.v.Sentence))
		t.plot.open("svg", "x", t.x(at), "y", y+24*rows[i], "overflow", "visible")
		t.plot.text("title", fmt.Sprintf("violation %d, %s: %s (%s)", s.number, s.checker, s.v.Sentence, t.c.clock(at)))
		t.plot.empty("path", "d", "M-9 0H9L0 22z")
		t.plot.text("text", fmt.Sprint(s.number), "x", 0, "y", 10, "text-anchor", "middle")
		t.plot.close("svg")
		t.plot.close("a")
	}
}

// at is when a story's violation was, or near enough where that is not told.
func (s *story) at() int64 {
	if s.v.Time == 0 {
		return s.to - after
	}
	return s.v.Time
}

// markRows are the rows of the stories' marks: marks that would lie on each other stand below each other, in up to three rows.
func (t *timeline) markRows() []int {
	ends := make([]percent, 3)
	for i := range ends {
		ends[i] = -100
	}
	list := t.c.shown()
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(min(max(list[a].at()-list[b].at(), -1), 1)) })
	rows := make([]int, max(len(list), 1))
	for _, i := range order {
		x, r := t.x(list[i].at()), 0
		for r < len(ends)-1 && x-ends[r] < 2 {
			r++
		}
		rows[i], ends[r] = r, x
	}
	return rows
}

// faultRows bounds the rows that faults of the same time are stacked in.
const faultRows = 4

func (t *timeline) faultBlocks() {
	if len(t.c.faults) == 0 {
		return
	}
	ends := []int64{0}
	row := make([]int, len(t.c.faults))
	for i := range t.c.faults {
		f := &t.c.faults[i]
		r := slices.IndexFunc(ends, func(end int64) bool { return end <= f.Asked })
		if r < 0 && len(ends) < faultRows {
			ends = append(ends, 0)
			r = len(ends) - 1
		}
		row[i] = max(r, 0)
		ends[row[i]] = faultEnd(f, t.c.to)
	}
	y := t.lane("faults", "what was done to the cluster, with the evidence that it took effect", 18*len(ends)-2)
	for i := range t.c.faults {
		f := &t.c.faults[i]
		if f.Asked == 0 {
			continue
		}
		class, text := "faultblock", fmt.Sprintf("%d %s %s", f.ID, f.Kind, nodeNames(f.Nodes))
		if !f.Proven() {
			class, text = "faultblock unproven", text+" (unproven)"
		}
		t.stretch(stretch{from: f.Asked, to: faultEnd(f, t.c.to), class: class, text: text, short: fmt.Sprint(f.ID), title: t.c.faultTitle(f)}, y+18*row[i], 16, "")
	}
}

func nodeNames(nodes []int32) string {
	if len(nodes) == 0 {
		return ""
	}
	return names(nodes)
}

// faultTitle is a fault with its evidence, in text.
func (c *collected) faultTitle(f *history.Fault) string {
	words := faultWords(f)
	if len(c.faults) <= 200 {
		words = c.says(f, concern{})
	}
	title := fmt.Sprintf("fault %d: %s", f.ID, words)
	if f.Trigger != "" {
		title += ", " + f.Trigger
	}
	if !f.Proven() {
		title += "; no evidence that it took effect"
	}
	for i, e := range f.Evidence {
		if i == 6 || len(c.faults) > 200 && i == 1 || c.squeeze > 2 {
			title += fmt.Sprintf("\n… and %d more", len(f.Evidence)-i)
			break
		}
		title += fmt.Sprintf("\n%s %s: %s", c.clock(e.Time), e.Phase, cutText(e.What, 160))
	}
	return title + "\n"
}

// bands are the faults' times behind all lanes.
func (t *timeline) bands(out *svg) {
	for i := range t.c.faults {
		f := &t.c.faults[i]
		if !f.Proven() {
			continue
		}
		x := t.x(f.Effective)
		out.empty("rect", "class", "band", "x", x, "width", max(t.x(faultEnd(f, t.c.to))-x, 0.02), "y", 20, "height", t.y-20, "data-fault", fmt.Sprint(f.ID))
	}
}

func (t *timeline) node(n int32) {
	const height = 24
	y := t.lane(fmt.Sprintf("n%d", n), fmt.Sprintf("what became of n%d; the bar at the foot: it takes itself for raft's leader", n), height)
	list := nodeStates(n, t.c.states.lives[n], t.c.faults, t.c.from, t.c.to)
	for _, s := range t.thin(list) {
		t.stretch(s, y, 16, "state")
	}
	for _, s := range t.thin(leadStretches(t.c.states.lives[n], t.c.to)) {
		t.stretch(s, y+17, 7, "")
	}
}

func (t *timeline) thin(list []stretch) []stretch {
	out, merged := thin(list, t.c.from, t.c.to, t.c.room(maxStretches/t.lanes, 20))
	t.thinned += merged
	return out
}

func (t *timeline) raft() {
	list := t.c.states.raftLeaders(t.c.to)
	if len(list) == 0 {
		return
	}
	y := t.lane("raft leader", "raft's leader by term", 16)
	for _, s := range t.thin(list) {
		t.stretch(s, y, 16, "")
	}
}

// maxTicks bounds the ticks of checks that a leader made; those of others are all drawn, up to the same number.
const maxTicks = 1200

func (t *timeline) checks() {
	list := t.c.states.checks
	if len(list) == 0 {
		return
	}
	y := t.lane("leader checks", "each look of the leader-election service at the partitions' leaders; a cross: by a node that was not raft's leader", 16)
	var sound, foreign []check
	for _, k := range list {
		if k.role == history.RoleLeader {
			sound = append(sound, k)
		} else {
			foreign = append(foreign, k)
		}
	}
	step := 1 + len(sound)/t.c.room(maxTicks, 100)
	t.thinned += len(sound) - (len(sound)+step-1)/step
	for i := 0; i < len(sound); i += step {
		k := sound[i]
		x := t.x(k.at)
		t.plot.open("line", "class", "tick "+nodeClass(k.node), "x1", x, "x2", x, "y1", y+2, "y2", y+14)
		t.plot.text("title", fmt.Sprintf("n%d checks in term %d as leader, %s, %s", k.node, k.term, k.what, t.c.clock(k.at)))
		t.plot.close("line")
	}
	step = 1 + len(foreign)/t.c.room(maxTicks, 100)
	t.thinned += len(foreign) - (len(foreign)+step-1)/step
	for i := 0; i < len(foreign); i += step {
		k := foreign[i]
		t.plot.open("svg", "x", t.x(k.at), "y", y+8, "overflow", "visible", "class", "wrong")
		t.plot.text("title", fmt.Sprintf("n%d checks in term %d although its raft role is %s, %s", k.node, k.term, k.role, t.c.clock(k.at)))
		t.plot.empty("path", "d", "M-4 -5L4 5M4 -5L-4 5")
		t.plot.close("svg")
	}
}

// maxPartitions bounds the partitions that have a lane.
const maxPartitions = 24

func (t *timeline) partitions() {
	var list []partition
	for p := range t.c.states.placings {
		list = append(list, p)
	}
	if len(list) == 0 {
		return
	}
	t.c.orderPartitions(list)
	left := 0
	if len(list) > maxPartitions {
		left = len(list) - maxPartitions
		list = list[:maxPartitions]
	}
	t.title("partitions")
	for _, p := range list {
		y := t.lane(p.String(), fmt.Sprintf("%s: who leads it; the height is the ISR's share of its replicas", p), 16)
		for _, s := range t.thin(placed(p, t.c.states.placings[p], t.c.to)) {
			h := 16
			if s.full > 0 && s.size < s.full {
				h = max(3, int(math.Round(16*float64(s.size)/float64(s.full))))
			}
			t.stretch(s, y+16-h, h, "placed")
		}
	}
	if left > 0 {
		t.left = append(t.left, fmt.Sprintf("%s more are not drawn in the timeline", plural(int64(left), "partition")))
	}
}

// axis draws a scale at the top. The script draws it anew after zooming.
func axis(out *svg, from, to int64, height int) {
	out.open("g", "class", "axis")
	span := to - from
	step := niceStep(span, 8)
	for at := int64(0); at <= span; at += step {
		x := percent(float64(at) / float64(span) * 100)
		out.empty("line", "x1", x, "x2", x, "y1", 14, "y2", height)
		anchor := "middle"
		if at == 0 {
			anchor = "start"
		} else if x > 96 {
			anchor = "end"
		}
		out.text("text", axisLabel(at, step, span), "x", x, "y", 11, "text-anchor", anchor)
	}
	out.close("g")
}

// niceStep is a step of the axis that people can count in, such that about n fit into a span.
func niceStep(span int64, n int64) int64 {
	for _, s := range []int64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 4 * 3600e3} {
		if s*1e6*n >= span {
			return s * 1e6
		}
	}
	return span/n + 1
}

func axisLabel(at, step, span int64) string {
	switch {
	case step < 1e9:
		return fmt.Sprintf("%.*f s", map[bool]int{true: 3, false: 1}[step < 1e8], float64(at)/1e9)
	case step < 60e9:
		return fmt.Sprintf("%d s", at/1e9)
	case span < 3600e9:
		return fmt.Sprintf("%d min", at/60e9)
	}
	return fmt.Sprintf("%d:%02d h", at/3600e9, at/60e9%60)
}
