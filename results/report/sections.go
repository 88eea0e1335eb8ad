package report

import (
	"cmp"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"soak/history"
)

func (c *collected) hasSchedule() bool {
	_, err := os.Stat(filepath.Join(c.Dir, "schedule.yaml"))
	return err == nil
}

// measureRow is one thing that was counted.
type measureRow struct {
	Name, Checker, Seen, Needed string
	Missed                      bool
	Bar                         template.HTML
}

func (c *collected) measureRows() (needed, other []measureRow) {
	if c.Report == nil {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, v := range c.Report.Verdicts {
		for _, m := range v.Measures {
			r := measureRow{Name: m.Name, Checker: v.Checker, Seen: strings.TrimSpace(count(m.Seen) + " " + m.Unit)}
			if m.Needed == 0 {
				other = append(other, r)
				continue
			}
			r.Needed, r.Missed = count(m.Needed), m.Seen < m.Needed
			if key := r.Name + r.Seen + r.Needed; seen[key] {
				continue // two checkers may count the same
			} else {
				seen[key] = true
			}
			var s svg
			share := min(float64(m.Seen)/float64(m.Needed), 2) / 2
			s.open("svg", "class", "bar", "width", "100%", "height", 12, "aria-hidden", "true")
			s.empty("rect", "class", "track", "width", "100%", "height", 12)
			class := "fill"
			if r.Missed {
				class += " missed"
			}
			s.empty("rect", "class", class, "width", percent(share*100), "height", 12)
			s.empty("line", "class", "need", "x1", "50%", "x2", "50%", "y1", 0, "y2", 12)
			s.close("svg")
			r.Bar = s.html()
			needed = append(needed, r)
		}
	}
	return needed, other
}

// matrix counts proven faults by kind and by the role of whom they hit.
type matrix struct {
	Roles []string
	Rows  []matrixRow
}

type matrixRow struct {
	Kind  string
	Cells []string
}

func (c *collected) matrix() matrix {
	type key struct{ kind, role string }
	asked, proven := map[key]int{}, map[key]int{}
	var m matrix
	var kinds []string
	for i := range c.faults {
		f := &c.faults[i]
		k := key{f.Kind, cmp.Or(f.Role, "no role recorded")}
		if !slices.Contains(m.Roles, k.role) {
			m.Roles = append(m.Roles, k.role)
		}
		if !slices.Contains(kinds, k.kind) {
			kinds = append(kinds, k.kind)
		}
		asked[k]++
		if f.Proven() {
			proven[k]++
		}
	}
	slices.Sort(m.Roles)
	slices.Sort(kinds)
	for _, kind := range kinds {
		r := matrixRow{Kind: kind}
		for _, role := range m.Roles {
			k := key{kind, role}
			switch {
			case asked[k] == 0:
				r.Cells = append(r.Cells, "–")
			case asked[k] == proven[k]:
				r.Cells = append(r.Cells, fmt.Sprint(proven[k]))
			default:
				r.Cells = append(r.Cells, fmt.Sprintf("%d of %d proven", proven[k], asked[k]))
			}
		}
		m.Rows = append(m.Rows, r)
	}
	return m
}

// faultRow is one fault with its evidence.
type faultRow struct {
	ID                                  int
	Ended                               string // how long before the violation
	Words, Role, Trigger, From, Lasted  string
	Proven                              bool
	Error, Outage, Partition, FirstSent string
	Evidence                            []evidenceRow
}

type evidenceRow struct{ At, Phase, What string }

func (c *collected) faultRow(f *history.Fault, about concern) faultRow {
	r := faultRow{ID: f.ID, Words: c.says(f, about), Role: f.Role, Trigger: f.Trigger, Proven: f.Proven(), Error: f.Error}
	if f.Asked != 0 {
		r.From = c.clock(f.Asked)
	}
	if f.Healed != 0 && f.Asked != 0 {
		r.Lasted = lengthWords(f.Healed - f.Asked)
	}
	for _, e := range f.Evidence[:min(len(f.Evidence), 12)] {
		r.Evidence = append(r.Evidence, evidenceRow{c.clock(e.Time), e.Phase, cutText(e.What, 200)})
	}
	return r
}

// maxFaults bounds the faults that are listed one by one; all are drawn.
const maxFaults = 200

func (c *collected) faultRows() []faultRow {
	var out []faultRow
	for i := range c.faults[:min(len(c.faults), c.room(maxFaults, 20))] {
		out = append(out, c.faultRow(&c.faults[i], concern{}))
	}
	return out
}

// recoveryPage tells how long writes were not to be had.
type recoveryPage struct {
	During, Without string // the longest times without an acknowledged write
	Rows            []recoveryRow
}

type recoveryRow struct {
	Kind                                string
	Faults                              int
	OutageMedian, OutageMax             string
	Where                               string
	WriteMedian, WriteMax, WriteSlowest string
}

func (c *collected) recoveryPage() recoveryPage {
	var p recoveryPage
	during, without := c.outages.worst()
	if during.length() > 0 {
		p.During = fmt.Sprintf("%s: %s had no acknowledged write from %s to %s, with fault %d", lengthWords(during.length()), during.partition, c.clock(during.from), c.clock(during.to), during.fault)
	}
	if without.length() > 0 {
		p.Without = fmt.Sprintf("%s: %s from %s to %s", lengthWords(without.length()), without.partition, c.clock(without.from), c.clock(without.to))
	}
	byKind := map[string][]recovered{}
	var kinds []string
	for _, r := range c.outages.recoveries() {
		if byKind[r.fault.Kind] == nil {
			kinds = append(kinds, r.fault.Kind)
		}
		byKind[r.fault.Kind] = append(byKind[r.fault.Kind], r)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		row := recoveryRow{Kind: kind, Faults: len(byKind[kind]), WriteMedian: "–", WriteMax: "–"}
		var outs, writes []int64
		worst := byKind[kind][0]
		slowest := byKind[kind][0]
		for _, r := range byKind[kind] {
			outs = append(outs, r.outage.length())
			if r.outage.length() > worst.outage.length() {
				worst = r
			}
			if r.write >= 0 {
				writes = append(writes, r.write)
				if r.write > slowest.write {
					slowest = r
				}
			}
		}
		row.OutageMedian, row.OutageMax = lengthWords(median(outs)), lengthWords(worst.outage.length())
		if worst.outage.length() > 0 {
			row.Where = fmt.Sprintf("%s, fault %d", worst.outage.partition, worst.fault.ID)
		}
		if len(writes) > 0 {
			row.WriteMedian, row.WriteMax = lengthWords(median(writes)), lengthWords(slowest.write)
			row.WriteSlowest = fmt.Sprintf("%s, fault %d", slowest.slowest, slowest.fault.ID)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

func median(list []int64) int64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// latencyPage compares latency with and without faults.
type latencyPage struct {
	Rows    []latencyRow
	Drawing template.HTML
}

type latencyRow struct{ Quantile, Quiet, Faulty string }

var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}}

func (c *collected) latencyPage() latencyPage {
	var p latencyPage
	if c.quiet.n+c.faulty.n == 0 {
		return p
	}
	p.Rows = append(p.Rows, latencyRow{"sends", count(c.quiet.n), count(c.faulty.n)})
	for _, q := range quantiles {
		row := latencyRow{Quantile: q.name, Quiet: "–", Faulty: "–"}
		if c.quiet.n > 0 {
			row.Quiet = lengthWords(c.quiet.quantile(q.q))
		}
		if c.faulty.n > 0 {
			row.Faulty = lengthWords(c.faulty.quantile(q.q))
		}
		p.Rows = append(p.Rows, row)
	}
	p.Drawing = drawDistribution(&c.quiet, &c.faulty)
	return p
}
