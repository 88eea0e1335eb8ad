package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"soak/checkers"
	"soak/history"
)

const hostile = `<script>alert(1)</script>"'&`

// base is the start of the runs of these tests.
const base = int64(1_700_000_000) * second

// record writes a folder with a run that names everything after topic.
func record(t *testing.T, topic string) (string, *history.Run, *checkers.Report) {
	t.Helper()
	dir := t.TempDir()
	run := &history.Run{ID: "0123456789abcdef", Scenario: topic, Driver: "process", Seed: 7, Nodes: 3, Command: []string{"soak", "run", topic},
		RecordTopics: []history.TopicInfo{{Name: topic, Partitions: 1, Replicas: []int32{1, 2, 3}}}, Bugs: []string{topic}, Notes: []string{topic},
		Phases: []history.Phase{{Name: "start", Start: base, End: base + second}, {Name: topic, Start: base + second, End: base + 20*second}}}
	if err := history.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	r, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	event := func(node int32, seq uint64, at int64, body history.Body) history.Event {
		e := history.Event{Node: node, Boot: 1, Seq: seq, Time: base + at, Body: body}
		r.Event(e)
		return e
	}
	for n := int32(1); n <= 3; n++ {
		event(n, 1, second/2, &history.Started{Version: topic, Nodes: []int32{1, 2, 3}})
	}
	event(1, 2, second, &history.RoleChange{Term: 1, Role: history.RoleLeader, Leader: 1})
	event(1, 3, second*3/2, &history.Apply{Index: 5, Term: 1, Command: "create_topic", Key: topic, Proposer: 1, Outcome: history.Applied,
		Changes: []history.PartitionChange{{Topic: topic, Leader: 1, LeaderEpoch: 1, ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}}}})
	event(1, 4, 2*second, &history.LeaderCheck{Term: 1, Role: history.RoleLeader, Cause: "interval"})
	wrong := event(2, 2, 9*second, &history.LeaderCheck{Term: 1, Role: history.RoleFollower, Cause: topic})
	event(0, 1, 10*second, &history.Exit{Of: 3, Code: -1, Signal: topic, Asked: true})
	event(0, 2, 10*second, &history.LogLine{Of: 3, What: "panic", Line: topic})
	event(1, 5, 9*second, &history.Propose{Command: "create_topic", Key: topic, Term: 1, Role: history.RoleFollower, Outcome: history.ProposeRefused, Error: topic})
	r.Fault(history.Fault{ID: 1, Kind: topic, Target: topic, Nodes: []int32{3}, Role: topic, Trigger: topic, Asked: base + 8*second, Effective: base + 8*second + 1,
		HealAsked: base + 12*second, Healed: base + 12*second + second/10, Evidence: []history.Evidence{{Time: base + 8*second, Phase: "during", What: topic}}, Error: topic})
	for i := range 180 {
		at := base + 2*second + int64(i)*second/10
		r.Operation(&history.Operation{ID: fmt.Sprintf("p1.%d", i), Client: topic, Invoke: at, Complete: at + second/200, Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: topic, Producer: 1, Incarnation: 1, FirstSeq: uint64(5 * i), Count: 5, Offsets: []int64{int64(5 * i), int64(5*i + 1), int64(5*i + 2), int64(5*i + 3), int64(5*i + 4)}, Acked: -1, Acks: -1}})
	}
	r.Operation(&history.Operation{ID: "m1", Client: topic, Node: 2, Invoke: base + 9*second, Complete: base + 9*second + 1000, Outcome: history.Failed, Error: topic,
		Meta: &history.MetaOp{Kind: history.MetaWrite, Name: topic, Config: topic, Value: topic, Owner: "metadata"}})
	r.Metric(history.Metric{Time: base + 3*second, Interval: second, Acked: 50, Nodes: []history.NodeMetric{{Node: 1, Up: true, Memory: 20 << 20}}})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	rep := &checkers.Report{Format: 1, Run: run.ID, Outcome: checkers.Violated, Sentence: topic, Notes: []string{topic}, Verdicts: []checkers.Verdict{
		{Checker: checkers.SingleLeaderProposing, Outcome: checkers.Violated, Reason: topic, Checked: 5, CheckedWhat: topic,
			Violations: []checkers.Violation{{Kind: "check-by-follower", Sentence: "n2 checked " + topic, Time: base + 9*second, Nodes: []int32{2}, Faults: []int{1},
				Operations: []string{"m1", topic}, Evidence: []string{string(history.AppendEvent(nil, &wrong)), topic}}},
			Measures: []checkers.Measure{{Name: topic, Seen: 3, Needed: 4, Unit: topic}}},
		{Checker: topic, Outcome: checkers.Holds, Reason: topic, CheckedWhat: topic},
	}}
	return dir, run, rep
}

