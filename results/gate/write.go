package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"soak/history"
	"soak/results"
)

// Names in a gate's folder.
const (
	ResultFile = "gate.json"
	PageFile   = "index.html"
	foldersDir = "gates" // under the parent of run folders
)

// MakeFolder makes a gate's own folder, parent/gates/TIME-NAME, and points parent/gates/latest at it.
func MakeFolder(parent, name string, now time.Time) (string, error) {
	all := filepath.Join(parent, foldersDir)
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", &results.Problem{Msg: "making the folder of gates", Err: err, Hint: "choose another with --out DIR"}
	}
	base := now.UTC().Format("20060102T150405Z") + "-" + plain(name)
	dir := filepath.Join(all, base)
	for n := 2; ; n++ { // two gates in one second
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			break
		}
		if !os.IsExist(err) || n > 100 {
			return "", &results.Problem{Msg: "making the gate's folder", Err: err, Hint: "choose another place with --out DIR"}
		}
		dir = filepath.Join(all, fmt.Sprintf("%s-%d", base, n))
	}
	tmp := filepath.Join(all, ".latest-"+filepath.Base(dir))
	if err := os.Symlink(filepath.Base(dir), tmp); err != nil {
		return "", fmt.Errorf("linking the latest gate: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(all, results.Latest)); err != nil {
		return "", errors.Join(fmt.Errorf("linking the latest gate: %w", err), os.Remove(tmp))
	}
	return dir, nil
}

// plain makes a name fit for a folder's.
func plain(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
	if s = strings.Trim(s[:min(len(s), 60)], ".-"); s == "" {
		return "gate"
	}
	return s
}

// Write writes all forms of a result into the gate's folder, gate.json first. Each is written, whatever became of the others. beside is the page's
// trouble: one that cannot be drawn is to be told of, and changes nothing of what came of the gate.
func Write(dir string, r *Result) (beside, err error) {
	var errs []error
	write := func(name string, data []byte, err error) error {
		if err == nil {
			err = history.WriteFileAtomic(filepath.Join(dir, name), data)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
		}
		return nil
	}
	put := func(name string, data []byte, err error) { errs = append(errs, write(name, data, err)) }
	data, err := json.MarshalIndent(r, "", "  ")
	put(ResultFile, append(data, '\n'), err)
	data, err = r.JUnit()
	put(results.JUnitFile, data, err)
	put(results.SummaryFile, r.Summary(), nil)
	data, err = r.Page(dir, func(path string) bool { _, err := os.Stat(path); return err == nil })
	return write(PageFile, data, err), errors.Join(errs...)
}
