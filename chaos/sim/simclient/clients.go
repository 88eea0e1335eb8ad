package simclient

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// Defaults of Config: those of the real clients where they have the same.
const (
	DefaultRequestTimeout  = 3 * time.Second
	DefaultDeliveryTimeout = 8 * time.Second
	DefaultMetadataAge     = 250 * time.Millisecond
	DefaultMetadataTimeout = time.Second
	DefaultLeaderWait      = time.Second
	DefaultInFlight        = 5
	DefaultReadWait        = 100 * time.Millisecond
	DefaultValueBytes      = 128
)

// Config is what the clients need to know of a run. Zero values mean the defaults.
type Config struct {
	Nodes           []int32       // ids of all nodes; required
	Seed            uint64        // makes the padding of the values, and chooses the node first asked for metadata
	RunHash         uint64        // the run's identity in the header of every value
	ValueBytes      int           // size of a value, header included
	RequestTimeout  time.Duration // from the sending of a request to its answer
	DeliveryTimeout time.Duration // of an idempotent producer's operation, all its sendings included
	MetadataAge     time.Duration // of the producers' metadata, beyond which it is asked for anew
	MetadataTimeout time.Duration // of a producers' metadata request: another node is asked then
	LeaderWait      time.Duration // how long a produce operation waits for its partition to have a known leader
	InFlight        int           // requests in flight at most, of one producer at one node
	Readers         int           // consumers that read along, see Read
	ReadWait        time.Duration // how long a consumer's fetch waits for something to read
}

// Conn is a connection, by a number that the Clients choose and never use again. It begins with the first request on it.
type Conn uint64

// Out is one thing that must happen now: an operation is over (Done), a connection is closed by the client (Close, Conn), or else
// a request is sent.
type Out struct {
	Done  *history.Operation // with its answer filled in; also what a consumer was given, which nobody started
	Close bool

	Conn Conn
	Node int32
	Corr int32 // correlation id
	Req  kmsg.Request
	Op   string // the operation's id, where the request carries it in a tag
}

// Clients carries out operations against one simulated cluster. The times that it is given never go back.
type Clients struct {
	c      Config
	values protocol.Values

	outs, spare []Out
	timers      timers
	conns       map[Conn]*conn
	lastConn    Conn
	freeTasks   []*task
	freeConns   []*conn

	topics     []*topic // in the order of their first use
	topicIndex map[string]*topic
	pending    []*task // produce operations without a known leader, oldest first
	lanes      map[laneKey]*lane
	sessions   []*session // of idempotent producers, in the order of their beginning
	meta       cache
	consumers  []*consumer
	down       []string // clients that have crashed, see Crash
}

// New makes clients. It panics without nodes: there is nobody to ask.
func New(c Config) *Clients {
	if len(c.Nodes) == 0 {
		panic("simclient: no nodes given")
	}
	for _, d := range []struct {
		to  *time.Duration
		def time.Duration
	}{
		{&c.RequestTimeout, DefaultRequestTimeout}, {&c.DeliveryTimeout, DefaultDeliveryTimeout}, {&c.MetadataAge, DefaultMetadataAge}, {&c.MetadataTimeout, DefaultMetadataTimeout},
		{&c.LeaderWait, DefaultLeaderWait}, {&c.ReadWait, DefaultReadWait},
	} {
		if *d.to <= 0 {
			*d.to = d.def
		}
	}
	if c.InFlight <= 0 {
		c.InFlight = DefaultInFlight
	}
	if c.ValueBytes <= 0 {
		c.ValueBytes = DefaultValueBytes
	}
	c.Nodes = slices.Clone(c.Nodes)
	slices.Sort(c.Nodes)
	return &Clients{
		c:          c,
		values:     protocol.Values{RunHash: c.RunHash, Seed: c.Seed, Bytes: max(c.ValueBytes, gen.HeaderSize)},
		conns:      map[Conn]*conn{},
		topicIndex: map[string]*topic{},
		lanes:      map[laneKey]*lane{},
		meta:       newCache(&c),
	}
}

// Start begins an operation of any kind but Consume. It is the Clients' until it comes back in an Out.
func (c *Clients) Start(now int64, op *history.Operation) {
	switch {
	case c.isDown(op.Client):
		c.finish(now, op, history.Failed, errDown)
	case op.Produce != nil && op.Produce.Idempotent && op.Produce.Count > 0 && op.Produce.Partition >= 0:
		c.startIdempotent(now, op)
	case op.Produce != nil:
		c.startProduce(now, op)
	case op.Meta != nil || op.Create != nil:
		if op.Node == 0 {
			op.Node = protocol.ChooseNode(op, c.c.Nodes)
		}
		c.startAdmin(now, op)
	case op.Drain != nil:
		op.Node = op.Drain.Replica
		c.startDrain(now, op)
	default:
		c.finish(now, op, history.Failed, errors.New("the operation asks for nothing"))
	}
}

// Answer takes the answer to the request that had this number on this connection; index is the raft index that it rests on, 0 if
// none was told beside the answer's own tags. Answers that nobody waits for any more are ignored.
func (c *Clients) Answer(now int64, id Conn, corr int32, resp kmsg.Response, index uint64) {
	cn := c.conns[id]
	if cn == nil {
		return
	}
	// Nodes answer in order, so it is the first one, unless a request before it was lost on its way.
	i := slices.IndexFunc(cn.flights, func(f flight) bool { return f.corr == corr })
	if i < 0 {
		return
	}
	t := cn.flights[i].task
	if corr < cn.answered && t.op != nil && t.op.Produce != nil {
		t.op.Produce.Disordered = true
	}
	cn.answered = max(cn.answered, corr)
	cn.flights = slices.Delete(cn.flights, i, i+1)
	t.disarm()
	c.answered(now, cn, t, resp, index)
}

// Closed tells that a connection ended: the node closed it or died, or it was reset. What was asked on it may have been done.
func (c *Clients) Closed(now int64, id Conn) {
	if cn := c.conns[id]; cn != nil {
		c.lose(now, cn, errConnClosed, false)
	}
}

// Refused tells that a connection never came to be: nothing that was sent on it has arrived.
func (c *Clients) Refused(now int64, id Conn) {
	if cn := c.conns[id]; cn != nil {
		c.lose(now, cn, fmt.Errorf("connecting to n%d: connection refused", cn.node), true)
	}
}

// Tick does what time alone brings: time-outs and second attempts.
func (c *Clients) Tick(now int64) {
	for {
		t := c.timers.due(now)
		if t == nil {
			return
		}
		c.timedOut(now, t)
	}
}

// Wake is when the Clients want a Tick at the latest, 0 if time alone brings nothing.
func (c *Clients) Wake() int64 { return c.timers.next() }

// Output is what must happen now, in this order. The slice is the caller's until the next call.
func (c *Clients) Output() []Out {
	out := c.outs
	clear(c.spare)
	c.outs, c.spare = c.spare[:0], out
	return out
}

// finish settles an operation and gives it back.
func (c *Clients) finish(now int64, op *history.Operation, o history.Outcome, err error) {
	protocol.Settle(op, o, err)
	c.done(now, op)
}

func (c *Clients) done(now int64, op *history.Operation) {
	op.Complete = now
	c.outs = append(c.outs, Out{Done: op})
}

// knows reports whether a node is of this cluster.
func (c *Clients) knows(node int32) bool { return slices.Contains(c.c.Nodes, node) }
