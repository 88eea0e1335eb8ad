package gate

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/checkers"
	"soak/history"
	"soak/results"
)

var today = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const small = `
name: release
drivers: [process, sim]
repetitions: 2
thresholds:
  latency_p99: "<250ms"
  acked_per_second: [">400", "<1000"]
scenarios:
  - quick
  - scenario: story
    drivers: [sim]
    seeds: [7, 8, 9]
    thresholds: {latency_p99: "<= 1s"}
    minimums: {faults: 9}
    bugs: [torn-tail-fatal]
time_budget: 1h
retry_inconclusive: 1
known_failures:
  - {signature: no-crash/panic @ kill, owner: anna, expires: 2026-11-26}
`

func TestParse(t *testing.T) {
	p, err := Parse("g.yaml", []byte(small), today)
	if err != nil {
		t.Fatal(err)
	}
	q, s := p.Entries[0], p.Entries[1]
	if p.Name != "release" || p.Budget != time.Hour || p.Retry != 1 || q.Runs() != 4 || len(q.Thresholds) != 3 || s.Runs() != 3 || len(s.Thresholds) != 3 || s.Minimums.Faults != 9 {
		t.Errorf("read %+v", p)
	}
	if i := slices.IndexFunc(s.Thresholds, func(t Threshold) bool { return t.Measure.Name == "latency_p99" }); s.Thresholds[i].Limit != 1 || s.Thresholds[i].Op != "<=" {
		t.Errorf("an entry's own threshold is not in the place of the file's: %+v", s.Thresholds)
	}
	if k := p.Known[0]; k.Signature() != "no-crash/panic @ kill" || !k.Matches(checkers.Signature{Checker: "no-crash", Kind: "panic", Place: "kill"}, today) ||
		k.Matches(checkers.Signature{Checker: "no-crash", Kind: "panic", Place: "steady"}, today) || k.Matches(checkers.Signature{Checker: "no-crash", Kind: "panic", Place: "kill"}, today.AddDate(0, 0, 1)) {
		t.Errorf("the known failure matches wrongly: %+v", k)
	}
}

// lined is how each error begins: with the place in the file.
var lined = regexp.MustCompile(`^g\.yaml:[1-9][0-9]*:[1-9][0-9]*: `)

