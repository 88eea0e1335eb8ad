package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"soak/checkers"
	"soak/history"
)

// sends are all sends to one partition that lost records: each a point by the time of its answer and its offset.
type sends struct {
	partition partition
	class     map[string]string // of lost sends, by operation: tail, middle, overwritten, …
	points    []sendPoint
	grid      map[[2]int64]bool // of sound sends, where one stands for its neighbours
	merged    int
	total     int
}

type sendPoint struct {
	at, offset int64 // offset −1: not acknowledged
	class      string
	id         string
}

// Bounds of the drawing. Lost sends, and those without an acknowledgement, are all drawn up to maxOdd.
const (
	maxOdd      = 3000
	sendColumns = 600
	sendSteps   = 20 // offsets that one sound point stands for, at least
)

const lostKind = "lost-"

// findSends makes a drawing for the first partitions that lost records.
func (c *collected) findSends() {
	if c.Report == nil {
		return
	}
	for i := range c.Report.Verdicts {
		v := &c.Report.Verdicts[i]
		if v.Checker != checkers.AckedRecords {
			continue
		}
		for j := range v.Violations {
			x := &v.Violations[j]
			class, lost := strings.CutPrefix(x.Kind, lostKind)
			if !lost || len(x.Evidence) == 0 {
				continue
			}
			for _, id := range x.Operations[:min(len(x.Operations), maxKeptByIDs)] {
				c.lost[id] = true
			}
			h, ok := scanOp([]byte(x.Evidence[0]))
			if !ok || h.kind != "produce" {
				continue
			}
			p := partition{string(h.topic), h.partition}
			s := c.sendsOf(h.topic, h.partition)
			if s == nil {
				if len(c.sends) >= 4 {
					continue
				}
				s = &sends{partition: p, class: map[string]string{}, grid: map[[2]int64]bool{}}
				c.sends = append(c.sends, s)
			}
			for _, id := range x.Operations {
				s.class[id] = class
			}
		}
	}
}

func (c *collected) sendsOf(topic []byte, id int32) *sends {
	for _, s := range c.sends {
		if s.partition.id == id && s.partition.topic == string(topic) {
			return s
		}
	}
	return nil
}

// take takes a send to the partition.
func (s *sends) take(h opHead, whole func() (*history.Operation, error), from, to int64) {
	s.total++
	p := sendPoint{at: max(h.complete, h.invoke), offset: -1, class: "sound"}
	if op, err := whole(); err == nil && op.Produce != nil && len(op.Produce.Offsets) > 0 {
		p.offset = op.Produce.Offsets[0]
	}
	lost := s.class[string(h.id)]
	switch {
	case lost != "":
		p.class, p.id = lost, string(h.id)
	case string(h.outcome) != "ok":
		p.class = "unknown"
		if string(h.outcome) == "failed" {
			p.class = "failed"
		}
	default:
		cell := [2]int64{(p.at - from) * sendColumns / max(to-from, 1), p.offset / sendSteps}
		if s.grid[cell] {
			s.merged++
			return
		}
		s.grid[cell] = true
		s.points = append(s.points, p)
		return
	}
	if len(s.points)-len(s.grid) >= maxOdd {
		s.merged++
		return
	}
	s.points = append(s.points, p)
}

// Sends is the drawing for the page.
type Sends struct {
	Partition string
	Total     int
	Merged    int
	Classes   []sendClass
	Drawing   template.HTML
	From, To  string
	Top       string
}

type sendClass struct {
	Name, What string
	N          int
	Glyph      template.HTML
}

// glyphs are the shapes of the classes: none is told by colour alone.
var glyphs = map[string]string{
	"sound": "M-1 -1H1V1H-1z", "tail": "M-5 4L0 -5L5 4z", "truncated": "M-5 -4H5L0 5z", "middle": "M-5 -5L5 5M5 -5L-5 5", "overwritten": "M0 -6L5 0L0 6L-5 0z",
	"prefix": "M-5 -5H5V5H-5z", "unknown": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0z", "failed": "M-5 0H5",
}

var classWords = map[string]string{
	"sound": "acknowledged and read back", "tail": "lost at the end of the log", "truncated": "lost where a replica cut its log", "middle": "lost, with later ones there",
	"overwritten": "lost: another record stands at its offset", "prefix": "lost before the first offset that was read", "unknown": "no known outcome", "failed": "surely failed",
}

// drawn draws the sends of the partition of a story that tells of lost records.
func (c *collected) sendsDrawing(s *story) *Sends {
	if !strings.HasPrefix(s.v.Kind, lostKind) {
		return nil
	}
	i := slices.IndexFunc(c.sends, func(x *sends) bool { return s.keys[x.partition.String()] })
	if i < 0 {
		return nil
	}
	x := c.sends[i]
	out := &Sends{Partition: x.partition.String(), Total: x.total, Merged: x.merged, From: c.clock(c.from), To: c.clock(c.to)}
	var top int64 = 1
	counts := map[string]int{}
	for _, p := range x.points {
		top = max(top, p.offset)
		counts[p.class]++
	}
	counts["sound"] += x.merged
	out.Top = count(top)
	const height, foot = 220, 26
	var d svg
	d.open("svg", "class", "sends", "width", "100%", "height", height+foot, "role", "img", "aria-label", "sends to "+out.Partition+" by time and offset")
	for i := range c.faults {
		if f := &c.faults[i]; f.Proven() {
			at := place(f.Effective, c.from, c.to)
			d.empty("rect", "class", "band", "x", at, "width", max(place(faultEnd(f, c.to), c.from, c.to)-at, 0.1), "y", 0, "height", height+foot)
		}
	}
	d.empty("line", "class", "grid", "x1", 0, "x2", "100%", "y1", height, "y2", height)
	for _, odd := range []bool{false, true} { // those that matter on top
		for _, p := range x.points {
			if (p.class != "sound") != odd {
				continue
			}
			y := float64(height) * (1 - float64(p.offset)/float64(top))
			if p.offset < 0 {
				y = height + 14
			}
			path := glyphs[p.class]
			if path == "" {
				path = glyphs["middle"]
			}
			d.open("svg", "x", place(p.at, c.from, c.to), "y", short(y), "overflow", "visible", "class", "p "+sendClassName(p.class))
			if odd {
				d.text("title", fmt.Sprintf("%s %s at %s, offset %d", p.id, classWords[p.class], c.clock(p.at), p.offset))
			}
			d.empty("path", "d", path)
			d.close("svg")
		}
	}
	d.close("svg")
	out.Drawing = d.html()
	for _, name := range []string{"sound", "tail", "truncated", "middle", "overwritten", "prefix", "unknown", "failed"} {
		if counts[name] == 0 {
			continue
		}
		var g svg
		g.open("svg", "width", 14, "height", 14, "viewBox", "-7 -7 14 14", "class", "p "+sendClassName(name), "aria-hidden", "true")
		g.empty("path", "d", glyphs[name])
		g.close("svg")
		out.Classes = append(out.Classes, sendClass{Name: name, What: classWords[name], N: counts[name], Glyph: g.html()})
	}
	return out
}

// sendClassName is a class for the style; a class that this version does not know is drawn as lost.
func sendClassName(class string) string {
	switch class {
	case "sound", "unknown", "failed":
		return class
	}
	return "lostsend"
}