func draw(t *testing.T, in Input) string {
	t.Helper()
	page, err := Draw(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// Whatever names a cluster and its files hold, the page's elements are its own: hostile text stays text.
func TestHostileNamesStayText(t *testing.T) {
	dir, run, rep := record(t, hostile)
	page := draw(t, Input{Dir: dir, Run: run, Report: rep, Notes: []string{hostile}})
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("%d script elements, want the data's and the page's own", n)
	}
	for _, bad := range []string{"alert(1)</script>", `"'&<`, hostile} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("%q stands unescaped: …%s…", bad, page[max(0, i-80):min(len(page), i+80)])
		}
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the hostile name is not shown at all")
	}
	wellFormed(t, page)
}

// wellFormed reads the page's drawings as XML: an unclosed element in one would swallow what follows.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	for _, drawing := range regexp.MustCompile(`(?s)<svg class="(?:gutter|plot|row|bar|distribution|intervals|sends)".*?`).FindAllStringIndex(page, -1) {
		d := xml.NewDecoder(strings.NewReader(page[drawing[0]:]))
		depth := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				t.Fatal("a drawing has no end")
			}
			if err != nil {
				t.Fatalf("a drawing is no XML: %v near %q", err, page[drawing[0]+int(d.InputOffset()):][:80])
			}
			switch token.(type) {
			case xml.StartElement:
				depth++
			case xml.EndElement:
				depth--
			}
			if depth == 0 {
				break
			}
		}
	}
}

// The page asks for nothing from anywhere, and says so to the browser.
func TestPageIsAlone(t *testing.T) {
	dir, run, rep := record(t, "orders")
	page := draw(t, Input{Dir: dir, Run: run, Report: rep})
	if !strings.Contains(page, `content="default-src &#39;none&#39;`) {
		t.Error("the page has no policy that refuses everything else")
	}
	for _, bad := range []string{"http:", "https:", "src=", "@import", "url(data", " style=", "onclick", "onload"} {
		for _, at := range regexp.MustCompile(regexp.QuoteMeta(bad)).FindAllStringIndex(page, -1) {
			around := page[max(0, at[0]-40):min(len(page), at[1]+60)]
			if !strings.Contains(around, "http://www.w3.org/2000/svg") && !strings.Contains(around, "default-src") {
				t.Errorf("the page has %q: %s", bad, around)
			}
		}
	}
}

