package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// drawDistribution draws two latencies by how rare they are: each step to the right is ten times as rare.
func drawDistribution(quiet, faulty *histogram) template.HTML {
	low, high := math.Inf(1), 0.0
	for _, h := range []*histogram{quiet, faulty} {
		if h.n > 0 {
			low = min(low, math.Log10(float64(max(h.quantile(0.01), 1000))))
			high = max(high, math.Log10(float64(max(h.max, 1000))))
		}
	}
	low, high = math.Floor(low), math.Ceil(high)
	if high <= low {
		high = low + 1
	}
	var s svg
	const height = 200
	s.open("svg", "class", "distribution", "width", "100%", "height", height+24, "role", "img", "aria-label", "latency by quantile, with and without faults; the table has the numbers")
	for d := low; d <= high; d++ {
		y := float64(height) * (high - d) / (high - low)
		s.empty("line", "class", "grid", "x1", 0, "x2", "100%", "y1", y, "y2", y)
		s.text("text", lengthWords(int64(math.Pow(10, d))), "x", 2, "y", max(y-3, 10), "class", "scale")
	}
	const decades = 4 // from p0 to p99.99
	for i, name := range []string{"p0", "p90", "p99", "p99.9", "p99.99"} {
		x := percent(float64(i) / decades * 100)
		s.empty("line", "class", "grid", "x1", x, "x2", x, "y1", 0, "y2", height)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case decades:
			anchor = "end"
		}
		s.text("text", name, "x", x, "y", height+15, "class", "scale", "text-anchor", anchor)
	}
	s.open("svg", "x", 0, "y", 0, "width", "100%", "height", height, "viewBox", "0 0 400 100", "preserveAspectRatio", "none", "overflow", "visible")
	for _, l := range []struct {
		h     *histogram
		class string
	}{{quiet, "line quiet"}, {faulty, "line faulty"}} {
		if l.h.n == 0 {
			continue
		}
		var path strings.Builder
		for x := 0; x <= 400; x += 2 {
			q := 1 - math.Pow(10, -float64(x)/100)
			if (1-q)*float64(l.h.n) < 0.5 && x > 0 {
				break // rarer than any that was seen
			}
			y := 100 * (high - math.Log10(float64(max(l.h.quantile(q), 1000)))) / (high - low)
			verb := "L"
			if x == 0 {
				verb = "M"
			}
			fmt.Fprintf(&path, "%s%d %s", verb, x, short(math.Round(y*10)/10))
		}
		s.empty("path", "class", l.class, "d", path.String())
	}
	s.close("svg")
	s.close("svg")
	return s.html()
}
