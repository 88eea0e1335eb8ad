package cli

import (
	"fmt"

	"soak/chaos/owner"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/results"
	"soak/results/measure"
)

func pruneCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("prune", "prune --keep N [--scenario NAME] [--violated] [--dry-run] [--out DIR] [--json]",
		"Remove stored runs beyond the newest N of each scenario, driver and set of planted bugs. Violated runs stay unless --violated is given; so do runs that are under way,\n"+
			"that were not judged, or that cannot be read.")
	out := fs.String("out", defaultOut, "the parent of run folders")
	o := results.PruneOptions{UnderWay: owner.Alive}
	fs.IntVar(&o.Keep, "keep", 0, "how many runs of each line of soak list --strips stay: the newest")
	fs.StringVar(&o.Scenario, "scenario", "", "only runs of this scenario")
	fs.BoolVar(&o.Violated, "violated", false, "remove violated runs too")
	fs.BoolVar(&o.DryRun, "dry-run", false, "say what would go, and remove nothing")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	if o.Keep < 1 {
		return 0, usage("soak prune needs --keep N, at least 1", "soak prune --keep 20 --dry-run says what would go")
	}
	pruned, err := results.Prune(*out, o)
	j := watch.NewJSON(e.stdout)
	var freed, gone, left int64
	for _, p := range pruned {
		if p.Left == "" {
			freed, gone = freed+p.Bytes, gone+1
		} else {
			left++
		}
		var printed error
		switch {
		case *asJSON:
			printed = j.Write(map[string]any{"type": "run", "id": p.Entry.ID, "folder": p.Entry.Folder.Path(), "bytes": p.Bytes, "removed": p.Left == "" && !o.DryRun, "stays": p.Left})
		case p.Left != "":
			printed = e.print("stays  %s  %s\n", p.Entry.Folder.Path(), e.style().Text(p.Left))
		default:
			word := "removed"
			if o.DryRun {
				word = "would go"
			}
			printed = e.print("%s  %s  %s\n", word, p.Entry.Folder.Path(), measure.Bytes.Format(float64(p.Bytes)))
		}
		if printed != nil {
			return 0, printed
		}
	}
	if err != nil {
		return 0, err
	}
	if *asJSON {
		return exitHolds, j.Write(map[string]any{"type": "pruned", "runs": gone, "bytes": freed, "stay": left, "dry_run": o.DryRun})
	}
	words := "freed"
	if o.DryRun {
		words = "would free"
	}
	return exitHolds, e.print("%s %s of %s\n", words, measure.Bytes.Format(float64(freed)), fmt.Sprint(show.Plural(gone, "run")))
}
