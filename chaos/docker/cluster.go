package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/chaos/ports"
)

// Labels of all that the driver makes.
const (
	labelRun   = "soak.run"   // the run's id
	labelOwner = "soak.owner" // the owner domain: whose locks decide
	labelNode  = "soak.node"  // the node's id
	labelPart  = "soak.part"  // "node" or "sidecar"
	labelImage = "soak.image" // "1" on node images
)

// Ports inside of a node's container.
const (
	kafkaPort = "9092"
	peerPort  = "9093"

	kafkaPortNumber = 9092 // the same
)

// firstHost is the host number of n1 in the run's network. The engine gives out addresses from below for the gateway.
const firstHost = 10

// termTime is how long nodes have at Close to end on SIGTERM.
const termTime = 3 * time.Second

// endTime is how long the engine may take to tell of the end of a node that it does not find running.
const endTime = 3 * time.Second

// cluster implements chaos.Cluster.
type cluster struct {
	cfg    chaos.Config
	domain string
	lock   *owner.Lock // nil where the caller holds it

	engine  *engine
	image   string // of nodes
	sidecar string // of sidecars
	subnet  netip.Prefix
	network string // its name
	nodes   []*node

	closing atomic.Bool
	ended   context.Context // until Close
	end     context.CancelFunc

	trouble  sync.Mutex
	troubles []error // what the engine did to the run, for Close to say

	mu       sync.Mutex
	started  bool
	faults   map[int]*fault
	closed   bool
	closeErr error
}

