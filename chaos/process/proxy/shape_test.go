package proxy

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOneWayIsHeldAndTheOtherIsNot(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "a")
	hear(t, c, "a")
	eventually(t, "a byte counted each way", func() bool { n := p.Counters(); return n.Forwarded(Up) == 1 && n.Forwarded(Down) == 1 })
	p.Hold(Down)
	say(t, c, "b") // it arrives, and is not heard of
	silence(t, c)
	eventually(t, "the second byte through, and its echo held", func() bool { n := p.Counters(); return n.Forwarded(Up) == 2 && n.Held(Down) == 1 })
	if n := p.Counters(); n.Forwarded(Down) != 1 || n.Held(Up) != 0 {
		t.Errorf("%+v", n)
	}
	p.Hold(Up)
	say(t, c, "c")
	p.Resume(Down)
	hear(t, c, "b")
	silence(t, c)
	p.Resume(Up)
	hear(t, c, "c")
}

func TestADelayKeepsBytesForAWhileAndInOrder(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	p.Shape(Shape{ID: 1, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
	p.Shape(Shape{ID: 2, Delay: 10 * time.Millisecond})
	for _, word := range []string{"a", "b", "c", "d"} {
		say(t, c, word)
	}
	hear(t, c, "abcd")
	stayed(t, p, 30*time.Millisecond)
	later := dial(t, p)
	say(t, later, "e")
	hear(t, later, "e")
	stayed(t, p, 30*time.Millisecond)
}

// stayed waits until the counters say that bytes of both directions stayed so long.
func stayed(t *testing.T, p *Proxy, least time.Duration) {
	t.Helper()
	end := time.Now().Add(bound)
	for n := p.Counters(); n.DwellUp < least || n.DwellDown < least; n = p.Counters() {
		if time.Now().After(end) {
			t.Fatalf("bytes stayed %s and %s, want %s at least", n.DwellUp, n.DwellDown, least)
		}
		runtime.Gosched()
	}
}

func TestWhatWaitsForADelayThatEndsGoesAtOnce(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	p.Shape(Shape{ID: 1, Delay: time.Hour})
	say(t, c, "a")
	silence(t, c)
	p.Unshape(2) // somebody else's
	silence(t, c)
	p.Unshape(1)
	hear(t, c, "a")
}

// What is queued when a delay begins waits for it too: counted after that, it would look as if the delay were not there.
func TestWhatWaitsWhenADelayBeginsIsDelayed(t *testing.T) {
	const delay = 100 * time.Millisecond
	p := link(t)
	c := dial(t, p)
	say(t, c, "a")
	hear(t, c, "a")
	p.Hold(Up)
	say(t, c, "b")
	eventually(t, "a byte held", func() bool { return p.Counters().Held(Up) == 1 })
	p.Shape(Shape{ID: 1, Delay: delay})
	was := p.Counters()
	p.Resume(Up)
	hear(t, c, "b")
	if n := p.Counters(); n.Up != was.Up+1 || n.DwellUp < delay || n.DwellDown < delay {
		t.Errorf("%+v after %+v", n, was)
	}
}

// A write that is under way when a delay begins is counted before it: whoever looks at the counters then must not take its bytes for delayed ones.
func TestAWriteUnderWayIsCountedBefore(t *testing.T) {
	read := make(chan struct{})
	p := linkTo(t, func(c net.Conn) {
		<-read
		io.Copy(io.Discard, c)
	})
	c := dial(t, p)
	say(t, c, "a")
	eventually(t, "the link to carry bytes", func() bool { return p.Counters().Up > 0 })
	go func() { // until neither the target nor the proxy takes any more
		c.SetWriteDeadline(time.Now().Add(bound))
		c.Write(make([]byte, 32<<20))
	}()
	full, looks := int64(-1), 0
	eventually(t, "the target's side to be full", func() bool {
		was := full
		if full = p.Counters().Up; full != was {
			looks = 0
		}
		looks++
		return looks > 50 && full > 1
	})
	p.Shape(Shape{ID: 1, Delay: time.Second})
	was := p.Counters()
	close(read)
	eventually(t, "more bytes through", func() bool {
		n := p.Counters()
		if n.Up > was.Up && n.DwellUp < time.Second {
			t.Fatalf("bytes went through after %s: %+v after %+v", n.DwellUp, n, was)
		}
		return n.Up > was.Up
	})
}

func TestABoundedRateIsOfTheWholeLink(t *testing.T) {
	p := link(t)
	p.Shape(Shape{ID: 1, BytesPerSecond: 10_000})
	begin := time.Now()
	const each = 500
	a, b := dial(t, p), dial(t, p)
	say(t, a, strings.Repeat("a", each))
	say(t, b, strings.Repeat("b", each))
	hear(t, a, strings.Repeat("a", each))
	hear(t, b, strings.Repeat("b", each))
	// All but the last burst of 200 bytes must have taken its time.
	if took, least := time.Since(begin), 80*time.Millisecond; took < least {
		t.Errorf("%d bytes went through in %s, want %s at least", 2*each, took, least)
	}
	if n := p.Counters(); n.Waited == 0 {
		t.Error("no byte waited")
	}
}

func TestAHoldKeepsWhatIsDelayedToo(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	p.Shape(Shape{ID: 1, Delay: time.Millisecond})
	p.Hold(Both)
	say(t, c, "a")
	silence(t, c)
	p.Resume(Both)
	hear(t, c, "a")
}

func TestResetBreaksWhatIsOpenAndServesWhatComes(t *testing.T) {
	p := link(t)
	c := dial(t, p)
	say(t, c, "a")
	hear(t, c, "a")
	if n := p.Reset(); n != 1 {
		t.Errorf("%d connections reset", n)
	}
	c.SetReadDeadline(time.Now().Add(bound))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	again := dial(t, p)
	say(t, again, "b")
	hear(t, again, "b")
	if n := p.Counters().Reset; n != 1 {
		t.Errorf("%d resets counted", n)
	}
}
