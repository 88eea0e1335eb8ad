package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"soak/broker/wire"
)

// maxPeerConns bounds connections at the peer port, those included that have not said who they are.
const maxPeerConns = 64

// peerPort takes the messages of the other nodes.
type peerPort struct {
	self    int32
	boot    uint64
	members map[int32]string
	in      *inbox
	log     *slog.Logger

	refused atomic.Int64

	mu     sync.Mutex
	last   uint64 // number of the connection accepted last
	conns  map[net.Conn]bool
	byNode map[int32]numbered // the newest connection of each node
	closed bool
	alive  sync.WaitGroup
}

// numbered is a connection with its place in the order in which they were made.
type numbered struct {
	net.Conn
	n uint64
}

func newPeerPort(o Options, boot uint64, in *inbox, log *slog.Logger) *peerPort {
	return &peerPort{
		self: o.ID, boot: boot, members: o.Peers, in: in, log: log,
		conns: map[net.Conn]bool{}, byNode: map[int32]numbered{},
	}
}

// serve accepts connections until the listener is closed.
func (p *peerPort) serve(ln net.Listener) {
	accept(ln, p.log, func(c net.Conn) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closed || len(p.conns) >= maxPeerConns {
			p.refused.Add(1)
			c.Close()
			return
		}
		p.conns[c] = true
		p.last++
		nc := numbered{c, p.last}
		p.alive.Go(func() { p.handle(nc) })
	})
}

// close ends every connection and waits for their goroutines.
func (p *peerPort) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.alive.Wait()
}

func (p *peerPort) handle(c numbered) {
	var h wire.Hello
	defer func() {
		c.Close()
		p.mu.Lock()
		delete(p.conns, c.Conn)
		if p.byNode[h.From] == c {
			delete(p.byNode, h.From)
		}
		p.mu.Unlock()
	}()
	h, err := p.greet(c)
	if err == nil {
		err = p.receive(c, h)
	}
	if err != nil && !gone(err) {
		p.log.Warn("peer connection closed", "remote", c.RemoteAddr().String(), "peer", h.From, "error", err.Error())
	}
}

// greet reads the dialler's hello and answers it. Of two connections of one node the older ends: whatever comes from it would come
// out of turn. After a pause of this process several may wait to be greeted, and the older may be greeted last.
func (p *peerPort) greet(c numbered) (wire.Hello, error) {
	if err := c.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return wire.Hello{}, fmt.Errorf("setting a deadline: %w", err)
	}
	h, err := wire.ReadHello(c, p.self)
	if err != nil {
		return h, err
	}
	if _, member := p.members[h.From]; !member || h.From == p.self {
		return h, fmt.Errorf("%w: node %d is not one of them", wire.ErrHello, h.From)
	}
	p.mu.Lock()
	old := p.byNode[h.From]
	if old.n < c.n {
		p.byNode[h.From] = c
	}
	p.mu.Unlock()
	switch {
	case old.n > c.n:
		return h, fmt.Errorf("replaced before it was greeted: %w", net.ErrClosed)
	case old.Conn != nil:
		old.Close()
	}
	if _, err := c.Write(wire.AppendHello(nil, wire.Hello{From: p.self, Boot: p.boot, To: h.From})); err != nil {
		return h, fmt.Errorf("answering a peer's hello: %w", err)
	}
	return h, c.SetDeadline(time.Time{})
}

func (p *peerPort) receive(c net.Conn, h wire.Hello) error {
	ctx, cancel := context.WithCancel(context.Background())
	var beat sync.WaitGroup
	beat.Go(func() { sayAlive(ctx, c) })
	defer beat.Wait()
	defer cancel()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		frame, err := wire.ReadPeer(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := wire.ParsePeer(frame)
		if err != nil {
			return err
		}
		if m.From != h.From || m.To != p.self || m.FromBoot != h.Boot {
			return fmt.Errorf("%w: from node %d boot %d to node %d, on a connection of node %d boot %d",
				wire.ErrPeerFrame, m.From, m.FromBoot, m.To, h.From, h.Boot)
		}
		if !p.in.putPeer(m, len(frame)) {
			return nil
		}
	}
}

// sayAlive tells the dialler that this process runs.
func sayAlive(ctx context.Context, c net.Conn) {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := c.SetWriteDeadline(time.Now().Add(aliveEvery)); err != nil {
			return
		}
		if _, err := c.Write([]byte{wire.Alive}); err != nil {
			c.Close()
			return
		}
	}
}
