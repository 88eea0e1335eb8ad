package report

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
)

// svg writes a drawing. Every attribute's value and every text is escaped here and nowhere else: names come from clusters and files, and may be
// anything.
//
// Horizontal places are percentages of the drawing's width, so that it fits any screen without a script, and zooming is one attribute: texts and patterns
// keep their size. What cannot be said in percentages, lines, lies in a nested drawing of its own scale.
type svg struct{ b strings.Builder }

// attrs are names and values in turns. Values are strings, ints or percentages.
func (s *svg) attrs(list []any) {
	for i := 0; i+1 < len(list); i += 2 {
		var v string
		switch x := list[i+1].(type) {
		case string:
			v = html.EscapeString(x)
		case int:
			v = strconv.Itoa(x)
		case percent:
			v = x.String()
		case float64:
			v = short(x)
		default:
			panic(fmt.Sprintf("report: attribute %v has a value of type %T", list[i], x))
		}
		if v == "" {
			continue
		}
		s.b.WriteString(" " + list[i].(string) + `="` + v + `"`)
	}
}

// percent of a drawing's width.
type percent float64

func (p percent) String() string { return short(float64(p)) + "%" }

// short is a number with no more digits than can be seen: three behind the point are a ten thousandth of a pixel.
func short(x float64) string {
	t := strconv.FormatFloat(x, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(t, "0"), ".")
}

func (s *svg) open(name string, attrs ...any) {
	s.b.WriteString("<" + name)
	s.attrs(attrs)
	s.b.WriteString(">")
}

func (s *svg) close(name string) { s.b.WriteString("</" + name + ">") }

// empty is an element without content.
func (s *svg) empty(name string, attrs ...any) {
	s.b.WriteString("<" + name)
	s.attrs(attrs)
	s.b.WriteString("/>")
}

// text is an element with text.
func (s *svg) text(name, content string, attrs ...any) {
	s.open(name, attrs...)
	s.b.WriteString(html.EscapeString(content))
	s.close(name)
}

func (s *svg) html() template.HTML { return template.HTML(s.b.String()) }

// patterns are the hatches that tell states and nodes apart without colour, for every drawing of the page.
const patterns template.HTML = `<svg class="defs" width="0" height="0" aria-hidden="true"><defs>
<pattern id="h-fault" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="pf" width="7" height="7"/><path class="pl" d="M0 0V7"/></pattern>
<pattern id="h-down" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="pd" width="6" height="6"/><path class="pdl" d="M0 0L6 6M6 0L0 6"/></pattern>
<pattern id="h-paused" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="pp" width="6" height="6"/><path class="ppl" d="M1 0V6M3.5 0V6"/></pattern>
<pattern id="h-cut" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="pc" width="7" height="7"/><path class="pcl" d="M0 0V7"/></pattern>
<pattern id="h-disk" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="po" width="6" height="6"/><circle class="pol" cx="3" cy="3" r="1.4"/></pattern>
<pattern id="h-slow" width="6" height="5" patternUnits="userSpaceOnUse"><rect class="ps" width="6" height="5"/><path class="psl" d="M0 1H6"/></pattern>
<pattern id="h-many" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="pm" width="4" height="4"/><path class="pml" d="M0 2H4M2 0V4"/></pattern>
<pattern id="t-n2" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="tx" d="M0 0V8"/></pattern>
<pattern id="t-n3" width="7" height="7" patternUnits="userSpaceOnUse"><circle class="txf" cx="2" cy="2" r="1"/></pattern>
<pattern id="t-n4" width="8" height="8" patternUnits="userSpaceOnUse"><path class="tx" d="M0 1H8"/></pattern>
<pattern id="t-n5" width="8" height="8" patternUnits="userSpaceOnUse"><path class="tx" d="M1 0V8"/></pattern>
</defs></svg>`
