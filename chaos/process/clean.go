package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"soak/chaos/owner"
)

// marker is the file in a folder of ours that says whose it is. Only a folder with it is ever removed.
const marker = ".soak-run"

// makeFolder makes a data folder, and the work folder above it the first time, noting each in the record before.
func (c *cluster) makeFolder(dir string) error {
	entries, err := os.ReadDir(c.work)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at the work folder: %w", err)
	}
	// A work folder that holds something else is not ours to remove; the nodes' folders in it are.
	ours := []string{dir}
	if len(c.folders) == 0 && len(entries) == 0 {
		ours = []string{c.work, dir}
	}
	for _, d := range ours {
		if err := c.record.AddFolder(d); err != nil {
			return err
		}
		c.folders = append(c.folders, d)
		err := os.MkdirAll(d, 0o755)
		if err == nil {
			err = mark(d, c.cfg.RunID)
		}
		if err != nil {
			return fmt.Errorf("making a folder for data: %w", err)
		}
	}
	return nil
}

// mark claims a folder, which must be empty.
func mark(dir, id string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a run starts from nothing", dir)
	}
	return os.WriteFile(filepath.Join(dir, marker), []byte(id+"\n"), 0o644)
}

// removeFolder removes a folder that is marked with id. One that is gone, or is not marked so, is left alone.
func removeFolder(dir, id string) error {
	b, err := os.ReadFile(filepath.Join(dir, marker))
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(b)) != id {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking whose a folder is: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing a folder of run %s: %w", id, err)
	}
	return nil
}

// Clean ends the processes and removes the folders of runs that are gone, and says what it removed, a line each. A run that
// holds its lock is not touched.
func Clean(ctx context.Context, logf func(format string, args ...any)) (removed []string, err error) {
	ids, err := owner.Leftovers()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range ids {
		r, err := cleanRun(ctx, id)
		for _, what := range r {
			if logf != nil {
				logf("removed %s", what)
			}
		}
		removed = append(removed, r...)
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// cleanRun holds the lock of the run while it works, so that two cleaners do not meet, and keeps the record until all is gone.
func cleanRun(ctx context.Context, id string) (removed []string, err error) {
	lock, err := owner.Acquire(id)
	if errors.Is(err, owner.ErrHeld) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	folders, processes, err := owner.Recorded(id)
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		killed, err := p.Kill(ctx)
		if err != nil {
			return removed, fmt.Errorf("cleaning up after run %s: %w", id, err)
		}
		if killed {
			removed = append(removed, fmt.Sprintf("process %d of run %s", p.PID, id))
		}
	}
	for _, dir := range slices.Backward(folders) {
		_, before := os.Stat(dir)
		if err := removeFolder(dir, id); err != nil {
			return removed, err
		}
		if _, after := os.Stat(dir); before == nil && after != nil {
			removed = append(removed, fmt.Sprintf("folder %s of run %s", dir, id))
		}
	}
	return removed, owner.RemoveRecord(id)
}
