package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"soak/chaos"
	"soak/chaos/diskfault"
	"soak/chaos/restart"
	"soak/history"
)

// lookEvery is how often the engine is asked while waiting for evidence.
const lookEvery = 50 * time.Millisecond

// fault is one injected fault. What it has done is noted as it is done, so that it can be undone from any point.
type fault struct {
	spec chaos.Spec

	mu     sync.Mutex // held by Heal from beginning to end
	healed bool

	state  sync.Mutex // guards below
	killed []struck
	paused []struck
	guard  *guard // of what is paused
	cuts   []*cut
	ending bool // no cut takes the place of another any more

	restarts *restart.Cycle // nil but in a rolling restart or a crash loop
	disks    *diskfault.Fault
}

// struck is a node's life that a fault has struck.
type struck struct {
	node *node
	life *life
	boot uint64 // of the life
}

func (c *cluster) Inject(ctx context.Context, s chaos.Spec) ([]history.Evidence, error) {
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("injecting fault %d (%s): %w", s.ID, s.Kind, err)
	}
	why, known := c.Capabilities()[s.Kind]
	switch {
	case !known:
		return nil, wrap(errors.New("unknown kind"))
	case why != "":
		return nil, wrap(errors.New(why))
	}
	targets, err := c.targets(s)
	if err != nil {
		return nil, wrap(err)
	}
	f := &fault{spec: s}
	c.mu.Lock()
	if _, twice := c.faults[s.ID]; twice || c.closing.Load() {
		c.mu.Unlock()
		return nil, wrap(errors.New("it has been injected before, or the cluster is closing"))
	}
	c.faults[s.ID] = f
	c.mu.Unlock()

	var evidence []history.Evidence
	switch s.Kind {
	case chaos.Kill, chaos.RestartAll:
		evidence, err = c.endAll(ctx, f, targets, chaos.Kill)
	case chaos.Stop:
		evidence, err = c.endAll(ctx, f, targets, chaos.Stop)
	case chaos.Rolling, chaos.CrashLoop:
		evidence, err = c.cycle(ctx, f, targets)
	case chaos.Pause:
		evidence, err = c.pause(ctx, f, targets)
	case chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping, chaos.Reset, chaos.Loss:
		evidence, err = c.partition(ctx, f, targets)
	case chaos.Delay, chaos.Bandwidth:
		evidence, err = c.disturb(ctx, f, targets)
	case chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError, chaos.PowerLoss:
		evidence, err = c.breakDisks(ctx, f, targets)
	}
	return evidence, wrap(err)
}

// targets resolves a fault's nodes; an empty or unknown target is an error, never a fault that does nothing.
func (c *cluster) targets(s chaos.Spec) ([]*node, error) {
	if s.Kind == chaos.RestartAll {
		return c.nodes, nil
	}
	var targets []*node
	for _, id := range s.Nodes {
		n := c.node(id)
		if n == nil {
			return nil, fmt.Errorf("there is no n%d", id)
		}
		if !slices.Contains(targets, n) {
			targets = append(targets, n)
		}
	}
	if len(targets) == 0 {
		return nil, errors.New("it has no target")
	}
	return targets, nil
}

// seen makes a piece of evidence of now.
func seen(phase string, count int64, format string, args ...any) history.Evidence {
	return history.Evidence{Time: time.Now().UnixNano(), Phase: phase, What: fmt.Sprintf(format, args...), Count: count}
}

// lives takes the present lives of nodes: a fault on a node that is down would prove nothing.
func lives(targets []*node) ([]struck, error) {
	var ls []struck
	for _, n := range targets {
		l, up := n.running()
		if !up {
			return nil, fmt.Errorf("n%d is not running", n.id)
		}
		ls = append(ls, struck{node: n, life: l, boot: n.collector.Boot()})
	}
	return ls, nil
}

