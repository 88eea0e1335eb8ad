package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"soak/chaos/knock"
	"soak/history"
)

// recent is how fresh traffic must be to show that a link works: peers send heartbeats at least every 500 ms.
const recent = time.Second

// partition holds both directions of every link between a target and another node, and of the targets' clients if asked.
func (c *cluster) partition(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	var links []*cutLink
	for _, t := range targets {
		for _, o := range c.nodes {
			if slices.Contains(targets, o) {
				continue
			}
			links = append(links, c.link(t, o), c.link(o, t))
		}
		if f.spec.Clients {
			links = append(links, &cutLink{name: fmt.Sprintf("clients→n%d", t.id), proxy: t.client, to: t})
		}
	}
	if len(links) == 0 {
		return nil, errors.New("there is nobody on the other side")
	}
	before, err := c.flowing(ctx, links)
	for i := range before {
		before[i].Phase = "before"
	}
	evidence = append(evidence, before...)
	if err != nil {
		return evidence, err
	}
	if len(evidence) == 0 {
		return nil, errors.New("no link between the two sides has a running node at both ends")
	}

	f.state.Lock()
	for _, l := range links {
		l.proxy.Hold()
		l.since = l.proxy.Counters()
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
			if l.from != nil && !l.from.responsive() {
				break // nothing comes from a node that is down or paused, partition or not
			}
			if err := sleep(ctx, lookEvery); err != nil {
				return evidence, fmt.Errorf("no evidence that %s is cut: nothing was sent on it: %w", l.name, err)
			}
		}
	}
	return evidence, nil
}

func (c *cluster) link(from, to *node) *cutLink {
	return &cutLink{
		name: fmt.Sprintf("n%d→n%d", from.id, to.id), from: from, to: to,
		proxy: c.links[pair{from.id, to.id}],
	}
}

// blocked reports whether bytes have come to a held link and none has gone through.
func (l *cutLink) blocked() (history.Evidence, bool) {
	now := l.proxy.Counters()
	held, passed := now.Held-l.since.Held, now.Forwarded()-l.since.Forwarded()
	return seen("during", held, "%s: %d bytes held, %d forwarded", l.name, held, passed), held > 0 && passed == 0
}

// release resumes the links that the fault holds, each once.
func (f *fault) release() error {
	f.state.Lock()
	defer f.state.Unlock()
	for _, l := range f.held {
		if l.released {
			continue
		}
		l.released = true
		l.since = l.proxy.Counters()
		l.proxy.Resume()
	}
	return nil
}

// flowing waits until bytes go through every link that can be expected to carry some: its ends run, and no other fault
// holds it. For a link that has been released, only bytes of after that count.
func (c *cluster) flowing(ctx context.Context, links []*cutLink) (evidence []history.Evidence, err error) {
	for _, l := range links {
		for {
			if c.idle(l) {
				break
			}
			if l.from == nil {
				knock.Answered(ctx, l.proxy.Addr()) // the counters tell what came of it
			}
			now := l.proxy.Counters()
			if through := now.Forwarded() - l.since.Forwarded(); through > 0 && time.Since(time.Unix(0, now.Last)) < recent {
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
func (c *cluster) idle(l *cutLink) bool {
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
