package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"soak/chaos"
	"soak/chaos/knock"
	"soak/chaos/process/proxy"
	"soak/history"
)

// repeat has something done again and again until the fault is released.
func (f *fault) repeat(every time.Duration, do func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	f.state.Lock()
	f.repeating, f.repeated = stop, done
	f.state.Unlock()
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-stop:
				return
			}
		}
	}()
}

// endRepeat ends that, and waits for it.
func (f *fault) endRepeat() {
	f.state.Lock()
	stop, done := f.repeating, f.repeated
	f.repeating = nil
	f.state.Unlock()
	if stop != nil {
		close(stop)
		<-done
	}
}

// reset resets the clients' connections to the targets, now and each time that Every has passed. Its evidence is a connection of its own.
func (c *cluster) reset(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	var links []*link
	for _, t := range targets {
		l := c.clientsOf(t, proxy.Both)
		links = append(links, &l)
	}
	evidence, err = c.before(ctx, links)
	if err != nil {
		return evidence, err
	}
	f.state.Lock()
	f.reset = links
	for _, l := range links {
		l.mark()
	}
	f.state.Unlock()
	for _, l := range links {
		e, err := l.severed(ctx, func() { l.proxy.Reset() })
		if err != nil {
			return evidence, err
		}
		evidence = append(evidence, e)
	}
	f.repeat(f.spec.Every, func() {
		for _, l := range links {
			l.proxy.Reset()
		}
	})
	return evidence, nil
}

// severed opens connections as a client does until one is seen to be reset; now brings that about, where it is not nil.
func (l *link) severed(ctx context.Context, now func()) (history.Evidence, error) {
	for {
		if conn, err := knock.On(ctx, l.proxy.Addr()); err == nil {
			if deadline, ok := ctx.Deadline(); ok && now == nil {
				conn.SetDeadline(deadline)
			}
			if now != nil {
				conn.Read(make([]byte, 4)) // whatever comes of it: an answer says that the connection goes all the way
				now()
			}
			err := untilItEnds(conn)
			conn.Close()
			if errors.Is(err, syscall.ECONNRESET) {
				resets := l.proxy.Counters().Reset - l.since.Reset
				return seen("during", resets, "%s: a client's connection was reset; %d in all", l.name, resets), nil
			}
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return history.Evidence{}, fmt.Errorf("no connection of clients to n%d was reset: %w", l.to.id, err)
		}
	}
}

// untilItEnds reads a connection until it breaks.
func untilItEnds(conn net.Conn) error {
	for b := make([]byte, 512); ; {
		if _, err := conn.Read(b); err != nil {
			return err
		}
	}
}

// stillReset is evidence that connections do not last: one of its own where resets come often enough to wait for, else the count.
func (f *fault) stillReset(ctx context.Context, l *link) (history.Evidence, error) {
	const patience = 2 * time.Second // of a probe's three
	if f.spec.Every > patience/2 {
		return history.Evidence{}, nil
	}
	look, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e, err := l.severed(look, nil)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", chaos.ErrLapsed, err)
	}
	return e, err
}

// disturb delays what goes over the targets' links, or bounds its rate.
func (c *cluster) disturb(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	var links []*link
	add := func(l link) { links = append(links, &l) }
	for i, t := range targets {
		for _, o := range c.nodes {
			if at := slices.Index(targets, o); o != t && (at < 0 || at > i) { // a link between two targets once
				add(c.between(t, o))
				add(c.between(o, t))
			}
		}
		if f.spec.Clients {
			add(c.clientsOf(t, proxy.Both))
		}
	}
	evidence, err = c.before(ctx, links)
	if err != nil {
		return evidence, err
	}
	shape := proxy.Shape{ID: f.spec.ID, Delay: f.spec.By, Jitter: f.spec.Jitter, BytesPerSecond: f.spec.BytesPerSecond}
	if f.spec.Kind == chaos.Bandwidth {
		shape.Delay = 0
	} else {
		shape.BytesPerSecond = 0
	}
	f.state.Lock()
	for _, l := range links {
		l.proxy.Shape(shape)
		l.mark()
	}
	f.shaped = links
	f.state.Unlock()
	more, err := c.slowed(ctx, f, links)
	return append(evidence, more...), err
}

