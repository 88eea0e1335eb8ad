package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// packetQueue is where the kernel hands packets over that wait for a program's word; on Linux nfnetlink_queue.
type packetQueue interface {
	next() ([]queued, error)                // waits; an error also after close
	answer(ids []uint32, accept bool) error // lets them go on, or drops them
	close() error
}

// queued is a packet as the kernel hands it over.
type queued struct {
	id   uint32
	way  string  // In or Out
	peer [4]byte // the other end's IPv4 address
	size int     // in bytes, with its IP header
}

// shaped are the rules of a Cut with a Shape: they hand packets over from the beginning, and what this process does with them is what changes.
// A table that is set anew would take packets along that are kept.
type shaped struct {
	rules rules // which hand over
	cut   Cut
	open  func(number uint16) (packetQueue, error)

	queue   packetQueue // nil before the first set
	names   map[[4]byte]string
	traffic *traffic
	wake    chan struct{} // something has arrived, or is due at once
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	err   error
	state int // counts the beginnings of states
	began time.Time
	trips map[string]RoundTrip
	ctx   context.Context // of the state
	leave context.CancelFunc
}

func newShaped(c Cut, r rules, open func(uint16) (packetQueue, error)) *shaped {
	s := &shaped{rules: r, cut: c, open: open, names: map[[4]byte]string{}, traffic: newTraffic(c.Shape), wake: make(chan struct{}, 1)}
	for name, a := range c.Peers {
		s.names[a.As4()] = name
	}
	return s
}

func (s *shaped) set(c Cut, shape bool) error {
	s.enter(shape)
	if s.queue != nil {
		return nil
	}
	queue, err := s.open(c.Queue) // before there is a rule: no packet is handed to nobody
	if err != nil {
		return err
	}
	s.queue = queue
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(s.take)
	s.running.Go(func() { s.give(ctx) })
	if err := s.rules.set(c, true); err != nil {
		return err
	}
	for name, a := range c.Peers {
		if c.Port > 0 {
			s.running.Go(func() { s.goRound(ctx, name, netip.AddrPortFrom(a, c.Port)) })
		}
	}
	return nil
}

// enter begins a state: counts and round trips of the one before are forgotten, and trips under way given up.
func (s *shaped) enter(shape bool) {
	s.traffic.enter(shape, time.Now())
	s.hurry()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave != nil {
		s.leave()
	}
	s.ctx, s.leave = context.WithCancel(context.Background())
	s.state++
	s.began = time.Now()
	s.trips = map[string]RoundTrip{}
}

// hurry has give look again.
func (s *shaped) hurry() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take takes packets from the kernel until the queue is closed.
func (s *shaped) take() {
	for {
		packets, err := s.queue.next()
		if err != nil {
			s.fail(err)
			return
		}
		now := time.Now()
		var lost []uint32
		for _, p := range packets {
			if !s.traffic.arrive(packet{id: p.id, rule: s.ruleOf(p), size: p.size}, now) {
				lost = append(lost, p.id)
			}
		}
		if err := s.queue.answer(lost, false); err != nil {
			s.fail(err)
			return
		}
		s.hurry()
	}
}

// ruleOf names the rule that has handed a packet over.
func (s *shaped) ruleOf(p queued) string {
	if name, ok := s.names[p.peer]; ok {
		return p.way + " " + name
	}
	return p.way + " others"
}

// give lets packets go on as they are due.
func (s *shaped) give(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ids, next := s.traffic.depart(time.Now())
		if err := s.queue.answer(ids, true); err != nil {
			s.fail(err)
			return
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (s *shaped) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !errors.Is(err, os.ErrClosed) {
		s.err = err
	}
}

func (s *shaped) packets() (map[string]int64, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("handing packets on: %w", err)
	}
	return s.rules.packets()
}

// seen adds to a report what became of packets.
func (s *shaped) seen(r *Report) {
	r.Links = s.traffic.links()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.RoundTrips = map[string]RoundTrip{}
	for name, t := range s.trips {
		r.RoundTrips[name] = t
	}
}

// emptyTime is how long what is kept at the end has to go on before the rules go, which takes the rest along.
const emptyTime = 200 * time.Millisecond

func (s *shaped) remove() error {
	if s.queue == nil {
		return s.rules.remove()
	}
	s.enter(false)
	for end := time.Now().Add(emptyTime); s.traffic.keeps() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	err := s.rules.remove()
	s.stop()
	s.mu.Lock()
	s.leave()
	s.mu.Unlock()
	if closeErr := s.queue.close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("closing the queue of packets: %w", closeErr))
	}
	s.running.Wait()
	return err
}

// RoundTrip is what a question to a peer's kernel took, and how many have come back since the state began.
type RoundTrip struct {
	Took  time.Duration `json:"took"`
	Count int64         `json:"count"`
}

const (
	tripEvery = 300 * time.Millisecond
	tripAfter = 100 * time.Millisecond // the begin of a state
	tripTime  = 14 * time.Second       // the longest delay, both ways, with the longest jitter
)

// goRound measures round trips to a peer by making connections to it, which its kernel answers: they go the way that the node's own go. The first
// of a state waits a little, for the other end of the link to be in it too.
func (s *shaped) goRound(ctx context.Context, name string, to netip.AddrPort) {
	for {
		s.mu.Lock()
		state, in, early := s.state, s.ctx, tripAfter-time.Since(s.began)
		s.mu.Unlock()
		if early > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(early):
			}
			continue
		}
		trip, cancel := context.WithTimeout(in, tripTime)
		begin := time.Now()
		var d net.Dialer
		conn, err := d.DialContext(trip, "tcp4", net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
		took := time.Since(begin)
		cancel()
		if err == nil {
			conn.Close()
		}
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // a refusal is an answer too
			s.mu.Lock()
			if s.state == state {
				s.trips[name] = RoundTrip{Took: took, Count: s.trips[name].Count + 1}
			}
			s.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tripEvery):
		}
	}
}
