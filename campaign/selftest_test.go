package campaign

import (
	"slices"
	"strings"
	"testing"
	"time"

	"soak/broker/bugs"
)

// scripted answers by the planted bug.
type scripted map[string]func(j Job) *Answer

func (s scripted) Do(j Job) (*Answer, error) {
	if f := s[strings.Join(j.Bugs, "+")]; f != nil {
		return f(j), nil
	}
	return &Answer{Seed: j.Seed}, nil
}

func violated(j Job, reached int, by ...string) *Answer {
	a := &Answer{Seed: j.Seed, Decisions: map[string]int{}}
	for _, b := range j.Bugs {
		a.Decisions[b] = reached
	}
	for _, c := range by {
		a.Failures = append(a.Failures, Failure{Class: Class{c, "k"}, Place: "kill", Sentence: "s", At: int64(time.Second)})
	}
	return a
}

var planted = []bugs.Entry{{Name: "b", Checkers: []string{"right", "other"}, May: []string{"may"}}}

func TestASelftestAcceptsOnlyTheNamedCheckers(t *testing.T) {
	for _, c := range []struct {
		name               string
		bug, clean         func(j Job) *Answer
		ok, right, reached bool
		by, unlisted       []string
		tries              int
	}{
		{"found", func(j Job) *Answer { return violated(j, 1, "may", "right") }, nil, true, true, true, []string{"may", "right"}, nil, 1},
		{"found in the third run", func(j Job) *Answer {
			if j.Seed == 3 {
				return violated(j, 2, "other", "surprise")
			}
			return violated(j, 1, "may")
		}, nil, true, true, true, []string{"other", "surprise"}, []string{"surprise"}, 3},
		{"by the wrong one", func(j Job) *Answer { return violated(j, 1, "may", "wrong") }, nil, false, false, true, []string{"may", "wrong"}, []string{"wrong"}, 5},
		{"not found", func(j Job) *Answer { return violated(j, 1) }, nil, false, false, true, nil, nil, 5},
		{"never reached", func(j Job) *Answer { return violated(j, 0) }, nil, false, false, false, nil, nil, 5},
		{"a sound run fails", func(j Job) *Answer { return violated(j, 1, "right") }, func(j Job) *Answer {
			if j.Seed == 2 {
				return violated(j, 0, "right")
			}
			return &Answer{Seed: j.Seed}
		}, false, true, true, []string{"right"}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := RunSelftest(SelftestOptions{Bugs: planted, Doer: scripted{"b": c.bug, "": c.clean}, Width: 2, Tries: 5, Clean: 4, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			f := got.Found[0]
			if got.OK() != c.ok || f.Right != c.right || f.Reached != c.reached || f.Tries != c.tries || !slices.Equal(f.By, c.by) || !slices.Equal(f.Unlisted(), c.unlisted) {
				t.Errorf("ok %v, %+v, unlisted %v", got.OK(), f, f.Unlisted())
			}
			if c.clean != nil && (len(got.Clean) != 1 || got.Clean[0].Seed != 2) {
				t.Errorf("sound runs that failed: %+v", got.Clean)
			}
		})
	}
}

func TestASelftestThatIsStoppedIsNotOK(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	got, err := RunSelftest(SelftestOptions{Bugs: planted, Doer: scripted{}, Width: 1, Now: time.Now, Stop: stop})
	if err != nil || !got.Stopped || got.OK() {
		t.Errorf("%v %+v", err, got)
	}
}

// Every bug of the catalogue is found in the simulator by a checker that its entry names.
func TestEveryPlantedBugIsFound(t *testing.T) {
	simulated := slices.DeleteFunc(slices.Clone(bugs.Catalogue), func(b bugs.Entry) bool { return b.RealOnly })
	got, err := RunSelftest(SelftestOptions{Bugs: simulated, Doer: workers(t, 2), Width: 2, Tries: 30, Clean: 6, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Found {
		if !f.Right {
			t.Errorf("%s: reached %v, reported by %v, not by %v in %d runs; reproduce: go run ./cmd/soak selftest --bug %s", f.Bug.Name, f.Reached, f.By, f.Bug.Checkers, f.Tries, f.Bug.Name)
		}
	}
	for _, a := range got.Clean {
		t.Errorf("the sound broker failed with seed %d: %+v", a.Seed, a.Failures)
	}
}
