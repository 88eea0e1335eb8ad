package campaign

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"soak/broker/bugs"
	"soak/chaos/scenario"
	"soak/chaos/sim"
	"soak/checkers"
	"soak/history"
)

// workerEnv is set in the environment of a test binary that is to be a worker.
const workerEnv = "SOAK_CAMPAIGN_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(m.Run())
	}
	if err := Serve(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

func workers(t *testing.T, n int) *Pool {
	t.Helper()
	p := NewPool(n, func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"=1")
		return cmd
	})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// small is a scenario of a few seconds in which the raft leader sleeps through an election.
func small(t *testing.T) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("small.yaml", []byte(`
name: small
election_interval: 2s
session_timeout: 1s
duration: 24s
intervals: 0
steady: 1
topics: [{name: orders, partitions: 2}]
workloads:
  produce: {rate: 40, producers: 2, batch: 2, value_bytes: 64}
  metadata: {rate: 4, clients: 2, names: 2}
faults:
  - {kind: kill, target: follower, at: 1.5, for: 2s}
  - {kind: pause, target: raft-leader, at: 5, for: 3s}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is judged in memory gets the report that a run folder of the same run gets.
func TestARunIsJudgedInMemoryAsFromItsFolder(t *testing.T) {
	plan := small(t)
	plan.RetentionCheck = 500 * time.Millisecond
	plan.Topics[0].Retention, plan.Topics[0].SegmentBytes = 2*time.Second, 1024
	const seed = 5
	set, _ := bugs.Parse([]string{"cached-is-leader"})
	run := Describe(plan, seed, []string{"cached-is-leader"})
	dir := t.TempDir()
	rec, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	feed := checkers.NewFeeder(run)
	res, err := sim.Run(sim.Options{Scenario: plan, Seed: seed, RunHash: seed, Bugs: set, Observe: func(record any) {
		switch r := record.(type) {
		case *history.Event:
			c := *r
			rec.Event(c)
			feed.Event(&c)
		case *history.Operation:
			c := *r
			rec.Operation(&c)
			feed.Operation(&c)
		case *history.Fault:
			c := *r
			rec.Fault(c)
			feed.Fault(&c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(res.Topics, run.RecordTopics); d != "" {
		t.Error(d)
	}
	run.Phases, run.Notes = res.Phases, res.Notes
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	want, _, err := checkers.Judge(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	got := feed.Report()
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Error(cmp.Diff(want, got))
	}
	if want.Outcome != checkers.Violated {
		t.Errorf("%s: %s", want.Outcome, want.Sentence)
	}
	for _, v := range want.Verdicts {
		if v.Checker == checkers.AckedRecords && (v.Outcome != checkers.Holds || !strings.Contains(v.Reason, "had gone by their topics' retention")) {
			t.Errorf("%s: %s", v.Outcome, v.Reason)
		}
	}

	pool := workers(t, 2)
	answer, err := pool.Do(Job{Seed: seed, Scenario: string(plan.YAML()), Bugs: []string{"cached-is-leader"}, Twice: true})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Hash != res.Hash || !answer.Has(Class{checkers.SingleLeaderProposing, checkers.KindCheckByOther}) || answer.Faults != 2 || answer.Decisions["cached-is-leader"] == 0 {
		t.Errorf("a worker's answer, hash %x: %+v", res.Hash, answer)
	}
	if m := pool.Memory(); len(m) != 2 || max(m[0], m[1]) < 1<<20 || min(m[0], m[1]) != 0 {
		t.Errorf("two places, of which one has worked, hold %d bytes", m)
	}
}

func TestSeedsDrawnAreTheSameInEveryProcess(t *testing.T) {
	pool := workers(t, 2)
	for seed := uint64(1); seed <= 6; seed++ {
		j := Job{Seed: seed, Twice: seed == 1}
		a, err := pool.Do(j)
		if err != nil {
			t.Fatal(err)
		}
		b, err := (Here{}).Do(j)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, a, cmpopts.EquateEmpty()); d != "" || len(a.Failures) > 0 {
			t.Errorf("seed %d: failures %+v\n%s", seed, a.Failures, d)
		}
	}
}

func TestAWorkerThatDiesIsAFailureOfItsSeed(t *testing.T) {
	p := NewPool(1, func() *exec.Cmd { return exec.Command(os.Args[0], "-test.run=^$") })
	a, err := p.Do(Job{Seed: 3})
	if err != nil || len(a.Failures) != 1 || a.Failures[0].Class != (Class{Simulation, "died"}) {
		t.Errorf("%v %+v", err, a)
	}
	if _, err := (Here{}).Do(Job{Seed: 3, Scenario: "nodes: ["}); err == nil {
		t.Error("a scenario that does not parse was taken")
	}
}

// The check for determinism can fail: a wall clock and the order of a map, planted in a run, are seen.
func TestTwoRunsThatDifferAreAFailure(t *testing.T) {
	clock := func() uint64 { return uint64(time.Now().UnixNano()) }
	order := func() uint64 {
		m := map[uint64]bool{}
		for k := range uint64(64) {
			m[k] = true
		}
		sum := uint64(0)
		for k := range m {
			sum = sum*31 + k
		}
		return sum
	}
	for name, hash := range map[string]func() uint64{"clock": clock, "map order": order} {
		a := &Answer{Hash: hash()}
		for range 10_000 { // two calls may come within the clock's resolution, or upon the same order
			if a.again(func() (uint64, error) { return hash(), nil }); len(a.Failures) > 0 {
				break
			}
		}
		if !a.Has(Class{Determinism, "nondeterminism"}) {
			t.Errorf("%s: not seen", name)
		}
	}
	a := &Answer{Hash: 7}
	a.again(func() (uint64, error) { return 7, nil })
	if len(a.Failures) != 0 {
		t.Errorf("equal runs: %+v", a.Failures)
	}
	a.again(func() (uint64, error) { return 0, errors.New("stuck") })
	if len(a.Failures) != 1 {
		t.Error("a second run without an end was taken")
	}
}
