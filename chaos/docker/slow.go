package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"soak/chaos"
	"soak/chaos/docker/sidecar"
	"soak/chaos/knock"
	"soak/history"
)

// A link is slowed down where its packets come in, at both of its ends. At the way out the sender's own stack would be in the way: it leaves
// no more than a few packets of a connection to what delays them. So a sidecar in each target slows down what comes to it, and one in each other node what
// comes from the targets. What clients are answered has no other end that is the run's, and is slowed down at the way out.
//
// A node that ends and starts again has another namespace: the next look has a sidecar do the same there.

// slows reports whether a fault of this kind slows links down.
func slows(kind string) bool { return kind == chaos.Delay || kind == chaos.Bandwidth }

// slowed are the parts of such a fault, one a node.
func (c *cluster) slowed(s chaos.Spec, targets []*node) (cuts []*cut) {
	for _, n := range c.nodes {
		hit := slices.Contains(targets, n)
		var peers []*node
		for _, o := range c.nodes {
			if o != n && (hit || slices.Contains(targets, o)) {
				peers = append(peers, o)
			}
		}
		k := newCut(n, peers, s)
		k.clients = s.Clients && hit
		if len(peers) > 0 || k.clients {
			cuts = append(cuts, k)
		}
	}
	return cuts
}

// disturb delays what goes over the targets' links, or bounds its rate.
func (c *cluster) disturb(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	if _, err := lives(targets); err != nil {
		return nil, err
	}
	cuts := c.slowed(f.spec, targets)
	if len(cuts) == 0 {
		return nil, errors.New("there is nobody on the other side")
	}
	f.state.Lock()
	f.cuts = cuts // before anything is set: what has been started is found from here
	f.state.Unlock()
	err = each(cuts, func(k *cut) error {
		if _, up := k.node.running(); !up {
			return nil // it is slowed down when it is back
		}
		err := c.begin(ctx, k)
		if !k.present() && !slices.Contains(targets, k.node) {
			return nil // it has ended, or begun another life, meanwhile: the next look sees to it
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	evidence, err = c.awaitSlow(ctx, f, cuts, "before")
	if err != nil {
		return evidence, err
	}
	if len(evidence) == 0 {
		return nil, errors.New("no link that it concerns has a running node at both ends")
	}
	err = each(cuts, func(k *cut) error {
		if !k.begun() {
			return nil
		}
		return k.order(sidecar.Drop)
	})
	if err != nil {
		return evidence, err
	}
	during, err := c.awaitSlow(ctx, f, cuts, "during")
	return append(evidence, during...), err
}

// awaitSlow waits for evidence of a phase on every link that can be expected to carry something; of a bounded rate, for bytes that waited on
// one link.
func (c *cluster) awaitSlow(ctx context.Context, f *fault, cuts []*cut, phase string) ([]history.Evidence, error) {
	for {
		var evidence []history.Evidence
		var missing string
		for _, k := range cuts {
			e, m := c.lookAtLinks(ctx, f, k, phase)
			evidence = append(evidence, e...)
			if missing == "" {
				missing = m
			}
			if err := k.failed(); err != nil {
				return evidence, err
			}
		}
		if missing == "" || phase == "during" && f.spec.Kind == chaos.Bandwidth && len(evidence) > 0 {
			return evidence, nil
		}
		select {
		case <-ctx.Done():
			return evidence, fmt.Errorf("no evidence of phase %s of %s: waiting for %s: %w", phase, f.spec.Kind, missing, ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// quick waits until packets pass a cut's links without what the fault did to them.
func (c *cluster) quick(ctx context.Context, f *fault, k *cut) ([]history.Evidence, error) {
	return c.awaitSlow(ctx, f, []*cut{k}, "after")
}

// lookAtLinks is what a cut's sidecar has seen of a phase, and a link of which that is not enough, "" where it is.
func (c *cluster) lookAtLinks(ctx context.Context, f *fault, k *cut, phase string) (evidence []history.Evidence, missing string) {
	if !k.present() {
		return nil, "" // nothing comes where it looks
	}
	r, state := k.report(), sidecar.Passing
	if phase == "during" {
		state = sidecar.Dropping
	}
	if r.State != state {
		return nil, fmt.Sprintf("the word of the sidecar of n%d that it is %s", k.node.id, state)
	}
	// What was seen is evidence, whatever the nodes do by now. Only of a link that lacks it the engine, which may be slow, is asked whether the
	// nodes at its ends can be expected to send.
	add := func(e history.Evidence, ok bool, what string, ends ...*node) {
		if ok {
			evidence = append(evidence, e)
		} else if missing == "" && !slices.ContainsFunc(ends, func(n *node) bool { return !c.responsive(ctx, n) }) {
			missing = what
		}
	}
	for _, peer := range k.peers {
		if _, cut := c.cutBetween(k, peer); cut {
			continue
		}
		rule := fmt.Sprintf("%s n%d", sidecar.In, peer.id)
		e, ok := k.went(r, rule, phase)
		add(e, ok, "packets "+k.linkOf(rule), peer, k.node)
		switch {
		case !f.asks(k, peer):
			continue
		case phase == "during" && (f.spec.Kind == chaos.Bandwidth || f.at(peer) == nil):
			continue // bytes that waited are the evidence; or the other end is in a life that the next look sees to
		}
		e, ok = k.trip(r, peer, phase, c.slowedToo(k, peer))
		add(e, ok, "a round trip "+k.pair(peer), peer, k.node)
	}
	if k.clients {
		seenAll := missing == ""
		for _, way := range []string{sidecar.In, sidecar.Out} {
			rule := way + " others"
			e, ok := k.went(r, rule, phase)
			add(e, ok, "packets "+k.linkOf(rule), k.node)
		}
		if seenAll && missing != "" {
			knock.Answered(ctx, k.node.port.Addr()) // what comes of it the sidecar tells at the next look
		}
	}
	return evidence, missing
}

// asks reports whether a cut's round trips to a peer are told of: those of a pair are the same from either end.
func (f *fault) asks(k *cut, peer *node) bool {
	hit := func(n *node) bool { return slices.Contains(f.spec.Nodes, n.id) }
	return hit(k.node) && (!hit(peer) || k.node.id < peer.id)
}

// linkOf names the link that a rule of the cut is about.
func (k *cut) linkOf(rule string) string {
	way, other, _ := strings.Cut(rule, " ")
	if other == "others" {
		other = "clients"
	}
	if way == sidecar.Out {
		return fmt.Sprintf("n%d→%s", k.node.id, other)
	}
	return fmt.Sprintf("%s→n%d", other, k.node.id)
}

// pair names the links between the cut's node and a peer.
func (k *cut) pair(peer *node) string { return fmt.Sprintf("n%d⇄n%d", k.node.id, peer.id) }

// went says how packets went over a link since the state began, and whether that is evidence of the phase.
func (k *cut) went(r sidecar.Report, rule, phase string) (history.Evidence, bool) {
	l, name := r.Links[rule], k.linkOf(rule)
	took := l.Took.Round(time.Microsecond)
	switch {
	case phase != "during":
		return seen(phase, l.Bytes, "%s: %d bytes went through, the last packet in %s", name, l.Bytes, took),
			l.Bytes > 0 && (k.spec.Kind == chaos.Bandwidth || l.Took < k.spec.By)
	case k.spec.Kind == chaos.Bandwidth:
		return seen(phase, l.Waited, "%s: %d bytes waited for a rate of %d bytes/s", name, l.Waited, k.spec.BytesPerSecond), l.Waited > 0
	}
	return seen(phase, int64(l.Took), "%s: packets took %s", name, took), l.Bytes > 0 && l.Took >= k.spec.By
}

// trip says what a round trip to a peer takes, and whether that is evidence of the phase: a delay is met once there and once back. Where another fault slows that
// link down too, a trip stays slow after this one, and says only that there is an answer: that this one keeps no packets any more is told of each way.
func (k *cut) trip(r sidecar.Report, peer *node, phase string, too bool) (history.Evidence, bool) {
	t := r.RoundTrips[fmt.Sprintf("n%d", peer.id)]
	e := seen(phase, int64(t.Took), "%s: a round trip took %s", k.pair(peer), t.Took.Round(time.Microsecond))
	switch {
	case t.Count == 0:
		return e, false
	case k.spec.Kind == chaos.Bandwidth || too && phase == "after":
		return e, true
	}
	return e, phase == "before" || (t.Took >= 2*k.spec.By) == (phase == "during")
}

// slowedToo reports whether another fault slows down the link between the cut's node and a peer as well.
func (c *cluster) slowedToo(k *cut, peer *node) bool {
	_, too := c.findCut(func(o *cut) bool { return o.spec.ID != k.spec.ID && slows(o.spec.Kind) && o.onLink(k.node, peer) })
	return too
}

// stillSlow is evidence that a cut's links are still slowed down, or nothing where too little went over them to say. Where the node has begun
// another life it has that slowed down.
func (c *cluster) stillSlow(ctx context.Context, f *fault, k *cut) (evidence []history.Evidence, err error) {
	l, up := k.node.running()
	if !up {
		return nil, nil
	}
	if !k.begun() || l != k.life {
		return nil, c.moveOn(ctx, f, k)
	}
	r, err := k.fresh(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	was := k.looked
	k.looked = r
	k.mu.Unlock()
	if was.State != r.State {
		was = sidecar.Report{} // the first look
	}
	for _, rule := range slices.Sorted(maps.Keys(r.Links)) {
		now, passed := r.Links[rule], r.Links[rule].Bytes-was.Links[rule].Bytes
		if k.spec.Kind == chaos.Bandwidth {
			if most := mostIn(r.At-was.At, k.spec.BytesPerSecond); was.At > 0 && passed > most {
				return evidence, fmt.Errorf("%d bytes went through %s in %s: %w", passed, k.linkOf(rule), (r.At - was.At).Round(time.Millisecond), chaos.ErrLapsed)
			}
			if now.Waited == was.Links[rule].Waited {
				continue
			}
		} else if passed == 0 {
			continue
		}
		e, ok := k.went(r, rule, "during")
		if !ok {
			return evidence, fmt.Errorf("packets went through %s in %s: %w", k.linkOf(rule), now.Took, chaos.ErrLapsed)
		}
		evidence = append(evidence, e)
	}
	for _, peer := range k.peers {
		name := fmt.Sprintf("n%d", peer.id)
		if !f.asks(k, peer) || r.RoundTrips[name].Count == was.RoundTrips[name].Count {
			continue
		}
		e, ok := k.trip(r, peer, "during", false)
		switch {
		case ok:
			evidence = append(evidence, e)
		case f.settled(k, peer):
			return evidence, fmt.Errorf("%s: %w", e.What, chaos.ErrLapsed)
		}
	}
	return evidence, nil
}

// mostIn is how many bytes may go over a link with a bounded rate in a time: a tenth more, and what is about to go at both of its ends.
func mostIn(span time.Duration, rate int64) int64 {
	const packet = 1500
	return int64(float64(rate)*span.Seconds()*1.1) + rate/10 + 2*packet
}

// settled reports whether both ends of a link have been slowed down for long enough that a round trip must show it.
func (f *fault) settled(k *cut, peer *node) bool {
	o := f.at(peer)
	return o != nil && o.report().State == sidecar.Dropping && min(k.age(), o.age()) > 4*(f.spec.By+f.spec.Jitter)+2*time.Second
}

// at is the fault's cut in a node's present namespace, nil if there is none.
func (f *fault) at(n *node) *cut {
	f.state.Lock()
	defer f.state.Unlock()
	for _, k := range f.cuts {
		if k.node == n && k.present() {
			return k
		}
	}
	return nil
}

// present reports whether the cut's sidecar is in the namespace that its node is in.
func (k *cut) present() bool {
	l, up := k.node.running()
	return k.begun() && up && l == k.life
}

// age is how long the sidecar has been in its state.
func (k *cut) age() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.entered)
}

// moveOn has a cut's work done in the namespace of the node's present life.
func (c *cluster) moveOn(ctx context.Context, f *fault, k *cut) error {
	k.work.Lock()
	defer k.work.Unlock()
	if k.over || c.closing.Load() {
		return nil
	}
	next := newCut(k.node, k.peers, k.spec)
	next.clients = k.clients
	next.work.Lock() // an end that comes meanwhile waits until there is something to end
	defer next.work.Unlock()
	f.state.Lock()
	at := slices.Index(f.cuts, k)
	if f.ending || at < 0 {
		f.state.Unlock()
		return nil
	}
	f.cuts = slices.Clone(f.cuts)
	f.cuts[at] = next
	f.state.Unlock()
	k.over = true
	if k.begun() {
		c.finish(ctx, k) // whatever comes of it: the namespace is one that nobody is in, and Close removes the container
	}
	err := c.begin(ctx, next)
	if err == nil {
		err = next.order(sidecar.Drop)
	}
	if _, up := k.node.running(); err != nil && !up {
		return nil // it is down again
	}
	return err
}
