package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/results"
	"soak/results/compare"
)

// stripWidth is how many runs a strip shows.
const stripWidth = 30

// listFlags are what `soak list` was asked for.
type listFlags struct {
	out      string
	json     bool
	filter   results.Filter
	strips   bool
	findings int // against how many earlier runs; 0: not asked for
}

func (e *env) parseList(args []string) (*listFlags, error) {
	f := &listFlags{}
	fs := e.newFlags("list", "list [FLAGS]", "List the stored runs, newest first, and under them each scenario with a strip of its verdicts (oldest to newest: . holds, V violated,\n"+
		"? inconclusive, ! the harness failed, - not judged) and how often it was violated, with a 95 % interval.")
	fs.StringVar(&f.out, "out", defaultOut, "the parent of run folders")
	fs.StringVar(&f.filter.Scenario, "scenario", "", "only of this scenario")
	fs.StringVar(&f.filter.Driver, "driver", "", "only of this driver")
	fs.StringVar(&f.filter.Verdict, "verdict", "", "only of this verdict: "+strings.Join(results.Verdicts(), ", "))
	bugs := fs.Bool("bugs", false, "only with planted bugs, or with --bugs=false only without")
	fs.IntVar(&f.filter.Last, "last", 0, "only the newest so many")
	fs.BoolVar(&f.strips, "strips", false, "the scenarios only")
	fs.IntVar(&f.findings, "findings", 0, "tell which findings of each scenario's newest run are new, ongoing or resolved against so many runs before it")
	fs.BoolVar(&f.json, "json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return nil, err
	}
	if fs.Changed("bugs") {
		f.filter.Bugs = bugs
	}
	if v := f.filter.Verdict; v != "" && !slices.Contains(results.Verdicts(), v) {
		return nil, usage("unknown verdict "+quoted(v), didYouMean(v, results.Verdicts(), "verdicts: "+strings.Join(results.Verdicts(), ", ")))
	}
	if d := f.filter.Driver; d != "" && !slices.Contains(drivers[1:], d) {
		return nil, usage("unknown driver "+quoted(d), didYouMean(d, drivers[1:], "drivers: docker, process, sim"))
	}
	for _, n := range []string{"last", "findings"} {
		if fs.Changed(n) && (n == "last" && f.filter.Last < 1 || n == "findings" && f.findings < 1) {
			return nil, usage(fmt.Sprintf("--%s %s: want at least 1", n, fs.Lookup(n).Value), "leave it out")
		}
	}
	return f, nil
}

func listCommand(e *env, args []string) (int, error) {
	f, err := e.parseList(args)
	if err != nil {
		return 0, err
	}
	all, err := results.List(f.out)
	if err != nil {
		return 0, err
	}
	runs := f.filter.Take(all)
	strips := results.Strips(runs)
	if f.json {
		return exitHolds, e.listJSON(f, runs, strips)
	}
	switch {
	case len(all) == 0:
		return exitHolds, e.print("no runs under %s\n", f.out)
	case len(runs) == 0:
		return exitHolds, e.print("none of the %s under %s is what was asked for\n", show.Plural(int64(len(all)), "run"), f.out)
	}
	if !f.strips && f.findings == 0 {
		if err := e.runTable(runs); err != nil {
			return 0, err
		}
		if err := e.print("\n"); err != nil {
			return 0, err
		}
	}
	if err := e.stripTable(strips); err != nil {
		return 0, err
	}
	if f.findings > 0 {
		return exitHolds, e.findings(strips, f.findings)
	}
	return exitHolds, nil
}

