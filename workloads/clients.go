package workloads

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"soak/history"
	"soak/workloads/protocol"
)

// Defaults of Config.
const (
	DefaultDialTimeout = time.Second
	DefaultTimeout     = 3 * time.Second
	DefaultMetadataTTL = 250 * time.Millisecond
	DefaultValueBytes  = 128
)

// Config is what the clients need to know of a run.
type Config struct {
	// Addrs is where each node's Kafka port is reached, HOST:PORT by node id. Required.
	Addrs map[int32]string
	// Seed makes the padding of the values written.
	Seed uint64
	// RunHash is the run's identity in the header of every value.
	RunHash uint64
	// ValueBytes is the size of a value in bytes, header included; 0 means DefaultValueBytes. A value is never smaller than its header.
	ValueBytes int
	// Batch is how many records a produce operation has, so that kafka-go makes no more room than it takes; 0 where that is not known.
	Batch int
	// DialTimeout bounds the making of a connection; 0 means DefaultDialTimeout.
	DialTimeout time.Duration
	// Timeout bounds one request and its answer; 0 means DefaultTimeout.
	Timeout time.Duration
	// MetadataTTL is the greatest age of the metadata that producers go by; 0 means DefaultMetadataTTL.
	MetadataTTL time.Duration
}

// Clients carries out operations against one cluster. Its methods may be called from many goroutines.
type Clients struct {
	cfg   Config
	nodes []int32 // ids in Addrs, ascending
	wire  *dialer
	prod  *producers
	idem  *idempotents
	acked ackedOffsets // what the consumers go by

	background sync.WaitGroup // closing of what short-lived operations opened
}

// New makes clients; it connects to nothing yet.
func New(cfg Config) (*Clients, error) {
	if len(cfg.Addrs) == 0 {
		return nil, errors.New("making workload clients: no node addresses given")
	}
	if cfg.ValueBytes < 0 {
		return nil, fmt.Errorf("making workload clients: value size %d is negative", cfg.ValueBytes)
	}
	if cfg.ValueBytes == 0 {
		cfg.ValueBytes = DefaultValueBytes
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MetadataTTL <= 0 {
		cfg.MetadataTTL = DefaultMetadataTTL
	}
	c := &Clients{cfg: cfg, wire: newDialer(cfg.DialTimeout)}
	for id := range cfg.Addrs {
		c.nodes = append(c.nodes, id)
	}
	slices.Sort(c.nodes)
	c.prod = newProducers(&c.cfg, c.nodes, c.wire)
	c.idem = newIdempotents(&c.cfg, c.nodes, c.wire)
	return c, nil
}

// values is what makes the values written.
func (c *Config) values() protocol.Values {
	return protocol.Values{RunHash: c.RunHash, Seed: c.Seed, Bytes: c.ValueBytes}
}

// Do carries out op and fills in its answer: Outcome, Error, the results of its kind, and Node where the caller left the
// choice open and the client made one. Invoke and Complete are the caller's. It returns when the answer is there, when ctx
// ends, or when the client's own time-outs have passed; an operation cut off by ctx after it may have been sent is unknown.
func (c *Clients) Do(ctx context.Context, op *history.Operation) {
	switch {
	case op.Produce != nil && op.Produce.Idempotent:
		c.idem.do(ctx, op)
	case op.Produce != nil:
		c.prod.do(ctx, op)
	case op.Meta != nil:
		c.chooseNode(op)
		c.doMeta(ctx, op)
	case op.Create != nil:
		c.chooseNode(op)
		c.doCreate(ctx, op)
	case op.Drain != nil:
		op.Node = op.Drain.Replica
		c.doDrain(ctx, op)
	default:
		protocol.Settle(op, history.Failed, errors.New("the operation asks for nothing"))
	}
	if op.Produce != nil {
		c.acked.see(op)
	}
}

// Close ends every connection, so that calls still under way come back at once, and then waits for the producers' own
// goroutines. Operations begun afterwards fail.
func (c *Clients) Close() {
	c.wire.close()
	c.prod.close()
	c.idem.close()
	c.background.Wait()
}

// chooseNode picks a node for an operation that leaves it open.
func (c *Clients) chooseNode(op *history.Operation) {
	if op.Node == 0 {
		op.Node = protocol.ChooseNode(op, c.nodes)
	}
}

// addr is the address of a node.
func (c *Clients) addr(node int32) (string, error) {
	a, ok := c.cfg.Addrs[node]
	if !ok {
		return "", fmt.Errorf("node %d has no known address", node)
	}
	return a, nil
}
