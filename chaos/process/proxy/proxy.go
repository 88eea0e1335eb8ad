// Package proxy is a link between two sockets of this machine that can be disturbed: a TCP proxy on loopback which
// forwards, holds, slows down or cuts. The process driver puts one on every link, node to node and client to node.
//
// Holding is what a network that drops packets looks like to the two ends: connections stay open, new ones are accepted
// (by the kernel, as it seems), and no byte passes in a held direction. What arrives is kept and counted, as TCP's
// sender would keep it, and is delivered late when the hold ends; where that has grown beyond HoldLimit the connection is
// reset instead, which is what TCP's own time-outs would have come to. The end of a stream waits its turn like bytes do.
//
// A Shape delays bytes and bounds their rate, in both directions; see shape.go.
//
// A proxy knows nothing of faults or nodes. When its process dies every hold dies with it.
package proxy

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// HoldLimit is the most bytes that a held connection keeps for one direction. Beyond it the proxy stops reading, and
	// the connection is reset when the hold ends.
	HoldLimit = 1 << 20

	// flowLimit is how far reading runs ahead of writing while a link is open: enough to keep a large Fetch moving.
	flowLimit = 256 << 10

	chunk = 32 << 10

	dialTimeout = 2 * time.Second // loopback answers or refuses at once, unless the target's backlog is full
)

// Counters of a link since it was made, in bytes unless said otherwise.
type Counters struct {
	Up          int64 // forwarded from the side that connects to the target
	Down        int64 // forwarded from the target to the side that connects
	Last        int64 // when bytes were last forwarded, Unix nanoseconds, 0 if never
	HeldUp      int64 // arrived for the target while that direction was held
	HeldDown    int64 // the same of the other direction
	Accepted    int64 // connections accepted
	Reset       int64 // connections that the proxy reset, by a cut or after too long a hold
	Connections int64 // open now

	// Of shapes; see Shape.
	DwellUp   time.Duration // that the bytes last forwarded to the target had spent in the proxy
	DwellDown time.Duration // the same of the other direction
	Waited    int64         // bytes that waited because of a bounded rate
}

// Way is a direction of a link, or both.
type Way uint8

const (
	Up   Way = 1 << iota // from the side that connects to the target
	Down                 // from the target to the side that connects
	Both = Up | Down
)

// in adds up what belongs to a way.
func (w Way) in(up, down int64) (sum int64) {
	if w&Up != 0 {
		sum += up
	}
	if w&Down != 0 {
		sum += down
	}
	return sum
}

// Forwarded is what went through in a direction, or in both.
func (c Counters) Forwarded(w Way) int64 { return w.in(c.Up, c.Down) }

// Held is what arrived while its direction was held.
func (c Counters) Held(w Way) int64 { return w.in(c.HeldUp, c.HeldDown) }

// Proxy is one link. Its methods are safe for concurrent use.
type Proxy struct {
	target   string
	listener *net.TCPListener

	mu     sync.Mutex
	change sync.Cond // hold or closed changed
	holds  [2]int    // up, down
	cuts   int
	closed bool
	conns  map[*conn]struct{}
	shapes []Shape

	ways                          [2]wayCounters // up, down
	accepted, reset, last, waited atomic.Int64

	running sync.WaitGroup
}

// wayCounters are those of one direction.
type wayCounters struct {
	forwarded, held, dwell atomic.Int64

	mu     sync.Mutex
	freeAt time.Time // with a bounded rate: when the next bytes may go, of whatever connection
}

// Listen opens a link to target (HOST:PORT, dialled for each connection) on a port of 127.0.0.1 that it chooses.
func Listen(target string) (*Proxy, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("opening a link to %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: l, conns: map[*conn]struct{}{}}
	p.change.L = &p.mu
	p.running.Add(1)
	go p.accept()
	return p, nil
}

// Addr is the HOST:PORT at which the link is entered.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget changes where later connections go.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Counters gives the link's counters.
func (p *Proxy) Counters() Counters {
	p.mu.Lock()
	open := int64(len(p.conns))
	p.mu.Unlock()
	return Counters{
		Up: p.ways[0].forwarded.Load(), Down: p.ways[1].forwarded.Load(), Last: p.last.Load(),
		HeldUp: p.ways[0].held.Load(), HeldDown: p.ways[1].held.Load(),
		Accepted: p.accepted.Load(), Reset: p.reset.Load(), Connections: open,
		DwellUp: time.Duration(p.ways[0].dwell.Load()), DwellDown: time.Duration(p.ways[1].dwell.Load()), Waited: p.waited.Load(),
	}
}

// Hold stops all bytes of a way. Once it has returned, none passes. Holds add up: each is ended by one Resume of the same way. While the
// way up is held no connection is made to the target.
func (p *Proxy) Hold(w Way) {
	p.mu.Lock()
	var flows []*flow
	for i := range p.holds {
		if w&(1<<i) == 0 {
			continue
		}
		p.holds[i]++
		for c := range p.conns {
			flows = append(flows, c.flows[i])
		}
	}
	p.mu.Unlock()
	for _, f := range flows {
		f.hold()
	}
}

// Resume ends one Hold. With the last, what was held is delivered, or its connection reset if that is more than HoldLimit.
func (p *Proxy) Resume(w Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.holds {
		if w&(1<<i) == 0 || p.holds[i] == 0 {
			continue
		}
		p.holds[i]--
		if p.holds[i] > 0 {
			continue
		}
		for c := range p.conns {
			if c.flows[i].overfull() {
				p.reset.Add(1)
				c.abort()
				continue
			}
			c.flows[i].resume()
		}
	}
	p.change.Broadcast()
}

// Reset resets every connection that is open now, and answers how many there were. New ones are served.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.reset.Add(1)
		c.abort()
	}
	return len(p.conns)
}

// Cut resets every connection, and each new one at once, until Mend. Cuts add up as holds do.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
	for c := range p.conns {
		p.reset.Add(1)
		c.abort()
	}
}

// Mend ends one Cut.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = max(0, p.cuts-1)
}

// Close ends the link and all its connections, and waits for its goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	err := p.listener.Close()
	for c := range p.conns {
		c.abort()
	}
	p.change.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
	if err != nil {
		return fmt.Errorf("closing the link to %s: %w", p.target, err)
	}
	return nil
}

func (p *Proxy) accept() {
	defer p.running.Done()
	for {
		near, err := p.listener.AcceptTCP()
		if err != nil {
			p.mu.Lock()
			closed := p.closed
			p.mu.Unlock()
			if closed {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: it passes, and spinning does not help
			continue
		}
		p.accepted.Add(1)
		p.admit(near)
	}
}

// admit starts a connection, in the state that the link is in.
func (p *Proxy) admit(near *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cuts > 0 {
		if p.cuts > 0 {
			p.reset.Add(1)
		}
		abort(near)
		return
	}
	c := newConn(p, near)
	p.conns[c] = struct{}{}
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		c.run()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
}

// dial connects to the target, once the link is open.
func (p *Proxy) dial(c *conn) (*net.TCPConn, error) {
	p.mu.Lock()
	for p.holds[0] > 0 && !p.closed && !c.isFinished() {
		p.change.Wait()
	}
	if p.closed || c.isFinished() {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	target := p.target
	p.mu.Unlock()
	far, err := net.DialTimeout("tcp4", target, dialTimeout)
	if err != nil {
		return nil, err
	}
	return far.(*net.TCPConn), nil
}

// abort closes a connection with a reset.
func abort(c *net.TCPConn) {
	c.SetLinger(0) // an error means that it is closed already
	c.Close()
}
