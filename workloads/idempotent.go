package workloads

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"soak/history"
	"soak/workloads/protocol"
)

const (
	// deliveryTimeouts is for how many time-outs of one request an idempotent producer sends a record again.
	deliveryTimeouts = 3
	// sendBackoff is how long franz-go waits before it sends a request again.
	sendBackoff = 50 * time.Millisecond
	// turnPatience is how long an operation waits for those before it in its partition, which were begun before it and are on their way here.
	turnPatience = time.Second
	// farewell bounds how long a producer that another has taken the place of may finish what it has under way, in time-outs of a request.
	farewell = deliveryTimeouts + 1
)

// codecs are the compressions, one a producer in turn.
var codecs = []kgo.CompressionCodec{kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.GzipCompression()}

// idempotents holds one franz-go client an idempotent producer and incarnation: each has a producer id of its own, up to five requests
// in flight to a broker, and one of the compressions. A record is sent again, with its sequence, until it is answered for good or its time is over.
type idempotents struct {
	cfg   *Config
	seeds []string
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)

	mu      sync.Mutex
	closed  bool
	clients map[producerKey]*kgo.Client
	newest  map[uint32]uint32 // incarnation, by producer
	turns   map[turnKey]*turnstile
	leaving sync.WaitGroup // clients that finish what they have under way
}

type turnKey struct {
	producerKey
	topic     string
	partition int32
}

func newIdempotents(cfg *Config, nodes []int32, wire *dialer) *idempotents {
	p := &idempotents{
		cfg: cfg, dial: wire.dial, clients: map[producerKey]*kgo.Client{}, newest: map[uint32]uint32{}, turns: map[turnKey]*turnstile{},
	}
	for _, n := range nodes {
		p.seeds = append(p.seeds, cfg.Addrs[n])
	}
	return p
}

var (
	errSuperseded = errors.New("a later incarnation of the producer has begun")
	errOvertaken  = errors.New("later records of the producer were sent before")
)

// turnstile has the operations of one producer, incarnation and partition pass in the order of their sequences. Each is carried out in a goroutine of
// its own, so that without it a later one could be sent first, and the log would have their order wrong through no fault of the broker's.
type turnstile struct {
	mu    sync.Mutex
	next  uint64        // sequence of the operation that passes next
	moved chan struct{} // closed when next has changed
}

// enter waits until it is a sequence's turn, and leaves the turnstile locked. One that does not come is waited for no longer than turnPatience,
// and may not pass any more.
func (t *turnstile) enter(ctx context.Context, seq uint64) error {
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	for waits := true; ; {
		t.mu.Lock()
		switch {
		case t.next > seq:
			t.mu.Unlock()
			return errOvertaken
		case t.next == seq || !waits:
			return nil
		}
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-patience.C:
			waits = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *turnstile) leave(next uint64) {
	t.next = next
	close(t.moved)
	t.moved = make(chan struct{})
	t.mu.Unlock()
}

// turn is the turnstile that an operation has to pass.
func (p *idempotents) turn(k turnKey) (*turnstile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	switch newest := p.newest[k.producer]; {
	case k.incarnation < newest:
		return nil, errSuperseded
	case k.incarnation > newest:
		p.newest[k.producer] = k.incarnation
		maps.DeleteFunc(p.turns, func(old turnKey, _ *turnstile) bool { return old.producer == k.producer })
	}
	t := p.turns[k]
	if t == nil {
		t = &turnstile{moved: make(chan struct{})}
		p.turns[k] = t
	}
	return t, nil
}

// client is the client of a producer; an error after close, for an incarnation that is over, or where franz-go refuses its configuration.
func (p *idempotents) client(k producerKey) (*kgo.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, errClosed
	case k.incarnation < p.newest[k.producer]:
		return nil, errSuperseded // its client may be ending: another beside it could overtake what that has under way
	}
	if c := p.clients[k]; c != nil {
		return c, nil
	}
	c, err := kgo.NewClient(
		kgo.SeedBrokers(p.seeds...),
		kgo.ClientID(fmt.Sprintf("soak-produce-%d", k.producer)),
		kgo.Dialer(p.dial),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codecs[int(k.producer)%len(codecs)]),
		kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProduceRequestTimeout(p.cfg.Timeout),
		kgo.RequestTimeoutOverhead(p.cfg.Timeout),
		kgo.RecordDeliveryTimeout(max(time.Second, deliveryTimeouts*p.cfg.Timeout)),
		kgo.MetadataMinAge(p.cfg.MetadataTTL),
		kgo.RetryBackoffFn(func(int) time.Duration { return sendBackoff }),
		// Where the order cannot be kept the producer ends; sent on under a new id, a record could stand twice.
		kgo.StopProducerOnDataLossDetected(),
		kgo.DisableClientMetrics(),
	)
	if err != nil {
		return nil, fmt.Errorf("making an idempotent producer: %w", err)
	}
	for old, x := range p.clients {
		if old.producer == k.producer && old.incarnation < k.incarnation {
			p.leave(old, x)
		}
	}
	p.clients[k] = c
	return c, nil
}

