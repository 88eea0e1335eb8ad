package simclient

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// writerPause is the pause between the attempts of a Writer, in ns: the time that a broker takes to create a topic.
const writerPause = int64(100 * time.Millisecond)

// startAdmin begins a metadata operation or an auto-create: one request on a connection of its own, but for those of a Writer.
func (c *Clients) startAdmin(now int64, op *history.Operation) {
	var req kmsg.Request
	var err error
	switch {
	case !c.knows(op.Node):
		err = fmt.Errorf("node %d is none of this cluster", op.Node)
	case op.Meta != nil:
		req, err = protocol.MetaRequest(op, c.c.RequestTimeout)
	case op.Create.How == gen.HowProduce:
		req = protocol.CreateRequest(op, c.c.RequestTimeout)
	case op.Create.How == gen.HowWriter:
		c.writerAsk(now, c.newTask(now, taskWriter, op))
		return
	default:
		err = fmt.Errorf("no way to auto-create is called %q", op.Create.How)
	}
	if err != nil {
		c.finish(now, op, history.Failed, err)
		return
	}
	c.send(now, c.open(op.Node, nil), c.newTask(now, taskAdmin, op), req, op.ID, c.c.RequestTimeout)
}

func (c *Clients) adminAnswered(now int64, cn *conn, t *task, resp kmsg.Response, index uint64) {
	if t.op.Meta != nil {
		protocol.MetaAnswer(t.op, resp)
		if index != 0 {
			t.op.Meta.Index = index
		}
	} else {
		protocol.CreateAnswer(t.op, resp)
	}
	c.over(now, t)
	c.hangUp(cn)
}

func (c *Clients) adminLost(now int64, t *task, err error, refused bool) {
	protocol.Settle(t.op, lostOutcome(refused), err)
	c.over(now, t)
}

// A Writer asks its node for the topic's metadata, which creates it, and produces to the leader named, again and again until the record is
// written or its time is over.

func (c *Clients) writerAsk(now int64, t *task) {
	if c.writerLate(now, t) {
		return
	}
	c.send(now, c.open(t.op.Node, nil), t, protocol.CreateByMetadataRequest(t.op), "", c.writerLeft(now, t))
}

// writerLeft is how much of a Writer's time is left.
func (c *Clients) writerLeft(now int64, t *task) time.Duration {
	return time.Duration(t.started + int64(c.c.RequestTimeout) - now)
}

func (c *Clients) writerAnswered(now int64, cn *conn, t *task, resp kmsg.Response) {
	t.maybe = true
	wrote := t.state == stateWriting
	c.hangUp(cn)
	if wrote {
		if err := protocol.CreateByWriterAnswer(t.op, resp); err != nil {
			c.writerPauses(now, t, err)
			return
		}
		c.over(now, t)
		return
	}
	leader, err := protocol.CreatedLeader(t.op, resp)
	if err == nil && !c.knows(leader) {
		err = fmt.Errorf("the leader, node %d, is none of this cluster", leader)
	}
	left := c.writerLeft(now, t)
	if err != nil || left <= 0 {
		c.writerPauses(now, t, err)
		return
	}
	c.send(now, c.open(leader, nil), t, protocol.CreateByWriterRequest(t.op, now, c.c.RequestTimeout), "", left)
	t.state = stateWriting
}

func (c *Clients) writerLost(now int64, t *task, err error, refused bool) {
	t.maybe = t.maybe || !refused
	c.writerPauses(now, t, err)
}

func (c *Clients) writerPauses(now int64, t *task, err error) {
	t.state, t.lastErr = stateIdle, err
	if c.writerLate(now, t) {
		return
	}
	c.timers.arm(t, min(now+writerPause, t.started+int64(c.c.RequestTimeout)))
}

// writerLate gives an operation up whose time is over: failed if surely nothing was ever asked of a node.
func (c *Clients) writerLate(now int64, t *task) bool {
	if c.writerLeft(now, t) > 0 {
		return false
	}
	err := t.lastErr
	if err == nil {
		err = fmt.Errorf("not written within %v", c.c.RequestTimeout)
	}
	protocol.Settle(t.op, lostOutcome(!t.maybe), fmt.Errorf("writing to %s at n%d: %w", t.op.Create.Topic, t.op.Node, err))
	c.over(now, t)
	return true
}
