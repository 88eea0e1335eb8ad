package workloads

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// errClosed is what is met by operations begun after Close.
var errClosed = errors.New("the workload clients are closed")

// dialer makes connections, knows all that are open so that Close can end them, and marks errors that came before anything of
// a request was sent: without that mark, a node that is down could not be told from one that died with the request in hand.
type dialer struct {
	timeout time.Duration

	mu     sync.Mutex
	closed bool
	open   map[*trackedConn]struct{}
}

func newDialer(timeout time.Duration) *dialer {
	return &dialer{timeout: timeout, open: make(map[*trackedConn]struct{})}
}

// dial connects to addr. Its errors are all of type *notSent.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout}
	nc, err := nd.DialContext(ctx, network, addr)
	if err != nil {
		return nil, &notSent{err}
	}
	c := &trackedConn{Conn: nc, owner: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		nc.Close()
		return nil, &notSent{errClosed}
	}
	d.open[c] = struct{}{}
	return c, nil
}

func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	conns := make([]*trackedConn, 0, len(d.open))
	for c := range d.open {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// trackedConn is a connection of kafka-go's transport. That one begins each connection by asking for the API versions and
// waiting for the answer: until the first write after the first read, no request of ours has been sent on it, and an error is
// marked as notSent. This matters where a proxy accepts connections for a node that is down and then drops them.
type trackedConn struct {
	net.Conn
	owner     *dialer
	answered  atomic.Bool // something was read: the API versions
	requested atomic.Bool // something was written after that: a request
}

func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.mark(err)
}

func (c *trackedConn) Write(b []byte) (int, error) {
	if c.answered.Load() {
		c.requested.Store(true)
	}
	n, err := c.Conn.Write(b)
	return n, c.mark(err)
}

func (c *trackedConn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// mark also takes our own port out of an error's text: it differs each time, and errors are counted by their text.
func (c *trackedConn) mark(err error) error {
	if op, ok := err.(*net.OpError); ok {
		plain := *op
		plain.Source = nil
		err = &plain
	}
	if err == nil || c.requested.Load() {
		return err
	}
	if err == io.EOF {
		err = errPeerClosed
	}
	return &notSent{err}
}

// errPeerClosed stands for io.EOF under a notSent mark: kafka-go turns whatever is an io.EOF into an error of its own,
// and the mark would be lost.
var errPeerClosed = errors.New("the connection was closed before a request was sent")
