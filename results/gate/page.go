package gate

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"path/filepath"
	"strings"
	"time"

	"soak/results/measure"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("gate").Funcs(template.FuncMap{
	"upper": strings.ToUpper,
	"join":  func(s []string) string { return strings.Join(s, ", ") },
	"day":   func(t time.Time) string { return t.Format("2006-01-02") },
	"time":  func(t time.Time) string { return t.Format("2006-01-02 15:04:05") + " UTC" },
	"secs":  func(s float64) string { return measure.Seconds.Format(s) },
}).Parse(pageText))

// row is one attempt on the page.
type row struct {
	*Repetition
	Attempt  *Attempt
	Outcome  string
	Label    string
	Why      string
	Folder   string // relative to the page, "" if there is none
	Report   string // the run's own report, relative to the page, "" if there is none
	Class    string
	Measures []string
}

// shownMeasures are the few that fit into a table; gate.json has all.
var shownMeasures = []string{measure.AckedPerSecond, measure.LatencyP99, measure.ErrorShare, measure.LongestOutage, measure.RecoveryMax, measure.NodeMemoryMax}

// Page is index.html: one file, without scripts and without anything from elsewhere, with links to the runs' own reports. dir is the folder that it will stand in;
// exists answers whether a file is there.
func (r *Result) Page(dir string, exists func(string) bool) (out []byte, err error) {
	// A page that fails must not take the gate down with it.
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("drawing the gate's page: %v", p)
		}
	}()
	var rows []row
	for i := range r.Repetitions {
		rep := &r.Repetitions[i]
		if len(rep.Attempts) == 0 {
			rows = append(rows, row{Repetition: rep, Outcome: rep.Outcome, Why: rep.Why, Class: class(rep.Outcome), Measures: make([]string, len(shownMeasures))})
		}
		for k := range rep.Attempts {
			a := &rep.Attempts[k]
			x := row{Repetition: rep, Attempt: a, Outcome: rep.Outcome, Class: class(rep.Outcome), Why: rep.Why, Label: r.Label(rep)}
			if k < len(rep.Attempts)-1 {
				x.Outcome, x.Class, x.Why, x.Label = a.Outcome+", tried again", class(a.Outcome), a.Why, ""
			}
			x.Folder, x.Report = links(dir, a.Folder, exists)
			for _, name := range shownMeasures {
				d, _ := measure.Find(name)
				if v, known := a.Measures[name]; known {
					x.Measures = append(x.Measures, d.Unit.Format(v))
				} else {
					x.Measures = append(x.Measures, "–")
				}
			}
			rows = append(rows, x)
		}
	}
	var b bytes.Buffer
	err = page.Execute(&b, map[string]any{"R": r, "Rows": rows, "Heads": shownMeasures, "Rest": 3 + len(shownMeasures), "Found": r.Found(), "Took": r.Ended.Sub(r.Started).Round(time.Second).String()})
	if err != nil {
		return nil, fmt.Errorf("drawing the gate's page: %w", err)
	}
	return b.Bytes(), nil
}

func class(outcome string) string {
	switch exitOf(outcome) {
	case exitViolated:
		return "bad"
	case exitHarness, exitInconclusive:
		return "open"
	}
	return "good"
}

// links are relative, so that the whole tree can be moved.
func links(dir, folder string, exists func(string) bool) (to, report string) {
	if folder == "" {
		return "", ""
	}
	a, errA := filepath.Abs(dir)
	b, errB := filepath.Abs(folder)
	if errA != nil || errB != nil {
		return "", ""
	}
	rel, err := filepath.Rel(a, b)
	if err != nil {
		return "", ""
	}
	if exists(filepath.Join(folder, "report.html")) {
		report = filepath.ToSlash(filepath.Join(rel, "report.html"))
	}
	return filepath.ToSlash(rel) + "/", report
}
