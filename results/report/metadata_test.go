package report

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"soak/checkers"
	"soak/history"
)

// stale writes a folder with a run in which n2, cut off, answered from an older state: 8 s before its boot 1 had ended, and after the cut's end it applied what it lacked.
// The violation is what the checker finds.
func stale(t *testing.T, change func(run *history.Run, ops []*history.Operation)) Input {
	t.Helper()
	dir := t.TempDir()
	run := &history.Run{ID: "0123456789abcdef", Scenario: "quick", Driver: "sim", Seed: 7, Nodes: 3, SimHash: 5, RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: 1, Replicas: []int32{1, 2, 3}}},
		Phases: []history.Phase{{Name: "start", Start: base, End: base + second}, {Name: "faults", Start: base + second, End: base + 50*second}, {Name: "drain", Start: base + 50*second, End: base + 60*second}}}
	meta := func(id string, node int32, at, took int64, m history.MetaOp) *history.Operation {
		m.Name, m.Owner = "meta-1", "metadata"
		return &history.Operation{ID: id, Client: "metadata-" + id[1:], Node: node, Invoke: base + at, Complete: base + at + took, Outcome: history.OK, Meta: &m}
	}
	const ms = second / 1000
	ops := []*history.Operation{meta("m1", 1, 2*second, 2*ms, history.MetaOp{Kind: history.MetaCreate, TopicID: "0123456789abcdef0123456789abcdef", Index: 11})}
	for i := range int64(20) {
		ops = append(ops, meta(fmt.Sprint("m", 2+i), 1, 3*second+i*second/10, ms, history.MetaOp{Kind: history.MetaDescribe, Exists: true, Index: 12}))
	}
	ops = append(ops,
		meta("m30", 3, 9*second, 2*ms, history.MetaOp{Kind: history.MetaWrite, Config: "retention.ms", Value: "65", Index: 20}),
		meta("m31", 3, 20*second+second/2, 2*ms, history.MetaOp{Kind: history.MetaWrite, Config: "retention.ms", Value: "68", Index: 30}),
		meta("m32", 1, 21*second, 4*ms, history.MetaOp{Kind: history.MetaWrite, Config: "retention.ms", Value: "72", Index: 31}),
		meta("m33", 2, 21*second, 2*ms, history.MetaOp{Kind: history.MetaRead, Config: "retention.ms", Value: "65", Exists: true, Index: 20}),
	)
	if change != nil {
		change(run, ops)
	}
	if err := history.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	r, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	seqs := map[[2]uint64]uint64{}
	event := func(node int32, boot uint64, at int64, body history.Body) {
		seqs[[2]uint64{uint64(node), boot}]++
		r.Event(history.Event{Node: node, Boot: boot, Seq: seqs[[2]uint64{uint64(node), boot}], Time: base + at, Body: body})
	}
	apply := func(node int32, boot uint64, at int64, index uint64, key string) {
		event(node, boot, at, &history.Apply{Index: index, Term: 3, Command: "alter_configs", Key: key, Proposer: 1, Outcome: history.Applied})
	}
	for n := int32(1); n <= 3; n++ {
		event(n, 1, second/2, &history.Started{Nodes: []int32{1, 2, 3}})
	}
	event(1, 1, second, &history.RoleChange{Term: 3, Role: history.RoleLeader, Leader: 1})
	event(2, 1, second, &history.RoleChange{Term: 3, Role: history.RoleFollower, Leader: 1})
	event(1, 1, second, &history.Apply{Index: 2, Term: 3, Command: "create_topic", Key: "orders", Proposer: 1, Outcome: history.Applied,
		Changes: []history.PartitionChange{{Topic: "orders", Leader: 2, LeaderEpoch: 1, ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}}}})
	apply(2, 1, 2*second, 11, "meta-1")
	event(0, 1, 5*second, &history.Exit{Of: 2, Code: -1, Signal: "killed", Asked: true})
	event(2, 2, 8*second, &history.Started{Nodes: []int32{1, 2, 3}})
	event(2, 2, 8*second, &history.RoleChange{Term: 3, Role: history.RoleFollower, Leader: 1})
	apply(2, 2, 8*second, 11, "meta-1")
	apply(2, 2, 9*second, 20, "meta-1")
	apply(1, 1, 20*second+second/2+ms, 30, "meta-1")
	event(2, 2, 20*second+second*7/10, &history.RoleChange{Term: 3, Role: history.RolePreCandidate})
	event(2, 2, 21*second+ms, &history.Read{Op: "m33", Index: 20})
	apply(2, 2, 21*second+3*ms/2, 21, "meta-9") // after its answer, and before the client had it
	event(3, 2, 20*second+9*second/10, &history.Started{Nodes: []int32{1, 2, 3}})
	apply(3, 2, 20*second+9*second/10, 11, "meta-1") // again, after its start
	apply(3, 2, 22*second, 31, "meta-1")             // after the answer
	apply(2, 2, 33*second, 30, "meta-1")
	fault := func(id int, kind, target string, node int32, from, to int64) {
		r.Fault(history.Fault{ID: id, Kind: kind, Target: target, Nodes: []int32{node}, Asked: base + from, Effective: base + from, HealAsked: base + to, Healed: base + to, OnRaftLeader: target == "raft-leader"})
	}
	fault(1, "pause", "n3", 3, 3*second, 6*second)
	fault(2, "pause", "raft-leader", 1, 15*second, 18*second)
	fault(3, "partition", "follower", 2, 20*second, 30*second)
	for _, op := range ops {
		r.Operation(op)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	rep := &checkers.Report{Format: 1, Run: run.ID, Outcome: checkers.Violated}
	all, _, err := checkers.Judge(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all.Verdicts {
		if v.Checker == checkers.LinearizableMetadata {
			rep.Verdicts = append(rep.Verdicts, v)
		}
	}
	if len(rep.Verdicts) != 1 || len(rep.Verdicts[0].Violations) != 1 {
		t.Fatalf("the checker found %+v", rep.Verdicts)
	}
	return Input{Dir: dir, Run: run, Report: rep}
}

// theStory is a page's first story, and its text line by line.
func theStory(t *testing.T, page string) (source string, lines []string) {
	t.Helper()
	begin := strings.Index(page, `id="violation-1"`)
	end := strings.Index(page[max(begin, 0):], "</article>")
	if begin < 0 || end < 0 {
		t.Fatal("the page has no story")
	}
	source = "<article " + page[begin:begin+end]
	for _, l := range regexp.MustCompile(`(?s)</(?:p|li|td|th|h3|h4|dt|dd|summary)>`).Split(regexp.MustCompile(`(?s)<(?:title|pre)[^>]*>.*?</(?:title|pre)>`).ReplaceAllString(strings.ReplaceAll(source, `</span><span class="words">`, "</p>"), ""), -1) {
		if text := strings.Join(strings.Fields(html.UnescapeString(anElement.ReplaceAllString(l, ""))), " "); text != "" {
			lines = append(lines, text)
		}
	}
	return source, lines
}

func wantLines(t *testing.T, lines []string, want ...string) {
	t.Helper()
	all := strings.Join(lines, "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("the story does not say %q:\n%s", w, all)
		}
	}
}

