package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"soak/broker/bugs"
	"soak/chaos/docker"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/internal/version"
	"soak/results"
	"soak/results/gate"
)

// simulatedFaster is how much faster than a real cluster a simulated one is taken to be, for a gate's time budget: about half of what a busy machine with two
// cores does, judging included.
const simulatedFaster = 10

// gateCommandRun is what one `soak gate` does.
type gateCommandRun struct {
	env    *env
	out    string
	dir    string // the gate's own folder
	plan   *gate.Plan
	files  map[*gate.Entry]string // what to ask `soak run` for
	raised map[*gate.Entry]bool   // that is a copy with higher minimums
	stop   *stopper
	output output
}

func gateCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("gate", "gate FILE [--out DIR] [--json] [-q]",
		"Make the runs that a gate file asks for, one after the other, and decide: exit 0 passed, 1 violated or a threshold crossed, 3 inconclusive,\n"+
			"4 the harness failed. Runs go into DIR; gate.json, index.html, junit.xml and summary.md into DIR/gates/TIME-NAME, and DIR/gates/latest points there.")
	g := &gateCommandRun{env: e, files: map[*gate.Entry]string{}, raised: map[*gate.Entry]bool{}}
	fs.StringVar(&g.out, "out", defaultOut, "the parent of run folders and of gates")
	g.output.add(fs, "one JSON object a line on standard output, the last being the gate's")
	fs.BoolVarP(&g.output.quiet, "quiet", "q", false, "the result only")
	if err := parse(fs, args, 1, 1); err != nil {
		return 0, err
	}
	if g.output.json && g.output.quiet {
		return 0, usage("--json and -q exclude each other", "leave out one of them")
	}
	plan, err := gate.Load(fs.Arg(0), time.Now())
	if err != nil {
		return 0, err
	}
	g.plan = plan
	g.stop = newStopper(e)
	defer g.stop.close()
	g.stop.calm("ending: the run under way heals and is judged, then the gate (once more to stop at once)")
	raised, err := g.prepare()
	if err != nil {
		return 0, err
	}
	if err := g.makeFolder(raised); err != nil {
		return 0, err
	}
	return g.run()
}

// prepare checks all that can be checked before the first run: a gate must not stop in its middle for a slip. The answer is the scenarios whose minimums were raised.
func (g *gateCommandRun) prepare() (map[*gate.Entry]*scenario.Scenario, error) {
	raised := map[*gate.Entry]*scenario.Scenario{}
	checked := map[string]bool{}
	for i := range g.plan.Entries {
		entry := &g.plan.Entries[i]
		word := g.besideFile(entry.Scenario)
		s, err := scenario.Load(word)
		if err != nil {
			return nil, g.at(entry, err)
		}
		if s, err = s.Resolve(scenario.Flags{Intervals: entry.Intervals, Duration: entry.Duration}); err != nil {
			return nil, g.at(entry, err)
		}
		for _, b := range entry.Bugs {
			if _, err := bugs.Parse([]string{b}); err != nil {
				return nil, g.at(entry, unknownBug(b))
			}
		}
		g.files[entry] = word
		if min := gate.Raise(s.Minimums, entry.Minimums); min != s.Minimums {
			s.Minimums = min
			raised[entry] = s
		}
		entry.Expected = s.Expected()
		for _, d := range entry.Drivers {
			if err := capable(d, capabilities(d), s.FaultKinds()); err != nil {
				return nil, g.at(entry, err)
			}
			if s.Liveness.On() && d != "sim" {
				return nil, g.at(entry, usage("the driver "+d+" cannot run the scenario's liveness phase", "drivers: [sim]"))
			}
			if d == "sim" && len(entry.Drivers) == 1 {
				entry.Expected = s.Expected() / simulatedFaster
			}
			if !checked[d] {
				checked[d] = true
				if _, _, err := chooseDriver(g.stop.ctx, d, "", g.env.getenv, docker.Available); err != nil {
					return nil, g.at(entry, err)
				}
			}
		}
	}
	return raised, g.plan.CheckBudget()
}

// besideFile finds a scenario's file as the gate file's author wrote it: from where the gate file is.
func (g *gateCommandRun) besideFile(word string) string {
	if _, known := scenario.Source(word); known || filepath.IsAbs(word) {
		return word
	}
	beside := filepath.Join(filepath.Dir(g.plan.File), word)
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return word
}

// at says in which line of the gate file the reason for an error stands.
func (g *gateCommandRun) at(entry *gate.Entry, err error) error {
	_, msg, hint := explain(err)
	return usage(fmt.Sprintf("%s:%d: scenario %s: %s", g.plan.File, entry.Line, entry.Scenario, msg), hint)
}

// makeFolder makes the gate's own folder, points gates/latest at it, and puts the scenarios there whose minimums were raised.
func (g *gateCommandRun) makeFolder(raised map[*gate.Entry]*scenario.Scenario) error {
	dir, err := gate.MakeFolder(g.out, g.plan.Name, time.Now())
	if err != nil {
		return err
	}
	g.dir = dir
	n := 0
	for entry, s := range raised {
		n++
		name := filepath.Join(dir, fmt.Sprintf("scenario-%d-%s.yaml", n, s.Name))
		if err := os.WriteFile(name, s.YAML(), 0o644); err != nil {
			return harness("writing a scenario with the gate's minimums", err, "")
		}
		g.files[entry], g.raised[entry] = name, true
	}
	return nil
}

