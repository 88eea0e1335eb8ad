package core

import (
	"slices"

	"soak/broker/bugs"
)

// follower is what a leader knows of another replica in this leader epoch.
type follower struct {
	id       int32
	boot     uint64 // that its last accepted fetch carried
	end      int64  // its durable log end, which is the offset that it asks for; -1 until it asked
	fetched  int64  // time of its last fetch, 0 if none
	askedEnd int64  // our log end at that time
	caughtUp int64  // last time at which it had everything that we had
}

func (r *replica) follower(id int32) *follower {
	for i := range r.followers {
		if r.followers[i].id == id {
			return &r.followers[i]
		}
	}
	return nil
}

// lead begins a leader epoch. Its start is noted at once, so that followers with other batches are told to cut them even
// before this leader has written anything.
func (n *Node) lead(r *replica) {
	r.beginEpoch(r.state.LeaderEpoch)
	r.epochStart = r.epochs[len(r.epochs)-1].Start
	r.alter, r.adding = alterMark{}, nil
	for _, id := range r.state.Replicas {
		if id == n.cfg.ID {
			continue
		}
		f := follower{id: id, end: -1}
		if slices.Contains(r.state.ISR, id) {
			f.caughtUp = n.now // members get the whole lag time to find their new leader
		}
		r.followers = append(r.followers, f)
	}
	n.advanceHW(r)
	n.noteISR(r)
}

// followerFetched takes a follower's fetch as the report of its durable log end. The caller has checked epoch, boot and divergence.
func (n *Node) followerFetched(r *replica, f *follower, boot uint64, offset int64) {
	r.noteFetch(f, boot, offset, n.now)
	n.advanceHW(r)
	if !slices.Contains(r.state.ISR, f.id) {
		n.noteISR(r)
	}
}

// noteFetch keeps when a follower had everything: now, or at its last fetch if it has by now what there was then.
func (r *replica) noteFetch(f *follower, boot uint64, offset, now int64) {
	if offset >= r.end {
		f.caughtUp = now
	} else if f.fetched != 0 && offset >= f.askedEnd {
		f.caughtUp = max(f.caughtUp, f.fetched)
	}
	f.boot, f.end, f.fetched, f.askedEnd = boot, offset, now, r.end
}

// committedEnd is the offset below which everything is durable on every member: of the committed ISR, as removals count only
// when committed, and of those being added, as they may be members already. -1 if a member has not reported yet.
func (r *replica) committedEnd() int64 {
	low := r.durable
	for i := range r.followers {
		f := &r.followers[i]
		if slices.Contains(r.state.ISR, f.id) || slices.Contains(r.adding, f.id) {
			low = min(low, f.end)
		}
	}
	return low
}

// advanceHW raises the leader's high watermark; it never goes back in an epoch.
func (n *Node) advanceHW(r *replica) {
	end := r.committedEnd()
	if n.cfg.Bugs.Has(bugs.HWIsLeaderLEO) && r.durable > end {
		n.bugHit(bugs.HWIsLeaderLEO)
		end = r.durable
	}
	if end <= r.hw {
		return
	}
	r.hw = end
	n.touch(r)
	n.noteMoved(r)
	n.releaseHW(r)
}

// releaseHW answers the acks=all requests that the high watermark has passed.
func (n *Node) releaseHW(r *replica) {
	code := errNone
	if len(r.state.ISR) < r.topic.MinISR() {
		code = errNotEnoughAfterAppend
	}
	for len(r.waitHW) > 0 && r.waitHW[0].target <= r.hw {
		w := r.waitHW[0]
		r.waitHW = r.waitHW[1:]
		if code != errNone {
			n.produceFailed(w, code)
		} else {
			n.produceDone(w)
		}
		if n.cfg.Bugs.Has(bugs.LostWakeup) && len(r.waitHW) > 0 && r.waitHW[0].target <= r.hw {
			n.bugHit(bugs.LostWakeup)
			return
		}
	}
}

// releaseDurable answers the acks=1 requests that are on this node's disk.
func (n *Node) releaseDurable(r *replica) {
	for len(r.waitDurable) > 0 && r.waitDurable[0].target <= r.durable {
		w := r.waitDurable[0]
		r.waitDurable = r.waitDurable[1:]
		n.produceDone(w)
	}
}
