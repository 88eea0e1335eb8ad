package core

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// Fetch (key 1), versions 4 to 14 from clients: from the leader, below the high watermark, with long polling (MinBytes, MaxWait),
// leader epochs (KIP-320) and without fetch sessions (a session id of 0 declines them, KIP-227). READ_COMMITTED reads like
// READ_UNCOMMITTED, as there are no transactions. Replica id -2, the debugging consumer, is answered by any replica up to its
// log end. Followers ask by PeerMessage and get their leader's log end, and where their log diverges (KIP-595).

// Kafka error codes that only reading answers with.
const (
	errStorage              int16 = 56
	errClusterAuthorization int16 = 31
	errFetchSessionNotFound int16 = 70
	errOffsetNotAvailable   int16 = 78
)

// debuggingConsumer is the replica id of a reader that may read any replica up to its log end.
const debuggingConsumer int32 = -2

type fetchKind uint8

const (
	fetchConsumer fetchKind = iota
	fetchDebug
	fetchFollower
)

// fetchCall is one fetch, of a client or a follower, until it is answered.
type fetchCall struct {
	kind  fetchKind
	rq    *request // clients
	from  int32    // followers
	boot  uint64
	num   uint64
	req   *kmsg.FetchRequest
	resp  *kmsg.FetchResponse
	parts []fetchPart

	timer *timer
	due   bool // MaxWait is over
	done  bool
	reads int // cold reads under way
}

// fetchPart is one partition of a fetch. q and a point into the request and the answer.
type fetchPart struct {
	r    *replica // nil: code says why
	code int16
	q    *kmsg.FetchRequestTopicPartition
	a    *kmsg.FetchResponseTopicPartition
}

func (n *Node) onFetch(rq *request, req *kmsg.FetchRequest) {
	c := &fetchCall{rq: rq, req: req, resp: req.ResponseKind().(*kmsg.FetchResponse)}
	replica := req.ReplicaID
	if req.Version >= 15 {
		replica = req.ReplicaState.ID
	}
	switch {
	case req.SessionID != 0:
		c.resp.ErrorCode = errFetchSessionNotFound
		n.reply(rq, c.resp)
		return
	case replica == debuggingConsumer:
		c.kind = fetchDebug
	}
	n.buildFetch(c, func(t *kmsg.FetchRequestTopic) (*meta.Topic, int16) {
		if req.Version >= 13 {
			return n.state.TopicByID(t.TopicID), errUnknownTopicID
		}
		return n.state.Topic(t.Topic), errUnknownTopicOrPartition
	})
	if replica >= 0 {
		for i := range c.parts { // followers do not come by the clients' door
			c.parts[i].r, c.parts[i].code = nil, errClusterAuthorization
		}
	}
	n.serveFetch(c)
}

// onPeerFetch serves a follower. A fetch of another boot than the registered one is refused (KIP-903): it could speak of
// a log that is gone since.
func (n *Node) onPeerFetch(from int32, fromBoot uint64, m *PeerFetch) {
	if m.Req == nil {
		return
	}
	n.dropPeerFetch(from, 0) // the follower has given up on what it asked before
	c := &fetchCall{kind: fetchFollower, from: from, boot: fromBoot, num: m.Num, req: m.Req, resp: m.Req.ResponseKind().(*kmsg.FetchResponse)}
	if fromBoot != n.bootOf(from) || uint64(m.Req.ReplicaState.Epoch) != fromBoot || m.Req.ReplicaState.ID != from {
		c.resp.ErrorCode = errStaleBrokerEpoch
		n.sendFetch(c)
		return
	}
	n.buildFetch(c, func(t *kmsg.FetchRequestTopic) (*meta.Topic, int16) {
		return n.state.TopicByID(t.TopicID), errUnknownTopicID
	})
	for i := range c.parts {
		p := &c.parts[i]
		if p.r == nil {
			continue
		}
		f := p.r.follower(from)
		if p.r.role == replicaLeader && f == nil {
			p.r, p.code = nil, errNotLeader // not a replica of this partition
			continue
		}
		if code := n.fetchError(c, p); code == errNone && p.q.FetchOffset >= p.r.start && p.q.FetchOffset <= p.r.end {
			if _, _, diverges := c.divergesAt(p.r, p.q); !diverges {
				n.followerFetched(p.r, f, fromBoot, p.q.FetchOffset)
			}
		}
	}
	n.serveFetch(c)
}

