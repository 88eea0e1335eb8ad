package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"soak/chaos"
	"soak/chaos/diskfault"
	"soak/chaos/owner"
	"soak/chaos/restart"
	"soak/history"
)

// lookEvery is how often the data path is looked at while waiting for evidence.
const lookEvery = 10 * time.Millisecond

// fault is one injected fault. What it has done is noted as it is done, so that it can be undone from any point.
type fault struct {
	spec chaos.Spec

	mu     sync.Mutex // held by Heal from beginning to end
	healed bool

	state  sync.Mutex // guards below
	killed []*life
	paused []*life
	held   []*cutLink
	reset  []*link // whose connections are reset
	shaped []*link // that are delayed, or bounded

	settled             bool          // reset and shaped are so no more
	repeating, repeated chan struct{} // closed: to end what is done again and again, and when it has ended

	restarts *restart.Cycle // nil but in a rolling restart or a crash loop
	disks    *diskfault.Fault
}

// life is the process of a node that a fault has struck.
type life struct {
	node    *node
	process *process
	boot    uint64 // of the process
}

func (c *cluster) Inject(ctx context.Context, s chaos.Spec) ([]history.Evidence, error) {
	why, known := c.Capabilities()[s.Kind]
	switch {
	case !known:
		return nil, fmt.Errorf("injecting fault %d: unknown kind %q", s.ID, s.Kind)
	case why != "":
		return nil, fmt.Errorf("injecting fault %d: %s: %s", s.ID, s.Kind, why)
	}
	targets, err := c.targets(s)
	if err != nil {
		return nil, fmt.Errorf("injecting fault %d (%s): %w", s.ID, s.Kind, err)
	}
	f := &fault{spec: s}
	c.mu.Lock()
	if _, twice := c.faults[s.ID]; twice || c.closing.Load() {
		c.mu.Unlock()
		return nil, fmt.Errorf("injecting fault %d: it has been injected before, or the cluster is closing", s.ID)
	}
	c.faults[s.ID] = f
	c.mu.Unlock()

	var evidence []history.Evidence
	switch s.Kind {
	case chaos.Kill, chaos.RestartAll:
		evidence, err = c.kill(ctx, f, targets)
	case chaos.Stop:
		evidence, err = c.stop(ctx, f, targets)
	case chaos.Rolling, chaos.CrashLoop:
		evidence, err = c.cycle(ctx, f, targets)
	case chaos.Pause:
		evidence, err = c.pause(ctx, f, targets)
	case chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.Flapping:
		evidence, err = c.partition(ctx, f, targets)
	case chaos.Reset:
		evidence, err = c.reset(ctx, f, targets)
	case chaos.Delay, chaos.Bandwidth:
		evidence, err = c.disturb(ctx, f, targets)
	case chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError, chaos.PowerLoss:
		evidence, err = c.breakDisks(ctx, f, targets)
	}
	if err != nil {
		err = fmt.Errorf("injecting fault %d (%s): %w", s.ID, s.Kind, err)
	}
	return evidence, err
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

// lives takes the running processes of nodes: a fault on a node that is down would prove nothing.
func lives(targets []*node) ([]*life, error) {
	var ls []*life
	for _, n := range targets {
		p, ok := n.running()
		if !ok {
			return nil, fmt.Errorf("n%d is not running", n.id)
		}
		ls = append(ls, &life{node: n, process: p, boot: n.collector.Boot()})
	}
	return ls, nil
}

// runs is evidence that a node is there, before a fault ends it.
func (l *life) runs() history.Evidence {
	return seen("before", int64(l.boot), "n%d runs (pid %d, boot %d)", l.node.id, l.process.ident.PID, l.boot)
}

// parallel does something for all lives side by side.
func parallel(ls []*life, do func(i int, l *life)) {
	var all sync.WaitGroup
	for i, l := range ls {
		all.Go(func() { do(i, l) })
	}
	all.Wait()
}

// kill sends SIGKILL to all targets before it waits for any.
func (c *cluster) kill(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	ls, err := lives(targets)
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		evidence = append(evidence, l.runs())
	}
	f.state.Lock()
	f.killed = ls
	f.state.Unlock()
	hows, errs := make([]string, len(ls)), make([]error, len(ls))
	parallel(ls, func(i int, l *life) { hows[i], errs[i] = l.process.end(ctx, l.node.name(), chaos.Kill) })
	for i, l := range ls {
		if errs[i] != nil {
			return evidence, errs[i]
		}
		evidence = append(evidence, seen("during", 0, "n%d ended: %s", l.node.id, hows[i]))
	}
	return evidence, nil
}

// pause sends SIGSTOP and waits until the system shows the processes stopped.
func (c *cluster) pause(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	ls, err := lives(targets)
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		if !l.node.responsive() {
			return evidence, fmt.Errorf("n%d is paused already", l.node.id)
		}
		evidence = append(evidence, seen("before", 0, "n%d runs (pid %d)", l.node.id, l.process.ident.PID))
	}
	f.state.Lock()
	f.paused = ls
	f.state.Unlock()
	for _, l := range ls {
		if err := pause(l.process.cmd.Process); err != nil {
			return evidence, fmt.Errorf("pausing n%d: %w", l.node.id, err)
		}
	}
	for _, l := range ls {
		if err := l.wait(ctx, owner.Stopped); err != nil {
			return evidence, fmt.Errorf("no evidence that n%d stopped: %w", l.node.id, err)
		}
		evidence = append(evidence, l.stopped())
	}
	return evidence, nil
}

