package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"soak/broker/bugs"
	"soak/campaign"
	"soak/chaos/scenario"
	"soak/history"
	"soak/internal/version"
	"soak/results"
)

// source is a run that can be simulated: what a run folder or a file holds of it.
type source struct {
	name    string // as it was asked for
	plan    *scenario.Scenario
	seed    uint64
	bugs    []string
	hash    uint64 // of the recorded run, 0 if it cannot be compared with
	version string // that recorded it, "" if that is not known
	commit  string
	folder  *results.Folder // nil for a file
	run     *history.Run    // nil for a file
}

// openSource finds what ref names: a file, or a run under parent. Errors are of configuration.
func openSource(parent, ref string) (*source, error) {
	if st, err := os.Stat(ref); err == nil && st.Mode().IsRegular() {
		if filepath.Base(ref) != history.RunFile {
			return sourceFile(ref)
		}
		ref = filepath.Dir(ref)
	}
	f, err := results.Open(parent, ref)
	if err != nil {
		return nil, err
	}
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	s := &source{name: f.Path(), folder: f, run: run, seed: run.Seed, bugs: run.Bugs, version: run.Version, commit: run.Commit}
	if run.ScenarioYAML == "" {
		return nil, usage(f.Path()+" does not hold its scenario", "its "+history.RunFile+" was edited, or is of a version that did not write it; run it again")
	}
	if s.plan, err = scenario.Parse(filepath.Join(f.Path(), history.RunFile)+" (scenario_yaml)", []byte(run.ScenarioYAML)); err != nil {
		return nil, s.other(err)
	}
	if run.Driver == "sim" && wentItsWay(run) && run.Interrupted == "" {
		s.hash = run.SimHash
	}
	return s, s.check()
}

// sourceFile reads a scenario. A shrunk one says how it is to be simulated; an executed one has its run beside it.
func sourceFile(path string) (*source, error) {
	plan, err := scenario.Load(path)
	if err != nil {
		return nil, err
	}
	s := &source{name: path, plan: plan, seed: 1}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Sprintf("reading %s: %v", path, err), "give a file that can be read")
	}
	m, err := campaign.ReadMemo(src)
	switch {
	case err != nil:
		return nil, err
	case m != nil:
		s.seed, s.hash, s.bugs, s.version, s.commit = m.Seed, m.Hash, m.Bugs, m.Version, m.Commit
	default:
		if run, err := history.ReadRun(filepath.Dir(path)); err == nil {
			s.seed, s.bugs, s.version, s.commit = run.Seed, run.Bugs, run.Version, run.Commit
		}
	}
	return s, s.check()
}

func (s *source) check() error {
	for _, b := range s.bugs {
		if _, err := bugs.Parse([]string{b}); err != nil {
			return s.other(unknownBug(b))
		}
	}
	return nil
}

// older reports whether another version of soak recorded the run.
func (s *source) older() bool {
	v := version.Get()
	return s.version != "" && (s.version != v.Version || s.commit != v.Commit)
}

// words say which version it was.
func (s *source) words() string {
	v := version.Get()
	return fmt.Sprintf("%s was recorded by soak %s (commit %s), this is %s (commit %s)", s.name, s.version, s.commit, v.Version, v.Commit)
}

// checkout is how to get the version that recorded the run.
func (s *source) checkout() string {
	if s.commit == "" || s.commit == version.Unknown {
		return "soak " + s.version + " can replay it; its build does not say of which commit it was"
	}
	return "git checkout " + s.commit + " && make build gives the version that can replay it"
}

// other adds to what is wrong with a run that another version recorded it.
func (s *source) other(err error) error {
	if !s.older() {
		return err
	}
	return &failure{code: exitUsage, msg: s.words(), err: err, hint: s.checkout()}
}
