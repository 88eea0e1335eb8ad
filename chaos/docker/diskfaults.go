package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/moby/moby/client"

	"soak/chaos"
	"soak/chaos/diskfault"
	"soak/chaos/docker/relay"
	"soak/history"
)

// ErrForeign is wrapped by errors that say that the named image is none that this driver made, and that what is asked of it takes one.
var ErrForeign = errors.New("it is no image of soak's own")

// adminPort is where a node's fault shim listens: on its container's own loopback address, and nowhere else.
const adminPort = 9644

// nodeProgram is where a node image has the broker.
const nodeProgram = "/soak"

// diskNode is a node as package diskfault sees it.
type diskNode struct {
	c *cluster
	n *node
}

func (d diskNode) ID() int32 { return d.n.id }

func (d diskNode) Life() (diskfault.Life, bool) {
	l, up := d.n.running()
	return diskLife{d.c, d.n, l}, up
}

// diskLife is one life of a node's container.
type diskLife struct {
	c *cluster
	n *node
	l *life
}

func (l diskLife) Ended() <-chan struct{} { return l.l.ended }
func (l diskLife) Status() string         { return l.l.status() }
func (l diskLife) StoppedByFault() bool   { return l.l.byFault }
func (l diskLife) Killed() bool           { return l.l.signal == "killed" }
func (l diskLife) Boot() uint64           { return l.n.collector.Boot() }

// Dial reaches the admin port by a relay inside of the container: the port is on its loopback address alone.
func (l diskLife) Dial(ctx context.Context) (net.Conn, error) {
	if now, up := l.n.running(); !up || now != l.l {
		return nil, fmt.Errorf("that life of n%d is over", l.n.id)
	}
	made, err := l.c.engine.ExecCreate(ctx, l.n.container.ID, client.ExecCreateOptions{
		Cmd: append([]string{nodeProgram}, relay.Args(adminPort)...), AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a relay into n%d: %w", l.n.id, explain(ctx, err))
	}
	attached, err := l.c.engine.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("starting a relay into n%d: %w", l.n.id, explain(ctx, err))
	}
	return &relayConn{Conn: attached.Conn, f: frames{attached.Reader}}, nil
}

// relayConn is a connection through a relay. The engine frames what comes out of it.
type relayConn struct {
	net.Conn
	f    frames
	rest []byte
}

func (c *relayConn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		stream, content, err := c.f.next(nil)
		switch {
		case err != nil:
			return 0, err
		case stream == stderr:
			return 0, fmt.Errorf("the relay says: %s", chaos.Quote(content))
		}
		c.rest = content
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// breakDisks brings about a disk fault.
func (c *cluster) breakDisks(ctx context.Context, f *fault, targets []*node) ([]history.Evidence, error) {
	if !c.cfg.DiskFaults {
		return nil, errors.New("the nodes were started without their fault shim")
	}
	var nodes []diskfault.Node
	for _, n := range targets {
		nodes = append(nodes, diskNode{c, n})
	}
	disks, err := diskfault.New(f.spec, c.cfg.Seed, nodes)
	if err != nil {
		return nil, err
	}
	f.state.Lock()
	f.disks = disks
	f.state.Unlock()
	if f.spec.Kind == chaos.PowerLoss {
		for _, n := range targets {
			if l, up := n.running(); up {
				l.asked.Store(true)
			}
		}
	}
	return disks.Inject(ctx)
}

// brokenDisks is the fault as it stands on disks, nil for other kinds.
func (f *fault) brokenDisks() *diskfault.Fault {
	f.state.Lock()
	defer f.state.Unlock()
	return f.disks
}

// mend makes the disks of a fault sound.
func (f *fault) mend(ctx context.Context) error {
	if disks := f.brokenDisks(); disks != nil {
		return disks.End(ctx)
	}
	return nil
}

// seeDisks starts the nodes that a disk fault has down, and looks at the disks.
func (c *cluster) seeDisks(ctx context.Context, f *fault) ([]history.Evidence, error) {
	disks := f.brokenDisks()
	if disks == nil {
		return nil, nil
	}
	down := disks.Down()
	errs := make([]error, len(down))
	var all sync.WaitGroup
	for i, d := range down {
		all.Go(func() { errs[i] = c.launch(ctx, d.(diskNode).n) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	evidence, wentOn, err := disks.Healed(ctx)
	for i := range wentOn {
		c.observe(&wentOn[i])
	}
	return evidence, err
}

// probeDisks looks whether a disk fault is still in effect.
func (f *fault) probeDisks(ctx context.Context) ([]history.Evidence, error) {
	if disks := f.brokenDisks(); disks != nil {
		return disks.Probe(ctx)
	}
	return nil, nil
}
