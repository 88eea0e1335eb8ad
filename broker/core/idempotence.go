package core

import (
	"slices"

	"soak/broker/bugs"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
)

// Idempotent producers (KIP-98, without transactions). Leader and followers keep the same table of the producers of a partition, made from the
// batches of the log as they are appended, and again from the log at a start and after a truncation. Sequences are judged by the leader alone, against
// its log end: what is in its log, replicated or not, is never appended again.

// Kafka error codes of sequences.
const (
	errOutOfOrderSequence   int16 = 45
	errInvalidProducerEpoch int16 = 47
	errUnknownProducerID    int16 = 59
)

// judge decides on an idempotent producer's batch. errNone with duplicate: it is in the log, at first.
func (r *replica) judge(h batch.Header) (first producers.Batch, duplicate bool, code int16) {
	if r.producers == nil {
		return first, false, errNotLeader // the log was cut just now, and what is left has not been read yet: asked again soon
	}
	verdict, first := r.producers.Judge(h)
	switch verdict {
	case producers.Duplicate:
		return first, true, errNone
	case producers.OutOfOrder:
		return first, false, errOutOfOrderSequence
	case producers.Unknown:
		return first, false, errUnknownProducerID
	case producers.Fenced:
		return first, false, errInvalidProducerEpoch
	}
	return first, false, errNone
}

// noteProducers takes note of batches that were appended to a replica's log, as leader or as follower.
func (n *Node) noteProducers(r *replica, hs []batch.Header) {
	for _, h := range hs {
		if !h.Idempotent() {
			continue
		}
		if r.role != replicaLeader && n.cfg.Bugs.Has(bugs.NoProducerStateOnFollowers) {
			n.bugHit(bugs.NoProducerStateOnFollowers)
			continue
		}
		r.producers.Add(h)
	}
}

// waitFor has a produce wait for the high watermark (acks=all) or this node's disk (acks=1), behind those with the same target or a lower one: a duplicate's lies
// among those of the batches that came after it.
func waitFor(queue []*produceWait, w *produceWait) []*produceWait {
	i, _ := slices.BinarySearchFunc(queue, w.target, func(x *produceWait, target int64) int {
		if x.target <= target {
			return -1
		}
		return 1
	})
	return slices.Insert(queue, i, w)
}