// inspect asks the engine for a container's state.
func (c *cluster) inspect(ctx context.Context, n *node) (*container.State, error) {
	call, cancel := bounded(ctx)
	defer cancel()
	r, err := c.engine.ContainerInspect(call, n.container.ID, client.ContainerInspectOptions{})
	if err != nil {
		return nil, fmt.Errorf("inspecting the container of n%d: %w", n.id, explain(call, err))
	}
	if r.Container.State == nil {
		return nil, fmt.Errorf("inspecting the container of n%d: the engine gives no state", n.id)
	}
	return r.Container.State, nil
}

// pause freezes the targets' containers.
func (c *cluster) pause(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	ls, err := lives(targets)
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		state, err := c.inspect(ctx, l.node)
		if err != nil {
			return evidence, err
		}
		if state.Paused {
			return evidence, fmt.Errorf("n%d is paused already", l.node.id)
		}
		evidence = append(evidence, seen("before", 0, "n%d is %s", l.node.id, state.Status))
	}
	var ids []string
	for _, l := range ls {
		ids = append(ids, l.node.container.ID)
	}
	guard, err := guardOf(ctx, ids)
	if err != nil {
		return evidence, err
	}
	f.state.Lock()
	f.paused, f.guard = ls, guard
	f.state.Unlock()
	for _, l := range ls {
		call, cancel := bounded(ctx)
		_, err := c.engine.ContainerPause(call, l.node.container.ID, client.ContainerPauseOptions{})
		err = explain(call, err)
		cancel()
		if err != nil {
			return evidence, fmt.Errorf("pausing n%d: %w", l.node.id, err)
		}
	}
	for _, l := range ls {
		state, err := c.inspect(ctx, l.node)
		if err != nil {
			return evidence, err
		}
		if !state.Paused {
			return evidence, fmt.Errorf("no evidence that n%d is frozen: its container is %s", l.node.id, state.Status)
		}
		evidence = append(evidence, seen("during", 0, "n%d is frozen: container state %s", l.node.id, state.Status))
	}
	return evidence, nil
}

func (c *cluster) unpause(ctx context.Context, n *node) error {
	call, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.engine.ContainerUnpause(call, n.container.ID, client.ContainerUnpauseOptions{}); err != nil {
		return fmt.Errorf("resuming n%d: %w", n.id, explain(call, err))
	}
	return nil
}

func (c *cluster) fault(id int) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults[id]
}

func (c *cluster) Probe(ctx context.Context, id int) (evidence []history.Evidence, err error) {
	f := c.fault(id)
	if f == nil {
		return nil, fmt.Errorf("probing fault %d: it has not been injected", id)
	}
	f.state.Lock()
	killed, paused, cuts, cycle := f.killed, f.paused, f.cuts, f.restarts
	f.state.Unlock()
	var errs []error
	add := func(e []history.Evidence, err error) {
		evidence = append(evidence, e...)
		if err != nil {
			errs = append(errs, fmt.Errorf("probing fault %d: %w", id, err))
		}
	}
	if cycle != nil {
		add(lookAtRestarts(cycle))
		killed = nil
	}
	for _, l := range killed {
		if _, up := l.node.running(); up {
			add(nil, fmt.Errorf("n%d runs: %w", l.node.id, chaos.ErrLapsed))
		} else {
			add([]history.Evidence{seen("during", 0, "n%d is down", l.node.id)}, nil)
		}
	}
	for _, l := range paused {
		switch state, err := c.inspect(ctx, l.node); {
		case err != nil:
			add(nil, err)
		case state.Paused:
			add([]history.Evidence{seen("during", 0, "n%d is frozen: container state %s", l.node.id, state.Status)}, nil)
		case state.Running:
			add(nil, fmt.Errorf("n%d goes on, container state %s: %w", l.node.id, state.Status, chaos.ErrLapsed))
		default: // killed meanwhile
			add([]history.Evidence{seen("during", 0, "n%d is down: container state %s", l.node.id, state.Status)}, nil)
		}
	}
	for _, k := range cuts {
		if slows(f.spec.Kind) {
			add(c.stillSlow(ctx, f, k))
		} else {
			add(k.holds(ctx))
		}
	}
	add(f.probeDisks(ctx))
	return evidence, errors.Join(errs...)
}

