package workloads

import (
	"context"

	"soak/history"
	"soak/workloads/protocol"
)

// doMeta carries out a metadata operation: one request to the operation's node on a connection of its own, never repeated.
func (c *Clients) doMeta(ctx context.Context, op *history.Operation) {
	req, err := protocol.MetaRequest(op, c.cfg.Timeout)
	if err != nil {
		protocol.Settle(op, history.Failed, err)
		return
	}
	resp, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		protocol.Settle(op, transportOutcome(err), err)
		return
	}
	protocol.MetaAnswer(op, resp)
}
