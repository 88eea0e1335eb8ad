package workloads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// Ways to have a topic created by using it (history.AutoCreateOp.How).
const (
	howProduce = "produce"
	howWriter  = "writer"
)

// writerPause is the pause between the attempts of a Writer: the time that a broker takes to create a topic.
const writerPause = 100 * time.Millisecond

// doCreate uses a topic that does not exist yet, at the operation's node.
func (c *Clients) doCreate(ctx context.Context, op *history.Operation) {
	switch op.Create.How {
	case howProduce:
		c.createByProduce(ctx, op)
	case howWriter:
		c.createByWriter(ctx, op)
	default:
		settle(op, history.Failed, fmt.Errorf("no way to auto-create is called %q", op.Create.How))
	}
}

// createByProduce sends one Produce with one record straight to the node. Any answer is ok: a node that does not lead the
// new partition says so, and has created the topic all the same. Version 12 is the last that names topics.
func (c *Clients) createByProduce(ctx context.Context, op *history.Operation) {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks = -1
	req.TimeoutMillis = c.requestMillis()
	tagged(&req.UnknownTags, op)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = appendBatch(nil, op.Invoke/int64(time.Millisecond), []byte(op.ID))
	t := kmsg.NewProduceRequestTopic()
	t.Topic = op.Create.Topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		settle(op, transportOutcome(err), err)
		return
	}
	resp := answer.(*kmsg.ProduceResponse)
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		settle(op, history.Unknown, errNotAnswered)
		return
	}
	settle(op, history.OK, nil)
	op.Error = codeName(resp.Topics[0].Partitions[0].ErrorCode)
}

// createByWriter has kafka-go's Writer, bound to the node, write one record: it asks that node for the topic's Metadata, which
// creates it. The Writer is tried again until the record is written or the time-out has passed. Its transport lives as long as the
// operation, so that no background refresh goes on asking a node of its own accord.
func (c *Clients) createByWriter(ctx context.Context, op *history.Operation) {
	addr, err := c.addr(op.Node)
	if err != nil {
		settle(op, history.Failed, err)
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
			settle(op, history.OK, nil)
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
			settle(op, outcome, fmt.Errorf("writing to %s at n%d: %w", op.Create.Topic, op.Node, err))
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