func (c *cluster) Heal(ctx context.Context, id int) ([]history.Evidence, error) {
	f := c.fault(id)
	if f == nil {
		return nil, fmt.Errorf("healing fault %d: it has not been injected", id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.healed {
		return nil, nil
	}
	err := c.resume(ctx, f)
	evidence, openErr := c.open(ctx, f)
	mendErr := f.mend(ctx)
	var cycleErr error
	if cycle := f.cycling(); cycle != nil {
		evidence, cycleErr = cycle.Finish(ctx)
	}
	more, startErr := c.seeEnd(ctx, f)
	sound, diskErr := c.seeDisks(ctx, f)
	evidence = slices.Concat(evidence, more, sound)
	if err = errors.Join(err, openErr, mendErr, cycleErr, startErr, diskErr); err != nil {
		return evidence, fmt.Errorf("healing fault %d (%s): %w", id, f.spec.Kind, err)
	}
	f.healed = true
	return evidence, nil
}

// resume thaws what the fault has frozen, as far as it is still the same life and still frozen.
func (c *cluster) resume(ctx context.Context, f *fault) error {
	f.state.Lock()
	paused, guard := f.paused, f.guard
	f.state.Unlock()
	var errs []error
	for _, l := range paused {
		if now, up := l.node.running(); !up || now != l.life {
			continue
		}
		state, err := c.inspect(ctx, l.node)
		if err == nil && state.Paused {
			err = c.unpause(ctx, l.node)
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil && guard != nil {
		guard.dismiss()
	}
	return err
}

// dismissGuard lets the guard of a pause go: the containers are gone.
func (f *fault) dismissGuard() {
	f.state.Lock()
	defer f.state.Unlock()
	if f.guard != nil {
		f.guard.dismiss()
	}
}

// seeEnd starts killed nodes again and looks for evidence that a kill or a pause is over.
func (c *cluster) seeEnd(ctx context.Context, f *fault) (evidence []history.Evidence, err error) {
	f.state.Lock()
	killed, paused := f.killed, f.paused
	f.state.Unlock()
	for _, l := range paused {
		if now, up := l.node.running(); !up || now != l.life {
			evidence = append(evidence, seen("after", 0, "the life of n%d that was paused has ended since", l.node.id))
			continue
		}
		state, err := c.inspect(ctx, l.node)
		if err != nil {
			return evidence, err
		}
		if state.Paused {
			return evidence, fmt.Errorf("no evidence that n%d goes on: its container is %s", l.node.id, state.Status)
		}
		evidence = append(evidence, seen("after", 0, "n%d goes on: container state %s", l.node.id, state.Status))
	}
	errs := make([]error, len(killed))
	var all sync.WaitGroup
	for i, l := range killed {
		all.Go(func() { errs[i] = c.again(ctx, l) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return evidence, err
	}
	for _, l := range killed {
		if l.untouched() {
			continue
		}
		boot, err := l.node.collector.WaitBoot(ctx, l.boot)
		if err != nil {
			return evidence, err
		}
		evidence = append(evidence, seen("after", int64(boot), "n%d has started again: boot %d, was %d", l.node.id, boot, l.boot))
	}
	return evidence, nil
}

// HealAll undoes every fault: all that is frozen goes on, then all links, then all disks, then all starts.
func (c *cluster) HealAll(ctx context.Context) error {
	c.mu.Lock()
	var ids []int
	for id := range c.faults {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	slices.Sort(ids)
	var errs []error
	for _, id := range ids {
		errs = append(errs, c.resume(ctx, c.fault(id)))
		if cycle := c.fault(id).cycling(); cycle != nil {
			cycle.Abandon()
		}
	}
	for _, id := range ids {
		errs = append(errs, c.fault(id).pass())
	}
	for _, id := range ids {
		errs = append(errs, c.fault(id).mend(ctx))
	}
	for _, id := range ids {
		_, err := c.Heal(ctx, id)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
