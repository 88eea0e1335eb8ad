package results

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"soak/history"
	"soak/results/report"
)

// Names of the files in a run folder beside those that history writes.
const (
	ScheduleFile = "schedule.yaml"
	LogsDir      = "logs"
	VerdictFile  = "verdict.json"
	JUnitFile    = "junit.xml"
	SummaryFile  = "summary.md"
)

// Latest is the name of the symbolic link beside the run folders that points at the newest of them.
const Latest = "latest"

// timeLayout of a folder's name: UTC, sorts as text.
const timeLayout = "20060102T150405Z"

// shortID is how much of a run's id its folder's name carries.
const shortID = 8

// Folder is one run's folder.
type Folder struct {
	path string
	pen  func(report.Input) ([]byte, error) // draws the report; nil: report.Draw
}

// NewID returns a new run id: 16 random hexadecimal digits.
func NewID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, as crypto/rand documents
	return hex.EncodeToString(b[:])
}

// Create makes the folder of a new run under parent, which is made as well if it is missing, writes run as it
// stands to run.json, and points latest at the folder. A run without an ID is given one.
func Create(parent, scenario string, run *history.Run) (*Folder, error) {
	return create(parent, scenario, run, time.Now())
}

func create(parent, scenario string, run *history.Run, now time.Time) (*Folder, error) {
	if run.ID == "" {
		run.ID = NewID()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, &Problem{Msg: "making the folder for results " + parent, Err: err, Hint: "choose another with --out DIR"}
	}
	id := run.ID[:min(len(run.ID), shortID)]
	name := now.UTC().Format(timeLayout) + "-" + fileName(scenario) + "-" + id
	path := filepath.Join(parent, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, &Problem{Msg: "making the run folder " + path, Err: err, Hint: "choose another place with --out DIR"}
	}
	f := &Folder{path: path}
	if err := os.Mkdir(f.Logs(), 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("making the folder for logs: %w", err), f.Discard())
	}
	if err := history.WriteRun(path, run); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the new run's %s: %w", history.RunFile, err), f.Discard())
	}
	if err := pointLatest(parent, name); err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	return f, nil
}

// fileName makes a scenario's name fit for a folder's name: letters, digits, dots and dashes.
func fileName(s string) string {
	s = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(s), ".yaml"), ".yml")
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, s)
	s = strings.Trim(s[:min(len(s), 40)], ".-")
	if s == "" {
		return "run"
	}
	return s
}

// pointLatest makes the link under another name first: a reader finds the old one or the new one, never none. The
// link is relative, so that the whole tree can be moved.
func pointLatest(parent, name string) error {
	tmp := filepath.Join(parent, "."+Latest+"-"+name)
	if err := os.Symlink(name, tmp); err != nil {
		return fmt.Errorf("linking %s: %w", Latest, err)
	}
	if err := os.Rename(tmp, filepath.Join(parent, Latest)); err != nil {
		return errors.Join(fmt.Errorf("linking %s: %w", Latest, err), os.Remove(tmp))
	}
	return nil
}

// Path of the folder, as given by or below what the caller gave.
func (f *Folder) Path() string { return f.path }

// Name is the folder's own name.
func (f *Folder) Name() string { return filepath.Base(f.path) }

// RealName is the folder's own name, also where its path is a link to it, as latest is.
func (f *Folder) RealName() string {
	if real, err := filepath.EvalSymlinks(f.path); err == nil {
		if abs, err := filepath.Abs(real); err == nil {
			return filepath.Base(abs)
		}
	}
	return f.Name()
}

// Logs is the folder of the nodes' logs.
func (f *Folder) Logs() string { return filepath.Join(f.path, LogsDir) }

// Schedule is the path of the executed schedule.
func (f *Folder) Schedule() string { return filepath.Join(f.path, ScheduleFile) }

// WriteSchedule writes the executed schedule: a scenario that `soak run` takes.
func (f *Folder) WriteSchedule(yaml []byte) error { return f.write(ScheduleFile, yaml) }

// HasSchedule reports whether the executed schedule was written.
func (f *Folder) HasSchedule() bool {
	st, err := os.Stat(f.Schedule())
	return err == nil && st.Mode().IsRegular()
}

// Run reads run.json.
func (f *Folder) Run() (*history.Run, error) {
	if _, err := os.Stat(filepath.Join(f.path, history.RunFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, &Problem{
			Msg:  fmt.Sprintf("%s has no %s", f.path, history.RunFile),
			Hint: "the runner was stopped before it had begun, or the file was removed; without it nothing says what was promised, so the run cannot be judged",
		}
	}
	run, err := history.ReadRun(f.path)
	if errors.Is(err, history.ErrNewerFormat) {
		return nil, &Problem{Msg: err.Error(), Hint: "use the version of soak that wrote it, or a newer one"}
	}
	if err != nil {
		return nil, &Problem{Msg: err.Error(), Hint: "the file is damaged or was edited; restore it, or run again"}
	}
	return run, nil
}

// Discard removes the folder of a run that never began. If latest points at it, the link goes too.
func (f *Folder) Discard() error {
	link := filepath.Join(filepath.Dir(f.path), Latest)
	if to, err := os.Readlink(link); err == nil && to == f.Name() {
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("removing the link to an unused run folder: %w", err)
		}
	}
	if err := os.RemoveAll(f.path); err != nil {
		return fmt.Errorf("removing an unused run folder: %w", err)
	}
	return nil
}

// write replaces a file as a whole, so that a reader never sees half of it.
func (f *Folder) write(name string, data []byte) error {
	if err := history.WriteFileAtomic(filepath.Join(f.path, name), data); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(f.path, name), err)
	}
	return nil
}
