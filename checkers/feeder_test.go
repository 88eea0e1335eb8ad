package checkers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

// What is fed from memory, in another mixture of kinds, gives the report of the folder.
func TestAFeederReportsWhatTheFolderGives(t *testing.T) {
	s := goodRun()
	s.check(1, 2, history.RoleFollower)
	s.op(misses(3000, 3001))
	s.op(create(3002, 3003, "z"))
	s.op(create(3004, 3005, "z"))
	want, _, err := Judge(folder(t, s), &s.run)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFeeder(&s.run)
	var early []string
	for _, e := range s.events {
		f.Event(e)
	}
	f.Violations(func(checker string, v *Violation) bool { early = append(early, checker+" "+v.Kind); return false })
	for _, x := range s.faults {
		f.Fault(x)
	}
	for _, op := range s.ops {
		f.Operation(op)
	}
	got := f.Report()
	got.Notes, want.Notes = nil, nil // the folder says which files it lacks
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if want.Outcome != Violated || len(early) != 1 || early[0] != SingleLeaderProposing+" "+want.Verdicts[0].Violations[0].Kind {
		t.Errorf("%s; found before the end: %q", want.Outcome, early)
	}
}