// buildFetch lays out the answer in the request's order and finds the replicas.
func (n *Node) buildFetch(c *fetchCall, find func(*kmsg.FetchRequestTopic) (*meta.Topic, int16)) {
	c.resp.Topics = make([]kmsg.FetchResponseTopic, len(c.req.Topics))
	count := 0
	for ti := range c.req.Topics {
		count += len(c.req.Topics[ti].Partitions)
	}
	c.parts = make([]fetchPart, 0, count)
	for ti := range c.req.Topics {
		qt, at := &c.req.Topics[ti], &c.resp.Topics[ti]
		at.Default()
		at.Topic, at.TopicID = qt.Topic, qt.TopicID
		at.Partitions = make([]kmsg.FetchResponseTopicPartition, len(qt.Partitions))
		t, unknown := find(qt)
		for pi := range qt.Partitions {
			p := fetchPart{q: &qt.Partitions[pi], a: &at.Partitions[pi]}
			p.r, p.code = n.replicaOf(t, p.q.Partition, unknown)
			c.parts = append(c.parts, p)
		}
	}
}

// replicaOf finds this node's replica, or the code that says why there is none to ask.
func (n *Node) replicaOf(t *meta.Topic, p int32, unknown int16) (*replica, int16) {
	switch {
	case !n.repl.active:
		return nil, errNotLeader // it knows only the past
	case t == nil:
		return nil, unknown
	case p < 0 || int(p) >= len(t.Partitions):
		return nil, errUnknownTopicOrPartition
	}
	r := n.repl.parts[PartitionID{Topic: t.ID, Partition: p}]
	if r == nil {
		return nil, errNotLeader
	}
	return r, errNone
}

// checkEpoch compares the leader epoch that a client or follower believes in, -1 if it says none (KIP-320).
func (r *replica) checkEpoch(epoch int32) int16 {
	switch {
	case epoch < 0 || epoch == r.state.LeaderEpoch:
		return errNone
	case epoch < r.state.LeaderEpoch:
		return errFencedLeaderEpoch
	}
	return errUnknownLeaderEpoch
}

// fetchError is why a partition of a fetch cannot be served, offsets apart.
func (n *Node) fetchError(c *fetchCall, p *fetchPart) int16 {
	switch {
	case p.r == nil:
		return p.code
	case p.r.deleted && (c.kind == fetchFollower || c.req.Version >= 13):
		return errUnknownTopicID
	case p.r.deleted:
		return errUnknownTopicOrPartition
	}
	if code := p.r.checkEpoch(p.q.CurrentLeaderEpoch); code != errNone {
		return code
	}
	if c.kind != fetchDebug && p.r.role != replicaLeader {
		return errNotLeader
	}
	return errNone
}

// divergesAt says where the log of who asks parts from the replica's. A follower that ends where the replica's log begins, with an epoch older than all that are
// left, may have parted before that, and nobody can tell any more: it has to begin anew there. A member of the ISR has what was committed, and all below a log
// start was.
func (c *fetchCall) divergesAt(r *replica, q *kmsg.FetchRequestTopicPartition) (epoch int32, end int64, diverges bool) {
	epoch, end, diverges = r.divergesAt(q.LastFetchedEpoch, q.FetchOffset)
	if !diverges && c.kind == fetchFollower && r.forgot(q.LastFetchedEpoch, q.FetchOffset) && !slices.Contains(r.state.ISR, c.from) {
		return q.LastFetchedEpoch, r.start, true
	}
	return epoch, end, diverges
}