// A story tells what the node knew when it answered: its leader, its state, and whether it ever had what its answer lacks.
func TestAStoryTellsWhatTheAnsweringNodeKnew(t *testing.T) {
	_, lines := theStory(t, draw(t, stale(t, nil)))
	wantLines(t, lines,
		"n2 knew no raft leader: it was a raft pre-candidate in term 3, since 20.700 s.",
		"n2 itself was cut off then.",
		"The newest leadership then was that of n1: term 3, since 1.000 s.",
		"Its state was that of raft entry 20, which it had applied at 9.000 s.",
		"The write that the answer contradicts is raft entry 30. n2 applied it only at 33.000 s, 12.0 s after the answer. So the answer was stale, and nothing was lost.",
		"How far its raft log reached beyond what it had applied is not recorded",
		"11 to 20 answered", "5.000 s, killed",
		"n2 answers m33, from its state at raft entry 20; it knew no raft leader, as a raft pre-candidate in term 3",
		"fault 3 is over: network partition of n2 (a raft follower)",
		"before that it had not applied entry 30")
}

// Who had applied a write in an earlier boot did not lack it, but lost it or had not come so far again.
func TestWhatANodeHadInAnEarlierBootIsTold(t *testing.T) {
	_, lines := theStory(t, draw(t, stale(t, func(_ *history.Run, ops []*history.Operation) {
		for _, op := range ops {
			if op.ID == "m31" {
				op.Meta.Index = 11 // which n2 applied in its first boot, and in its second
			}
		}
	})))
	wantLines(t, lines, "raft entry 11. n2 had applied it in this boot, and its answer does not show it.")
	answer := &history.Operation{ID: "m1", Node: 2, Complete: 20, Meta: &history.MetaOp{Index: 4}}
	k := newKnowledge(answer, &history.Operation{Meta: &history.MetaOp{Index: 9}})
	k.boots = []*knownBoot{{boot: 1, from: 1, first: 1, last: 9}, {boot: 2, from: 10, first: 1, last: 4}}
	if got := k.fate(&collected{}, 1); got != "n2 had applied it in boot 1. It had not done so again when it answered in boot 2." {
		t.Error(got)
	}
	k.boots = k.boots[1:]
	if got := k.fate(&collected{}, 0); got != "n2 had not applied it by the end of the run." {
		t.Error(got)
	}
}

