package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"soak/chaos"
	"soak/chaos/diskfault"
	"soak/chaos/ports"
	"soak/history"
)

// tailBytes is how much of a log's end is looked at for why a node ended: an error of a group commit names every file.
const tailBytes = 64 << 10

// diskNode is a node as package diskfault sees it.
type diskNode struct{ n *node }

func (d diskNode) ID() int32 { return d.n.id }

func (d diskNode) Life() (diskfault.Life, bool) {
	p, up := d.n.running()
	return diskLife{d.n, p}, up
}

// diskLife is one process of a node.
type diskLife struct {
	n *node
	p *process
}

func (l diskLife) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp4", l.p.admin)
}

func (l diskLife) Ended() <-chan struct{} { return l.p.ended }
func (l diskLife) Status() string         { return l.p.status() }
func (l diskLife) StoppedByFault() bool   { return l.p.byFault }
func (l diskLife) Killed() bool           { return l.p.signal == "killed" }
func (l diskLife) Boot() uint64           { return l.n.collector.Boot() }

// breakDisks brings about a disk fault.
func (c *cluster) breakDisks(ctx context.Context, f *fault, targets []*node) ([]history.Evidence, error) {
	if !c.cfg.DiskFaults {
		return nil, errors.New("the nodes were started without their fault shim")
	}
	var nodes []diskfault.Node
	for _, n := range targets {
		nodes = append(nodes, diskNode{n})
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
			if p, up := n.running(); up {
				p.asked.Store(true)
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

// probeDisks looks whether a disk fault is still in effect.
func (f *fault) probeDisks(ctx context.Context) ([]history.Evidence, error) {
	if disks := f.brokenDisks(); disks != nil {
		return disks.Probe(ctx)
	}
	return nil, nil
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

// chooseAdmin gives the nodes an admin port each, where their disks may be broken: their fault shims listen there, on loopback.
func (c *cluster) chooseAdmin(n *node) error {
	if !c.cfg.DiskFaults {
		return nil
	}
	chosen, err := ports.Choose(1)
	if err != nil {
		return fmt.Errorf("choosing the admin port of n%d: %w", n.id, err)
	}
	n.admin.Release()
	n.admin = chosen[0]
	return nil
}

// adminArguments are the part of a node's command line that is about its admin port.
func (c *cluster) adminArguments(n *node) []string {
	if !c.cfg.DiskFaults {
		return []string{"--admin-listen", ""}
	}
	return []string{"--admin-listen", n.admin.Addr(), "--fault-shim"}
}

// stoppedByFault reports whether the log of a process, from a byte on, ends with an error that a fault made up.
func stoppedByFault(path string, from int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	from = max(from, info.Size()-tailBytes)
	b := make([]byte, max(0, info.Size()-from))
	n, _ := f.ReadAt(b, from) // what there is
	return chaos.StoppedByFault(b[:n])
}
