package cli

import (
	"fmt"
	"io"
	"slices"

	"soak/checkers"
	"soak/history"
	"soak/results"
)

// reproduce is the command that does a run again. A run that went its whole way is done again by its executed schedule. One that
// ended early, as with --fail-fast, is asked for as it was the first time: its schedule holds times and lengths that its end cut off. A violation need
// not be waited out.
func (e *env) reproduce(f *results.Folder, run *history.Run, outcome checkers.Outcome) []string {
	if f != nil && run.SimHash != 0 && wentItsWay(run) {
		return append(e.program(), "replay", f.Path()) // the very same run, not only its schedule
	}
	words := append(e.program(), "run")
	first, known := asked(run)
	scheduled := f != nil && f.HasSchedule()
	switch {
	case known && run.Driver == "sim":
		// One scenario and one seed are one run, bit for bit; the executed schedule is another scenario.
		words = append(words, first.scenario)
		words = append(words, first.shapeWords()...)
	case scheduled && (wentItsWay(run) || !known):
		words = append(words, f.Schedule())
	case known:
		words = append(words, first.scenario)
		words = append(words, first.shapeWords()...)
	default:
		words = append(words, run.Scenario)
	}
	if first.image != "" {
		words = append(words, "--image", first.image)
	}
	if run.Driver != "" {
		words = append(words, "--driver", run.Driver)
	}
	words = append(words, "--seed", fmt.Sprint(run.Seed))
	for _, b := range run.Bugs {
		words = append(words, "--bug", b)
	}
	if outcome == checkers.Violated {
		words = append(words, "--fail-fast")
	}
	return words
}

// wentItsWay reports whether the run came to the end of its drain: nothing ended it before.
func wentItsWay(run *history.Run) bool {
	return slices.ContainsFunc(run.Phases, func(p history.Phase) bool { return p.Name == "drain" && p.End != 0 })
}

// asked is the flags that a run was asked for with, read from its recorded command line; none if that is no command of this version.
func asked(run *history.Run) (runFlags, bool) {
	if len(run.Command) < 2 {
		return runFlags{}, false
	}
	word, rest := commandWord(run.Command[1:])
	if word != "run" {
		return runFlags{}, false
	}
	silent := &env{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}
	f, err := silent.parseRun(rest)
	if err != nil {
		return runFlags{}, false
	}
	return *f, true
}

// shapeWords is the flags that change the scenario, as they are written.
func (f *runFlags) shapeWords() []string {
	var words []string
	add := func(given bool, name string, value any) {
		if given {
			words = append(words, name, fmt.Sprint(value))
		}
	}
	add(f.shape.Intervals != 0, "--intervals", f.shape.Intervals)
	add(f.shape.Duration != 0, "--duration", f.shape.Duration)
	add(f.shape.ElectionInterval != 0, "--election-interval", f.shape.ElectionInterval)
	add(f.shape.SessionTimeout != 0, "--session-timeout", f.shape.SessionTimeout)
	add(f.shape.Nodes != 0, "--nodes", f.shape.Nodes)
	return words
}
