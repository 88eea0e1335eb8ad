// Package restart carries out the faults that end nodes and start them again by themselves: a rolling restart and a crash
// loop. The drivers on real clusters lend it their nodes; it owns the order, the waiting and the evidence.
//
// A cycle runs in a goroutine of its own until it is done or ended. It leaves no node in the middle of anything: what it has
// ended and not started again when it is cut short is the driver's to start.
package restart

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"soak/history"
)

// Node is a node as a cycle needs it. All methods return soon after ctx ends.
type Node interface {
	Name() string // "n1"
	Boot() uint64 // number of the present or last life
	// Stop asks the node to end (SIGTERM) and waits until it has ended by itself with exit code 0; Kill ends it (SIGKILL) and
	// waits. Both say how it ended, and fail where it ended otherwise or was not there.
	Stop(ctx context.Context) (how string, err error)
	Kill(ctx context.Context) (how string, err error)
	// Start starts it and returns once it has said so itself.
	Start(ctx context.Context) error
	// Answers reports whether it answers a client.
	Answers(ctx context.Context) bool
}

const (
	// stepLimit bounds one step: an end, a start, the wait for an answer.
	stepLimit = 15 * time.Second

	askEvery = 20 * time.Millisecond

	// keep bounds the evidence that waits to be taken: a second's worth is some pieces.
	keep = 100
)

// Cycle is one fault under way.
type Cycle struct {
	nodes  []Node
	every  time.Duration
	cancel context.CancelFunc
	hurry  chan struct{} // closed: wait no more between nodes
	once   sync.Once
	began  chan struct{} // closed when the first node has ended, or the cycle is over
	done   chan struct{}

	mu       sync.Mutex
	evidence []history.Evidence // not taken yet
	ends     int
	starts   int
	err      error
	left     bool // abandoned: that it was cut short is no failure of its own
}

// Roll begins a rolling restart: each node is stopped and started, the next one once the last has started and answers clients, and
// every has passed since the last was stopped.
func Roll(nodes []Node, every time.Duration) *Cycle {
	return begin(nodes, every, func(ctx context.Context, c *Cycle) error {
		for i, n := range nodes {
			began := time.Now()
			if err := c.restart(ctx, n, n.Stop); err != nil {
				return err
			}
			for asked := false; !n.Answers(ctx); asked = true {
				if asked && time.Since(began) > 2*stepLimit {
					return fmt.Errorf("%s does not answer clients after its restart", n.Name())
				}
				if err := sleep(ctx, askEvery, nil); err != nil {
					return err
				}
			}
			c.see(0, "%s answers clients again", n.Name())
			if i < len(nodes)-1 {
				if err := sleep(ctx, every-time.Since(began), c.hurry); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Crash begins a crash loop: all nodes are killed and started, again and again, each time when every has passed since the time before
// and they have started.
func Crash(nodes []Node, every time.Duration) *Cycle {
	return begin(nodes, every, func(ctx context.Context, c *Cycle) error {
		for {
			began := time.Now()
			errs := make([]error, len(nodes))
			var all sync.WaitGroup
			for i, n := range nodes {
				all.Go(func() { errs[i] = c.restart(ctx, n, n.Kill) })
			}
			all.Wait()
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if err := sleep(ctx, every-time.Since(began), c.hurry); err != nil {
				return err
			}
			select {
			case <-c.hurry:
				return nil
			default:
			}
		}
	})
}

func begin(nodes []Node, every time.Duration, run func(context.Context, *Cycle) error) *Cycle {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cycle{nodes: nodes, every: every, cancel: cancel, hurry: make(chan struct{}), began: make(chan struct{}), done: make(chan struct{})}
	go func() {
		err := run(ctx, c)
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(c.done)
	}()
	return c
}

// restart ends a node in a way and starts it.
func (c *Cycle) restart(ctx context.Context, n Node, end func(context.Context) (string, error)) error {
	step, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	was := n.Boot()
	how, err := end(step)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.ends++
	c.mu.Unlock()
	c.see(0, "%s ended: %s", n.Name(), how)
	c.once.Do(func() { close(c.began) })
	if err := n.Start(step); err != nil {
		return err
	}
	c.mu.Lock()
	c.starts++
	c.mu.Unlock()
	c.see(int64(n.Boot()), "%s has started again: boot %d, was %d", n.Name(), n.Boot(), was)
	return nil
}

func (c *Cycle) see(count int64, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.evidence) < keep {
		c.evidence = append(c.evidence, history.Evidence{Time: time.Now().UnixNano(), Phase: "during", What: fmt.Sprintf(format, args...), Count: count})
	}
}

// Began waits for the evidence of the first node's end.
func (c *Cycle) Began(ctx context.Context) ([]history.Evidence, error) {
	select {
	case <-c.began:
		return c.take(), nil
	case <-c.done:
		return c.take(), c.failed()
	case <-ctx.Done():
		return c.take(), fmt.Errorf("no evidence that %s ended: %w", c.nodes[0].Name(), ctx.Err())
	}
}

// Look gives what has been seen since the last look. An error says that the cycle has ended before its time: a node did not come back.
func (c *Cycle) Look() ([]history.Evidence, error) {
	select {
	case <-c.done:
		c.mu.Lock()
		err := c.err
		c.mu.Unlock()
		return c.take(), err
	default:
		return c.take(), nil
	}
}

// Finish has the cycle come to its end without further waiting, a crash loop after its present restart, and gives the evidence of that.
// Where ctx ends first the cycle is abandoned.
func (c *Cycle) Finish(ctx context.Context) ([]history.Evidence, error) {
	c.mu.Lock()
	select {
	case <-c.hurry:
	default:
		close(c.hurry)
	}
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Abandon()
		return c.take(), fmt.Errorf("a restart was still under way: %w", ctx.Err())
	}
	evidence, err := c.take(), c.failed()
	if err == nil {
		c.mu.Lock()
		names := make([]string, len(c.nodes))
		for i, n := range c.nodes {
			names[i] = n.Name()
		}
		evidence = append(evidence, history.Evidence{Time: time.Now().UnixNano(), Phase: "after", Count: int64(c.starts),
			What: fmt.Sprintf("%s: ended %d times, started again %d times in all", strings.Join(names, ", "), c.ends, c.starts)})
		c.mu.Unlock()
	}
	return evidence, err
}

// Abandon ends the cycle where it is, and waits for its goroutine.
func (c *Cycle) Abandon() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	c.cancel()
	<-c.done
}

func (c *Cycle) take() []history.Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.evidence
	c.evidence = nil
	return e
}

func (c *Cycle) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left && errors.Is(c.err, context.Canceled) {
		return nil
	}
	return c.err
}

// sleep waits; less where hurry is closed.
func sleep(ctx context.Context, d time.Duration, hurry <-chan struct{}) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-hurry:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
