package campaign

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/internal/version"
)

// Files that a shrunk run leaves in its folder.
const (
	ShrunkFile = "shrunk.yaml"
	StoryFile  = "shrunk.txt"
	TestFile   = "repro_test.go.txt"
)

// Story tells a schedule in a sentence: "pause n2 at 4.1 s for 3 s; kill n1 at 5 s for 2 s". Times count from the end of start.
func Story(s *scenario.Scenario) string {
	if len(s.Faults) == 0 && !s.Liveness.On() {
		return "no fault at all"
	}
	faults := slices.Clone(s.Faults)
	slices.SortStableFunc(faults, func(a, b scenario.Fault) int {
		return cmp.Compare(a.At.In(s.ElectionInterval), b.At.In(s.ElectionInterval))
	})
	var parts []string
	for _, f := range faults {
		parts = append(parts, tell(s, f))
	}
	if s.Liveness.On() {
		parts = append(parts, fmt.Sprintf("then %s must serve alone (the others: %s)", names(s.Liveness.Core, " and "), s.Liveness.Others))
	}
	return strings.Join(parts, "; ")
}

func tell(s *scenario.Scenario, f scenario.Fault) string {
	who := strings.ReplaceAll(f.Target, "+", " and ")
	if len(f.Nodes) > 0 {
		who = names(f.Nodes, " and ")
	}
	if len(f.Nodes) == s.Nodes && f.Kind == chaos.RestartAll {
		who = "all"
	}
	words := strings.TrimSuffix(f.Kind, "-all") + " " + who
	for _, extra := range []struct {
		is   bool
		text string
	}{
		{f.Clients, "clients too"}, {f.Way != "", "what goes " + f.Way}, {f.Every != 0, "every " + seconds(f.Every)}, {f.By != 0, "by " + seconds(f.By)},
		{f.PPM != 0, fmt.Sprintf("by %d ppm", f.PPM)}, {f.Factor != 0, fmt.Sprintf("%d-fold", f.Factor)}, {f.Files != "", "in its " + f.Files + " files"},
	} {
		if extra.is {
			words += ", " + extra.text + ","
		}
	}
	words = strings.ReplaceAll(words, ",,", ",")
	onLeader := f.Target == scenario.TargetRaftLeader || f.Role == scenario.TargetRaftLeader
	words += " at " + seconds(f.At.In(s.ElectionInterval)) + " for " + seconds(s.Window(f, onLeader))
	if onLeader && len(f.Nodes) > 0 {
		words += " (the raft leader)"
	}
	return words
}

// seconds is a duration as people say it: "4.1 s".
func seconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(time.Millisecond)/time.Millisecond)/1000, 'f', -1, 64) + " s"
}

func names(ids []int32, between string) string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprintf("n%d", id))
	}
	return strings.Join(out, between)
}

// together is a target of these nodes.
func together(ids []int32) string {
	ids = slices.Sorted(slices.Values(ids))
	return names(ids, "+")
}

// Text is the whole story: the cluster, what is done to it, and what comes of it.
func (s *Shrunk) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "On %d nodes, with an election interval of %s, seed %d", s.Plan.Nodes, seconds(s.Plan.ElectionInterval), s.Seed)
	if len(s.Bugs) > 0 {
		fmt.Fprintf(&b, " and planted %s", strings.Join(s.Bugs, ", "))
	}
	for _, t := range s.Plan.Topics {
		if goes := t.Goes(); goes != "" {
			fmt.Fprintf(&b, ", where of %s %s", t.Name, goes)
		}
	}
	fmt.Fprintf(&b, ":\n  %s.\nThen %s: %s", Story(s.Plan), s.Failure.Class, s.Failure.Sentence)
	if s.Failure.At > 0 {
		fmt.Fprintf(&b, ", %s after the beginning", seconds(time.Duration(s.Failure.At)))
	}
	b.WriteString(".\n")
	w := s.Plan.Workloads
	var without []string
	for _, x := range []struct {
		name string
		none bool
	}{{"records", w.Produce.Rate == 0}, {"metadata operations", w.Metadata.Rate == 0}, {"auto-created topics", w.Autocreate.PerMinute == 0}} {
		if x.none {
			without = append(without, x.name)
		}
	}
	if len(without) > 0 {
		fmt.Fprintf(&b, "It needs no %s.\n", strings.Join(without, ", no "))
	}
	switch {
	case s.Minimal && len(s.Plan.Faults) == 0:
	case s.Minimal && len(s.Plan.Faults) == 1:
		b.WriteString("Without the fault it does not happen.\n")
	case s.Minimal:
		b.WriteString("Without any one of the faults it does not happen.\n")
	default:
		b.WriteString("The time for shrinking was over before all had been tried: a smaller one may exist.\n")
	}
	return b.String()
}

