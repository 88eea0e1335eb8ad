package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/chaos/ports"
	"soak/chaos/process/proxy"
	"soak/history"
)

// portTries is how often a node's ports are chosen anew when somebody else has taken one between choosing and listening.
const portTries = 3

// node is one broker over all its lives.
type node struct {
	id        int32
	data      string
	log       string
	client    *proxy.Proxy // clients → node
	collector *chaos.Collector
	follower  *follower
	rest      *os.File // of short logs: what is kept in the run folder

	life sync.Mutex // held while starting; guards the ports too
	port ports.Port // Kafka
	peer ports.Port // other nodes

	admin ports.Port // where the run breaks disks

	mu      sync.Mutex
	current *process // nil before the first start
}

// process is one life of a node.
type process struct {
	cmd   *exec.Cmd
	ident owner.Process
	from  int64         // where its part of the log begins
	boot  uint64        // of the life before
	admin string        // its admin port, if it has one
	asked atomic.Bool   // a fault or the end of the run wants it to end
	ended chan struct{} // closed when it has been waited for; then:

	code    int
	signal  string
	byFault bool // it stopped of a disk error that a fault made up
}

func (n *node) name() string { return fmt.Sprintf("n%d", n.id) }

// running gives the node's process if it has not ended.
func (n *node) running() (*process, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current == nil {
		return nil, false
	}
	select {
	case <-n.current.ended:
		return n.current, false
	default:
		return n.current, true
	}
}

// responsive reports whether the node runs and is not paused: whether it can be expected to send.
func (n *node) responsive() bool {
	p, ok := n.running()
	if !ok {
		return false
	}
	state, err := p.ident.State()
	return err == nil && state == owner.Other
}

// status is how the process ended, in words, once it has.
func (p *process) status() string {
	if p.signal != "" {
		return "signal: " + p.signal
	}
	return fmt.Sprintf("exit code %d", p.code)
}

// launch starts the node and returns when it has said so itself. A node that runs already is left alone.
func (c *cluster) launch(ctx context.Context, n *node) error {
	n.life.Lock()
	defer n.life.Unlock()
	for try := 1; ; try++ {
		if _, ok := n.running(); ok {
			return nil
		}
		p, err := c.spawn(n)
		if err != nil {
			return err
		}
		boot, stop := context.WithCancelCause(ctx)
		go func() {
			select {
			case <-p.ended:
				// The follower may be a little behind the process's last words.
				select {
				case <-time.After(5 * pollEvery):
				case <-boot.Done():
				}
				stop(errEnded)
			case <-boot.Done():
			}
		}()
		_, err = n.collector.WaitBoot(boot, p.boot)
		cause := context.Cause(boot)
		stop(nil)
		if err == nil {
			return nil
		}
		if !errors.Is(cause, errEnded) {
			return fmt.Errorf("starting n%d: %w", n.id, err)
		}
		tail := tailOf(n.log, p.from)
		if !portTaken(tail) || try == portTries {
			return fmt.Errorf("starting n%d: it ended (%s) before it was up; its log ends: %s", n.id, p.status(), chaos.Tail(tail))
		}
		if err := c.movePorts(n); err != nil {
			return fmt.Errorf("starting n%d: %w", n.id, err)
		}
	}
}

var errEnded = errors.New("the process ended")

// portTaken reports whether a log's end complains of EADDRINUSE.
func portTaken(tail []byte) bool { return bytes.Contains(tail, []byte("address already in use")) }

// panicked tells a panic from wrong usage: both end with exit code 2.
func panicked(tail []byte) bool { return bytes.Contains(tail, []byte("\ngoroutine ")) }

// movePorts gives a node new ports behind the links that lead to it: nobody else needs to know.
func (c *cluster) movePorts(n *node) error {
	chosen, err := ports.Choose(2)
	if err != nil {
		return err
	}
	n.port.Release()
	n.peer.Release()
	n.port, n.peer = chosen[0], chosen[1]
	if err := c.chooseAdmin(n); err != nil {
		return err
	}
	n.client.SetTarget(n.port.Addr())
	for _, from := range c.nodes {
		if l := c.links[pair{from.id, n.id}]; l != nil {
			l.SetTarget(n.peer.Addr())
		}
	}
	return nil
}

// spawn starts one process of the node and has it waited for.
func (c *cluster) spawn(n *node) (*process, error) {
	log, err := appendTo(n.log)
	if err != nil {
		return nil, fmt.Errorf("starting n%d: %w", n.id, err)
	}
	defer log.Close() // the child has its own
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("starting n%d: %w", n.id, err)
	}
	cmd := exec.Command(c.executable, c.arguments(n)...)
	cmd.Dir = n.data
	cmd.Env = c.environment
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{c.ownerRead} // descriptor 3
	cmd.SysProcAttr = attributes()
	p := &process{cmd: cmd, admin: n.admin.Addr(), from: info.Size(), boot: n.collector.Boot(), ended: make(chan struct{})}

	// Under the lock, so that Close either sees the process or keeps it from starting.
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closing.Load() {
		return nil, fmt.Errorf("starting n%d: the cluster is closing", n.id)
	}
	c.starter.do(func() { err = cmd.Start() })
	if err != nil {
		return nil, fmt.Errorf("starting n%d: %w", n.id, err)
	}
	// It cannot be gone from the table of processes before it has been waited for.
	p.ident, err = owner.Identify(cmd.Process.Pid)
	if err == nil {
		err = c.record.AddProcess(p.ident)
	}
	if err != nil {
		cmd.Process.Kill() // unrecorded, it must not live; Wait tells how it ended
		cmd.Wait()
		return nil, fmt.Errorf("recording n%d: %w", n.id, err)
	}
	n.current = p
	go c.await(n, p)
	return p, nil
}

// await waits for a process to end and says so.
func (c *cluster) await(n *node, p *process) {
	p.cmd.Wait() // what it says is in ProcessState
	p.code, p.signal = exitOf(p.cmd.ProcessState)
	if err := c.record.DropProcess(p.ident); err != nil {
		c.logf("%v", err)
	}
	tail := tailOf(n.log, p.from)
	p.byFault = p.code == 1 && stoppedByFault(n.log, p.from)
	// Asked for is what a signal or an orderly end brought about, or a disk that a fault broke: a panic that came first is still a panic.
	asked := p.byFault || p.asked.Load() && (p.signal == "killed" || p.signal == "terminated" || p.code == 0)
	// A port that was taken, or flags that it does not know, are the harness's fault: launch says so, and it is no crash.
	harness := !asked && n.collector.Boot() == p.boot && (portTaken(tail) || p.code == 2 && !panicked(tail))
	if !harness {
		c.observe(&history.Exit{Of: n.id, Code: p.code, Signal: p.signal, Asked: asked})
		if !asked {
			c.logf("n%d ended unasked: %s", n.id, p.status())
			c.observe(&history.LogLine{Of: n.id, What: "tail", Line: chaos.Tail(tail)})
		}
	}
	close(p.ended)
}

func (c *cluster) observe(b history.Body) {
	c.cfg.Sink.Event(history.Event{Time: time.Now().UnixNano(), Body: b})
}
