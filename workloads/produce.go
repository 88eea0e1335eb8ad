package workloads

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"

	"soak/history"
	"soak/workloads/protocol"
)

const (
	// batchTimeout is how long kafka-go gathers records before it sends them, where a batch is not full before.
	batchTimeout = 5 * time.Millisecond
	// operationsBehind is how many operations of a producer wait in one partition at most, as runs have it.
	operationsBehind = 4
	// batchRecords bounds a batch.
	batchRecords = 256
)

// producers holds one kafka-go Writer a producer, so that many records are in flight across producers: a Writer has one
// request under way in each partition. They share a transport and with it one refresh of the metadata.
type producers struct {
	cfg       *Config
	addr      net.Addr
	transport *kafka.Transport

	mu      sync.Mutex
	closed  bool
	writers map[producerKey]*kafka.Writer
}

type producerKey struct {
	producer    uint32
	incarnation uint32
	acks        int16
}

func newProducers(cfg *Config, nodes []int32, wire *dialer) *producers {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, cfg.Addrs[n])
	}
	return &producers{
		cfg:  cfg,
		addr: kafka.TCP(addrs...),
		transport: &kafka.Transport{
			Dial:        wire.dial,
			DialTimeout: cfg.DialTimeout,
			MetadataTTL: cfg.MetadataTTL,
			ClientID:    "soak-produce",
		},
		writers: make(map[producerKey]*kafka.Writer),
	}
}

// writer is the Writer of a producer; nil after close.
func (p *producers) writer(k producerKey) *kafka.Writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	w := p.writers[k]
	if w == nil {
		way := &way{transport: p.transport, asked: map[place]int32{}}
		w = &kafka.Writer{
			Addr:         p.addr,
			Balancer:     kafka.BalancerFunc(balance),
			MaxAttempts:  1, // it reports only the last error: a timed-out first attempt would go unseen
			BatchSize:    p.batchSize(),
			BatchTimeout: batchTimeout,
			ReadTimeout:  p.cfg.Timeout,
			WriteTimeout: p.cfg.Timeout,
			RequiredAcks: kafka.RequiredAcks(k.acks),
			Completion:   complete(way),
			Transport:    way,
		}
		p.retire(k)
		p.writers[k] = w
	}
	return w
}

// batchSize has room for what may wait behind a request under way: kafka-go allocates so many messages for each batch, however few come.
func (p *producers) batchSize() int {
	if p.cfg.Batch > 0 {
		return min(p.cfg.Batch*operationsBehind, batchRecords)
	}
	return batchRecords
}

// retire closes the Writers of a producer's earlier incarnations, when what they have under way is over. The lock is held.
func (p *producers) retire(k producerKey) {
	for old, w := range p.writers {
		if old.producer == k.producer && old.incarnation < k.incarnation {
			delete(p.writers, old)
			go w.Close()
		}
	}
}

func (p *producers) close() {
	p.mu.Lock()
	p.closed = true
	writers := p.writers
	p.writers = nil
	p.mu.Unlock()
	p.transport.CloseIdleConnections()
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() { w.Close() })
	}
	wg.Wait()
}

// sending is one operation under way. Each of its messages refers to it by a slot in WriterData, through which the Writer's
// callbacks find the partition and leave the results.
type sending struct {
	partition int
	acks      int16

	mu      sync.Mutex
	placed  int     // messages that were given a partition: when all were, the Writer has them, and may have sent them
	offsets []int64 // by record
	results []error // by record; errPending until the Writer says
	nodes   []int32 // by record: that it was sent to, 0 unknown
}

type slot struct {
	s *sending
	i int
}

var errPending = errors.New("no answer yet")

// balance gives a message the partition of its operation, whatever kafka-go knows of the topic.
func balance(m kafka.Message, _ ...int) int {
	at := m.WriterData.(slot)
	at.s.mu.Lock()
	defer at.s.mu.Unlock()
	at.s.placed++
	return at.s.partition
}

// complete takes the result of one request that went a way. kafka-go merges operations of one partition into a request, and may spread
// one over two; each message carries its own slot, so neither matters.
func complete(w *way) func([]kafka.Message, error) {
	return func(msgs []kafka.Message, err error) {
		for i := range msgs {
			at, ok := msgs[i].WriterData.(slot)
			if !ok {
				continue
			}
			s := at.s
			node := w.last(place{msgs[i].Topic, s.partition})
			s.mu.Lock()
			s.results[at.i], s.nodes[at.i] = err, node
			// Without acks there is no answer, and the message's offset means nothing.
			if s.offsets[at.i] = -1; err == nil && s.acks != 0 && msgs[i].Offset >= 0 {
				s.offsets[at.i] = msgs[i].Offset
			}
			s.mu.Unlock()
		}
	}
}

