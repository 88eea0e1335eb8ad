package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"soak/chaos"
	"soak/chaos/docker/sidecar"
	"soak/history"
)

// renewEvery is how often a lease of sidecar.LeaseTime is renewed: one that is lost now and then does no harm.
const renewEvery = sidecar.LeaseTime / 5

// cut is one node's part of a fault of links: a sidecar in its namespace and the conversation with it.
type cut struct {
	node    *node
	peers   []*node
	spare   []*node // where clients are cut off and these are not
	clients bool
	spec    chaos.Spec
	table   string

	container *testcontainers.DockerContainer // set by begin, for finish

	mu      sync.Mutex
	conn    *client.ContainerAttachResult // nil before begin and after letGo
	last    sidecar.Report
	heard   time.Time     // when last came
	ended   chan struct{} // closed when the sidecar says no more; nil before begin
	lastErr error
}

func newCut(n *node, peers []*node, s chaos.Spec) *cut {
	return &cut{node: n, peers: peers, clients: s.Clients, spec: s, table: "soak-" + strconv.Itoa(s.ID)}
}

// begin starts the sidecar. It has root's NET_ADMIN in the node's network namespace, and no other right.
func (c *cluster) begin(ctx context.Context, k *cut) error {
	call, cancel := bounded(ctx)
	defer cancel()
	labels := c.labels("sidecar")
	labels[labelNode] = strconv.Itoa(int(k.node.id))
	made, err := testcontainers.GenericContainer(call, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:  c.sidecar,
			Cmd:    c.rules(k).Args(),
			Labels: labels,
			ConfigModifier: func(config *container.Config) {
				config.User = "0:0"
				config.OpenStdin, config.StdinOnce = true, true // it ends with the runner's connection
				config.AttachStdin, config.AttachStdout = true, true
			},
			HostConfigModifier: func(host *container.HostConfig) {
				host.NetworkMode = container.NetworkMode("container:" + k.node.container.ID)
				host.CapDrop, host.CapAdd = []string{"ALL"}, []string{"NET_ADMIN"}
				host.SecurityOpt = []string{"no-new-privileges"}
				host.ReadonlyRootfs = true
			},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the sidecar of n%d: %w", k.node.id, explain(call, err))
	}
	k.container = made.(*testcontainers.DockerContainer)
	conn, err := c.engine.ContainerAttach(call, k.container.ID, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attaching to the sidecar of n%d: %w", k.node.id, explain(call, err))
	}
	k.mu.Lock()
	k.conn, k.ended = &conn, make(chan struct{})
	k.mu.Unlock()
	go k.listen(conn)
	if err := k.container.Start(call); err != nil {
		return fmt.Errorf("starting the sidecar of n%d: %w", k.node.id, explain(call, err))
	}
	go k.renew()
	return nil
}

// listen takes what the sidecar says until it ends.
func (k *cut) listen(conn client.ContainerAttachResult) {
	err := k.hear(frames{conn.Reader})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last.State == sidecar.Failed {
		err = errors.New(k.last.Error)
	}
	if k.last.State != sidecar.Removed {
		k.lastErr = fmt.Errorf("the sidecar of n%d ended without having removed its rules: %w", k.node.id, err)
	}
	close(k.ended)
}

// hear reads reports; it returns at the end of the stream, with what was said on standard error.
func (k *cut) hear(f frames) error {
	var line, complaint []byte
	for {
		stream, content, err := f.next(nil)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			return fmt.Errorf("it said %q", chaos.Quote(bytes.TrimSpace(complaint)))
		}
		if stream == stderr {
			complaint = append(complaint, content[:min(len(content), maxFrame-len(complaint))]...)
			continue
		}
		line = append(line, content...)
		for {
			one, rest, whole := bytes.Cut(line, []byte("\n"))
			if !whole {
				break
			}
			line = rest
			var r sidecar.Report
			if err := json.Unmarshal(one, &r); err != nil {
				return fmt.Errorf("reading its report %q: %w", chaos.Quote(one), err)
			}
			k.mu.Lock()
			k.last, k.heard = r, time.Now()
			k.mu.Unlock()
		}
		if len(line) > maxFrame {
			return errors.New("a report has no end")
		}
	}
}

// renew keeps the lease until the sidecar ends.
func (k *cut) renew() {
	for {
		select {
		case <-k.ended:
			return
		case <-time.After(renewEvery):
		}
		if k.order(sidecar.Renew) != nil && !k.begun() {
			return // it has been let go; one order that fails may be followed by one that does not
		}
	}
}

// order sends one order.
func (k *cut) order(what byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return fmt.Errorf("the sidecar of n%d has been let go", k.node.id)
	}
	k.conn.Conn.SetWriteDeadline(time.Now().Add(callTime)) // where it cannot be set the write tells
	if _, err := k.conn.Conn.Write([]byte{what}); err != nil {
		return errors.Join(fmt.Errorf("talking to the sidecar of n%d: %w", k.node.id, err), k.lastErr)
	}
	return nil
}

// report is the last that the sidecar said.
func (k *cut) report() sidecar.Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// failed says why the sidecar is gone although nobody let it go.
func (k *cut) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastErr
}

// holds is fresh evidence that packets are dropped. A report that was on its way while the runner stood still is not fresh: after a pause of
// the time between two reports all such have been read.
func (k *cut) holds(ctx context.Context) ([]history.Evidence, error) {
	since := time.Now().Add(sidecar.ReportEvery)
	for {
		k.mu.Lock()
		r, heard, gone := k.last, k.heard, k.lastErr
		k.mu.Unlock()
		switch {
		case gone != nil:
			return nil, fmt.Errorf("%w: %w", chaos.ErrLapsed, gone)
		case r.State != sidecar.Dropping:
			return nil, fmt.Errorf("the sidecar of n%d is %s: %w", k.node.id, r.State, chaos.ErrLapsed)
		case heard.After(since):
			return k.evidence("during"), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the sidecar of n%d says nothing: %w", k.node.id, ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// begun reports whether there is a sidecar that has not been let go.
func (k *cut) begun() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conn != nil
}

// finish has the sidecar take its rules away, sees that they are gone, and removes its container.
func (c *cluster) finish(ctx context.Context, k *cut) error {
	k.mu.Lock()
	conn, ended := k.conn, k.ended
	k.mu.Unlock()
	if conn == nil {
		return nil
	}
	call, cancel := bounded(ctx)
	defer cancel()
	err := conn.CloseWrite()
	if err == nil {
		select {
		case <-ended:
			err = k.failed()
		case <-call.Done():
			err = fmt.Errorf("the sidecar of n%d has not said that its rules are gone: %w", k.node.id, context.Cause(call))
		}
	}
	k.letGo()
	_, removeErr := c.engine.ContainerRemove(call, k.container.ID, client.ContainerRemoveOptions{Force: true})
	if removeErr != nil && !gone(removeErr) {
		err = errors.Join(err, fmt.Errorf("removing the sidecar of n%d: %w", k.node.id, explain(call, removeErr)))
	}
	return err
}

// letGo closes the connection: the sidecar's standard input ends, if it has not yet.
func (k *cut) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}
