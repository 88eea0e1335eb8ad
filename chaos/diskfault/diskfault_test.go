package diskfault

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"soak/chaos"
	"soak/history"
	"soak/internal/faultshim"
	"soak/internal/vfs"
)

// fakeNode is a broker as far as its disk goes: it writes and syncs, and stops at the first error unless it is stubborn.
type fakeNode struct {
	id       int32
	stubborn bool

	mu   sync.Mutex
	life *fakeLife
	boot uint64
}

type fakeLife struct {
	boot    uint64
	shim    *vfs.Shim
	server  *httptest.Server
	ended   chan struct{}
	once    sync.Once
	why     string
	byFault bool
	killed  bool
}

func (n *fakeNode) ID() int32 { return n.id }

func (n *fakeNode) Life() (Life, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life, !over(n.life)
}

func (l *fakeLife) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", l.server.Listener.Addr().String())
}
func (l *fakeLife) Ended() <-chan struct{} { return l.ended }
func (l *fakeLife) Status() string         { return l.why }
func (l *fakeLife) StoppedByFault() bool   { return l.byFault }
func (l *fakeLife) Killed() bool           { return l.killed }
func (l *fakeLife) Boot() uint64           { return l.boot }

func (l *fakeLife) end(why string, byFault, killed bool) {
	l.once.Do(func() {
		l.why, l.byFault, l.killed = why, byFault, killed
		close(l.ended)
	})
}

// start begins a life that writes until it ends.
func (n *fakeNode) start(t *testing.T) {
	t.Helper()
	shim, err := vfs.NewShim(vfs.NewMem(), "/")
	if err != nil {
		t.Fatal(err)
	}
	file, err := shim.FS().Create("/log")
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.boot++
	l := &fakeLife{boot: n.boot, shim: shim, ended: make(chan struct{})}
	n.life = l
	n.mu.Unlock()
	leases, stop := context.WithCancel(context.Background())
	s := faultshim.NewServer(shim, func(faultshim.Loss, error) { l.end("signal: killed", false, true) })
	go s.Run(leases)
	l.server = httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		l.end("the test is over", false, false)
		stop()
		l.server.Close()
	})
	go func() {
		other := time.NewTicker(time.Millisecond) // it has other things to do
		defer other.Stop()
		for ; !over(l); <-other.C {
			_, err := file.Write([]byte("a record"))
			if err == nil {
				err = file.Sync()
			}
			if err != nil && !n.stubborn {
				l.end("exit code 1", true, false)
			}
		}
	}()
}

func fault(t *testing.T, spec chaos.Spec, nodes ...*fakeNode) *Fault {
	t.Helper()
	var ns []Node
	for _, n := range nodes {
		n.start(t)
		ns = append(ns, n)
	}
	f, err := New(spec, 3, ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.End(context.Background()) })
	return f
}

func phases(evidence []history.Evidence) (ps []string) {
	for _, e := range evidence {
		ps = append(ps, e.Phase)
	}
	return slices.Compact(ps)
}

func TestEachKindHasEvidenceFromBeginningToEnd(t *testing.T) {
	for _, kind := range []string{chaos.DiskFull, chaos.WriteError, chaos.SyncError, chaos.ReadError, chaos.SlowDisk, chaos.PowerLoss} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			a, b := &fakeNode{id: 1}, &fakeNode{id: 2}
			spec := chaos.Spec{ID: 4, Kind: kind}
			if kind == chaos.SlowDisk {
				spec.Factor = 200
			}
			f := fault(t, spec, a, b)
			evidence, err := f.Inject(ctx)
			if got := phases(evidence); err != nil || !slices.Equal(got, []string{"before", "during"}) {
				t.Fatalf("inject: %v, %v", got, err)
			}
			if evidence, err = f.Probe(ctx); err != nil || !slices.Equal(phases(evidence), []string{"during"}) {
				t.Errorf("probe: %v, %v", evidence, err)
			}
			if err := f.End(ctx); err != nil {
				t.Fatal(err)
			}
			if err := f.End(ctx); err != nil {
				t.Errorf("ended twice: %v", err)
			}
			want := 0
			if stops(kind) || kind == chaos.PowerLoss {
				want = 2
			}
			down := f.Down()
			if len(down) != want {
				t.Fatalf("%d nodes are down, want %d", len(down), want)
			}
			for _, n := range down {
				n.(*fakeNode).start(t)
			}
			evidence, wentOn, err := f.Healed(ctx)
			if err != nil || len(wentOn) > 0 || !slices.Equal(phases(evidence), []string{"after"}) {
				t.Errorf("healed: %v, %v, %v", evidence, wentOn, err)
			}
		})
	}
}

