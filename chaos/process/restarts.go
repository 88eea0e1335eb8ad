package process

import (
	"context"
	"fmt"

	"soak/chaos"
	"soak/chaos/knock"
	"soak/chaos/restart"
	"soak/history"
)

// end asks a process to end, or kills it, waits for it, and checks that it ended as it was told to.
func (p *process) end(ctx context.Context, name string, kind string) (how string, err error) {
	p.asked.Store(true)
	ask, want := p.cmd.Process.Kill, "signal: killed"
	if kind == chaos.Stop {
		ask, want = func() error { return terminate(p.cmd.Process) }, "exit code 0"
	}
	if err := ask(); err != nil {
		return "", fmt.Errorf("telling %s to end (%s): %w", name, kind, err)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return "", fmt.Errorf("no evidence that %s (pid %d) ended: %w", name, p.ident.PID, ctx.Err())
	}
	if p.status() != want {
		return "", fmt.Errorf("%s was to end by %s with %q and ended with %q", name, kind, want, p.status())
	}
	return p.status(), nil
}

// stop sends SIGTERM to all targets before it waits for any. Healing starts them, as after a kill.
func (c *cluster) stop(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
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
	parallel(ls, func(i int, l *life) { hows[i], errs[i] = l.process.end(ctx, l.node.name(), chaos.Stop) })
	for i, l := range ls {
		if errs[i] != nil {
			return evidence, errs[i]
		}
		evidence = append(evidence, seen("during", 0, "n%d ended by itself after SIGTERM: %s", l.node.id, hows[i]))
	}
	return evidence, nil
}

// cycle begins a rolling restart or a crash loop.
func (c *cluster) cycle(ctx context.Context, f *fault, targets []*node) (evidence []history.Evidence, err error) {
	ls, err := lives(targets)
	if err != nil {
		return nil, err
	}
	var nodes []restart.Node
	for _, l := range ls {
		evidence = append(evidence, l.runs())
		nodes = append(nodes, cycled{c, l.node})
	}
	f.state.Lock()
	if f.spec.Kind == chaos.Rolling {
		f.restarts = restart.Roll(nodes, f.spec.Every)
	} else {
		f.restarts = restart.Crash(nodes, f.spec.Every)
	}
	f.killed = ls // whatever becomes of the cycle, healing starts them
	f.state.Unlock()
	began, err := f.restarts.Began(ctx)
	return append(evidence, began...), err
}

// lookAtRestarts is what a cycle has seen since the last look.
func (f *fault) lookAtRestarts() ([]history.Evidence, error) {
	evidence, err := f.restarts.Look()
	if err != nil {
		err = fmt.Errorf("%w: %w", chaos.ErrLapsed, err)
	}
	return evidence, err
}

// finishRestarts brings a cycle to its end.
func (f *fault) finishRestarts(ctx context.Context) ([]history.Evidence, error) {
	f.state.Lock()
	cycle := f.restarts
	f.state.Unlock()
	if cycle == nil {
		return nil, nil
	}
	return cycle.Finish(ctx)
}

// abandonRestarts cuts a cycle short: the run ends.
func (f *fault) abandonRestarts() {
	f.state.Lock()
	cycle := f.restarts
	f.state.Unlock()
	if cycle != nil {
		cycle.Abandon()
	}
}

// cycled is a node as a cycle sees it.
type cycled struct {
	c *cluster
	n *node
}

func (y cycled) Name() string { return y.n.name() }
func (y cycled) Boot() uint64 { return y.n.collector.Boot() }

func (y cycled) Stop(ctx context.Context) (string, error) { return y.end(ctx, chaos.Stop) }
func (y cycled) Kill(ctx context.Context) (string, error) { return y.end(ctx, chaos.Kill) }

func (y cycled) end(ctx context.Context, kind string) (string, error) {
	p, up := y.n.running()
	if !up {
		return "", fmt.Errorf("%s is not running", y.Name())
	}
	return p.end(ctx, y.Name(), kind)
}

func (y cycled) Start(ctx context.Context) error { return y.c.launch(ctx, y.n) }

func (y cycled) Answers(ctx context.Context) bool {
	return knock.Answered(ctx, y.n.client.Addr()) == nil
}
