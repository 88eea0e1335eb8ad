package workloads

import (
	"context"

	"soak/history"
	"soak/workloads/protocol"
)

// doDrain reads a piece of one replica's log on a connection of its own.
func (c *Clients) doDrain(ctx context.Context, op *history.Operation) {
	piece := protocol.NewPiece(op, c.cfg.RunHash)
	conn, err := c.connect(ctx, op.Drain.Replica)
	if err != nil {
		protocol.Settle(op, history.Failed, err)
		return
	}
	defer conn.close()
	for {
		resp, err := conn.ask(ctx, piece.Request(), c.cfg.Timeout)
		if err != nil {
			piece.Broken(err)
			return
		}
		if piece.Answer(resp) {
			return
		}
	}
}
