package watch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"soak/chaos/runloop"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
)

// countingChecker finds a violation in every leader check of a follower.
type countingChecker struct {
	found             []checkers.Violation
	operations, fault int
}

func (c *countingChecker) ID() string { return "counting" }
func (c *countingChecker) Event(e *history.Event) {
	if b, ok := e.Body.(*history.LeaderCheck); ok && b.Role != history.RoleLeader {
		c.found = append(c.found, checkers.Violation{Kind: "check", Sentence: fmt.Sprintf("n%d checked → bad", e.Node), Nodes: []int32{e.Node}})
	}
}
func (c *countingChecker) Operation(*history.Operation)     { c.operations++ }
func (c *countingChecker) Fault(*history.Fault)             { c.fault++ }
func (c *countingChecker) Violations() []checkers.Violation { return c.found }
func (c *countingChecker) Finish() checkers.Verdict         { return checkers.Verdict{} }

// clock is set by the test.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func badCheck(node int32) *history.Event {
	return &history.Event{Node: node, Body: &history.LeaderCheck{Role: history.RoleFollower}}
}

func setup(style show.Style, change func(*watch.Config)) (w *watch.Watch, c *clock, stderr, stdout *bytes.Buffer, checker *countingChecker) {
	c = &clock{time.Unix(1000, 0)}
	stderr, stdout, checker = &bytes.Buffer{}, &bytes.Buffer{}, &countingChecker{}
	cfg := watch.Config{Checkers: []checkers.Checker{checker}, Stderr: stderr, Style: style, JSON: watch.NewJSON(stdout), Now: c.now}
	if change != nil {
		change(&cfg)
	}
	return watch.New(cfg), c, stderr, stdout, checker
}

