package workloads

import (
	"context"
	"errors"
	"fmt"
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
	leaving sync.WaitGroup // clients that finish what they have under way
}

func newIdempotents(cfg *Config, nodes []int32, wire *dialer) *idempotents {
	p := &idempotents{cfg: cfg, dial: wire.dial, clients: map[producerKey]*kgo.Client{}}
	for _, n := range nodes {
		p.seeds = append(p.seeds, cfg.Addrs[n])
	}
	return p
}

// client is the client of a producer; an error after close, or where franz-go refuses its configuration.
func (p *idempotents) client(k producerKey) (*kgo.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
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

// broken gives up a client that can send nothing any more; the next operation of its producer makes another, with a new id.
func (p *idempotents) broken(k producerKey, c *kgo.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[k] == c {
		p.leave(k, c)
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
	err     error // of the first record that had one
	over    chan struct{}
}

func (d *delivery) took(i int, r *kgo.Record, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	q.Offsets = nil
	n := int(q.Count)
	if n <= 0 {
		protocol.Settle(op, history.Failed, fmt.Errorf("a produce of %d records", n))
		return
	}
	k := producerKey{q.Producer, q.Incarnation, q.Acks}
	c, err := p.client(k)
	if err != nil {
		protocol.Settle(op, history.Failed, err)
		return
	}
	d := &delivery{left: n, offsets: make([]int64, n), over: make(chan struct{})}
	made := p.cfg.values()
	values := make([]byte, 0, n*p.cfg.ValueBytes)
	for i := range n {
		start := len(values)
		values = made.Append(values, op, i)
		r := &kgo.Record{Topic: q.Topic, Partition: q.Partition, Value: values[start:len(values):len(values)]}
		// With the context of the client, not of the operation: a record that is given up breaks the sequence for those behind it.
		c.Produce(context.WithoutCancel(ctx), r, func(r *kgo.Record, err error) { d.took(i, r, err) })
	}
	// As with plain producers, the operation ends some time before the logs are read back.
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeouts*p.cfg.Timeout+p.cfg.DialTimeout)
	defer cancel()
	select {
	case <-d.over:
	case <-ctx.Done():
		protocol.Settle(op, history.Unknown, fmt.Errorf("not acknowledged in time: %w", ctx.Err()))
		return
	}
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