func TestBadGateFiles(t *testing.T) {
	for _, c := range []struct{ name, from, to, problem, hint string }{
		{"unknown field", "repetitions: 2", "repetition: 2", `g.yaml:4:1: the gate: unknown field "repetition"`, `did you mean "repetitions"?`},
		{"unknown measure", "  latency_p99: \"<250ms\"", "  latency_p9: \"<250ms\"", `g.yaml:6:3: the gate: unknown measure "latency_p9"`, `did you mean "latency_p`},
		{"no condition", `"<250ms"`, `"250ms"`, "g.yaml:6:16: the gate: threshold on latency_p99", "latency_p99: \"<250ms\""},
		{"wrong unit", `"<250ms"`, `"<250"`, "is not a duration", "latency_p99"},
		{"auto", "[process, sim]", "[auto]", "g.yaml:3:11: the gate: drivers: auto is refused", "docker, process, sim"},
		{"unknown driver", "[process, sim]", "[podman]", `unknown driver "podman"`, "docker, process, sim"},
		{"no driver", "drivers: [process, sim]\n", "", "no driver is named", "drivers: [process]"},
		{"expired", "2026-11-26", "2026-11-25", "known failure 1: no-crash/panic @ kill expired on 2026-11-25 (owner: anna)", "mend"},
		{"no owner", "owner: anna, ", "", "it has no owner", "owner"},
		{"no expiry", ", expires: 2026-11-26", "", "expires: want a day", "expires: 20"},
		{"unknown checker", "no-crash/panic", "no-crsh/panic", `unknown checker "no-crsh"`, `did you mean "no-crash"?`},
		{"no signature", "no-crash/panic @ kill", "panic", "is no signature", "no-crash/panic"},
		{"seeds and repetitions", "    seeds: [7, 8, 9]", "    seeds: [7, 8, 9]\n    repetitions: 2", "3 seeds for 2 repetitions", "one seed a repetition"},
		{"repetitions", "repetitions: 2", "repetitions: 0", "is not a whole number between 1", "repetitions: 1"},
		{"unknown minimum", "{faults: 9}", "{fault: 9}", `unknown field "fault"`, `did you mean "faults"?`},
		{"budget", "time_budget: 1h", "time_budget: -1h", "is not a duration of more than nothing", "30m"},
		{"no scenarios", "scenarios:\n  - quick\n", "scenarios: []\nx:\n  - quick\n", `unknown field "x"`, "fields: name"},
		{"a field twice", "retry_inconclusive: 1", "thresholds: {latency_p50: \"<1s\"}", `"thresholds" already defined`, "docs/gate.md"},
		{"an entry's field twice", "    seeds: [7, 8, 9]", "    seeds: [7, 8, 9]\n    drivers: [sim]", `"drivers" already defined`, "docs/gate.md"},
		{"a driver twice", "[process, sim]", "[sim, sim]", "driver sim is named twice", "once"},
		{"a seed", "[7, 8, 9]", "[7, x, 9]", `"x" is not a whole number`, "seeds: [7, 8]"},
		{"no single value", "name: release", "name: [a]", "g.yaml:2:7: the gate: name: want a single value", "one word"},
		{"no list", "[process, sim]", "sim", "g.yaml:3:10: the gate: drivers: want a list", "[a, b]"},
		{"an endless budget", "time_budget: 1h", "time_budget: forever", "g.yaml:16:14: ", "30m"},
		{"an impossible day", "2026-11-26", "2026-02-30", "expires: want a day", "expires: 20"},
		{"too often", "retry_inconclusive: 1", "retry_inconclusive: 99", "g.yaml:17:21: the gate: retry_inconclusive: \"99\" is not a whole number between 0 and 10", "docs/gate.md"},
		{"a tab", "  - quick", "\t- quick", "cannot start any token", "spaces"},
		{"a simulated run's disk", "{latency_p99: \"<= 1s\"}", "{disk_sync_max: \"<1s\"}", "g.yaml:10:5: scenario 2: threshold on disk_sync_max: a run on sim has no machine to measure", "docker or process"},
		{"simulated runs' memory, for all", "  latency_p99: \"<250ms\"", "  node_memory_max: \"<1GiB\"", "g.yaml:9:5: scenario 1: threshold on node_memory_max", "docker or process"},
		{"no YAML", "name: release", "name: [", "g.yaml:", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(small, c.from) {
				t.Fatalf("the file has no %q", c.from)
			}
			_, err := Parse("g.yaml", []byte(strings.Replace(small, c.from, c.to, 1)), today)
			var p *results.Problem
			if !errors.As(err, &p) || p.Hint == "" || !lined.MatchString(p.Msg) || !strings.Contains(err.Error(), c.problem) || !strings.Contains(p.Hint, c.hint) {
				t.Errorf("%v (%+v), want %q with the hint %q", err, p, c.problem, c.hint)
			}
		})
	}
}

