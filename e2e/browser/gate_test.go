package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"soak/history"
	"soak/results"
	"soak/results/gate"
)

// gatePage is a gate's folder beside a drawn run, as soak gate leaves the two: every outcome there is, and names that would like to be more.
func gatePage(t *testing.T, name string) string {
	t.Helper()
	parent := t.TempDir()
	run := filepath.Join(parent, "20260314T120000Z-quick-0a000000")
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(report(t, "violated"))
	if err != nil {
		t.Fatal(err)
	}
	if err := history.WriteFileAtomic(filepath.Join(run, results.ReportFile), text); err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	dir, err := gate.MakeFolder(parent, "release", began)
	if err != nil {
		t.Fatal(err)
	}
	r := &gate.Result{Format: gate.Format, Name: name, File: "gates/" + name + ".yaml", Version: "0.1.0", Started: began, Ended: began.Add(time.Hour), Exit: 1, Outcome: "failed",
		Sentence: "violated 1 of 8; first: " + name + strings.Repeat("-and-a-word-without-a-place-to-break", 5),
		Known:    []gate.KnownUse{{Known: gate.Known{Checker: "no-crash", Kind: "panic", Place: "kill", Owner: name, Until: began.AddDate(0, 1, 0), Why: name}, Runs: 1}}}
	for i, outcome := range []string{gate.Holds, gate.Violated, gate.KnownFailure, gate.Crossed, gate.NoData, gate.Inconclusive, gate.Harness, gate.NotRun} {
		rep := gate.Repetition{Scenario: "quick" + name, Driver: "process", Bugs: []string{name}, Number: i + 1, Of: 8, Outcome: outcome, Why: "n2 ran a check in term 1 while its raft role was follower " + name}
		if outcome != gate.NotRun {
			first := gate.Attempt{Folder: filepath.Join(parent, "20260314T110000Z-quick-0b"+fmt.Sprint(i)), Seed: 3, Seconds: 12, Outcome: gate.Inconclusive, Why: "too few intervals", Retried: true}
			last := gate.Attempt{Folder: run, Seed: 4792803782000994, Seconds: 61.5, Outcome: outcome, Why: rep.Why, Measures: map[string]float64{"latency_p99": 0.25, "node_memory_max": 64 << 20},
				Findings:   []gate.FindingUse{{Signature: "no-crash/panic @ " + name, Checker: "no-crash", Count: 1, Sentence: name}},
				Thresholds: []gate.ThresholdUse{{Measure: "latency_p99", Threshold: "<1ms", Outcome: gate.Crossed, Words: "latency_p99 <1ms: it was 250 ms " + name}}}
			rep.Attempts = []gate.Attempt{first, last}
		}
		r.Repetitions = append(r.Repetitions, rep)
	}
	if beside, err := gate.Write(dir, r); beside != nil || err != nil {
		t.Fatal(beside, err)
	}
	return filepath.Join(dir, gate.PageFile)
}

func TestAGatesPage(t *testing.T) {
	file := gatePage(t, "release")
	for _, dark := range []bool{false, true} {
		for _, v := range []view{wide, narrow} {
			v.dark = dark
			t.Run(fmt.Sprintf("dark %v, %d px", dark, v.width), func(t *testing.T) {
				b := open(t, file, v)
				b.shot(fmt.Sprintf("gate-%d-dark-%v", v.width, dark))
				if bad := js[[]string](b, contrast); len(bad) > 0 {
					t.Errorf("hard to read: %s", strings.Join(bad, "\n"))
				}
				if over := js[float64](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
					t.Errorf("the page is %.0f px wider than the window", over)
				}
				if alone := js[int](b, `[...document.querySelectorAll("*")].filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "auto" && e.tabIndex < 0).length`); alone > 0 {
					t.Errorf("%d parts can be scrolled, and not by keyboard", alone)
				}
			})
		}
	}
}

// Every run that has a report is one click away from it, and the report opens without an error.
func TestAGatesPageLeadsToReports(t *testing.T) {
	b := open(t, gatePage(t, "release"), wide)
	if n := js[int](b, `[...document.links].filter(a => a.textContent === "report").length`); n != 7 {
		t.Fatalf("%d links to reports, want one for each of the 7 runs that have one", n)
	}
	b.run(chromedp.Click(`a[href$="report.html"]`, chromedp.ByQuery), chromedp.WaitVisible("#timeline", chromedp.ByQuery))
	if path := js[string](b, `location.pathname`); !strings.HasSuffix(path, "-quick-0a000000/report.html") {
		t.Errorf("the link leads to %s", path)
	}
}

func TestHostileNamesOnAGatesPage(t *testing.T) {
	b := open(t, gatePage(t, hostile), narrow)
	if js[bool](b, `window.hacked !== undefined || document.querySelectorAll("img").length > 0 || document.scripts.length > 0`) {
		t.Error("a name has become part of the page")
	}
	if !js[bool](b, `document.body.textContent.includes("<script>window.hacked=1</script>") && document.title.includes("<script>")`) {
		t.Error("the hostile names are not shown")
	}
	if over := js[float64](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		t.Errorf("the page is %.0f px wider than the window", over)
	}
}
