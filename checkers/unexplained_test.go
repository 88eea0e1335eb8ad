package checkers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"soak/history"
)

// A window begins where nothing was under way, names the states that were possible, and ends with the answer that none of them allows.
func TestUnexplained(t *testing.T) {
	for name, tc := range map[string]struct {
		ops    []history.Operation
		at     int64 // of the violation, ms
		before string
		window []string // "words → states"
	}{
		"a topic that is gone": {
			ops: []history.Operation{create(1, 2, "a"), set(3, 4, "5"), sees(5, 6, "a"), misses(7, 8)}, at: 8,
			before: "exists a retention.ms=5",
			window: []string{"describe at n1 answered that there is no such topic → !"},
		},
		"overlapping": {
			ops: []history.Operation{create(1, 2, "a"), set(3, 9, "5"), set(4, 8, "6"), get(5, 10, "7")}, at: 10,
			before: "exists a",
			window: []string{`config_set retention.ms="5" at n1 succeeded → exists a retention.ms=5`, `config_set retention.ms="6" at n1 succeeded → exists a retention.ms=6`,
				`config_get retention.ms at n1 answered "7" → !`},
		},
		"an unknown one may have been done": {
			ops: []history.Operation{create(1, 2, "a"), with(remove(3, 4), history.Unknown), sees(6, 7, "b")}, at: 7,
			before: "exists a", // the removal was under way
			window: []string{"delete at n1 has no known outcome → absent", "describe at n1 succeeded with topic id b → !"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ops []*history.Operation
			for i := range tc.ops {
				ops = append(ops, &tc.ops[i])
			}
			v, _ := judgeMeta(tc.ops...)
			if v.Outcome != Violated || v.Violations[0].Time != tc.at*1e6 {
				t.Fatalf("the checker says %v at %v", v.Outcome, v.Violations)
			}
			w, ok := Unexplained(ops, tc.at*1e6)
			if !ok {
				t.Fatal("no window")
			}
			if got := strings.Join(w.Before, " | "); got != tc.before {
				t.Errorf("before: %q, want %q", got, tc.before)
			}
			var got []string
			for _, o := range w.Operations {
				states := strings.Join(o.After, " | ")
				if o.Last {
					states = "!"
				}
				got = append(got, fmt.Sprintf("%s → %s", o.Words, states))
			}
			if !slices.Equal(got, tc.window) {
				t.Errorf("got %q\nwant %q", got, tc.window)
			}
		})
	}
	// What an order explains has no window, and neither has a time at which nothing was answered.
	sound := []history.Operation{create(1, 2, "a")}
	if _, ok := Unexplained([]*history.Operation{&sound[0]}, 77); ok {
		t.Error("a window without a last answer")
	}
}
