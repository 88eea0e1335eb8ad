package broker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/broker/core"
	"soak/history"
)

// journal notes in what order the loop does things.
type journal struct {
	did      []string
	writeErr error
}

func (j *journal) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, ok, err := history.ParseEvent([]byte(strings.TrimSuffix(line, "\n"))); !ok || err != nil {
			line = "no event: " + line
		} else {
			line = "event"
		}
		j.did = append(j.did, line)
	}
	return len(p), j.writeErr
}
func (j *journal) submit(ops []core.DiskOp)       { j.did = append(j.did, "disk") }
func (j *journal) send(int32, []byte)             { j.did = append(j.did, "send") }
func (j *journal) answer(_ core.ConnID, _ []byte) { j.did = append(j.did, "answer") }
func (j *journal) drop(core.ConnID)               { j.did = append(j.did, "drop") }

func journalled(n node) (*loop, *journal) {
	j := &journal{}
	return &loop{
		node: n, in: newInbox(), now: func() int64 { return 42 }, events: j, disk: j, peers: j, conns: j,
		warn: func(msg string, err error) { j.did = append(j.did, "warn") },
	}, j
}

// everything makes the next Ready hold one of each kind of output, and two events.
func everything(n *fakeNode) func(core.Input, *core.Output) {
	return func(in core.Input, out *core.Output) {
		if _, tick := in.(core.Tick); tick {
			return
		}
		out.Close = []core.ConnID{1}
		out.Responses = []core.Response{{Conn: 2, Corr: 3}}
		out.Messages = []*core.PeerMessage{{To: 2, Heartbeat: &core.Heartbeat{}}}
		out.Disk = []core.DiskOp{{Kind: core.OpLogRead}}
		out.Events = []history.Event{n.event(), n.event()}
	}
}

func TestEventsAreWrittenBeforeAnythingLeaves(t *testing.T) {
	n := &fakeNode{}
	n.react = everything(n)
	l, j := journalled(n)
	if _, err := l.turn([]entry{{in: core.ConnClosed{}}}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"event", "event", "disk", "send", "answer", "drop"}, j.did); d != "" {
		t.Error(d)
	}
}

func TestNothingLeavesWhenEventsCannotBeWritten(t *testing.T) {
	n := &fakeNode{}
	n.react = everything(n)
	l, j := journalled(n)
	j.writeErr = errors.New("full")
	if _, err := l.turn([]entry{{in: core.ConnClosed{}}}); !errors.Is(err, j.writeErr) {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"event", "event"}, j.did); d != "" {
		t.Error(d)
	}
}

func TestFatalLeavesItsEventsAndNothingElse(t *testing.T) {
	n := &fakeNode{}
	broken := errors.New("broken")
	all := everything(n)
	n.react = func(in core.Input, out *core.Output) { all(in, out); out.Fatal = broken }
	l, j := journalled(n)
	if _, err := l.turn([]entry{{in: core.ConnClosed{}}}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"event", "event"}, j.did); d != "" {
		t.Error(d)
	}
}

func TestAMessageThatCannotBeEncodedIsToldAndPassedOver(t *testing.T) {
	n := &fakeNode{react: func(_ core.Input, out *core.Output) {
		out.Messages = []*core.PeerMessage{{}, {Heartbeat: &core.Heartbeat{}}}
	}}
	l, j := journalled(n)
	if _, err := l.turn(nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"warn", "send"}, j.did); d != "" {
		t.Error(d)
	}
}

// What came while the process stood still is one batch, in order, and the core hears of the time before all of it.
func TestWhatWaitsIsOneBatchWithTimeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{}
		l, _ := journalled(n)
		want := []core.Input{core.Tick{}}
		for i := range 100 {
			in := core.ConnClosed{Conn: core.ConnID(i)}
			l.in.put(entry{in: in})
			want = append(want, in)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		ended := make(chan error)
		go func() { ended <- l.run(ctx) }()
		synctest.Wait()
		cancel(ErrAtOnce)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		// A first turn for the timer or the inbox may be followed by an empty one for the other.
		if d := cmp.Diff(want, n.steps[:min(len(n.steps), 101)]); d != "" {
			t.Error(d)
		}
		for _, now := range n.nows {
			if now != 42 {
				t.Fatalf("stepped at %d, the clock says 42", now)
			}
		}
		if n.readys > 2 || len(n.inputs()) != 100 {
			t.Errorf("%d inputs in %d turns", len(n.inputs()), n.readys)
		}
	})
}

func TestTheCoreIsWokenWhenItAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var ticks []time.Duration
		n := &fakeNode{}
		n.react = func(_ core.Input, out *core.Output) {
			ticks = append(ticks, time.Since(start))
			out.Wake = 100 * time.Millisecond
		}
		l, _ := journalled(n)
		ctx, cancel := context.WithTimeoutCause(context.Background(), 350*time.Millisecond, ErrAtOnce)
		defer cancel()
		if err := l.run(ctx); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]time.Duration{0, 100e6, 200e6, 300e6}, ticks); d != "" {
			t.Error(d)
		}
	})
}

// A loop that is asked to end goes on until the core has handed over what it leads.
func TestTheLoopEndsWhenTheCoreHasHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{leads: true}
		l, j := journalled(n)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- l.run(ctx) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if in := n.inputs(); len(in) != 1 || in[0] != (core.Shutdown{}) || len(ended) != 0 {
			t.Fatalf("inputs %v, %d ends", in, len(ended))
		}
		n.mu.Lock()
		n.out.Stopped, n.out.Kept = true, "nobody took them"
		n.mu.Unlock()
		l.in.put(entry{in: core.ConnClosed{}})
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"warn"}, j.did); d != "" {
			t.Error(d)
		}
	})
}

func TestRequestsOfAClosedConnectionAreNotGivenToTheCore(t *testing.T) {
	n := &fakeNode{}
	l, _ := journalled(n)
	open, closed := &clientConn{id: 1}, &clientConn{id: 2}
	closed.closed.Store(true)
	batch := []entry{
		{in: &core.ClientRequest{Conn: 1}, conn: open},
		{in: &core.ClientRequest{Conn: 2}, conn: closed},
		{in: core.ConnClosed{Conn: 2}},
	}
	if _, err := l.turn(batch); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]core.Input{&core.ClientRequest{Conn: 1}, core.ConnClosed{Conn: 2}}, n.inputs()); d != "" {
		t.Error(d)
	}
}

func TestPeersWaitForRoomInTheInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		put := 0
		putting := make(chan bool)
		go func() {
			for b.putPeer(&core.PeerMessage{}, maxPeerBytes/4) {
				put++
			}
			close(putting)
		}()
		synctest.Wait()
		const room = 5 // the one that passes the bound is still taken
		if put != room {
			t.Fatalf("%d messages were taken, room is for %d", put, room)
		}
		b.put(entry{in: core.Tick{}}) // others do not wait
		if got := len(b.take(nil)); got != room+1 {
			t.Fatalf("took %d", got)
		}
		synctest.Wait()
		if put != 2*room {
			t.Fatalf("%d messages were taken after there was room again", put)
		}
		b.close()
		<-putting
	})
}

func TestStatsWaitForTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := journalled(&fakeNode{})
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := l.stats(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a loop: %v", err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- l.run(ctx) }()
		if s, err := l.stats(ctx); err != nil || s.Term != 3 {
			t.Errorf("%+v, %v", s, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
