package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"soak/chaos"
	"soak/chaos/ports"
	"soak/history"
)

// portTries is how often a node's host port is chosen anew when somebody else has taken it.
const portTries = 3

// node is one broker: a container over all its starts.
type node struct {
	id         int32
	log        string
	container  *testcontainers.DockerContainer
	collector  *chaos.Collector
	wake       chan struct{} // tells the follower that the container has been started
	background sync.WaitGroup
	newest     time.Time // of the lines that the follower has taken; set when it ends, for those who have waited for background

	starting sync.Mutex // held while starting; guards port
	port     ports.Port

	mu      sync.Mutex
	current *life
	spare   *spare // nil when there is none
}

// life is the time from one start of a node's container to its end.
type life struct {
	boot  uint64        // of the life before
	asked atomic.Bool   // a fault or the end of the run wants it to end
	ended chan struct{} // closed when the container has stopped; then:

	code    int
	signal  string
	byFault bool // it stopped of a disk error that a fault made up

	orphaned bool // the engine was away while it ended; await's
}

// read takes the container's exit code apart.
func (l *life) read(code int) {
	l.code = code
	for name, number := range signals {
		if code == 128+int(number) {
			l.code, l.signal = -1, name
		}
	}
}

func (l *life) status() string {
	if l.signal != "" {
		return fmt.Sprintf("signal: %s (exit code %d)", l.signal, 128+int(signals[l.signal]))
	}
	return fmt.Sprintf("exit code %d", l.code)
}

// signals by the name that they have in a history.Exit. The engine gives 128 and the number.
var signals = map[string]syscall.Signal{"killed": 9, "terminated": 15, "aborted": 6, "segmentation fault": 11}

// running gives the node's present life if it has not ended.
func (n *node) running() (*life, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.alive()
}

// alive is running, under the lock.
func (n *node) alive() (*life, bool) {
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

// create makes a node's container: no rights but those of an ordinary user, a fixed address, a host port on loopback.
func (c *cluster) create(ctx context.Context, n *node) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	labels := c.labels("node")
	labels[labelNode] = strconv.Itoa(int(n.id))
	made, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        c.image,
			Cmd:          c.arguments(n),
			Labels:       labels,
			ExposedPorts: []string{kafkaPort + "/tcp"},
			Networks:     []string{c.network},
			NetworkAliases: map[string][]string{
				c.network: {"n" + strconv.Itoa(int(n.id))},
			},
			ConfigModifier: func(config *container.Config) { config.Hostname = "n" + strconv.Itoa(int(n.id)) },
			HostConfigModifier: func(host *container.HostConfig) {
				host.CapDrop = []string{"ALL"}
				host.SecurityOpt = []string{"no-new-privileges"}
				host.LogConfig = wholeLogs()
				host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Target: dataDir})
				host.PortBindings = network.PortMap{
					network.MustParsePort(kafkaPort + "/tcp"): {{
						HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(n.port.Number),
					}},
				}
			},
			EndpointSettingsModifier: func(settings map[string]*network.EndpointSettings) {
				for _, s := range settings {
					s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: c.address(n.id)}
				}
			},
		},
	})
	if d, ok := made.(*testcontainers.DockerContainer); ok && d != nil {
		n.container = d // even with an error: Close removes it by its label
	}
	return explain(ctx, err)
}

// dataDir is where a node's data is, on a volume without a name, which goes with the container. What an engine lays containers' own files on may be many times as slow
// to sync (fuse-overlayfs took seconds on a machine short of processors), and is no place for a broker's log.
const dataDir = "/data"

// wholeLogs has the engine keep a node's log in one file, however long. An engine may be set up to begin new files and throw old ones away: what was in those
// is lost to the run, and engines have been seen (20.10) to send a follower nothing for minutes after they began one. The file goes with the container.
func wholeLogs() container.LogConfig {
	return container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1t", "max-file": "1"}}
}

// launch starts the node and returns when it has said so itself. A node that runs already is left alone.
func (c *cluster) launch(ctx context.Context, n *node) error {
	n.starting.Lock()
	defer n.starting.Unlock()
	for try := 1; ; try++ {
		if _, up := n.running(); up {
			return nil
		}
		if c.closing.Load() {
			return fmt.Errorf("starting n%d: the cluster is closing", n.id)
		}
		l, err := c.startContainer(ctx, n)
		if err != nil && try < portTries && n.collector.Boot() == 0 && portTaken(err.Error()) {
			if err := c.movePort(ctx, n); err != nil {
				return fmt.Errorf("starting n%d: %w", n.id, err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("starting n%d: %w", n.id, err)
		}
		if err := c.awaitBoot(ctx, n, l); err != nil {
			return err
		}
		c.prepare(n)
		return nil
	}
}

// awaitBoot waits for the node's own word that it has started.
func (c *cluster) awaitBoot(ctx context.Context, n *node, l *life) error {
	boot, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-l.ended:
			time.Sleep(reopenAfter) // its last words may still be on their way
			stop()
		case <-boot.Done():
		}
	}()
	_, err := n.collector.WaitBoot(boot, l.boot)
	if err == nil {
		return nil
	}
	select {
	case <-l.ended:
		tail, tailErr := c.tail(ctx, n)
		return errors.Join(fmt.Errorf("starting n%d: it ended (%s) before it was up; its log ends: %s", n.id, l.status(), chaos.Tail(tail)), tailErr)
	default:
		return fmt.Errorf("starting n%d: %w", n.id, err)
	}
}

