package core

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/broker/partlog/batch"
)

// Produce (key 0), versions 0 to 12; record batches (message format 2) come with version 3 and later, older formats are refused. Each
// partition of a request is decided on its own, and the answer leaves when all are. acks=all waits for the high watermark,
// acks=1 for this node's disk, acks=0 gets no answer, or a closed connection if anything went wrong (as Kafka does, so that the
// client looks for the leader). A batch that an idempotent producer sends again is acknowledged with its first offset, as soon as it is as safe
// as is asked for (idempotence.go).

// Kafka error codes that only Produce answers with.
const (
	errInvalidTimestamp       int16 = 32
	errUnsupportedCompression int16 = 76
	errInvalidRecord          int16 = 87
)

// produceCall is one Produce request until it is answered.
type produceCall struct {
	rq    *request
	req   *kmsg.ProduceRequest
	resp  *kmsg.ProduceResponse
	left  int            // partitions without an outcome
	waits []*produceWait // those that were appended
	timer *timer
	done  bool
}

// produceWait is one appended partition of a request, waiting until its log end target is safe enough.
type produceWait struct {
	call   *produceCall
	r      *replica
	a      *kmsg.ProduceResponseTopicPartition
	base   int64
	target int64
	over   bool
}

func (n *Node) onProduce(rq *request, req *kmsg.ProduceRequest) {
	c := &produceCall{rq: rq, req: req, resp: req.ResponseKind().(*kmsg.ProduceResponse)}
	c.resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	var missing []string
	for ti := range req.Topics {
		qt, at := &req.Topics[ti], &c.resp.Topics[ti]
		at.Default()
		at.Topic, at.TopicID = qt.Topic, qt.TopicID
		at.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(qt.Partitions))
		for pi := range qt.Partitions {
			at.Partitions[pi].Default()
			at.Partitions[pi].Partition, at.Partitions[pi].BaseOffset = qt.Partitions[pi].Partition, -1
			c.left++
		}
		if req.Version < 13 && n.state.Topic(qt.Topic) == nil && validTopicName(qt.Topic) && !internalTopic(qt.Topic) && !slices.Contains(missing, qt.Topic) {
			missing = append(missing, qt.Topic)
		}
	}
	n.repl.waiting++
	if req.Acks < -1 || req.Acks > 1 {
		n.failAll(c, errInvalidRequiredAcks)
		return
	}
	if n.cfg.AutoCreate && len(missing) > 0 {
		n.autoCreate(missing, "auto_create_produce", rq.Op, func() { n.admit(c) })
		return
	}
	n.admit(c)
}

// maxProduceWait bounds what a client may ask to be waited for.
const maxProduceWait = time.Minute

// dropBacklog forgets what a connection that is gone has waiting for the disk: nothing of it was appended.
func (n *Node) dropBacklog(c *conn) {
	var gone []*produceCall
	n.repl.backlog = slices.DeleteFunc(n.repl.backlog, func(p *produceCall) bool {
		if p.rq.conn == c {
			gone = append(gone, p)
			return true
		}
		return false
	})
	for _, p := range gone {
		n.failAll(p, errRequestTimedOut)
	}
}

// admit appends a request's batches, or has it wait behind those that wait for the disk.
func (n *Node) admit(c *produceCall) {
	c.timer = n.after(min(time.Duration(max(c.req.TimeoutMillis, 0))*time.Millisecond, maxProduceWait), func() { n.produceLate(c) })
	if len(n.repl.backlog) > 0 || n.repl.queued >= n.cfg.MaxQueuedDiskBytes {
		n.repl.backlog = append(n.repl.backlog, c)
		return
	}
	n.produce(c)
}

// drainBacklog appends what was waiting for the disk, as far as there is room now.
func (n *Node) drainBacklog() {
	for len(n.repl.backlog) > 0 && n.repl.queued < n.cfg.MaxQueuedDiskBytes {
		c := n.repl.backlog[0]
		n.repl.backlog[0] = nil
		n.repl.backlog = n.repl.backlog[1:]
		n.produce(c)
	}
}

