package cli

import (
	"path/filepath"

	"soak/results"
)

func reportCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("report", "report RUN... [--out DIR] [-q]",
		"Draw stored runs: report.html in each run's folder, one file that any browser opens. Of a run that is half-written, damaged or not judged it\n"+
			"says what is missing and shows the rest. It judges nothing (soak check does), so its exit code says only whether it could draw.")
	out := fs.String("out", defaultOut, "the parent of run folders")
	quiet := fs.BoolP("quiet", "q", false, "do not print where the reports are")
	if err := parse(fs, args, 1, -1); err != nil {
		return 0, err
	}
	var folders []*results.Folder
	for _, ref := range fs.Args() {
		f, err := results.Open(*out, ref)
		if err != nil {
			return 0, err
		}
		folders = append(folders, f)
	}
	code := exitHolds
	for _, f := range folders {
		missing, err := f.Draw()
		for _, m := range missing {
			e.note("%s", m)
		}
		if err != nil {
			// One that cannot be drawn must not keep the others from it.
			hint := "the run's verdict is not touched by this"
			if results.DiskFull(err) {
				hint = "free some space, and draw it again; " + hint
			}
			code = stronger(code, e.fail(harness("drawing "+f.Path(), err, hint)))
			continue
		}
		if !*quiet {
			if err := e.print("%s\n", filepath.Join(f.Path(), results.ReportFile)); err != nil {
				return 0, err
			}
		}
	}
	return code, nil
}