// limit is the offset below which a fetch may read.
func (c *fetchCall) limit(r *replica) int64 {
	if c.kind == fetchConsumer {
		return r.hw
	}
	return r.end
}

// serveFetch answers a fetch now or parks it until there is enough to give or MaxWait is over.
func (n *Node) serveFetch(c *fetchCall) {
	if n.enough(c) {
		n.answerFetch(c)
		return
	}
	c.timer = n.after(time.Duration(c.req.MaxWaitMillis)*time.Millisecond, func() {
		c.due = true
		n.unpark(c)
		n.answerFetch(c)
	})
	n.repl.parked = append(n.repl.parked, c)
}

func (n *Node) unpark(c *fetchCall) {
	n.repl.parked = slices.DeleteFunc(n.repl.parked, func(x *fetchCall) bool { return x == c })
}

// enough reports whether a fetch is to be answered without more waiting: MinBytes are there, or a partition has an error, diverges or (for a
// follower) has a high watermark that it does not know.
func (n *Node) enough(c *fetchCall) bool {
	if c.due || c.req.MaxWaitMillis <= 0 || c.req.MinBytes <= 0 || len(c.parts) == 0 {
		return true
	}
	have, want := 0, int(c.req.MinBytes)
	for i := range c.parts {
		p := &c.parts[i]
		if n.fetchError(c, p) != errNone {
			return true
		}
		r, limit := p.r, c.limit(p.r)
		_, _, diverges := c.divergesAt(r, p.q)
		if diverges || p.q.FetchOffset < r.start || p.q.FetchOffset > r.end || c.kind == fetchFollower && r.hw > p.q.HighWatermark {
			return true
		}
		if p.q.FetchOffset < limit {
			size, cached := r.cache.size(p.q.FetchOffset, limit, want)
			if !cached {
				return true // old enough to have left the cache: there is plenty
			}
			have += min(size, max(int(p.q.PartitionMaxBytes), 1))
		}
	}
	return have >= want
}

// wakeFetches answers the parked fetches that have got what they wait for since the last Ready.
func (n *Node) wakeFetches() {
	if len(n.repl.touched) == 0 {
		return
	}
	var awake []*fetchCall
	n.repl.parked = slices.DeleteFunc(n.repl.parked, func(c *fetchCall) bool {
		if slices.ContainsFunc(c.parts, func(p fetchPart) bool { return p.r != nil && p.r.isTouched }) && n.enough(c) {
			awake = append(awake, c)
			return true
		}
		return false
	})
	for _, r := range n.repl.touched {
		r.isTouched = false
	}
	n.repl.touched = n.repl.touched[:0]
	for _, c := range awake {
		c.timer.cancel()
		n.answerFetch(c)
	}
}

// answerFetch collects what there is, at most MaxBytes but at least one batch, and answers when the cold reads are done.
func (n *Node) answerFetch(c *fetchCall) {
	left, first := int(min(c.req.MaxBytes, n.cfg.MaxFetchBytes)), true
	for i := range c.parts {
		p := &c.parts[i]
		p.a.Default()
		p.a.Partition, p.a.HighWatermark = p.q.Partition, -1
		p.a.RecordBatches = []byte{} // Kafka never answers null here
		if p.a.ErrorCode = n.fetchError(c, p); p.a.ErrorCode != errNone {
			if p.r != nil && !p.r.deleted {
				p.a.CurrentLeader.LeaderID, p.a.CurrentLeader.LeaderEpoch = p.r.state.Leader, p.r.state.LeaderEpoch
			}
			continue
		}
		r := p.r
		epoch, end, diverges := c.divergesAt(r, p.q)
		if !diverges && (p.q.FetchOffset < r.start || p.q.FetchOffset > r.end) {
			p.a.ErrorCode, p.a.LogStartOffset = errOffsetOutOfRange, r.start
			continue
		}
		p.a.HighWatermark, p.a.LastStableOffset, p.a.LogStartOffset = r.hw, r.hw, r.start
		if diverges {
			p.a.DivergingEpoch.Epoch, p.a.DivergingEpoch.EndOffset = epoch, end
			continue
		}
		limit := c.limit(r)
		if p.q.FetchOffset >= limit || left <= 0 && !first {
			continue
		}
		most := min(max(int(p.q.PartitionMaxBytes), 0), left)
		data, cached := r.cache.read(p.q.FetchOffset, limit, most, first)
		if !cached && most <= 0 && !first {
			continue
		} else if !cached {
			n.coldRead(c, p, min(limit, r.durable), max(most, 1))
			// It gives at least one batch, however little was asked: that is what it may cost, and what bounds the reads of one fetch.
			left, first = left-max(most, int(n.maxBatch(r.topic))), false
			continue
		}
		if len(data) > 0 {
			p.a.RecordBatches = data
		}
		left -= len(data)
		first = first && len(data) == 0
	}
	if c.reads == 0 {
		n.sendFetch(c)
	}
}

