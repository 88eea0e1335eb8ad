package docker

import (
	"context"
	"fmt"
	"sync"

	"github.com/moby/moby/client"

	"soak/chaos"
	"soak/chaos/knock"
	"soak/chaos/restart"
	"soak/history"
)

// endNode asks a node's container to end (stop), or kills it, waits for it, and checks that it ended as it was told to.
func (c *cluster) endNode(ctx context.Context, n *node, l *life, kind string) (how string, err error) {
	signal, want := "SIGKILL", "killed"
	if kind == chaos.Stop {
		signal, want = "SIGTERM", ""
	}
	call, cancel := bounded(ctx)
	defer cancel()
	l.asked.Store(true)
	if _, err := c.engine.ContainerKill(call, n.container.ID, client.ContainerKillOptions{Signal: signal}); err != nil {
		return "", fmt.Errorf("sending %s to n%d: %w", signal, n.id, explain(call, err))
	}
	select {
	case <-l.ended:
	case <-ctx.Done():
		return "", fmt.Errorf("no evidence that n%d ended: %w", n.id, ctx.Err())
	}
	if l.signal != want || kind == chaos.Stop && l.code != 0 {
		return "", fmt.Errorf("n%d was to end by %s and ended by itself, or of something else: %s", n.id, signal, l.status())
	}
	return l.status(), nil
}

// beforeEnd says how the nodes are that a fault is about to end, and refuses those that it must not.
func (c *cluster) beforeEnd(ctx context.Context, targets []*node) (ls []struck, evidence []history.Evidence, err error) {
	if ls, err = lives(targets); err != nil {
		return nil, nil, err
	}
	for _, l := range ls {
		if id, ok := c.cutOff(l.node); ok {
			// The rules live in the container's network namespace, and a restart makes a new one without them.
			return nil, nil, fmt.Errorf("n%d has rules of fault %d in its namespace: they would not survive a restart", l.node.id, id)
		}
	}
	for _, l := range ls {
		state, err := c.inspect(ctx, l.node)
		if err != nil {
			return ls, evidence, err
		}
		evidence = append(evidence, seen("before", int64(l.boot), "n%d is %s (boot %d)", l.node.id, state.Status, l.boot))
		if state.Paused { // on cgroup v1 a frozen process does not die
			if err := c.unpause(ctx, l.node); err != nil {
				return ls, evidence, err
			}
		}
	}
	return ls, evidence, nil
}

// endAll sends the signal of a kind to all targets before it waits for any.
func (c *cluster) endAll(ctx context.Context, f *fault, targets []*node, kind string) (evidence []history.Evidence, err error) {
	ls, evidence, err := c.beforeEnd(ctx, targets)
	if err != nil {
		return evidence, err
	}
	f.state.Lock()
	f.killed = ls
	f.state.Unlock()
	hows, errs := make([]string, len(ls)), make([]error, len(ls))
	var all sync.WaitGroup
	for i, l := range ls {
		all.Go(func() { hows[i], errs[i] = c.endNode(ctx, l.node, l.life, kind) })
	}
	all.Wait()
	for i, l := range ls {
		if errs[i] != nil {
			return evidence, errs[i]
		}
		what := "n%d ended: %s"
		if kind == chaos.Stop {
			what = "n%d ended by itself after SIGTERM: %s"
		}
		evidence = append(evidence, seen("during", 0, what, l.node.id, hows[i]))
	}
	return evidence, nil
}

// cycle begins a rolling restart or a crash loop.
func (c *cluster) cycle(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	ls, evidence, err := c.beforeEnd(ctx, targets)
	if err != nil {
		return evidence, err
	}
	var nodes []restart.Node
	for _, l := range ls {
		nodes = append(nodes, cycled{c, l.node})
	}
	f.state.Lock()
	if f.spec.Kind == chaos.Rolling {
		f.restarts = restart.Roll(nodes, f.spec.Every)
	} else {
		f.restarts = restart.Crash(nodes, f.spec.Every)
	}
	cycle := f.restarts
	f.killed = ls // whatever becomes of the cycle, healing starts them
	f.state.Unlock()
	began, err := cycle.Began(ctx)
	return append(evidence, began...), err
}

// cycling is the fault's cycle of restarts, nil if it is of another kind.
func (f *fault) cycling() *restart.Cycle {
	f.state.Lock()
	defer f.state.Unlock()
	return f.restarts
}

// lookAtRestarts is what a cycle has seen since the last look.
func lookAtRestarts(cycle *restart.Cycle) ([]history.Evidence, error) {
	evidence, err := cycle.Look()
	if err != nil {
		err = fmt.Errorf("%w: %w", chaos.ErrLapsed, err)
	}
	return evidence, err
}

// untouched reports whether a cycle of restarts that was cut short has not come to this node.
func (l struck) untouched() bool {
	now, up := l.node.running()
	return up && now == l.life && !now.asked.Load()
}

// again starts a node that a fault has ended. A container that did not end when it was told to is killed first.
func (c *cluster) again(ctx context.Context, l struck) error {
	if l.untouched() {
		return nil
	}
	if now, up := l.node.running(); up && now == l.life {
		call, cancel := bounded(ctx)
		defer cancel()
		_, err := c.engine.ContainerKill(call, l.node.container.ID, client.ContainerKillOptions{Signal: "SIGKILL"})
		select {
		case <-now.ended:
		case <-call.Done():
			return fmt.Errorf("killing n%d, which did not stop: %w", l.node.id, explain(call, err))
		}
	}
	return c.launch(ctx, l.node)
}

// cycled is a node as a cycle sees it.
type cycled struct {
	c *cluster
	n *node
}

func (y cycled) Name() string { return fmt.Sprintf("n%d", y.n.id) }
func (y cycled) Boot() uint64 { return y.n.collector.Boot() }

func (y cycled) Stop(ctx context.Context) (string, error) { return y.end(ctx, chaos.Stop) }
func (y cycled) Kill(ctx context.Context) (string, error) { return y.end(ctx, chaos.Kill) }

func (y cycled) end(ctx context.Context, kind string) (string, error) {
	l, up := y.n.running()
	if !up {
		return "", fmt.Errorf("%s is not running", y.Name())
	}
	return y.c.endNode(ctx, y.n, l, kind)
}

func (y cycled) Start(ctx context.Context) error { return y.c.launch(ctx, y.n) }

func (y cycled) Answers(ctx context.Context) bool {
	return knock.Answered(ctx, y.n.port.Addr()) == nil
}