func lines(b *bytes.Buffer) []string {
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestProgressByLines(t *testing.T) {
	w, c, stderr, _, checker := setup(show.Style{ASCII: true}, nil)
	st := runloop.Status{Phase: "steady", Intervals: 1, Wanted: 30, RaftLeader: 2, Term: 3, Left: 81 * time.Second}
	w.Status(st)
	for range 30 { // 7.5 s in quarters: one more line, after 5 s
		c.t = c.t.Add(250 * time.Millisecond)
		w.Observe(&history.Metric{Interval: int64(time.Second) / 2, Acked: 600, Unknown: 1})
		w.Status(st)
	}
	st.Phase, st.Active = "faults", []history.Fault{{ID: 4, Kind: "kill", Target: "raft-leader", Nodes: []int32{2}}}
	w.Status(st)
	f := st.Active[0]
	f.Effective, f.Healed = 1, 2
	w.Observe(&f)
	w.Observe(&history.Operation{})
	want := []string{
		"   0.0 s  steady  1/30 intervals  n2 leads (term 3)  no fault  0 records/s, 0 errors  81.0 s left",
		"   5.0 s  steady  1/30 intervals  n2 leads (term 3)  no fault  1,200 records/s, 1 error  81.0 s left",
		"   7.5 s  fault 4: kill of n2 (raft-leader)",
		"   7.5 s  faults  1/30 intervals  n2 leads (term 3)  kill of n2 (raft-leader)  1,200 records/s, 1 error  81.0 s left",
		"   7.5 s  fault 4: kill of n2 (raft-leader): proven, healed",
	}
	if got := lines(stderr); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if checker.fault != 1 || checker.operations != 1 {
		t.Errorf("the checker was given %d faults and %d operations, want one of each", checker.fault, checker.operations)
	}
}

// A simulation is told by its own clock, however fast it goes.
func TestProgressInVirtualTime(t *testing.T) {
	w, c, stderr, _, _ := setup(show.Style{ASCII: true}, func(c *watch.Config) { c.Virtual = true })
	st := runloop.Status{Phase: "steady", Wanted: 30, RaftLeader: 2, Term: 3, Left: 40 * time.Second}
	for range 40 {
		st.Since += time.Second
		st.Acked += 500
		c.t = c.t.Add(time.Millisecond)
		if st.Since == 40*time.Second {
			st.Phase = "faults"
		}
		w.Status(st)
	}
	want := []string{
		"   1.0 s  steady  0/30 intervals  n2 leads (term 3)  no fault  500 records/s, 0 errors  40.0 s left",
		"  40.0 s  faults  0/30 intervals  n2 leads (term 3)  no fault  500 records/s, 0 errors  40.0 s left",
	}
	if got := lines(stderr); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What programs read is the same whether a person watches or not.
func TestStatusAsJSONWhereverProgressGoes(t *testing.T) {
	var seen []string
	for _, style := range []show.Style{{Terminal: true}, {}} {
		w, c, _, stdout, _ := setup(style, nil)
		for range 50 { // 12.5 s in quarters
			w.Status(runloop.Status{Phase: "steady", RaftLeader: 1})
			c.t = c.t.Add(250 * time.Millisecond)
		}
		if n := strings.Count(stdout.String(), `"type":"status"`); n != 3 { // at 0, 5 and 10 s
			t.Errorf("terminal %v: %d lines of status, want 3:\n%s", style.Terminal, n, stdout)
		}
		seen = append(seen, stdout.String())
	}
	if seen[0] != seen[1] {
		t.Errorf("on a terminal:\n%s\nelsewhere:\n%s", seen[0], seen[1])
	}
}

// That nobody leads is not left standing for seconds after somebody does.
func TestALeaderIsToldAtOnce(t *testing.T) {
	w, c, stderr, stdout, _ := setup(show.Style{ASCII: true}, nil)
	for i := range 8 {
		st := runloop.Status{Phase: "start"}
		if i >= 4 {
			st.RaftLeader, st.Term = 2, 1
		}
		w.Status(st)
		c.t = c.t.Add(250 * time.Millisecond)
	}
	got := lines(stderr)
	if len(got) != 2 || !strings.Contains(got[0], "0.0 s  start  0 intervals  no leader") || !strings.Contains(got[1], "1.0 s  start  0 intervals  n2 leads") {
		t.Errorf("told:\n%s", strings.Join(got, "\n"))
	}
	if n := strings.Count(stdout.String(), `"leader":2`); n != 1 {
		t.Errorf("the leader was told %d times as JSON, want once:\n%s", n, stdout)
	}
}

// Every violation is counted and written as JSON; the first of a kind are shown.
func TestViolationsAsTheyAreFound(t *testing.T) {
	w, _, stderr, stdout, _ := setup(show.Style{ASCII: true}, nil)
	for range 9 {
		w.Observe(badCheck(3))
		w.Status(runloop.Status{Phase: "start"})
	}
	w.Observe(badCheck(3))
	if n := w.Found(); n != 10 {
		t.Errorf("%d were found, want 10", n)
	}
	if n := strings.Count(stderr.String(), "VIOLATED counting: n3 checked -> bad"); n != 3 {
		t.Errorf("%d were shown, want 3:\n%s", n, stderr)
	}
	if n := strings.Count(stderr.String(), "more of this kind"); n != 1 {
		t.Errorf("that there are more was told %d times, want once", n)
	}
	found := 0
	for _, l := range lines(stdout) {
		var v struct{ Type, Sentence string }
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if v.Type == "violation" && v.Sentence == "n3 checked → bad" {
			found++
		}
	}
	if found != 10 {
		t.Errorf("%d violations as JSON, want 10", found)
	}
}

func TestFailFast(t *testing.T) {
	var asked []string
	w, _, _, _, _ := setup(show.Style{}, func(c *watch.Config) {
		c.Fatal = func(checker string, v checkers.Violation) bool { return v.Nodes[0] == 2 }
		c.End = func(reason string) { asked = append(asked, reason) }
	})
	w.Observe(badCheck(1))
	w.Status(runloop.Status{})
	if len(asked) != 0 {
		t.Fatalf("a violation that is not fatal ended the run: %q", asked)
	}
	for range 3 {
		w.Observe(badCheck(2))
		w.Status(runloop.Status{})
	}
	if len(asked) != 1 || asked[0] != "violation of counting" {
		t.Errorf("the end was asked for as %q, want once", asked)
	}
}

func TestQuiet(t *testing.T) {
	w, _, stderr, stdout, _ := setup(show.Style{Terminal: true}, func(c *watch.Config) { c.Quiet, c.JSON = true, nil })
	w.Observe(badCheck(1))
	w.Status(runloop.Status{Phase: "start"})
	w.Say("building")
	w.Close()
	if stderr.Len() > 0 || stdout.Len() > 0 {
		t.Errorf("quiet, but %q and %q were printed", stderr, stdout)
	}
	if w.Found() != 1 {
		t.Error("quiet, the violation was not counted")
	}
}
