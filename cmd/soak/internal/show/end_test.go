package show_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/history"
	"soak/results"
)

var update = flag.Bool("update", false, "write what is printed to testdata")

// start is the run's first instant in all these tests.
var start = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC).UnixNano()

func at(seconds float64) int64 { return start + int64(seconds*1e9) }

func exampleRun() *history.Run {
	return &history.Run{
		Format: 1, ID: "5eed0123456789ab", Version: "0.1.0", Scenario: "quick", Driver: "process", Seed: 42, Nodes: 3,
		Phases: []history.Phase{{Name: "start", Start: at(0), End: at(2)}, {Name: "steady", Start: at(2), End: at(93)}},
	}
}

func exampleFacts() *results.Facts {
	return &results.Facts{
		Acked: 30125,
		Faults: []history.Fault{
			{ID: 1, Kind: "kill", Target: "partition-leader", Nodes: []int32{2}, Asked: at(8), Effective: at(8.1), Healed: at(12)},
			{ID: 2, Kind: "kill", Target: "raft-leader", Nodes: []int32{1}, Asked: at(16), Effective: at(16.1), Healed: at(20)},
			{ID: 3, Kind: "partition", Target: "raft-leader", Nodes: []int32{3}, Clients: true, Asked: at(30), Healed: at(34)},
		},
		Outage: results.Outage{Length: 2345 * time.Millisecond, Topic: "orders", Partition: 3, Fault: 2},
	}
}

func holds(id string, n int64, what string) checkers.Verdict {
	return checkers.Verdict{Checker: id, Outcome: checkers.Holds, Reason: "nothing against it was seen", Checked: n, CheckedWhat: what}
}

func coverage(o checkers.Outcome, reason string, intervals int64) checkers.Verdict {
	return checkers.Verdict{Checker: "coverage", Outcome: o, Reason: reason, Checked: 9, CheckedWhat: "minimums", Measures: []checkers.Measure{
		{Name: "intervals", Seen: intervals, Needed: 30}, {Name: "faults with evidence", Seen: 6, Needed: 6},
		{Name: "long faults", Seen: 6, Needed: 3}, {Name: "faults on the raft leader", Seen: 3, Needed: 2},
		{Name: "raft leader changes", Seen: 4, Needed: 2}, {Name: "acknowledged records", Seen: 30125, Needed: 10000},
		{Name: "metadata operations", Seen: 811, Needed: 200}, {Name: "reads", Seen: 7},
	}}
}

func exampleReport(o checkers.Outcome, sentence string, vs ...checkers.Verdict) *checkers.Report {
	return &checkers.Report{Format: 1, Run: "5eed0123456789ab", Outcome: o, Sentence: sentence, Verdicts: vs}
}

func violations() []checkers.Violation {
	var vs []checkers.Violation
	for i := range 17 {
		vs = append(vs, checkers.Violation{Kind: "follower-check", Sentence: "n2 ran a partition leader check in term 2, which n1 leads",
			Time: at(4 + 2*float64(i)), Nodes: []int32{2}})
	}
	return append(vs, checkers.Violation{Kind: "follower-proposal", Sentence: "n3 proposed set_partition_leader for orders-1 in term 2 – n1 leads it",
		Time: at(9.25), Nodes: []int32{3}, Faults: []int{1}})
}

