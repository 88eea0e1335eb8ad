package cli

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"soak/broker/bugs"
	"soak/campaign"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
)

// selftestFlags are what `soak selftest` was asked for.
type selftestFlags struct {
	driver string
	bugs   []string
	tries  int
	jobs   int
	output
}

func selftestCommand(e *env, args []string) (int, error) {
	f := &selftestFlags{}
	fs := e.newFlags("selftest", "selftest [FLAGS]",
		"Plant each historical bug in turn and see that the checkers find it, and that they find nothing in the sound broker.\n"+
			"Exit code 1 if a bug is not found by a checker that its entry names (soak bugs), or a sound run fails.")
	fs.StringVar(&f.driver, "driver", "sim", "sim")
	fs.StringArrayVar(&f.bugs, "bug", nil, "plant this one (default: all); may be repeated")
	fs.IntVar(&f.tries, "tries", 60, "runs to look for one bug in")
	fs.IntVar(&f.jobs, "jobs", runtime.NumCPU(), "worker processes")
	f.output.add(fs, "one JSON object a line on standard output, the last being the verdict")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "the verdict only")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	switch {
	case f.driver == "process" || f.driver == "docker":
		return 0, usage("selftest looks for every bug in the simulator, the cheapest driver that can find it; --driver "+f.driver+" is not in this version",
			"soak run --driver "+f.driver+" --bug NAME plants one; make accept plants the story's on real clusters")
	case f.driver != "sim":
		return 0, usage("unknown driver "+quoted(f.driver), "drivers: sim")
	case f.tries < 1:
		return 0, usage(fmt.Sprintf("--tries %d: want at least 1", f.tries), "leave it out for 60")
	case f.jobs < 1:
		return 0, usage(fmt.Sprintf("--jobs %d: want at least 1", f.jobs), "leave it out for one worker a core")
	}
	names, err := bugNames(f.bugs)
	if err != nil {
		return 0, err
	}
	entries := slices.Clone(bugs.Catalogue)
	for _, b := range entries {
		if b.RealOnly && slices.Contains(names, b.Name) {
			return 0, usage(b.Name+" shows on real processes only, not in the simulator", "soak run --driver process --bug "+b.Name+" plants it; soak bugs "+b.Name+" says what brings it out")
		}
	}
	entries = slices.DeleteFunc(entries, func(b bugs.Entry) bool { return b.RealOnly || len(names) > 0 && !slices.Contains(names, b.Name) })
	return e.selftest(f, entries)
}

func (e *env) selftest(f *selftestFlags, entries []bugs.Entry) (int, error) {
	pool, err := e.newPool(f.jobs)
	if err != nil {
		return 0, err
	}
	stop := newStopper(e)
	defer stop.close()
	stop.calm("ending after the runs under way (once more to stop at once)")
	o := campaign.SelftestOptions{Bugs: entries, Doer: pool, Width: f.jobs, Tries: f.tries, Now: time.Now, Stop: stop.ctx.Done()}
	if !f.quiet && !f.json {
		st := show.StyleOf(e.stderr, e.getenv)
		o.Progress = func(x campaign.Found) { fmt.Fprintln(e.stderr, st.Text(x.Bug.Name+": "+selftestOutcome(x))) }
	}
	began := time.Now()
	t, err := campaign.RunSelftest(o)
	if closed := pool.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return 0, harness("the selftest", err, "")
	}
	code := exitViolated
	switch {
	case t.OK():
		code = exitHolds
	case t.Stopped:
		code = stop.code()
	}
	if f.json {
		return code, e.selftestJSON(t, code)
	}
	return code, e.selftestEnd(f, t, time.Since(began))
}

