package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"soak/broker/core"
)

const (
	// maxUnanswered is how many requests of one connection may wait for their answer to be written; the next is not read. It bounds
	// what a client that does not read its answers can hold. (Clients have five in flight by default.)
	maxUnanswered = 16
	// idleTimeout ends a connection that asks for nothing, as Kafka's connections.max.idle.ms does.
	idleTimeout = 10 * time.Minute
	// frameTimeout bounds the arrival of the rest of a request whose length has been read.
	frameTimeout = 30 * time.Second
	// writeTimeout ends the connection of a client that does not read.
	writeTimeout = 30 * time.Second
	// decoders is how many requests are decoded at a time: one may take many times its size while it is.
	decoders = 4
)

// clients are the connections of Kafka clients.
type clients struct {
	in       *inbox
	log      *slog.Logger
	max      int   // connections
	maxBytes int   // of one request
	maxHeld  int64 // of requests of one connection that are not yet answered
	inFlight *semaphore.Weighted
	decode   chan struct{}

	accepted, refused, malformed, oversized atomic.Int64
	flying                                  atomic.Int64 // bytes

	mu     sync.Mutex
	conns  map[core.ConnID]*clientConn
	last   core.ConnID
	closed bool
	alive  sync.WaitGroup
}

func newClients(in *inbox, o Options, log *slog.Logger) *clients {
	return &clients{
		in: in, log: log, max: o.MaxConnections, maxBytes: o.MaxRequestBytes, maxHeld: o.MaxConnectionBytes,
		inFlight: semaphore.NewWeighted(o.MaxInFlightBytes),
		decode:   make(chan struct{}, decoders),
		conns:    map[core.ConnID]*clientConn{},
	}
}

// serve accepts connections until the listener is closed.
func (c *clients) serve(ln net.Listener) {
	accept(ln, c.log, func(nc net.Conn) {
		if !c.start(nc) {
			nc.Close()
		}
	})
}

// accept hands over each connection until the listener is closed. Other errors (too many open files) pass; it tries again.
func accept(ln net.Listener, log *slog.Logger, take func(net.Conn)) {
	const pause = 50 * time.Millisecond
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			take(c)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			log.Warn("accepting a connection failed", "address", ln.Addr().String(), "error", err.Error())
			time.Sleep(pause)
		}
	}
}

// start takes a connection on, unless there are too many.
func (c *clients) start(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if len(c.conns) >= c.max {
		if n := c.refused.Add(1); n&(n-1) == 0 { // at the first and at powers of two: a flood of them must not flood the log
			c.log.Warn("connection refused", "connections", len(c.conns), "limit", c.max, "refused", n)
		}
		return false
	}
	c.accepted.Add(1)
	c.last++
	conn := &clientConn{id: c.last, c: nc, out: make(chan []byte, maxUnanswered+1), slots: make(chan struct{}, maxUnanswered), room: semaphore.NewWeighted(c.maxHeld)}
	conn.ctx, conn.cancel = context.WithCancel(context.Background())
	c.conns[conn.id] = conn
	c.alive.Go(func() { conn.read(c) })
	c.alive.Go(func() { conn.write(c) })
	return true
}

func (c *clients) get(id core.ConnID) *clientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[id]
}

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// remove forgets a connection and gives back what its unanswered requests held.
func (c *clients) remove(conn *clientConn) {
	c.mu.Lock()
	delete(c.conns, conn.id)
	c.mu.Unlock()
	for _, n := range conn.takeSizes(-1) {
		c.release(n)
	}
}

func (c *clients) release(n int) {
	c.flying.Add(-int64(n))
	c.inFlight.Release(int64(n))
}

// answer hands the frame of an answer to its connection; an empty one only settles the request (acks=0). It never waits: a
// connection has room for an answer to each request that was read from it.
func (c *clients) answer(id core.ConnID, frame []byte) {
	conn := c.get(id)
	if conn == nil {
		return
	}
	for _, n := range conn.takeSizes(1) {
		conn.room.Release(int64(n))
		c.release(n)
	}
	if frame == nil {
		frame = []byte{}
	}
	select {
	case conn.out <- frame:
	default:
		c.log.Error("more answers than requests", "connection", uint64(id))
		conn.end()
	}
}

// drop closes a connection once the answers already given are written.
func (c *clients) drop(id core.ConnID) {
	conn := c.get(id)
	if conn == nil {
		return
	}
	conn.closed.Store(true)
	select {
	case conn.out <- nil:
	default:
		conn.end()
	}
}

// close ends every connection and waits for their goroutines.
func (c *clients) close() {
	c.mu.Lock()
	c.closed = true
	for _, conn := range c.conns {
		conn.end()
	}
	c.mu.Unlock()
	c.alive.Wait()
}

// gone reports whether err is but the end of a connection.
func gone(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.As(err, &ne)
}
