package docker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"soak/chaos/docker/sidecar"
)

// A sidecar takes the engine a third of a second to make, which is most of what a fault of links takes. So each node has one that
// waits in its namespace, without a rule and without a word, for the next fault. A namespace is that of one life of the node: the sidecar is
// thrown away with it.

// spareAfter is how long a node has run before it gets its spare sidecar: start-up is not made slower, and a node in a crash loop gets none.
const spareAfter = time.Second

// spare is a sidecar that waits for its cut.
type spare struct {
	life      *life
	container string // its id
	conn      client.ContainerAttachResult
}

// sidecarWith gives a sidecar in the namespace of the node as it runs now that has been told what to cut, and has the next made.
func (c *cluster) sidecarWith(ctx context.Context, n *node, line []byte) (*spare, error) {
	defer c.prepare(n)
	l, _ := n.running()
	n.mu.Lock()
	s := n.spare
	n.spare = nil
	n.mu.Unlock()
	if s != nil && s.life == l && c.waits(ctx, s) && s.tell(line) == nil {
		return s, nil
	}
	c.discard(s)
	s, err := c.makeSidecar(ctx, n, l)
	if err != nil {
		return nil, err
	}
	if err := s.tell(line); err != nil {
		c.discard(s)
		return nil, fmt.Errorf("telling the sidecar of n%d what to cut: %w", n.id, err)
	}
	return s, nil
}

// tell writes to the sidecar's standard input.
func (s *spare) tell(line []byte) error {
	s.conn.Conn.SetWriteDeadline(time.Now().Add(callTime)) // where it cannot be set the write tells
	_, err := s.conn.Conn.Write(line)
	return err
}

// waits reports whether nobody has ended the sidecar behind the runner's back.
func (c *cluster) waits(ctx context.Context, s *spare) bool {
	call, cancel := bounded(ctx)
	defer cancel()
	r, err := c.engine.ContainerInspect(call, s.container, client.ContainerInspectOptions{})
	return err == nil && r.Container.State != nil && r.Container.State.Running
}

// prepare has a spare sidecar made for the node's present life, a while from now. It is no error if there is none: the fault makes it then.
func (c *cluster) prepare(n *node) {
	l, up := n.running()
	if !up || c.closing.Load() {
		return
	}
	n.background.Go(func() {
		select {
		case <-c.ended.Done():
			return
		case <-l.ended:
			return
		case <-time.After(spareAfter):
		}
		n.mu.Lock()
		has := n.spare != nil && n.spare.life == l
		n.mu.Unlock()
		if has || c.closing.Load() {
			return
		}
		s, err := c.makeSidecar(c.ended, n, l)
		if err != nil {
			return // Close removes what there is of it
		}
		n.mu.Lock()
		if _, up := n.alive(); up && n.current == l && n.spare == nil {
			n.spare, s = s, nil
		}
		n.mu.Unlock()
		c.discard(s)
	})
}

// unprepare throws the node's spare sidecar away.
func (c *cluster) unprepare(n *node) {
	n.mu.Lock()
	s := n.spare
	n.spare = nil
	n.mu.Unlock()
	c.discard(s)
}

// discard ends a spare sidecar. Where that fails, Close removes it by its label.
func (c *cluster) discard(s *spare) {
	if s == nil {
		return
	}
	s.conn.Close()
	c.dispose(s.container)
}

// dispose removes a sidecar's container, also while the cluster closes.
func (c *cluster) dispose(id string) {
	call, cancel := bounded(context.Background())
	defer cancel()
	c.engine.ContainerRemove(call, id, client.ContainerRemoveOptions{Force: true})
}

// makeSidecar starts a sidecar that waits. It has root's NET_ADMIN in the node's network namespace, and no other right.
func (c *cluster) makeSidecar(ctx context.Context, n *node, l *life) (*spare, error) {
	call, cancel := bounded(ctx)
	defer cancel()
	labels := c.labels("sidecar")
	labels[labelNode] = strconv.Itoa(int(n.id))
	made, err := testcontainers.GenericContainer(call, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:  c.sidecar,
			Cmd:    sidecar.Command(),
			Labels: labels,
			ConfigModifier: func(config *container.Config) {
				config.User = "0:0"
				config.OpenStdin, config.StdinOnce = true, true // it ends with the runner's connection
				config.AttachStdin, config.AttachStdout = true, true
			},
			HostConfigModifier: func(host *container.HostConfig) {
				host.NetworkMode = container.NetworkMode("container:" + n.container.ID)
				host.CapDrop, host.CapAdd = []string{"ALL"}, []string{"NET_ADMIN"}
				host.SecurityOpt = []string{"no-new-privileges"}
				host.ReadonlyRootfs = true
			},
		},
	})
	started, _ := made.(*testcontainers.DockerContainer)
	if err != nil {
		if started != nil {
			c.dispose(started.ID)
		}
		return nil, fmt.Errorf("creating the sidecar of n%d: %w", n.id, explain(call, err))
	}
	s := &spare{life: l, container: started.ID}
	s.conn, err = c.engine.ContainerAttach(call, s.container, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		c.dispose(s.container)
		return nil, fmt.Errorf("attaching to the sidecar of n%d: %w", n.id, explain(call, err))
	}
	if err := started.Start(call); err != nil {
		c.discard(s)
		return nil, fmt.Errorf("starting the sidecar of n%d: %w", n.id, explain(call, err))
	}
	return s, nil
}
