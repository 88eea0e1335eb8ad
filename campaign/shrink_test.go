package campaign

import (
	"errors"
	"strings"
	"testing"
	"time"

	"soak/chaos/scenario"
	"soak/checkers"
)

// busy is a schedule of many faults, of which the pause of the raft leader is the one that matters.
func busy(t *testing.T) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("busy.yaml", []byte(`
name: busy
nodes: 5
election_interval: 1s
session_timeout: 500ms
duration: 40s
intervals: 0
steady: 1
topics: [{name: orders, partitions: 3}, {name: payments, partitions: 2}]
workloads:
  produce: {rate: 40, producers: 2, batch: 2, value_bytes: 64}
  metadata: {rate: 4, clients: 2, names: 2}
  autocreate: {per_minute: 20}
sim: {drop_ppm: 1000, reorder_ppm: 1000, latency_max: 2ms}
faults:
  - {kind: kill, target: follower, at: 2, for: 2s}
  - {kind: partition, target: follower, at: 7, for: 2s}
  - {kind: pause, target: follower, at: 12, for: 2s}
  - {kind: pause, target: raft-leader, at: 17, for: 3s}
  - {kind: kill, target: n4, at: 24, for: 2s}
  - {kind: partition, target: n5, at: 29, for: 2s}
  - {kind: restart-all, target: all, at: 34}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var cachedLeader = Class{checkers.SingleLeaderProposing, checkers.KindCheckByOther}

func shrinkOptions(t *testing.T) ShrinkOptions {
	return ShrinkOptions{
		Plans: []*scenario.Scenario{busy(t)}, Seed: 1, Bugs: []string{"cached-is-leader"}, Class: cachedLeader,
		Doer: workers(t, 2), Width: 2, Time: time.Minute, Now: time.Now, Say: t.Logf,
	}
}

func TestShrinkLeavesTheFaultThatMatters(t *testing.T) {
	got, err := Shrink(shrinkOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	p := got.Plan
	if len(p.Faults) != 1 || p.Faults[0].Kind != "pause" || p.Faults[0].Target != scenario.TargetRaftLeader || p.Nodes != 3 || len(p.Topics) != 1 ||
		p.Workloads != (scenario.Workloads{}) || p.Sim != (scenario.Sim{}) || !got.Minimal || got.From != 7 {
		t.Errorf("%s\n%s", got.Text(), p.YAML())
	}
	// Each of its faults is needed: without it the same seed holds.
	a, err := (Here{}).Do(Job{Seed: 1, Bugs: got.Bugs, Scenario: string(p.WithFaults(nil).YAML())})
	if err != nil || a.Has(cachedLeader) {
		t.Errorf("%v: without its fault: %+v", err, a.Failures)
	}
	// What it writes can be read again, and gives the same run.
	m, err := ReadMemo(got.YAML())
	if err != nil || m == nil || m.Seed != 1 || m.Hash != got.Hash || len(m.Bugs) != 1 {
		t.Fatalf("%v: %+v", err, m)
	}
	a, err = (Here{}).Do(Job{Seed: m.Seed, Bugs: m.Bugs, Scenario: string(got.YAML())})
	if err != nil || a.Hash != got.Hash || !a.Has(cachedLeader) {
		t.Errorf("%v: the written scenario gives %x, want %x", err, a.Hash, got.Hash)
	}
	if src, err := got.Test(); err != nil || !strings.Contains(string(src), "func TestRepro_") || !strings.Contains(string(src), "beside the package campaign") {
		t.Errorf("%v: the test is\n%s", err, src)
	}
	if text := got.Text(); !strings.Contains(text, "pause ") || !strings.Contains(text, "Without the fault") {
		t.Error(text)
	}
}

func TestShrinkLeavesTheRetentionThatMatters(t *testing.T) {
	plan, err := scenario.Parse("retaining.yaml", []byte(`
name: retaining
election_interval: 1s
session_timeout: 500ms
duration: 20s
intervals: 0
steady: 1
retention_check: 500ms
topics:
  - {name: orders, retention_bytes: 4096, segment_bytes: 4096}
  - {name: payments, retention: 3s, retention_bytes: 1000000, segment_bytes: 4096}
workloads:
  produce: {rate: 40, producers: 2, batch: 2, value_bytes: 64}
faults:
  - {kind: pause, target: follower, at: 6, for: 2s}
`))
	if err != nil {
		t.Fatal(err)
	}
	o := shrinkOptions(t)
	o.Plans, o.Bugs, o.Class = []*scenario.Scenario{plan}, []string{"retention-by-first-record"}, Class{checkers.AckedRecords, checkers.KindRetainedTooShort}
	got, err := Shrink(o)
	if err != nil {
		t.Fatal(err)
	}
	p := got.Plan
	if len(p.Topics) != 1 || p.Topics[0].Name != "payments" || p.Topics[0].Retention == 0 || p.Topics[0].RetentionBytes != 0 || len(p.Faults) != 0 {
		t.Errorf("%s\n%s", got.Text(), p.YAML())
	}
	if !strings.Contains(got.Text(), "where of payments records older than 3s may go") {
		t.Error(got.Text())
	}
}

// A scenario that looks for what may go, where nothing may, would be refused: what is left can be run.
func TestShrinkLeavesNoRetentionCheckWithoutATopicForIt(t *testing.T) {
	o := shrinkOptions(t)
	plan := *o.Plans[0]
	plan.RetentionCheck = time.Second
	orders := plan.Topics[0]
	orders.Name, orders.RetentionBytes, orders.SegmentBytes = "retaining", 1<<30, 1<<20
	plan.Topics = append([]scenario.Topic{orders}, plan.Topics...)
	o.Plans = []*scenario.Scenario{&plan}
	got, err := Shrink(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scenario.Parse("shrunk.yaml", got.YAML()); err != nil {
		t.Errorf("%v\n%s", err, got.YAML())
	}
}

func TestShrinkTakesNoOtherFailureForASuccess(t *testing.T) {
	o := shrinkOptions(t)
	o.Class = Class{checkers.AckedRecords, "lost"}
	if _, err := Shrink(o); !errors.Is(err, ErrDoesNotFail) {
		t.Errorf("got %v", err)
	}
}

func TestShrinkGivesWhatItHasWhenTheTimeIsOver(t *testing.T) {
	o := shrinkOptions(t)
	clock := time.Unix(1, 0)
	o.Now = func() time.Time { clock = clock.Add(20 * time.Second); return clock }
	got, err := Shrink(o)
	if err != nil || got.Minimal || !strings.Contains(got.Text(), "a smaller one may exist") {
		t.Errorf("%v %+v", err, got)
	}
}

func TestAMemoThatWasEditedIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"#soak-sim format=9 seed=1": "the format 9", "#soak-sim seed=1": "no format", "#soak-sim format=1 seed=x hash=1": "no seed",
	} {
		_, err := ReadMemo([]byte(text + "\nname: x\n"))
		if p := (*Problem)(nil); !errors.As(err, &p) || !strings.Contains(p.Msg, want) || p.Hint == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if m, err := ReadMemo([]byte("name: x\n")); m != nil || err != nil {
		t.Errorf("%v %v", m, err)
	}
}

// doerFunc fails with a class where it says so.
type doerFunc func(s *scenario.Scenario) bool

func (f doerFunc) Do(j Job) (*Answer, error) {
	s, err := scenario.Parse("plan.yaml", []byte(j.Scenario))
	if err != nil {
		return nil, err
	}
	a := &Answer{Seed: j.Seed, Executed: j.Scenario}
	if f(s) {
		a.Failures = []Failure{{Class: cachedLeader, Sentence: "it fails"}}
	}
	return a, nil
}

// What three kills do one after the other, none of them dispensable, a partition of the leader does alone, where one replica suffices.
func TestShrinkPutsOneFaultInThePlaceOfSeveral(t *testing.T) {
	s := busy(t)
	s.Sim, s.Flush = scenario.Sim{}, scenario.FlushNone
	kill := s.Faults[0]
	var faults []scenario.Fault
	for _, target := range []string{"n1", "n2", "n3"} {
		kill.Target = target
		faults = append(faults, kill)
	}
	for _, c := range []struct {
		name string
		also func(s *scenario.Scenario, f scenario.Fault) bool // one fault that does it as well
		want int
	}{
		{"a partition", func(s *scenario.Scenario, f scenario.Fault) bool {
			return f.Kind == "partition" && f.Target == scenario.TargetRaftLeader && f.For.In(s.ElectionInterval) >= time.Second
		}, 1},
		{"where one replica suffices", func(s *scenario.Scenario, f scenario.Fault) bool {
			return f.Kind == "pause" && s.Topics[0].MinInsyncReplicas == 1
		}, 1},
		{"nothing else", func(*scenario.Scenario, scenario.Fault) bool { return false }, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := shrinkOptions(t)
			o.Plans = []*scenario.Scenario{s.WithFaults(faults)}
			o.Doer = doerFunc(func(s *scenario.Scenario) bool {
				var killed []string
				for _, f := range s.Faults {
					if f.Kind == "kill" {
						killed = append(killed, f.Target)
					}
				}
				return strings.Join(killed, " ") == "n1 n2 n3" || len(s.Faults) == 1 && c.also(s, s.Faults[0])
			})
			got, err := Shrink(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Plan.Faults) != c.want || got.Plan.Flush != "" {
				t.Errorf("%d faults, want %d:\n%s", len(got.Plan.Faults), c.want, got.Plan.YAML())
			}
		})
	}
}
