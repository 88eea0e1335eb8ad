package results

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"soak/checkers"
	"soak/history"
)

func exampleRun(id string) *history.Run {
	return &history.Run{
		Format: history.FormatVersion, ID: id, Version: "0.1.0", Scenario: "quick", Driver: "process", Seed: 7, Nodes: 3,
		ElectionInterval: 2e9, SessionTimeout: 1e9, Minimums: history.Minimums{Intervals: 10},
		Phases: []history.Phase{{Name: "start", Start: 1000e9, End: 1002e9}, {Name: "steady", Start: 1002e9, End: 1030e9}},
	}
}

// makeRun makes a run folder with a few records, as a run does.
func makeRun(t *testing.T, parent, id string, at time.Time) *Folder {
	t.Helper()
	f, err := create(parent, "quick", exampleRun(id), at)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := history.NewRecorder(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	rec.Event(history.Event{Node: 1, Boot: 1, Seq: 1, Time: 1000e9, Body: &history.Started{Version: "0.1.0", Nodes: []int32{1, 2, 3}}})
	rec.Event(history.Event{Node: 1, Boot: 1, Seq: 2, Time: 1001e9, Body: &history.RoleChange{Term: 1, Role: history.RoleLeader, Leader: 1}})
	rec.Fault(history.Fault{ID: 1, Kind: "kill", Target: "n2", Nodes: []int32{2}, Asked: 1003e9, Effective: 1003.1e9, Healed: 1006e9})
	for i, at := range []int64{1002e9, 1005.5e9, 1006e9} {
		rec.Operation(&history.Operation{ID: string(rune('a' + i)), Client: "produce-1", Invoke: at - 1e6, Complete: at, Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: "orders", Partition: 1, Producer: 1, FirstSeq: uint64(i), Count: 1, Offsets: []int64{int64(i)}, Acked: -1, Acks: -1}})
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func TestCreate(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "deep", "results")
	run := exampleRun("")
	f, err := create(parent, "../my scenario.yaml", run, noon)
	if err != nil {
		t.Fatal(err)
	}
	if want := "20260314T120000Z-my-scenario-" + run.ID[:8]; f.Name() != want || len(run.ID) != 16 {
		t.Errorf("the folder is %q, want %q", f.Name(), want)
	}
	if to, err := os.Readlink(filepath.Join(parent, Latest)); err != nil || to != f.Name() {
		t.Errorf("latest points at %q (%v), want %q: a relative link", to, err, f.Name())
	}
	if got, err := f.Run(); err != nil || got.ID != run.ID {
		t.Errorf("a runner that is killed now leaves no description: %+v, %v", got, err)
	}
	second, err := create(parent, "quick", exampleRun("0000000000000001"), noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if latest, err := Open(parent, Latest); err != nil || latest.Name() != second.Name() {
		t.Errorf("latest is %v (%v), want the second run", latest, err)
	}
	if err := second.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(parent, Latest)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the newest run was discarded the link is left: %v", err)
	}
	if _, err := os.Stat(second.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the discarded folder is left: %v", err)
	}
}

func TestOpen(t *testing.T) {
	parent := t.TempDir()
	first := makeRun(t, parent, "aabb000000000000", noon)
	second := makeRun(t, parent, "aacc000000000000", noon.Add(time.Minute))
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(parent, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ ref, want, problem string }{
		{Latest, second.Name(), ""},
		{first.Path(), first.Name(), ""},
		{first.Path() + "/", first.Name(), ""},
		{filepath.Join(parent, Latest), Latest, ""}, // a path is taken as it is
		{"aab", first.Name(), ""},
		{second.Name(), second.Name(), ""},
		{"20260314T12", "", "names 2 runs"},
		{"aa", "", "names 2 runs"},
		{"ff", "", `begins with "ff"`},
		{"", "", "an empty name"},
		{"./nothing/here", "", "there is no folder"},
		{file, "", "is a file"},
		{filepath.Join(parent, "other"), "", "is not a run folder"},
	} {
		f, err := Open(parent, c.ref)
		if c.problem == "" {
			if err != nil || f.Name() != c.want {
				t.Errorf("%q: %v, %v, want %s", c.ref, f, err, c.want)
			}
			continue
		}
		var p *Problem
		if !errors.As(err, &p) || !strings.Contains(p.Error(), c.problem) || p.Hint == "" {
			t.Errorf("%q: %v, want a problem with a hint: %s", c.ref, err, c.problem)
		}
	}
	if err := os.RemoveAll(second.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(parent, Latest); err == nil || !strings.Contains(err.Error(), "which is gone") {
		t.Errorf("latest points at nothing: %v", err)
	}
	if _, err := Open(filepath.Join(parent, "nowhere"), Latest); err == nil || !strings.Contains(err.Error(), "no latest run") {
		t.Errorf("no parent: %v", err)
	}
}

func TestList(t *testing.T) {
	parent := t.TempDir()
	if runs, err := List(filepath.Join(parent, "nowhere")); err != nil || len(runs) != 0 {
		t.Errorf("no folder: %v, %v", runs, err)
	}
	old := makeRun(t, parent, "0a00000000000000", noon)
	if _, err := Judge(old); err != nil {
		t.Fatal(err)
	}
	makeRun(t, parent, "0b00000000000000", noon.Add(time.Hour))
	broken := makeRun(t, parent, "0c00000000000000", noon.Add(2*time.Hour))
	if err := os.Remove(filepath.Join(broken.Path(), history.RunFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(parent, "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	runs, err := List(parent)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, r.ID+" "+r.Verdict+" "+r.Problem)
	}
	want := []string{"0c000000  no usable run.json", "0b000000  not judged", "0a000000 INCONCLUSIVE "}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("listed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Judging again gives the same bytes, and any change of the evidence that matters, or of the verdict, is told.
func TestJudgeAndCheck(t *testing.T) {
	f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
	j, err := Judge(f)
	if err != nil || j.Beside != nil {
		t.Fatal(err, j.Beside)
	}
	// Nothing has been proven here.
	if j.Report.Outcome != checkers.Inconclusive {
		t.Errorf("the verdict is %s, want INCONCLUSIVE", j.Report.Outcome)
	}
	for _, n := range []string{VerdictFile, JUnitFile, SummaryFile} {
		if b, err := os.ReadFile(filepath.Join(f.Path(), n)); err != nil || len(b) == 0 {
			t.Errorf("%s was not written: %v", n, err)
		}
	}
	stored, _ := os.ReadFile(filepath.Join(f.Path(), VerdictFile))
	c, err := Check(f)
	if err != nil || !c.Stored || !c.Same {
		t.Fatalf("checked: %+v, %v, want the same", c, err)
	}
	edited := strings.Replace(string(stored), "inconclusive", "holds", 1)
	if err := os.WriteFile(filepath.Join(f.Path(), VerdictFile), []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err = Check(f)
	if err != nil || c.Same || c.Report.Outcome != checkers.Inconclusive {
		t.Errorf("an edited verdict: %+v, %v, want a difference", c, err)
	}
	if b, _ := os.ReadFile(filepath.Join(f.Path(), VerdictFile)); string(b) != edited {
		t.Error("checking changed the stored verdict")
	}
	if err := os.Remove(filepath.Join(f.Path(), VerdictFile)); err != nil {
		t.Fatal(err)
	}
	c, err = Check(f)
	if err != nil || c.Stored {
		t.Errorf("no verdict: %+v, %v", c, err)
	}
	if b, _ := os.ReadFile(filepath.Join(f.Path(), VerdictFile)); string(b) != string(stored) {
		t.Errorf("the verdict written anew differs:\n%s\n%s", b, stored)
	}
}

func TestHalfWrittenFolders(t *testing.T) {
	t.Run("truncated last line", func(t *testing.T) {
		f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
		path := filepath.Join(f.Path(), history.EventsFile)
		if err := os.WriteFile(path, []byte(readAll(t, path)+`{"event":"ro`), 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := Judge(f)
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(j.Report.Notes, "\n"); !strings.Contains(notes, history.EventsFile) {
			t.Errorf("no note names the file that was cut: %q", notes)
		}
	})
	t.Run("damaged line", func(t *testing.T) {
		f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
		path := filepath.Join(f.Path(), history.EventsFile)
		if err := os.WriteFile(path, []byte("{nonsense}\n"+readAll(t, path)), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Judge(f)
		var p *Problem
		if !errors.As(err, &p) || !strings.Contains(p.Error(), history.EventsFile+":1") || p.Hint == "" {
			t.Errorf("got %v, want a problem that names file and line", err)
		}
	})
	t.Run("no run.json", func(t *testing.T) {
		f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
		if err := os.Remove(filepath.Join(f.Path(), history.RunFile)); err != nil {
			t.Fatal(err)
		}
		_, err := Judge(f)
		var p *Problem
		if !errors.As(err, &p) || !strings.Contains(p.Msg, "has no run.json") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("newer format", func(t *testing.T) {
		f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
		run := exampleRun("0a00000000000000")
		run.Format = history.FormatVersion + 1
		if err := history.WriteRun(f.Path(), run); err != nil {
			t.Fatal(err)
		}
		_, err := f.Run()
		var p *Problem
		if !errors.As(err, &p) || !strings.Contains(p.Hint, "version of soak") {
			t.Errorf("got %v", err)
		}
	})
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A picture that cannot be written is told, and the verdict stands; one that names another file of the folder is refused.
func TestPicturesNeverTouchTheVerdict(t *testing.T) {
	f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
	run, err := f.Run()
	if err != nil {
		t.Fatal(err)
	}
	rep := &checkers.Report{Format: 1, Run: run.ID, Outcome: checkers.Violated, Sentence: "broken"}
	before := readAll(t, filepath.Join(f.Path(), history.RunFile))
	err = f.writeBeside(run, rep, checkers.Pictures{"good.html": []byte("<p>"), "run.json": []byte("x"), "../up.html": []byte("x")})
	if err == nil || !strings.Contains(err.Error(), "run.json") || !strings.Contains(err.Error(), "../up.html") {
		t.Errorf("got %v, want both names refused", err)
	}
	if after := readAll(t, filepath.Join(f.Path(), history.RunFile)); after != before {
		t.Error("a picture replaced run.json")
	}
	if got := readAll(t, filepath.Join(f.Path(), "good.html")); got != "<p>" {
		t.Errorf("the good picture holds %q", got)
	}
	if got := readAll(t, filepath.Join(f.Path(), SummaryFile)); !strings.Contains(got, "# VIOLATED") {
		t.Errorf("the summary was not written beside a bad picture: %q", got)
	}
}

func TestFacts(t *testing.T) {
	f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
	run, err := f.Run()
	if err != nil {
		t.Fatal(err)
	}
	facts, err := f.Facts(run)
	if err != nil {
		t.Fatal(err)
	}
	want := Outage{Length: 3500 * time.Millisecond, Topic: "orders", Partition: 1, Fault: 1}
	if facts.Outage != want || facts.Acked != 3 || facts.Proven() != 1 || facts.ByID(1) == nil || facts.ByID(2) != nil {
		t.Errorf("got %+v, want the outage %+v", facts, want)
	}
}

// A gap counts only while or after a fault that was proven.
func TestOutageNeedsAFault(t *testing.T) {
	key := partitionKey{"orders", 0}
	acks := map[partitionKey][]int64{key: {20e9, 10e9, 30e9, 31e9}}
	for _, c := range []struct {
		name  string
		fault history.Fault
		want  time.Duration
	}{
		{"proven", history.Fault{ID: 1, Asked: 11e9, Effective: 12e9, Healed: 13e9}, 10 * time.Second},
		{"without evidence", history.Fault{ID: 1, Asked: 11e9, Healed: 13e9}, 0},
		{"over before", history.Fault{ID: 1, Asked: 1e9, Effective: 1e9, Healed: 9e9}, 0},
		{"never healed", history.Fault{ID: 1, Asked: 30.5e9, Effective: 30.6e9}, time.Second},
	} {
		if got := worstOutage(acks, []history.Fault{c.fault}).Length; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestDiskFull(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	if !DiskFull(errors.Join(errors.New("other"), full)) || DiskFull(os.ErrNotExist) || DiskFull(nil) {
		t.Error("a full disk is not told from other errors")
	}
}