func (e *env) runTable(runs []results.Entry) error {
	rows := [][]string{{"ID", "TIME (UTC)", "SCENARIO", "DRIVER", "VERDICT", "BUGS", "FOLDER"}}
	for _, r := range runs {
		verdict := r.Verdict
		if r.HarnessFailed {
			verdict += ", harness failed"
		}
		if r.Problem != "" {
			verdict = "(" + r.Problem + ")"
		}
		when := ""
		if !r.Time.IsZero() {
			when = r.Time.Format("2006-01-02 15:04:05")
		}
		rows = append(rows, []string{r.ID, when, r.Scenario, r.Driver, verdict, strings.Join(r.Bugs, ","), r.Folder.Path()})
	}
	if !show.Fits(e.style(), rows) {
		for i := range rows { // the id names the run to every command
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	return e.table(rows)
}

func (e *env) stripTable(strips []results.Strip) error {
	rows := [][]string{{"SCENARIO", "DRIVER", "RUNS", "VIOLATED", "LATEST IS RIGHT", "BUGS"}}
	for _, s := range strips {
		rows = append(rows, []string{s.Scenario, s.Driver, show.Count(int64(len(s.Entries))), flakeWords(&s), s.Marks(stripWidth), strings.Join(s.Bugs, ",")})
	}
	return e.table(rows)
}

// flakeWords says how often a scenario was violated, and how often it may be in truth.
func flakeWords(s *results.Strip) string {
	k, n := s.Flakes()
	if n == 0 {
		return "none could be judged"
	}
	r := results.Wilson(k, n)
	words := fmt.Sprintf("%d of %d, %.0f-%.0f %%", k, n, 100*r.Low, 100*r.High)
	if k > 0 && k < n {
		words += ", flaky"
	}
	return words
}

// findingsOf compares a scenario's newest run with those before it.
func findingsOf(s *results.Strip, before int) []compare.FindingChange {
	report := func(entries []results.Entry) []*checkers.Report {
		var out []*checkers.Report
		for i := range entries {
			rep, err := entries[i].Folder.Report()
			if err != nil {
				rep = nil // not judged: it says nothing
			}
			out = append(out, rep)
		}
		return out
	}
	return compare.Findings(report(s.Entries[1:min(len(s.Entries), 1+before)]), report(s.Entries[:1]))
}

func (e *env) findings(strips []results.Strip, before int) error {
	st := e.style()
	for i := range strips {
		s := &strips[i]
		words := fmt.Sprintf("\n%s on %s: %s against %s before it", s.Scenario, s.Driver, s.Entries[0].ID, show.Plural(int64(min(before, len(s.Entries)-1)), "run"))
		if err := e.print("%s\n", "\n"+st.Text(strings.TrimSpace(words))); err != nil {
			return err
		}
		changes := findingsOf(s, before)
		if len(changes) == 0 {
			if err := e.print("  no findings\n"); err != nil {
				return err
			}
		}
		for _, c := range changes {
			if err := e.print("%s\n", "  "+st.Text(show.Cut(c.Said(), 240))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *env) listJSON(f *listFlags, runs []results.Entry, strips []results.Strip) error {
	j := watch.NewJSON(e.stdout)
	for _, r := range runs {
		if f.strips || f.findings > 0 {
			break
		}
		if err := j.Write(map[string]any{"type": "run", "id": r.ID, "time": r.Time.Format(time.RFC3339), "scenario": r.Scenario, "driver": r.Driver,
			"seed": r.Seed, "bugs": r.Bugs, "verdict": strings.ToLower(r.Verdict), "harness_failed": r.HarnessFailed, "problem": r.Problem, "folder": r.Folder.Path()}); err != nil {
			return err
		}
	}
	for i := range strips {
		s := &strips[i]
		k, n := s.Flakes()
		rate := results.Wilson(k, n)
		line := map[string]any{"type": "scenario", "scenario": s.Scenario, "driver": s.Driver, "bugs": s.Bugs, "runs": len(s.Entries), "violated": k, "judged": n,
			"low": rate.Low, "high": rate.High, "strip": s.Marks(stripWidth)}
		if f.findings > 0 {
			var found []map[string]any
			for _, c := range findingsOf(s, f.findings) {
				found = append(found, map[string]any{"checker": c.Signature.Checker, "kind": c.Signature.Kind, "place": c.Signature.Place, "status": c.Status,
					"before": c.Old, "sentence": c.Sentence})
			}
			line["newest"], line["findings"] = s.Entries[0].ID, found
		}
		if err := j.Write(line); err != nil {
			return err
		}
	}
	return nil
}
