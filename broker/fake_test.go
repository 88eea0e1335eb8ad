package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/core"
	"soak/history"
)

// fakeNode is a core that does what a test says: react is called with each input and may add to what the next Ready gives.
type fakeNode struct {
	react func(in core.Input, out *core.Output)

	leads bool // it does not stop by itself when it is asked to

	mu     sync.Mutex
	steps  []core.Input
	nows   []int64
	readys int
	out    core.Output
	seq    uint64
}

func (n *fakeNode) Step(now int64, in core.Input) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.steps, n.nows = append(n.steps, in), append(n.nows, now)
	if _, asked := in.(core.Shutdown); asked && !n.leads {
		n.out.Stopped = true
	}
	if n.react != nil {
		n.react(in, &n.out)
	}
}

func (n *fakeNode) Ready() core.Output {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readys++
	out := n.out
	n.out = core.Output{}
	if out.Wake == 0 {
		out.Wake = 1 << 40 // about 18 minutes: a test wakes it by inputs
	}
	return out
}

func (n *fakeNode) Stats() core.Stats { return core.Stats{Node: 1, Term: 3, Ready: true} }

// inputs are all steps but ticks.
func (n *fakeNode) inputs() []core.Input {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []core.Input
	for _, in := range n.steps {
		if _, tick := in.(core.Tick); !tick {
			out = append(out, in)
		}
	}
	return out
}

// requests are the client requests among the inputs.
func (n *fakeNode) requests() (out []*core.ClientRequest) {
	for _, in := range n.inputs() {
		if r, ok := in.(*core.ClientRequest); ok {
			out = append(out, r)
		}
	}
	return out
}

func (n *fakeNode) event() history.Event {
	n.seq++
	return history.Event{Node: 1, Boot: 1, Seq: n.seq, Time: 1, Body: &history.Session{Broker: 2, State: "live"}}
}

// answerAll answers every request with an empty answer of its kind.
func answerAll(in core.Input, out *core.Output) {
	if r, ok := in.(*core.ClientRequest); ok {
		out.Responses = append(out.Responses, core.Response{Conn: r.Conn, Corr: r.Corr, Kmsg: r.Req.ResponseKind()})
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// pipeListener accepts net.Pipe connections, which work in a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// rig is a loop over a fake core with client connections, in a bubble.
type rig struct {
	node    *fakeNode
	clients *clients
	ln      *pipeListener
	stop    func()
}

func newRig(t *testing.T, o Options, n *fakeNode) *rig {
	o.ID, o.Data, o.Listen, o.Advertise, o.Stdout = 1, "d", ":9092", "h:1", io.Discard
	o, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	in := newInbox()
	r := &rig{node: n, clients: newClients(in, o, quiet()), ln: newPipeListener()}
	l := &loop{
		node: n, in: in, now: func() int64 { return 7 }, events: io.Discard, conns: r.clients,
		disk: discardDisk{}, peers: discardPeers{}, warn: func(string, error) {},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { r.clients.serve(r.ln) })
	all.Go(func() {
		if err := l.run(ctx); err != nil {
			t.Errorf("the loop ended: %v", err)
		}
	})
	r.stop = func() {
		cancel()
		r.ln.Close()
		r.clients.close()
		all.Wait()
	}
	return r
}

type discardDisk struct{}

func (discardDisk) submit([]core.DiskOp) {}

type discardPeers struct{}

func (discardPeers) send(int32, []byte) {}

// testClient is one connection of a client.
type testClient struct {
	t *testing.T
	c net.Conn
}

func (r *rig) dial(t *testing.T) *testClient {
	t.Helper()
	c, err := r.ln.dial()
	if err != nil {
		t.Fatal(err)
	}
	return &testClient{t: t, c: c}
}

func apiVersions() kmsg.Request { return kmsg.NewPtrApiVersionsRequest() }

// padded is a request of some size.
func padded(n int) kmsg.Request {
	r := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(string(bytes.Repeat([]byte("t"), n)))
	r.Topics = append(r.Topics, topic)
	return r
}

func encode(corr int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, corr)
}

func (c *testClient) send(corr int32, req kmsg.Request) {
	c.t.Helper()
	if _, err := c.c.Write(encode(corr, req)); err != nil {
		c.t.Fatalf("sending request %d: %v", corr, err)
	}
}

// corr reads one answer and returns its correlation id; an error at the end of the connection.
func (c *testClient) corr() (int32, error) {
	var b [4]byte
	if _, err := io.ReadFull(c.c, b[:]); err != nil {
		return 0, err
	}
	body := make([]byte, int(b[0])<<24|int(b[1])<<16|int(b[2])<<8|int(b[3]))
	if _, err := io.ReadFull(c.c, body); err != nil {
		return 0, err
	}
	return int32(body[0])<<24 | int32(body[1])<<16 | int32(body[2])<<8 | int32(body[3]), nil
}

func (c *testClient) wantCorr(want int32) {
	c.t.Helper()
	if got, err := c.corr(); err != nil || got != want {
		c.t.Fatalf("answer %d, error %v; want %d", got, err, want)
	}
}

// wantClosed reads until the end of the connection, and fails if an answer comes first.
func (c *testClient) wantClosed() {
	c.t.Helper()
	if corr, err := c.corr(); err == nil {
		c.t.Fatalf("answer %d on a connection that should be closed", corr)
	}
}