// selftestOutcome says in a few words what planting a bug gave.
func selftestOutcome(x campaign.Found) string {
	switch {
	case x.Right:
		return fmt.Sprintf("found in %s, run %d (%s, seed %d)", x.Took.Round(10*time.Millisecond), x.Tries, x.Scenario, x.Seed)
	case !x.Reached:
		return fmt.Sprintf("NEVER REACHED in %s", show.Plural(int64(x.Tries), "run"))
	case len(x.By) > 0:
		return fmt.Sprintf("NOT FOUND by %s in %s, only by %s", strings.Join(x.Bug.Checkers, ", "), show.Plural(int64(x.Tries), "run"), strings.Join(x.By, ", "))
	}
	return fmt.Sprintf("NOT FOUND in %s", show.Plural(int64(x.Tries), "run"))
}

// selftestEnd prints the matrix.
func (e *env) selftestEnd(f *selftestFlags, t *campaign.Selftest, took time.Duration) error {
	if !f.quiet {
		if err := e.selftestMatrix(t); err != nil {
			return err
		}
	}
	for _, a := range t.Clean {
		for _, x := range a.Failures {
			if err := e.print("the sound broker failed with seed %d: %s: %s\n", a.Seed, x.Signature(), x.Sentence); err != nil {
				return err
			}
		}
	}
	found := 0
	for _, x := range t.Found {
		if x.Right {
			found++
		} else if err := e.print("%s: %s\nreproduce: %s selftest --bug %s\n", x.Bug.Name, selftestOutcome(x), strings.Join(e.program(), " "), x.Bug.Name); err != nil {
			return err
		}
	}
	head := "HOLDS"
	switch {
	case t.Stopped:
		head = "ENDED EARLY"
	case !t.OK():
		head = "VIOLATED"
	}
	return e.print("%s  %d of %d bugs found, %d of %d sound runs failed, %s\n", head, found, len(t.Found), len(t.Clean), t.CleanRuns, took.Round(100*time.Millisecond))
}

// selftestMatrix shows bug × checker. The checkers stand as numbers: their names are as wide as the table may be.
func (e *env) selftestMatrix(t *campaign.Selftest) error {
	var ids []string
	for _, c := range checkers.List() {
		if c.ID != checkers.Coverage {
			ids = append(ids, c.ID)
		}
	}
	head := []string{"bug"}
	for i := range ids {
		head = append(head, fmt.Sprint(i+1))
	}
	rows := [][]string{append(head, "time", "runs", "at", "by")}
	for _, x := range t.Found {
		row := []string{x.Bug.Name}
		for _, c := range ids {
			row = append(row, selftestCell(x, c))
		}
		at := "-"
		if x.At > 0 {
			at = show.Seconds(x.At)
		}
		by := "-"
		if x.Right {
			by = fmt.Sprintf("%s %d", x.Scenario, x.Seed)
		}
		rows = append(rows, append(row, x.Took.Round(10*time.Millisecond).String(), fmt.Sprint(x.Tries), at, by))
	}
	if err := e.table(rows); err != nil {
		return err
	}
	for i, c := range ids {
		if err := e.print("%2d %s\n", i+1, c); err != nil {
			return err
		}
	}
	return e.print("X must find it and did, - must and did not, x may and did, ? did though the bug's entry does not name it\n" +
		"time: to the verdict that found it; at: the violation's time in its run; by: the scenario and seed\n")
}

func selftestCell(x campaign.Found, checker string) string {
	did := slices.Contains(x.By, checker)
	switch {
	case slices.Contains(x.Bug.Checkers, checker):
		if did {
			return "X"
		}
		return "-"
	case did && slices.Contains(x.Bug.May, checker):
		return "x"
	case did:
		return "?"
	}
	return "."
}

func (e *env) selftestJSON(t *campaign.Selftest, code int) error {
	j := watch.NewJSON(e.stdout)
	for _, x := range t.Found {
		if err := j.Write(map[string]any{"type": "bug", "name": x.Bug.Name, "found": x.Right, "reached": x.Reached, "by": x.By, "unlisted": x.Unlisted(),
			"seconds": x.Took.Seconds(), "runs": x.Tries, "scenario": x.Scenario, "seed": x.Seed, "sentence": x.Sentence}); err != nil {
			return err
		}
	}
	return j.Write(map[string]any{"type": "verdict", "exit": code, "clean_runs": t.CleanRuns, "clean_failed": t.Clean})
}