func (n *Node) produce(c *produceCall) {
	if c.left == 0 {
		n.answerProduce(c)
		return
	}
	for ti := range c.req.Topics {
		qt := &c.req.Topics[ti]
		t, unknown := n.state.Topic(qt.Topic), errUnknownTopicOrPartition
		if c.req.Version >= 13 {
			t, unknown = n.state.TopicByID(qt.TopicID), errUnknownTopicID
		}
		for pi := range qt.Partitions {
			a := &c.resp.Topics[ti].Partitions[pi]
			if code := n.producePartition(c, qt.Topic, t, unknown, &qt.Partitions[pi], a); code != errNone {
				n.setProduceError(c, a, t, code)
				n.settle(c)
			}
		}
	}
}

// producePartition appends one partition's batch and leaves a wait for it, or says why not: then nothing was appended.
func (n *Node) producePartition(c *produceCall, name string, t *meta.Topic, unknown int16, q *kmsg.ProduceRequestTopicPartition, a *kmsg.ProduceResponseTopicPartition) int16 {
	if t != nil && internalTopic(t.Name) || c.req.Version < 13 && (internalTopic(name) || !validTopicName(name)) {
		return errInvalidTopic
	}
	r, code := n.replicaOf(t, q.Partition, unknown)
	if code != errNone {
		return code
	}
	if r.role != replicaLeader {
		return errNotLeader
	}
	h, code := checkProduced(q.Records, c.req.Version, n.maxBatch(t))
	if code != errNone {
		return code
	}
	if c.req.Acks == -1 && len(r.state.ISR) < t.MinISR() {
		return errNotEnoughReplicas
	}
	if h.Idempotent() {
		first, duplicate, code := r.judge(h)
		if code != errNone {
			return code
		}
		if duplicate {
			n.produceAgain(&produceWait{call: c, r: r, a: a, base: first.Offset, target: first.End()})
			return errNone
		}
	}
	data := slices.Clone(q.Records) // the request's bytes are its reader's
	h.BaseOffset, h.LeaderEpoch = r.end, r.state.LeaderEpoch
	batch.SetOffsetAndEpoch(data, h.BaseOffset, h.LeaderEpoch)
	w := &produceWait{call: c, r: r, a: a, base: r.end, target: h.NextOffset()}
	switch c.req.Acks {
	case -1:
		if n.cfg.Bugs.Has(bugs.AcksBeforeReplication) {
			n.bugHit(bugs.AcksBeforeReplication)
			r.waitDurable = append(r.waitDurable, w)
			break
		}
		r.waitHW = append(r.waitHW, w)
	case 1:
		r.waitDurable = append(r.waitDurable, w)
	}
	c.waits = append(c.waits, w)
	n.appendLog(r, data, []batch.Header{h})
	if c.req.Acks == 0 {
		n.produceDone(w)
	}
	return errNone
}

// produceAgain answers for a batch that is in the log already, as soon as its first sending could have been answered.
func (n *Node) produceAgain(w *produceWait) {
	c, r := w.call, w.r
	c.waits = append(c.waits, w)
	switch c.req.Acks {
	case -1:
		r.waitHW = waitFor(r.waitHW, w)
		n.releaseHW(r)
	case 1:
		r.waitDurable = waitFor(r.waitDurable, w)
		n.releaseDurable(r)
	default:
		n.produceDone(w)
	}
}

// maxBatch is the largest batch that a topic takes, in bytes: its max.message.bytes or the node's default, and never more
// than fits into one answer to a follower.
func (n *Node) maxBatch(t *meta.Topic) int32 {
	limit := int64(n.cfg.MaxRecordBatch)
	if v, ok := t.Config("max.message.bytes"); ok {
		if x, err := strconv.ParseInt(v, 10, 64); err == nil {
			limit = x
		}
	}
	return int32(min(limit, int64(n.cfg.MaxFetchBytes)))
}

