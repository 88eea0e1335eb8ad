package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"soak/chaos"
	"soak/chaos/knock"
	"soak/chaos/process/proxy"
	"soak/history"
)

// recent is how fresh traffic must be to show that a link works: peers send heartbeats at least every 500 ms.
const recent = time.Second

// link is the way from one node to another, or from clients to a node and back, that a fault disturbs.
type link struct {
	name     string
	proxy    *proxy.Proxy
	way      proxy.Way // of the proxy's two
	from, to *node     // from is nil for clients
	since    proxy.Counters
	at       time.Time // of since
}

// mark begins to count anew.
func (l *link) mark() { l.since, l.at = l.proxy.Counters(), time.Now() }

// passed is how many bytes have gone through since the mark.
func (l *link) passed() int64 {
	return l.proxy.Counters().Forwarded(l.way) - l.since.Forwarded(l.way)
}

// cutLink is a link that a fault holds.
type cutLink struct {
	link
	open     bool // of a flapping partition: it is let through for now
	released bool
}

// between is the link from a node to another: what the one sends to the other, and the other's answers on the same connections. Nodes
// send on connections that they have made themselves, so what the other sends to the one is a link of its own.
func (c *cluster) between(from, to *node) link {
	return link{
		name: fmt.Sprintf("n%d→n%d", from.id, to.id), from: from, to: to, way: proxy.Both,
		proxy: c.links[pair{from.id, to.id}],
	}
}

// clientsOf is the link of clients to a node, or one way of it.
func (c *cluster) clientsOf(to *node, way proxy.Way) link {
	name := map[proxy.Way]string{proxy.Both: "clients→n%d", proxy.Up: "clients→n%d", proxy.Down: "n%d→clients"}[way]
	return link{name: fmt.Sprintf(name, to.id), proxy: to.client, to: to, way: way}
}

// cuts are the links that a kind of partition holds.
func (c *cluster) cuts(s chaos.Spec, targets []*node) (links []*cutLink) {
	cut := func(l link) { links = append(links, &cutLink{link: l}) }
	among := s.Kind == chaos.Bridge || s.Kind == chaos.AllApart
	in := s.Kind != chaos.OneWay || s.Way == chaos.WayIn
	out := s.Kind != chaos.OneWay || s.Way == chaos.WayOut
	for i, t := range targets {
		for _, o := range c.nodes {
			at := slices.Index(targets, o)
			if s.Kind == chaos.ClientsCut || among && at <= i || !among && at >= 0 {
				continue
			}
			if out {
				cut(c.between(t, o))
			}
			if in {
				cut(c.between(o, t))
			}
		}
		switch {
		case !s.Clients && s.Kind != chaos.ClientsCut:
		case in && out:
			cut(c.clientsOf(t, proxy.Both))
		case in:
			cut(c.clientsOf(t, proxy.Up))
		default:
			cut(c.clientsOf(t, proxy.Down))
		}
	}
	return links
}

// partition holds links, in the shape that the kind says, and waits for bytes that are held.
func (c *cluster) partition(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	links := c.cuts(f.spec, targets)
	if len(links) == 0 {
		return nil, errors.New("there is nobody on the other side")
	}
	evidence, err = c.before(ctx, bare(links))
	if err != nil {
		return evidence, err
	}
	f.state.Lock()
	for _, l := range links {
		l.proxy.Hold(l.way)
		l.mark()
	}
	f.held = links
	f.state.Unlock()

	for _, l := range links {
		if l.from == nil {
			if conn, err := knock.On(ctx, l.proxy.Addr()); err == nil { // what is held of it is the evidence
				defer conn.Close()
			}
		}
	}
	for _, l := range links {
		for {
			if e, ok := l.blocked(); ok {
				evidence = append(evidence, e)
				break
			}
			if c.silent(l.link) {
				break // nothing comes from a node that is down or paused, partition or not
			}
			if err := sleep(ctx, lookEvery); err != nil {
				return evidence, fmt.Errorf("no evidence that %s is cut: nothing was sent on it: %w", l.name, err)
			}
		}
	}
	if f.spec.Kind == chaos.Flapping {
		f.repeat(f.spec.Every, func() { f.flap(links) })
	}
	return evidence, nil
}

