package workloads

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds the size of an answer, in bytes, before it is allocated: several times what a fetch asks for.
const maxAnswer = 16 << 20

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("soak"))

// singleConn is a connection for requests of our own, one at a time, each sent exactly once and never repeated.
type singleConn struct {
	nc   net.Conn
	corr int32
	size [4]byte
}

// connect reaches a node. Its errors are all of type *notSent.
func (c *Clients) connect(ctx context.Context, node int32) (*singleConn, error) {
	addr, err := c.addr(node)
	if err != nil {
		return nil, &notSent{err}
	}
	nc, err := c.wire.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, &notSent{fmt.Errorf("connecting to n%d: %w", node, err)}
	}
	return &singleConn{nc: nc}, nil
}

func (c *singleConn) close() { c.nc.Close() }

// ask sends req, in the version that it has, and returns its answer. It ends with ctx or after timeout. An error of type *notSent
// means that no byte of the request left; after any other the broker may have acted, and the connection is of no more use.
func (c *singleConn) ask(ctx context.Context, req kmsg.Request, timeout time.Duration) (kmsg.Response, error) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := ctx.Err(); err != nil {
		return nil, &notSent{err}
	}
	if err := c.nc.SetDeadline(deadline); err != nil {
		return nil, &notSent{fmt.Errorf("setting a deadline: %w", err)}
	}
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	name := kmsg.NameForKey(req.Key())
	c.corr++
	n, err := c.nc.Write(formatter.AppendRequest(nil, req, c.corr))
	if err != nil {
		err = fmt.Errorf("sending %s: %w", name, err)
		if n == 0 {
			return nil, &notSent{err}
		}
		return nil, &maybeSent{err}
	}
	resp, err := c.answer(req)
	if err != nil {
		return nil, &maybeSent{fmt.Errorf("awaiting the answer to %s: %w", name, err)}
	}
	return resp, nil
}

// maybeSent is an error met after at least a byte of the request left. It hides the notSent marks of the connection below,
// whose notion of a request is kafka-go's.
type maybeSent struct{ err error }

func (e *maybeSent) Error() string { return e.err.Error() }

func (c *singleConn) answer(req kmsg.Request) (kmsg.Response, error) {
	if _, err := io.ReadFull(c.nc, c.size[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(c.size[:])
	if size < 4 || size > maxAnswer {
		return nil, fmt.Errorf("answer of %d bytes; between 4 and %d are accepted", size, maxAnswer)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != c.corr {
		return nil, fmt.Errorf("answer to request %d where %d was asked", got, c.corr)
	}
	body = body[4:]
	if req.IsFlexible() {
		var err error
		if body, err = skipTags(body); err != nil {
			return nil, fmt.Errorf("tags of the answer's header: %w", err)
		}
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return resp, nil
}

// skipTags passes over the tagged fields at the start of b.
func skipTags(b []byte) ([]byte, error) {
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	count, ok := next()
	for i := uint64(0); ok && i < count; i++ {
		var size uint64
		if _, ok = next(); !ok {
			break
		}
		if size, ok = next(); !ok {
			break
		}
		if size > uint64(len(b)) {
			ok = false
			break
		}
		b = b[size:]
	}
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return b, nil
}

// askOnce makes a connection for one request.
func (c *Clients) askOnce(ctx context.Context, node int32, req kmsg.Request) (kmsg.Response, error) {
	conn, err := c.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	return conn.ask(ctx, req, c.cfg.Timeout)
}
