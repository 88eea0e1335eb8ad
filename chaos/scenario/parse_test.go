package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

func TestEmbeddedScenarios(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != name || Describe(name) == "" || Describe(name) != s.Description {
				t.Errorf("name %q, description %q and %q", s.Name, s.Description, Describe(name))
			}
			if m := s.Minimums; m.Intervals != s.Intervals || len(s.Mix.Kinds) == 0 && m.Faults != len(s.Faults) || m.AckedRecords == 0 || m.MetaOps == 0 || m.MetaOverlaps == 0 || m.AutoCreated == 0 {
				t.Errorf("minimums do not ask for the whole scenario: %+v", m)
			}
			if len(s.Mix.Kinds) > 0 {
				for seed := range uint64(50) {
					if drawn := len(s.Drawn(seed).Faults); s.Minimums.Faults == 0 || drawn < s.Minimums.Faults {
						t.Errorf("seed %d draws %d faults, and %d have to be proven", seed, drawn, s.Minimums.Faults)
					}
				}
			}
			plain, err := s.Resolve(Flags{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, plain); diff != "" {
				t.Errorf("no flags changed it (-file +resolved):\n%s", diff)
			}
		})
	}
	// The design's numbers.
	quick, _ := Load("quick")
	want := history.Minimums{Intervals: 30, Faults: 6, LongFaults: 3, LeaderFaults: 2, LeaderChanges: 2, AckedRecords: 10000, MetaOps: 200, MetaOverlaps: 30, AutoCreated: 20}
	if diff := cmp.Diff(want, quick.Minimums); diff != "" {
		t.Errorf("quick's minimums (-design +file):\n%s", diff)
	}
	story, _ := Load("story")
	want = history.Minimums{Intervals: 10, Faults: 2, LongFaults: 2, LeaderFaults: 1, LeaderChanges: 1, AckedRecords: 5000, MetaOps: 100, MetaOverlaps: 10, AutoCreated: 10}
	if diff := cmp.Diff(want, story.Minimums); diff != "" {
		t.Errorf("story's minimums (-design +file):\n%s", diff)
	}
	if quick.ElectionInterval != 2*time.Second || story.ElectionInterval != 12*time.Second || quick.Nodes != 3 || story.Nodes != 3 {
		t.Errorf("quick: %s on %d nodes, story: %s on %d", quick.ElectionInterval, quick.Nodes, story.ElectionInterval, story.Nodes)
	}
	if limit := 60*time.Second + 35*time.Second; quick.Expected() > limit {
		t.Errorf("quick is expected to take %s, more than %s", quick.Expected(), limit)
	}
}

const small = `name: small
nodes: 3
topics:
  - name: orders
    partitions: 2
faults:
  - kind: kill
    target: raft-leader
    at: 3.3
`

func TestErrorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		name, from, to string // a change of small
		line, col      int
		msg, hint      string
	}{
		{"unknown field", "nodes: 3", "node: 3", 2, 1, `the scenario: unknown field "node"`, `did you mean "nodes"?`},
		{"unknown field in a fault", "    at: 3.3", "    att: 3.3", 9, 5, `fault 1: unknown field "att"`, `did you mean "at"?`},
		{"unknown field like none", "nodes: 3", "zzzzzzzz: 3", 2, 1, `unknown field "zzzzzzzz"`, "fields: name, description"},
		{"unknown kind", "kind: kill", "kind: kil", 7, 11, `fault 1: unknown kind "kil"`, `did you mean "kill"?`},
		{"kind that is none", "kind: kill", "kind: meteor", 7, 11, `fault 1: unknown kind "meteor"`, "known: kill"},
		{"unknown target", "raft-leader", "raft-ledaer", 8, 13, `fault 1: unknown target "raft-ledaer"`, `did you mean "raft-leader"?`},
		{"node that is not there", "raft-leader", "n4", 8, 13, "the cluster has 3 nodes", ""},
		{"partition that is not there", "raft-leader", "leader(orders-2)", 8, 13, "no record topic has that partition", ""},
		{"no target", "    target: raft-leader\n", "", 7, 5, "fault 1: it has no target", "targets: raft-leader"},
		{"no time", "    at: 3.3\n", "", 7, 5, "says neither at nor when", ""},
		{"bad time", "3.3", "soon", 9, 9, `"soon" is neither`, ""},
		{"negative time", "3.3", "-1", 9, 9, `"-1" is neither`, ""},
		{"clients of a kill", "    at: 3.3", "    at: 3.3\n    clients: true", 10, 14, "clients belongs to a fault of links", ""},
		{"isolating all", "kind: kill\n    target: raft-leader", "kind: partition\n    target: all", 8, 13, "leaves nobody", ""},
		{"not a number", "nodes: 3", "nodes: three", 2, 8, `nodes: "three" is not a whole number`, ""},
		{"out of range", "nodes: 3", "nodes: 2", 2, 8, "nodes: 2 is not between 3 and 9", ""},
		{"not a duration", "nodes: 3", "election_interval: 2", 2, 20, `"2" is not a duration`, "write it as in 2s"},
		{"does not fit", "nodes: 3", "intervals: 10\nduration: 15s", 3, 11, "10 intervals of 12s do not fit into 15s", ""},
		{"duplicate field", "nodes: 3", "nodes: 3\nnodes: 4", 3, 1, "already defined", ""},
		{"duplicate topic", "faults:", "  - name: orders\nfaults:", 6, 11, `two topics "orders"`, ""},
		{"reserved topic", "name: orders", "name: meta-1", 4, 11, `"meta-1" cannot be a record topic's name`, ""},
		{"partial replication", "    partitions: 2", "    replication: 2", 5, 18, "record topics have a replica on every node", "leave it out"},
		{"a retention too short", "    partitions: 2", "    retention: 5ms", 5, 16, "retention: 5ms is not between 100ms", ""},
		{"a retention of no bytes", "    partitions: 2", "    retention_bytes: 0", 5, 22, "retention_bytes: 0 is not between 1", ""},
		{"a segment too small", "    partitions: 2", "    segment_bytes: 100", 5, 20, "segment_bytes: 100 is not between 1024", ""},
		{"a retention check too often", "nodes: 3", "nodes: 3\nretention_check: 1ms", 3, 18, "retention_check: 1ms is not between 100ms", ""},
		{"a retention check for nothing", "nodes: 3", "nodes: 3\nretention_check: 1s", 3, 18, "no topic lets anything go", "give a topic retention"},
		{"bytes with a unit", "    partitions: 2", "    segment_bytes: 64KiB", 5, 20, `"64KiB" is not a whole number`, "65536 for 64 KiB"},
		{"a tab", "    partitions: 2", "\tpartitions: 2", 5, 1, "", "indented with a tab"},
		{"list in place of a field", "nodes: 3", "nodes: [3]", 2, 8, "want a single value", ""},
		{"field in place of a list", "topics:\n  - name: orders\n    partitions: 2", "topics:\n  name: orders", 4, 3, "topics: want a list", "dash"},
		{"a lifetime of plain producers", "faults:", "workloads: {produce: {lifetime: 5s}}\nfaults:", 6, 33, "only idempotent producers come and go", "idempotent: true"},
		{"a lifetime too short", "faults:", "workloads: {produce: {idempotent: true, lifetime: 5ms}}\nfaults:", 6, 51, "lifetime: 5ms is not between 100ms", ""},
		{"not YAML", "nodes: 3", "nodes: [3", 3, 1, "must be specified", ""},
		{"an alias", "nodes: 3", "nodes: *n", 2, 8, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(small, c.from, c.to, 1)
			if src == small {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("small.yaml", []byte(src))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.File != "small.yaml" || e.Line != c.line || e.Col != c.col || !strings.Contains(e.Msg, c.msg) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got  %v (hint %q)\nwant %d:%d %q (hint %q)", e, e.Hint, c.line, c.col, c.msg, c.hint)
			}
		})
	}
	if _, err := Parse("small.yaml", []byte(small)); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	for _, src := range []string{"", "# nothing\n", "- a\n", "just words\n", "a: 1\n---\nb: 2\n", "\x00", "topics: []\n"} {
		if _, err := Parse("x.yaml", []byte(src)); !errors.As(err, new(*Error)) {
			t.Errorf("%q: got %v, want an *Error", src, err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(small, "name: small\n", "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Load(path)
	if err != nil || s.Name != "mine" {
		t.Errorf("a file without a name: %+v, %v", s, err)
	}
	for word, hint := range map[string]string{"quik": `did you mean "quick"?`, "nothing-like-it": "scenarios: quick, story", dir: "schedule.yaml"} {
		var e *Error
		if _, err := Load(word); !errors.As(err, &e) || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: got %v, hint %q missing", word, err, hint)
		}
	}
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]Span{
		"3":             {Milli: 3000},
		"3.3":           {Milli: 3300},
		"0":             {},
		"2.5 intervals": {Milli: 2500},
		"1 interval":    {Milli: 1000},
		"0.125":         {Milli: 125},
		"6.5s":          {Fixed: 6500 * time.Millisecond},
		"1m":            {Fixed: time.Minute},
	} {
		got, err := parseSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := parseSpan(got.String()); err != nil || again != got {
			t.Errorf("%q: written as %q, read as %+v, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{"", ".", "3.", ".5", "1.2345", "-1", "-1s", "5s intervals", "intervals", "1e3", "+3", "99999999", "NaN", "١"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
	if got := Intervals(3300).In(2 * time.Second); got != 6600*time.Millisecond {
		t.Errorf("3.3 intervals of 2 s: %s", got)
	}
	if got, want := (Span{Milli: maxMilli}).In(time.Hour), 1_000_000*time.Hour; got != want {
		t.Errorf("the longest span overflows: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		src, _ := Source(name)
		f.Add(src)
	}
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("f.yaml", src)
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		again, err := Parse("f.yaml", s.YAML())
		if err != nil {
			t.Fatalf("its own YAML does not parse: %v\n%s", err, s.YAML())
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("its own YAML reads differently (-first +again):\n%s", diff)
		}
	})
}