// YAML is the scenario of the smallest run, for every driver; `soak replay` finds seed and bugs in its first lines.
func (s *Shrunk) YAML() []byte {
	var b bytes.Buffer
	for _, l := range strings.Split(strings.TrimSpace(s.Text()), "\n") {
		fmt.Fprintf(&b, "# %s\n", l)
	}
	fmt.Fprintf(&b, "%s%s\n", memoMark, memo(s))
	b.Write(s.Plan.YAML())
	return b.Bytes()
}

// memoMark begins the line of a shrunk scenario that says with what it is to be simulated.
const memoMark = "#soak-sim "

// memoFormat is the version of that line.
const memoFormat = 1

func memo(s *Shrunk) string {
	v := version.Get()
	bugs := "-"
	if len(s.Bugs) > 0 {
		bugs = strings.Join(s.Bugs, ",")
	}
	return fmt.Sprintf("format=%d seed=%d hash=%016x bugs=%s version=%s commit=%s", memoFormat, s.Seed, s.Hash, bugs, v.Version, v.Commit)
}

// Memo is what a shrunk scenario says of how it is to be simulated.
type Memo struct {
	Seed            uint64
	Hash            uint64
	Bugs            []string
	Version, Commit string
}

// ReadMemo reads it from the scenario's text; nil if there is none. A *Problem tells what is wrong with one.
func ReadMemo(src []byte) (*Memo, error) {
	var line string
	for l := range strings.Lines(string(src)) {
		if rest, ok := strings.CutPrefix(l, memoMark); ok {
			line = strings.TrimSpace(rest)
		}
	}
	if line == "" {
		return nil, nil
	}
	fields := map[string]string{}
	for _, w := range strings.Fields(line) {
		k, v, _ := strings.Cut(w, "=")
		fields[k] = v
	}
	format, err := strconv.Atoi(fields["format"])
	switch {
	case err != nil:
		return nil, &Problem{"the line " + memoMark + "of the file has no format", "the file was edited; take the line away and give --seed and --bug, or shrink the run again"}
	case format > memoFormat:
		return nil, &Problem{fmt.Sprintf("the seed of the file has the format %d; this version knows %d", format, memoFormat), "use the version of soak that wrote it: " + fields["version"] + ", commit " + fields["commit"]}
	}
	m := &Memo{Version: fields["version"], Commit: fields["commit"]}
	if b := fields["bugs"]; b != "-" && b != "" {
		m.Bugs = strings.Split(b, ",")
	}
	var errSeed, errHash error
	m.Seed, errSeed = strconv.ParseUint(fields["seed"], 10, 64)
	m.Hash, errHash = strconv.ParseUint(fields["hash"], 16, 64)
	if errSeed != nil || errHash != nil {
		return nil, &Problem{"the line " + memoMark + "of the file has no seed or no hash", "the file was edited; take the line away and give --seed and --bug, or shrink the run again"}
	}
	return m, nil
}

// Test is a Go test of this project that fails as long as the run does.
func (s *Shrunk) Test() ([]byte, error) {
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s.Failure.Checker+"_"+s.Failure.Kind)
	var b bytes.Buffer
	fmt.Fprintf(&b, `// Put this file beside the package campaign of soak, as campaign/repro_%[1]s_%[2]d_test.go, and run
//
//	go test ./campaign -run TestRepro_%[1]s_%[2]d
//
// It fails until the broker is mended.
package campaign_test

import (
	"testing"

	"soak/campaign"
)

`, word, s.Seed)
	for _, l := range strings.Split(strings.TrimSpace(s.Text()), "\n") {
		fmt.Fprintf(&b, "// %s\n", l)
	}
	fmt.Fprintf(&b, `func TestRepro_%s_%d(t *testing.T) {
	a, err := campaign.Here{}.Do(campaign.Job{Seed: %d, Bugs: %#v, Scenario: %s})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Failures {
		t.Errorf("%%s: %%s", f.Signature(), f.Sentence)
	}
}
`, word, s.Seed, s.Seed, s.Bugs, "`\n"+string(s.Plan.YAML())+"`")
	src, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("writing the shrunk run as a test: %w", err)
	}
	return src, nil
}