// way is a Writer's transport, which notes where its requests go. kafka-go sends a Produce to whom its newest metadata names as the partition's leader,
// and tells nobody; but it answers a Metadata request from that same memory. Where it names the same leader, in the same epoch, before the request and
// after, the request went there.
type way struct {
	transport kafka.RoundTripper

	mu    sync.Mutex
	asked map[place]int32 // of the last request to a partition; a Writer has one under way in each
}

type place struct {
	topic     string
	partition int
}

// leading is whom kafka-go takes for a partition's leader; the zero value where it knows none.
type leading struct{ node, epoch int32 }

func (w *way) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	q, ok := req.(*produce.Request)
	if !ok || len(q.Topics) != 1 || len(q.Topics[0].Partitions) != 1 {
		return w.transport.RoundTrip(ctx, addr, req)
	}
	at := place{q.Topics[0].Topic, int(q.Topics[0].Partitions[0].Partition)}
	before := w.leader(ctx, addr, at)
	resp, err := w.transport.RoundTrip(ctx, addr, req)
	// The memory is asked even where the request's own time is over.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	node := before.node
	if w.leader(after, addr, at) != before {
		node = 0
	}
	w.mu.Lock()
	w.asked[at] = node
	w.mu.Unlock()
	return resp, err
}

func (w *way) leader(ctx context.Context, addr net.Addr, at place) leading {
	resp, err := w.transport.RoundTrip(ctx, addr, &metadata.Request{TopicNames: []string{at.topic}})
	known, ok := resp.(*metadata.Response)
	if err != nil || !ok {
		return leading{}
	}
	for _, t := range known.Topics {
		for _, p := range t.Partitions {
			if t.Name == at.topic && int(p.PartitionIndex) == at.partition && p.ErrorCode == 0 && p.LeaderID > 0 {
				return leading{p.LeaderID, p.LeaderEpoch}
			}
		}
	}
	return leading{}
}

func (w *way) last(at place) int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[at]
}

// node is the one that all records were sent to; 0 where they went to several, or nobody knows.
func (s *sending) node() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n != s.nodes[0] {
			return 0
		}
	}
	return s.nodes[0]
}

// do sends an operation's records in one call, each attempted once. It is ok if all were acknowledged, failed if all surely
// were not appended, and otherwise unknown.
func (p *producers) do(ctx context.Context, op *history.Operation) {
	q := op.Produce
	q.Offsets, op.Node = nil, 0
	w := p.writer(producerKey{q.Producer, q.Incarnation, q.Acks})
	if w == nil {
		protocol.Settle(op, history.Failed, errClosed)
		return
	}
	n := int(q.Count)
	if n <= 0 {
		protocol.Settle(op, history.Failed, fmt.Errorf("a produce of %d records", n))
		return
	}
	s := &sending{partition: int(q.Partition), acks: q.Acks, offsets: make([]int64, n), results: make([]error, n), nodes: make([]int32, n)}
	msgs := make([]kafka.Message, n)
	made := p.cfg.values()
	values := make([]byte, 0, n*p.cfg.ValueBytes)
	for i := range msgs {
		s.results[i] = errPending
		start := len(values)
		values = made.Append(values, op, i)
		msgs[i] = kafka.Message{Topic: q.Topic, Value: values[start:len(values):len(values)], WriterData: slot{s, i}}
	}
	// A request may wait for metadata, and for the one before it in its partition. Whatever it still waits for then, the
	// operation ends: acknowledgements that come after the run loop has begun to read the logs back would look like lost records.
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout+p.cfg.DialTimeout)
	defer cancel()
	err := w.WriteMessages(ctx, msgs...)
	outcome, err := s.outcome(err)
	op.Node = s.node()
	protocol.Settle(op, outcome, err)
	if outcome == history.OK {
		q.Offsets = s.offsets
	}
}

// outcome sums up the records of an operation, err being what WriteMessages answered.
func (s *sending) outcome(err error) (history.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.placed < len(s.results) {
		return history.Failed, fmt.Errorf("before anything was sent: %w", err)
	}
	count := map[history.Outcome]int{}
	var worst error
	for _, r := range s.results {
		o := produceOutcome(r)
		count[o]++
		if worst == nil || o == history.Unknown {
			worst = r
		}
	}
	if errors.Is(worst, errPending) {
		worst = err
	}
	switch len(s.results) {
	case count[history.OK]:
		return history.OK, nil
	case count[history.Failed]:
		return history.Failed, describe(worst)
	}
	if count[history.OK] > 0 {
		return history.Unknown, fmt.Errorf("%d of %d records were acknowledged: %w", count[history.OK], len(s.results), worst)
	}
	return history.Unknown, describe(worst)
}

// describe shortens kafka-go's text for an error code to its name, as the other operations have it.
func describe(err error) error {
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return &protocol.BrokerError{Code: int16(code)}
	}
	if err != nil {
		if text, cut := strings.CutPrefix(err.Error(), "kafka.(*Client).Produce: "); cut {
			return errors.New(text)
		}
	}
	return err
}
