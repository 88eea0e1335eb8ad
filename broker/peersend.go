package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"soak/broker/wire"
)

const (
	// Bounds of what waits for one peer. Raft, fetches and heartbeats repeat themselves; forwarded requests time out.
	maxQueuedFrames = 4096
	maxQueuedBytes  = 64 << 20

	dialTimeout  = time.Second
	helloTimeout = 2 * time.Second
	minBackoff   = 50 * time.Millisecond
	maxBackoff   = 500 * time.Millisecond
	// aliveEvery is how often the accepting side of a peer connection says that it reads.
	aliveEvery = 200 * time.Millisecond
	// grace is given after a missed deadline for bytes that have arrived already: if it was this process that was paused, they are
	// there.
	grace = 100 * time.Millisecond
)

// silence is how long the accepting side may say nothing before the connection is given up. TCP alone would go on sending
// into a partition for minutes and, once it heals, wait for a retransmission.
func silence(session time.Duration) time.Duration {
	return min(max(session/2, 500*time.Millisecond), 2*time.Second)
}

// peers send messages to the other nodes.
type peers struct {
	senders map[int32]*sender
}

func newPeers(o Options, boot uint64, log *slog.Logger) *peers {
	p := &peers{senders: map[int32]*sender{}}
	for id, addr := range o.Peers {
		if id != o.ID {
			p.senders[id] = &sender{
				addr: addr, hello: wire.Hello{From: o.ID, Boot: boot, To: id}, silence: silence(o.session()),
				log: log.With("peer", id), connect: dialTCP, wake: make(chan struct{}, 1),
			}
		}
	}
	return p
}

// send queues a frame for a node. It never waits: what finds no room is dropped.
func (p *peers) send(to int32, frame []byte) {
	if s := p.senders[to]; s != nil {
		s.put(frame)
	}
}

// run keeps a connection to every peer until ctx ends.
func (p *peers) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range p.senders {
		all.Go(func() { s.run(ctx) })
	}
	all.Wait()
}

// sender owns the connection to one peer. What is queued when a connection breaks or cannot be made is dropped, never sent again:
// part of it may have arrived, and a forwarded request must not arrive twice.
type sender struct {
	addr    string
	hello   wire.Hello
	silence time.Duration
	log     *slog.Logger
	connect func(ctx context.Context, addr string) (net.Conn, error)

	dropped atomic.Int64

	wake   chan struct{}
	mu     sync.Mutex
	frames [][]byte
	bytes  int
}

func (s *sender) put(frame []byte) {
	s.mu.Lock()
	full := len(s.frames) >= maxQueuedFrames || s.bytes+len(frame) > maxQueuedBytes
	if !full {
		s.frames = append(s.frames, frame)
		s.bytes += len(frame)
	}
	s.mu.Unlock()
	if full {
		s.dropped.Add(1)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) take() net.Buffers {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.frames
	s.frames, s.bytes = nil, 0
	return out
}

func (s *sender) run(ctx context.Context) {
	backoff := minBackoff
	said := "" // the last failure logged: the same one is logged once
	for ctx.Err() == nil {
		c, err := s.dial(ctx)
		if err == nil {
			s.log.Info("peer connected", "address", s.addr)
			backoff, said = minBackoff, ""
			err = s.feed(ctx, c)
		}
		s.dropped.Add(int64(len(s.take())))
		if ctx.Err() != nil {
			return
		}
		if msg := err.Error(); msg != said {
			s.log.Info("peer not connected", "address", s.addr, "error", msg)
			said = msg
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "tcp", addr)
}

// dial connects and exchanges hellos. A paused peer's kernel accepts connections: only its hello says that it is there.
func (s *sender) dial(ctx context.Context) (net.Conn, error) {
	c, err := s.connect(ctx, s.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to the peer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	err = c.SetDeadline(time.Now().Add(helloTimeout))
	if err == nil {
		_, err = c.Write(wire.AppendHello(nil, s.hello))
	}
	var h wire.Hello
	if err == nil {
		h, err = wire.ReadHello(c, s.hello.From)
	}
	if err == nil && h.From != s.hello.To {
		err = fmt.Errorf("%w: node %d answers at the address of node %d", wire.ErrHello, h.From, s.hello.To)
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("greeting the peer: %w", err)
	}
	return c, nil
}

// feed writes what is queued until the connection breaks or the peer falls silent.
func (s *sender) feed(ctx context.Context, c net.Conn) error {
	broken := make(chan error, 1)
	var listening sync.WaitGroup
	listening.Go(func() { broken <- s.listen(c) })
	defer listening.Wait()
	defer c.Close()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-s.wake:
		}
		if err := c.SetWriteDeadline(time.Now().Add(2 * s.silence)); err != nil {
			return fmt.Errorf("setting a deadline: %w", err)
		}
		frames := s.take()
		if _, err := frames.WriteTo(c); err != nil {
			return fmt.Errorf("sending to the peer: %w", err)
		}
	}
}

// listen returns once the peer has said nothing for too long, or the connection is broken. It closes the connection, so that
// a write that waits for the peer ends too.
func (s *sender) listen(c net.Conn) error {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64)
	wait := s.silence
	for {
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return fmt.Errorf("setting a deadline: %w", err)
		}
		_, err := r.ReadByte()
		switch {
		case err == nil:
			wait = s.silence
		case errors.Is(err, os.ErrDeadlineExceeded) && wait != grace:
			wait = grace
		default:
			return fmt.Errorf("listening to the peer: %w", err)
		}
	}
}
