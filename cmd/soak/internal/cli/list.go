package cli

import (
	"strings"
	"time"

	"soak/cmd/soak/internal/watch"
	"soak/results"
)

func listCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("list", "list [--out DIR] [--json]", "List the stored runs, newest first.")
	out := fs.String("out", defaultOut, "the parent of run folders")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	runs, err := results.List(*out)
	if err != nil {
		return 0, err
	}
	if *asJSON {
		j := watch.NewJSON(e.stdout)
		for _, r := range runs {
			if err := j.Write(map[string]any{"id": r.ID, "time": r.Time.Format(time.RFC3339), "scenario": r.Scenario, "driver": r.Driver,
				"seed": r.Seed, "bugs": r.Bugs, "verdict": strings.ToLower(r.Verdict), "problem": r.Problem, "folder": r.Folder.Path()}); err != nil {
				return 0, err
			}
		}
		return exitHolds, nil
	}
	if len(runs) == 0 {
		return exitHolds, e.print("no runs under %s\n", *out)
	}
	rows := [][]string{{"ID", "TIME (UTC)", "SCENARIO", "DRIVER", "VERDICT", "BUGS", "FOLDER"}}
	for _, r := range runs {
		verdict := r.Verdict
		if r.Problem != "" {
			verdict = "(" + r.Problem + ")"
		}
		when := ""
		if !r.Time.IsZero() {
			when = r.Time.Format("2006-01-02 15:04:05")
		}
		rows = append(rows, []string{r.ID, when, r.Scenario, r.Driver, verdict, strings.Join(r.Bugs, ","), r.Folder.Path()})
	}
	return exitHolds, e.table(rows)
}