func TestPageTells(t *testing.T) {
	dir, run, rep := record(t, "orders")
	page := draw(t, Input{Dir: dir, Run: run, Report: rep})
	for _, want := range []string{
		"The cluster broke a promise: n2 checked orders. That was 9.000 s after the start. It was during fault 1: orders of n3 (orders).", // the verdict in a sentence
		`href="#violation-1"`, `id="violation-1"`, // the mark and its story
		"n2, a raft follower in term 1, checks who leads the partitions, which only the raft leader may do", // the evidence in words
		"n1 · ISR 3",            // leader and ISR
		"n1 leads raft in term", // raft's leader
		"memory",                // measured
		"soak run orders --seed 7",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if again := draw(t, Input{Dir: dir, Run: run, Report: rep}); again != page {
		t.Error("the same folder gives another page")
	}
}

// What goes wrong when no fault is active may well come of the one that has just ended: it is named.
func TestTheFaultThatHadJustEndedIsNamed(t *testing.T) {
	dir, run, rep := record(t, "orders")
	v := &rep.Verdicts[0].Violations[0]
	v.Time, v.Faults = base+12*second+second/5, nil
	if page := draw(t, Input{Dir: dir, Run: run, Report: rep}); strings.Count(page, "o fault was active (fault 1, orders of n3 (orders), had ended 100 ms before)") != 2 {
		t.Error("neither sentence nor story names the fault that had ended 100 ms before")
	}
}

// Half a folder gives half a page, which says what is missing.
func TestHalfWrittenFolders(t *testing.T) {
	whole, run, rep := record(t, "orders")
	for name, tc := range map[string]struct {
		break_ func(t *testing.T, dir string)
		in     Input
		want   []string
	}{
		"no description":  {in: Input{Report: rep, Notes: []string{"no run.json here"}}, want: []string{"no run.json here", "n1 leads raft in term 1", "8.500 s"}},
		"not judged":      {in: Input{Run: run}, want: []string{"NOT JUDGED", "soak check", "n1 leads raft in term 1"}},
		"nothing but run": {break_: remove(history.EventsFile, history.HistoryFile, history.FaultsFile, history.MetricsFile), in: Input{Run: run}, want: []string{"events.jsonl is missing", "history.jsonl is missing", "faults.jsonl is missing", "metrics.jsonl is missing"}},
		"nothing at all":  {break_: remove(history.EventsFile, history.HistoryFile, history.FaultsFile, history.MetricsFile), in: Input{}, want: []string{"events.jsonl is missing"}},
		"cut":             {break_: cut(history.EventsFile, 20), in: Input{Run: run, Report: rep}, want: []string{"the last line of events.jsonl is cut", "n1 leads raft in term 1"}},
		"damaged": {break_: damage(history.HistoryFile), in: Input{Run: run, Report: rep},
			want: []string{"history.jsonl has 1 damaged lines", "the first is line 2", "n1 leads raft in term 1", "895 acknowledged"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if tc.break_ != nil {
				tc.break_(t, dir)
			}
			tc.in.Dir = dir
			page := draw(t, tc.in)
			for _, want := range tc.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			wellFormed(t, page)
		})
	}
}

func remove(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		for _, n := range names {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func cut(name string, bytes int64) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		st, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			err = os.Truncate(filepath.Join(dir, name), st.Size()-bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func damage(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(b, []byte("\n"))
		lines[1] = []byte("{\"id\":\n")
		if err := os.WriteFile(path, bytes.Join(lines, nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Long runs are packed: their page is that of the same records in plain files.
func TestPackedRunsGiveTheSamePage(t *testing.T) {
	plain, run, rep := record(t, "orders")
	packed := t.TempDir()
	r, err := history.NewPackedRecorder(packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := history.ReadFolder(plain, history.Handler{
		Fault:     func(f *history.Fault) error { r.Fault(*f); return nil },
		Operation: func(op *history.Operation) error { r.Operation(op); return nil },
		Event:     func(e *history.Event) error { r.Event(*e); return nil },
		Metric:    func(m *history.Metric) error { r.Metric(*m); return nil },
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	of := func(dir string) string {
		// A packed file has another name, and a command to read it.
		return strings.NewReplacer(dir, "", "zstd -dc "+dir+"/events.jsonl.zst | ", "", " "+dir+"/events.jsonl", "").Replace(draw(t, Input{Dir: dir, Run: run, Report: rep}))
	}
	if of(packed) != of(plain) {
		t.Error("the pages differ")
	}
}

// The reader by hand and the general one see the same in everything that the recorder writes.
func TestScanOpAgreesWithTheGeneralReader(t *testing.T) {
	dir, _, _ := record(t, "orders")
	n := 0
	if _, err := history.ReadLines(dir, history.HistoryFile, func(line []byte) error {
		op, err := history.ParseOperation(line)
		if err != nil {
			return err
		}
		h, ok := scanOp(line)
		if op.Meta == nil && !ok {
			t.Errorf("not read: %s", line)
		}
		if want := headOf(op); ok && told(h) != told(want) {
			t.Errorf("got %s\nwant %s", told(h), told(want))
		}
		n++
		return nil
	}); err != nil || n < 100 {
		t.Fatalf("%d operations, %v", n, err)
	}
	for _, odd := range []string{``, `{}`, `{"id":"a\"b","node":1,"invoke":1,"outcome":"ok","produce":{}}`, `{"id":"a","node":1,"invoke":99999999999999999999,"outcome":"ok"}`} {
		if _, ok := scanOp([]byte(odd)); ok {
			t.Errorf("%q was read by hand", odd)
		}
	}
}

func told(h opHead) string {
	return fmt.Sprintf("%s %s %d %d %d %s %s %s %s %d %d", h.id, h.client, h.node, h.invoke, h.complete, h.outcome, h.err, h.kind, h.topic, h.partition, h.count)
}

func TestUpperBeginsASentence(t *testing.T) {
	for in, want := range map[string]string{"": "", "no fault": "No fault", "über": "Über", "n1": "N1"} {
		if got := upper(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
