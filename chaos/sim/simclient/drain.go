package simclient

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

// startDrain reads a piece of one replica's log, fetch after fetch on a connection of its own.
func (c *Clients) startDrain(now int64, op *history.Operation) {
	t := c.newTask(now, taskDrain, op)
	t.piece = protocol.NewPiece(op, c.c.RunHash)
	if !c.knows(op.Node) {
		c.finish(now, op, history.Failed, fmt.Errorf("node %d is none of this cluster", op.Node))
		c.free(t)
		return
	}
	c.send(now, c.open(op.Node, nil), t, t.piece.Request(), "", c.c.RequestTimeout)
}

func (c *Clients) drainAnswered(now int64, cn *conn, t *task, resp kmsg.Response) {
	if !t.piece.Answer(resp) {
		c.send(now, cn, t, t.piece.Request(), "", c.c.RequestTimeout)
		return
	}
	c.over(now, t)
	c.hangUp(cn)
}
