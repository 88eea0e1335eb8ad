package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection through a link: near is the side that connected, far the target.
type conn struct {
	proxy *Proxy
	near  *net.TCPConn
	flows [2]*flow // up (near to far), down (far to near)

	mu       sync.Mutex
	far      *net.TCPConn
	finished bool
}

func newConn(p *Proxy, near *net.TCPConn, held bool) *conn {
	return &conn{proxy: p, near: near, flows: [2]*flow{
		newFlow(held, p, &p.up),
		newFlow(held, p, &p.down),
	}}
}

// run forwards until both directions have ended, or either has broken. The near side is read from the start, also while
// a hold keeps the far side from being dialled: what a client says into a partition counts as held.
func (c *conn) run() {
	var pumps sync.WaitGroup
	defer pumps.Wait()
	up, down := c.flows[0], c.flows[1]
	pumps.Go(func() { c.read(c.near, up) })

	far, err := c.proxy.dial(c)
	if err != nil {
		c.abort() // the near side sees a reset, the nearest thing to a refusal that a proxy can give
		return
	}
	if !c.setFar(far) {
		return
	}
	pumps.Go(func() { c.read(far, down) })
	var writers sync.WaitGroup
	writers.Go(func() { c.write(far, up) })
	writers.Go(func() { c.write(c.near, down) })
	writers.Wait()
	c.close()
}

func (c *conn) setFar(far *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		abort(far)
		return false
	}
	c.far = far
	return true
}

func (c *conn) isFinished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished
}

// abort ends the connection with a reset on both sides, and forgets what was queued.
func (c *conn) abort() { c.finish(abort) }

// close ends a connection whose two directions have ended in order. A reset here would overtake the last bytes.
func (c *conn) close() { c.finish(func(s *net.TCPConn) { s.Close() }) }

func (c *conn) finish(end func(*net.TCPConn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return
	}
	c.finished = true
	end(c.near)
	if c.far != nil {
		end(c.far)
	}
	for _, f := range c.flows {
		f.abandon()
	}
}

// read moves bytes from a socket into a flow until the socket ends.
func (c *conn) read(from *net.TCPConn, f *flow) {
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 && !f.put(buf[:n]) {
			return
		}
		if err != nil {
			f.end(err)
			return
		}
	}
}

// write moves bytes from a flow to a socket until the flow ends; an orderly end is passed on, a broken one breaks both sides.
func (c *conn) write(to *net.TCPConn, f *flow) {
	if err := f.drain(to); !errors.Is(err, io.EOF) {
		c.abort()
		return
	}
	to.CloseWrite() // an error means that the other side is gone, which its own pump sees
}

// flow is one direction of a connection: a bounded queue between the goroutine that reads one socket and the one that
// writes the other.
type flow struct {
	proxy     *Proxy
	forwarded *atomic.Int64 // the proxy's counter of this direction

	mu          sync.Mutex
	change      sync.Cond // anything below
	queue       []byte
	held        bool
	full        bool         // a hold has reached its limit
	writing     *net.TCPConn // a write is under way on it
	interrupted bool         // and a hold has interrupted it
	err         error        // why no more comes: io.EOF in order
	abandoned   bool         // the connection has ended: nothing is delivered any more
}

func newFlow(held bool, p *Proxy, forwarded *atomic.Int64) *flow {
	f := &flow{held: held, proxy: p, forwarded: forwarded}
	f.change.L = &f.mu
	return f
}

// put queues bytes, waiting for room; false when the connection has ended.
func (f *flow) put(b []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.abandoned {
		limit := flowLimit
		if f.held {
			limit = HoldLimit
			f.full = f.full || len(f.queue)+len(b) > limit
		}
		if len(f.queue)+len(b) <= limit {
			break
		}
		f.change.Wait()
	}
	if f.abandoned {
		return false
	}
	if f.held {
		f.proxy.held.Add(int64(len(b)))
	}
	f.queue = append(f.queue, b...)
	f.change.Broadcast()
	return true
}

// end says that no more comes, and why. It stands behind what is queued, and waits with it while the link is held: a
// reset does not cross a partition either.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.change.Broadcast()
}

// abandon ends the flow now, held or not.
func (f *flow) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = true
	f.queue = nil
	f.change.Broadcast()
}

// hold stops the flow and returns when no write is under way.
func (f *flow) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = true
	if f.writing != nil {
		f.interrupted = true
		f.writing.SetWriteDeadline(time.Unix(1, 0)) // in the past: a write that waits for room returns
	}
	for f.writing != nil {
		f.change.Wait()
	}
}

func (f *flow) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = false
	f.change.Broadcast()
}

func (f *flow) overfull() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full
}

// drain writes what is queued, in order, while the flow is not held. It returns io.EOF after an orderly end.
func (f *flow) drain(to *net.TCPConn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for !f.abandoned && (f.held || len(f.queue) == 0 && f.err == nil) {
			f.change.Wait()
		}
		if f.abandoned {
			return net.ErrClosed
		}
		if len(f.queue) == 0 {
			return f.err
		}
		b := f.queue
		f.queue = nil
		f.writing = to
		f.change.Broadcast()
		f.mu.Unlock()
		n, err := to.Write(b)
		if n > 0 {
			f.forwarded.Add(int64(n))
			f.proxy.last.Store(time.Now().UnixNano())
		}
		f.mu.Lock()
		if f.interrupted {
			f.interrupted = false
			to.SetWriteDeadline(time.Time{}) // if this fails, so does the next write
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
		}
		if !f.abandoned {
			f.queue = append(b[n:len(b):len(b)], f.queue...)
		}
		f.writing = nil
		f.change.Broadcast()
		if err != nil {
			return err
		}
	}
}
