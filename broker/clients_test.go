package broker

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/core"
)

func TestRequestsAreAnsweredOnTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeNode{react: answerAll})
		defer r.stop()
		a, b := r.dial(t), r.dial(t)
		a.send(1, apiVersions())
		a.send(2, apiVersions())
		b.send(9, apiVersions())
		a.wantCorr(1)
		a.wantCorr(2)
		b.wantCorr(9)
		if n := r.clients.flying.Load(); n != 0 {
			t.Errorf("%d bytes in flight, all is answered", n)
		}
	})
}

// acks=0: no bytes are written, and the request no longer counts.
func TestAnAnswerWithoutBodySettlesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{react: func(in core.Input, out *core.Output) {
			if q, ok := in.(*core.ClientRequest); ok {
				resp := q.Req.ResponseKind()
				if q.Corr%2 == 0 {
					resp = nil
				}
				out.Responses = append(out.Responses, core.Response{Conn: q.Conn, Corr: q.Corr, Kmsg: resp})
			}
		}}
		r := newRig(t, Options{}, n)
		defer r.stop()
		c := r.dial(t)
		for corr := int32(2); corr <= 4*maxUnanswered; corr += 2 {
			c.send(corr, apiVersions())
		}
		c.send(99, apiVersions())
		c.wantCorr(99)
		if n := r.clients.flying.Load(); n != 0 {
			t.Errorf("%d bytes in flight", n)
		}
	})
}

func TestAClientThatDoesNotReadHoldsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeNode{react: answerAll})
		defer r.stop()
		slow, quick := r.dial(t), r.dial(t)
		sent := make(chan struct{})
		go func() { // writes until nothing more is taken, and then until the connection is closed
			defer close(sent)
			for corr := int32(1); ; corr++ {
				if _, err := slow.c.Write(encode(corr, apiVersions())); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := len(r.node.requests()); n != maxUnanswered {
			t.Errorf("%d requests of the client that does not read reached the core, want %d", n, maxUnanswered)
		}
		for corr := int32(1); corr <= 100; corr++ {
			quick.send(corr, apiVersions())
			quick.wantCorr(corr)
		}
		time.Sleep(writeTimeout) // of the bubble
		<-sent
		synctest.Wait()
		if n := r.clients.count(); n != 1 {
			t.Errorf("%d connections, want that of the quick client", n)
		}
		if n := r.clients.flying.Load(); n != 0 {
			t.Errorf("%d bytes in flight", n)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxConnections: 2}, &fakeNode{react: answerAll})
		defer r.stop()
		a, b := r.dial(t), r.dial(t)
		r.dial(t).wantClosed()
		a.send(1, apiVersions())
		a.wantCorr(1)
		b.c.Close()
		synctest.Wait()
		d := r.dial(t)
		d.send(4, apiVersions())
		d.wantCorr(4)
		if got := r.clients.refused.Load(); got != 1 {
			t.Errorf("%d refused", got)
		}
	})
}

// The next request is not read before there is room for it.
func TestBytesInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{}
		r := newRig(t, Options{MaxRequestBytes: 2048, MaxInFlightBytes: 2048}, n)
		defer r.stop()
		a, b := r.dial(t), r.dial(t)
		a.send(1, padded(1500))
		synctest.Wait()
		go b.c.Write(encode(2, padded(1500)))
		synctest.Wait()
		if got := len(n.requests()); got != 1 {
			t.Fatalf("%d requests reached the core, there is room for one", got)
		}
		a.c.Close() // gives back what it held
		synctest.Wait()
		if got := n.requests(); len(got) != 2 || got[1].Corr != 2 {
			t.Fatalf("%d requests reached the core after room was made", len(got))
		}
	})
}

