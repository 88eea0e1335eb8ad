package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// bound is how long a test waits for what must happen; quiet is how long it looks for what must not.
const (
	bound = 5 * time.Second
	quiet = 50 * time.Millisecond
)

// link starts a proxy to an echo server.
func link(t *testing.T) *Proxy {
	t.Helper()
	return linkTo(t, func(c net.Conn) {
		io.Copy(c, c)
		c.Close()
	})
}

func linkTo(t *testing.T, serve func(net.Conn)) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	p, err := Listen(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", p.Addr(), bound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// dialAndRead gives the error of either: a reset may come before dialling has returned.
func dialAndRead(p *Proxy) error {
	c, err := net.DialTimeout("tcp4", p.Addr(), bound)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(bound))
	_, err = c.Read(make([]byte, 1))
	return err
}

func say(t *testing.T, c net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatalf("writing %q: %v", what, err)
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(bound))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

func silence(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(quiet))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestForwardsBothWaysAndCounts(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "hello")
	hear(t, c, "hello")
	eventually(t, "5 bytes each way", func() bool { n := p.Counters(); return n.Up == 5 && n.Down == 5 })
	if n := p.Counters(); n.Accepted != 1 || n.Connections != 1 || n.Held(Both) != 0 {
		t.Errorf("counters %+v", n)
	}
}

func TestAnEndIsPassedOnAfterTheLastByte(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	big := bytes.Repeat([]byte("x"), 3<<20) // more than the queue and the sockets hold
	go func() {
		c.Write(big)
		c.CloseWrite()
	}()
	c.SetReadDeadline(time.Now().Add(bound))
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes back, %v; want %d and the end", len(got), err, len(big))
	}
	eventually(t, "the connection is forgotten", func() bool { return p.Counters().Connections == 0 })
}

func TestHoldStopsBytesAndResumeDeliversThem(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "before")
	hear(t, c, "before")
	p.Hold(Both)
	say(t, c, "during")
	silence(t, c)
	eventually(t, "6 bytes held", func() bool { return p.Counters().Held(Both) == 6 })
	if n := p.Counters(); n.Forwarded(Both) != 12 {
		t.Errorf("%d bytes forwarded, want the 12 of before", n.Forwarded(Both))
	}
	p.Resume(Both)
	hear(t, c, "during")
	say(t, c, "after")
	hear(t, c, "after")
}

func TestHoldTakesNewConnectionsButNoBytes(t *testing.T) {
	p := link(t)
	p.Hold(Both)
	c := dial(t, p)
	say(t, c, "anyone?")
	silence(t, c)
	eventually(t, "7 bytes held", func() bool { return p.Counters().Held(Both) == 7 })
	p.Resume(Both)
	hear(t, c, "anyone?")
}

func TestHoldsAddUp(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	p.Hold(Both)
	p.Hold(Both)
	p.Resume(Both)
	say(t, c, "x")
	silence(t, c)
	p.Resume(Both)
	hear(t, c, "x")
	p.Resume(Both) // one too many does nothing
	p.Hold(Both)
	say(t, c, "y")
	silence(t, c)
}

func TestNeitherEndNorResetCrossesAHold(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"end":   func(c *net.TCPConn) { c.Close() },
		"reset": abort,
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			p := linkTo(t, func(c net.Conn) {
				io.Copy(io.Discard, c)
				close(ended)
				c.Close()
			})
			c := dial(t, p)
			say(t, c, "x")
			eventually(t, "the byte is through", func() bool { return p.Counters().Up == 1 })
			p.Hold(Both)
			leave(c)
			select {
			case <-ended:
				t.Fatal("the far side saw the near side leave")
			case <-time.After(quiet):
			}
			p.Resume(Both)
			select {
			case <-ended:
			case <-time.After(bound):
				t.Fatal("the far side never saw it, after the hold")
			}
		})
	}
}

func TestHoldInterruptsAWriteThatWaitsForRoom(t *testing.T) {
	read := make(chan struct{})
	got := make(chan int64, 1)
	p := linkTo(t, func(c net.Conn) {
		<-read
		n, _ := io.Copy(io.Discard, c)
		got <- n
	})
	c := dial(t, p)
	// Fills every buffer behind the proxy, and no more than the hold may keep before it.
	var want int64
	for stuck := time.Now(); time.Since(stuck) < 2*quiet; {
		if want-p.Counters().Up > flowLimit/2 {
			time.Sleep(time.Millisecond)
			continue
		}
		n, err := c.Write(make([]byte, chunk))
		if err != nil {
			t.Fatal(err)
		}
		want += int64(n)
		stuck = time.Now()
	}
	c.CloseWrite()
	held := make(chan struct{})
	go func() { p.Hold(Both); close(held) }()
	select {
	case <-held:
	case <-time.After(bound):
		t.Fatal("Hold waits for a reader that does not read")
	}
	before := p.Counters().Up
	close(read)
	time.Sleep(quiet)
	if now := p.Counters().Up; now != before {
		t.Errorf("%d bytes passed a held link", now-before)
	}
	p.Resume(Both)
	select {
	case n := <-got:
		if n != want {
			t.Errorf("%d bytes arrived of %d", n, want)
		}
	case <-time.After(bound):
		t.Fatal("nothing arrived after the hold")
	}
}

func TestALongHoldResetsTheConnection(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "x")
	hear(t, c, "x")
	p.Hold(Both)
	c.SetWriteDeadline(time.Now().Add(bound))
	written := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, 32<<20)); written <- err }() // more than the sockets take
	eventually(t, "the limit is reached", func() bool { return p.Counters().Held(Both) > HoldLimit-chunk })
	time.Sleep(quiet)
	if held := p.Counters().Held(Both); held > HoldLimit {
		t.Errorf("%d bytes kept, more than %d", held, HoldLimit)
	}
	p.Resume(Both)
	if err := <-written; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the write that the hold has kept: %v, want a reset", err)
	}
	d := dial(t, p)
	say(t, d, "again")
	hear(t, d, "again")
	if n := p.Counters(); n.Reset != 1 {
		t.Errorf("%d resets counted, want 1", n.Reset)
	}
}

func TestCutResetsOldAndNewUntilMended(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "x")
	hear(t, c, "x")
	p.Cut()
	c.SetReadDeadline(time.Now().Add(bound))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection: %v, want a reset", err)
	}
	if err := dialAndRead(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection: %v, want a reset", err)
	}
	p.Mend()
	e := dial(t, p)
	say(t, e, "y")
	hear(t, e, "y")
}

func TestATargetThatIsDownResetsAndASetTargetServes(t *testing.T) {
	p := link(t)
	there := p.target
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	p.SetTarget(gone.Addr().String())
	if err := dialAndRead(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a link to nobody: %v, want a reset", err)
	}
	p.SetTarget(there)
	d := dial(t, p)
	say(t, d, "x")
	hear(t, d, "x")
}

func TestCloseEndsEverythingAlsoWhileHeld(t *testing.T) {
	p := link(t)
	dial(t, p)
	p.Hold(Both)
	c := dial(t, p)
	say(t, c, "x")
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(bound):
		t.Fatal("Close does not return")
	}
	if n := p.Counters().Connections; n != 0 {
		t.Errorf("%d connections left", n)
	}
}
