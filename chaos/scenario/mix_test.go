package scenario

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
)

func mixedWith(t *testing.T, mix string) *Scenario {
	t.Helper()
	s := written(t, "m.yaml", "election_interval: 2s\nsession_timeout: 1s\nintervals: 600\n"+mix)
	s, err := s.Resolve(Flags{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAMixIsDrawnFromTheSeed: the same seed gives the same schedule, another one another, and what is drawn is a scenario as a person could
// have written it.
func TestAMixIsDrawnFromTheSeed(t *testing.T) {
	s := mixedWith(t, "mix: {period: 10 intervals, quiet: 4, most: 3, kinds: ["+fmt.Sprint(mixables()[0])+"]}")
	s.Mix.Kinds = mixables()
	seen := map[string]bool{}
	for seed := range uint64(20) {
		d := s.Drawn(seed)
		if diff := cmp.Diff(d, s.Drawn(seed)); diff != "" {
			t.Fatalf("seed %d, drawn twice:\n%s", seed, diff)
		}
		again, err := Parse("schedule.yaml", d.YAML())
		if err != nil {
			t.Fatalf("seed %d drew what cannot be written: %v\n%s", seed, err, d.YAML())
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatalf("seed %d, read again:\n%s", seed, diff)
		}
		seen[string(d.YAML())] = true
		if diff := cmp.Diff(d, d.Drawn(seed+1)); diff != "" {
			t.Fatalf("what was drawn was drawn again:\n%s", diff)
		}
	}
	if len(seen) != 20 {
		t.Errorf("20 seeds drew %d schedules", len(seen))
	}
}

// TestAMixKeepsItsPromises: a quarter of the periods is quiet, every kind has its turn, each fault ends in its period and leaves the cluster the
// rest of it to recover, half of them meet the election service, and the raft leader is not spared.
func TestAMixKeepsItsPromises(t *testing.T) {
	s := mixedWith(t, "mix: {period: 10 intervals, quiet: 4, most: 3, kinds: [kill, pause, partition, bridge, slow-disk]}")
	const period, first = 20 * time.Second, 6500 * time.Millisecond
	for seed := range uint64(10) {
		d := s.Drawn(seed)
		busy, long, leader, kinds := map[int]bool{}, 0, 0, map[string]int{}
		for i, f := range d.Faults {
			begin, end := f.At.Fixed-first, f.At.Fixed-first+d.Window(f, false)
			if begin < 0 || int(begin/period) != int(end/period) {
				t.Errorf("seed %d: fault %d (%s) lasts from %v to %v: not within one period", seed, i+1, f.Kind, f.At.Fixed, f.At.Fixed+f.For.Fixed)
			}
			if f.At.Fixed+f.For.Fixed > s.load() {
				t.Errorf("seed %d: fault %d ends after the load", seed, i+1)
			}
			busy[int(begin/period)] = true
			if !f.Brief {
				long++
			}
			if f.Target == TargetRaftLeader {
				leader++
			}
			kinds[f.Kind]++
		}
		periods := int((s.load() - first) / period)
		if quiet := periods - len(busy); quiet < periods/4-1 || quiet > periods/4+1 {
			t.Errorf("seed %d: %d of %d periods are quiet, want a quarter", seed, quiet, periods)
		}
		if long < len(d.Faults)/3 || leader < len(busy)/3 || len(kinds) != 5 {
			t.Errorf("seed %d: of %d faults %d are long, %d on the raft leader, kinds %v", seed, len(d.Faults), long, leader, kinds)
		}
	}
}

func TestWrittenFaultsStayBesideAMix(t *testing.T) {
	s := mixedWith(t, "mix: {period: 10 intervals, kinds: [kill]}\nfaults: [{kind: pause, target: n1, at: 3s}]")
	d := s.Drawn(1)
	if !slices.ContainsFunc(d.Faults, func(f Fault) bool { return f.Kind == chaos.Pause }) || len(d.Faults) < 2 {
		t.Errorf("drawn: %+v", d.Faults)
	}
	if got := s.FaultKinds(); !slices.Equal(got, []string{"kill", "pause"}) {
		t.Errorf("a driver must be able to do %v", got)
	}
}

func TestMixesThatCannotBe(t *testing.T) {
	for lines, want := range map[string]string{
		"mix: {kinds: [kill]}":                        "mix: period is missing",
		"mix: {period: 20s}":                          "mix: kinds is missing: there would be nothing to draw",
		"mix: {period: 20s, kinds: [kill], quiet: 1}": "mix: quiet: 1 would leave every period quiet",
		"mix: {period: 20s, kinds: [kil]}":            `mix: kinds: "kil" cannot be drawn`,
		"mix: {period: 20s, kinds: [bit-rot]}":        `mix: kinds: "bit-rot" cannot be drawn`,
		"mix: {period: 20s, kinds: [kill], most: 9}":  "mix: most: 9 is not between 1 and 8",
		"mix: {period: 20s, kinds: [kill], each: 2}":  `mix: unknown field "each"`,
		"mix: {period: 20s, kinds: [kill, {a: b}]}":   `mix: kinds: "{" cannot be drawn`,
		"mix: {period: soon, kinds: [kill]}":          `mix: period: "soon" is neither a number of election intervals (2.5) nor a duration (5s)`,
		"mix: [kill]":                                 "mix: want fields (name: value)",
	} {
		_, err := Parse("m.yaml", []byte("topics: [{name: a}]\n"+lines+"\n"))
		if e, ok := err.(*Error); !ok || e.Msg != want || e.Line == 0 {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
}

// TestAShorterMixProvesLess: with --duration the number of faults that must be proven falls with the time there is, and never to nothing.
func TestAShorterMixProvesLess(t *testing.T) {
	s, err := Load("nightly")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour} {
		short, err := s.Resolve(Flags{Duration: d})
		if err != nil {
			t.Fatal(err)
		}
		drawn := len(short.Drawn(7).Faults)
		if got, want := short.Minimums.Faults, max(1, int(int64(s.Minimums.Faults)*int64(d)/int64(s.Duration))); got != want {
			t.Errorf("%v: %d faults wanted, want %d", d, got, want)
		}
		if d >= 10*time.Minute && drawn < short.Minimums.Faults {
			t.Errorf("%v: %d faults are drawn, and %d have to be proven", d, drawn, short.Minimums.Faults)
		}
	}
}