func TestImpossibleBudget(t *testing.T) {
	p, err := Parse("g.yaml", []byte(small), today)
	if err != nil {
		t.Fatal(err)
	}
	p.Entries[0].Expected, p.Entries[1].Expected = 10*time.Minute, 10*time.Minute
	want := "g.yaml:16:1: the runs take about 1h10m0s, more than the time budget of 1h0m0s: quick 4 × 10m0s = 40m0s, story 3 × 10m0s = 30m0s"
	if err := p.CheckBudget(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	p.Entries[1].Expected = 6 * time.Minute
	if err := p.CheckBudget(); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
}

// made is a run that came to an outcome, with a p99 of so many seconds; under 0: not measured.
type made struct {
	outcome checkers.Outcome
	harness string
	place   string // of a panic
	p99     float64
	open    bool // beside the violation, a checker is inconclusive
	nothing bool // no folder at all
}

var (
	holds    = made{outcome: checkers.Holds, p99: 0.1}
	lacking  = made{outcome: checkers.Inconclusive, p99: 0.1}
	broken   = made{outcome: checkers.Inconclusive, harness: "the engine died", p99: 0.1}
	violated = made{outcome: checkers.Violated, place: "steady", p99: 0.1}
	known    = made{outcome: checkers.Violated, place: "kill", p99: 0.1}
)

func (m made) done(t *testing.T, j Job) Done {
	if m.nothing {
		return Done{Seed: j.Seed, Trouble: "the run ended without a verdict: exit status 2"}
	}
	run := &history.Run{ID: "0123456789abcdef", Scenario: j.Entry.Scenario, Driver: j.Driver, HarnessError: m.harness}
	rep := &checkers.Report{Outcome: m.outcome, Sentence: "as made up", HarnessError: m.harness, Verdicts: []checkers.Verdict{{Checker: checkers.NoCrash, Outcome: checkers.Holds},
		{Checker: checkers.Coverage, Outcome: checkers.Holds}, {Checker: checkers.Progress, Outcome: checkers.NotApplicable, Reason: "not enough data"}}}
	switch {
	case m.outcome == checkers.Violated:
		rep.Verdicts[0] = checkers.Verdict{Checker: checkers.NoCrash, Outcome: checkers.Violated, Reason: "n1 panicked", Violations: []checkers.Violation{{Kind: "panic", Sentence: "n1 panicked", Place: m.place}}}
		if m.open {
			rep.Verdicts[1].Outcome, rep.Verdicts[1].Reason = checkers.Inconclusive, "too little"
		}
	case m.outcome == checkers.Inconclusive:
		rep.Verdicts[1].Outcome, rep.Verdicts[1].Reason = checkers.Inconclusive, "too little"
	}
	return Done{Folder: "results/x", Seed: j.Seed, Run: run, Report: rep, Measures: measured(t, m.p99)}
}

func play(t *testing.T, p *Plan, runs []made, stop int) (*Result, int) {
	t.Helper()
	n := 0
	now := today
	r, err := p.Run(Options{
		Do: func(j Job) Done {
			n++
			now = now.Add(10 * time.Minute)
			if n > len(runs) {
				t.Fatalf("a run too many: %s, attempt %d", j.Words, j.Attempt)
			}
			return runs[n-1].done(t, j)
		},
		Seed: func() uint64 { return 42 }, Now: func() time.Time { return now },
		Stopped: func() string {
			if stop > 0 && n >= stop {
				return "SIGINT"
			}
			return ""
		},
		Save: func(*Result) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, n
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		retry    int
		budget   time.Duration
		runs     []made
		stop     int
		exit     int
		outcomes string
		made     int
	}{
		{name: "all hold", runs: []made{holds, holds, holds}, exit: 0, outcomes: "holds holds holds", made: 3},
		{name: "one violation among many that hold", runs: []made{holds, violated, holds}, exit: 1, outcomes: "holds violated holds", made: 3},
		{name: "a violation is never tried again", retry: 3, runs: []made{violated, holds, holds}, exit: 1, outcomes: "violated holds holds", made: 3},
		{name: "inconclusive, and not tried again by default", runs: []made{lacking, holds, holds}, exit: 3, outcomes: "inconclusive holds holds", made: 3},
		{name: "inconclusive, then holds", retry: 1, runs: []made{lacking, holds, holds, holds}, exit: 0, outcomes: "holds holds holds", made: 4},
		{name: "inconclusive twice", retry: 1, runs: []made{lacking, lacking, holds, holds}, exit: 3, outcomes: "inconclusive holds holds", made: 4},
		{name: "inconclusive, then violated", retry: 1, runs: []made{lacking, violated, holds, holds}, exit: 1, outcomes: "violated holds holds", made: 4},
		{name: "the harness failed", runs: []made{holds, broken, lacking}, exit: 4, outcomes: "holds harness-failed inconclusive", made: 3},
		{name: "the harness failed, then holds", retry: 1, runs: []made{broken, holds, holds, holds}, exit: 0, outcomes: "holds holds holds", made: 4},
		{name: "a violation outweighs the harness", runs: []made{broken, violated, holds}, exit: 1, outcomes: "harness-failed violated holds", made: 3},
		{name: "no verdict at all", runs: []made{{nothing: true}, holds, holds}, exit: 4, outcomes: "harness-failed holds holds", made: 3},
		{name: "a known failure", runs: []made{known, holds, holds}, exit: 0, outcomes: "known-failure holds holds", made: 3},
		{name: "a known failure that hides missing evidence", runs: []made{{outcome: checkers.Violated, place: "kill", p99: 0.1, open: true}, holds, holds}, exit: 3, outcomes: "inconclusive holds holds", made: 3},
		{name: "that is not tried away either", retry: 2, runs: []made{{outcome: checkers.Violated, place: "kill", p99: 0.1, open: true}, holds, holds}, exit: 3, outcomes: "inconclusive holds holds", made: 3},
		{name: "a known failure and a harness that failed", runs: []made{{outcome: checkers.Violated, place: "kill", harness: "x", p99: 0.1}, holds, holds}, exit: 4, outcomes: "harness-failed holds holds", made: 3},
		{name: "a threshold is crossed", runs: []made{holds, {outcome: checkers.Holds, p99: 0.3}, holds}, exit: 1, outcomes: "holds threshold holds", made: 3},
		{name: "a threshold has no data", retry: 1, runs: []made{holds, {outcome: checkers.Holds, p99: -1}, holds}, exit: 3, outcomes: "holds no-data holds", made: 3},
		{name: "a crossed threshold is not tried away", retry: 1, runs: []made{{outcome: checkers.Inconclusive, p99: 0.3}, holds, holds}, exit: 1, outcomes: "threshold holds holds", made: 3},
		{name: "ended by a signal", runs: []made{holds}, stop: 1, exit: 3, outcomes: "holds not-run not-run", made: 1},
		{name: "ended by a signal after a violation", runs: []made{violated}, stop: 1, exit: 1, outcomes: "violated not-run not-run", made: 1},
		{name: "no time is left", budget: 25 * time.Minute, runs: []made{holds, holds}, exit: 3, outcomes: "holds holds not-run", made: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse("g.yaml", []byte("drivers: [sim]\nrepetitions: 3\nscenarios: [quick]\nthresholds: {latency_p99: \"<250ms\"}\nknown_failures: [{signature: no-crash/panic @ kill, owner: anna, expires: 2026-11-27}]\n"), today)
			if err != nil {
				t.Fatal(err)
			}
			p.Retry, p.Budget, p.Entries[0].Expected = c.retry, c.budget, 10*time.Minute
			r, n := play(t, p, c.runs, c.stop)
			var got []string
			for _, rep := range r.Repetitions {
				got = append(got, rep.Outcome)
				if rep.Why == "" {
					t.Errorf("%s is %s, and nothing says why", rep.Words(), rep.Outcome)
				}
			}
			if s := strings.Join(got, " "); r.Exit != c.exit || s != c.outcomes || n != c.made {
				t.Errorf("exit %d, %s after %d runs (%s); want %d, %s, %d", r.Exit, s, n, r.Sentence, c.exit, c.outcomes, c.made)
			}
			checkForms(t, r)
		})
	}
}

// checkForms: junit.xml must say of the whole what the exit code says, and list every attempt.
func checkForms(t *testing.T, r *Result) {
	t.Helper()
	dir := t.TempDir()
	if beside, err := Write(dir, r); beside != nil || err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, results.JUnitFile))
	if err != nil {
		t.Fatal(err)
	}
	var x struct {
		Suites []results.Suite `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &x); err != nil {
		t.Fatal(err)
	}
	attempts, bad, failedOf := 0, 0, map[string]int{}
	for _, rep := range r.Repetitions {
		attempts += max(1, len(rep.Attempts))
	}
	for _, s := range x.Suites {
		bad += s.Failures + s.Errors
		for _, c := range s.Cases {
			if c.Failure != nil {
				failedOf[c.Failure.Type]++
			}
			if c.Error != nil {
				failedOf["harness"]++
			}
		}
	}
	if len(x.Suites) != attempts || (bad == 0) != (r.Exit == 0) {
		t.Errorf("%d suites with %d failures and errors for %d attempts and exit %d:\n%s", len(x.Suites), bad, attempts, r.Exit, data)
	}
	if (failedOf[Violated] > 0) != (r.Count(Violated) > 0) || r.Count(Crossed) > 0 && failedOf[Crossed] == 0 || r.Exit == 4 && failedOf["harness"] == 0 || r.Exit == 3 && failedOf[Inconclusive] == 0 {
		t.Errorf("failures by type: %v, outcomes: %s", failedOf, r.Sentence)
	}
}

// A known failure that expires while the gate runs counts again.
func TestKnownFailureExpiresMeanwhile(t *testing.T) {
	p, err := Parse("g.yaml", []byte("drivers: [sim]\nscenarios: [quick]\nknown_failures: [{signature: no-crash/panic, owner: anna, expires: 2026-11-26}]\n"), today)
	if err != nil {
		t.Fatal(err)
	}
	if a := p.assess(&p.Entries[0], known.done(t, Job{Entry: &p.Entries[0]}), today); a.Outcome != KnownFailure {
		t.Errorf("today it is %s", a.Outcome)
	}
	if a := p.assess(&p.Entries[0], known.done(t, Job{Entry: &p.Entries[0]}), today.AddDate(0, 0, 1)); a.Outcome != Violated {
		t.Errorf("tomorrow it is %s", a.Outcome)
	}
}

// What a verdict does not keep cannot be called known.
func TestKnownFailureBeyondWhatIsKept(t *testing.T) {
	p := &Plan{Known: []Known{{Checker: "no-crash", Kind: "panic", Owner: "anna", Until: today.AddDate(1, 0, 0)}}}
	e := &Entry{Scenario: "quick"}
	d := known.done(t, Job{Entry: e})
	d.Report.Verdicts[0].Measures = []checkers.Measure{{Name: "violations", Seen: 5}}
	if a := p.assess(e, d, today); a.Outcome != Violated || !strings.Contains(a.Why, "4 violations more") {
		t.Errorf("%s: %s", a.Outcome, a.Why)
	}
}

func TestFlakyIsOnlyALabel(t *testing.T) {
	p, err := Parse("g.yaml", []byte("drivers: [sim]\nrepetitions: 3\nscenarios: [quick]\n"), today)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := play(t, p, []made{holds, violated, holds}, 0)
	if got := r.Label(&r.Repetitions[0]); got != "flaky: violated 1 of 3" || r.Exit != 1 {
		t.Errorf("%q, exit %d", got, r.Exit)
	}
}

// Names and sentences come from a cluster: on every page they stay text.
func TestHostileText(t *testing.T) {
	evil := `<script>alert(1)</script>|` + "`x`\n# heading"
	e := &Entry{Scenario: evil, Drivers: []string{"sim"}, Repetitions: 1}
	d := violated.done(t, Job{Entry: e})
	d.Report.Verdicts[0].Violations[0].Sentence, d.Folder = evil, "results/"+`"><script>`
	p := &Plan{Name: evil, Entries: []Entry{*e}}
	r := &Result{Name: evil, Repetitions: []Repetition{{Scenario: evil, Driver: "sim", Number: 1, Of: 1, Attempts: []Attempt{p.assess(e, d, today)}}}}
	r.Repetitions[0].conclude()
	r.sum()
	html, err := r.Page(t.TempDir(), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"index.html": string(html), "summary.md": string(r.Summary())} {
		if strings.Contains(text, "<script") || name == results.SummaryFile && strings.Contains(text, "\n# heading") {
			t.Errorf("%s lets it through:\n%s", name, text)
		}
	}
	if !strings.Contains(string(html), "report.html") {
		t.Error("index.html has no link to the run's report")
	}
}

