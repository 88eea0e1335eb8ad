package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/chaos/ports"
	"soak/chaos/process/proxy"
)

// ExecutableVariable names the environment variable with the program whose "broker" command is a node, where
// chaos.Config does not say.
const ExecutableVariable = "SOAK_BROKER_BINARY"

// termTime is how long nodes have at Close to end on SIGTERM.
const termTime = 3 * time.Second

// pair is an ordered pair of nodes: a link's two ends.
type pair struct{ from, to int32 }

// cluster implements chaos.Cluster.
type cluster struct {
	cfg         chaos.Config
	executable  string
	environment []string
	work        string // absolute

	starter    starter
	ownerRead  *os.File // nodes inherit it; the runner keeps the other end open
	ownerWrite *os.File
	lock       *owner.Lock // nil where the caller holds it
	record     *owner.Record
	folders    []string // made by this run

	nodes []*node
	links map[pair]*proxy.Proxy

	closing atomic.Bool

	mu       sync.Mutex
	started  bool
	faults   map[int]*fault
	closed   bool
	closeErr error
}

// New prepares a cluster of child processes. It starts nothing. The lock of cfg.RunID is taken unless the caller holds it.
func New(cfg chaos.Config) (chaos.Cluster, error) {
	if cfg.Nodes < 1 {
		return nil, fmt.Errorf("a cluster of %d nodes", cfg.Nodes)
	}
	if cfg.Sink == nil || cfg.Dir == "" || cfg.Work == "" {
		return nil, errors.New("the process driver needs a Sink, a Dir and a Work folder")
	}
	if err := owner.ValidID(cfg.RunID); err != nil {
		return nil, err
	}
	work, err := filepath.Abs(cfg.Work)
	if err != nil {
		return nil, fmt.Errorf("finding the work folder: %w", err)
	}
	executable := cfg.Executable
	if executable == "" {
		executable = os.Getenv(ExecutableVariable)
	}
	if executable == "" {
		if executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("finding this program, to run its broker command: %w", err)
		}
	}
	if executable, err = filepath.Abs(executable); err != nil {
		return nil, fmt.Errorf("finding the broker's program: %w", err)
	}
	// A broker takes its flags from variables too; those of the runner's user are not meant for every node.
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SOAK_BROKER_") })
	c := &cluster{
		cfg: cfg, executable: executable, environment: environment, work: work,
		links: map[pair]*proxy.Proxy{}, faults: map[int]*fault{},
	}
	if !owner.Alive(cfg.RunID) {
		if c.lock, err = owner.Acquire(cfg.RunID); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) Driver() string { return "process" }

func (c *cluster) Capabilities() chaos.Capabilities { return Capabilities() }

// Capabilities says what the driver can do on this machine.
func Capabilities() chaos.Capabilities {
	return chaos.Capabilities{
		chaos.Kill: "", chaos.Stop: "", chaos.RestartAll: "", chaos.Rolling: "", chaos.CrashLoop: "", chaos.Pause: "",
		chaos.Partition: "", chaos.OneWay: "", chaos.Bridge: "", chaos.AllApart: "", chaos.ClientsCut: "", chaos.Flapping: "",
		chaos.Reset: "", chaos.Delay: "", chaos.Bandwidth: "",
		chaos.Loss:     "a proxy of TCP connections loses no bytes",
		chaos.DiskFull: "", chaos.SlowDisk: "", chaos.WriteError: "", chaos.SyncError: "", chaos.ReadError: "", chaos.PowerLoss: "",
	}
}

func (c *cluster) logf(format string, args ...any) {
	if c.cfg.Logf != nil {
		c.cfg.Logf(format, args...)
	}
}

func (c *cluster) Addr(id int32) string {
	if n := c.node(id); n != nil {
		return n.client.Addr()
	}
	return ""
}

