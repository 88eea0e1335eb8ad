package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"soak/checkers"
	"soak/history"
)

// Judged is what came of judging a folder. The pictures and reports beside the verdict may have failed without it:
// Beside says which, nil if none did.
type Judged struct {
	Report *checkers.Report
	Beside error
}

// Judge has the checkers read the folder and writes what they say: first verdict.json, then the pictures,
// junit.xml and summary.md. The same evidence gives the same bytes of verdict.json. The report is returned even
// where a file could not be written; the error then is that of verdict.json alone.
func Judge(f *Folder) (*Judged, error) {
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	return JudgeRun(f, run)
}

// JudgeRun is Judge for a caller that has the run's description at hand, perhaps because a full disk kept it from being
// written.
func JudgeRun(f *Folder, run *history.Run) (*Judged, error) {
	rep, pictures, err := checkers.Judge(f.path, run)
	if err != nil {
		return nil, &Problem{Msg: "reading the records of " + f.path, Err: err,
			Hint: "a damaged record is never passed over, or a verdict would rest on what is missing; restore the file, or run again"}
	}
	j := &Judged{Report: rep}
	b, err := encodeReport(rep)
	if err != nil {
		return j, err
	}
	if err := f.write(VerdictFile, b); err != nil {
		return j, err
	}
	j.Beside = f.writeBeside(run, rep, pictures)
	return j, nil
}

// Checked is what judging a stored folder again gave.
type Checked struct {
	Report *checkers.Report
	Stored bool // there was a verdict to compare with
	Same   bool // it was the same, byte for byte
}

// Check judges a stored folder again and compares the verdict with the stored one, byte for byte. It changes no
// verdict that is there; where none is (the runner was killed before it judged), it writes what Judge writes.
func Check(f *Folder) (*Checked, error) {
	stored, err := os.ReadFile(filepath.Join(f.path, VerdictFile))
	if errors.Is(err, fs.ErrNotExist) {
		j, err := Judge(f)
		if j == nil {
			return nil, err
		}
		return &Checked{Report: j.Report}, errors.Join(err, j.Beside)
	}
	if err != nil {
		return nil, &Problem{Msg: "reading the stored verdict", Err: err}
	}
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	rep, _, err := checkers.Judge(f.path, run)
	if err != nil {
		return nil, &Problem{Msg: "reading the records of " + f.path, Err: err,
			Hint: "a damaged record is never passed over, or a verdict would rest on what is missing; restore the file, or run again"}
	}
	b, err := encodeReport(rep)
	if err != nil {
		return nil, err
	}
	return &Checked{Report: rep, Stored: true, Same: bytes.Equal(b, stored)}, nil
}

// HasReport reports whether the run has been judged.
func (f *Folder) HasReport() bool {
	_, err := os.Stat(filepath.Join(f.path, VerdictFile))
	return err == nil
}

// Report reads the stored verdict.
func (f *Folder) Report() (*checkers.Report, error) {
	b, err := os.ReadFile(filepath.Join(f.path, VerdictFile))
	if err != nil {
		return nil, fmt.Errorf("reading the stored verdict: %w", err)
	}
	var r checkers.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading the stored verdict: %w", err)
	}
	return &r, nil
}

// encodeReport is verdict.json: indented, keys in the order of the types' fields, one newline at the end.
func encodeReport(r *checkers.Report) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encoding the verdict: %w", err)
	}
	return buf.Bytes(), nil
}

// pictureName allows plain names only: a picture never lands outside the folder, nor on a file of the run.
func pictureName(name string) bool {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return false
	}
	switch filepath.Ext(name) {
	case ".html", ".svg", ".png":
		return true
	}
	return false
}

func sortedKeys(m map[string][]byte) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