// checkProduced checks what a producer sent for one partition: exactly one whole batch, as Kafka wants it since version 3.
func checkProduced(data []byte, version int16, maxBytes int32) (batch.Header, int16) {
	if len(data) == 0 {
		return batch.Header{}, errInvalidRecord
	}
	const magicAt = 16 // in every message format
	if len(data) > magicAt && data[magicAt] < batch.Magic || version < 3 {
		return batch.Header{}, errUnsupportedForFormat
	}
	hs, err := batch.Validate(data, int(maxBytes))
	switch {
	case errors.Is(err, batch.ErrTooLarge):
		return batch.Header{}, errMessageTooLarge
	case errors.Is(err, batch.ErrMagic):
		return batch.Header{}, errUnsupportedForFormat
	case err != nil:
		return batch.Header{}, errCorruptMessage
	case len(hs) != 1 || hs[0].Control() || hs[0].Idempotent() && (hs[0].ProducerEpoch < 0 || hs[0].BaseSequence < 0):
		return batch.Header{}, errInvalidRecord
	}
	const (
		zstd          = 4
		logAppendTime = 0x8
	)
	switch h := hs[0]; {
	case h.Compression() > zstd || h.Compression() == zstd && version < 7: // zstd came with version 7 (KIP-110)
		return h, errUnsupportedCompression
	case h.Attributes&logAppendTime != 0:
		return h, errInvalidTimestamp // only a broker sets it
	}
	return hs[0], errNone
}

// setProduceError puts an error into a partition's answer, with the leader where the asker is at the wrong node (KIP-951).
func (n *Node) setProduceError(c *produceCall, a *kmsg.ProduceResponseTopicPartition, t *meta.Topic, code int16) {
	a.ErrorCode, a.BaseOffset = code, -1
	if code != errNotLeader || t == nil || !n.repl.active || int(a.Partition) >= len(t.Partitions) {
		return
	}
	p := t.Partitions[a.Partition]
	a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch = p.Leader, p.LeaderEpoch
	b := n.state.Broker(p.Leader)
	if b == nil || slices.ContainsFunc(c.resp.Brokers, func(x kmsg.ProduceResponseBroker) bool { return x.NodeID == b.ID }) {
		return
	}
	x := kmsg.NewProduceResponseBroker()
	x.NodeID, x.Host, x.Port = b.ID, b.Host, b.Port
	c.resp.Brokers = append(c.resp.Brokers, x)
}

// produceDone and produceFailed end a wait that its replica's queue no longer holds.
func (n *Node) produceDone(w *produceWait) {
	if w.over {
		return
	}
	w.over = true
	w.a.BaseOffset, w.a.LogStartOffset = w.base, w.r.start
	n.settle(w.call)
}

func (n *Node) produceFailed(w *produceWait, code int16) {
	if w.over {
		return
	}
	w.over = true
	n.setProduceError(w.call, w.a, w.r.topic, code)
	n.settle(w.call)
}

// settle counts a partition's outcome; the last answers the request.
func (n *Node) settle(c *produceCall) {
	c.left--
	if c.left == 0 {
		n.answerProduce(c)
	}
}

// produceLate answers a request whose time is over. What was appended may still be replicated: the client cannot know.
func (n *Node) produceLate(c *produceCall) {
	if i := slices.Index(n.repl.backlog, c); i >= 0 {
		n.repl.backlog = slices.Delete(n.repl.backlog, i, i+1)
		n.failAll(c, errRequestTimedOut)
		return
	}
	for _, w := range c.waits {
		if !w.over {
			is := func(x *produceWait) bool { return x == w }
			w.r.waitHW = slices.DeleteFunc(w.r.waitHW, is)
			w.r.waitDurable = slices.DeleteFunc(w.r.waitDurable, is)
			n.produceFailed(w, errRequestTimedOut)
		}
	}
}

// failAll answers a request of which nothing was appended.
func (n *Node) failAll(c *produceCall, code int16) {
	for ti := range c.resp.Topics {
		for pi := range c.resp.Topics[ti].Partitions {
			c.resp.Topics[ti].Partitions[pi].ErrorCode = code
		}
	}
	n.answerProduce(c)
}

func (n *Node) answerProduce(c *produceCall) {
	if c.done {
		return
	}
	c.done = true
	n.repl.waiting--
	c.timer.cancel()
	if c.req.Acks != 0 {
		n.reply(c.rq, c.resp)
		return
	}
	for ti := range c.resp.Topics {
		for pi := range c.resp.Topics[ti].Partitions {
			if c.resp.Topics[ti].Partitions[pi].ErrorCode != errNone {
				n.closeConn(c.rq)
				return
			}
		}
	}
	n.reply(c.rq, nil)
}
