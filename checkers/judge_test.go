package checkers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

// folder writes a story as a run folder.
func folder(t *testing.T, s *story) string {
	t.Helper()
	dir := t.TempDir()
	r, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.events {
		r.Event(*e)
	}
	for _, op := range s.ops {
		r.Operation(op)
	}
	for _, f := range s.faults {
		r.Fault(*f)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// goodRun is a run that every checker holds to be sound.
func goodRun() *story {
	s := fullRun()
	s.commit(2, 2, topicCommand("create_topic", "of-the-leader"), 1, 2)
	for _, e := range s.events { // fullRun plants checks that coverage must not count; a sound run has none
		if c, ok := e.Body.(*history.LeaderCheck); ok && c.Role != history.RoleLeader {
			e.Body = &history.Stall{Nanos: 1}
		}
	}
	orders := history.PartitionChange{Topic: "orders", Leader: 2, ISR: []int32{1, 2}, Replicas: []int32{2, 1}}
	a := s.enter(2, 2, changes(createTopicCommand, orders), 1, 2)
	s.event(2, &history.Claim{What: "created", Key: "orders", Index: a.Index})
	s.view(2, "leader", 2, 0, 0, 8, 8)
	s.op(history.Operation{Client: "consume-1", Node: 2, Consume: &history.ConsumeOp{Topic: "orders", To: 8, High: 8, Spans: []history.Span{{Producer: 1, Incarnation: 1, Count: 8}}}})
	for _, op := range s.ops {
		if op.Produce != nil {
			op.Produce.Idempotent = true
		}
		if d := op.Drain; d != nil && d.To > d.From {
			d.Stretches = []history.Stretch{{From: d.From, To: d.To, Hash: 1}}
		}
	}
	// An early fault, whose end the first writes follow.
	s.faults = append([]*history.Fault{{ID: 4, Kind: "pause", Nodes: []int32{1}, Asked: 5, Effective: 6, HealAsked: 7, Healed: 8}}, s.faults...)
	return s
}

// needMore are the checkers that a run of some seconds does not suffice for.
var needMore = map[string]string{Progress: "not enough data", LatencyQuiet: "not enough data", Resources: "do not tell"}

func TestJudgeASoundRun(t *testing.T) {
	s := goodRun()
	r, pictures, err := Judge(folder(t, s), &s.run)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Verdicts {
		if why := needMore[v.Checker]; why != "" {
			if v.Outcome != NotApplicable || !strings.Contains(v.Reason, why) {
				t.Errorf("%s: %s: %s", v.Checker, v.Outcome, v.Reason)
			}
			continue
		}
		if v.Outcome != Holds || v.Checked == 0 || v.CheckedWhat == "" {
			t.Errorf("%s: %s, %d %s: %s", v.Checker, v.Outcome, v.Checked, v.CheckedWhat, v.Reason)
		}
	}
	if r.Outcome != Holds || r.ExitCode() != 0 || r.Sentence != fmt.Sprintf("16 checkers hold, %d not applicable", len(needMore)) || len(pictures) != 0 || len(r.Verdicts) != len(List()) {
		t.Errorf("got %+v, %d pictures", r, len(pictures))
	}
	// A folder without its metrics is judged, and says so.
	if len(r.Notes) != 0 {
		t.Errorf("notes: %v", r.Notes)
	}
}

func TestTheSameFolderGivesTheSameBytes(t *testing.T) {
	s := goodRun()
	s.check(1, 2, history.RoleFollower)
	s.op(misses(3000, 3001))
	s.op(create(3002, 3003, "z"))
	s.op(create(3004, 3005, "z"))
	dir := folder(t, s)
	var first []byte
	for range 3 {
		r, pictures, err := Judge(dir, &s.run)
		if err != nil || len(pictures[PictureLinearizable]) == 0 {
			t.Fatal(err, len(pictures))
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Fatal(cmp.Diff(string(first), string(data)))
		}
		var back Report
		if err := json.Unmarshal(data, &back); err != nil || cmp.Diff(*r, back) != "" {
			t.Fatal(err, cmp.Diff(*r, back))
		}
	}
}

func TestTheWorstVerdictWins(t *testing.T) {
	for _, c := range []struct {
		name     string
		more     func(s *story)
		outcome  Outcome
		exit     int
		sentence string
	}{
		{"violated", func(s *story) { s.check(1, 2, history.RoleFollower) }, Violated, 1, "single-leader-proposing: n1 ran a partition leader check"},
		{"violated by two", func(s *story) {
			s.event(1, &history.Propose{Term: 2, Role: history.RoleFollower, Outcome: history.ProposeRefused})
		}, Violated, 1, "; also zero-proposal-errors"},
		{"violated over a harness error", func(s *story) {
			s.check(1, 2, history.RoleFollower)
			s.run.HarnessError = "disk full"
		}, Violated, 1, "single-leader"},
		{"a harness error over inconclusive", func(s *story) { s.run.HarnessError = "disk full" }, Inconclusive, 4, "coverage: the harness failed: disk full"},
		{"inconclusive", func(s *story) { s.run.Minimums.Intervals = 30 }, Inconclusive, 3, "coverage: intervals 10 of 30"},
		{"inconclusive for many reasons", func(s *story) { s.run.Minimums.Intervals = 30; s.ops = nil }, Inconclusive, 3, "coverage: intervals 10 of 30"},
		{"not applicable counts for nothing", func(s *story) { s.run.Contract.Acks = 1 }, Holds, 0, fmt.Sprintf("14 checkers hold, %d not applicable", 2+len(needMore))},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := goodRun()
			c.more(s)
			r, _, err := Judge(folder(t, s), &s.run)
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != c.outcome || r.ExitCode() != c.exit || !strings.Contains(r.Sentence, c.sentence) {
				t.Errorf("got %s, exit %d: %s\nwant %s, exit %d: …%s…", r.Outcome, r.ExitCode(), r.Sentence, c.outcome, c.exit, c.sentence)
			}
		})
	}
	if r := (Report{Verdicts: []Verdict{{Outcome: NotApplicable}}}); true {
		if r.conclude(); r.Outcome != Inconclusive || r.ExitCode() != 3 {
			t.Errorf("only not applicable: %s", r.Outcome)
		}
	}
}

