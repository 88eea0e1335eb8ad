package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"soak/campaign"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/history"
)

// shrinkFlags are what `soak shrink` was asked for.
type shrinkFlags struct {
	ref   string
	class string
	time  time.Duration
	jobs  int
	out   string
	quiet bool
}

func shrinkCommand(e *env, args []string) (int, error) {
	f := &shrinkFlags{}
	fs := e.newFlags("shrink", "shrink RUN [FLAGS]",
		"Find the smallest schedule that fails in the same way as a stored run, by simulating. The run folder gets it as a scenario for every\n"+
			"driver ("+campaign.ShrunkFile+"), as a story ("+campaign.StoryFile+") and as a Go test ("+campaign.TestFile+").")
	fs.DurationVar(&f.time, "time", time.Minute, "give up after this long, with the smallest so far")
	fs.StringVar(&f.class, "class", "", "CHECKER/KIND of the violation to keep (default: the first of the verdict)")
	fs.IntVar(&f.jobs, "jobs", runtime.NumCPU(), "worker processes")
	fs.StringVar(&f.out, "out", defaultOut, "the parent of run folders")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	if err := parse(fs, args, 1, 1); err != nil {
		return 0, err
	}
	f.ref = fs.Arg(0)
	switch {
	case f.jobs < 1:
		return 0, usage(fmt.Sprintf("--jobs %d: want at least 1", f.jobs), "leave it out for one worker a core")
	case f.time <= 0:
		return 0, usage("--time "+f.time.String()+": want more than nothing", "leave it out for a minute")
	}
	s, err := openSource(f.out, f.ref)
	if err != nil {
		return 0, err
	}
	if s.folder == nil {
		return 0, usage(f.ref+" is a file, not a run", "soak run "+f.ref+" --driver sim makes a run of it; shrink that")
	}
	class, err := classOf(s, f.class)
	if err != nil {
		return 0, err
	}
	return e.shrink(f, s, class)
}

// classOf is the class of violation to keep: what was asked for, or the first of the verdict.
func classOf(s *source, asked string) (campaign.Class, error) {
	rep, err := s.folder.Report()
	if err != nil {
		return campaign.Class{}, usage(fmt.Sprintf("%s has no verdict: %v", s.name, err), "soak check "+s.name+" judges it")
	}
	var there []string
	for _, v := range rep.Verdicts {
		if v.Outcome != checkers.Violated {
			continue
		}
		for _, x := range v.Violations {
			c := campaign.Class{Checker: v.Checker, Kind: x.Kind}
			if asked == "" || asked == c.String() {
				return c, nil
			}
			there = append(there, c.String())
		}
	}
	if len(there) == 0 {
		return campaign.Class{}, usage(s.name+" has no violation: there is nothing to shrink", "soak list shows the runs and their verdicts")
	}
	return campaign.Class{}, usage("the run has no violation of the class "+quoted(asked), didYouMean(asked, there, "it has "+strings.Join(there, ", ")))
}

func (e *env) shrink(f *shrinkFlags, s *source, class campaign.Class) (int, error) {
	plans := []*scenario.Scenario{s.plan}
	if s.folder.HasSchedule() {
		if executed, err := scenario.Load(s.folder.Schedule()); err == nil {
			plans = []*scenario.Scenario{executed, s.plan}
		} else {
			e.note("%v", err)
		}
	}
	if err := capable("sim", capabilities("sim"), s.plan.FaultKinds()); err != nil {
		return 0, s.other(err)
	}
	pool, err := e.newPool(f.jobs)
	if err != nil {
		return 0, err
	}
	stop := newStopper(e)
	defer stop.close()
	stop.calm("ending with the smallest schedule so far (once more to stop at once)")
	say := func(string, ...any) {}
	if !f.quiet {
		st := show.StyleOf(e.stderr, e.getenv)
		say = func(format string, args ...any) { fmt.Fprintln(e.stderr, st.Text(fmt.Sprintf(format, args...))) }
	}
	began := time.Now()
	small, err := campaign.Shrink(campaign.ShrinkOptions{
		Plans: plans, Seed: s.seed, Bugs: s.bugs, Class: class, Doer: pool, Width: pool.Size(), Time: f.time, Now: time.Now, Stop: stop.ctx.Done(), Say: say,
	})
	closed := pool.Close()
	switch {
	case errors.Is(err, campaign.ErrDoesNotFail):
		hint := "it takes what only the driver " + s.run.Driver + " has; the schedule itself is " + s.folder.Schedule()
		if s.older() {
			return 0, &failure{code: exitUsage, msg: s.words(), err: err, hint: s.checkout()}
		} else if s.run.Driver == "sim" {
			hint = "soak replay " + f.ref + " shows whether the run is still the one that was recorded"
		}
		return 0, &failure{code: exitUsage, msg: "nothing to shrink", err: err, hint: hint}
	case err != nil:
		return 0, harness("shrinking", err, "")
	case closed != nil:
		return 0, harness("ending the workers", closed, "")
	}
	return exitHolds, e.shrunk(s, small, time.Since(began))
}

// shrunk writes the smallest run into the folder and prints its story.
func (e *env) shrunk(s *source, small *campaign.Shrunk, took time.Duration) error {
	test, err := small.Test()
	if err != nil {
		return harness("shrinking", err, "")
	}
	for line := range strings.Lines(small.Text()) {
		if err := e.print("%s\n", e.style().Text(strings.TrimRight(line, "\n"))); err != nil {
			return err
		}
	}
	if err := e.print("\nfrom %s to %s in %d runs, %s\n",
		show.Plural(int64(small.From), "fault"), show.Plural(int64(len(small.Plan.Faults)), "fault"), small.Tries, took.Round(100*time.Millisecond)); err != nil {
		return err
	}
	var rows [][]string
	for _, file := range []struct {
		name string
		data []byte
		what string
	}{
		{campaign.ShrunkFile, small.YAML(), "run it on any driver, or soak replay it"},
		{campaign.StoryFile, []byte(small.Text()), "the text above"},
		{campaign.TestFile, test, "a Go test; its first line says where to put it"},
	} {
		path := filepath.Join(s.folder.Path(), file.name)
		if err := history.WriteFileAtomic(path, file.data); err != nil {
			return harness("writing the shrunk run", err, "the text above is all of it; free some space, or make the folder writable")
		}
		rows = append(rows, []string{path, file.what})
	}
	if err := e.table(rows); err != nil {
		return err
	}
	words := append(e.program(), "replay", filepath.Join(s.folder.Path(), campaign.ShrunkFile))
	return e.print("reproduce: %s\n", strings.Join(words, " "))
}
