package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/broker/core"
	"soak/broker/wire"
)

// twoNodes is a sender of node 1 and the peer port of node 2, in a bubble. The inbox of node 2 is read by hand.
type twoNodes struct {
	s    *sender
	port *peerPort
	ln   *pipeListener
	in   *inbox
	stop func()

	mu   sync.Mutex
	cut  bool // connecting fails
	made []net.Conn
}

func newTwoNodes() *twoNodes {
	members := map[int32]string{1: "n1:1", 2: "n2:1"}
	n := &twoNodes{in: newInbox(), ln: newPipeListener()}
	n.port = newPeerPort(Options{ID: 2, Peers: members}, 20, n.in, quiet())
	n.s = newPeers(Options{ID: 1, Peers: members}, 10, quiet()).senders[2]
	n.s.connect = func(context.Context, string) (net.Conn, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cut {
			return nil, errors.New("cut")
		}
		c, err := n.ln.dial()
		if err == nil {
			n.made = append(n.made, c)
		}
		return c, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { n.port.serve(n.ln) })
	all.Go(func() { n.s.run(ctx) })
	n.stop = func() {
		cancel()
		n.ln.Close()
		n.in.close()
		n.port.close()
		all.Wait()
	}
	return n
}

func (n *twoNodes) send(seq ...uint64) {
	for _, q := range seq {
		frame, err := wire.AppendPeer(nil, &core.PeerMessage{From: 1, To: 2, FromBoot: 10, Heartbeat: &core.Heartbeat{Seq: q}})
		if err != nil {
			panic(err)
		}
		n.s.put(frame)
	}
}

// got are the heartbeats that have arrived.
func (n *twoNodes) got() (out []uint64) {
	synctest.Wait()
	for _, e := range n.in.take(nil) {
		out = append(out, e.in.(core.PeerInput).Msg.Heartbeat.Seq)
	}
	return out
}

func (n *twoNodes) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut {
		for _, c := range n.made {
			c.Close()
		}
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes()
		defer n.stop()
		n.send(1, 2, 3)
		synctest.Wait()
		n.send(4)
		if d := cmp.Diff([]uint64{1, 2, 3, 4}, n.got()); d != "" {
			t.Error(d)
		}
		time.Sleep(time.Minute) // of the bubble: the connection is kept though nothing is sent
		n.send(5)
		if d := cmp.Diff([]uint64{5}, n.got()); d != "" || len(n.made) != 1 {
			t.Errorf("%d connections:\n%s", len(n.made), d)
		}
	})
}

// What waits when a connection breaks, or while none can be made, is dropped and never sent.
func TestNothingIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes()
		defer n.stop()
		n.send(1)
		if d := cmp.Diff([]uint64{1}, n.got()); d != "" {
			t.Fatal(d)
		}
		n.setCut(true)
		n.send(2)
		synctest.Wait()
		time.Sleep(time.Second)
		n.send(3)
		time.Sleep(maxBackoff)
		n.setCut(false)
		time.Sleep(2 * maxBackoff)
		n.send(4)
		if d := cmp.Diff([]uint64{4}, n.got()); d != "" {
			t.Error(d)
		}
		if got := n.s.dropped.Load(); got != 2 {
			t.Errorf("%d frames counted as dropped, want 2", got)
		}
	})
}

// A peer that is connected and says nothing is a paused process or a partition: the connection is given up and made anew.
func TestASilentPeerIsDialledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		s := newPeers(Options{ID: 1, Peers: map[int32]string{1: "a:1", 2: "b:1"}, SessionTimeout: 2 * time.Second}, 10, quiet()).senders[2]
		s.connect = func(context.Context, string) (net.Conn, error) { return ln.dial() }
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() { s.run(ctx) })

		first, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		greet(t, first)
		start := time.Now()
		second, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if d, want := time.Since(start), time.Second+grace+minBackoff; d != want {
			t.Errorf("dialled again after %v, want %v", d, want)
		}
		// Without an answer to its hello it sends nothing and gives up as well.
		s.put([]byte("must not arrive"))
		if _, err := wire.ReadHello(second, 2); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(second); len(b) > 0 || err != nil {
			t.Errorf("%q was sent before the peer said hello (%v)", b, err)
		}
		cancel()
		ln.Close()
		all.Wait()
	})
}

func greet(t *testing.T, c net.Conn) {
	t.Helper()
	h, err := wire.ReadHello(c, 2)
	if err != nil {
		t.Fatal(err)
	}
	if h != (wire.Hello{From: 1, Boot: 10, To: 2}) {
		t.Fatalf("hello %+v", h)
	}
	if _, err := c.Write(wire.AppendHello(nil, wire.Hello{From: 2, Boot: 20, To: 1})); err != nil {
		t.Fatal(err)
	}
}

