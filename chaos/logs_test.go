package chaos

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

// memory is a sink that remembers in short words.
type memory struct {
	mu    sync.Mutex
	heard []string
}

func (m *memory) Event(e history.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := e.Body.(*history.LogLine); ok {
		m.heard = append(m.heard, fmt.Sprintf("n%d %s %q", l.Of, l.What, l.Line))
		return
	}
	m.heard = append(m.heard, fmt.Sprintf("%d.%d %s", e.Boot, e.Seq, e.Body.Kind()))
}

func (m *memory) Stats(s history.NodeMetric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, fmt.Sprintf("n%d up=%v %d %d %d %d", s.Node, s.Up, s.Memory, s.Goroutines, s.Descriptors, s.Disk))
}

func eventLine(node int32, boot, seq uint64, body history.Body) string {
	return string(history.AppendLogLine(nil, &history.Event{Node: node, Boot: boot, Seq: seq, Time: 1, Body: body}))
}

func check(boot, seq uint64) string {
	return eventLine(2, boot, seq, &history.LeaderCheck{Term: 1, Role: history.RoleLeader, Cause: history.CauseInterval})
}

func started(boot uint64) string { return eventLine(2, boot, 1, &history.Started{}) }

func TestCollectorTellsWhatMatters(t *testing.T) {
	log := strings.Join([]string{
		started(1), check(1, 2),
		`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"stats","memory":1,"goroutines":2,"descriptors":3,"disk":4}`,
		`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"listening"}`,
		`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"fatal"}`,
		`{"time":"2026-01-01T00:00:00Z","level":"ERROR","msg":"fatal","error":"disk"}`,
		`{"time":"2026-01-01T00:00:00Z","level":"ERROR","msg":"fatal","error":"disk: write a: no space left on device [fault shim]"}`,
		`panic: a word`, `	panic: indented, as in a stack`, `fatal error: all goroutines are asleep`, `WARNING: DATA RACE`,
		`a plain line that says "event"`, ``, check(1, 3),
	}, "\n") + "\n"
	want := []string{
		"1.1 started", "1.2 leader_check", "n2 up=true 1 2 3 4",
		`n2 fatal "{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"msg\":\"fatal\",\"error\":\"disk\"}"`,
		`n2 disk_fault "{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"msg\":\"fatal\",\"error\":\"disk: write a: no space left on device [fault shim]\"}"`,
		`n2 panic "panic: a word"`, `n2 fatal "fatal error: all goroutines are asleep"`, `n2 data_race "WARNING: DATA RACE"`,
		"1.3 leader_check",
	}
	// However the bytes are cut on their way, the same comes out.
	for size := range len(log) {
		var m memory
		c := NewCollector(2, &m)
		for rest := []byte(log); len(rest) > 0; {
			n := min(size+1, len(rest))
			c.Write(rest[:n])
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, m.heard); diff != "" {
			t.Fatalf("in pieces of %d: (-want +got)\n%s", size+1, diff)
		}
		if c.Damaged() != 0 {
			t.Fatalf("%d lines damaged", c.Damaged())
		}
	}
}

// Only the line with which a node gives up says that a made-up error stopped it: not one that it went on after, and not a panic.
func TestAStopByAFaultIsTold(t *testing.T) {
	const stop = `{"time":"2026-01-01T00:00:00Z","level":"ERROR","msg":"fatal","error":"disk: sync a: input/output error [fault shim]"}`
	for log, want := range map[string]bool{
		check(1, 2) + "\n" + stop + "\nerror: disk: sync a: input/output error [fault shim]\n": true,
		strings.ReplaceAll(stop, " [fault shim]", ""):                                          false,
		strings.ReplaceAll(stop, "ERROR", "WARN"):                                              false,
		"panic: input/output error [fault shim]\n":                                             false,
		"error: disk: input/output error [fault shim]\n":                                       false,
		stop[1:] + "\n" + check(1, 3):                                                          false,
	} {
		if got := StoppedByFault([]byte(log)); got != want {
			t.Errorf("%v, want %v: %s", got, want, log)
		}
	}
}