// One connection holds no more than its share: its next request is not read, and others go on.
func TestBytesOfOneConnectionAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{}
		r := newRig(t, Options{MaxRequestBytes: 2048, MaxConnectionBytes: 2048, MaxInFlightBytes: 1 << 20}, n)
		defer r.stop()
		a, b := r.dial(t), r.dial(t)
		a.send(1, padded(1500))
		synctest.Wait()
		go a.c.Write(encode(2, padded(1500)))
		synctest.Wait()
		b.send(3, padded(1500))
		synctest.Wait()
		if got := n.requests(); len(got) != 2 || got[1].Corr != 3 {
			t.Fatalf("%d requests reached the core, want one of each connection", len(got))
		}
		r.clients.answer(n.requests()[0].Conn, nil) // settles the first
		synctest.Wait()
		if got := n.requests(); len(got) != 3 || got[2].Corr != 2 {
			t.Fatalf("%d requests reached the core after room was made", len(got))
		}
		a.c.Close()
		b.c.Close()
		synctest.Wait()
		if got := r.clients.flying.Load(); got != 0 {
			t.Errorf("%d bytes are in flight after both connections have ended", got)
		}
	})
}

func TestWhatIsNotARequestEndsTheConnection(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"oversized":   {0x00, 0x00, 0x08, 0x01, 0, 3, 0, 1},
		"negative":    {0xff, 0xff, 0xff, 0xff},
		"unknown key": {0, 0, 0, 8, 0x7f, 0xff, 0, 0, 0, 0, 0, 1},
		"no body":     {0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &fakeNode{react: answerAll}
				r := newRig(t, Options{MaxRequestBytes: 2048}, n)
				defer r.stop()
				c := r.dial(t)
				c.send(1, apiVersions())
				c.wantCorr(1)
				go c.c.Write(bytes) // the pipe has no buffer, and the other side may close before it has read all
				c.wantClosed()
				synctest.Wait()
				if got := len(n.requests()); got != 1 {
					t.Errorf("%d requests reached the core", got)
				}
				if _, told := n.inputs()[len(n.inputs())-1].(core.ConnClosed); !told {
					t.Error("the core was not told of the end")
				}
				if got := r.clients.malformed.Load(); got != 1 {
					t.Errorf("%d counted", got)
				}
				if got := r.clients.oversized.Load(); (got == 1) != (name == "oversized" || name == "negative") {
					t.Errorf("%d counted as oversized", got)
				}
				if got := r.clients.flying.Load(); got != 0 {
					t.Errorf("%d bytes in flight", got)
				}
			})
		})
	}
}

func TestATruncatedRequestIsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{}
		r := newRig(t, Options{}, n)
		defer r.stop()
		c := r.dial(t)
		b := encode(1, padded(100))
		if _, err := c.c.Write(b[:len(b)-1]); err != nil {
			t.Fatal(err)
		}
		c.c.Close()
		synctest.Wait()
		if in := n.inputs(); len(in) != 1 || len(n.requests()) != 0 {
			t.Errorf("the core saw %v", in)
		}
	})
}

// A request that begins and does not go on holds bytes in flight, so it has less time than an idle connection.
func TestStalledAndIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeNode{})
		defer r.stop()
		stalled, idle := r.dial(t), r.dial(t)
		if _, err := stalled.c.Write([]byte{0, 0, 1, 0, 0}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		stalled.wantClosed()
		if d := time.Since(start); d != frameTimeout {
			t.Errorf("stalled: closed after %v", d)
		}
		idle.wantClosed()
		if d := time.Since(start); d != idleTimeout {
			t.Errorf("idle: closed after %v", d)
		}
	})
}

// Answers given before the core closes a connection are still written; requests behind them are not served.
func TestACloseComesAfterEarlierAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{react: func(in core.Input, out *core.Output) {
			if q, ok := in.(*core.ClientRequest); ok {
				if q.Corr == 2 {
					out.Close = append(out.Close, q.Conn)
					return
				}
				answerAll(in, out)
			}
		}}
		r := newRig(t, Options{}, n)
		defer r.stop()
		c := r.dial(t)
		c.send(1, apiVersions())
		c.send(2, apiVersions())
		synctest.Wait()
		c.wantCorr(1)
		if _, err := c.corr(); err != io.EOF {
			t.Errorf("after the answer: %v", err)
		}
	})
}

func TestOperationIDReachesTheCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{}
		r := newRig(t, Options{}, n)
		defer r.stop()
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 12
		req.UnknownTags.Set(10001, []byte("op-1"))
		r.dial(t).send(1, req)
		synctest.Wait()
		if got := n.requests(); len(got) != 1 || got[0].Op != "op-1" {
			t.Errorf("got %+v", got)
		}
	})
}
