package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"soak/chaos"
	"soak/chaos/docker/sidecar"
	"soak/chaos/knock"
	"soak/history"
)

// cutsOf are the parts of a fault of links, one for each namespace that needs rules.
func (c *cluster) cutsOf(s chaos.Spec, targets []*node) (cuts []*cut) {
	for i, n := range targets {
		var peers, spare []*node
		for _, o := range c.nodes {
			switch at := slices.Index(targets, o); {
			case o == n:
			case s.Kind == chaos.ClientsCut || s.Kind == chaos.Reset:
				spare = append(spare, o)
			case s.Kind == chaos.Bridge || s.Kind == chaos.AllApart:
				if at > i { // each pair once: rules at one end are enough
					peers = append(peers, o)
				}
			case s.Kind == chaos.Loss || at < 0: // each receiver loses for itself
				peers = append(peers, o)
			}
		}
		k := newCut(n, peers, s)
		k.spare = spare
		k.clients = s.Clients || spare != nil
		if len(peers) > 0 || k.clients {
			cuts = append(cuts, k)
		}
	}
	return cuts
}

// partition starts a sidecar in the network namespace of each node that needs rules, has it count what passes, then drop, and waits for
// the counters each time.
func (c *cluster) partition(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	cuts := c.cutsOf(f.spec, targets)
	if len(cuts) == 0 {
		return nil, errors.New("there is nobody on the other side")
	}
	if _, err := lives(targets); err != nil {
		return nil, err
	}
	f.state.Lock()
	f.cuts = cuts // before anything is set: what has been started is found from here
	f.state.Unlock()

	err = each(cuts, func(k *cut) error { return c.begin(ctx, k) })
	if err != nil {
		return nil, err
	}
	for _, step := range []struct {
		phase string
		order byte
		state string
	}{
		{"before", sidecar.Pass, sidecar.Passing},
		{"during", sidecar.Drop, sidecar.Dropping},
	} {
		err := each(cuts, func(k *cut) error { return k.order(step.order) })
		if err == nil {
			err = each(cuts, func(k *cut) error { return c.counted(ctx, k, step.state) })
		}
		for _, k := range cuts {
			evidence = append(evidence, k.evidence(step.phase)...)
		}
		if err != nil {
			return evidence, err
		}
	}
	return evidence, nil
}

// open ends a fault's partitions: packets pass again, the counters show it, and the sidecars take their rules away.
func (c *cluster) open(ctx context.Context, f *fault) (evidence []history.Evidence, err error) {
	f.state.Lock()
	cuts := f.cuts
	f.ending = true
	f.state.Unlock()
	var mu sync.Mutex
	err = each(cuts, func(k *cut) error {
		k.work.Lock()
		defer k.work.Unlock()
		k.over = true
		if !k.begun() {
			return nil
		}
		err := k.order(sidecar.Pass)
		var passing []history.Evidence
		switch {
		case err != nil:
		case slows(f.spec.Kind):
			passing, err = c.quick(ctx, f, k)
		default:
			err = c.counted(ctx, k, sidecar.Passing)
			passing = k.evidence("after")
		}
		// The rules go in any case: a sidecar that is gone has taken them with it, and one that is deaf loses its lease.
		err = errors.Join(err, c.finish(ctx, k))
		mu.Lock()
		defer mu.Unlock()
		evidence = append(evidence, passing...)
		if err == nil {
			evidence = append(evidence, seen("after", 0, "the rules in the namespace of n%d are gone", k.node.id))
		}
		return err
	})
	return evidence, err
}

// pass lets packets through at once, and leaves the rest to Heal.
func (f *fault) pass() error {
	f.state.Lock()
	defer f.state.Unlock()
	return each(f.cuts, func(k *cut) error {
		if !k.begun() {
			return nil
		}
		return k.order(sidecar.Pass)
	})
}

// abandon lets go of the sidecars: their standard input ends, and with it their rules.
func (f *fault) abandon() {
	f.state.Lock()
	defer f.state.Unlock()
	for _, k := range f.cuts {
		k.letGo()
	}
}

