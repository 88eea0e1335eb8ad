package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soak/checkers"
	"soak/history"
	"soak/results/report"
)

// referenceCopy is the reference run, or what its folder would hold had another thing come of it. It has no verdict yet.
func referenceCopy(t *testing.T, outcome checkers.Outcome) *Folder {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("reference")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{VerdictFile, JUnitFile, SummaryFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	run, err := history.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	switch outcome {
	case checkers.Inconclusive:
		run.Minimums.Intervals = 1_000_000
		if err := history.WriteRun(dir, run); err != nil {
			t.Fatal(err)
		}
	case checkers.Violated: // a record was acknowledged that no replica holds
		lost := &history.Operation{ID: "lost", Client: "produce-1", Invoke: run.Phases[1].Start + 1, Complete: run.Phases[1].Start + 2, Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: run.RecordTopics[0].Name, Producer: 1, FirstSeq: 900_000, Count: 1, Offsets: []int64{900_000}, Acks: -1}}
		line, err := json.Marshal(lost)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, history.HistoryFile)
		if err := os.WriteFile(path, []byte(readAll(t, path)+string(line)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Folder{path: dir}
}

// A report that cannot be drawn, or not be written, is told of, and changes nothing of what is judged.
func TestAReportThatFailsNeverChangesAVerdict(t *testing.T) {
	names := []string{VerdictFile, JUnitFile, SummaryFile}
	for _, outcome := range []checkers.Outcome{checkers.Holds, checkers.Violated, checkers.Inconclusive} {
		t.Run(outcome.String(), func(t *testing.T) {
			sound := referenceCopy(t, outcome)
			j, err := Judge(sound)
			if err != nil || j.Beside != nil {
				t.Fatal(err, j.Beside)
			}
			if j.Report.Outcome != outcome {
				t.Fatalf("the run is %s, want %s: %s", j.Report.Outcome, outcome, j.Report.Sentence)
			}
			for _, c := range []struct {
				name string
				do   func(*Folder)
				want string
			}{
				{"a folder stands in its place", func(f *Folder) {
					if err := os.Mkdir(filepath.Join(f.path, ReportFile), 0o755); err != nil {
						t.Fatal(err)
					}
				}, "writing "},
				{"drawing panics", func(f *Folder) {
					f.pen = func(report.Input) ([]byte, error) { panic("no such lane") }
				}, "drawing report.html: no such lane"},
				{"drawing fails", func(f *Folder) {
					f.pen = func(report.Input) ([]byte, error) { return nil, errors.New("too much for a page") }
				}, "too much for a page"},
			} {
				f := referenceCopy(t, outcome)
				c.do(f)
				j, err := Judge(f)
				if err != nil || j.Beside == nil || !strings.Contains(j.Beside.Error(), c.want) {
					t.Errorf("%s: got %v beside the verdict, want %q (%v)", c.name, j.Beside, c.want, err)
				}
				for _, name := range names {
					if readAll(t, filepath.Join(f.path, name)) != readAll(t, filepath.Join(sound.path, name)) {
						t.Errorf("%s: %s is not what it is with a report", c.name, name)
					}
				}
				left, err := filepath.Glob(filepath.Join(f.path, "*.tmp-*"))
				if err != nil || len(left) > 0 {
					t.Errorf("%s: left %v, %v", c.name, left, err)
				}
			}
		})
	}
}

// What cannot be drawn again leaves the report that there is.
func TestAReportThatFailsLeavesTheOldOne(t *testing.T) {
	f := makeRun(t, t.TempDir(), "0a00000000000000", noon)
	if _, err := f.Draw(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.path, ReportFile)
	old := []byte(readAll(t, path))
	f.pen = func(report.Input) ([]byte, error) { panic("no such lane") }
	if _, err := f.Draw(); err == nil {
		t.Error("a panic was passed over")
	}
	if now := []byte(readAll(t, path)); !bytes.Equal(now, old) {
		t.Errorf("the report of %d bytes has %d now", len(old), len(now))
	}
}
