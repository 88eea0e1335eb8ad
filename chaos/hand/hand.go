package hand

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/chaos/runloop"
	"soak/history"
)

// Bounds of what may block.
const (
	startTime  = 5 * time.Minute // building an image included
	answerTime = 60 * time.Second
	lookEvery  = 100 * time.Millisecond // while waiting for nodes to answer
	faultTime  = 15 * time.Second       // an injection, or a healing
	probeTime  = 3 * time.Second
	probeEvery = time.Second
	closeTime  = 30 * time.Second
)

// Options say what to start.
type Options struct {
	// Config is the driver's; Dir and Sink are filled in.
	Config chaos.Config
	Driver string
	// New makes the driver's cluster.
	New func(chaos.Config) (chaos.Cluster, error)
	// Logf is told of progress, and of what happens to the cluster that nobody asked for.
	Logf func(format string, args ...any)

	ask func(ctx context.Context, node int32) (*kmsg.MetadataResponse, error) // in tests, in place of a client
}

// Hand is a cluster that this process owns. Its methods are safe for concurrent use.
type Hand struct {
	info    Info
	logf    func(format string, args ...any)
	config  chaos.Config
	lock    *owner.Lock
	cluster chaos.Cluster
	client  *kgo.Client
	ask     func(ctx context.Context, node int32) (*kmsg.MetadataResponse, error) // nil: the client
	socket  net.Listener

	work    context.Context // of what the end cuts short
	endWork context.CancelFunc
	serving sync.WaitGroup

	asked     chan struct{} // closed when somebody asked for the end
	askOnce   sync.Once
	closeOnce sync.Once
	closed    chan struct{} // closed when all is gone, or has been given up; then:
	closeErr  error

	mu     sync.Mutex
	roles  *runloop.Roles
	faults map[int]*fault
	lastID int
}

// Up starts a cluster and returns once every node answers clients. With an error, nothing is left of it but what the error names. The
// caller ends it with Close.
func Up(ctx context.Context, o Options) (*Hand, error) {
	id := o.Config.RunID
	home, err := Home(id)
	if err != nil {
		return nil, err
	}
	h := newHand(o)
	h.info.Home = home
	if h.lock, err = owner.Acquire(id); err != nil {
		return nil, errors.Join(fmt.Errorf("marking this process as the owner of cluster %s: %w", id, err), h.Close())
	}
	if err := h.start(ctx, o); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func newHand(o Options) *Hand {
	h := &Hand{
		info:   Info{ID: o.Config.RunID, Driver: o.Driver, PID: os.Getpid(), Started: time.Now(), Nodes: o.Config.Nodes, Bugs: o.Config.Bugs},
		logf:   o.Logf,
		config: o.Config, ask: o.ask,
		asked: make(chan struct{}), closed: make(chan struct{}),
		roles: runloop.NewRoles(o.Config.Nodes, o.Config.Seed), faults: map[int]*fault{},
	}
	h.work, h.endWork = context.WithCancel(context.Background())
	return h
}

func (h *Hand) start(ctx context.Context, o Options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	h.config.Dir, h.config.Sink = h.info.Home, (*sink)(h)
	if h.config.Logf == nil {
		h.config.Logf = o.Logf
	}
	if h.cluster, err = o.New(h.config); err != nil {
		return fmt.Errorf("preparing the cluster: %w", err)
	}
	if err := h.cluster.Start(ctx); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	for id := int32(1); int(id) <= h.info.Nodes; id++ {
		h.info.Bootstrap = append(h.info.Bootstrap, h.cluster.Addr(id))
	}
	if h.client, err = kgo.NewClient(kgo.SeedBrokers(h.info.Bootstrap...), kgo.DialTimeout(askTime), kgo.RequestRetries(0),
		kgo.RequestTimeoutOverhead(askTime), kgo.ClientID("soak-cluster")); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if err := h.answering(ctx); err != nil {
		return err
	}
	if err := h.listen(); err != nil {
		return err
	}
	return h.info.write()
}

// answering waits until every node answers clients with the cluster's metadata, for which there must be a raft leader.
func (h *Hand) answering(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for id := int32(1); int(id) <= h.info.Nodes; id++ {
		for {
			_, err := h.metadata(ctx, id)
			if err == nil {
				break
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return fmt.Errorf("waiting for n%d to answer clients: %w", id, err)
			}
		}
	}
	return nil
}

// Info describes the cluster.
func (h *Hand) Info() Info { return h.info }

// Asked is closed when somebody has asked for the cluster's end: Close it then.
func (h *Hand) Asked() <-chan struct{} { return h.asked }

// Close ends the nodes and removes all that was made, within 30 s and a little. What it cannot remove it names, and soak clean finds it
// later. It is safe to call more than once.
func (h *Hand) Close() error {
	h.closeOnce.Do(func() {
		h.closeErr = h.close()
		close(h.closed)
		h.serving.Wait() // replies to those who asked for the end
	})
	return h.closeErr
}

func (h *Hand) close() error {
	h.endWork()
	if h.socket != nil {
		h.socket.Close() // removes the socket
	}
	if h.client != nil {
		h.client.Close()
	}
	var errs []error
	if h.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if err := h.cluster.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("taking cluster %s down: %w", h.info.ID, err))
		}
	}
	if errs == nil && h.lock != nil {
		if err := os.RemoveAll(h.info.Home); err != nil {
			errs = append(errs, fmt.Errorf("removing the cluster's home: %w", err))
		}
	}
	errs = append(errs, h.lock.Release())
	return errors.Join(errs...)
}

// sink takes the driver's observations in.
type sink Hand

func (s *sink) Event(e history.Event) {
	h := (*Hand)(s)
	h.mu.Lock()
	h.roles.Event(&e)
	h.mu.Unlock()
	switch b := e.Body.(type) {
	case *history.Exit:
		if !b.Asked {
			how := fmt.Sprintf("exit code %d", b.Code)
			if b.Signal != "" {
				how = "signal: " + b.Signal
			}
			h.logf("n%d ended, and nobody asked for it (%s)", b.Of, how)
		}
	case *history.LogLine:
		h.logf("n%d logged (%s): %s", b.Of, b.What, strings.TrimSpace(b.Line))
	}
}

func (s *sink) Stats(history.NodeMetric) {}