// bare are the links of cuts.
func bare(cuts []*cutLink) (links []*link) {
	for _, l := range cuts {
		links = append(links, &l.link)
	}
	return links
}

// before is the evidence that links work, of which at least one must be there.
func (c *cluster) before(ctx context.Context, links []*link) ([]history.Evidence, error) {
	evidence, err := c.flowing(ctx, links)
	for i := range evidence {
		evidence[i].Phase = "before"
	}
	if err == nil && len(evidence) == 0 {
		err = errors.New("no link that it concerns has a running node at both ends")
	}
	return evidence, err
}

// silent reports whether nothing can be expected to come to a link that is held.
func (c *cluster) silent(l link) bool {
	switch {
	case l.from != nil:
		return !l.from.responsive()
	case l.way == proxy.Down:
		return !l.to.responsive() // its answers are what is held
	}
	return false
}

// flap lets a partition's links through, or holds them again.
func (f *fault) flap(links []*cutLink) {
	f.state.Lock()
	defer f.state.Unlock()
	for _, l := range links {
		if l.released {
			continue
		}
		if l.open {
			l.proxy.Hold(l.way)
			l.mark()
		} else {
			l.proxy.Resume(l.way)
		}
		l.open = !l.open
	}
}

// blocked reports whether bytes have come to a held link and none has gone through.
func (l *cutLink) blocked() (history.Evidence, bool) {
	held, passed := l.proxy.Counters().Held(l.way)-l.since.Held(l.way), l.passed()
	return seen("during", held, "%s: %d bytes held, %d forwarded", l.name, held, passed), held > 0 && passed == 0
}

// shut is evidence that a link holds what comes, or nothing where nothing has come.
func (l *cutLink) shut() (history.Evidence, error) {
	if l.released || l.open {
		return history.Evidence{}, nil
	}
	e, blocked := l.blocked()
	if passed := l.passed(); passed > 0 {
		return history.Evidence{}, fmt.Errorf("%d bytes went through %s: %w", passed, l.name, chaos.ErrLapsed)
	}
	if !blocked {
		return history.Evidence{}, nil
	}
	return e, nil
}

// release resumes the links that the fault holds, each once.
func (f *fault) release() error {
	f.endRepeat()
	f.state.Lock()
	defer f.state.Unlock()
	for _, l := range f.held {
		if l.released {
			continue
		}
		l.released = true
		l.mark()
		if !l.open {
			l.proxy.Resume(l.way)
		}
	}
	f.unshape()
	return nil
}

// flowing waits until bytes go through every link that can be expected to carry some: its ends run, and no other fault
// holds it. For a link that has been released, only bytes of after that count.
func (c *cluster) flowing(ctx context.Context, links []*link) (evidence []history.Evidence, err error) {
	for _, l := range links {
		for {
			if c.idle(l) {
				break
			}
			if l.from == nil {
				knock.Answered(ctx, l.proxy.Addr()) // the counters tell what came of it
			}
			now := l.proxy.Counters()
			if through := l.passed(); through > 0 && time.Since(time.Unix(0, now.Last)) < recent {
				evidence = append(evidence, seen("after", through, "%s: bytes go through", l.name))
				break
			}
			if err := sleep(ctx, lookEvery); err != nil {
				return evidence, fmt.Errorf("no evidence that bytes go through %s: %w", l.name, err)
			}
		}
	}
	return evidence, nil
}

// idle reports whether nothing can be expected on a link.
func (c *cluster) idle(l *link) bool {
	if !l.to.responsive() || l.from != nil && !l.from.responsive() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		if !f.state.TryLock() {
			continue // it is being changed: look again
		}
		held := slices.ContainsFunc(f.held, func(o *cutLink) bool { return o.proxy == l.proxy && !o.released })
		f.state.Unlock()
		if held {
			return true
		}
	}
	return false
}
