package campaign

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestATraceIsInOrderAndShowsWhatWasAskedFor(t *testing.T) {
	j := Job{Seed: 5, Scenario: string(small(t).YAML()), Bugs: []string{"cached-is-leader"}}
	whole, lines, err := Trace(j, TraceOptions{Kinds: Traces()})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, l := range lines {
		seen[l.Kind]++
		if i > 0 && l.At < lines[i-1].At {
			t.Fatalf("%s\ncomes after\n%s", l, lines[i-1])
		}
	}
	for _, k := range Traces() {
		if seen[k] == 0 {
			t.Errorf("no line of %s", k)
		}
	}
	one, few, err := Trace(j, TraceOptions{Kinds: []string{TraceRaft, TraceFault}, Node: 2, Until: 9 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(few) == 0 || len(one.Failures) != 0 || slices.ContainsFunc(few, func(l Line) bool {
		return l.At > 9*time.Second || l.Node != 0 && l.Node != 2 || l.Kind != TraceRaft && l.Kind != TraceFault || l.Node == 0 && !strings.Contains(l.Text, "n2")
	}) {
		t.Errorf("failures %+v, lines\n%v", one.Failures, few)
	}
	if plain, err := (Here{}).Do(j); err != nil || plain.Hash != whole.Hash {
		t.Errorf("%v: a trace gives the run %x, without one it is %x", err, whole.Hash, plain.Hash)
	}
}