// wait waits until the process is in a state.
func (l *life) wait(ctx context.Context, want owner.State) error {
	for {
		state, err := l.process.ident.State()
		if err != nil || state == want {
			return err
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

func (l *life) stopped() history.Evidence {
	return seen("during", 0, "n%d (pid %d) is stopped: process state T", l.node.id, l.process.ident.PID)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cluster) fault(id int) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults[id]
}

func (c *cluster) Probe(ctx context.Context, id int) ([]history.Evidence, error) {
	f := c.fault(id)
	if f == nil {
		return nil, fmt.Errorf("probing fault %d: it has not been injected", id)
	}
	evidence, disksErr := f.probeDisks(ctx) // before the lock: it asks the nodes
	f.state.Lock()
	defer f.state.Unlock()
	var errs []error
	if disksErr != nil {
		errs = append(errs, fmt.Errorf("probing fault %d: %w", id, disksErr))
	}
	add := func(e history.Evidence, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("probing fault %d: %w", id, err))
		} else if e.What != "" {
			evidence = append(evidence, e)
		}
	}
	if f.restarts != nil {
		e, err := f.lookAtRestarts()
		evidence = append(evidence, e...)
		add(history.Evidence{}, err)
	} else {
		for _, l := range f.killed {
			add(l.down())
		}
	}
	for _, l := range f.paused {
		add(l.still())
	}
	for _, l := range f.held {
		add(l.shut())
	}
	if !f.settled {
		for _, l := range f.reset {
			add(f.stillReset(ctx, l))
		}
		for _, l := range f.shaped {
			add(l.stillSlow(f.spec))
		}
	}
	return evidence, errors.Join(errs...)
}

// down is evidence that the node has not been started since.
func (l *life) down() (history.Evidence, error) {
	if _, up := l.node.running(); up {
		return history.Evidence{}, fmt.Errorf("n%d runs: %w", l.node.id, chaos.ErrLapsed)
	}
	return seen("during", 0, "n%d is down", l.node.id), nil
}

// still is evidence that a paused process does not go on. One that has been killed meanwhile does not, until its node is started again.
func (l *life) still() (history.Evidence, error) {
	if !l.process.ident.Running() {
		return l.down()
	}
	switch state, err := l.process.ident.State(); {
	case err != nil && !l.process.ident.Running():
		return l.down()
	case err != nil:
		return history.Evidence{}, err
	case state != owner.Stopped:
		return history.Evidence{}, fmt.Errorf("n%d (pid %d) goes on: %w", l.node.id, l.process.ident.PID, chaos.ErrLapsed)
	}
	return l.stopped(), nil
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
	err := errors.Join(f.resume(), f.release(), f.mend(ctx))
	ends, cycleErr := f.finishRestarts(ctx)
	more, seeErr := c.seeEnd(ctx, f)
	ends, err = append(ends, more...), errors.Join(err, cycleErr)
	if err = errors.Join(err, seeErr); err != nil {
		return ends, fmt.Errorf("healing fault %d (%s): %w", id, f.spec.Kind, err)
	}
	f.healed = true
	return ends, nil
}

// resume lets paused processes go on. A process that has been killed meanwhile needs nothing.
func (f *fault) resume() error {
	f.state.Lock()
	defer f.state.Unlock()
	var errs []error
	for _, l := range f.paused {
		if !l.process.ident.Running() {
			continue
		}
		if err := resume(l.process.cmd.Process); err != nil && l.process.ident.Running() {
			errs = append(errs, fmt.Errorf("resuming n%d: %w", l.node.id, err))
		}
	}
	return errors.Join(errs...)
}

// seeEnd starts killed nodes again and waits for evidence that the fault is over.
func (c *cluster) seeEnd(ctx context.Context, f *fault) (evidence []history.Evidence, err error) {
	f.state.Lock()
	killed, paused, held := f.killed, f.paused, f.held
	f.state.Unlock()
	for _, l := range paused {
		if !l.process.ident.Running() {
			evidence = append(evidence, seen("after", 0, "the process of n%d that was paused has ended since", l.node.id))
			continue
		}
		if err := l.wait(ctx, owner.Other); err != nil && l.process.ident.Running() {
			return evidence, fmt.Errorf("no evidence that n%d goes on: %w", l.node.id, err)
		}
		evidence = append(evidence, seen("after", 0, "n%d (pid %d) goes on", l.node.id, l.process.ident.PID))
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
	flowing, err := c.flowing(ctx, bare(held))
	quick, quickErr := c.quick(ctx, f)
	sound, diskErr := c.seeDisks(ctx, f)
	return slices.Concat(evidence, flowing, quick, sound), errors.Join(err, quickErr, diskErr)
}

// untouched reports whether a cycle of restarts that was cut short has not come to this node.
func (l *life) untouched() bool {
	p, up := l.node.running()
	return up && p == l.process && !p.asked.Load()
}

// again starts a node that a fault has ended. A process that did not end when it was told to is killed first.
func (c *cluster) again(ctx context.Context, l *life) error {
	if l.untouched() {
		return nil
	}
	if p, up := l.node.running(); up && p == l.process {
		p.cmd.Process.Kill() // an error means that it has ended by now
		select {
		case <-p.ended:
		case <-ctx.Done():
			return fmt.Errorf("waiting for n%d to end after SIGKILL: %w", l.node.id, ctx.Err())
		}
	}
	return c.launch(ctx, l.node)
}

// HealAll undoes every fault: all that is paused goes on, then all links, then all disks, then all starts. Only then it looks for the evidence.
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
		errs = append(errs, c.fault(id).resume())
		c.fault(id).abandonRestarts()
	}
	for _, id := range ids {
		errs = append(errs, c.fault(id).release())
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
