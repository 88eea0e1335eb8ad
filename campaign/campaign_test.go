package campaign

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fake answers as if every third seed failed; it counts who was asked for.
type fake struct {
	mu    sync.Mutex
	asked []uint64
	stop  chan struct{} // closed when enough were asked for
	after int
}

func (f *fake) Do(j Job) (*Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, j.Seed)
	if f.stop != nil && len(f.asked) == f.after {
		close(f.stop)
	}
	a := &Answer{Seed: j.Seed, Hash: j.Seed * 7, Virtual: time.Minute, Faults: int(100 - j.Seed), Met: map[string]int{"kill/steady": 2}}
	if j.Seed%3 == 0 {
		a.Failures = []Failure{{Class: Class{"claims", "void"}, Place: "kill", Sentence: "s", At: 5}}
	}
	return a, nil
}

func options(dir string, d Doer) Options {
	return Options{From: 10, Seeds: 20, Dir: dir, Workers: 2, Doer: d, Now: time.Now, Header: Header{Version: "1", Commit: "c"}}
}

func TestACampaignGoesOnWhereItWasInterrupted(t *testing.T) {
	dir := t.TempDir()
	first := &fake{stop: make(chan struct{}), after: 7}
	o := options(dir, first)
	o.Stop = first.stop
	if _, err := Run(o); err != nil {
		t.Fatal(err)
	}
	if n := len(first.asked); n < 7 || n > 8 {
		t.Fatalf("%d seeds after being stopped at the 7th", n)
	}
	// The runner was killed while it wrote: the last line is half there.
	path := filepath.Join(dir, JournalFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-9], 0o644); err != nil {
		t.Fatal(err)
	}
	second := &fake{}
	tally, err := Run(options(dir, second))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(first.asked) - 1 + len(second.asked); got != 20 || tally.Seeds != 20 || tally.Virtual != 20*time.Minute || tally.Met["kill/steady"] != 40 {
		t.Errorf("%d done in all, tally %+v", got, tally)
	}
	g := tally.Groups()
	if len(g) != 1 || g[0].Count != 6 || g[0].Seed != 27 || tally.Failed != 6 {
		t.Errorf("groups: %+v", g)
	}
	third := &fake{}
	again, err := Run(options(dir, third))
	if err != nil || len(third.asked) != 0 || cmp.Diff(tally.Groups(), again.Groups()) != "" {
		t.Errorf("%v: a campaign that was done asked for %v", err, third.asked)
	}
}

func TestAJournalOfAnotherCampaignIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *Options, journal []byte) []byte
		want   string
	}{
		{"commit", func(o *Options, j []byte) []byte { o.Commit = "d"; return j }, "commit c"},
		{"bugs", func(o *Options, j []byte) []byte { o.Bugs = []string{"b"}; return j }, "bugs planted"},
		{"scenario", func(o *Options, j []byte) []byte { o.Scenario = "name: x"; return j }, "another scenario"},
		{"newer", func(o *Options, j []byte) []byte {
			return []byte(strings.Replace(string(j), `"format":1`, `"format":9`, 1))
		}, "the format 9"},
		{"edited", func(o *Options, j []byte) []byte { return []byte(strings.Replace(string(j), `"seed":`, `"seed"`, 1)) }, ":2:"},
		{"no journal", func(o *Options, j []byte) []byte { return []byte("{}\n") }, ":1:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t.TempDir(), &fake{})
			o.Seeds = 2
			if _, err := Run(o); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.Dir, JournalFile)
			data, _ := os.ReadFile(path)
			data = c.change(&o, data)
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Run(o)
			p := (*Problem)(nil)
			if !errors.As(err, &p) || !strings.Contains(p.Msg, c.want) || p.Hint == "" {
				t.Errorf("got %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(data) {
				t.Error("the journal was changed")
			}
		})
	}
}

// full takes so many writes.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func (f *full) Close() error { return nil }

func TestAFullDiskEndsACampaignAndLosesNothing(t *testing.T) {
	o := options(t.TempDir(), &fake{})
	c := &running{o: o, tally: NewTally(Kinds()), began: time.Now(), next: o.From, done: &doneSet{next: o.From, above: map[uint64]bool{}}, journal: &Journal{w: &full{left: 3}}}
	c.work()
	if c.err == nil || !strings.Contains(c.err.Error(), "journal: no space left") || c.tally.Seeds != 3 {
		t.Errorf("%v after %d seeds", c.err, c.tally.Seeds)
	}
}

func TestTheShortestOfASignatureIsKept(t *testing.T) {
	tally := NewTally(Kinds())
	f := func(kind, place string, at int64) Failure {
		return Failure{Class: Class{"c", kind}, Place: place, At: at}
	}
	tally.Add(&Answer{Seed: 1, Faults: 5, Failures: []Failure{f("a", "kill", 9), f("b", "kill", 9)}})
	tally.Add(&Answer{Seed: 2, Faults: 4, Failures: []Failure{f("a", "kill", 99)}})
	tally.Add(&Answer{Seed: 3, Faults: 4, Failures: []Failure{f("a", "kill", 98)}})
	tally.Add(&Answer{Seed: 4, Faults: 4, Failures: []Failure{f("a", "kill", 98), f("a", "pause", 1)}})
	var got []string
	for _, g := range tally.Groups() {
		got = append(got, g.Signature()+strings.Repeat("+", g.Count)+string(rune('0'+g.Seed)))
	}
	want := []string{"c/a @ kill++++3", "c/a @ pause+4", "c/b @ kill+1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATwentiethOfAllSeedsIsSimulatedTwice(t *testing.T) {
	n := 0
	for s := range uint64(20_000) {
		if Again(s) {
			n++
		}
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 20,000", n)
	}
}

// Holes are of faults that can come; a scenario without pauses lacks none.
func TestHolesAreOfKindsThatCanCome(t *testing.T) {
	tally := NewTally([]string{"kill"})
	for _, s := range States()[1:] {
		tally.Add(&Answer{Met: map[string]int{"kill/" + s: 1}})
	}
	if got := tally.Holes(); !slices.Equal(got, []Hole{{"kill", States()[0]}}) {
		t.Errorf("%v", got)
	}
	if got := NewTally([]string{}).Holes(); len(got) != 0 {
		t.Errorf("without faults: %v", got)
	}
}