// The rule is taken away behind the run's back.
func TestAFaultThatWasTakenAwayHasLapsed(t *testing.T) {
	n := &fakeNode{id: 1}
	f := fault(t, chaos.Spec{ID: 4, Kind: chaos.SlowDisk, Parameters: chaos.Parameters{Factor: 3}}, n)
	if _, err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := faultshim.NewClient(n.life.Dial)
	defer other.Close()
	if _, err := other.End(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if e, err := f.Probe(t.Context()); !errors.Is(err, chaos.ErrLapsed) || len(e) > 0 {
		t.Errorf("probe: %v, %v; want lapsed", e, err)
	}
}

func TestANodeThatRunsAgainHasLapsed(t *testing.T) {
	n := &fakeNode{id: 1}
	f := fault(t, chaos.Spec{ID: 4, Kind: chaos.DiskFull}, n)
	if _, err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	if e, err := f.Probe(t.Context()); !errors.Is(err, chaos.ErrLapsed) {
		t.Errorf("probe: %v, %v; want lapsed", e, err)
	}
}

// A node that another fault had killed has the slow disk again when it comes back.
func TestASlowDiskOutlivesTheNode(t *testing.T) {
	n := &fakeNode{id: 1}
	f := fault(t, chaos.Spec{ID: 4, Kind: chaos.SlowDisk, Parameters: chaos.Parameters{Factor: 3}}, n)
	if _, err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.life.end("signal: killed", false, true)
	if e, err := f.Probe(t.Context()); err != nil || len(e) > 0 {
		t.Errorf("probe of a node that another fault has down: %v, %v", e, err)
	}
	n.start(t)
	f.renew(f.parts[0]) // as the keeper does every second
	if e, err := f.Probe(t.Context()); err != nil || len(e) != 1 {
		t.Errorf("probe after it came back: %v, %v", e, err)
	}
	if err := f.End(t.Context()); err != nil || len(f.Down()) > 0 {
		t.Errorf("end: %v, down %v", err, f.Down())
	}
}

// A broker that goes on after a failed sync is broken, whatever it says.
func TestANodeThatGoesOnAfterAFailedSyncIsNamed(t *testing.T) {
	n := &fakeNode{id: 1, stubborn: true}
	f := fault(t, chaos.Spec{ID: 4, Kind: chaos.SyncError}, n)
	evidence, err := f.Inject(t.Context())
	if err != nil || !strings.Contains(evidence[len(evidence)-1].What, "of its calls refused") {
		t.Fatalf("inject: %v, %v", evidence, err)
	}
	if err := f.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, wentOn, err := f.Healed(t.Context())
	if err != nil || len(wentOn) != 1 || wentOn[0].What != "fatal" || !strings.Contains(wentOn[0].Line, "n1 went on although") {
		t.Errorf("%+v, %v", wentOn, err)
	}
}

func TestADownNodeIsNoTarget(t *testing.T) {
	n := &fakeNode{id: 1}
	n.start(t)
	n.life.end("exit code 0", false, false)
	if _, err := New(chaos.Spec{ID: 1, Kind: chaos.SlowDisk}, 0, []Node{n}); err == nil {
		t.Error("a fault on a node that is down")
	}
}

func TestANodeThatCannotBeReachedGivesNoEvidence(t *testing.T) {
	n := &fakeNode{id: 1}
	f := fault(t, chaos.Spec{ID: 4, Kind: chaos.ReadError}, n)
	n.life.server.Close()
	if e, err := f.Inject(t.Context()); err == nil || len(e) > 0 {
		t.Errorf("inject: %v, %v", e, err)
	}
}
