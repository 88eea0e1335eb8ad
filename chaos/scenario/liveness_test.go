package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLivenessIsReadAndWritten(t *testing.T) {
	s := written(t, "core.yaml", "nodes: 5\nliveness: {core: n1+n3+n4, others: partition, bound: 20s}")
	if diff := cmp.Diff(Liveness{Core: []int32{1, 3, 4}, Others: "partition", Bound: 20 * time.Second}, s.Liveness); diff != "" {
		t.Error(diff)
	}
	again, err := Parse("again.yaml", s.YAML())
	if err != nil {
		t.Fatalf("%v\n%s", err, s.YAML())
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("it reads differently (-first +read):\n%s", diff)
	}
	if _, err := s.Resolve(Flags{Nodes: 3}); err == nil || !strings.Contains(err.Error(), "the cluster has 3 nodes") {
		t.Errorf("with fewer nodes: %v", err)
	}
}

func TestCoresThatCannotBe(t *testing.T) {
	for lines, want := range map[string]string{
		"liveness: {core: n1}":                       "1 of 3 nodes are no majority",
		"liveness: {core: n1+n2+n3}":                 "nobody is left",
		"liveness: {core: n1+n4}":                    "the cluster has 3 nodes",
		"liveness: {core: raft-leader}":              "want a majority of the nodes by name",
		"liveness: {others: kill}":                   "want a majority",
		"liveness: {core: n1+n2, others: slow-disk}": "unknown",
		"liveness: {core: n1+n2, kind: kill}":        "unknown field",
	} {
		_, err := Parse("x.yaml", []byte(lines+"\ntopics: [{name: a}]\nworkloads: {produce: {}}\n"))
		var refusal *Error
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Msg, want) {
			t.Errorf("%s: got %v, want %q", lines, err, want)
		}
	}
}
