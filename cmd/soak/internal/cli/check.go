package cli

import (
	"fmt"

	"soak/chaos/owner"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
	"soak/internal/version"
	"soak/results"
)

func checkCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("check", "check RUN... [--out DIR] [--json] [-q]",
		"Judge stored runs again, and compare with the verdicts that they hold. The exit code is the strongest finding.")
	out := fs.String("out", defaultOut, "the parent of run folders")
	var o output
	o.add(fs, "one JSON object a line, a verdict for each run")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "the verdicts only")
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
	for i, f := range folders {
		if i > 0 && !o.json && !o.quiet {
			if err := e.print("\n"); err != nil {
				return 0, err
			}
		}
		c, err := e.checkOne(f, o)
		if err != nil {
			// One folder that cannot be read must not hide what is found in the others.
			c = e.fail(err)
		}
		code = stronger(code, c)
	}
	return code, nil
}

func (e *env) checkOne(f *results.Folder, o output) (int, error) {
	run, err := f.Run()
	if err != nil {
		return 0, err
	}
	if owner.Alive(run.ID) {
		return 0, usage(f.Path()+" is still being written: its run goes on", "wait for its end, or interrupt it")
	}
	defer within(e.getenv, judgingMemory)()
	c, err := results.Check(f)
	if c == nil {
		return 0, err
	}
	if err != nil {
		e.note("%v", err)
	}
	code := exitOf(run, c.Report)
	if err := e.ending(f, run, c.Report, o, code); err != nil {
		return 0, err
	}
	switch {
	case !c.Stored && f.HasReport():
		e.note("%s held no verdict; this one has been written there", f.Path())
	case !c.Same:
		return stronger(code, e.fail(mismatch(f, run))), nil
	}
	return code, nil
}

// mismatch tells that the stored verdict is not what the stored evidence gives.
func mismatch(f *results.Folder, run *history.Run) error {
	hint := "a file of the folder was changed after the run; the verdict above is what the evidence gives now, the stored one was left as it is"
	if run.Version != version.Version {
		hint = fmt.Sprintf("the run was judged by soak %s, this is %s: their checkers may differ; otherwise a file of the folder was changed", run.Version, version.Version)
	}
	return &failure{code: exitHarness, msg: fmt.Sprintf("%s: the stored %s is not what its evidence gives", f.Path(), results.VerdictFile), hint: hint}
}

// exitOf is the exit code of a judged run: a violation comes before a harness that failed, that before missing evidence.
func exitOf(run *history.Run, r *checkers.Report) int {
	code := r.ExitCode()
	if run.HarnessError != "" {
		code = stronger(code, exitHarness)
	}
	return code
}

// stronger is the stronger of two findings: violated, the harness failed, a bad configuration, inconclusive, holds.
func stronger(a, b int) int {
	strength := map[int]int{exitViolated: 5, exitHarness: 4, exitUsage: 3, exitInconclusive: 2, exitHolds: 0}
	if strength[b] > strength[a] {
		return b
	}
	return a
}

// ending prints a judged run as the flags ask for it.
func (e *env) ending(f *results.Folder, run *history.Run, r *checkers.Report, o output, code int) error {
	if o.json {
		return watch.NewJSON(e.stdout).Write(verdictLine{Type: "verdict", Exit: code, Folder: f.Path(), Report: r})
	}
	st := e.style()
	if o.quiet {
		return e.print("%s\n", show.Headline(st, r))
	}
	facts, err := f.Facts(run)
	if err != nil {
		e.note("%v", err)
	}
	return show.End(e.stdout, st, show.Ending{Run: run, Report: r, Facts: facts, Folder: f.Path(), Reproduce: e.reproduce(f, run, r.Outcome)})
}

// verdictLine is the last line of --json.
type verdictLine struct {
	Type   string           `json:"type"`
	Exit   int              `json:"exit"`
	Folder string           `json:"folder"`
	Report *checkers.Report `json:"report"`
}

// note prints a line that is neither result nor error.
func (e *env) note(format string, args ...any) {
	st := show.StyleOf(e.stderr, e.getenv)
	fmt.Fprintf(e.stderr, "note: %s\n", st.Text(fmt.Sprintf(format, args...)))
}
