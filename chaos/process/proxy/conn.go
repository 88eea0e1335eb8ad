package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
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

// newConn is called with the proxy locked.
func newConn(p *Proxy, near *net.TCPConn) *conn {
	c := &conn{proxy: p, near: near}
	for i := range c.flows {
		c.flows[i] = newFlow(p, i)
	}
	return c
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
