package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Difference is something that the sides do not have in common, in the order of how much it explains.
type Difference struct {
	What string   `json:"what"`
	Old  []string `json:"old"` // what its runs have, each once
	New  []string `json:"new"`
}

// aspects of a run that comparisons rest on being the same.
var aspects = []struct {
	what string
	of   func(*Run) string
}{
	{"machine", func(r *Run) string {
		m := r.Run.Machine
		if m.OS == "" {
			return "unknown"
		}
		return strings.TrimSpace(fmt.Sprintf("%s/%s, %d CPUs, %.1f GiB, %s", m.OS, m.Arch, m.CPUs, float64(m.Memory)/(1<<30), m.Kernel))
	}},
	{"driver", func(r *Run) string { return r.Run.Driver }},
	{"scenario", func(r *Run) string { return r.Run.Scenario }},
	{"nodes", func(r *Run) string { return fmt.Sprint(r.Run.Nodes) }},
	{"election interval", func(r *Run) string { return time.Duration(r.Run.ElectionInterval).String() }},
	{"session timeout", func(r *Run) string { return time.Duration(r.Run.SessionTimeout).String() }},
	{"planted bugs", func(r *Run) string {
		if len(r.Run.Bugs) == 0 {
			return "none"
		}
		return strings.Join(r.Run.Bugs, ", ")
	}},
	{"version", func(r *Run) string {
		v := r.Run.Version
		if r.Run.Commit != "" {
			v += " (commit " + r.Run.Commit + ")"
		}
		return v
	}},
}

// differences lists what the sides, or the runs of one side among them, do not have in common. A difference of version is what a comparison
// is mostly made for; it is named all the same.
func differences(old, now []*Run) []Difference {
	var out []Difference
	for _, a := range aspects {
		d := Difference{What: a.what, Old: each(old, a.of), New: each(now, a.of)}
		if len(d.Old) > 1 || len(d.New) > 1 || d.Old[0] != d.New[0] {
			out = append(out, d)
		}
	}
	if d, ok := shapes(old, now); ok {
		at := slices.IndexFunc(out, func(d Difference) bool { return d.What == "version" || d.What == "planted bugs" })
		if at < 0 {
			at = len(out)
		}
		out = slices.Insert(out, at, d)
	}
	return out
}

// shapes names scenarios of one name that are not the same one: which lines differ.
func shapes(old, now []*Run) (Difference, bool) {
	first := scenarioLines(old[0])
	for _, r := range append(slices.Clone(old), now...) {
		lines := scenarioLines(r)
		if r.Run.Scenario != old[0].Run.Scenario || slices.Equal(first, lines) {
			continue
		}
		d := Difference{What: "scenario's text", Old: lacking(first, lines), New: lacking(lines, first)}
		if len(d.Old) == 0 && len(d.New) == 0 {
			d.New = []string{"the same lines in another order"}
		}
		return d, true
	}
	return Difference{}, false
}

const linesShown = 3

// lacking gives the lines of one that the other has not, a few of them.
func lacking(one, other []string) []string {
	var out []string
	for _, l := range one {
		if !slices.Contains(other, l) && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	if n := len(out); n > linesShown {
		out = append(out[:linesShown:linesShown], fmt.Sprintf("and %d lines more", n-linesShown))
	}
	return out
}

func scenarioLines(r *Run) []string {
	var out []string
	for l := range strings.Lines(r.Run.ScenarioYAML) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

// each gives what the runs have, each once.
func each(runs []*Run, of func(*Run) string) []string {
	var out []string
	for _, r := range runs {
		if v := of(r); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