func TestTheQueueForAPeerIsBounded(t *testing.T) {
	s := &sender{wake: make(chan struct{}, 1)}
	for range maxQueuedFrames + 10 {
		s.put([]byte{1})
	}
	if got := len(s.take()); got != maxQueuedFrames || s.dropped.Load() != 10 {
		t.Errorf("%d frames queued, %d dropped", got, s.dropped.Load())
	}
	big := make([]byte, maxQueuedBytes/2)
	for range 3 {
		s.put(big)
	}
	if got := len(s.take()); got != 2 {
		t.Errorf("%d frames of half the bytes queued", got)
	}
}

func TestWhatThePeerPortRefuses(t *testing.T) {
	heartbeat := func(m core.PeerMessage) []byte {
		m.Heartbeat = &core.Heartbeat{Seq: 1}
		b, err := wire.AppendPeer(nil, &m)
		if err != nil {
			panic(err)
		}
		return b
	}
	good := wire.Hello{From: 1, Boot: 10, To: 2}
	for name, c := range map[string]struct {
		hello wire.Hello
		then  []byte
	}{
		"a stranger":              {hello: wire.Hello{From: 7, Boot: 10, To: 2}},
		"itself":                  {hello: wire.Hello{From: 2, Boot: 10, To: 2}},
		"meant for another node":  {hello: wire.Hello{From: 1, Boot: 10, To: 3}},
		"another sender's name":   {hello: good, then: heartbeat(core.PeerMessage{From: 3, To: 2, FromBoot: 10})},
		"another boot":            {hello: good, then: heartbeat(core.PeerMessage{From: 1, To: 2, FromBoot: 9})},
		"a message for another":   {hello: good, then: heartbeat(core.PeerMessage{From: 1, To: 3, FromBoot: 10})},
		"a frame beyond all size": {hello: good, then: []byte{0xff, 0xff, 0xff, 0xff}},
		"a frame of nonsense":     {hello: good, then: append([]byte{0, 0, 0, 20}, make([]byte, 20)...)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, ln := newInbox(), newPipeListener()
				p := newPeerPort(Options{ID: 2, Peers: map[int32]string{1: "a:1", 2: "b:1", 3: "c:1"}}, 20, in, quiet())
				var all sync.WaitGroup
				all.Go(func() { p.serve(ln) })
				conn, err := ln.dial()
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					// The other side closes as soon as it has seen enough.
					_, _ = conn.Write(append(wire.AppendHello(nil, c.hello), c.then...))
				}()
				answer, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				if greeted := len(answer) > 0; greeted != (c.then != nil) {
					t.Errorf("%d bytes in answer", len(answer))
				}
				if got := in.take(nil); len(got) != 0 {
					t.Errorf("%d messages were taken", len(got))
				}
				ln.Close()
				p.close()
				all.Wait()
			})
		})
	}
}

// Two connections of one node would mix their messages; the newer one is the true one.
func TestANewerConnectionReplacesTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, ln := newInbox(), newPipeListener()
		p := newPeerPort(Options{ID: 2, Peers: map[int32]string{1: "a:1", 2: "b:1"}}, 20, in, quiet())
		var all sync.WaitGroup
		all.Go(func() { p.serve(ln) })
		var conns []net.Conn
		for boot := range uint64(2) {
			c, err := ln.dial()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(wire.AppendHello(nil, wire.Hello{From: 1, Boot: boot, To: 2})); err != nil {
				t.Fatal(err)
			}
			if _, err := wire.ReadHello(c, 1); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		if _, err := io.ReadAll(conns[0]); err != nil {
			t.Errorf("the older connection: %v", err)
		}
		frame, err := wire.AppendPeer(nil, &core.PeerMessage{From: 1, To: 2, FromBoot: 1, Heartbeat: &core.Heartbeat{Seq: 5}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conns[1].Write(frame); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := in.take(nil); len(got) != 1 {
			t.Errorf("%d messages from the newer connection", len(got))
		}
		ln.Close()
		p.close()
		all.Wait()
	})
}

// After a pause of the process the connections that were made meanwhile are greeted in any order: the newest is kept.
func TestAnOlderConnectionGreetedLateDoesNotReplaceTheNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, ln := newInbox(), newPipeListener()
		p := newPeerPort(Options{ID: 2, Peers: map[int32]string{1: "a:1", 2: "b:1"}}, 20, in, quiet())
		var all sync.WaitGroup
		all.Go(func() { p.serve(ln) })
		hello := wire.AppendHello(nil, wire.Hello{From: 1, Boot: 1, To: 2})
		older, err := ln.dial()
		if err != nil {
			t.Fatal(err)
		}
		newer, err := ln.dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newer.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := wire.ReadHello(newer, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := older.Write(hello); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(older); len(b) > 0 || err != nil {
			t.Errorf("the older connection was greeted with %q, %v", b, err)
		}
		var alive [1]byte
		if _, err := io.ReadFull(newer, alive[:]); err != nil || alive[0] != wire.Alive {
			t.Errorf("the newer connection: %q, %v", alive, err)
		}
		ln.Close()
		p.close()
		all.Wait()
	})
}