// slowed waits for bytes that took as long as they should on every link, or for any that waited for a bounded rate on one.
func (c *cluster) slowed(ctx context.Context, f *fault, links []*link) (evidence []history.Evidence, err error) {
	pending := slices.Clone(links)
	for {
		for _, l := range pending {
			if l.from == nil {
				if conn, err := knock.On(ctx, l.proxy.Addr()); err == nil {
					defer conn.Close()
				}
			}
		}
		var missing string
		pending = slices.DeleteFunc(pending, func(l *link) bool {
			if e, ok := l.took(f.spec); ok {
				evidence = append(evidence, e)
				return true
			}
			if c.idle(l) {
				return true
			}
			missing = l.name
			return false
		})
		if len(pending) == 0 || f.spec.Kind == chaos.Bandwidth && len(evidence) > 0 {
			return evidence, nil
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return evidence, fmt.Errorf("no evidence of %s on %s: %w", f.spec.Kind, missing, err)
		}
	}
}

// took reports whether bytes that have gone through since the mark were slow enough to show the fault.
func (l *link) took(s chaos.Spec) (history.Evidence, bool) {
	now := l.proxy.Counters()
	if s.Kind == chaos.Bandwidth {
		waited := now.Waited - l.since.Waited
		return seen("during", waited, "%s: %d bytes waited for a rate of %d bytes/s", l.name, waited, s.BytesPerSecond), waited > 0
	}
	for _, w := range []struct {
		moved bool
		dwell time.Duration
	}{{now.Up > l.since.Up, now.DwellUp}, {now.Down > l.since.Down, now.DwellDown}} {
		if w.moved && w.dwell >= s.By {
			return seen("during", int64(w.dwell), "%s: bytes took %s", l.name, w.dwell.Round(time.Microsecond)), true
		}
	}
	return history.Evidence{}, false
}

// stillSlow is evidence that a link is still disturbed, or nothing where too little went over it to say.
func (l *link) stillSlow(s chaos.Spec) (history.Evidence, error) {
	now, was, span := l.proxy.Counters(), l.since, time.Since(l.at)
	if s.Kind == chaos.Bandwidth {
		e, waited := l.took(s)
		l.mark()
		most := 2 * (int64(span)*s.BytesPerSecond/int64(time.Second)*11/10 + s.BytesPerSecond/10) // two ways
		if passed := now.Forwarded(proxy.Both) - was.Forwarded(proxy.Both); passed > most {
			return history.Evidence{}, fmt.Errorf("%d bytes went through %s in %s: %w", passed, l.name, span.Round(time.Millisecond), chaos.ErrLapsed)
		}
		if !waited {
			return history.Evidence{}, nil
		}
		return e, nil
	}
	l.mark()
	up, down := now.Up > was.Up, now.Down > was.Down
	switch {
	case !up && !down:
		return history.Evidence{}, nil
	case up && now.DwellUp < s.By || down && now.DwellDown < s.By:
		return history.Evidence{}, fmt.Errorf("bytes went through %s after %s and %s: %w", l.name, now.DwellUp, now.DwellDown, chaos.ErrLapsed)
	}
	return seen("during", int64(max(now.DwellUp, now.DwellDown)), "%s: bytes took %s", l.name, max(now.DwellUp, now.DwellDown).Round(time.Microsecond)), nil
}

// unshape ends what the fault does to its links' bytes. f.state is held.
func (f *fault) unshape() {
	if f.settled {
		return
	}
	f.settled = true
	for _, l := range slices.Concat(f.shaped, f.reset) {
		l.proxy.Unshape(f.spec.ID)
		l.mark()
	}
}

// quick waits until bytes go over the links again without what the fault did to them.
func (c *cluster) quick(ctx context.Context, f *fault) (evidence []history.Evidence, err error) {
	f.state.Lock()
	shaped, reset := f.shaped, f.reset
	f.state.Unlock()
	evidence, err = c.flowing(ctx, reset)
	for _, l := range shaped {
		for err == nil && !c.idle(l) {
			if l.from == nil {
				knock.Answered(ctx, l.proxy.Addr())
			}
			now := l.proxy.Counters()
			moved, dwell := now.Up > l.since.Up, now.DwellUp
			if !moved {
				moved, dwell = now.Down > l.since.Down, now.DwellDown
			}
			if moved && (f.spec.Kind == chaos.Bandwidth || dwell < f.spec.By) {
				evidence = append(evidence, seen("after", int64(dwell), "%s: bytes go through, the last in %s", l.name, dwell.Round(time.Microsecond)))
				break
			}
			if sleepErr := sleep(ctx, lookEvery); sleepErr != nil {
				err = fmt.Errorf("no evidence that %s is as quick as before: %w", l.name, sleepErr)
			}
		}
	}
	return evidence, err
}
