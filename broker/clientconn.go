package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"soak/broker/core"
	"soak/broker/wire"
)

// clientConn is one client connection: a goroutine that reads and decodes, and one that writes.
type clientConn struct {
	id     core.ConnID
	c      net.Conn
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	closed atomic.Bool // nothing of it is given to the core any more

	slots chan struct{}       // a token for each request read whose answer is not written
	room  *semaphore.Weighted // bytes of requests that are not yet answered
	out   chan []byte         // frames to write; empty: settles a request; nil: the end

	mu    sync.Mutex
	sizes []int // of the requests that the core has not answered, in order
	ended bool
}

// end closes the connection at once.
func (c *clientConn) end() {
	c.closed.Store(true)
	c.cancel()
	c.c.Close()
}

// keepSize notes a request under way; false when the connection has given up already.
func (c *clientConn) keepSize(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.sizes = append(c.sizes, n)
	return true
}

// takeSizes takes the sizes of the next n requests to be answered; n < 0: of all, and no more are kept.
func (c *clientConn) takeSizes(n int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		c.ended, n = true, len(c.sizes)
	}
	n = min(n, len(c.sizes))
	out := c.sizes[:n:n]
	c.sizes = c.sizes[n:]
	return out
}

// read reads and decodes requests until the connection ends, and tells the core of the end.
func (c *clientConn) read(cs *clients) {
	defer func() {
		c.end()
		cs.remove(c)
		cs.in.put(entry{in: core.ConnClosed{Conn: c.id}})
	}()
	r := bufio.NewReaderSize(c.c, 16<<10)
	for {
		in, err := c.next(cs, r)
		if err != nil {
			if !gone(err) {
				cs.malformed.Add(1)
				if errors.Is(err, wire.ErrTooLarge) {
					cs.oversized.Add(1)
				}
				cs.log.Warn("client connection closed", "remote", c.c.RemoteAddr().String(), "error", err.Error())
			}
			return
		}
		cs.in.put(entry{in: in, conn: c})
	}
}

// next reads one request. Its bytes are counted as in flight from before they are read until it is answered.
func (c *clientConn) next(cs *clients, r *bufio.Reader) (*core.ClientRequest, error) {
	if err := c.c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return nil, fmt.Errorf("setting a deadline: %w", err)
	}
	size, err := wire.ReadSize(r, cs.maxBytes)
	if err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
	if err := c.room.Acquire(c.ctx, int64(size)); err != nil { // first: who waits here takes nothing from others
		return nil, err
	}
	if err := cs.inFlight.Acquire(c.ctx, int64(size)); err != nil {
		return nil, err
	}
	cs.flying.Add(int64(size))
	if !c.keepSize(size) {
		cs.release(size)
		return nil, context.Canceled
	}
	if err := c.c.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return nil, fmt.Errorf("setting a deadline: %w", err)
	}
	frame, err := wire.ReadFrame(r, size)
	if err != nil {
		return nil, err
	}
	cs.decode <- struct{}{}
	req, err := wire.ParseRequest(frame)
	<-cs.decode
	if err != nil {
		return nil, err
	}
	return &core.ClientRequest{Conn: c.id, Corr: req.Corr, Req: req.Req, Op: req.Op}, nil
}

// write writes answers until the connection ends.
func (c *clientConn) write(cs *clients) {
	defer c.end()
	for {
		var frame []byte
		select {
		case frame = <-c.out:
		case <-c.ctx.Done():
			return
		}
		if frame == nil {
			return
		}
		if len(frame) > 0 {
			if err := c.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return
			}
			if _, err := c.c.Write(frame); err != nil {
				return
			}
		}
		select {
		case <-c.slots:
		case <-c.ctx.Done():
			return
		}
	}
}