// each does something to all cuts side by side.
func each(cuts []*cut, do func(*cut) error) error {
	errs := make([]error, len(cuts))
	var all sync.WaitGroup
	for i, k := range cuts {
		all.Go(func() { errs[i] = do(k) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// counted waits until the sidecar is in a state and has counted packets in it on every link that can be expected to
// carry some. Clients are played by a question to the node: answered when packets pass, unanswered when they drop.
func (c *cluster) counted(ctx context.Context, k *cut, state string) error {
	for {
		r := k.report()
		missing := "the sidecar's word that it is " + state
		if r.State == state {
			missing = c.missing(ctx, k, r)
		}
		if r.State == state && k.clients && missing == "" {
			missing = c.clientsSee(ctx, k, state)
		}
		if missing == "" {
			return nil
		}
		if err := k.failed(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no evidence: waiting at n%d for %s: %w", k.node.id, missing, ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// missing names a link without packets that should have some, or "".
func (c *cluster) missing(ctx context.Context, k *cut, r sidecar.Report) string {
	if k.spec.Kind == chaos.Loss && r.State == sidecar.Dropping {
		for _, n := range r.Packets { // a share of few packets may be none
			if n > 0 {
				return ""
			}
		}
		return fmt.Sprintf("a packet to n%d to be lost", k.node.id)
	}
	for _, peer := range k.peers {
		// A node that is down or frozen sends nothing, and a link that another fault cuts carries nothing.
		sender, rule, link := peer, fmt.Sprintf("in n%d", peer.id), fmt.Sprintf("n%d→n%d", peer.id, k.node.id)
		if k.way() == sidecar.Out {
			sender, rule, link = k.node, fmt.Sprintf("out n%d", peer.id), fmt.Sprintf("n%d→n%d", k.node.id, peer.id)
		}
		if r.Packets[rule] > 0 {
			continue
		}
		if _, other := c.cutBetween(k, peer); !other && c.responsive(ctx, sender) { // the engine may be slow, and is asked last
			return "packets " + link
		}
	}
	return ""
}

// clientsSee asks the node as a client does.
func (c *cluster) clientsSee(ctx context.Context, k *cut, state string) string {
	rule := "in others"
	if k.way() == sidecar.Out {
		rule = "out others"
	}
	switch {
	case !c.responsive(ctx, k.node):
		return ""
	case state == sidecar.Passing:
		if knock.Answered(ctx, k.node.port.Addr()) != nil {
			return "an answer to a client"
		}
		if k.counted("others") == 0 { // the answer came before the report that counts it
			return "a client's packets to be counted"
		}
	case k.spec.Kind == chaos.Reset:
		if !severed(ctx, k.node.port.Addr(), k.spec.Every+knock.Time) || k.counted("others") == 0 {
			return "a client's connection to be reset"
		}
	case k.spec.Kind == chaos.Loss || k.spec.Kind == chaos.Flapping:
		knock.Answered(ctx, k.node.port.Addr()) // the counters tell what came of it
		if k.spec.Kind == chaos.Flapping && k.report().Packets[rule] == 0 {
			return "a client's packets to be dropped"
		}
	default:
		if !knock.Unanswered(ctx, k.node.port.Addr()) || k.report().Packets[rule] == 0 {
			return "a client's packets to be dropped"
		}
	}
	return ""
}

// severed opens a connection as a client does, keeps it busy, and reports whether it ended before the client would have ended it.
func severed(ctx context.Context, addr string, within time.Duration) bool {
	conn, err := knock.On(ctx, addr)
	if err != nil {
		return !isTimeout(err) // it was refused, or reset at once
	}
	defer conn.Close()
	const size = 1 << 16 // of a request that never gets to its end: a byte at a time, for a connection without packets meets no rule
	if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, size)); err != nil {
		return !isTimeout(err)
	}
	b := make([]byte, 512)
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; {
		conn.SetReadDeadline(time.Now().Add(lookEvery / 2)) // where it cannot be set the read tells
		conn.SetWriteDeadline(time.Now().Add(knock.Time))
		if _, err := conn.Read(b); err != nil && !isTimeout(err) {
			return true
		}
		if _, err := conn.Write(b[:1]); err != nil && !isTimeout(err) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// counted is what the last report counts of a link, in both ways.
func (k *cut) counted(name string) int64 {
	r := k.report()
	return r.Packets[sidecar.In+" "+name] + r.Packets[sidecar.Out+" "+name]
}

func (c *cluster) responsive(ctx context.Context, n *node) bool {
	if _, up := n.running(); !up {
		return false
	}
	state, err := c.inspect(ctx, n)
	return err == nil && state.Running && !state.Paused
}

// cutOff finds a fault that has rules in a node's namespace which nobody sets again in the next.
func (c *cluster) cutOff(n *node) (int, bool) {
	return c.findCut(func(k *cut) bool { return k.node == n && !slows(k.spec.Kind) })
}

// cutBetween finds another cut on the link from a peer to the cut's node, at either end.
func (c *cluster) cutBetween(k *cut, peer *node) (int, bool) {
	return c.findCut(func(o *cut) bool {
		if o.spec.Kind == chaos.Loss || o.spec.Kind == chaos.Reset || slows(o.spec.Kind) {
			return false // which let packets through
		}
		return o != k && o.onLink(k.node, peer)
	})
}

// onLink reports whether the cut is at either end of the link between two nodes, and of that link.
func (k *cut) onLink(a, b *node) bool {
	return k.node == a && slices.Contains(k.peers, b) || k.node == b && slices.Contains(k.peers, a)
}

func (c *cluster) findCut(is func(*cut) bool) (int, bool) {
	c.mu.Lock()
	faults := maps.Clone(c.faults)
	c.mu.Unlock()
	for id, f := range faults {
		f.state.Lock()
		found := slices.ContainsFunc(f.cuts, func(k *cut) bool { return k.begun() && is(k) })
		f.state.Unlock()
		if found {
			return id, true
		}
	}
	return 0, false
}

// evidence puts the counters of a state into words.
func (k *cut) evidence(phase string) (evidence []history.Evidence) {
	r := k.report()
	did := map[string]string{sidecar.Passing: "passed", sidecar.Dropping: "dropped"}[r.State]
	if r.State == sidecar.Dropping && k.spec.Kind == chaos.Reset {
		did = "answered by a reset"
	}
	if did == "" || phase == "during" && r.State != sidecar.Dropping {
		return nil
	}
	for _, rule := range slices.Sorted(maps.Keys(r.Packets)) {
		direction, other, _ := strings.Cut(rule, " ")
		link := fmt.Sprintf("%s→n%d", other, k.node.id)
		if direction == "out" {
			link = fmt.Sprintf("n%d→%s", k.node.id, other)
		}
		if n := r.Packets[rule]; n > 0 {
			evidence = append(evidence, seen(phase, n, "%d packets %s %s", n, did, link))
		}
	}
	return evidence
}

// rules of the cut, for its sidecar.
func (c *cluster) rules(k *cut) sidecar.Cut {
	addresses := func(nodes []*node) map[string]netip.Addr {
		of := map[string]netip.Addr{}
		for _, n := range nodes {
			of[fmt.Sprintf("n%d", n.id)] = c.address(n.id)
		}
		return of
	}
	cut := sidecar.Cut{Table: k.table, Peers: addresses(k.peers), Spare: addresses(k.spare), Others: k.clients, Way: k.way()}
	switch k.spec.Kind {
	case chaos.Loss:
		cut.PPM = k.spec.PPM
	case chaos.Reset:
		cut.Reset, cut.Every = true, k.spec.Every
	case chaos.Flapping:
		cut.Every = k.spec.Every
	case chaos.Delay:
		cut.Shape = sidecar.Shape{Delay: k.spec.By, Jitter: k.spec.Jitter}
	case chaos.Bandwidth:
		cut.Shape = sidecar.Shape{BytesPerSecond: k.spec.BytesPerSecond}
	}
	if slows(k.spec.Kind) {
		cut.Queue, cut.Port = uint16(k.spec.ID), kafkaPortNumber
	}
	return cut
}

// way is the one that the cut is of, "" for both. Loss is set at the receiver: a sender's own stack sees what is lost on its way out, and
// sends it again at once. So is what slows down: a sender's stack has little under way that has not left its node.
func (k *cut) way() string {
	switch k.spec.Kind {
	case chaos.Loss, chaos.Delay, chaos.Bandwidth:
		return sidecar.In
	case chaos.OneWay:
		return k.spec.Way
	}
	return ""
}
