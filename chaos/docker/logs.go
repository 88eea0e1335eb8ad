package docker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/client"
)

const (
	// reopenAfter is how long a follower waits before it opens a log again whose stream has ended.
	reopenAfter = 50 * time.Millisecond

	// retryAfter is how long it waits when the engine has failed: it may be restarting, or gone for good.
	retryAfter = time.Second
)

// follow reads a node's log from its first start to Close, over restarts and broken streams. What comes is also put
// into the run folder at once, so that a killed runner leaves it there; Close replaces that by the engine's own, or of short logs adds what is newer.
func (c *cluster) follow(n *node) {
	var last time.Time // of the newest line that was taken
	defer func() { n.newest = last }()
	file, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		c.cfg.Logf("following the log of n%d without keeping it: %v", n.id, err)
	} else {
		defer file.Close()
		if c.cfg.ShortLogs {
			n.collector.KeepRest(file)
		}
	}
	for broken := false; c.ended.Err() == nil; {
		_, up := n.running()
		var err error
		last, err = c.readLog(c.ended, n, last, last, true, func(line []byte, again bool) {
			n.collector.Line(line, again)
			if file != nil && !again && !c.cfg.ShortLogs {
				file.Write(append(line, '\n')) // a full disk shows at Close, which writes it all
			}
		})
		wait := reopenAfter
		if err != nil && c.ended.Err() == nil {
			if !broken {
				c.cfg.Logf("the log of n%d broke off, and is opened again: %v", n.id, err)
			}
			up, wait = true, retryAfter // it may be the stream that ended, not the node
		}
		broken = err != nil
		if !up {
			// All of an ended life has been read: the next start goes on.
			select {
			case <-n.wake:
			case <-c.ended.Done():
			}
			continue
		}
		select {
		case <-time.After(wait):
		case <-c.ended.Done():
		}
	}
}

// readLog reads the log from since on, with follow until the container stops, and gives each line to take; again says
// that it may have been taken before, being no newer than taken. It returns the time of the newest line.
func (c *cluster) readLog(ctx context.Context, n *node, since, taken time.Time, follow bool, take func(line []byte, again bool)) (time.Time, error) {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: follow}
	if !since.IsZero() {
		o.Since = since.Format(time.RFC3339Nano)
	}
	r, err := c.engine.ContainerLogs(ctx, n.container.ID, o)
	if err != nil {
		return since, explain(ctx, err)
	}
	defer r.Close()
	newest := since
	f := frames{bufio.NewReaderSize(r, 64<<10)}
	var lines logLines
	var buf []byte
	for {
		stream, content, err := f.next(buf)
		if err != nil {
			for _, line := range lines.rest() { // cut by a kill
				take(line, !follow) // a follower has come to the same end
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return newest, err
		}
		buf = content
		line, at, whole, err := lines.add(stream, content)
		if err != nil {
			return newest, err
		}
		if whole {
			take(line, !at.After(taken))
			if at.After(newest) {
				newest = at
			}
		}
	}
}

// restOfLog has what came after the follower's newest line looked at, and kept as the follower does. The whole log of a long run would take the engine
// minutes to give, and the follower has it: where its stream broke, it has begun again from its newest line.
func (c *cluster) restOfLog(ctx context.Context, n *node) error {
	file, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("writing it: %w", err)
	}
	n.collector.KeepRest(file)
	_, err = c.readLog(ctx, n, n.newest, n.newest, false, n.collector.Line)
	n.collector.KeepRest(nil)
	return errors.Join(err, file.Close())
}

// wholeLog writes the engine's whole log of a node into the run folder, and has whatever was missed looked at: also lines that are no events,
// as of a panic in its last moment, where they are newer than what the follower, which has ended, has taken.
func (c *cluster) wholeLog(ctx context.Context, n *node) error {
	aside := n.log + ".new"
	file, err := os.Create(aside)
	if err != nil {
		return fmt.Errorf("writing it: %w", err)
	}
	defer os.Remove(aside) // gone after the rename
	w := bufio.NewWriterSize(file, 1<<20)
	call, cancel := bounded(ctx)
	defer cancel()
	_, err = c.readLog(call, n, time.Time{}, n.newest, false, func(line []byte, again bool) {
		n.collector.Line(line, again)
		w.Write(line)
		w.WriteByte('\n')
	})
	if err = errors.Join(err, w.Flush(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, n.log); err != nil {
		return fmt.Errorf("writing it: %w", err)
	}
	return nil
}

// tail gives the end of a node's log.
func (c *cluster) tail(ctx context.Context, n *node) ([]byte, error) {
	call, cancel := bounded(ctx)
	defer cancel()
	r, err := c.engine.ContainerLogs(call, n.container.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "50"})
	if err != nil {
		return nil, fmt.Errorf("reading the end of its log: %w", explain(call, err))
	}
	defer r.Close()
	var all bytes.Buffer
	f := frames{bufio.NewReader(r)}
	for {
		_, content, err := f.next(nil)
		if errors.Is(err, io.EOF) {
			return all.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the end of its log: %w", err)
		}
		all.Write(content)
	}
}
