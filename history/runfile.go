package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNewerFormat is returned for a run folder written by a newer version of Soak.
var ErrNewerFormat = errors.New("the run folder has a newer format than this version of soak reads")

// ErrNotARun is returned where run.json is there but is no run's description.
var ErrNotARun = errors.New("run.json does not describe a run")

// WriteRun writes run.json into dir, whole or not at all: a reader sees the old one or the new one. A Format of 0
// is written as FormatVersion.
func WriteRun(dir string, run *Run) error {
	out := *run
	if out.Format == 0 {
		out.Format = FormatVersion
	}
	data, err := json.MarshalIndent(&out, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", RunFile, err)
	}
	if err := WriteFileAtomic(filepath.Join(dir, RunFile), append(data, '\n')); err != nil {
		return fmt.Errorf("writing the run's description: %w", err)
	}
	return nil
}

// WriteFileAtomic replaces the file at path by data: a temporary file beside it is written, synced and renamed.
func WriteFileAtomic(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// ReadRun reads run.json of dir. A missing file wraps fs.ErrNotExist, one that is no run's ErrNotARun, one of
// a newer format ErrNewerFormat.
func ReadRun(dir string) (*Run, error) {
	data, err := os.ReadFile(filepath.Join(dir, RunFile))
	if err != nil {
		return nil, fmt.Errorf("reading the run's description: %w", err)
	}
	var run Run
	if err := json.Unmarshal(data, &run); err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", filepath.Join(dir, RunFile), ErrNotARun, err)
	}
	switch {
	case run.Format > FormatVersion:
		return nil, fmt.Errorf("reading %s: %w (%d, known up to %d)", filepath.Join(dir, RunFile), ErrNewerFormat, run.Format, FormatVersion)
	case run.Format < 1:
		return nil, fmt.Errorf("reading %s: %w: it has no format", filepath.Join(dir, RunFile), ErrNotARun)
	}
	if err := run.check(); err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", filepath.Join(dir, RunFile), ErrNotARun, err)
	}
	return &run, nil
}
