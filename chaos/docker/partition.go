package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"soak/chaos/docker/sidecar"
	"soak/chaos/knock"
	"soak/history"
)

// partition starts a sidecar in each target's network namespace, has it count what passes, then drop, and waits for the
// counters each time.
func (c *cluster) partition(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	others := slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return slices.Contains(targets, n) })
	if len(others) == 0 && !f.spec.Clients {
		return nil, errors.New("there is nobody on the other side")
	}
	if _, err := lives(targets); err != nil {
		return nil, err
	}
	cuts := make([]*cut, len(targets))
	for i, n := range targets {
		cuts[i] = newCut(n, others, f.spec)
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
	f.state.Unlock()
	var mu sync.Mutex
	err = each(cuts, func(k *cut) error {
		if !k.begun() {
			return nil
		}
		err := k.order(sidecar.Pass)
		if err == nil {
			err = c.counted(ctx, k, sidecar.Passing)
		}
		passing := k.evidence("after")
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
	for _, peer := range k.peers {
		// A node that is down or frozen sends nothing, and a link that another fault cuts carries nothing.
		if _, other := c.cutBetween(k, peer); other || !c.responsive(ctx, peer) {
			continue
		}
		if rule := fmt.Sprintf("in n%d", peer.id); r.Packets[rule] == 0 {
			return fmt.Sprintf("packets n%d→n%d", peer.id, k.node.id)
		}
	}
	return ""
}

// clientsSee asks the node as a client does.
func (c *cluster) clientsSee(ctx context.Context, k *cut, state string) string {
	answered := knock.Answered(ctx, k.node.port.Addr()) == nil
	switch {
	case !c.responsive(ctx, k.node):
		return ""
	case state == sidecar.Passing && !answered:
		return "an answer to a client"
	case state == sidecar.Dropping && (answered || k.report().Packets["in others"] == 0):
		return "a client's packets to be dropped"
	}
	return ""
}

func (c *cluster) responsive(ctx context.Context, n *node) bool {
	if _, up := n.running(); !up {
		return false
	}
	state, err := c.inspect(ctx, n)
	return err == nil && state.Running && !state.Paused
}

// cutOff finds a fault that has a partition on a node.
func (c *cluster) cutOff(n *node) (int, bool) {
	return c.findCut(func(k *cut) bool { return k.node == n })
}

// cutBetween finds another cut on the link from a peer to the cut's node, at either end.
func (c *cluster) cutBetween(k *cut, peer *node) (int, bool) {
	return c.findCut(func(o *cut) bool {
		return o != k && (o.node == k.node && slices.Contains(o.peers, peer) || o.node == peer && slices.Contains(o.peers, k.node))
	})
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
	peers := map[string]netip.Addr{}
	for _, p := range k.peers {
		peers[fmt.Sprintf("n%d", p.id)] = c.address(p.id)
	}
	return sidecar.Cut{Table: k.table, Peers: peers, Others: k.clients}
}
