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

	"github.com/moby/moby/client"

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

	container string // its id; set by begin, for finish
	life      *life  // of the node, whose namespace it is; set by begin

	work sync.Mutex // held by what ends the cut, or has another take its place
	over bool       // it has been ended: none takes its place any more

	mu      sync.Mutex
	conn    *client.ContainerAttachResult // nil before begin and after letGo
	last    sidecar.Report
	heard   time.Time      // when last came
	entered time.Time      // when the first of its state came
	looked  sidecar.Report // at the last probe; see stillSlow
	ended   chan struct{}  // closed when the sidecar says no more; nil before begin
	lastErr error
}

func newCut(n *node, peers []*node, s chaos.Spec) *cut {
	return &cut{node: n, peers: peers, clients: s.Clients, spec: s, table: "soak-" + strconv.Itoa(s.ID)}
}

// begin has a sidecar take the cut on: one that waits in the node's namespace already, or else one that is made now.
func (c *cluster) begin(ctx context.Context, k *cut) error {
	s, err := c.sidecarWith(ctx, k.node, c.rules(k).Line())
	if err != nil {
		return err
	}
	k.container, k.life = s.container, s.life
	k.mu.Lock()
	k.conn, k.ended = &s.conn, make(chan struct{})
	k.mu.Unlock()
	go k.listen(s.conn)
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
			if r.State != k.last.State {
				k.entered = time.Now()
			}
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
	if _, err := k.fresh(ctx); err != nil {
		return nil, err
	}
	return k.evidence("during"), nil
}

// fresh waits for a report of now that the sidecar does what it is to.
func (k *cut) fresh(ctx context.Context) (sidecar.Report, error) {
	since := time.Now().Add(sidecar.ReportEvery)
	for {
		k.mu.Lock()
		r, heard, gone := k.last, k.heard, k.lastErr
		k.mu.Unlock()
		switch {
		case gone != nil:
			return r, fmt.Errorf("%w: %w", chaos.ErrLapsed, gone)
		case r.State != sidecar.Dropping:
			return r, fmt.Errorf("the sidecar of n%d is %s: %w", k.node.id, r.State, chaos.ErrLapsed)
		case heard.After(since):
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("the sidecar of n%d says nothing: %w", k.node.id, ctx.Err())
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
	_, removeErr := c.engine.ContainerRemove(call, k.container, client.ContainerRemoveOptions{Force: true})
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
