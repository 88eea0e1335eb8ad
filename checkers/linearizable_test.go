package checkers

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"soak/history"
)

// meta is an operation on the topic "t" from call to ret (milliseconds).
func meta(kind string, call, ret int64, m history.MetaOp) history.Operation {
	m.Kind, m.Owner = kind, "metadata"
	if m.Name == "" {
		m.Name = "t"
	}
	return history.Operation{Client: fmt.Sprint(kind, call), Node: 1, Invoke: call * 1e6, Complete: ret * 1e6, Outcome: history.OK, Meta: &m}
}

func create(call, ret int64, id string) history.Operation {
	return meta(history.MetaCreate, call, ret, history.MetaOp{TopicID: id})
}

func remove(call, ret int64) history.Operation {
	return meta(history.MetaDelete, call, ret, history.MetaOp{})
}

func sees(call, ret int64, id string) history.Operation {
	return meta(history.MetaDescribe, call, ret, history.MetaOp{Exists: true, TopicID: id})
}

func misses(call, ret int64) history.Operation {
	return meta(history.MetaDescribe, call, ret, history.MetaOp{Code: codeUnknownTopic})
}

func set(call, ret int64, value string) history.Operation {
	return meta(history.MetaWrite, call, ret, history.MetaOp{Config: "retention.ms", Value: value})
}

func get(call, ret int64, value string) history.Operation {
	return meta(history.MetaRead, call, ret, history.MetaOp{Config: "retention.ms", Value: value})
}

func coded(op history.Operation, code int16) history.Operation { op.Meta.Code = code; return op }

func with(op history.Operation, o history.Outcome) history.Operation { op.Outcome = o; return op }

func judgeMeta(ops ...history.Operation) (Verdict, *linearizable) {
	s := newStory()
	s.run.Minimums.MetaOps = 1
	for _, op := range ops {
		s.op(op)
	}
	c := newLinearizable(&s.run)
	return feed(c, s), c
}

func TestLinearizableAccepts(t *testing.T) {
	for name, ops := range map[string][]history.Operation{
		"a life":                    {misses(1, 2), create(3, 4, "a"), sees(5, 6, "a"), set(7, 8, "5"), get(9, 10, "5"), remove(11, 12), misses(13, 14)},
		"the matching errors":       {coded(remove(1, 2), codeUnknownTopic), coded(set(3, 4, "1"), codeUnknownTopic), coded(get(5, 6, ""), codeUnknownTopic), create(7, 8, "a"), coded(create(9, 10, ""), codeAlreadyExists)},
		"overlap in either order":   {create(1, 9, "a"), misses(2, 3), sees(4, 5, "a"), coded(create(6, 8, ""), codeAlreadyExists)},
		"a new topic's own id":      {create(1, 2, "a"), remove(3, 4), create(5, 6, "b"), sees(7, 8, "b"), get(9, 10, "")},
		"unknown and done":          {with(create(1, 2, ""), history.Unknown), sees(3, 4, "a"), sees(5, 6, "a")},
		"unknown and done late":     {with(create(1, 2, ""), history.Unknown), misses(3, 4), sees(5, 6, "a")},
		"unknown and never done":    {with(create(1, 2, ""), history.Unknown), misses(3, 4), misses(5, 6)},
		"a delete that never ended": {create(1, 2, "a"), with(remove(3, 0), history.Unknown), sees(5, 6, "a"), misses(7, 8)},
		"an unknown write":          {create(1, 2, "a"), with(set(3, 4, "7"), history.Unknown), get(5, 6, ""), get(7, 8, "7")},
		"a failed create":           {with(create(1, 2, "x"), history.Failed), misses(3, 4)},
		"a read without an answer":  {create(1, 2, "a"), with(misses(3, 4), history.Unknown), sees(5, 6, "a")},
		"an answer that tells nothing": {
			create(1, 2, "a"), coded(remove(3, 4), 42), sees(5, 6, "a"),
		},
		"settings of the creation": {
			meta(history.MetaCreate, 1, 2, history.MetaOp{TopicID: "a", Configs: map[string]string{"retention.ms": "9"}}), get(3, 4, "9"), set(5, 6, ""), get(7, 8, ""),
		},
		"two names apart": {create(1, 2, "a"), meta(history.MetaDescribe, 3, 4, history.MetaOp{Name: "u", Code: codeUnknownTopic})},
		"many unknown writes nobody read": append(slices.Repeat([]history.Operation{with(set(3, 4, "1"), history.Unknown)}, 3*maxOpen),
			create(1, 2, "a"), get(5, 6, "")),
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := judgeMeta(ops...)
			wants(t, v, Holds, "some order explains every answer")
		})
	}
}