// New prepares a cluster of containers. It starts nothing, and does not ask the engine: Start does. The lock of
// cfg.RunID is taken unless the caller holds it.
func New(cfg chaos.Config) (chaos.Cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > 100 {
		return nil, fmt.Errorf("a cluster of %d nodes: want 1 to 100", cfg.Nodes)
	}
	if cfg.Sink == nil || cfg.Dir == "" {
		return nil, errors.New("the docker driver needs a Sink and a Dir")
	}
	if err := owner.ValidID(cfg.RunID); err != nil {
		return nil, err
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	domain, err := owner.Domain()
	if err != nil {
		return nil, err
	}
	c := &cluster{cfg: cfg, domain: domain, faults: map[int]*fault{}}
	if !owner.Alive(cfg.RunID) {
		if c.lock, err = owner.Acquire(cfg.RunID); err != nil {
			return nil, err
		}
	}
	c.ended, c.end = context.WithCancel(context.Background())
	configure(cfg.RunID)
	return c, nil
}

func (c *cluster) Driver() string { return "docker" }

func (c *cluster) Capabilities() chaos.Capabilities { return Capabilities() }

// Capabilities says what the driver can do where an engine is there.
func Capabilities() chaos.Capabilities {
	return chaos.Capabilities{
		chaos.Kill: "", chaos.Stop: "", chaos.RestartAll: "", chaos.Rolling: "", chaos.CrashLoop: "", chaos.Pause: "",
		chaos.Partition: "", chaos.OneWay: "", chaos.Bridge: "", chaos.AllApart: "", chaos.ClientsCut: "", chaos.Flapping: "",
		chaos.Reset: "", chaos.Loss: "", chaos.Delay: "", chaos.Bandwidth: "",
		chaos.DiskFull: "", chaos.SlowDisk: "", chaos.WriteError: "", chaos.SyncError: "", chaos.ReadError: "", chaos.PowerLoss: "",
	}
}

func (c *cluster) Addr(id int32) string {
	if n := c.node(id); n != nil {
		return n.port.Addr()
	}
	return ""
}

func (c *cluster) node(id int32) *node {
	if id < 1 || int(id) > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

// labels of a thing of this run.
func (c *cluster) labels(part string) map[string]string {
	return map[string]string{labelRun: c.cfg.RunID, labelOwner: c.domain, labelPart: part}
}

func (c *cluster) Start(ctx context.Context) (err error) {
	c.mu.Lock()
	if c.started || c.closing.Load() {
		c.mu.Unlock()
		return errors.New("starting the cluster: it has been started or closed before")
	}
	c.started = true
	c.mu.Unlock()

	connectCtx, cancel := bounded(ctx)
	defer cancel()
	if c.engine, err = connect(connectCtx); err != nil {
		return err
	}
	if err := c.chooseImages(ctx); err != nil {
		return err
	}
	if err := c.makeNetwork(ctx); err != nil {
		return fmt.Errorf("making the run's network: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "logs"), 0o755); err != nil {
		return fmt.Errorf("making the folder of logs: %w", err)
	}
	if err := c.makeNodes(ctx); err != nil {
		return err
	}
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = c.launch(ctx, n) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.reachable(ctx)
}

// chooseImages settles what nodes and sidecars run. A sidecar needs our own program, whatever the nodes are.
func (c *cluster) chooseImages(ctx context.Context) (err error) {
	c.image, c.sidecar = c.cfg.Image, c.cfg.Image
	if c.cfg.Image != "" {
		call, cancel := bounded(ctx)
		defer cancel()
		image, err := c.engine.ImageInspect(call, c.cfg.Image)
		if err != nil {
			return fmt.Errorf("looking for image %s (it is not pulled): %w", c.cfg.Image, explain(call, err))
		}
		if image.Config != nil && image.Config.Labels[labelImage] == "1" {
			return nil
		}
		if c.cfg.DiskFaults {
			return fmt.Errorf("image %s has no fault shim, which disk faults need: %w", c.cfg.Image, ErrForeign)
		}
	}
	if c.sidecar, err = c.engine.ownImage(ctx, c.domain, c.cfg.Logf); err != nil {
		return err
	}
	if c.image == "" {
		c.image = c.sidecar
	}
	return nil
}

// makeNetwork makes the run's network with a subnet that is written down. Fixed addresses need one, and only the
// engine knows which is free: so it is asked to choose, and then given its own choice.
func (c *cluster) makeNetwork(ctx context.Context) error {
	var last error
	for range 5 { // another network may take the subnet in between
		chosen, name, err := c.createNetwork(ctx, nil)
		if err != nil {
			return err
		}
		if err := c.removeNetwork(ctx, name); err != nil {
			return err
		}
		if !chosen.IsValid() || !chosen.Addr().Is4() || chosen.Bits() > 32-8 {
			return fmt.Errorf("the engine chose the subnet %v, want IPv4 with 254 addresses", chosen)
		}
		c.subnet, c.network, last = c.createWith(ctx, chosen)
		if last == nil {
			return nil
		}
	}
	return last
}

func (c *cluster) createWith(ctx context.Context, subnet netip.Prefix) (netip.Prefix, string, error) {
	return c.createNetwork(ctx, &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}})
}

// createNetwork makes a network and reads back the subnet that it has.
func (c *cluster) createNetwork(ctx context.Context, ipam *network.IPAM) (netip.Prefix, string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	options := []tcnetwork.NetworkCustomizer{tcnetwork.WithLabels(c.labels("network"))}
	if ipam != nil {
		options = append(options, tcnetwork.WithIPAM(ipam))
	}
	n, err := tcnetwork.New(ctx, options...)
	if err != nil {
		return netip.Prefix{}, "", explain(ctx, err)
	}
	inspected, err := c.engine.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
	if err != nil {
		return netip.Prefix{}, "", fmt.Errorf("reading its subnet: %w", explain(ctx, err))
	}
	for _, config := range inspected.Network.IPAM.Config {
		return config.Subnet.Masked(), n.Name, nil
	}
	return netip.Prefix{}, "", errors.New("the engine gave it no subnet")
}

func (c *cluster) removeNetwork(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := c.engine.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
	return explain(ctx, err)
}

// address is a node's fixed address in the run's network.
func (c *cluster) address(id int32) netip.Addr {
	a := c.subnet.Addr().As4()
	a[3] += byte(firstHost + id) // the last byte of a subnet of 254 or more addresses is nought
	return netip.AddrFrom4(a)
}

// reachable makes sure that the published ports are where clients will look for them.
func (c *cluster) reachable(ctx context.Context) error {
	for _, n := range c.nodes {
		var d net.Dialer
		dial, cancel := context.WithTimeout(ctx, answerTime)
		conn, err := d.DialContext(dial, "tcp4", n.port.Addr())
		cancel()
		if err != nil {
			return fmt.Errorf("n%d has started, but its published port cannot be dialled: %w (does the engine run elsewhere, or this program in a container itself? use --driver process)", n.id, err)
		}
		conn.Close()
	}
	return nil
}

// makeNodes creates the containers of all nodes. Nothing runs yet.
func (c *cluster) makeNodes(ctx context.Context) error {
	chosen, err := ports.Choose(c.cfg.Nodes)
	if err != nil {
		return err
	}
	for i, p := range chosen {
		id := int32(i + 1)
		c.nodes = append(c.nodes, &node{
			id: id, port: p, log: filepath.Join(c.cfg.Dir, "logs", "n"+strconv.Itoa(int(id))+".log"),
			collector: chaos.NewCollector(id, c.cfg.Sink), wake: make(chan struct{}, 1),
		})
	}
	for _, n := range c.nodes {
		if err := c.create(ctx, n); err != nil {
			return fmt.Errorf("creating the container of n%d: %w", n.id, err)
		}
	}
	return nil
}

// arguments is the command line of a node.
func (c *cluster) arguments(n *node) []string {
	var peers []string
	for _, to := range c.nodes {
		peers = append(peers, fmt.Sprintf("%d=%s", to.id, net.JoinHostPort(c.address(to.id).String(), peerPort)))
	}
	args := []string{"broker",
		"--id", strconv.Itoa(int(n.id)),
		"--data", dataDir + "/node",
		"--listen", ":" + kafkaPort,
		"--advertise", n.port.Addr(),
		"--peers", strings.Join(peers, ","),
		"--peer-listen", ":" + peerPort,
		"--seed", strconv.FormatUint(c.cfg.Seed, 10),
	}
	if c.cfg.DiskFaults {
		args = append(args, "--admin-listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(adminPort)), "--fault-shim")
	}
	if c.cfg.ElectionInterval > 0 {
		args = append(args, "--election-interval", c.cfg.ElectionInterval.String())
	}
	if c.cfg.SessionTimeout > 0 {
		args = append(args, "--session-timeout", c.cfg.SessionTimeout.String())
	}
	if c.cfg.Flush != "" {
		args = append(args, "--flush", c.cfg.Flush)
	}
	if c.cfg.RetentionCheck > 0 {
		args = append(args, "--retention-check", c.cfg.RetentionCheck.String())
	}
	for _, bug := range c.cfg.Bugs {
		args = append(args, "--bug", bug)
	}
	return args
}

// Close stops the nodes, completes their logs and removes what the run made. If the engine is gone the error names what is
// left; Clean removes it later.
func (c *cluster) Close(ctx context.Context) error {
	c.closing.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closeErr
	}
	c.closed = true
	c.closeErr = c.close(ctx)
	return c.closeErr
}

func (c *cluster) close(ctx context.Context) error {
	var errs []error
	for _, f := range c.faults {
		if cycle := f.cycling(); cycle != nil {
			cycle.Abandon()
		}
	}
	if c.engine != nil {
		for _, f := range c.faults {
			f.abandon()
		}
		errs = append(errs, c.stopAll(ctx))
		c.end() // followers and waiters
		var all sync.WaitGroup
		var mu sync.Mutex
		for _, n := range c.nodes {
			all.Go(func() {
				n.background.Wait()
				c.unprepare(n)
				if n.container == nil {
					return
				}
				complete := c.wholeLog
				if c.cfg.ShortLogs {
					complete = c.restOfLog
				}
				if err := complete(ctx, n); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("completing the log of n%d: %w", n.id, err))
				}
			})
		}
		all.Wait()
		removed, err := c.engine.removeRun(ctx, c.cfg.RunID, c.domain)
		if err != nil {
			errs = append(errs, fmt.Errorf("removing the run's containers and network (%d removed; the rest carries the label %s=%s, and soak clean removes it): %w",
				len(removed), labelRun, c.cfg.RunID, err))
		}
		errs = append(errs, c.engine.Close())
	}
	for _, f := range c.faults {
		f.dismissGuard()
	}
	c.trouble.Lock()
	errs = append(errs, c.troubles...)
	c.trouble.Unlock()
	c.end()
	for _, n := range c.nodes {
		n.port.Release()
	}
	return errors.Join(append(errs, c.lock.Release())...)
}