func TestSummaryStaysSmall(t *testing.T) {
	r := &Result{Name: "big"}
	for i := range 20_000 {
		r.Repetitions = append(r.Repetitions, Repetition{Scenario: "quick", Driver: "sim", Number: i + 1, Of: 20_000, Outcome: Violated, Why: strings.Repeat("why ", 40),
			Attempts: []Attempt{{Outcome: Violated, Findings: []FindingUse{{Signature: fmt.Sprint("no-crash/panic @ ", i), Sentence: strings.Repeat("é", 300)}}}}})
	}
	for i := range 3000 {
		r.Known = append(r.Known, KnownUse{Known: Known{Checker: "no-crash", Kind: fmt.Sprint(i), Owner: "anna", Why: strings.Repeat("w", 300)}})
	}
	got := r.Summary()
	if len(got) > 900<<10 || len(got) < 500<<10 {
		t.Errorf("it takes %d bytes", len(got))
	}
	for _, want := range []string{"repetitions more, in gate.json", "more, in gate.json", "## Findings"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func TestFoldersOfGatesDoNotMeet(t *testing.T) {
	parent := t.TempDir()
	first, err1 := MakeFolder(parent, "../my gate", today)
	second, err2 := MakeFolder(parent, "../my gate", today)
	if err1 != nil || err2 != nil || first == second || filepath.Dir(first) != filepath.Join(parent, "gates") {
		t.Errorf("%s, %v; %s, %v", first, err1, second, err2)
	}
	if to, err := os.Readlink(filepath.Join(parent, "gates", "latest")); err != nil || to != filepath.Base(second) {
		t.Errorf("latest is %s, %v", to, err)
	}
}