// TestEnd compares the end of a run with what is in testdata, for the three verdicts. `go test -update` writes it anew.
func TestEnd(t *testing.T) {
	reproduce := []string{"soak", "run", "results/20260314T150926Z-quick-5eed0123/schedule.yaml", "--driver", "process", "--seed", "42"}
	interrupted, failed := exampleRun(), exampleRun()
	interrupted.Interrupted = "SIGINT"
	failed.HarnessError = "starting n2: port 19092 is taken"
	for _, c := range []struct {
		name string
		e    show.Ending
		exit int
	}{
		{"holds", show.Ending{Run: exampleRun(), Facts: exampleFacts(), Report: exampleReport(checkers.Holds, "6 checkers hold over 30 election intervals and 6 proven faults",
			holds("single-leader-proposing", 4312, "leader checks, proposals and entries"), holds("zero-proposal-errors", 1201, "proposals"),
			holds("linearizable-metadata", 811, "operations"), holds("acked-records", 30125, "acknowledged records"),
			holds("no-crash", 3, "nodes"), coverage(checkers.Holds, "every minimum was seen", 31))}, 0},
		{"violated", show.Ending{Run: exampleRun(), Facts: exampleFacts(), Report: exampleReport(checkers.Violated, "single-leader-proposing: nodes that do not lead acted as if they did",
			checkers.Verdict{Checker: "single-leader-proposing", Outcome: checkers.Violated, Reason: "18 violations", Checked: 500, CheckedWhat: "proposals", Violations: violations()},
			checkers.Verdict{Checker: "acked-records", Outcome: checkers.Inconclusive, Reason: "the drain of orders-3 on n2 stopped at 918 of 1204"},
			holds("no-crash", 3, "nodes"),
			checkers.Verdict{Checker: "no-duplicates", Outcome: checkers.NotApplicable, Reason: "the producers are not idempotent"},
			coverage(checkers.Holds, "every minimum was seen", 31))}, 1},
		{"inconclusive", show.Ending{Run: interrupted, Facts: exampleFacts(), Report: exampleReport(checkers.Inconclusive, "coverage: 7 of 30 intervals were seen",
			holds("single-leader-proposing", 4312, "leader checks, proposals and entries"), coverage(checkers.Inconclusive, "7 of 30 intervals were seen", 7))}, 3},
		{"harness", show.Ending{Run: failed, Report: exampleReport(checkers.Inconclusive, "the cluster did not start",
			coverage(checkers.Inconclusive, "0 of 30 intervals were seen", 0))}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.e.Report.ExitCode(); got != c.exit {
				t.Fatalf("the report's exit code is %d, want %d", got, c.exit)
			}
			c.e.Folder, c.e.Reproduce = "results/20260314T150926Z-quick-5eed0123", reproduce
			var b bytes.Buffer
			if err := show.End(&b, show.Style{ASCII: true}, c.e); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name+".txt", b.Bytes())
			for i, r := range b.String() {
				if r > 0x7e {
					t.Fatalf("byte %d is %q, which is not ASCII", i, r)
				}
			}
		})
	}
}

// Where topics let records go, the end of a run says whether any went: one in which none did has not tried retention.
func TestEndSaysWhatRetentionDid(t *testing.T) {
	acked := func(o checkers.Outcome, measures ...checkers.Measure) checkers.Verdict {
		return checkers.Verdict{Checker: checkers.AckedRecords, Outcome: o, Reason: "so", Measures: measures}
	}
	for _, c := range []struct {
		name  string
		topic history.TopicInfo
		acked checkers.Verdict
		want  string
	}{
		{"some went", history.TopicInfo{Name: "orders", RetentionMillis: 1000}, acked(checkers.Holds, checkers.Measure{Name: checkers.MeasureStartsMoved, Seen: 97},
			checkers.Measure{Name: checkers.MeasureGone, Seen: 5755}), "retention    97 log starts moved, and 5,755 acknowledged records had gone\n"},
		{"none went", history.TopicInfo{Name: "orders", RetentionBytes: 1000}, acked(checkers.Holds), "retention    nothing went: "},
		{"nobody knows", history.TopicInfo{Name: "orders", RetentionBytes: 1000}, acked(checkers.Inconclusive), ""},
		{"nothing may go", history.TopicInfo{Name: "orders"}, acked(checkers.Holds), ""},
	} {
		run := exampleRun()
		run.RecordTopics = []history.TopicInfo{{Name: "payments"}, c.topic}
		var b bytes.Buffer
		if err := show.End(&b, show.Style{}, show.Ending{Run: run, Report: exampleReport(checkers.Holds, "all is well", c.acked)}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), c.want) || c.want == "" && strings.Contains(b.String(), "retention") {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, b.String())
		}
	}
}