// Where there are no events of the node, the story says that, and makes nothing up.
func TestAStoryWithoutEventsSaysSo(t *testing.T) {
	in := stale(t, nil)
	if err := os.Remove(filepath.Join(in.Dir, history.EventsFile)); err != nil {
		t.Fatal(err)
	}
	_, lines := theStory(t, draw(t, in))
	wantLines(t, lines, "The run has no audit events of n2. What it knew is not recorded.")
}

// Sentences of a story are short ones.
func TestSentencesOfAStoryAreShort(t *testing.T) {
	const most = 25
	for name, in := range map[string]Input{"a stale answer": stale(t, nil), "lost records": lose(t)} {
		_, lines := theStory(t, draw(t, in))
		checked := 0
		for _, l := range lines {
			if strings.HasPrefix(l, "soak ") {
				continue // a command
			}
			for _, s := range regexp.MustCompile(`[.!?]( |$)| · `).Split(l, -1) {
				checked++
				if n := len(strings.Fields(s)); n > most {
					t.Errorf("%s: %d words, want at most %d: %s", name, n, most, s)
				}
			}
		}
		if checked < 40 {
			t.Errorf("%s: only %d sentences", name, checked)
		}
	}
}

// Who leads partitions has no part in a metadata answer.
func TestAMetadataStoryLeavesPartitionsOut(t *testing.T) {
	page := draw(t, stale(t, nil))
	source, lines := theStory(t, page)
	if strings.Contains(source, "which led") || strings.Contains(page[:strings.Index(page, `<main>`)], "which led") {
		t.Error("the story or the verdict names partitions that a node led")
	}
	wantLines(t, lines, "during fault 3: network partition of n2 (a raft follower)")
	f := &history.Fault{Kind: "kill", Target: "leader(orders-0)", Nodes: []int32{1}, OnRaftLeader: true}
	if got := faultWords(withoutPartitions(f)); got != "kill of n1 (the raft leader)" {
		t.Error(got)
	}
	f.OnRaftLeader = false
	if got := faultWords(withoutPartitions(f)); got != "kill of n1" {
		t.Error(got)
	}
	// Of lost records it has: the words are there.
	if source, _ := theStory(t, draw(t, lose(t))); !strings.Contains(source, "which led orders-0") {
		t.Error("a story of lost records does not say what the node led")
	}
}