// The verdict's sentence is of the earliest wrong answer, whatever its topic is called.
func TestLinearizableTellsTheFirstFirst(t *testing.T) {
	named := func(op history.Operation) history.Operation { op.Meta.Name = "a"; return op }
	v, _ := judgeMeta(create(1, 2, "x"), misses(3, 4), named(create(5, 6, "y")), named(misses(7, 8)))
	wants(t, v, Violated, "n1 answered that there is no such topic as t.", KindNotLinearizable, KindNotLinearizable)
	if v.Violations[0].Time != 4e6 || v.Violations[1].Time != 8e6 {
		t.Errorf("at %d and %d", v.Violations[0].Time, v.Violations[1].Time)
	}
}

func TestLinearizableRefuses(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		ops          []history.Operation
	}{
		{"a lost creation", "n1 answered that there is no such topic as t. Before this was asked, n1 had acknowledged its creation, at 0.002 s (Unix time). Nobody had deleted it since",
			[]history.Operation{create(1, 2, "a"), misses(3, 4), sees(5, 6, "a")}},
		{"a stale describe", "n1 answered that topic t exists (topic id a). Before this was asked, n1 had acknowledged the deletion of just that topic, at 0.004 s (Unix time)", []history.Operation{create(1, 2, "a"), remove(3, 4), sees(5, 6, "a")}},
		{"created twice", "n1 acknowledged the creation of topic t (topic id b). Before this was asked, n1 had acknowledged a creation of that name", []history.Operation{create(1, 2, "a"), create(3, 4, "b")}},
		{"exists already, but does not", "exists already", []history.Operation{coded(create(1, 2, ""), codeAlreadyExists)}},
		{"deleted twice", "n1 acknowledged the deletion of topic t. Before this was asked, n1 had acknowledged the topic's deletion, at 0.004 s (Unix time). Nobody had created it again", []history.Operation{create(1, 2, "a"), remove(3, 4), remove(5, 6)}},
		{"another topic's id", "topic id b", []history.Operation{create(1, 2, "a"), sees(3, 4, "b")}},
		{"an id of the life before", "topic id a", []history.Operation{create(1, 2, "a"), remove(3, 4), with(create(5, 6, ""), history.Unknown), sees(7, 8, "a")}},
		{"a lost write", `n1 answered that retention.ms of topic t is "". Before this was asked, n1 had acknowledged "7" as its value`, []history.Operation{create(1, 2, "a"), set(3, 4, "7"), get(5, 6, "")}},
		{"a stale read", `is "1". Before this was asked, n1 had acknowledged "2" as its value, at 0.006 s (Unix time). Nobody had written "1" again`, []history.Operation{create(1, 2, "a"), set(3, 4, "1"), set(5, 6, "2"), get(7, 8, "1")}},
		{"a stale read beside a write that nobody could have read so soon", `is "1". Before this was asked, n1 had acknowledged "2" as its value, at 0.006 s (Unix time). Nobody had written "1" again`,
			[]history.Operation{create(1, 2, "a"), set(3, 4, "1"), set(5, 6, "2"), set(7, 10, "3"), get(7, 8, "1")}},
		{"a stale read after a creation without an answer", `is "1". Before this was asked, n1 had acknowledged "2" as its value, at 0.006 s (Unix time). Nobody had written "1" again`,
			[]history.Operation{create(1, 2, "a"), set(3, 4, "1"), with(create(4, 5, ""), history.Unknown), set(5, 6, "2"), get(7, 8, "1")}},
		{"a value that nobody wrote", `is "9". Nobody had written that value`, []history.Operation{create(1, 2, "a"), get(3, 4, "9")}},
		{"settings that survive a deletion", `is "1". That contradicts what was answered before: no order of the first 5 operations on this topic explains all of their answers`, []history.Operation{create(1, 2, "a"), set(3, 4, "1"), remove(5, 6), create(7, 8, "b"), get(9, 10, "1")}},
		{"a failed create that took effect", "(topic id x). No creation of it had been acknowledged, and none was under way", []history.Operation{with(create(1, 2, ""), history.Failed), sees(3, 4, "x")}},
		{"an unknown create that comes and goes", "no such topic", []history.Operation{with(create(1, 2, ""), history.Unknown), sees(3, 4, "a"), misses(5, 6)}},
		{"concurrent reads that disagree on the order", "no such topic",
			[]history.Operation{create(1, 9, "a"), sees(2, 3, "a"), misses(4, 5)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, checker := judgeMeta(c.ops...)
			wants(t, v, Violated, c.reason, KindNotLinearizable)
			if len(v.Violations) == 1 && (len(v.Violations[0].Operations) == 0 || v.Violations[0].Time == 0) {
				t.Errorf("a violation without operations or time: %+v", v.Violations[0])
			}
			page := checker.Pictures()[PictureLinearizable]
			if !bytes.Contains(page, []byte("<html")) {
				t.Errorf("no picture: %.100q", page)
			}
		})
	}
}

