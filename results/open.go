package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
)

// Open finds the run that ref names under parent: "latest", a path, or the beginning of a run's id or of its
// folder's name. The errors are *Problem.
func Open(parent, ref string) (*Folder, error) {
	if ref == "" {
		return nil, &Problem{Msg: "an empty name names no run", Hint: "name a folder, the beginning of a run's id, or latest"}
	}
	if ref == Latest {
		return openLatest(parent)
	}
	if st, err := os.Stat(ref); err == nil {
		if !st.IsDir() {
			return nil, &Problem{Msg: ref + " is a file, not a run folder", Hint: "name the folder that holds it"}
		}
		return openPath(filepath.Clean(ref))
	}
	if strings.ContainsRune(ref, filepath.Separator) {
		return nil, &Problem{Msg: "there is no folder " + ref, Hint: "soak list shows the runs that there are"}
	}
	names, err := runNames(parent)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if strings.HasPrefix(n, ref) || strings.HasPrefix(idOf(n), ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return nil, &Problem{Msg: fmt.Sprintf("no run under %s begins with %q", parent, ref),
			Hint: "soak list shows the runs that there are; --out DIR names another place"}
	case 1:
		return openPath(filepath.Join(parent, found[0]))
	}
	return nil, &Problem{Msg: fmt.Sprintf("%q names %d runs under %s", ref, len(found), parent),
		Hint: "write more of the id: " + strings.Join(found[:min(len(found), 4)], ", ")}
}

func openLatest(parent string) (*Folder, error) {
	link := filepath.Join(parent, Latest)
	to, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Problem{Msg: fmt.Sprintf("there is no latest run under %s", parent),
			Hint: "soak run makes one; --out DIR names another place"}
	}
	if err != nil {
		return nil, &Problem{Msg: "reading the link " + link, Err: err, Hint: "name the run's folder instead"}
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(parent, to)
	}
	if _, err := os.Stat(to); err != nil {
		return nil, &Problem{Msg: fmt.Sprintf("%s points at %s, which is gone", link, to), Hint: "soak list shows the runs that there are"}
	}
	return openPath(to)
}

// openPath takes a folder that holds at least one file of a run: a runner that was killed early leaves few.
func openPath(path string) (*Folder, error) {
	for _, n := range []string{history.RunFile, VerdictFile, history.HistoryFile, history.EventsFile, history.HistoryFile + ".zst", history.EventsFile + ".zst"} {
		if _, err := os.Stat(filepath.Join(path, n)); err == nil {
			return &Folder{path: path}, nil
		}
	}
	return nil, &Problem{Msg: path + " is not a run folder: it has no " + history.RunFile + " and no records",
		Hint: "soak list shows the runs that there are"}
}

// runNames lists the names of run folders under parent, newest first. No parent: no runs.
func runNames(parent string) ([]string, error) {
	ents, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Problem{Msg: "reading the folder of results " + parent, Err: err, Hint: "--out DIR names another place"}
	}
	var names []string
	for _, e := range ents {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") { // one that is being removed or imported
			continue
		}
		_, hasTime := timeOf(e.Name())
		_, runErr := os.Stat(filepath.Join(parent, e.Name(), history.RunFile))
		if hasTime || runErr == nil {
			names = append(names, e.Name())
		}
	}
	sort.Slice(names, func(i, j int) bool {
		ti, _ := timeOf(names[i])
		tj, _ := timeOf(names[j])
		if !ti.Equal(tj) {
			return ti.After(tj)
		}
		return names[i] < names[j]
	})
	return names, nil
}

func timeOf(name string) (time.Time, bool) {
	head, _, ok := strings.Cut(name, "-")
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(timeLayout, head)
	return t, err == nil
}

// idOf is the short id at the end of a folder's name.
func idOf(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// Entry is one run in a list.
type Entry struct {
	Folder   *Folder
	Time     time.Time // when the run was begun; zero where the folder's name does not say
	ID       string    // short, as in the folder's name
	Run      string    // the run's whole id, "" where it cannot be read
	Scenario string
	Driver   string
	Seed     uint64
	Bugs     []string
	Verdict  string // as in verdict.json: "holds", "violated", "inconclusive"; "" where there is none
	Problem  string // why the folder could not be read in full, "" if it could

	HarnessFailed bool // and nothing was violated
}

// List gives the runs under parent, newest first. Half-written folders are in it, with what is wrong with them.
func List(parent string) ([]Entry, error) {
	names, err := runNames(parent)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(names))
	for _, n := range names {
		out = append(out, entry(&Folder{path: filepath.Join(parent, n)}))
	}
	return out, nil
}

func entry(f *Folder) Entry {
	e := Entry{Folder: f, ID: idOf(f.Name())}
	e.Time, _ = timeOf(f.Name())
	run, err := f.Run()
	if err != nil {
		e.Problem = "no usable " + history.RunFile
		return e
	}
	e.describe(run)
	rep, err := f.Report()
	if err != nil {
		e.Problem = "not judged"
		return e
	}
	e.Verdict = rep.Outcome.String()
	e.HarnessFailed = rep.HarnessError != "" && rep.Outcome != checkers.Violated
	return e
}

func (e *Entry) describe(run *history.Run) {
	e.Run, e.Scenario, e.Driver, e.Seed, e.Bugs = run.ID, run.Scenario, run.Driver, run.Seed, run.Bugs
	if e.Time.IsZero() && len(run.Phases) > 0 {
		e.Time = time.Unix(0, run.Phases[0].Start).UTC()
	}
}