// A fault that ended shortly before the first operation of a violation is told, with how long before; one that ended long before is not.
func TestAFaultThatHadEndedBeforeAViolationIsTold(t *testing.T) {
	source, lines := theStory(t, draw(t, stale(t, nil)))
	wantLines(t, lines, "2. pause of n1 (the raft leader). From 15.000 s, for 3.00 s, ended 3.00 s before", "3. network partition of n2 (a raft follower). From 20.000 s, for 10.0 s")
	if strings.Contains(source, "1. pause of n3") {
		t.Error("a fault that ended 15 s before is told")
	}
}

// Each operation that a story names has a row with its id, or is said to have none and where it is.
func TestEachOperationThatAStoryNamesIsToBeFound(t *testing.T) {
	in := stale(t, nil)
	source, lines := theStory(t, draw(t, in))
	wantLines(t, lines, "The violation names 25 operations. 3 have rows above, with the id. 22 have none: they came before and agree with each other")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`<span class="opid">(\w+)</span>`).FindAllStringSubmatch(source, -1) {
		rows[m[1]] = true
	}
	for _, id := range []string{"m31", "m32", "m33"} {
		if !rows[id] {
			t.Errorf("%s has no row", id)
		}
	}
	listed := source[strings.Index(source, "holds them:"):]
	listed = listed[:strings.Index(listed, "</p>")]
	for _, m := range regexp.MustCompile(`&#34;id&#34;:&#34;(\w+)&#34;`).FindAllStringSubmatch(source, -1) { // the evidence as recorded
		if !rows[m[1]] && !regexp.MustCompile(`\b`+m[1]+`\b`).MatchString(listed) {
			t.Errorf("%s is in the evidence, and neither has a row nor is listed as one without", m[1])
		}
	}
}

// What overlaps the answer, and may well be true, is marked as context, and neither the answer nor what it contradicts is.
func TestWhatOnlySurroundsAViolationIsMarked(t *testing.T) {
	source, lines := theStory(t, draw(t, stale(t, nil)))
	wantLines(t, lines, "context metadata-32 to n1: set retention.ms", "evidence metadata-33 to n2: what is retention.ms of topic meta-1? m33", "evidence metadata-31 to n3: set retention.ms",
		`had not been answered yet`, "What is marked as context only surrounds the violation: it may well be true.")
	if n := strings.Count(source, `class="asideword"`); n != 3 { // its bar, its request and its answer
		t.Errorf("%d marks of context, want 3", n)
	}
	for _, bad := range []string{"metadata-5 to n1", "n3 applies raft entry 11", "n3 applies raft entry 31"} {
		if strings.Contains(source, bad) {
			t.Errorf("%q has a row, and no part in it", bad)
		}
	}
}

// The command of a story looks at its node up to its instant: by replay where a run can be replayed, by its recorded events where it cannot.
func TestAStoryHasTheCommandToLookCloser(t *testing.T) {
	in := stale(t, nil)
	source, _ := theStory(t, draw(t, in))
	want := fmt.Sprintf("soak replay %s --until 21.003s --trace raft,meta,fault,violation --node 2 | tail -n 60", in.Dir)
	if !strings.Contains(source, want) {
		t.Errorf("the story has no %q", want)
	}
	in = stale(t, func(run *history.Run, _ []*history.Operation) { run.Driver, run.SimHash = "process", 0 })
	source, _ = theStory(t, draw(t, in))
	m := regexp.MustCompile(`<code>(awk .*?)</code>`).FindStringSubmatch(source)
	if m == nil {
		t.Fatal("the story of a real run has no command that shows its events")
	}
	out, err := exec.Command("sh", "-c", html.UnescapeString(m[1])).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := string(out)
	if !strings.Contains(got, `"op":"m33"`) || !strings.Contains(got, `"role":"pre-candidate"`) || strings.Contains(got, `"node":1`) || strings.Contains(got, fmt.Sprint(base+33*second)) {
		t.Errorf("it prints:\n%s", got)
	}
}
