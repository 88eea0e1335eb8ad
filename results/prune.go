package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"soak/checkers"
)

// pruning is what a folder that is being removed is called, so that a removal that is cut short leaves nothing that looks like a run.
const pruning = ".pruning-"

// PruneOptions say what Prune may remove.
type PruneOptions struct {
	Keep     int    // the newest of each strip (scenario, driver, planted bugs) that stay, at least 1
	Scenario string // of this scenario alone; "": of all
	Violated bool   // violated runs too: they are evidence, and otherwise stay
	UnderWay func(id string) bool
	DryRun   bool
}

// Pruned is what became, or would become, of one run beyond those that stay.
type Pruned struct {
	Entry Entry
	Bytes int64
	Left  string // why it stays all the same, "" if it goes
}

// Prune removes the runs under parent beyond the newest of each strip, as Strips groups them. Violated runs stay unless they are asked for; a run that is under way, that was
// not judged or that cannot be read stays: nobody knows what it holds. The answer is in the order of the list, newest first; an error is of the last removal
// that failed, with what was done before it.
func Prune(parent string, o PruneOptions) ([]Pruned, error) {
	entries, err := List(parent)
	if err != nil {
		return nil, err
	}
	if !o.DryRun {
		if err := finishPruning(parent); err != nil {
			return nil, err
		}
	}
	var out []Pruned
	newer := map[string]int{}
	for _, e := range entries {
		if o.Scenario != "" && e.Scenario != o.Scenario {
			continue
		}
		if e.Scenario != "" {
			key := e.strip()
			if newer[key]++; newer[key] <= o.Keep {
				continue
			}
		}
		p := Pruned{Entry: e, Left: o.stays(e)}
		if p.Bytes, err = size(e.Folder.path); err != nil {
			return out, err
		}
		if p.Left == "" && !o.DryRun {
			if err := remove(e.Folder); err != nil {
				return out, err
			}
		}
		out = append(out, p)
	}
	if !o.DryRun {
		return out, repointLatest(parent)
	}
	return out, nil
}

func (o *PruneOptions) stays(e Entry) string {
	switch {
	case e.Run == "":
		return e.Problem
	case o.UnderWay != nil && o.UnderWay(e.Run):
		return "it is under way"
	case e.Problem != "":
		return e.Problem
	case e.Verdict == checkers.Violated.String() && !o.Violated:
		return "violated: evidence stays (--violated removes it too)"
	}
	return ""
}

// remove takes a run folder away: first its name, then what it holds.
func remove(f *Folder) error {
	gone := filepath.Join(filepath.Dir(f.path), pruning+f.Name())
	if err := os.Rename(f.path, gone); err != nil {
		return fmt.Errorf("removing the run %s: %w", f.path, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing the run %s: %w", f.path, err)
	}
	return nil
}

// finishPruning removes what an earlier removal left when it was cut short.
func finishPruning(parent string) error {
	ents, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the folder of results: %w", err)
	}
	for _, e := range ents {
		if e.IsDir() && strings.HasPrefix(e.Name(), pruning) {
			if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
				return fmt.Errorf("removing what is left of a run: %w", err)
			}
		}
	}
	return nil
}

// repointLatest points latest at the newest run that is left, if what it pointed at is gone.
func repointLatest(parent string) error {
	link := filepath.Join(parent, Latest)
	if _, err := os.Readlink(link); err != nil {
		return nil // there is none
	}
	if _, err := os.Stat(link); err == nil {
		return nil
	}
	names, err := runNames(parent)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return pointLatest(parent, names[0])
	}
	if err := os.Remove(link); err != nil {
		return fmt.Errorf("removing the link to a run that is gone: %w", err)
	}
	return nil
}

// size is what the files of a folder hold.
func size(path string) (int64, error) {
	var n int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("looking at the run %s: %w", path, err)
	}
	return n, nil
}