// What was seen of what was needed stands in the terminal, however narrow that is.
func TestCoverageIsFoldedToTheTerminal(t *testing.T) {
	for _, columns := range []int{60, 80, 160} {
		var b bytes.Buffer
		if err := show.End(&b, show.Style{Columns: columns}, show.Ending{Run: exampleRun(), Report: exampleReport(checkers.Holds, "all is well", coverage(checkers.Holds, "seen", 30))}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if show.Columns(line) > columns {
				t.Errorf("%d columns: %q is longer", columns, line)
			}
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

// The sentence of the verdict names the violation that was found first, and so does the list below it, though another happened before.
func TestTheFirstViolationIsTheSentences(t *testing.T) {
	bad := checkers.Verdict{Checker: "bad", Outcome: checkers.Violated, Reason: "n1 broke it (and 1 more)", Violations: []checkers.Violation{
		{Kind: "k", Sentence: "n1 broke it", Time: at(9)}, {Kind: "k", Sentence: "n2 broke it", Time: at(8)}}}
	var b bytes.Buffer
	rep := exampleReport(checkers.Violated, "bad: "+bad.Reason, bad)
	if err := show.End(&b, show.Style{ASCII: true}, show.Ending{Run: exampleRun(), Report: rep}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "  bad  n1 broke it\n      9.0 s after the start") || strings.Contains(b.String(), "n2 broke it") {
		t.Errorf("printed\n%s", b.String())
	}
}

// However much there is to tell, the end of a run fits a screen, and keeps the verdict, the first violations, the
// command that does it again and the folder.
func TestEndFitsAScreen(t *testing.T) {
	for checkersThere := 1; checkersThere <= 40; checkersThere += 3 {
		for kinds := 0; kinds <= 40; kinds += 8 {
			var vs []checkers.Verdict
			for i := range checkersThere {
				v := holds(fmt.Sprintf("checker-%d", i), 5, "things")
				if i%3 == 2 {
					v.Outcome = checkers.Inconclusive
				}
				vs = append(vs, v, checkers.Verdict{Checker: fmt.Sprintf("other-%d", i), Outcome: checkers.NotApplicable, Reason: "no evidence"})
			}
			bad := checkers.Verdict{Checker: "bad", Outcome: checkers.Violated}
			for i := range kinds {
				bad.Violations = append(bad.Violations, checkers.Violation{Kind: fmt.Sprint("kind", i), Sentence: "broken", Time: at(float64(i))})
			}
			rep := exampleReport(checkers.Holds, "all is well", append(vs, coverage(checkers.Holds, "seen", 30))...)
			if kinds > 0 {
				rep = exampleReport(checkers.Violated, "broken", append(vs, bad)...)
			}
			for range 10 {
				rep.Notes = append(rep.Notes, "a note")
			}
			var b bytes.Buffer
			if err := show.End(&b, show.Style{}, show.Ending{Run: exampleRun(), Report: rep, Facts: exampleFacts(), Folder: "FOLDER", Reproduce: []string{"soak", "again"}}); err != nil {
				t.Fatal(err)
			}
			out := b.String()
			if n := strings.Count(out, "\n"); n > show.EndLines {
				t.Errorf("%d checkers and %d kinds of violation: %d lines", checkersThere, kinds, n)
			}
			want := []string{rep.Outcome.String(), "reproduce:   soak again", "folder:      FOLDER"}
			if kinds > 0 && checkersThere < 20 {
				want = append(want, "  bad  broken")
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					t.Errorf("%d checkers and %d kinds of violation: %q is not in\n%s", checkersThere, kinds, w, out)
				}
			}
		}
	}
}

func TestStyle(t *testing.T) {
	for _, c := range []struct{ lcAll, lang, want string }{
		{"", "en_US.UTF-8", "a→b…"},
		{"", "", "a->b..."},
		{"C", "en_US.UTF-8", "a->b..."},
		{"", "C.utf8", "a→b…"},
	} {
		env := func(k string) string { return map[string]string{"LC_ALL": c.lcAll, "LANG": c.lang}[k] }
		s := show.StyleOf(&bytes.Buffer{}, env)
		if got := s.Text("a→b…"); got != c.want || s.Colour || s.Terminal {
			t.Errorf("LC_ALL=%q LANG=%q: %q, %+v, want %q without colour", c.lcAll, c.lang, got, s, c.want)
		}
	}
	if got := (show.Style{}).Text("a\x1b[2Jb\nc\u009b"); got != "a[2Jb c" {
		t.Errorf("control characters of a log line reach the terminal: %q", got)
	}
	rep := exampleReport(checkers.Violated, "s")
	if got := show.Headline(show.Style{Colour: true}, rep); got != "\x1b[31;1mVIOLATED\x1b[0m  s" {
		t.Errorf("with colour: %q", got)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{show.Count(0), "0"}, {show.Count(999), "999"}, {show.Count(1000), "1,000"}, {show.Count(-1234567), "-1,234,567"},
		{show.Seconds(345 * time.Millisecond), "0.34 s"}, {show.Seconds(12340 * time.Millisecond), "12.3 s"},
		{show.Seconds(125 * time.Second), "2 min 5 s"}, {show.Seconds(-1), "0 s"},
		{show.Plural(1, "run"), "1 run"}, {show.Plural(2000, "run"), "2,000 runs"},
		{show.Command("soak", "run", "a b", "it's", ""), `soak run 'a b' 'it'\''s' ''`},
		{show.Cut("abcdef", 5), "ab..."}, {show.Cut("abcde", 5), "abcde"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
