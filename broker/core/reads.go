package core

import (
	"bytes"
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"
)

// reads makes metadata answers linearizable: the raft leader confirms its leadership to a majority and names an index
// (ReadIndex, raft thesis 6.4); the answer is given at or past that index. All requests that wait at one Ready share one confirmation.
type reads struct {
	next  uint64  // number of the last ReadIndex; never used twice in a boot, so that a late answer confirms nothing younger
	fresh []*read // not asked for yet
	asked []*readBatch
}

// readBatch is one ReadIndex and the reads that share it.
type readBatch struct {
	ctx   uint64
	reads []*read
	retry *timer
}

type read struct {
	deadline int64
	ok       func(index uint64)
	fail     func()
}

func (r *reads) waiting() int {
	c := len(r.fresh)
	for _, b := range r.asked {
		c += len(b.reads)
	}
	return c
}

// linearizable calls ok once this node's applied state holds everything that was committed when it was called, or fail if that
// is not confirmed in time.
func (n *Node) linearizable(ok func(index uint64), fail func()) {
	n.reads.fresh = append(n.reads.fresh, &read{deadline: n.now + int64(readTimeout), ok: ok, fail: fail})
}

// flushReads asks for one confirmation for all fresh reads.
func (n *Node) flushReads() {
	if len(n.reads.fresh) > 0 {
		fresh := n.reads.fresh
		n.reads.fresh = nil
		n.askRead(fresh)
	}
}

func (n *Node) askRead(rs []*read) {
	n.reads.next++
	b := &readBatch{ctx: n.reads.next, reads: rs}
	n.reads.asked = append(n.reads.asked, b)
	n.rn.ReadIndex(n.readContext(b.ctx))
	// The next look is when the first of them may give up, at the latest after the retry period.
	wait := readRetry
	for _, r := range rs {
		wait = min(wait, max(time.Duration(r.deadline-n.now), time.Millisecond))
	}
	b.retry = n.after(wait, func() { n.retryRead(b) })
}

// readContext names a ReadIndex of this boot of this node among all that the leader may be asked for: the numbers begin anew in each boot.
func (n *Node) readContext(number uint64) []byte {
	ctx := make([]byte, 20)
	binary.BigEndian.PutUint64(ctx, number)
	binary.BigEndian.PutUint64(ctx[8:], n.cfg.Boot)
	binary.BigEndian.PutUint32(ctx[16:], uint32(n.cfg.ID))
	return ctx
}

// retryRead gives up what has waited too long and asks again, with a new context, for the rest.
func (n *Node) retryRead(b *readBatch) {
	n.forgetBatch(b)
	var left []*read
	for _, r := range b.reads {
		if n.now >= r.deadline {
			r.fail()
		} else {
			left = append(left, r)
		}
	}
	if len(left) > 0 {
		n.askRead(left)
	}
}

func (n *Node) forgetBatch(b *readBatch) {
	for i, x := range n.reads.asked {
		if x == b {
			n.reads.asked = append(n.reads.asked[:i], n.reads.asked[i+1:]...)
			return
		}
	}
}

// readConfirmed takes raft's confirmation of one context. One that an earlier boot asked for may come late: it names an index of that time, and
// confirms nothing of what is asked now.
func (n *Node) readConfirmed(rs raft.ReadState) {
	for _, b := range n.reads.asked {
		if bytes.Equal(rs.RequestCtx, n.readContext(b.ctx)) {
			b.retry.cancel()
			n.forgetBatch(b)
			for _, r := range b.reads {
				n.answerAt(rs.Index, r)
			}
			return
		}
	}
}

// answerAt answers a confirmed read once its index is applied here, or fails it when that does not come in time either.
func (n *Node) answerAt(index uint64, r *read) {
	over := false
	if n.applied >= index {
		r.ok(index)
		return
	}
	t := n.timers.at(r.deadline, func() {
		if !over {
			over = true
			r.fail()
		}
	})
	n.whenApplied(index, func() {
		if !over {
			over = true
			t.cancel()
			r.ok(index)
		}
	})
}

// whenAppliedOr calls f when index is applied here or after d, whichever comes first.
func (n *Node) whenAppliedOr(index uint64, d time.Duration, f func()) {
	called := false
	once := func() {
		if !called {
			called = true
			f()
		}
	}
	if n.applied < index {
		t := n.after(d, once)
		n.whenApplied(index, func() { t.cancel(); once() })
		return
	}
	once()
}