func (g *gateCommandRun) run() (int, error) {
	if !g.output.json && !g.output.quiet {
		total := time.Duration(0)
		for i := range g.plan.Entries {
			total += time.Duration(g.plan.Entries[i].Runs()) * g.plan.Entries[i].Expected
		}
		g.say("gate %s: %s, about %s", g.plan.Name, show.Plural(int64(len(g.plan.Entries)), "scenario"), show.Seconds(total.Round(time.Second)))
	}
	j := watch.NewJSON(g.env.stdout)
	var beside error // of the page as it was written last
	r, err := g.plan.Run(gate.Options{
		Do: g.once, Seed: newSeed, Now: time.Now, Stopped: g.stop.reason, Version: version.Get().Version,
		Save: func(r *gate.Result) (err error) { beside, err = gate.Write(g.dir, r); return err },
	})
	if beside != nil {
		g.env.note("%v", beside)
	}
	code := r.Exit
	if g.stop.asked() && code != exitViolated {
		code = g.stop.code()
	}
	if err != nil {
		code = stronger(code, g.env.fail(harness("writing what came of the gate", err, "free some space; the runs' own folders have their verdicts")))
	}
	if g.output.json {
		return code, j.Write(map[string]any{"type": "gate", "exit": code, "folder": g.dir, "result": r})
	}
	return code, g.print(r)
}

func (g *gateCommandRun) say(format string, args ...any) {
	st := show.StyleOf(g.env.stderr, g.env.getenv)
	fmt.Fprintln(g.env.stderr, st.Text(fmt.Sprintf(format, args...)))
}

// once makes a run as a person would, by the command for it in a process of its own: what happens to the run does not happen to the gate.
func (g *gateCommandRun) once(j gate.Job) gate.Done {
	words := []string{"run", g.files[j.Entry], "--driver", j.Driver, "--seed", fmt.Sprint(j.Seed), "--out", g.out, "--json"}
	if !g.raised[j.Entry] { // one whose minimums were raised has its length in its file
		words = append(words, gateShape(j.Entry)...)
	}
	for _, b := range j.Entry.Bugs {
		words = append(words, "--bug", b)
	}
	if !g.output.json && !g.output.quiet {
		attempt := ""
		if j.Attempt > 1 {
			attempt = fmt.Sprintf(", attempt %d", j.Attempt)
		}
		g.say("%s%s, seed %d", j.Words, attempt, j.Seed)
	}
	began := time.Now()
	last, trouble := g.child(words)
	took := time.Since(began)
	if last.Folder == "" {
		return gate.Done{Seed: j.Seed, Took: took, Trouble: trouble}
	}
	f, err := results.Open(g.out, last.Folder)
	if err != nil {
		return gate.Done{Seed: j.Seed, Took: took, Folder: last.Folder, Trouble: err.Error()}
	}
	d := gate.Read(f, j.Seed, took)
	if !g.output.json && !g.output.quiet {
		_ = g.env.print("%s\n", g.env.style().Text(fmt.Sprintf("%s, seed %d: %s", j.Words, j.Seed, last.Report.Sentence))) // a reader that has gone is told of at the end
	}
	return d
}

// gateShape is the flags that change the scenario.
func gateShape(entry *gate.Entry) []string {
	f := runFlags{shape: scenario.Flags{Intervals: entry.Intervals, Duration: entry.Duration}}
	return f.shapeWords()
}

// print tells a person what came of the gate.
func (g *gateCommandRun) print(r *gate.Result) error {
	if !g.output.quiet {
		rows := [][]string{{"SCENARIO", "DRIVER", "REPETITION", "OUTCOME", "WHY"}}
		for i := range r.Repetitions {
			rep := &r.Repetitions[i]
			outcome := rep.Outcome
			if label := r.Label(rep); label != "" {
				outcome += " (" + label + ")"
			}
			if n := len(rep.Attempts); n > 1 {
				outcome += fmt.Sprintf(", %d attempts", n)
			}
			name := rep.Scenario
			if len(rep.Bugs) > 0 {
				name += " with " + strings.Join(rep.Bugs, ", ")
			}
			rows = append(rows, []string{name, rep.Driver, fmt.Sprintf("%d of %d", rep.Number, rep.Of), outcome, show.Cut(rep.Why, 160)})
		}
		if err := g.env.table(rows); err != nil {
			return err
		}
		for _, k := range r.Known {
			seen := "not seen: perhaps it is mended"
			if k.Runs > 0 {
				seen = "seen in " + show.Plural(int64(k.Runs), "run")
			}
			if err := g.env.printText(k.Words() + "; " + seen); err != nil {
				return err
			}
		}
	}
	if err := g.env.printText(strings.ToUpper(r.Outcome) + "  " + show.Cut(r.Sentence, 400)); err != nil {
		return err
	}
	if g.output.quiet {
		return nil
	}
	return g.env.print("folder:  %s\n", g.dir)
}