func (c *cluster) node(id int32) *node {
	if id < 1 || int(id) > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

func (c *cluster) Start(ctx context.Context) error {
	c.mu.Lock()
	if c.started || c.closing.Load() {
		c.mu.Unlock()
		return errors.New("starting the cluster: it has been started or closed before")
	}
	c.started = true
	c.mu.Unlock()
	if err := c.prepare(); err != nil {
		return fmt.Errorf("preparing %d nodes: %w", c.cfg.Nodes, err)
	}
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = c.launch(ctx, n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// prepare makes all that nodes need: folders, ports, links and the pipe. Each thing is noted before it is made, so that
// Close finds it whatever fails.
func (c *cluster) prepare() (err error) {
	if c.record, err = owner.NewRecord(c.cfg.RunID); err != nil {
		return err
	}
	c.starter = newStarter()
	if c.ownerRead, c.ownerWrite, err = os.Pipe(); err != nil {
		return fmt.Errorf("making the pipe that nodes live by: %w", err)
	}
	logs := filepath.Join(c.cfg.Dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("making the folder of logs: %w", err)
	}
	if logs, err = filepath.Abs(logs); err != nil {
		return fmt.Errorf("finding the folder of logs: %w", err)
	}
	for id := int32(1); id <= int32(c.cfg.Nodes); id++ {
		n := &node{
			id: id, data: filepath.Join(c.work, "n"+strconv.Itoa(int(id))),
			log:       filepath.Join(c.rawLogs(logs), "n"+strconv.Itoa(int(id))+".log"),
			collector: chaos.NewCollector(id, c.cfg.Sink),
		}
		chosen, err := ports.Choose(2)
		if err != nil {
			return err
		}
		n.port, n.peer = chosen[0], chosen[1]
		if err := c.chooseAdmin(n); err != nil {
			n.port.Release()
			n.peer.Release()
			return err
		}
		if n.client, err = proxy.Listen(n.port.Addr()); err != nil {
			n.port.Release()
			n.peer.Release()
			n.admin.Release()
			return err
		}
		c.nodes = append(c.nodes, n)
		if err := c.makeFolder(n.data); err != nil {
			return err
		}
		if err := c.followLog(n); err != nil {
			return err
		}
	}
	for _, from := range c.nodes {
		for _, to := range c.nodes {
			if from == to {
				continue
			}
			if c.links[pair{from.id, to.id}], err = proxy.Listen(to.peer.Addr()); err != nil {
				delete(c.links, pair{from.id, to.id})
				return err
			}
		}
	}
	return nil
}

// arguments is the command line of a node.
func (c *cluster) arguments(n *node) []string {
	var peers []string
	for _, to := range c.nodes {
		at := n.peer.Addr()
		if to != n {
			at = c.links[pair{n.id, to.id}].Addr()
		}
		peers = append(peers, fmt.Sprintf("%d=%s", to.id, at))
	}
	args := []string{"broker",
		"--id", strconv.Itoa(int(n.id)),
		"--data", n.data,
		"--listen", n.port.Addr(),
		"--advertise", n.client.Addr(),
		"--peers", strings.Join(peers, ","),
		"--peer-listen", n.peer.Addr(),
		"--seed", strconv.FormatUint(c.cfg.Seed, 10),
		"--owner-fd", "3",
	}
	args = append(args, c.adminArguments(n)...)
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

// Close stops the nodes and removes what the run made. What cannot be ended or removed within ctx is named in the error and
// stays recorded for Clean.
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
	for _, f := range c.faults {
		f.abandonRestarts()
		f.endRepeat()
	}
	errs := []error{c.endAll(ctx)}
	left := errs[0] != nil
	for _, n := range c.nodes {
		if n.follower != nil {
			errs = append(errs, n.follower.finish())
			n.collector.Flush()
			if n.rest != nil {
				errs = append(errs, n.rest.Close())
			}
		}
		errs = append(errs, n.client.Close())
		n.life.Lock() // a start that was under way may still be giving it other ports
		n.port.Release()
		n.peer.Release()
		n.admin.Release()
		n.life.Unlock()
	}
	for _, l := range c.links {
		errs = append(errs, l.Close())
	}
	if c.ownerRead != nil {
		errs = append(errs, c.ownerRead.Close(), c.ownerWrite.Close())
	}
	if c.starter != nil {
		c.starter.stop()
	}
	if !left {
		for _, dir := range slices.Backward(c.folders) {
			if err := removeFolder(dir, c.cfg.RunID); err != nil {
				left = true
				errs = append(errs, err)
			}
		}
	}
	if c.record != nil && !left {
		errs = append(errs, c.record.Remove())
	}
	errs = append(errs, c.lock.Release())
	return errors.Join(errs...)
}

// endAll ends every process: asked first, then killed.
func (c *cluster) endAll(ctx context.Context) error {
	var live []*process
	var names []string
	for _, n := range c.nodes {
		if p, ok := n.running(); ok {
			p.asked.Store(true)
			// Errors mean that it is ending already; a paused one reads SIGTERM only once it goes on.
			terminate(p.cmd.Process)
			resume(p.cmd.Process)
			live = append(live, p)
			names = append(names, fmt.Sprintf("n%d (pid %d)", n.id, p.ident.PID))
		}
	}
	patience := termTime
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2) // the other half is for those that must be killed
	}
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, p := range live {
		select {
		case <-p.ended:
		case <-asked.Done():
			p.cmd.Process.Kill() // an error means that it has ended
		}
	}
	var left []string
	for i, p := range live {
		select {
		case <-p.ended:
			continue
		default:
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			left = append(left, names[i])
		}
	}
	if left != nil {
		return fmt.Errorf("waiting for %s to end after SIGKILL: %w", strings.Join(left, ", "), ctx.Err())
	}
	return nil
}
