package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"soak/broker/core"
	"soak/broker/wire"
	"soak/history"
)

// node is the core as the loop drives it.
type node interface {
	Step(now int64, in core.Input)
	Ready() core.Output
	Stats() core.Stats
}

// minWake keeps a core that wants to be woken at once from taking the processor for itself.
const minWake = 100 * time.Microsecond

// loop is the one goroutine that touches the core. Everything that the core hands out is encoded here too: it may point into
// the core's own state, which the next Step changes.
type loop struct {
	node node
	in   *inbox
	now  func() int64 // Unix ns, never going back

	events io.Writer // takes whole lines
	disk   interface{ submit([]core.DiskOp) }
	peers  interface{ send(to int32, frame []byte) }
	conns  interface {
		answer(id core.ConnID, frame []byte)
		drop(id core.ConnID)
	}
	warn func(msg string, err error)

	lines   []byte
	stopped bool // the core may be ended
}

// ErrAtOnce, as the cause of the end of Run's context, has the node end without handing over what it leads.
var ErrAtOnce = errors.New("the node is to end at once")

// run drives the core until ctx ends and the core has handed over what it leads (nil), or the node must stop (why).
func (l *loop) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []entry
	asked := ctx.Done()
	for {
		select {
		case <-asked:
			if errors.Is(context.Cause(ctx), ErrAtOnce) {
				return nil
			}
			asked = nil // the core bounds what comes now
			l.in.put(entry{in: core.Shutdown{}})
		case <-l.in.wake:
		case <-timer.C:
		}
		batch = l.in.take(batch)
		wake, err := l.turn(batch)
		if err != nil {
			return err
		}
		if l.stopped {
			return nil
		}
		timer.Reset(max(wake, minWake))
	}
}

// turn feeds everything that waits, time first: after a pause of the whole process the core knows how late it is before it sees
// what came meanwhile. Then it does what the core says, and returns when the core wants to be woken.
func (l *loop) turn(batch []entry) (time.Duration, error) {
	now := l.now()
	l.node.Step(now, core.Tick{})
	for _, e := range batch {
		switch {
		case e.call != nil:
			e.call(l.node)
		case e.conn != nil && e.conn.closed.Load():
		default:
			l.node.Step(now, e.in)
		}
	}
	out := l.node.Ready()

	// What a node says of itself is on its standard output before anybody can see the effect.
	if len(out.Events) > 0 {
		l.lines = l.lines[:0]
		for i := range out.Events {
			l.lines = append(history.AppendLogLine(l.lines, &out.Events[i]), '\n')
		}
		if _, err := l.events.Write(l.lines); err != nil {
			return 0, fmt.Errorf("writing audit events: %w", err)
		}
	}
	if out.Fatal != nil {
		return 0, out.Fatal
	}
	if len(out.Disk) > 0 {
		l.disk.submit(out.Disk)
	}
	for _, m := range out.Messages {
		frame, err := wire.AppendPeer(nil, m)
		if err != nil {
			l.warn("a peer message was not sent", err)
			continue
		}
		l.peers.send(m.To, frame)
	}
	for i := range out.Responses {
		r := &out.Responses[i]
		l.conns.answer(r.Conn, wire.AppendResponse(nil, r))
	}
	for _, id := range out.Close {
		l.conns.drop(id)
	}
	if out.Stopped {
		l.stopped = true
		if out.Kept != "" {
			l.warn("leaderships were not handed over", errors.New(out.Kept))
		}
	}
	return out.Wake, nil
}

// stats asks the core for its gauges, between two turns.
func (l *loop) stats(ctx context.Context) (core.Stats, error) {
	got := make(chan core.Stats, 1)
	l.in.put(entry{call: func(n node) { got <- n.Stats() }})
	select {
	case s := <-got:
		return s, nil
	case <-ctx.Done():
		return core.Stats{}, fmt.Errorf("the broker's loop does not answer: %w", ctx.Err())
	}
}
