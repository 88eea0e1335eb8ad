package report

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"soak/checkers"
	"soak/history"
)

// lose writes a folder with a run in which n3, cut off, acknowledged two sends that nobody holds in the end.
func lose(t *testing.T) Input {
	t.Helper()
	dir := t.TempDir()
	run := &history.Run{ID: "0123456789abcdef", Scenario: "quick", Driver: "sim", Seed: 7, Nodes: 3, RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: 2, Replicas: []int32{1, 2, 3}}},
		Phases: []history.Phase{{Name: "start", Start: base, End: base + second}, {Name: "chaos", Start: base + second, End: base + 50*second}, {Name: "drain", Start: base + 50*second, End: base + 60*second}}}
	r, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	seqs := map[int32]uint64{}
	event := func(node int32, at int64, body history.Body) {
		seqs[node]++
		r.Event(history.Event{Node: node, Boot: 1, Seq: seqs[node], Time: base + at, Body: body})
	}
	state := func(node, epoch, leader int32, at, high, end int64, cause string) {
		role := "follower"
		if node == leader {
			role = "leader"
		}
		event(node, at, &history.Partition{Topic: "orders", Role: role, Leader: leader, LeaderEpoch: epoch, HighWatermark: high, LogEnd: end, Cause: cause})
	}
	for n := int32(1); n <= 3; n++ {
		event(n, second/2, &history.Started{Nodes: []int32{1, 2, 3}})
	}
	var changes []history.PartitionChange
	for _, topic := range []string{"a", "b", "c", "d", "orders"} {
		changes = append(changes, history.PartitionChange{Topic: topic, Leader: 3, LeaderEpoch: 1, ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}})
	}
	run.RecordTopics = append(run.RecordTopics, history.TopicInfo{Name: "a"}, history.TopicInfo{Name: "b"}, history.TopicInfo{Name: "c"}, history.TopicInfo{Name: "d"})
	event(1, second, &history.Apply{Index: 5, Term: 1, Command: "create_topic", Proposer: 1, Outcome: history.Applied, Changes: changes})
	state(3, 1, 3, 19*second, 100, 100, "periodic")
	state(3, 1, 3, 21*second+second/2, 100, 115, "periodic")
	state(1, 2, 1, 22*second, 100, 100, "change")
	state(3, 2, 1, 33*second, 100, 100, "truncation")
	r.Fault(history.Fault{ID: 4, Kind: "partition", Target: "follower", Nodes: []int32{3}, Asked: base + 12*second, Effective: base + 12*second, HealAsked: base + 32*second, Healed: base + 32*second + second/2,
		Evidence: []history.Evidence{{Time: base + 12*second, Phase: "during", What: "dropped"}}})
	send := func(id string, node int32, at int64, producer uint32, seq uint64, offset int64) history.Operation {
		op := history.Operation{ID: id, Client: "produce", Node: node, Invoke: base + at, Complete: base + at + second/100, Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: "orders", Producer: producer, Incarnation: 1, FirstSeq: seq, Count: 5, Acked: -1, Acks: -1}}
		for i := range int64(5) {
			op.Produce.Offsets = append(op.Produce.Offsets, offset+i)
		}
		r.Operation(&op)
		return op
	}
	send("p0", 3, 9*second, 1, 5, 95)
	first := send("p1", 3, 20*second, 1, 10, 100)
	send("q1", 3, 20*second+second/2, 2, 10, 105)
	send("p2", 3, 21*second, 1, 15, 110)
	send("p3", 1, 24*second, 4, 20, 100)
	v := checkers.Violation{Kind: "lost-overwritten", Time: first.Complete, Nodes: []int32{3}, Faults: []int{4}, Operations: []string{"p1", "p2"},
		Sentence: "n3 acknowledged 10 records of orders-0 at 20.010 s (offsets 100 to 114; producer 1.1 sequences 10 to 19). n1 does not hold them in the end. n1 took over as the partition's leader at 22.000 s (leader epoch 2) with a log that ended at offset 100. n3 cut its log back to offset 100 at 33.000 s",
		Evidence: []string{string(opLine(t, &first))}}
	drain := history.Operation{ID: "d1", Client: "drain", Node: 1, Invoke: base + 51*second, Complete: base + 51*second + second/100, Outcome: history.OK,
		Drain: &history.DrainOp{Topic: "orders", Replica: 1, To: 105, LogEnd: 105, High: 105, End: true, Spans: []history.Span{{Offset: 95, Producer: 1, Incarnation: 1, Seq: 5, Count: 5}, {Offset: 100, Producer: 4, Incarnation: 1, Seq: 20, Count: 5}}}}
	r.Operation(&drain)
	v.Evidence = append(v.Evidence, string(opLine(t, &drain)))
	other := v
	other.Time += second / 2
	other.Sentence = "n3 acknowledged 5 records of orders-0 at 20.510 s (offsets 105 to 109; producer 2.1 sequences 10 to 14), and they are gone"
	other.Operations = []string{"q1"}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return Input{Dir: dir, Run: run, Report: &checkers.Report{Format: 1, Run: run.ID, Outcome: checkers.Violated, Verdicts: []checkers.Verdict{
		{Checker: checkers.AckedRecords, Outcome: checkers.Violated, Violations: []checkers.Violation{v, other}}}}}
}