func TestLinearizableCannotTell(t *testing.T) {
	var many []history.Operation
	for i := range int64(maxOpen + 1) {
		many = append(many, with(remove(2*i+1, 2*i+2), history.Unknown))
	}
	v, _ := judgeMeta(append(many, misses(1, 2))...)
	wants(t, v, Inconclusive, "t has 13 operations of unknown outcome")

	v, _ = judgeMeta()
	wants(t, v, Inconclusive, "no answered metadata operation")
	wants(t, newLinearizable(&history.Run{}).Finish(), NotApplicable, "no metadata workload")

	// A search that runs out of its steps says so, whatever it would have found.
	s := newStory()
	c := newLinearizable(&s.run)
	c.steps = stepsInAll - 1
	for _, op := range []history.Operation{create(1, 2, "a"), misses(3, 4)} {
		s.op(op)
	}
	wants(t, feed(c, s), Inconclusive, "ran out of its budget")
}

// One broken name is named though another cannot be judged.
// TestLinearizableForgivesTheEndOfACutHistory: the creation that explains the last answer may have been lost with the end. What was answered
// long before cannot be explained so.
func TestLinearizableForgivesTheEndOfACutHistory(t *testing.T) {
	judge := func(cut bool, ops ...history.Operation) Verdict {
		s := newStory()
		c := newLinearizable(&s.run)
		for _, op := range ops {
			s.op(op)
		}
		if cut {
			c.incomplete(history.Notes{Truncated: []string{history.HistoryFile}})
		}
		return feed(c, s)
	}
	lost := []history.Operation{misses(1*second, 2*second), misses(15*second, 16*second), sees(17*second, 18*second, "a")}
	wants(t, judge(false, lost...), Violated, "topic id a", KindNotLinearizable)
	wants(t, judge(true, lost...), Inconclusive, "the history is cut: its last 10s cannot be judged")
	early := []history.Operation{sees(1*second, 2*second, "a"), misses(15*second, 16*second)}
	wants(t, judge(true, early...), Violated, "topic id a", KindNotLinearizable)
}

func TestLinearizableNamesWhatIsBroken(t *testing.T) {
	ops := []history.Operation{create(1, 2, "a"), misses(3, 4)}
	for i := range int64(maxOpen + 1) {
		op := with(remove(2*i+1, 2*i+2), history.Unknown)
		op.Meta.Name = "a-hopeless-name"
		ops = append(ops, op)
	}
	v, _ := judgeMeta(ops...)
	wants(t, v, Violated, "no such topic as t", KindNotLinearizable)
	if got := v.Violations[0].Operations; !slices.Equal(got, []string{"op1", "op2"}) {
		t.Errorf("operations %v", got)
	}
}

// Names that are auto-created too, and topics of the set-up alone, are no business of this checker.
func TestLinearizablePassesOverWhatItCannotKnow(t *testing.T) {
	setup := misses(1, 2)
	setup.Meta.Name, setup.Meta.Owner = "orders", "setup"
	auto := sees(1, 2, "x")
	auto.Meta.Name = "auto"
	v, _ := judgeMeta(setup, auto, history.Operation{Create: &history.AutoCreateOp{Topic: "auto"}}, create(1, 2, "a"))
	wants(t, v, Holds, "1 topic name")
}

