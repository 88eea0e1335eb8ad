package soaktest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"soak/soaktest"
)

func TestMain(m *testing.M) { soaktest.Main(m) }

// watched stands in for the *testing.T of somebody else's test: what it is told can be looked at, and its failures are not ours.
type watched struct {
	testing.TB
	name string

	mu      sync.Mutex
	logs    []string
	errors  []string
	cleanup []func()
}

func (w *watched) Helper()      {}
func (w *watched) Name() string { return w.name }
func (w *watched) Logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, fmt.Sprintf(format, args...))
}
func (w *watched) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}
func (w *watched) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}
func (w *watched) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.errors) > 0
}
func (w *watched) Cleanup(f func()) { w.cleanup = append(w.cleanup, f) }

func (w *watched) Context() context.Context { return context.Background() }

// begin and end make an example a test: what it fails with, it prints.
func begin(name string) *watched { return &watched{name: name} }

func (w *watched) end() {
	w.cleanUp()
	if w.Failed() {
		fmt.Println(w.said(true))
	}
}

// test does what a test function does, and then cleans up.
func (w *watched) test(f func(t testing.TB)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(w)
	}()
	<-done
	w.cleanUp()
}

func (w *watched) cleanUp() {
	for len(w.cleanup) > 0 {
		last := w.cleanup[len(w.cleanup)-1]
		w.cleanup = w.cleanup[:len(w.cleanup)-1]
		last()
	}
}

func (w *watched) said(errors bool) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors {
		return strings.Join(w.errors, "\n")
	}
	return strings.Join(w.logs, "\n")
}

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

// A test that holds passes, and leaves nothing behind.
func TestASoundClusterHolds(t *testing.T) {
	place := t.TempDir()
	t.Setenv("TMPDIR", place)
	w := &watched{name: "TestOrders/with a_hostile\nname"}
	w.test(func(t testing.TB) {
		c := soaktest.Start(t, soaktest.Options{
			ElectionInterval: 500 * time.Millisecond, Topics: []soaktest.Topic{{Name: "orders", Partitions: 2}},
		})
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
		slow := c.Fault("link-delay", "follower", "by=20ms", "for=500ms") // on top of it, and it ends by itself
		send(t, c.Bootstrap(), p.Send(0, 100), "orders")
		time.Sleep(2 * time.Second)
		f.Heal()
		f.Heal() // does nothing
		slow.Heal()
		c.Check()
	})
	if w.Failed() {
		t.Errorf("failed:\n%s\nlogs:\n%s", w.said(true), w.said(false))
	}
	if left := folders(t, place); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// A bug is told in words, with the folder that proves it and the command that shows it again; so is a record that a client of the test's own was told is safe.
func TestABrokenClusterFailsTheTest(t *testing.T) {
	place := t.TempDir()
	t.Setenv("TMPDIR", place)
	w := &watched{name: "TestBroken"}
	w.test(func(t testing.TB) {
		c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond, Bugs: []string{"elector-gate-has-leader"}, Seed: 7})
		c.Producer("records").Send(0, 100).Acked(3) // it was never sent
		c.Check()
	})
	failed, logs := w.said(true), w.said(false)
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
	w := &watched{name: "TestForgetful"}
	dir := t.TempDir()
	w.test(func(t testing.TB) {
		c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond, Bugs: []string{"elector-gate-has-leader"}, Load: &soaktest.Load{}, Dir: dir})
		c.WaitIntervals(3)
	})
	if failed := w.said(true); !strings.Contains(failed, "VIOLATED  single-leader-proposing") {
		t.Errorf("nothing of the violation in:\n%s", failed)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "2*", "verdict.json")); len(kept) != 1 {
		t.Errorf("kept: %v", kept)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t testing.TB)
		want string
	}{
		{"driver", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Driver: "podman"}) }, `unknown driver "podman": want process or docker`},
		{"bug", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Bugs: []string{"nosuch"}}) }, "nosuch"},
		{"nodes", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Nodes: 2}) }, "nodes: 2"},
		{"interval", func(t testing.TB) { soaktest.Start(t, soaktest.Options{ElectionInterval: time.Millisecond}) }, "election_interval"},
		{"topic", func(t testing.TB) {
			soaktest.Start(t, soaktest.Options{Topics: []soaktest.Topic{{Name: "a b", Partitions: 1}}})
		}, `"a b" cannot be a record topic's name`},
		{"load", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Load: &soaktest.Load{Records: -1}}) }, "rate"},
		{"scenario", func(t testing.TB) { soaktest.Run(t, "quik", soaktest.Options{}) }, `did you mean "quick"?`},
		{"yaml", func(t testing.TB) { soaktest.Run(t, "name: x\nnodess: 3\n", soaktest.Options{}) }, "scenario.yaml:2:1"},
		{"fault", func(t testing.TB) {
			soaktest.Run(t, "topics: [{name: a}]\nfaults:\n  - {kind: packet-loss, target: n1, at: 1, ppm: 1000}\n", soaktest.Options{})
		}, "the driver process cannot do the fault packet-loss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &watched{name: "TestX"}
			w.test(c.do)
			if got := w.said(true); !strings.HasPrefix(got, "soaktest: ") || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want something of %q", got, c.want)
			}
		})
	}
}
