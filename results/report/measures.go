package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// orderPartitions brings first those that violations speak of, then by name.
func (c *collected) orderPartitions(list []partition) {
	hot := map[string]bool{}
	for _, s := range c.stories {
		for k := range s.keys {
			hot[k] = true
		}
	}
	slices.SortFunc(list, func(a, b partition) int {
		if hot[a.String()] != hot[b.String()] {
			if hot[a.String()] {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
}

// scale is the nested drawing that lines and areas are drawn in: a unit to a cell, 100 units high.
func (t *timeline) scale(y, height int, class string, body func()) {
	cells := &t.c.cells
	width := float64(len(cells.list)) * float64(cells.width) / float64(t.c.to-t.c.from) * 100
	t.plot.open("svg", "x", 0, "width", percent(width), "y", y, "height", height, "viewBox", fmt.Sprintf("0 0 %d 100", len(cells.list)),
		"preserveAspectRatio", "none", "class", class)
	body()
	t.plot.close("svg")
}

// area is the path of a stepped area over cells, whose heights are given from 0 to 1. A negative height is a gap.
func area(heights []float64) string {
	var b strings.Builder
	open := false
	last := 0
	for i, h := range heights {
		v := 0
		if h > 0 {
			v = min(max(int(math.Round(h*100)), 1), 100)
		}
		switch {
		case !open && v == 0:
			continue
		case !open:
			fmt.Fprintf(&b, "M%d 100v-%d", i, v)
			open = true
		case v != last:
			fmt.Fprintf(&b, "V%d", 100-v)
		}
		if v == 0 {
			b.WriteByte('z')
			open = false
			last = 0
			continue
		}
		b.WriteString("h1")
		last = v
	}
	if open {
		b.WriteString("V100z")
	}
	return joinRuns(b.String())
}

// line is the path of a stepped line; cells without a value (below 0) are a gap.
func line(heights []float64) string {
	var b strings.Builder
	open, last := false, 0
	for i, h := range heights {
		if h < 0 {
			open = false
			continue
		}
		v := min(max(int(math.Round(h*100)), 0), 100)
		switch {
		case !open:
			fmt.Fprintf(&b, "M%d %d", i, 100-v)
		case v != last:
			fmt.Fprintf(&b, "V%d", 100-v)
		}
		b.WriteString("h1")
		open, last = true, v
	}
	return joinRuns(b.String())
}

// joinRuns writes "h1h1h1" as "h3".
func joinRuns(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); {
		if !strings.HasPrefix(path[i:], "h1") {
			b.WriteByte(path[i])
			i++
			continue
		}
		n := 0
		for strings.HasPrefix(path[i:], "h1") {
			n++
			i += 2
		}
		fmt.Fprintf(&b, "h%d", n)
	}
	return b.String()
}

// measures draws throughput, errors, latency and memory.
func (t *timeline) measures() {
	cells := t.c.cells.list
	if len(cells) == 0 {
		return
	}
	width := float64(t.c.cells.width) / 1e9
	t.title("load")
	t.throughput(cells, width)
	t.errors(cells)
	t.latency(cells)
	t.memory(cells)
}

func values(cells []*cell, of func(*cell) float64) []float64 {
	out := make([]float64, len(cells))
	for i, x := range cells {
		if x != nil {
			out[i] = of(x)
		}
	}
	return out
}

// gutterScale names the ends of a chart's scale.
func (t *timeline) gutterScale(y, height int, top string) {
	t.gutter.text("text", top, "x", 0, "y", y+height-3, "class", "scale")
}

func (t *timeline) throughput(cells []*cell, width float64) {
	const height = 56
	acked := values(cells, func(x *cell) float64 { return float64(x.acked) / width })
	top := slices.Max(acked)
	if top == 0 {
		return
	}
	y := t.lane("records/s", "acknowledged records a second", height)
	t.gutterScale(y, height, "top "+count(int64(top)))
	for i := range acked {
		acked[i] /= top
	}
	t.scale(y, height, "chart", func() { t.plot.empty("path", "class", "area", "d", area(acked)) })
}

func (t *timeline) errors(cells []*cell) {
	type kind struct {
		name  string
		n     int64
		index int
	}
	var kinds []kind
	for i, name := range t.c.errorNames {
		if name == "" {
			continue
		}
		k := kind{name: name, index: i}
		for _, x := range cells {
			if x != nil {
				k.n += int64(x.errors[i])
			}
		}
		if k.n > 0 {
			kinds = append(kinds, k)
		}
	}
	slices.SortFunc(kinds, func(a, b kind) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	for _, k := range kinds {
		const height, name = 18, 13
		counts := values(cells, func(x *cell) float64 { return float64(x.errors[k.index]) })
		top := slices.Max(counts)
		// Kafka's names of errors are long: each has a line of its own above its bars, which may be as wide as the page.
		y := t.lane("", "", name+height) + name
		t.gutter.open("text", "x", 0, "y", y-3, "class", "name wide-name")
		t.gutter.text("title", fmt.Sprintf("operations that ended so: %s in all, up to %s in a cell", count(k.n), count(int64(top))))
		t.gutter.b.WriteString(template.HTMLEscapeString(fmt.Sprintf("%s · %s", k.name, count(k.n))))
		t.gutter.close("text")
		for i, v := range counts {
			if v > 0 {
				counts[i] = 0.15 + 0.85*math.Sqrt(v/top) // so that a single one can be seen
			}
		}
		t.scale(y, height, "chart", func() { t.plot.empty("path", "class", "area err", "d", area(counts)) })
	}
}

func (t *timeline) latency(cells []*cell) {
	lowest, highest := int64(math.MaxInt64), int64(0)
	for _, x := range cells {
		if x != nil && x.latency.n > 0 {
			lowest = min(lowest, x.latency.quantile(0.5))
			highest = max(highest, x.latency.max)
		}
	}
	if highest == 0 {
		return
	}
	const height = 84
	low, high := math.Floor(math.Log10(float64(max(lowest, 1000)))), math.Ceil(math.Log10(float64(highest)))
	if high <= low {
		high = low + 1
	}
	y := t.lane("latency", "from a send to its acknowledgement: p50 solid, p99 dashed, maximum dotted; the scale is logarithmic", height)
	for d := low; d <= high; d++ {
		at := y + int(float64(height)*(high-d)/(high-low))
		t.plot.empty("line", "class", "grid", "x1", 0, "x2", "100%", "y1", at, "y2", at)
		if d > low && d < high || high-low < 2 {
			t.gutter.text("text", lengthWords(int64(math.Pow(10, d))), "x", "100%", "y", min(at+4, y+height), "class", "scale", "text-anchor", "end")
		}
	}
	t.gutter.text("text", "— p50", "x", 0, "y", y+26, "class", "scale")
	t.gutter.text("text", "- - p99", "x", 0, "y", y+38, "class", "scale")
	t.gutter.text("text", "··· max", "x", 0, "y", y+50, "class", "scale")
	of := func(ns func(*cell) int64) []float64 {
		out := make([]float64, len(cells))
		for i, x := range cells {
			out[i] = -1
			if x != nil && x.latency.n > 0 {
				out[i] = (math.Log10(float64(max(ns(x), 1))) - low) / (high - low)
			}
		}
		return out
	}
	t.scale(y, height, "chart", func() {
		t.plot.empty("path", "class", "line max", "d", line(of(func(x *cell) int64 { return x.latency.max })))
		t.plot.empty("path", "class", "line p99", "d", line(of(func(x *cell) int64 { return x.latency.quantile(0.99) })))
		t.plot.empty("path", "class", "line p50", "d", line(of(func(x *cell) int64 { return x.latency.quantile(0.5) })))
	})
}

func (t *timeline) memory(cells []*cell) {
	if !t.c.memory {
		return
	}
	var top int64
	for _, x := range cells {
		if x != nil {
			top = max(top, slices.Max(x.memory[:]))
		}
	}
	const height = 44
	y := t.lane("memory", "resident memory of each node", height)
	t.gutterScale(y, height, "top "+bytesWords(top))
	t.scale(y, height, "chart", func() {
		for n := range maxNodes {
			list, last, gap := make([]float64, len(cells)), -1.0, 0
			any := false
			// A node is measured once a second: between two measurements the last holds, up to 3 s.
			for i, x := range cells {
				switch {
				case x != nil && x.memory[n] > 0:
					last, gap, any = float64(x.memory[n])/float64(top), 0, true
				case int64(gap)*t.c.cells.width > 3e9:
					last = -1
				}
				gap++
				list[i] = last
			}
			if any {
				t.plot.empty("path", "class", fmt.Sprintf("line m%d", n+1), "d", line(list))
			}
		}
	})
}

func bytesWords(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// hover is what the script shows under the pointer: the cells' values, and the axis.
type hover struct {
	Span   int64     `json:"span"`  // µs
	Start  string    `json:"start"` // RFC 3339
	Width  int64     `json:"width"` // of a cell, µs
	Acked  []int64   `json:"acked"`
	Errors []int64   `json:"errors"`
	P50    []int64   `json:"p50"` // µs
	P99    []int64   `json:"p99"`
	Max    []int64   `json:"max"`
	Memory [][]int64 `json:"memory,omitempty"` // KiB, by node
}

func (c *collected) hover() hover {
	h := hover{Span: (c.to - c.from) / 1000, Start: utc(c.from), Width: c.cells.width / 1000}
	if c.memory {
		h.Memory = make([][]int64, len(c.nodes))
	}
	for _, x := range c.cells.list {
		if x == nil {
			x = &cell{}
		}
		var errors int64
		for _, n := range x.errors {
			errors += int64(n)
		}
		h.Acked = append(h.Acked, x.acked)
		h.Errors = append(h.Errors, errors)
		h.P50 = append(h.P50, x.latency.quantile(0.5)/1000)
		h.P99 = append(h.P99, x.latency.quantile(0.99)/1000)
		h.Max = append(h.Max, x.latency.max/1000)
		for i := range h.Memory {
			v := int64(0)
			if n := c.nodes[i]; n <= maxNodes {
				v = x.memory[n-1] >> 10
			}
			h.Memory[i] = append(h.Memory[i], v)
		}
	}
	return h
}
