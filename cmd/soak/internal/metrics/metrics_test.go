package metrics_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"soak/chaos/runloop"
	"soak/cmd/soak/internal/metrics"
	"soak/history"
)

func ask(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", r.Status, err, b)
	}
	return string(b)
}

func TestWhatTheRunKnows(t *testing.T) {
	s, err := metrics.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := ask(t, s.URL()); strings.Contains(got, "soak_run") {
		t.Errorf("before the first run:\n%s", got)
	}
	found := 0
	run := &history.Run{ID: "aabb", Scenario: "qu\"ick\n", Driver: "process", Seed: 7, Version: "1"}
	s.Begin(run, func() int { return found })
	s.Status(runloop.Status{
		Phase: "faults", Intervals: 4, Wanted: 30, RaftLeader: 2, Term: 3, FaultsAsked: 3, FaultsProven: 2,
		Active: []history.Fault{{Kind: "kill"}, {Kind: "kill"}, {Kind: "pause"}},
	})
	second := history.Metric{
		Acked: 500, Unknown: 2, MetaOK: 10, LatencyP50: 5e6, LatencyP99: 2e7, LatencyMax: 1e9, StallNanos: 25e7, DiskNanos: 75e7,
		Nodes: []history.NodeMetric{{Node: 1, Up: true, Memory: 64 << 20, Goroutines: 40, Descriptors: 20, Disk: 1000}, {Node: 2}},
	}
	s.Observe(&second)
	s.Observe(&second)
	s.Observe(&history.Event{}) // no measurement
	found = 5
	got := ask(t, s.URL())
	for _, want := range []string{
		`soak_run_info{driver="process",id="aabb",scenario="qu\"ick\n",seed="7",version="1"} 1`,
		`soak_run_phase{phase="faults"} 1`, `soak_run_phase{phase="drain"} 0`,
		"soak_run_intervals 4", "soak_run_intervals_wanted 30", "soak_run_raft_leader 2", "soak_run_raft_term 3",
		`soak_run_records_total{outcome="acked"} 1000`, `soak_run_records_total{outcome="unknown"} 4`, `soak_run_records_total{outcome="failed"} 0`,
		`soak_run_metadata_operations_total{outcome="ok"} 20`,
		`soak_run_produce_latency_seconds{of="p99"} 0.02`, `soak_run_produce_latency_seconds{of="max"} 1`,
		"soak_run_runner_stall_seconds 0.25", "soak_run_disk_sync_seconds 0.75",
		`soak_run_faults_total{state="asked"} 3`, `soak_run_faults_total{state="proven"} 2`,
		`soak_run_faults_active{kind="kill"} 2`, `soak_run_faults_active{kind="pause"} 1`, "soak_run_violations_total 5",
		`soak_run_node_up{node="1"} 1`, `soak_run_node_up{node="2"} 0`, `soak_run_node_memory_bytes{node="1"} 6.7108864e+07`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("nothing of %s in:\n%s", want, got)
		}
	}
	for _, not := range []string{`soak_run_node_memory_bytes{node="2"}`, "NaN"} {
		if strings.Contains(got, not) {
			t.Errorf("%s in:\n%s", not, got)
		}
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promtool would say: %v, %v", problems, err)
	}

	s.Observe(&history.Metric{}) // a second in which nothing was acknowledged has no latency
	if got := ask(t, s.URL()); strings.Contains(got, "latency") {
		t.Errorf("latency of nothing:\n%s", got)
	}
	s.Begin(run, func() int { return 0 }) // the next of --repeat
	if got := ask(t, s.URL()); !strings.Contains(got, `soak_run_records_total{outcome="acked"} 0`) {
		t.Errorf("a new run begins with:\n%s", got)
	}
}

func TestItIsGoneAfterwards(t *testing.T) {
	s, err := metrics.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.Listen(strings.TrimSuffix(strings.TrimPrefix(s.URL(), "http://"), "/metrics")); err == nil {
		t.Error("two at one address")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := http.Get(s.URL()); err == nil {
		r.Body.Close()
		t.Error("it still answers")
	}
}

func TestNoServer(t *testing.T) {
	var s *metrics.Server
	s.Begin(&history.Run{}, nil)
	s.Status(runloop.Status{})
	s.Observe(&history.Metric{})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddr(t *testing.T) {
	for asked, want := range map[string]string{
		":9100": "127.0.0.1:9100", "localhost:9100": "localhost:9100", "0.0.0.0:9100": "0.0.0.0:9100", "[::1]:0": "[::1]:0", "[::]:1": "[::]:1",
		"": "", "9100": "", "host": "", "host:": "", ":http": "", ":70000": "", ":-1": "", "::1:9100": "",
	} {
		got, err := metrics.Addr(asked)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", asked, got, err, want)
		}
	}
}
