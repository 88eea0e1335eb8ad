package hand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/history"
)

// fake is a cluster that does at once what it is asked.
type fake struct {
	mu     sync.Mutex
	calls  []string
	inject func(chaos.Spec) ([]history.Evidence, error)
	probe  func(int) ([]history.Evidence, error)
	heal   func(int) error
	close  func() error
}

func (c *fake) called(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

func (c *fake) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.calls, ", ")
}

func (c *fake) Driver() string { return "fake" }
func (c *fake) Capabilities() chaos.Capabilities {
	return chaos.Capabilities{chaos.Kill: "", chaos.Pause: "", chaos.Partition: "", chaos.Delay: "", chaos.RestartAll: "", chaos.SlowDisk: "", chaos.Loss: "bytes are never lost"}
}
func (c *fake) Addr(n int32) string         { return fmt.Sprintf("127.0.0.1:%d", n) } // where nobody listens
func (c *fake) Start(context.Context) error { c.called("start"); return nil }
func (c *fake) Inject(_ context.Context, s chaos.Spec) ([]history.Evidence, error) {
	c.called("inject %d %s %v", s.ID, s.Kind, s.Nodes)
	if c.inject != nil {
		return c.inject(s)
	}
	return []history.Evidence{{Phase: "before", What: "was there"}, {Phase: "during", What: "seen"}}, nil
}
func (c *fake) Probe(_ context.Context, id int) ([]history.Evidence, error) {
	if c.probe != nil {
		return c.probe(id)
	}
	return []history.Evidence{{Phase: "during", What: "looked"}}, nil
}
func (c *fake) Heal(_ context.Context, id int) ([]history.Evidence, error) {
	c.called("heal %d", id)
	if c.heal != nil {
		if err := c.heal(id); err != nil {
			return nil, err
		}
	}
	return []history.Evidence{{Phase: "after", What: "gone"}}, nil
}
func (c *fake) HealAll(context.Context) error { c.called("heal all"); return nil }
func (c *fake) Close(context.Context) error {
	c.called("close")
	if c.close != nil {
		return c.close()
	}
	return nil
}

func options(c *fake) Options {
	topic := "orders"
	return Options{
		Driver: "fake", New: func(chaos.Config) (chaos.Cluster, error) { return c, nil }, Logf: func(string, ...any) {},
		Config: chaos.Config{RunID: "aabbccdd00112233", Nodes: 3, ElectionInterval: 2 * time.Second},
		ask: func(context.Context, int32) (*kmsg.MetadataResponse, error) {
			return &kmsg.MetadataResponse{Brokers: []kmsg.MetadataResponseBroker{{NodeID: 1}}, Topics: []kmsg.MetadataResponseTopic{{Topic: &topic}}}, nil
		},
	}
}

// quiet is a cluster whose socket nobody opens, so that its time can be virtual. n2 leads.
func quiet(c *fake) *Hand {
	h := newHand(options(c))
	h.cluster = c
	lead(h, 2)
	return h
}

func lead(h *Hand, node int32) {
	(*sink)(h).Event(history.Event{Node: node, Boot: 1, Seq: 1, Body: &history.RoleChange{Term: 1, Role: history.RoleLeader, Leader: node}})
}

func kill(target string) map[string]string {
	return map[string]string{"kind": "kill", "target": target}
}

func (h *Hand) inEffect() []FaultStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []FaultStatus
	for _, f := range h.sorted() {
		all = append(all, f.snapshot())
	}
	return all
}

func TestAFaultStaysUntilItIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{}
		h := quiet(c)
		defer h.endWork()
		f, err := h.Fault(kill("raft-leader"))
		if err != nil || !slices.Equal(f.Nodes, []int32{2}) || f.State != active || !f.OnRaftLeader || !f.Proven() {
			t.Fatalf("the fault is %+v, %v", f, err)
		}
		time.Sleep(time.Hour) // of virtual time: looked at all along, and never healed
		synctest.Wait()
		now := h.inEffect()
		if len(now) != 1 || now[0].Seen < f.Seen+int64(59*time.Minute) || !slices.ContainsFunc(now[0].Evidence, func(e history.Evidence) bool { return e.What == "looked" }) {
			t.Fatalf("after an hour: %+v", now)
		}
		if n := len(now[0].Evidence); n > 3 {
			t.Errorf("an hour of looking left %d pieces of evidence", n)
		}
		healed, err := h.Heal(0)
		if err != nil || len(healed) != 1 || healed[0].Healed == 0 || len(h.inEffect()) != 0 {
			t.Fatalf("healing gave %+v, %v, and left %v", healed, err, h.inEffect())
		}
		if got := c.told(); got != "inject 1 kill [2], heal 1" {
			t.Errorf("the driver was asked: %s", got)
		}
	})
}

func TestAFaultWithALengthEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := &fake{heal: func(int) error {
			if tries++; tries == 1 {
				return errors.New("not yet")
			}
			return nil
		}}
		h := quiet(c)
		defer h.endWork()
		fields := kill("n1")
		fields["for"] = "2 intervals"
		f, err := h.Fault(fields)
		if err != nil || f.Ends-f.Effective != int64(4*time.Second) {
			t.Fatalf("the fault is %+v, %v, want an end after 4 s", f, err)
		}
		time.Sleep(4*time.Second - 1)
		synctest.Wait()
		if len(h.inEffect()) != 1 {
			t.Fatal("it ended early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if tries != 2 || len(h.inEffect()) != 0 {
			t.Fatalf("after its time it was asked to end %d times, and these are in effect: %v", tries, h.inEffect())
		}
	})
}

func TestWhatIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{}
		h := quiet(c)
		defer h.endWork()
		if _, err := h.Fault(kill("n1")); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			fields     map[string]string
			want, hint string
		}{
			{kill("n1"), "free of other faults", "fault 1 (kill of n1"},
			{map[string]string{"kind": "pause", "target": "n1"}, "free of other faults", "fault 1 (kill of n1"},
			{kill("n1+n3"), "free of other faults", "fault 1"},
			{kill("leader(none-0)"), "target leader(none-0): no node that is up is that now", "status"},
			{map[string]string{"kind": "kill"}, "it has no target", "raft-leader"},
			{map[string]string{"kind": "kil", "target": "n2"}, `unknown kind "kil"`, `"kill"`},
			{map[string]string{"kind": "packet-loss", "target": "n2", "ppm": "10"}, "bytes are never lost", "soak faults"},
			{map[string]string{"kind": "slow-disk", "target": "n2", "factor": "20"}, "without what disk faults need", "--image"},
			{map[string]string{"kind": "power-loss", "target": "n2"}, "does not know this fault", "soak faults"},
			{map[string]string{"kind": "kill", "target": "n2", "when": "leader_check"}, "belongs to the schedule of a run", ""},
		} {
			_, err := h.Fault(x.fields)
			p := (*Problem)(nil)
			if !errors.As(err, &p) || !p.Refused || !strings.Contains(p.Msg, x.want) || !strings.Contains(p.Hint, x.hint) {
				t.Errorf("%v: %+v, want %q with the hint %q", x.fields, err, x.want, x.hint)
			}
		}
		// A delay is no such fault: it may come on top.
		if _, err := h.Fault(map[string]string{"kind": "link-delay", "target": "n1", "by": "50ms"}); err != nil {
			t.Error(err)
		}
	})
}

func TestAFaultWithoutEvidenceIsHealedAtOnce(t *testing.T) {
	for name, inject := range map[string]func(chaos.Spec) ([]history.Evidence, error){
		"an error":    func(chaos.Spec) ([]history.Evidence, error) { return nil, errors.New("no evidence was seen") },
		"no evidence": func(chaos.Spec) ([]history.Evidence, error) { return []history.Evidence{{Phase: "before"}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := &fake{inject: inject}
			h := quiet(c)
			defer h.endWork()
			_, err := h.Fault(kill("n1"))
			p := (*Problem)(nil)
			if !errors.As(err, &p) || p.Refused || !strings.Contains(p.Msg, "evidence") || len(h.inEffect()) != 0 || c.told() != "inject 1 kill [1], heal 1" {
				t.Errorf("it said %v, left %v, and asked: %s", err, h.inEffect(), c.told())
			}
		})
	}
}

func TestAFaultThatEndsByItselfIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{probe: func(int) ([]history.Evidence, error) { return nil, fmt.Errorf("n1 runs: %w", chaos.ErrLapsed) }}
		h := quiet(c)
		defer h.endWork()
		if _, err := h.Fault(kill("n1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f := h.inEffect(); len(f) != 1 || f[0].Lapsed == 0 || !strings.Contains(f[0].Trouble, "n1 runs") {
			t.Errorf("it is %+v, want one that has lapsed", f)
		}
	})
}

