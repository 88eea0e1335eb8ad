package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/broker/meta"
)

// InitProducerId (key 22), versions 0 to 5, for idempotent producers alone. Every request gets a new id of epoch 0, whatever id it names: without a
// transactional id there is nobody to fence (KIP-360). The controller takes the id through the raft log, so that no id is ever given twice.
// A transactional id is refused with UNSUPPORTED_VERSION, as Kafka did where it had no transactions (the first KRaft releases).

// onInitProducerID has the controller give an id. What fails is answered with COORDINATOR_LOAD_IN_PROGRESS, on which every client asks again; an id
// that was taken all the same is never used.
func (n *Node) onInitProducerID(rq *request, req *kmsg.InitProducerIDRequest) {
	fail := func(code int16) {
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch, resp.ErrorCode = -1, -1, code
		n.reply(rq, resp)
	}
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		fail(errInvalidRequest)
	case req.TransactionalID != nil:
		fail(errUnsupportedVersion)
	default:
		n.passOn(rq, "init_producer_id", func(int16) { fail(errCoordinatorLoading) })
	}
}

// onNewProducerID is the controller's part.
func (n *Node) onNewProducerID(req *kmsg.InitProducerIDRequest, info ctlInfo, done func(ctlResult)) {
	cmd := &meta.Command{Via: info.via, Cause: info.cause, Op: info.op, Producer: &meta.NewProducerID{}}
	n.proposeFor(cmd, done, func(a applied) ctlResult {
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch = n.givenID(a.res.ProducerID), 0
		return ctlResult{resp: resp, index: a.index}
	})
}

// givenID is the producer id that a client is told: the one that the applied command took.
func (n *Node) givenID(taken int64) int64 {
	if !n.cfg.Bugs.Has(bugs.PIDCounterVolatile) {
		return taken
	}
	id := n.ctl.givenIDs
	n.ctl.givenIDs++
	if id != taken {
		n.bugHit(bugs.PIDCounterVolatile)
	}
	return id
}