// soundTopic draws operations of a sound cluster: each takes effect at an instant between its call and its answer, or, if its
// outcome is unknown, later or never.
func soundTopic(t *rapid.T) []history.Operation {
	var ops []history.Operation
	state, ids, unknown := topicState{}, 0, 0
	var pending []history.Operation // unknown ones that have not taken effect yet
	for i := range int64(rapid.IntRange(1, 40).Draw(t, "operations")) {
		at := (i + 10) * 10
		call, ret := at-rapid.Int64Range(0, 35).Draw(t, "before"), at+rapid.Int64Range(1, 35).Draw(t, "after")
		if len(pending) > 0 && rapid.IntRange(0, 3).Draw(t, "late") == 0 {
			state = effect(state, pending[0].Meta)
			pending = pending[1:]
		}
		var op history.Operation
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			ids++
			if op = create(call, ret, fmt.Sprint("id", ids)); state.exists {
				op = coded(create(call, ret, ""), codeAlreadyExists)
			}
		case 1:
			op = remove(call, ret)
		case 2:
			op = set(call, ret, fmt.Sprint(i))
		case 3:
			op = sees(call, ret, state.id)
		case 4:
			op = get(call, ret, state.config("retention.ms"))
		}
		if !state.exists && op.Meta.Kind != history.MetaCreate {
			op = coded(op, codeUnknownTopic)
			op.Meta.Exists = false
		}
		if unknown < 5 && op.Meta.Kind != history.MetaDescribe && op.Meta.Kind != history.MetaRead && rapid.IntRange(0, 6).Draw(t, "lose") == 0 {
			// The client never learns the id; that of the state stays what the broker gave.
			unknown++
			told := *op.Meta
			told.TopicID, told.Code = "", 0
			lost := with(op, history.Unknown)
			lost.Meta = &told
			ops = append(ops, lost)
			if op.Meta.Kind == history.MetaCreate {
				op.Meta.TopicID = fmt.Sprint("lost", ids)
			}
			op.Meta.Code = 0
			if rapid.Bool().Draw(t, "at once") {
				state = effect(state, op.Meta)
			} else if rapid.Bool().Draw(t, "ever") {
				pending = append(pending, op)
			}
			continue
		}
		if op.Meta.Code == 0 {
			state = effect(state, op.Meta)
		}
		ops = append(ops, op)
	}
	return ops
}

func TestLinearizableAcceptsEverySoundTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := append(soundTopic(t), create(1, 2, "begin"))
		ops[len(ops)-1].Meta.Name = "other"
		if v, _ := judgeMeta(ops...); v.Outcome != Holds {
			t.Fatalf("%s: %s", v.Outcome, v.Reason)
		}
	})
}

func TestLinearizableRefusesEveryMutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := soundTopic(t)
		// After everything is over, two reads that contradict each other, or one of what was never there.
		const late = 100_000
		switch rapid.IntRange(0, 3).Draw(t, "mutation") {
		case 0:
			ops = append(ops, create(late, late+1, "z"), remove(late+2, late+3), sees(late+4, late+5, "z"))
		case 1:
			ops = append(ops, get(late, late+1, "never written"))
		case 2:
			ops = append(ops, create(late, late+1, "y"), create(late+2, late+3, "z"))
			ops = slices.DeleteFunc(ops, func(op history.Operation) bool { return op.Outcome == history.Unknown })
		case 3:
			ops = append(ops, sees(late, late+1, "y"), sees(late+2, late+3, "z"))
			ops = slices.DeleteFunc(ops, func(op history.Operation) bool { return op.Outcome == history.Unknown })
		}
		// Two ids that nobody was given, one after the other, need an unknown deletion and creation between: there are none.
		v, _ := judgeMeta(ops...)
		if v.Outcome != Violated {
			t.Fatalf("%s: %s", v.Outcome, v.Reason)
		}
	})
}

// The workload's size: 200 operations of six clients on a name, five unknown.
func TestLinearizableKeepsToItsBudget(t *testing.T) {
	var ops []history.Operation
	for i := range int64(200) {
		call, ret := i*10, i*10+65
		switch {
		case i == 0:
			ops = append(ops, create(-20, -10, "a"))
		case i%40 == 7:
			ops = append(ops, with(remove(call, ret), history.Unknown))
		case i%3 == 0:
			ops = append(ops, set(call, ret, fmt.Sprint(i)))
		default:
			ops = append(ops, sees(call, ret, "a"))
		}
	}
	for _, last := range []history.Operation{sees(10_000, 10_001, "a"), get(10_000, 10_001, "never written")} {
		v, c := judgeMeta(append(slices.Clone(ops), last)...)
		if v.Outcome == Inconclusive || strings.Contains(v.Reason, "budget") {
			t.Errorf("%s: %s", v.Outcome, v.Reason)
		}
		t.Logf("%s after %d steps", v.Outcome, c.steps)
	}
}
