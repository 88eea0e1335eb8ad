package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"soak/chaos/runloop"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
)

// feed gives a watch a minute of a run in which n3 is cut off and n2 was killed.
func feed(w *watch.Watch) runloop.Status {
	w.Observe(&history.Event{Node: 1, Body: &history.Started{Nodes: []int32{1, 2, 3}}})
	for i := range 60 {
		m := history.Metric{Time: int64(i) * 1e9, Interval: 1e9, Acked: int64(10 * i), LatencyP50: 2e6, LatencyP99: int64(1+i%7) * 1e6, LatencyMax: 120e6}
		if i == 59 {
			m.Unknown = 3
		}
		w.Observe(&m)
	}
	w.Observe(&history.Event{Node: 0, Body: &history.Exit{Of: 2}})
	return runloop.Status{
		Phase: "faults", Intervals: 12, Wanted: 30, RaftLeader: 1, Term: 4, Left: 72 * time.Second, FaultsAsked: 3, FaultsProven: 2,
		Active: []history.Fault{
			{ID: 2, Kind: "partition", Target: "partition-leader", Nodes: []int32{3}, Clients: true, Effective: 55e9, Evidence: []history.Evidence{
				{Phase: "before", What: "3 connections open"}, {Phase: "during", What: "812 packets dropped"}, {Phase: "before", What: "asked twice"}}},
			{ID: 3, Kind: "pause", Target: "raft-leader", Nodes: []int32{1}},
		},
	}
}

func boardOf(t *testing.T, style show.Style) string {
	w, c, stderr, _, _ := setup(style, nil)
	st := feed(w)
	c.t = c.t.Add(61 * time.Second)
	w.Status(st)
	s := newScreen(t, 80)
	s.write(stderr.String())
	if s.wrapped > 0 {
		t.Errorf("%d lines do not fit", s.wrapped)
	}
	return s.text()
}

func TestBoard(t *testing.T) {
	for _, tc := range []struct {
		name  string
		style show.Style
		want  []string
	}{
		{"UTF-8", show.Style{Terminal: true, Colour: true}, []string{
			"  61.0 s  fault 2: partition of n3 (partition-leader), clients too",
			"  61.0 s  fault 3: pause of n1 (raft-leader)",
			"faults   ████████░░░░░░░░░░░░ 12/30 intervals   61.0 s, 72.0 s left",
			"nodes    ● n1 leads term 4   ✗ n2 down   ○ n3 cut off",
			"links    n1 ─╳─ n3   n2 ─╳─ n3   clients ─╳─ n3",
			"faults   partition of n3 (partition-leader), clients too for 4.0 s: 812 pack...",
			"         pause of n1 (raft-leader): no evidence yet; 3 asked, 2 proven",
			"records  ▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇█████  590/s, 3 errors",
			"latency  ▇█▃▄▅▅▆▇█▃▄▅▅▆▇█▃▄▅▅  p50 2.0 ms, p99 4.0 ms, most 120 ms",
			"checks   1 live checker, no violation so far",
		}},
		{"ASCII", show.Style{Terminal: true, ASCII: true}, []string{
			"  61.0 s  fault 2: partition of n3 (partition-leader), clients too",
			"  61.0 s  fault 3: pause of n1 (raft-leader)",
			"faults   ########............ 12/30 intervals   61.0 s, 72.0 s left",
			"nodes    * n1 leads term 4   x n2 down   o n3 cut off",
			"links    n1 -x- n3   n2 -x- n3   clients -x- n3",
			"faults   partition of n3 (partition-leader), clients too for 4.0 s: 812 pack...",
			"         pause of n1 (raft-leader): no evidence yet; 3 asked, 2 proven",
			"records  +++++**********#####  590/s, 3 errors",
			"latency  *#:-==+*#:-==+*#:-==  p50 2.0 ms, p99 4.0 ms, most 120 ms",
			"checks   1 live checker, no violation so far",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, want := boardOf(t, tc.style), strings.Join(tc.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// What is told for good stands above the board, and of the board nothing is left at the end.
func TestTheBoardLeavesNothing(t *testing.T) {
	w, c, stderr, _, _ := setup(show.Style{Terminal: true}, nil)
	st := feed(w)
	w.Status(st)
	w.Say("building")
	c.t = c.t.Add(time.Second)
	st.Active = nil // the board has a line less
	w.Status(st)
	w.Observe(badCheck(3))
	w.Status(st)
	s := newScreen(t, 80)
	s.write(stderr.String())
	if got := s.text(); strings.Count(got, "intervals") != 1 || !strings.HasSuffix(got, "checks   VIOLATED counting (1)") {
		t.Errorf("while it is drawn:\n%s", got)
	}
	w.Close()
	s = newScreen(t, 80)
	s.write(stderr.String())
	want := strings.Join([]string{
		"   0.0 s  fault 2: partition of n3 (partition-leader), clients too",
		"   0.0 s  fault 3: pause of n1 (raft-leader)",
		"building",
		"   1.0 s  VIOLATED counting: n3 checked → bad"}, "\n")
	if got := s.text(); got != want {
		t.Errorf("left on the screen:\n%s\nwant:\n%s", got, want)
	}
}

// A topic, or whatever else a node says, cannot move the cursor of the one who watches.
func TestHostileNamesOnTheBoard(t *testing.T) {
	w, _, stderr, _, _ := setup(show.Style{Terminal: true}, nil)
	w.Status(runloop.Status{Phase: "faults", Active: []history.Fault{{ID: 1, Kind: "kill", Target: "leader(\x1b[2J\r\nx-0)", Nodes: []int32{1}, Effective: 1,
		Evidence: []history.Evidence{{Phase: "during", What: "exit\x1b]0;owned\x07"}}}}})
	s := newScreen(t, 80)
	s.write(stderr.String()) // fails on sequences that are not the board's own
	if got := s.text(); strings.Count(got, "\n") != 7 {
		t.Errorf("drawn:\n%s", got)
	}
}

func TestEveryStateOfANode(t *testing.T) {
	for kind, want := range map[string]string{"pause": "paused", "disk-full": "disk full", "no-such-kind": "no-such-kind", "stop": "stopped"} {
		w, _, stderr, _, _ := setup(show.Style{Terminal: true, ASCII: true}, nil)
		w.Observe(&history.Event{Node: 2, Body: &history.Started{Nodes: []int32{1, 2}}})
		w.Status(runloop.Status{Phase: "faults", Active: []history.Fault{{ID: 1, Kind: kind, Nodes: []int32{2}, Effective: 1}}})
		if got := stderr.String(); !strings.Contains(got, fmt.Sprintf("o n1 follows   o n2 %s", want)) {
			t.Errorf("%s: drawn:\n%s", kind, got)
		}
	}
}
