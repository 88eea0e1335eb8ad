package cli

import (
	"fmt"
	"strconv"
	"strings"

	"soak/chaos/owner"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/results"
	"soak/results/compare"
)

func compareCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("compare", "compare OLD NEW [--threshold SHARE] [--markdown|--json] [-q] [--out DIR]",
		"Compare two runs, or two sets of runs: verdicts, findings, coverage, and every measure by a rank test.\n"+
			"A set is RUN,RUN,... or a folder of run folders. Exit 1: something got worse; 3: data is missing, or the new side proved too little.")
	out := fs.String("out", defaultOut, "the parent of run folders")
	threshold := fs.String("threshold", "10%", "by how much a measure may get worse")
	markdown := fs.Bool("markdown", false, "as Markdown")
	var o output
	o.add(fs, "one JSON object")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "the result in one line")
	if err := parse(fs, args, 2, 2); err != nil {
		return 0, err
	}
	if n := btoi(*markdown) + btoi(o.json) + btoi(o.quiet); n > 1 {
		return 0, usage("--markdown, --json and -q exclude each other", "leave out all but one of them")
	}
	limit, err := share(*threshold)
	if err != nil {
		return 0, usage("--threshold "+*threshold+": "+err.Error(), "write it as 10% or 0.1")
	}
	old, err := loadSide(*out, fs.Arg(0))
	if err != nil {
		return 0, err
	}
	now, err := loadSide(*out, fs.Arg(1))
	if err != nil {
		return 0, err
	}
	r := compare.Compare(old, now, compare.Options{Threshold: limit})
	code := map[compare.Outcome]int{compare.Fine: exitHolds, compare.Inconclusive: exitInconclusive, compare.Worse: exitViolated}[r.Outcome()]
	switch {
	case o.json:
		return code, watch.NewJSON(e.stdout).Write(r.JSON(code))
	case *markdown:
		return code, e.print("%s", r.Markdown())
	case o.quiet:
		return code, e.print("%s\n", e.style().Text(r.Sentence()))
	}
	return code, e.comparison(r)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// share reads a share that is not negative, as percent or as a number.
func share(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return 0, fmt.Errorf("want a share that is not negative")
	}
	if percent {
		v /= 100
	}
	return v, nil
}

// loadSide reads the runs that a word names.
func loadSide(parent, ref string) ([]*compare.Run, error) {
	folders, err := results.OpenSet(parent, ref)
	if err != nil {
		return nil, err
	}
	var runs []*compare.Run
	for _, f := range folders {
		r, err := compare.Load(f)
		if err != nil {
			return nil, err
		}
		if owner.Alive(r.Run.ID) {
			return nil, usage(f.Path()+" is still being written: its run goes on", "wait for its end, or interrupt it")
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// comparison prints a result for a person.
func (e *env) comparison(r *compare.Result) error {
	line := func(format string, args ...any) error { return e.printText(fmt.Sprintf(format, args...)) }
	for i, d := range r.Differences {
		if i == 0 {
			if err := line("not the same on both sides"); err != nil {
				return err
			}
		}
		if err := line("  %s: %s → %s", d.What, strings.Join(d.Old, "; "), strings.Join(d.New, "; ")); err != nil {
			return err
		}
	}
	old, now := r.Sides()
	err := e.table([][]string{{"old", compare.Words(r.Verdicts.Old), old}, {"new", compare.Words(r.Verdicts.New), now}})
	if err != nil {
		return err
	}
	for _, f := range r.Verdicts.Findings {
		if err := line("  %s", show.Cut(f.Said(), 240)); err != nil {
			return err
		}
	}
	for _, c := range r.Verdicts.Checkers {
		if err := line("  %s  %s → %s: %s", c.Checker, c.Old, c.New, show.Cut(c.Reason, 200)); err != nil {
			return err
		}
	}
	rows := [][]string{compare.Headings()}
	apart := []string{}
	for i := range r.Rows {
		if r.Rows[i].Status == compare.Apart {
			apart = append(apart, r.Rows[i].Measure.Name)
			continue
		}
		rows = append(rows, r.Rows[i].Cells())
	}
	if err := e.table(rows); err != nil {
		return err
	}
	if len(apart) > 0 {
		if err := line("not applicable: %s", strings.Join(apart, ", ")); err != nil {
			return err
		}
	}
	if err := e.coverageChanges(r.Verdicts.Coverage); err != nil {
		return err
	}
	if err := line("%s", compare.Explanation(r.Threshold)); err != nil {
		return err
	}
	return line("%s", r.Sentence())
}

// coverageChanges shows what was seen on both sides of what was needed.
func (e *env) coverageChanges(cs []compare.CoverageChange) error {
	rows := [][]string{{"coverage", "old", "new", "needed"}}
	for _, c := range cs {
		mark := ""
		if c.New < c.Needed {
			mark = " (!)"
		}
		rows = append(rows, []string{c.Name, show.Count(c.Old), show.Count(c.New), show.Count(c.Needed) + mark})
	}
	if len(rows) == 1 {
		return nil
	}
	return e.table(rows)
}
