package workloads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// writerPause is the pause between the attempts of a Writer: the time that a broker takes to create a topic.
const writerPause = 100 * time.Millisecond

// doCreate uses a topic that does not exist yet, at the operation's node.
func (c *Clients) doCreate(ctx context.Context, op *history.Operation) {
	switch op.Create.How {
	case gen.HowProduce:
		c.createByProduce(ctx, op)
	case gen.HowWriter:
		c.createByWriter(ctx, op)
	default:
		protocol.Settle(op, history.Failed, fmt.Errorf("no way to auto-create is called %q", op.Create.How))
	}
}

// createByProduce sends one Produce with one record straight to the node.
func (c *Clients) createByProduce(ctx context.Context, op *history.Operation) {
	resp, err := c.askOnce(ctx, op.Node, protocol.CreateRequest(op, c.cfg.Timeout))
	if err != nil {
		protocol.Settle(op, transportOutcome(err), err)
		return
	}
	protocol.CreateAnswer(op, resp)
}

// createByWriter has kafka-go's Writer, bound to the node, write one record: it asks that node for the topic's Metadata, which
// creates it. The Writer is tried again until the record is written or the time-out has passed. Its transport lives as long as the
// operation, so that no background refresh goes on asking a node of its own accord.
func (c *Clients) createByWriter(ctx context.Context, op *history.Operation) {
	addr, err := c.addr(op.Node)
	if err != nil {
		protocol.Settle(op, history.Failed, err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	transport := &kafka.Transport{
		Dial:           c.wire.dial,
		DialTimeout:    c.cfg.DialTimeout,
		MetadataTTL:    c.cfg.DialTimeout,
		MetadataTopics: []string{op.Create.Topic},
		ClientID:       "soak-" + op.Client,
	}
	w := &kafka.Writer{
		Addr:                   kafka.TCP(addr),
		Topic:                  op.Create.Topic,
		MaxAttempts:            1,
		BatchSize:              1,
		BatchTimeout:           time.Millisecond,
		ReadTimeout:            c.cfg.Timeout,
		WriteTimeout:           c.cfg.Timeout,
		RequiredAcks:           kafka.RequireAll,
		AllowAutoTopicCreation: true,
		Transport:              transport,
	}
	// The Writer's Close waits for a write under way, up to its time-out; nobody needs to wait for that here.
	defer c.background.Go(func() {
		w.Close()
		transport.CloseIdleConnections()
	})

	outcome := history.Failed
	for {
		err = w.WriteMessages(ctx, kafka.Message{Value: []byte(op.ID)})
		if err == nil {
			protocol.Settle(op, history.OK, nil)
			return
		}
		var each kafka.WriteErrors
		if errors.As(err, &each) {
			err = each[0] // of the one message
		}
		if _, ok := errors.AsType[*notSent](err); !ok {
			outcome = history.Unknown // a Metadata may have reached the node
		}
		if !pause(ctx, writerPause) {
			protocol.Settle(op, outcome, fmt.Errorf("writing to %s at n%d: %w", op.Create.Topic, op.Node, err))
			return
		}
	}
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
