package results

import (
	"os"
	"path/filepath"
	"testing"

	"soak/checkers"
)

// The committed reference run gives its committed verdict, byte for byte: whoever changes a checker sees here what it says of a real run,
// and whoever changes the format that an older folder still opens.
func TestTheReferenceRunGivesItsVerdict(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("reference")); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, VerdictFile))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open("", dir)
	if err != nil {
		t.Fatal(err)
	}
	j, err := Judge(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, VerdictFile))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Fatalf("the reference run's verdict has changed: it is now\n%s", got)
	}
	if j.Report.Outcome != checkers.Holds {
		t.Fatalf("the reference run %v: %s", j.Report.Outcome, j.Report.Sentence)
	}
}