// leave has a client end when what it has under way is over, or its time is. The lock is held.
func (p *idempotents) leave(k producerKey, c *kgo.Client) {
	delete(p.clients, k)
	p.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell*p.cfg.Timeout)
		defer cancel()
		_ = c.Flush(ctx) // what it does not send in time ends as unknown
		c.Close()
	})
}

// broken gives up a client that can send nothing any more; the next operation of its producer makes another, with a new id. What the old one has
// under way, in other partitions, ends first, as unknown: acknowledged later, it could stand behind what the new one sends.
func (p *idempotents) broken(k producerKey, c *kgo.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[k] == c {
		c.Close()
		delete(p.clients, k)
	}
}

func (p *idempotents) close() {
	p.mu.Lock()
	p.closed = true
	clients := p.clients
	p.clients = nil
	p.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	p.leaving.Wait()
}

// delivery is the records of one operation under way.
type delivery struct {
	mu      sync.Mutex
	left    int
	offsets []int64
	err     error   // of the first record that had one
	led     leading // the partition's leader as the client knew it before the records were given to it, and at each acknowledgement; zero where it changed or was unknown
	over    chan struct{}
}

func (d *delivery) took(i int, r *kgo.Record, led leading, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if led != d.led {
		d.led = leading{}
	}
	if err != nil && d.err == nil {
		d.err = err
	}
	d.offsets[i] = r.Offset
	if d.left--; d.left == 0 {
		close(d.over)
	}
}

// do sends an operation's records. It is ok if all were acknowledged, failed if none was given to the client, and otherwise unknown: what a
// client gave up may have been appended by an earlier attempt.
func (p *idempotents) do(ctx context.Context, op *history.Operation) {
	q := op.Produce
	q.Offsets, op.Node = nil, 0
	n := int(q.Count)
	if n <= 0 {
		protocol.Settle(op, history.Failed, fmt.Errorf("a produce of %d records", n))
		return
	}
	// As with plain producers, the operation ends some time before the logs are read back.
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeouts*p.cfg.Timeout+p.cfg.DialTimeout)
	defer cancel()
	k := producerKey{q.Producer, q.Incarnation, q.Acks}
	c, d, err := p.send(ctx, k, op)
	if err != nil {
		protocol.Settle(op, history.Failed, err)
		return
	}
	select {
	case <-d.over:
	case <-ctx.Done():
		protocol.Settle(op, history.Unknown, fmt.Errorf("not acknowledged in time: %w", ctx.Err()))
		return
	}
	// A batch goes to the partition's leader as the client knows it. Where that was one and the same all the time, the records went there.
	op.Node = d.led.node
	if d.err != nil {
		if fatal(d.err) {
			p.broken(k, c)
		}
		protocol.Settle(op, history.Unknown, plain(d.err))
		return
	}
	q.Offsets = d.offsets
	protocol.Settle(op, history.OK, nil)
}

// send gives an operation's records to its producer's client when it is their turn, all or none.
func (p *idempotents) send(ctx context.Context, k producerKey, op *history.Operation) (*kgo.Client, *delivery, error) {
	q := op.Produce
	t, err := p.turn(turnKey{k, q.Topic, q.Partition})
	if err == nil {
		err = t.enter(ctx, q.FirstSeq)
	}
	if err != nil {
		return nil, nil, err
	}
	defer t.leave(q.FirstSeq + uint64(q.Count))
	c, err := p.client(k)
	if err != nil {
		return nil, nil, err
	}
	n := int(q.Count)
	d := &delivery{left: n, offsets: make([]int64, n), over: make(chan struct{}), led: knownLeader(c, q)}
	made := p.cfg.values()
	values := make([]byte, 0, n*p.cfg.ValueBytes)
	for i := range n {
		start := len(values)
		values = made.Append(values, op, i)
		r := &kgo.Record{Topic: q.Topic, Partition: q.Partition, Value: values[start:len(values):len(values)]}
		// With the context of the client, not of the operation: a record that is given up breaks the sequence for those behind it.
		c.Produce(context.WithoutCancel(ctx), r, func(r *kgo.Record, err error) { d.took(i, r, knownLeader(c, q), err) })
	}
	return c, d, nil
}

// knownLeader is whom a client takes for the leader of an operation's partition; the zero value where it knows none.
func knownLeader(c *kgo.Client, q *history.ProduceOp) leading {
	node, epoch, err := c.PartitionLeader(q.Topic, q.Partition)
	if err != nil || node <= 0 {
		return leading{}
	}
	return leading{node, epoch}
}

// fatal reports whether a producer can send nothing more after this error.
func fatal(err error) bool {
	for _, is := range []error{
		kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.ProducerFenced, kgo.ErrClientClosed,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var lost *kgo.ErrDataLoss
	return errors.As(err, &lost)
}

// plain shortens an error code to its name, as the other operations have it.
func plain(err error) error {
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		return &protocol.BrokerError{Code: code.Code}
	}
	return err
}
