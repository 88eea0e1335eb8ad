package runloop

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
	"soak/chaos/scenario"
)

// steered is a run that a test breaks and mends.
func steered(t *testing.T) *fake {
	t.Helper()
	s := resolved(t, "healthy", scenario.Flags{Intervals: 12})
	s.Steady = 0
	f := newFake(t, s, 1)
	loop, err := New(Config{Scenario: s, Seed: 1, RunHash: 7, Start: f.now, Steered: true})
	if err != nil {
		t.Fatal(err)
	}
	f.loop = loop
	return f
}

// after has a steered run do something so long after its start phase.
func (f *fake) when(d time.Duration, do func()) {
	done, before := false, f.at
	f.at = func(now int64, f *fake) {
		if before != nil {
			before(now, f)
		}
		if !done && f.loop.loadFrom != 0 && now >= f.loop.loadFrom+int64(d) {
			done = true
			do()
		}
	}
}

func pauseOf(target string) Break {
	return Break{scenario.Fault{Kind: chaos.Pause, Target: target, For: scenario.Fixed(time.Hour), Brief: true}}
}

func TestASteeredRunIsBrokenAndMendedFromOutside(t *testing.T) {
	f := steered(t)
	f.when(3*time.Second, func() { f.step(pauseOf("raft-leader")) })
	f.when(5*time.Second, func() { f.step(pauseOf("n3")) }) // while the first lasts
	f.when(40*time.Second, func() { f.step(Mend{1}) })      // long after the intervals have counted
	f.when(41*time.Second, func() { f.step(Conclude{}) })
	f.run(2 * time.Minute)
	if diff := cmp.Diff(wholeRun, f.phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if len(f.faults) != 2 {
		t.Fatalf("recorded: %+v", f.faults)
	}
	for i, want := range []struct {
		id, node int32
		lasted   time.Duration
	}{{1, 1, 37 * time.Second}, {2, 3, 36 * time.Second}} { // the second until everything is mended
		got := f.faults[i]
		if got.ID != int(want.id) || got.Nodes[0] != want.node || got.Trigger != ByHand || !got.Proven() || got.Healed == 0 || got.Error != "" {
			t.Errorf("fault %d: %+v", i+1, got)
		}
		if off := time.Duration(got.Lasted()) - want.lasted; off > time.Second || off < -time.Second {
			t.Errorf("fault %d lasted %s, want about %s", i+1, time.Duration(got.Lasted()), want.lasted)
		}
	}
	if p, n := f.loop.Problem(), f.loop.Notes(); p != "" || len(n) > 0 {
		t.Errorf("problem %q, notes %q", p, n)
	}
	again := f.loop.Executed().Faults
	if len(again) != 2 || again[0].Nodes[0] != 1 || again[0].At.Fixed < 3*time.Second || again[0].For.Fixed > 38*time.Second {
		t.Errorf("executed: %+v", again)
	}
}

// A test that asks for the end early still sees the intervals that it was to see.
func TestConcludingWaitsForIntervals(t *testing.T) {
	f := steered(t)
	f.when(time.Second, func() { f.step(Conclude{}) })
	f.run(2 * time.Minute)
	if st := f.loop.Status(); st.Intervals < 12 {
		t.Errorf("%d intervals counted, want 12", st.Intervals)
	}
}

func TestASteeredRunRefusesWhatItCannotDo(t *testing.T) {
	if _, err := New(Config{Scenario: resolved(t, "quick", scenario.Flags{}), Seed: 1, Start: 1, Steered: true}); err == nil {
		t.Error("a scenario with a schedule was taken")
	}
	f := steered(t)
	f.step(pauseOf("n1")) // still starting
	f.when(time.Second, func() {
		f.step(pauseOf("n1+"))
		f.step(pauseOf("leader(nosuch-0)")) // which it waits for, and gives up
		f.step(Mend{17})
	})
	f.when(40*time.Second, func() { f.step(Conclude{}); f.step(pauseOf("n1")) })
	f.run(3 * time.Minute)
	got := map[int]string{}
	for _, x := range f.faults {
		if x.Asked != 0 {
			t.Errorf("was injected: %+v", x)
		}
		got[x.ID] = x.Error
	}
	for id, want := range map[int]string{1: "phase start", 2: "n1+", 3: "no node was leader(nosuch-0)", 4: "its own way"} {
		if !strings.Contains(got[id], want) {
			t.Errorf("fault %d: %q, want something of %q", id, got[id], want)
		}
	}
	if len(f.faults) != 4 {
		t.Errorf("recorded: %+v", f.faults)
	}
	// Without being told, a run is not steered.
	g := newFake(t, resolved(t, "healthy", scenario.Flags{Intervals: 10}), 1)
	g.when(time.Second, func() { g.step(pauseOf("n1")); g.step(Conclude{}) })
	g.run(2 * time.Minute)
	if len(g.faults) != 1 || g.faults[0].Asked != 0 {
		t.Errorf("recorded: %+v", g.faults)
	}
}