// faulty panics where it is told to.
type faulty struct {
	ledger
	event, finish, pictures, found bool
}

func (f *faulty) Event(*history.Event) {
	if f.found {
		f.violate(Violation{Kind: "k", Sentence: "something was found", Evidence: []string{"e"}})
	}
	if f.event {
		panic("an event it did not foresee")
	}
}

func (f *faulty) Finish() Verdict {
	if f.finish {
		panic("no way to finish")
	}
	return f.verdict(1, "things", "fine", nil)
}

func (f *faulty) Pictures() Pictures {
	if f.pictures {
		panic("no paint")
	}
	return Pictures{"a.html": []byte("a")}
}

func TestACheckerThatCrashesIsInconclusiveAndHidesNoOther(t *testing.T) {
	s := goodRun()
	dir := folder(t, s)
	for _, c := range []struct {
		name     string
		broken   faulty
		outcome  Outcome
		reason   string
		pictures int
	}{
		{"on an event", faulty{event: true}, Inconclusive, "the checker crashed: an event it did not foresee", 1},
		{"at the end", faulty{finish: true}, Inconclusive, "the checker crashed: no way to finish", 1},
		{"after a find", faulty{found: true, event: true}, Violated, "something was found; then the checker crashed", 1},
		{"while drawing", faulty{pictures: true}, Holds, "fine", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.broken.id = "faulty"
			other := &faulty{ledger: ledger{id: "other"}}
			r, pictures, err := judge(dir, &s.run, []Checker{&c.broken, other, newSingleLeader(&s.run)})
			if err != nil {
				t.Fatal(err)
			}
			if v := r.Verdicts[0]; v.Checker != "faulty" || v.Outcome != c.outcome || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("got %+v", v)
			}
			for _, v := range r.Verdicts[1:] {
				if v.Outcome != Holds {
					t.Errorf("%s was hidden: %+v", v.Checker, v)
				}
			}
			if len(pictures) != c.pictures {
				t.Errorf("%d pictures", len(pictures))
			}
		})
	}
}

func TestJudgeReadsWhatIsNotWhole(t *testing.T) {
	s := goodRun()
	dir := folder(t, s)
	events := filepath.Join(dir, history.EventsFile)
	whole, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(events, whole[:len(whole)-5], 0o600)
	os.Remove(filepath.Join(dir, history.HistoryFile))
	r, _, err := Judge(dir, &s.run)
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode() != 3 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "history.jsonl is missing") || !strings.Contains(r.Notes[1], "the last line of events.jsonl is cut") {
		t.Errorf("exit %d, notes %q", r.ExitCode(), r.Notes)
	}
	os.WriteFile(events, append([]byte("{edited\n"), whole...), 0o600)
	var damage *history.DamageError
	if _, _, err := Judge(dir, &s.run); !errors.As(err, &damage) || damage.Line != 1 {
		t.Errorf("an edited line: %v", err)
	}
}