// bound empties what goes beyond the answer's bytes: a cold read gives at least one batch, however large.
func (c *fetchCall) bound(maxBytes int) {
	total := 0
	for i := range c.parts {
		a := c.parts[i].a
		if total > 0 && total+len(a.RecordBatches) > maxBytes {
			a.RecordBatches = []byte{}
		}
		total += len(a.RecordBatches)
	}
}

// coldRead reads from disk what is no longer in memory. What was not durable when it began is cut off: a truncation and other
// batches could have come between.
func (n *Node) coldRead(c *fetchCall, p *fetchPart, limit int64, most int) {
	r, truncations, epoch := p.r, p.r.truncations, p.r.state.LeaderEpoch
	c.reads++
	n.submit(DiskOp{Kind: OpLogRead, Part: r.id, Offset: p.q.FetchOffset, Max: int32(most)}, func(d *DiskDone) {
		c.reads--
		code := n.fetchError(c, p)
		switch {
		case code == errNone && (r.truncations != truncations || c.kind != fetchDebug && r.state.LeaderEpoch != epoch):
			code = errNotLeader
		case code == errNone && p.q.FetchOffset < r.start:
			code, p.a.LogStartOffset = errOffsetOutOfRange, r.start // retention was quicker
		case code == errNone && d.Err != nil:
			code = errStorage
		}
		if code != errNone {
			p.a.ErrorCode = code
		} else if data := trimBatches(d.Data, p.q.FetchOffset, limit); len(data) > 0 {
			p.a.RecordBatches = data
		}
		if c.reads == 0 {
			c.bound(int(min(c.req.MaxBytes, n.cfg.MaxFetchBytes)))
			n.sendFetch(c)
		}
	})
}

func (n *Node) sendFetch(c *fetchCall) {
	if c.done {
		return
	}
	c.done = true
	if c.kind == fetchFollower {
		n.send(c.from, &PeerMessage{FetchResp: &PeerFetchResp{Num: c.num, Resp: c.resp}})
		return
	}
	n.reply(c.rq, c.resp)
}

// dropPeerFetch forgets the fetch of a follower that is parked here, unless it came in the boot keep.
func (n *Node) dropPeerFetch(from int32, keep uint64) {
	n.repl.parked = slices.DeleteFunc(n.repl.parked, func(c *fetchCall) bool {
		if c.kind != fetchFollower || c.from != from || c.boot == keep {
			return false
		}
		c.timer.cancel()
		c.done = true
		return true
	})
}

// dropGoneFetches forgets the parked fetches of connections that have closed.
func (n *Node) dropGoneFetches() {
	n.repl.parked = slices.DeleteFunc(n.repl.parked, func(c *fetchCall) bool {
		if c.rq == nil || !c.rq.conn.gone {
			return false
		}
		c.timer.cancel()
		return true
	})
}