func opLine(t *testing.T, op *history.Operation) []byte {
	t.Helper()
	line, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

var (
	storyRow  = regexp.MustCompile(`(?s)<li class="[^"]*">(?:<span class="gap">[^<]*</span>)?<span class="at">([^<]*)</span>.*?<span class="words">(.*?)</span></li>`)
	anElement = regexp.MustCompile(`<[^>]*>`)
)

// storyRows are a page's rows: time and words, with "evidence" before those that are marked as such.
func storyRows(page string) (at, words []string) {
	for _, m := range storyRow.FindAllStringSubmatch(page, -1) {
		at = append(at, m[1])
		words = append(words, html.UnescapeString(anElement.ReplaceAllString(m[2], "")))
	}
	return at, words
}

// Each instant that the sentence of a violation names has a row in its story, however long after it.
func TestEachInstantOfTheSentenceHasARow(t *testing.T) {
	in := lose(t)
	at, words := storyRows(draw(t, in))
	all := strings.Join(at, "\n")
	named := regexp.MustCompile(`at (\d+\.\d+ s)`).FindAllStringSubmatch(in.Report.Verdicts[0].Violations[0].Sentence, -1)
	if len(named) != 3 {
		t.Fatalf("the sentence names %d instants", len(named))
	}
	for _, m := range named {
		if !strings.Contains(all, m[1]) {
			t.Errorf("no row at %s:\n%s", m[1], all)
		}
	}
	text := strings.Join(words, "\n")
	place := -1
	for _, want := range []string{ // in this order
		"fault 4 takes effect: network partition of n3 (a raft follower), which led orders-0, a-0, b-0 and 2 more",
		"n3 acknowledges offsets 100 to 104 of orders-0 while its high watermark is 100",
		"n1 is leader of partition orders-0 in leader epoch 2",
		"n1 acknowledges offsets 100 to 104 of orders-0: at offset 100, where producer 1.1 sequence 10 was acknowledged before",
		"fault 4 is over: network partition of n3",
		"n3 cuts its log of orders-0 back to 100",
		"n1 holds producer 4.1 sequence 20 at offset 100, where producer 1.1 sequence 10 was acknowledged",
	} {
		i := strings.Index(text, want)
		if i <= place {
			t.Errorf("%q is missing or stands too early in\n%s", want, text)
		}
		place = i
	}
	for _, want := range []string{"evidence produce: sends 5 records to n3, for orders-0, sequences 10 to 14 of producer 1.1", "evidence produce: sends 5 records to n3, for orders-0, sequences 15 to 19 of producer 1.1"} {
		if !strings.Contains(text, want) {
			t.Errorf("not marked as evidence: %q in\n%s", want, text)
		}
	}
}

// An acknowledgement is held against a leader only where a state that it told later, in the same epoch, proves it.
func TestAnAcknowledgementIsAboveTheHighWatermarkOnlyIfALaterStateProvesIt(t *testing.T) {
	state := func(at, high int64, epoch int32) *history.Event {
		return &history.Event{Node: 3, Boot: 1, Time: at, Body: &history.Partition{Topic: "orders", Role: "leader", LeaderEpoch: epoch, HighWatermark: high}}
	}
	op := &history.Operation{Node: 3, Complete: 10, Outcome: history.OK, Produce: &history.ProduceOp{Offsets: []int64{100, 101}}}
	for name, tc := range map[string]struct {
		said []*history.Event
		want string
	}{
		"still below": {[]*history.Event{state(5, 100, 1), state(15, 100, 1)}, "while its high watermark is 100"},
		"grew to it":  {[]*history.Event{state(5, 90, 1), state(15, 100, 1)}, "while its high watermark is at most 100"},
		"grew past":   {[]*history.Event{state(5, 100, 1), state(15, 102, 1)}, ""},
		"never again": {[]*history.Event{state(5, 100, 1)}, ""},
		"new epoch":   {[]*history.Event{state(5, 100, 1), state(15, 100, 2)}, ""},
	} {
		l := &lostStory{op: op, said: tc.said}
		if got := l.above(op); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// How much was lost in all stands near the top and in the story, and no violation is listed twice.
func TestAllThatWasLostIsTold(t *testing.T) {
	page := draw(t, lose(t))
	all := "In all, 15 acknowledged records of 1 partition were lost, acknowledged from 20.010 s to 21.010 s."
	if n := strings.Count(page, all); n != 2 {
		t.Errorf("%q stands %d times, want at the top and in the story", all, n)
	}
	if want := "The story is that of 10 records, acknowledged in 2 sends from 20.010 s to 21.010 s. They are at 10 among the 15 offsets 100 to 114. Records of other sends lie between. When the first was acknowledged, the in-sync replicas of orders-0 were n1, n2, n3. With acks=all each of them has to hold a record before it is acknowledged."; !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
	if n := strings.Count(page, "<td>n3 acknowledged 5 records"); n != 1 {
		t.Errorf("the other violation is told %d times, want once", n)
	}
}

// A node that is let go on does much in one instant: the rows keep its own order, behind the fault's end, and the pause's beginning comes first.
func TestRowsOfOneInstantKeepTheNodesOrder(t *testing.T) {
	dir := t.TempDir()
	r, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	wake := base + 25*second
	var check history.Event
	for i, body := range []history.Body{&history.RoleChange{Term: 2, Role: history.RoleFollower}, &history.Bug{Name: "cached-is-leader", Decisions: 1}, &history.LeaderCheck{Term: 2, Role: history.RoleFollower, Cause: "interval"}} {
		check = history.Event{Node: 2, Boot: 1, Seq: uint64(i + 1), Time: wake, Body: body}
		r.Event(check)
	}
	r.Fault(history.Fault{ID: 3, Kind: "pause", Target: "n2", Nodes: []int32{2}, Asked: base + 5*second, Effective: base + 5*second, HealAsked: wake, Healed: wake, Evidence: []history.Evidence{{Time: base + 5*second, What: "stopped"}}})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	run := &history.Run{ID: "0123456789abcdef", Nodes: 3, Phases: []history.Phase{{Name: "chaos", Start: base, End: base + 40*second}}}
	_, words := storyRows(draw(t, Input{Dir: dir, Run: run, Report: &checkers.Report{Outcome: checkers.Violated, Verdicts: []checkers.Verdict{{Checker: checkers.SingleLeaderProposing, Outcome: checkers.Violated,
		Violations: []checkers.Violation{{Kind: "check-by-non-leader", Sentence: "n2 checked", Time: wake, Nodes: []int32{2}, Faults: []int{3}, Evidence: []string{string(history.AppendEvent(nil, &check))}}}}}}}))
	want := []string{"fault 3 takes effect", "fault 3 is over", "n2 is a raft follower in term 2", "on n2 the planted bug", "evidence n2, a raft follower in term 2, checks"}
	if len(words) != len(want) {
		t.Fatalf("%d rows, want %d:\n%s", len(words), len(want), strings.Join(words, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(words[i], want[i]) {
			t.Errorf("row %d is %q, want %q", i+1, words[i], want[i])
		}
	}
}

// A log's lines about other partitions, and other nodes' small talk, are counted and not shown.
func TestTheLogShowsWhatTheStoryIsAbout(t *testing.T) {
	s := &story{keys: map[string]bool{"orders-0": true}, v: &checkers.Violation{Nodes: []int32{3}}}
	for line, want := range map[string]bool{
		`{"msg":"follower of orders-0","event":"partition","topic":"orders","partition":0}`: true,
		`{"msg":"follower of orders-1","event":"partition","topic":"orders","partition":1}`: false,
		`{"msg":"proposes","event":"propose","key":"orders-0"}`:                             true,
		`{"msg":"proposes","event":"propose","key":"orders-1"}`:                             false,
		`{"msg":"raft role is leader in term 3","event":"role","term":3}`:                   true,
		`{"msg":"planted bug acts","event":"bug"}`:                                          true,
		`{"msg":"session of n3 expired","event":"session","broker":3}`:                      true,
		`{"msg":"session of n2 expired","event":"session","broker":2}`:                      false,
		`{"msg":"session of n30 expired","event":"session","broker":30}`:                    false,
	} {
		l, ok := readLogLine([]byte(line), 1, 1)
		if !ok || s.wantsLog(l) != want {
			t.Errorf("%s: read %v, kept %v, want %v", line, ok, !want, want)
		}
	}
	if l, _ := readLogLine([]byte(`{"msg":"disk is slow"}`), 1, 3); !s.wantsLog(l) {
		t.Error("what the node concerned says is left out")
	}
}

// What became of lost records is logged later than their acknowledgement: the log of a loss has that too.
func TestTheLogOfALossReachesTheCut(t *testing.T) {
	in := lose(t)
	if err := os.MkdirAll(filepath.Join(in.Dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf(`{"time":%q,"level":"INFO","msg":"cut back to 100","event":"partition","topic":"orders","partition":0,"cause":"truncation"}`+"\n", time.Unix(0, base+33*second).UTC().Format(time.RFC3339Nano))
	if err := os.WriteFile(filepath.Join(in.Dir, "logs", "n3.log"), []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	if page := draw(t, in); !strings.Contains(page, "<td>INFO cut back to 100</td>") {
		t.Error("the log does not tell of the cut")
	}
}

// A page that holds says that failed operations are allowed, and that no bug was planted.
func TestAPageThatHoldsExplainsFailedOperations(t *testing.T) {
	dir, run, _ := record(t, "orders")
	r := *run
	r.Bugs = nil
	c := collect(Input{Dir: dir, Run: &r, Report: &checkers.Report{Outcome: checkers.Holds}})
	if got := c.holdsSentence(); strings.Contains(got, "may fail") {
		t.Errorf("nothing failed, and yet: %s", got)
	}
	c.failed, c.unknown = 350, 410
	if got, want := c.holdsSentence(), "(350 failed, 410 of unknown outcome): an operation may fail, or stay without an answer, while faults are on"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	if got := fmt.Sprint(c.facts()); !strings.Contains(got, "[planted bugs none]") {
		t.Errorf("the facts do not say that no bug was planted: %s", got)
	}
}