func TestPausedNodesGoOnFirstAndDeadOnesStartLast(t *testing.T) {
	c := &fake{}
	h := quiet(c)
	defer h.endWork()
	for _, f := range []map[string]string{kill("n1"), {"kind": "partition", "target": "n2"}, {"kind": "pause", "target": "n3"}} {
		if _, err := h.Fault(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Heal(0); err != nil {
		t.Fatal(err)
	}
	if want := "heal 3, heal 2, heal 1"; !strings.HasSuffix(c.told(), want) {
		t.Errorf("the driver was asked: %s, want %s", c.told(), want)
	}
	if _, err := h.Heal(2); err == nil {
		t.Error("a fault that is healed could be healed again")
	}
}

// state gives the test a state directory of its own, with a short path: sockets lie in it.
func state(t *testing.T) {
	dir, err := os.MkdirTemp("", "hand")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_STATE_HOME", dir)
}

func TestOthersReachTheOwner(t *testing.T) {
	state(t)
	c := &fake{}
	ctx := t.Context()
	h, err := Up(ctx, options(c))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	lead(h, 2)
	i, err := Find("aabb")
	if err != nil || !i.Alive || i.ID != h.Info().ID || len(i.Bootstrap) != 3 {
		t.Fatalf("found %+v, %v", i, err)
	}
	socket := filepath.Join(i.Home, socketFile)
	for path, want := range map[string]os.FileMode{socket: 0o600, i.Home: 0o700} {
		if s, err := os.Stat(path); err != nil || s.Mode().Perm() != want {
			t.Errorf("%s is open to others: %v, %v", path, s, err)
		}
	}
	f, err := AskFault(ctx, i, map[string]string{"kind": "pause", "target": "n3"})
	if err != nil || f.ID != 1 {
		t.Fatalf("asking for a fault gave %+v, %v", f, err)
	}
	s, err := AskStatus(ctx, i)
	if err != nil || s.Leader != 2 || len(s.Faults) != 1 || s.State[2].State != "paused" || s.State[0].State != "up" || s.State[0].Answers {
		t.Fatalf("the status is %+v, %v", s, err)
	}
	if healed, err := AskHeal(ctx, i, 0); err != nil || len(healed) != 1 {
		t.Fatalf("healing gave %+v, %v", healed, err)
	}
	p := (*Problem)(nil)
	if _, err := AskFault(ctx, i, kill("n7")); !errors.As(err, &p) || !p.Refused {
		t.Errorf("n7 of three nodes: %v", err)
	}
	for what, text := range map[string]string{
		"speaks version 1": `{"v":2,"op":"down"}`, "unknown request": `{"v":1,"op":"dance"}`, "reading the request": `{"v":1,"op":"status","more":1}`,
		"unexpected EOF": `{"v":1,"op":"` + strings.Repeat("x", 2*maxRequest),
	} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, text)
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !bytes.Contains(got, []byte(what)) {
			t.Errorf("%.40s was answered %s, want %q", text, got, what)
		}
	}

	down := make(chan error)
	go func() { down <- AskDown(ctx, i) }()
	<-h.Asked()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-down; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(i.Home); err == nil || owner.Alive(i.ID) {
		t.Error("something of it is left")
	}
	if _, err := Find(""); !errors.Is(err, ErrNone) {
		t.Errorf("found one that is down: %v", err)
	}
}

func TestWhatCannotBeRemovedIsFoundLater(t *testing.T) {
	state(t)
	h, err := Up(t.Context(), options(&fake{close: func() error { return errors.New("the engine is gone") }}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Clean(); err != nil || got != nil {
		t.Fatalf("a living cluster was cleaned: %v, %v", got, err)
	}
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "the engine is gone") {
		t.Fatalf("closing gave %v", err)
	}
	i, err := Find("")
	if err != nil || i.Alive {
		t.Fatalf("found %+v, %v, want one that is dead", i, err)
	}
	got, err := Clean()
	if err != nil || len(got) != 1 || !strings.Contains(got[0], i.ID) {
		t.Fatalf("cleaning removed %v, %v", got, err)
	}
	if _, err := os.Stat(i.Home); err == nil {
		t.Error("its home is still there")
	}
}

func TestOneOfSeveralIsNamedByItsBeginning(t *testing.T) {
	state(t)
	for _, id := range []string{"aa11", "aa22", "bb33"} {
		o := options(&fake{})
		o.Config.RunID = id
		h, err := Up(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
	}
	several := (*Ambiguous)(nil)
	for _, prefix := range []string{"", "aa"} {
		if _, err := Find(prefix); !errors.As(err, &several) || !strings.Contains(err.Error(), "aa11, aa22") {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	if i, err := Find("b"); err != nil || i.ID != "bb33" {
		t.Errorf("b is %+v, %v", i, err)
	}
	if _, err := Find("c"); !errors.Is(err, ErrNone) {
		t.Errorf("c: %v", err)
	}
}

func TestAClusterThatDoesNotComeUpLeavesNothing(t *testing.T) {
	state(t)
	c := &fake{}
	o := options(c)
	ctx, cancel := context.WithCancel(t.Context())
	o.ask = func(context.Context, int32) (*kmsg.MetadataResponse, error) {
		cancel()
		return nil, errors.New("not ready")
	}
	if _, err := Up(ctx, o); err == nil || !strings.Contains(err.Error(), "waiting for n1 to answer clients") {
		t.Fatalf("it came up: %v", err)
	}
	if dir, _ := homes(); !strings.HasSuffix(c.told(), "close") || owner.Alive(o.Config.RunID) {
		t.Errorf("it was not closed: %s", c.told())
	} else if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
