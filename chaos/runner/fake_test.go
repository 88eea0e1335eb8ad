package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/runloop"
	"soak/history"
)

// script is a loop whose answers a test writes down.
type script struct {
	on      func(now int64, in runloop.Input) // answers by do and wakeIn
	actions []runloop.Action
	wake    int64
	now     int64
	inputs  []runloop.Input
	active  []history.Fault
	steps   sync.Mutex // must never be contended: one goroutine steps
}

func newScript(on func(int64, runloop.Input)) *script {
	return &script{on: on, wake: math.MaxInt64, actions: []runloop.Action{runloop.EnterPhase{Name: "start"}, runloop.StartCluster{}}}
}

func (s *script) do(a ...runloop.Action)  { s.actions = append(s.actions, a...) }
func (s *script) wakeIn(d time.Duration)  { s.wake = s.now + int64(d) }
func (s *script) Wake() int64             { return s.wake }
func (s *script) Phases() []history.Phase { return []history.Phase{{Name: "start", Start: 1}} }
func (s *script) Status() runloop.Status  { return runloop.Status{Phase: "scripted", Active: s.active} }
func (s *script) Problem() string         { return "" }
func (s *script) Notes() []string         { return []string{"a note of the loop"} }
func (s *script) Topics() []history.TopicInfo {
	return []history.TopicInfo{{Name: "orders", Partitions: 6, Replicas: []int32{1, 2, 3}}}
}

func (s *script) Step(now int64, in runloop.Input) {
	if !s.steps.TryLock() {
		panic("two goroutines step the loop")
	}
	defer s.steps.Unlock()
	if now < s.now {
		panic("time goes back")
	}
	s.now = now
	if _, tick := in.(runloop.Tick); tick {
		s.wake = math.MaxInt64
	} else {
		s.inputs = append(s.inputs, in)
	}
	s.on(now, in)
}

func (s *script) Actions() []runloop.Action {
	a := s.actions
	s.actions = nil
	return a
}

// fakeCluster records what it is asked, and by default does it at once.
type fakeCluster struct {
	sink chaos.Sink

	mu    sync.Mutex
	calls []string

	start   func(context.Context) error
	inject  func(context.Context, chaos.Spec) ([]history.Evidence, error)
	probe   func(context.Context, int) ([]history.Evidence, error)
	heal    func(context.Context, int) ([]history.Evidence, error)
	healAll func(context.Context) error
	close   func(context.Context) error
}

func (c *fakeCluster) called(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

func evidence(phase string) []history.Evidence {
	return []history.Evidence{{Time: time.Now().UnixNano(), Phase: phase, What: phase}}
}

func (c *fakeCluster) Driver() string                   { return "fake" }
func (c *fakeCluster) Capabilities() chaos.Capabilities { return nil }
func (c *fakeCluster) Addr(n int32) string              { return fmt.Sprintf("n%d:1", n) }

func (c *fakeCluster) Start(ctx context.Context) error {
	c.called("start")
	if c.start != nil {
		return c.start(ctx)
	}
	return nil
}

func (c *fakeCluster) Inject(ctx context.Context, f chaos.Spec) ([]history.Evidence, error) {
	c.called("inject %d %s", f.ID, f.Kind)
	if c.inject != nil {
		return c.inject(ctx, f)
	}
	return evidence("during"), nil
}

func (c *fakeCluster) Probe(ctx context.Context, id int) ([]history.Evidence, error) {
	c.called("probe %d", id)
	if c.probe != nil {
		return c.probe(ctx, id)
	}
	return []history.Evidence{{Time: time.Now().UnixNano(), Phase: "during", What: "probed"}}, nil
}

func (c *fakeCluster) Heal(ctx context.Context, id int) ([]history.Evidence, error) {
	c.called("heal %d", id)
	if c.heal != nil {
		return c.heal(ctx, id)
	}
	return evidence("after"), nil
}

func (c *fakeCluster) HealAll(ctx context.Context) error {
	c.called("heal all")
	if c.healAll != nil {
		return c.healAll(ctx)
	}
	return nil
}

func (c *fakeCluster) Close(ctx context.Context) error {
	c.called("close")
	if c.close != nil {
		return c.close(ctx)
	}
	return nil
}

// endsHealedAndClosed fails the test unless the cluster was healed, then closed, last of all.
func (c *fakeCluster) endsHealedAndClosed(t *testing.T) {
	t.Helper()
	if n := len(c.calls); n < 2 || !slices.Equal(c.calls[n-2:], []string{"heal all", "close"}) {
		t.Errorf("the cluster was asked %q; want it healed, then closed, at the end", c.calls)
	}
}

type fakeClients struct {
	do     func(context.Context, *history.Operation)
	read   func(ctx context.Context, topics []history.TopicInfo, n int, now func() int64, sink func(*history.Operation))
	closed bool
}

func (c *fakeClients) Read(ctx context.Context, topics []history.TopicInfo, n int, now func() int64, sink func(*history.Operation)) {
	if c.closed {
		panic("the clients are closed")
	}
	if c.read != nil {
		c.read(ctx, topics, n, now, sink)
	}
	<-ctx.Done()
}

func (c *fakeClients) Do(ctx context.Context, op *history.Operation) {
	if c.do != nil {
		c.do(ctx, op)
		return
	}
	op.Outcome = history.OK
}

func (c *fakeClients) Close() { c.closed = true }

type fakeRecorder struct {
	events  []history.Event
	ops     []*history.Operation
	faults  []history.Fault
	metrics []history.Metric
	flushes int
	err     error
	failing func() error // asked at each flush; may be nil
}

func (r *fakeRecorder) Event(e history.Event)           { r.events = append(r.events, e) }
func (r *fakeRecorder) Operation(op *history.Operation) { r.ops = append(r.ops, op) }
func (r *fakeRecorder) Fault(f history.Fault)           { r.faults = append(r.faults, f) }
func (r *fakeRecorder) Metric(m history.Metric)         { r.metrics = append(r.metrics, m) }

func (r *fakeRecorder) Flush() error {
	r.flushes++
	if r.failing != nil && r.err == nil {
		r.err = r.failing()
	}
	return r.err
}

// harness is a run of fakes.
type harness struct {
	loop     *script
	cluster  *fakeCluster
	clients  *fakeClients
	recorder *fakeRecorder
	observed []any
	o        Options
	took     time.Duration
}

func newHarness(loop *script) *harness {
	h := &harness{loop: loop, cluster: &fakeCluster{}, clients: &fakeClients{}, recorder: &fakeRecorder{}}
	h.o = Options{
		Loop:       loop,
		NewCluster: func(s chaos.Sink) (chaos.Cluster, error) { h.cluster.sink = s; return h.cluster, nil },
		NewClients: func(addr func(int32) string) (Clients, error) {
			if addr(2) != "n2:1" {
				return nil, errors.New("the address is not the cluster's")
			}
			return h.clients, nil
		},
		Recorder: h.recorder,
		Run:      &history.Run{Nodes: 3},
		Observe:  func(x any) { h.observed = append(h.observed, x) },
	}
	return h
}

func (h *harness) run(ctx context.Context) error {
	begin := time.Now()
	defer func() { h.took = time.Since(begin) }()
	return Run(ctx, h.o)
}
