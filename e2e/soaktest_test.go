package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"soak/internal/standin"
	"soak/soaktest"
)

// folders are the run folders below a place.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "soaktest-*", "2*", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// send produces a value to partition 0 of a topic by a client of the test's own.
func send(t testing.TB, bootstrap []string, s *soaktest.Sent, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	record, err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: s.Value}).First()
	if err != nil {
		s.Unknown(err)
		return
	}
	s.Acked(record.Offset)
}

// unlessInconclusive does somebody's test. One that ends inconclusive on a machine that stalls says nothing of the product: it is done again, at most
// twice, but not where it has failed with what makes its failure final. It returns where run folders went, too.
func unlessInconclusive(t *testing.T, name, final string, f func(t testing.TB)) (w *standin.T, place string) {
	t.Helper()
	for try := 1; ; try++ {
		place = t.TempDir()
		t.Setenv("TMPDIR", place)
		w = standin.New(name)
		w.Test(f)
		failed := w.Failures()
		if !strings.Contains(failed, "INCONCLUSIVE") || strings.Contains(failed, final) || try == 3 {
			return w, place
		}
		t.Logf("inconclusive, try %d:\n%s", try, failed)
	}
}

// A test that holds passes, and leaves nothing behind.
func TestASoundClusterHolds(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		w, place := unlessInconclusive(t, "TestOrders/with a_hostile\nname", "VIOLATED", func(t testing.TB) { holds(t, driver) })
		if w.Failed() {
			t.Fatalf("failed:\n%s\nlogs:\n%s", w.Failures(), w.Logs())
		}
		for _, left := range folders(t, place) {
			t.Errorf("left behind: %s", left)
		}
	})
}

// holds is somebody's test.
func holds(t testing.TB, driver string) {
	c := soaktest.Start(t, soaktest.Options{
		Driver: driver, ElectionInterval: 500 * time.Millisecond, Topics: []soaktest.Topic{{Name: "orders", Partitions: 2}},
	})
	c.WaitIntervals(1)
	if n := len(c.Bootstrap()); n != 3 || c.Leader() == 0 {
		t.Errorf("%d addresses, leader %d", n, c.Leader())
	}
	p := c.Producer("orders")
	send(t, c.Bootstrap(), p.Send(0, 100), "orders")
	c.WaitIntervals(3)
	f := c.Fault("pause", "raft-leader")
	if n := f.Nodes(); len(n) != 1 || !strings.HasPrefix(f.String(), fmt.Sprintf("pause of n%d", n[0])) {
		t.Errorf("the fault %q is on %v", f, n)
	}
	other := fmt.Sprintf("n%d", f.Nodes()[0]%3+1)
	reset := c.Fault("connection-reset", other, "every=100ms", "for=500ms") // meanwhile, and it ends by itself
	send(t, c.Bootstrap(), p.Send(0, 100), "orders")
	time.Sleep(2 * time.Second)
	f.Heal()
	f.Heal() // does nothing
	reset.Heal()
	c.Check()
}

// A bug is told in words, with the folder that proves it and the command that shows it again; so is a record that a client of the test's own was told is safe.
func TestABrokenClusterFailsTheTest(t *testing.T) {
	w, place := unlessInconclusive(t, "TestBroken", "VIOLATED  acked-records", func(t testing.TB) {
		c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond, Bugs: []string{"elector-gate-has-leader"}, Seed: 7})
		c.Producer("records").Send(0, 100).Acked(3) // it was never sent
		c.Check()
	})
	failed, logs := w.Failures(), w.Logs()
	for _, want := range []string{
		"VIOLATED  single-leader-proposing", "ran a partition leader check in term", "s after the start", "more",
		"VIOLATED  acked-records",
	} {
		if !strings.Contains(failed, want) {
			t.Errorf("nothing of %q in:\n%s", want, failed)
		}
	}
	kept := folders(t, place)
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	dir := filepath.Dir(kept[0])
	for _, want := range []string{"soak check " + dir, "soak run " + dir + "/schedule.yaml --driver process --seed 7 --bug elector-gate-has-leader"} {
		if !strings.Contains(logs, want) {
			t.Errorf("nothing of %q in:\n%s", want, logs)
		}
	}
	for _, file := range []string{"verdict.json", "schedule.yaml", "logs/n1.log"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
}

// A test that never asks still hears of what was violated; one that asks too early is told what is missing.
func TestWhatIsNotAskedForIsToldAllTheSame(t *testing.T) {
	w := standin.New("TestForgetful")
	dir := t.TempDir()
	w.Test(func(t testing.TB) {
		c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond, Bugs: []string{"elector-gate-has-leader"}, Load: &soaktest.Load{}, Dir: dir})
		c.WaitIntervals(3)
	})
	if failed := w.Failures(); !strings.Contains(failed, "VIOLATED  single-leader-proposing") {
		t.Errorf("nothing of the violation in:\n%s", failed)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "2*", "verdict.json")); len(kept) != 1 {
		t.Errorf("kept: %v", kept)
	}
}

// A whole scenario in a Go test.
func TestAScenarioInAGoTest(t *testing.T) {
	w, _ := unlessInconclusive(t, "TestKill", "VIOLATED", func(t testing.TB) {
		r := soaktest.Run(t, `
name: kill-a-leader
election_interval: 500ms
intervals: 10
steady: 1
topics: [{name: orders, partitions: 3}]
workloads: {produce: {rate: 100}, metadata: {rate: 10}, autocreate: {per_minute: 60}}
faults: [{kind: kill, target: partition-leader, at: 2, for: 1s, brief: true}]
minimums: {intervals: 10, faults: 1, acked_records: 50}
`, soaktest.Options{})
		r.Check("acked-records", "single-leader-proposing", "coverage")
	})
	if w.Failed() {
		t.Errorf("failed:\n%s", w.Failures())
	}
}