// portTaken reports whether the engine refused to start because of the host port.
func portTaken(text string) bool {
	return strings.Contains(text, "address already in use") || strings.Contains(text, "port is already allocated")
}

// movePort makes the container anew with another host port: before the first start it holds nothing.
func (c *cluster) movePort(ctx context.Context, n *node) error {
	call, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.engine.ContainerRemove(call, n.container.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		return explain(call, err)
	}
	chosen, err := ports.Choose(1)
	if err != nil {
		return err
	}
	n.port.Release()
	n.port = chosen[0]
	return c.create(ctx, n)
}

// startContainer starts the container, through testcontainers so that its hooks run, and has its end waited for.
func (c *cluster) startContainer(ctx context.Context, n *node) (*life, error) {
	call, cancel := bounded(ctx)
	defer cancel()
	l := &life{boot: n.collector.Boot(), ended: make(chan struct{})}
	if err := n.container.Start(call); err != nil {
		return nil, explain(call, err)
	}
	n.mu.Lock()
	first := n.current == nil
	n.current = l
	n.mu.Unlock()
	if first {
		n.background.Go(func() { c.follow(n) })
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
	n.background.Go(func() { c.await(n, l) })
	return l, nil
}

// await waits for the container's end and says so. Where the engine does not answer it asks again.
func (c *cluster) await(n *node, l *life) {
	for {
		code, err := c.waitExit(n)
		if err == nil {
			c.gone(n, l, code)
			return
		}
		l.orphaned = l.orphaned || c.ended.Err() == nil
		select {
		case <-c.ended.Done():
			return
		case <-time.After(retryAfter):
		}
	}
}

// endedByEngine reports whether the engine took the node along: one that is restarted ends its containers, in order or by force, unless it is set up to
// leave them alone. That is no crash, and the run cannot go on as it was meant: Close says so, which is the harness's failure and
// excuses what the nodes were late with.
func (c *cluster) endedByEngine(n *node, l *life) bool {
	if !l.orphaned || l.asked.Load() || l.signal != "killed" && l.signal != "terminated" && l.code != 0 {
		return false
	}
	c.trouble.Lock()
	defer c.trouble.Unlock()
	c.troubles = append(c.troubles, fmt.Errorf("the Docker engine went away, and n%d ended meanwhile (%s)", n.id, l.status()))
	return true
}

// waitExit returns the exit code once the container does not run.
func (c *cluster) waitExit(n *node) (int, error) {
	w := c.engine.ContainerWait(c.ended, n.container.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-w.Result:
		if r.Error != nil {
			return 0, errors.New(r.Error.Message)
		}
		return int(r.StatusCode), nil
	case err := <-w.Error:
		return 0, err
	}
}

// gone notes how a life ended.
func (c *cluster) gone(n *node, l *life, code int) {
	l.read(code)
	tail, err := c.tail(c.ended, n)
	if err != nil {
		tail = nil // the engine has it no more; the exit is said all the same
	}
	l.byFault = l.code == 1 && chaos.StoppedByFault(tail)
	// Asked for is what a signal or an orderly end brought about, or a disk that a fault broke: a panic that came first is still a panic.
	asked := l.byFault || c.endedByEngine(n, l) || l.asked.Load() && (l.signal == "killed" || l.signal == "terminated" || l.code == 0)
	// Flags that it does not know are the harness's fault: awaitBoot says so, and it is no crash.
	usage := !asked && l.code == 2 && n.collector.Boot() == l.boot && !bytes.Contains(tail, []byte("\ngoroutine "))
	if !usage {
		c.observe(&history.Exit{Of: n.id, Code: l.code, Signal: l.signal, Asked: asked})
		if !asked {
			c.cfg.Logf("n%d ended unasked: %s", n.id, l.status())
			c.observe(&history.LogLine{Of: n.id, What: "tail", Line: chaos.Tail(tail)})
		}
	}
	close(l.ended)
	c.unprepare(n)
}

func (c *cluster) observe(b history.Body) {
	c.cfg.Sink.Event(history.Event{Time: time.Now().UnixNano(), Body: b})
}
