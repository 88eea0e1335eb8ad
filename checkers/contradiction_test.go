package checkers

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"soak/history"
)

// The sentence names the read, the node that answered, the write that it contradicts and the raft entries of both; the evidence holds the write, however
// many operations lie between.
func TestAStaleAnswerNamesTheWriteThatItContradicts(t *testing.T) {
	ops := []history.Operation{create(1, 2, "a"), remove(3, 4)}
	ops[0].Meta.Index, ops[1].Meta.Index, ops[1].Node = 11, 15, 2
	for i := range int64(maxEvidence + 3) {
		ops = append(ops, misses(10+2*i, 11+2*i))
	}
	late := sees(100, 103, "a")
	late.Meta.Index, late.Node = 12, 3
	v, _ := judgeMeta(append(ops, late)...)
	wants(t, v, Violated, "n3 answered that topic t exists (topic id a). Before this was asked, n2 had acknowledged the deletion of just that topic, at 0.004 s (Unix time) (raft entry 15). "+
		"The answer is of the older state at raft entry 12", KindNotLinearizable)
	if e := v.Violations[0].Evidence; !slices.ContainsFunc(e, func(l string) bool { return strings.Contains(l, `"kind":"delete"`) }) {
		t.Errorf("the deletion is missing in the evidence: %q", e)
	}
	var all []*history.Operation
	for i := range ops {
		all = append(all, &ops[i])
	}
	all = append(all, &late)
	w, ok := Unexplained(all, 103e6)
	if !ok || len(w.Contradicts) != 2 || w.Contradicts[1].Words != "delete at n2 succeeded" {
		t.Errorf("window: %v, the answer contradicts %+v; want the creation and the deletion", ok, w.Contradicts)
	}
}

// Which topic an acknowledged deletion deleted is said only where it is sure: not if the name may have been deleted otherwise, or created again, before it.
func TestADeletionIsOfJustThatTopicWhereItIsSure(t *testing.T) {
	unsure := func(op history.Operation) history.Operation {
		op.Outcome = history.Unknown
		return op
	}
	refused := func(op history.Operation) history.Operation {
		op.Meta.Code = codeAlreadyExists
		return op
	}
	const just, some = "had acknowledged the deletion of just that topic", "had acknowledged a deletion of that name that came after its creation"
	for _, c := range []struct {
		name, says string
		ops        []history.Operation
	}{
		{"nothing between", just, []history.Operation{create(1, 2, "a"), remove(7, 8), sees(9, 10, "a")}},
		{"what surely did nothing", just, []history.Operation{create(1, 2, "a"), refused(create(3, 4, "")), remove(7, 8), sees(9, 10, "a")}},
		{"a deletion of unknown outcome, and a creation", some, []history.Operation{create(1, 2, "a"), unsure(remove(3, 4)), create(5, 6, "b"), remove(7, 8), sees(9, 10, "a")}},
		{"both of unknown outcome", some, []history.Operation{create(1, 2, "a"), unsure(remove(3, 4)), unsure(create(5, 6, "")), remove(7, 8), sees(9, 10, "a")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, _ := judgeMeta(c.ops...)
			wants(t, v, Violated, c.says, KindNotLinearizable)
			v, _ = judgeMeta(c.ops[:len(c.ops)-1]...)
			wants(t, v, Holds, "")
		})
	}
}

// What overlaps the question, or has no known outcome, may explain the answer: it is held against nobody.
func TestNoSoundAnswerIsSaidToContradictAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := soundTopic(t)
		var all []*history.Operation
		for i := range ops {
			all = append(all, &ops[i])
		}
		for _, c := range explainable(all) {
			if c.open {
				continue
			}
			if got := contradicts(upTo(explainable(all), c.ret), c, func(int64) string { return "" }); got.why != "" {
				t.Fatalf("%s: %s", c.words(), got.why)
			}
		}
	})
}
