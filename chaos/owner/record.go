package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Record is what a run has started and made on this machine, kept in the state directory while the run lives, so that
// another can find it afterwards. Its methods are safe for concurrent use; each writes the record before it returns.
type Record struct {
	mu   sync.Mutex
	path string
	data recorded
}

// recorded is the record's file.
type recorded struct {
	ID        string    `json:"id"`
	Folders   []string  `json:"folders"`
	Processes []Process `json:"processes"`
}

// NewRecord starts the record of a run whose lock is held.
func NewRecord(id string) (*Record, error) {
	path, err := recordPath(id)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of records: %w", err)
	}
	r := &Record{path: path, data: recorded{ID: id}}
	return r, r.write()
}

// AddFolder notes a folder that is about to be made and is to be removed whole with the run. dir must be absolute.
func (r *Record) AddFolder(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Dir(dir) == dir {
		return fmt.Errorf("recording the folder %q: want an absolute path below the root", dir)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.data.Folders, dir) {
		return nil
	}
	r.data.Folders = append(r.data.Folders, dir)
	return r.write()
}

// AddProcess notes a process that has been started.
func (r *Record) AddProcess(p Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data.Processes = append(r.data.Processes, p)
	return r.write()
}

// DropProcess forgets a process that has ended and has been waited for.
func (r *Record) DropProcess(p Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data.Processes = slices.DeleteFunc(r.data.Processes, func(q Process) bool { return q == p })
	return r.write()
}

// Remove ends the record.
func (r *Record) Remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the record of the run: %w", err)
	}
	return nil
}

func (r *Record) write() error {
	b, err := json.Marshal(r.data)
	if err != nil {
		return fmt.Errorf("encoding the record of the run: %w", err)
	}
	aside := r.path + ".new"
	if err := os.WriteFile(aside, b, 0o600); err != nil {
		return fmt.Errorf("writing the record of the run: %w", err)
	}
	if err := os.Rename(aside, r.path); err != nil {
		return fmt.Errorf("writing the record of the run: %w", err)
	}
	return nil
}

// Recorded reads what the run with this id had started; nil slices if it has no record.
func Recorded(id string) (folders []string, processes []Process, err error) {
	path, err := recordPath(id)
	if err != nil {
		return nil, nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the record of run %s: %w", id, err)
	}
	var d recorded
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, nil, fmt.Errorf("reading the record of run %s: %w", id, err)
	}
	if d.ID != id {
		return nil, nil, fmt.Errorf("reading the record of run %s: it names run %q", id, d.ID)
	}
	return d.Folders, d.Processes, nil
}

// RemoveRecord ends the record of a run that is gone. The caller holds its lock.
func RemoveRecord(id string) error {
	path, err := recordPath(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the record of run %s: %w", id, err)
	}
	return nil
}

func recordPath(id string) (string, error) {
	if err := ValidID(id); err != nil {
		return "", err
	}
	dir, err := StateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "records", id+".json"), nil
}