// stopAll asks every running node to end, and kills those that do not.
func (c *cluster) stopAll(ctx context.Context) error {
	patience := termTime
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/3) // logs and removal need the rest
	}
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			l, up := n.running()
			if !up {
				return
			}
			l.asked.Store(true)
			errs[i] = c.stop(ctx, n, l, patience)
		})
	}
	all.Wait()
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

func (c *cluster) stop(ctx context.Context, n *node, l *life, patience time.Duration) error {
	call := ctx // not bounded further: an engine on a full machine may be silent for long, and nobody else waits
	// A frozen one would not hear. Errors of either mean that it is not frozen, or ends already.
	c.engine.ContainerUnpause(call, n.container.ID, client.ContainerUnpauseOptions{})
	c.engine.ContainerKill(call, n.container.ID, client.ContainerKillOptions{Signal: "SIGTERM"})
	select {
	case <-l.ended:
		return nil
	case <-time.After(patience):
	case <-ctx.Done():
	}
	if _, err := c.engine.ContainerKill(call, n.container.ID, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
		select {
		case <-l.ended:
			return nil
		case <-time.After(endTime): // it ended just now, and that is not told yet
			return fmt.Errorf("stopping n%d: %w", n.id, explain(call, err))
		}
	}
	select {
	case <-l.ended:
		return nil
	case <-call.Done():
		return fmt.Errorf("waiting for n%d to end after SIGKILL: %w", n.id, context.Cause(call))
	}
}