// A runner that is killed has written whole lines, but not the operations under way: a creation that took effect and was not answered
// yet is missing where a description saw the topic.
func TestAKilledRunnersHistoryAccusesNobody(t *testing.T) {
	for _, c := range []struct {
		name    string
		run     func(*history.Run)
		outcome Outcome
		exit    int
	}{
		{"whole", func(*history.Run) {}, Violated, 1},
		{"killed, with the begin's description", func(r *history.Run) { r.Phases = nil }, Inconclusive, 3},
		{"killed in a phase", func(r *history.Run) { r.Phases[len(r.Phases)-1].End = 0 }, Inconclusive, 3},
		{"a disk that was full at a line's end", func(r *history.Run) { r.HarnessError = "recording to history.jsonl: no space left on device" }, Inconclusive, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := goodRun()
			s.op(misses(3000, 3001))
			s.op(sees(3002, 3003, "z"))
			s.op(sees(3004, 3005, "y"))                                                  // goodRun has one creation of unknown outcome, which explains one of the two
			l := &ledgerStory{story: s, logs: map[int32][]record{2: {8: {producer: 5}}}} // nor is the send of this record there
			if c.outcome != Violated {
				l.drain(2, 8, 9, 9, true)
				l.drain(1, 8, 8, 9, true)
			}
			c.run(&s.run)
			r, _, err := Judge(folder(t, s), &s.run)
			if err != nil || r.Outcome != c.outcome || r.ExitCode() != c.exit {
				t.Errorf("%v; %s, exit %d: %s; want %s, exit %d", err, r.Outcome, r.ExitCode(), r.Sentence, c.outcome, c.exit)
			}
			for _, n := range r.Notes {
				t.Errorf("a note of a line that is cut: %q", n)
			}
		})
	}
}

func TestLiveCheckersAreThoseThatSaySo(t *testing.T) {
	live := map[string]bool{}
	for _, c := range NewLive(&history.Run{}) {
		live[c.ID()] = true
	}
	want := map[string]bool{SingleLeaderProposing: true, ZeroProposalErrors: true, MetadataAgreement: true, NoCrash: true}
	if d := cmp.Diff(want, live); d != "" {
		t.Error(d)
	}
	for i, c := range New(&history.Run{}) {
		info := List()[i]
		if c.ID() != info.ID || info.What == "" || info.Live != live[info.ID] {
			t.Errorf("%s is listed as %+v", c.ID(), info)
		}
		// What saw nothing never passes.
		if v := c.Finish(); v.Outcome == Holds || v.Outcome == Violated {
			t.Errorf("%s: %s on an empty history", v.Checker, v.Outcome)
		}
	}
}

func TestOutcomesInText(t *testing.T) {
	for o, want := range map[Outcome][2]string{
		Inconclusive: {"INCONCLUSIVE", "inconclusive"}, Holds: {"HOLDS", "holds"}, Violated: {"VIOLATED", "violated"}, NotApplicable: {"NOT APPLICABLE", "not-applicable"},
	} {
		text, err := o.MarshalText()
		var back Outcome
		if err != nil || o.String() != want[0] || string(text) != want[1] || back.UnmarshalText(text) != nil || back != o {
			t.Errorf("%d: %s, %s, %v", o, o, text, err)
		}
	}
	var o Outcome
	if o.UnmarshalText([]byte("passed")) == nil {
		t.Error("an unknown outcome was taken")
	}
	if _, err := Outcome(9).MarshalText(); err == nil {
		t.Error("an unknown number was written")
	}
}

// Checkers are judged one after the other: what one took must not stay beside what the next takes.
func TestWhatJudgingTookIsGivenBack(t *testing.T) {
	s := newStory()
	for i := range uint64(20) {
		s.op(history.Operation{Client: "p", Produce: &history.ProduceOp{Topic: "orders", Producer: 1, Incarnation: 1, FirstSeq: i, Count: 1, Acks: -1, Acked: -1, Offsets: []int64{int64(i)}}})
	}
	order, late := newRecordOrder(alone(&s.run)), newRecovery(alone(&s.run))
	for _, c := range []Checker{order, late} {
		g := guard{checker: c}
		for _, op := range s.ops {
			c.Operation(op)
		}
		if v := g.finish(time.Minute); g.why != "" {
			t.Fatal(v.Reason)
		}
	}
	if order.acked != nil || order.numbers[0] != nil {
		t.Error("record-order keeps what it knew of its last partition")
	}
	if late.writes != nil || late.sent != nil {
		t.Error("recovery keeps what it knew of its last partition")
	}
}