// TestCollectorTellsOfRefusedProposals: in any line but an audit event's, which counts as the proposal that it is.
func TestCollectorTellsOfRefusedProposals(t *testing.T) {
	const refused = "Cannot propose: this node (id=2) is not the leader (state=Follower, leader=1)"
	event := eventLine(2, 1, 2, &history.Propose{Outcome: history.ProposeRefused, Error: refused})
	if !strings.Contains(event, refused) {
		t.Fatalf("the event's line does not say it: %s", event)
	}
	logged := `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"election","error":"` + refused + `"}`
	var m memory
	c := NewCollector(2, &m)
	for _, l := range []string{started(1), event, logged, "panic: " + refused, event[:len(event)-3], event, "cannot be proposed"} {
		c.Line([]byte(l), false)
	}
	c.Line([]byte(logged), true)
	want := []string{
		"1.1 started", "1.2 propose",
		fmt.Sprintf("n2 cannot_propose %q", logged),
		fmt.Sprintf("n2 panic %q", "panic: "+refused), fmt.Sprintf("n2 cannot_propose %q", "panic: "+refused),
	}
	if diff := cmp.Diff(want, m.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCollectorTellsAnEventOnce(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	for _, l := range []string{started(1), check(1, 2), started(2), check(2, 2)} {
		c.Line([]byte(l), false)
	}
	c.Line([]byte("panic: x"), false)
	// The whole log again, with one line that the first reading missed.
	for _, l := range []string{started(1), check(1, 2), "panic: x", started(2), check(2, 2), check(2, 3)} {
		c.Line([]byte(l), true)
	}
	want := []string{"1.1 started", "1.2 leader_check", "2.1 started", "2.2 leader_check", `n2 panic "panic: x"`, "2.3 leader_check"}
	if diff := cmp.Diff(want, m.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCollectorLeavesAGapToTheCheckers(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	fmt.Fprintf(c, "%s\n%s\n", started(1), check(1, 5))
	if diff := cmp.Diff([]string{"1.1 started", "1.5 leader_check"}, m.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCollectorFindsTheNextBootBehindACutLine(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	cut := check(1, 2)[:60]
	fmt.Fprintf(c, "%s\n%s%s\n%s\n", started(1), cut, started(2), check(2, 2))
	want := []string{"1.1 started", "2.1 started", "2.2 leader_check"}
	if diff := cmp.Diff(want, m.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCollectorRefusesAnotherNodesEvents(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	fmt.Fprintf(c, "%s\n", eventLine(3, 1, 1, &history.Started{}))
	if len(m.heard) != 0 || c.Damaged() != 1 {
		t.Errorf("heard %q, %d damaged; want nothing, 1", m.heard, c.Damaged())
	}
}

func TestCollectorCutsLongLines(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	c.Write([]byte("panic: "))
	for range 5 {
		c.Write(bytes.Repeat([]byte("x"), maxLine))
	}
	if len(c.partial) > maxLine {
		t.Errorf("%d bytes kept of a line", len(c.partial))
	}
	c.Write([]byte("\n" + started(1) + "\n"))
	if len(m.heard) != 2 || !strings.HasPrefix(m.heard[0], `n2 panic "panic: xxx`) || len(m.heard[0]) > maxQuote+20 || m.heard[1] != "1.1 started" {
		t.Errorf("heard %.600q", m.heard)
	}
}

func TestCollectorFlushTakesAnUnfinishedLine(t *testing.T) {
	var m memory
	c := NewCollector(2, &m)
	c.Write([]byte("panic: no newline"))
	c.Flush()
	c.Flush()
	if diff := cmp.Diff([]string{`n2 panic "panic: no newline"`}, m.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWaitBoot(t *testing.T) {
	c := NewCollector(2, &memory{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	go fmt.Fprintf(c, "%s\n%s\n", started(1), started(2))
	if boot, err := c.WaitBoot(ctx, 1); boot != 2 || err != nil {
		t.Errorf("got boot %d, %v", boot, err)
	}
	if c.Boot() != 2 {
		t.Errorf("Boot is %d", c.Boot())
	}
	cancel()
	if _, err := c.WaitBoot(ctx, 2); err == nil {
		t.Error("no boot 3, and no error")
	}
}

// What is no event is kept, once, and so is what claims to be one and cannot be read.
func TestCollectorKeepsTheRest(t *testing.T) {
	var rest bytes.Buffer
	c := NewCollector(2, &memory{})
	c.KeepRest(&rest)
	foreign := eventLine(3, 1, 1, &history.Started{})
	stats := `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"stats","memory":1,"goroutines":2,"descriptors":3,"disk":4}`
	fmt.Fprintln(c, started(1))
	fmt.Fprintln(c, stats)
	fmt.Fprintln(c, check(1, 2))
	fmt.Fprintln(c, "panic: a word")
	fmt.Fprintln(c, check(1, 3)[:60])
	fmt.Fprintln(c, foreign)
	c.Line([]byte("panic: a word"), true)
	c.Line([]byte(check(1, 2)), true)
	c.Line([]byte("the last"), false)
	want := strings.Join([]string{stats, "panic: a word", check(1, 3)[:60], foreign, "the last"}, "\n") + "\n"
	if d := cmp.Diff(want, rest.String()); d != "" {
		t.Error(d)
	}
}
