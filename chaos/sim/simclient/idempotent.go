package simclient

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// Idempotent producers (KIP-98). Each incarnation asks for a producer id and numbers the batches of each partition; a batch is sent again, with its number,
// until it is answered for good or its time is over. Batches of a partition are sent in their order, some of them in flight at a time, and
// no later one overtakes one that must be sent again. When a batch cannot be had in order any more (its time is over, the broker has forgotten, a
// record is refused) the id is of no more use: whatever is under way with it ends, unknown where it may have been appended, and the next
// operation asks for a new one. Nothing is ever sent again under another id.

// sessionPause is how long a producer waits before it asks for an id, or for what has failed, again; in ns.
const sessionPause = int64(50 * time.Millisecond)

// session is an idempotent producer with one id.
type session struct {
	producer, incarnation uint32
	client                string
	turn                  int   // of the nodes that are asked for an id
	id                    int64 // -1: not given yet
	asks                  task  // for the id
	conn                  *conn // for that
	lanes                 []*lane
	queues                []*queue
	begin                 int // which queue is looked after first, the next time that all are
	over                  bool
}

// queue is what a session has under way in one partition, in the order of its sequence.
type queue struct {
	of    *session
	part  *part
	next  int32 // sequence of the next batch that is sent for the first time
	tasks []*task
	rest  task  // looks after the queue again when a pause is over
	until int64 // of the pause
}

// sessionOf is the session of an operation's producer, begun if need be. One of an earlier incarnation comes to its end by itself.
func (c *Clients) sessionOf(now int64, op *history.Operation) *session {
	p := op.Produce
	for _, s := range c.sessions {
		if s.producer == p.Producer && s.incarnation == p.Incarnation {
			return s
		}
	}
	s := &session{
		producer: p.Producer, incarnation: p.Incarnation, client: op.Client, id: -1,
		turn: gen.NewRand(c.c.Seed ^ uint64(p.Producer)<<32 ^ uint64(p.Incarnation)).Intn(len(c.c.Nodes)),
	}
	s.asks = task{kind: taskSession, session: s}
	c.sessions = append(c.sessions, s)
	c.askID(now, s)
	for _, old := range slices.Clone(c.sessions) {
		if old.producer == s.producer && old.incarnation < s.incarnation {
			c.endIfIdle(old)
		}
	}
	return s
}

// askID asks the next node for a producer id.
func (c *Clients) askID(now int64, s *session) {
	node := c.c.Nodes[s.turn%len(c.c.Nodes)]
	s.turn++
	if s.conn != nil {
		c.hangUp(s.conn)
	}
	c.send(now, c.open(node, &s.conn), &s.asks, kmsg.NewPtrInitProducerIDRequest(), "", c.c.MetadataTimeout)
}

func (c *Clients) idAnswered(now int64, s *session, resp kmsg.Response) {
	c.hangUp(s.conn)
	r, ok := resp.(*kmsg.InitProducerIDResponse)
	if !ok || r.ErrorCode != protocol.CodeNone || r.ProducerID < 0 {
		c.idLost(now, s)
		return
	}
	s.asks.state, s.id = stateIdle, r.ProducerID
	c.pumpSession(now, s)
}

func (c *Clients) idLost(now int64, s *session) {
	s.asks.state = stateIdle
	c.timers.arm(&s.asks, now+sessionPause)
}

// startIdempotent takes an operation of an idempotent producer.
func (c *Clients) startIdempotent(now int64, op *history.Operation) {
	s := c.sessionOf(now, op)
	t := c.newTask(now, taskIdempotent, op)
	t.part = c.partition(op.Produce.Topic, op.Produce.Partition)
	i := slices.IndexFunc(s.queues, func(q *queue) bool { return q.part == t.part })
	if i < 0 {
		i = len(s.queues)
		q := &queue{of: s, part: t.part}
		q.rest = task{kind: taskQueue, queue: q}
		s.queues = append(s.queues, q)
	}
	t.queue = s.queues[i]
	t.queue.tasks = append(t.queue.tasks, t)
	c.timers.arm(t, c.deadline(t))
	c.pump(now, t.queue)
	c.age(now)
}

// deadline is when an operation that is not in flight ends.
func (c *Clients) deadline(t *task) int64 { return t.started + int64(c.c.DeliveryTimeout) }

// pumpSession looks after all queues, each time beginning with another, as Kafka's producer does: where a connection has no room for all of them,
// none must wait for ever behind the others.
func (c *Clients) pumpSession(now int64, s *session) {
	s.begin++
	for i := range s.queues {
		c.pump(now, s.queues[(s.begin+i)%len(s.queues)])
	}
}

// pump sends what may be sent: the first few batches, each behind all before it.
func (c *Clients) pump(now int64, q *queue) {
	s := q.of
	if s.over || s.id < 0 || now < q.until {
		return
	}
	for _, t := range q.tasks[:min(len(q.tasks), c.c.InFlight)] {
		if t.state == stateFlying {
			continue
		}
		if q.part.leader == noLeader {
			c.want(now)
			c.pause(now, q)
			return
		}
		l := s.lane(q.part.leader)
		if c.full(l) {
			return // an answer makes room
		}
		if l.conn == nil {
			c.open(l.node, &l.conn).lane = l
		}
		if !t.sent {
			t.sent, t.sequence = true, q.next
			q.next = nextSequence(q.next, t.op.Produce.Count)
		}
		t.op.Node = l.node
		req := protocol.IdempotentProduceRequest(t.op, &c.values, now, c.c.RequestTimeout, protocol.Sequence{Producer: s.id, First: t.sequence})
		c.send(now, l.conn, t, req, "", c.c.RequestTimeout)
	}
}

// nextSequence is the sequence behind so many records: after 2³¹−1 comes 0.
func nextSequence(sequence, records int32) int32 {
	return int32((int64(sequence) + int64(records)) & math.MaxInt32)
}

// pause has the queue looked after again in a while, and not before.
func (c *Clients) pause(now int64, q *queue) {
	q.until = now + sessionPause
	c.timers.arm(&q.rest, q.until)
}

// lane is the session's way to a node.
func (s *session) lane(node int32) *lane {
	for _, l := range s.lanes {
		if l.node == node {
			return l
		}
	}
	l := &lane{node: node, client: s.client, session: s}
	s.lanes = append(s.lanes, l)
	return l
}

func (c *Clients) idempotentAnswered(now int64, cn *conn, t *task, resp kmsg.Response) {
	node, q := cn.node, t.queue
	t.state = stateIdle
	code := protocol.ProduceAnswer(t.op, resp)
	outcome, again, first := t.op.Outcome, false, q.tasks[0] == t
	if code != protocol.CodeNone {
		retry, sequence := protocol.RetryProduce(code)
		again = retry || sequence && !first
	}
	t.maybe = t.maybe || outcome == history.Unknown
	switch {
	case outcome == history.OK:
		offsets := t.op.Produce.Offsets
		t.part.acked = max(t.part.acked, offsets[len(offsets)-1])
		q.remove(t)
		c.over(now, t)
		c.endIfIdle(q.of)
	case again:
		c.sendAgain(now, t, node, protocol.StaleLeader(code))
	default:
		c.giveUp(now, q.of, t, t.op.Error)
	}
	c.pumpSession(now, q.of)
}

func (c *Clients) idempotentLost(now int64, node int32, t *task, err error, refused bool) {
	t.maybe = t.maybe || !refused
	protocol.Settle(t.op, history.Unknown, err)
	c.sendAgain(now, t, node, true)
}

// sendAgain puts an operation back among those to be sent, after a pause, unless its time is over.
func (c *Clients) sendAgain(now int64, t *task, node int32, distrust bool) {
	t.state = stateIdle
	if now >= c.deadline(t) {
		c.giveUp(now, t.queue.of, t, t.op.Error)
		return
	}
	c.timers.arm(t, c.deadline(t))
	c.pause(now, t.queue)
	if distrust {
		c.distrust(now, t.part, node)
	}
}

var errNotInTime = errors.New("before anything was sent: no producer id, or no leader of the partition, was to be had in time")

// idempotentWaited takes an operation whose time is over while it is not in flight.
func (c *Clients) idempotentWaited(now int64, t *task) {
	if t.sent {
		c.giveUp(now, t.queue.of, t, t.op.Error)
		return
	}
	t.queue.remove(t)
	c.finish(now, t.op, history.Failed, errNotInTime)
	q := t.queue
	c.free(t)
	c.endIfIdle(q.of)
}

// giveUp ends a session because of one of its operations, and with it all that it has under way. Of what was sent, a part may be on its way yet.
func (c *Clients) giveUp(now int64, s *session, because *task, why string) {
	id := because.op.ID
	for _, q := range s.queues {
		for _, t := range q.tasks {
			t.disarm()
			err := fmt.Errorf("%s", why)
			if t != because {
				err = fmt.Errorf("the producer id was given up, because of %s: %s", id, why)
			}
			outcome := history.Failed
			if t.maybe || t.state == stateFlying {
				outcome = history.Unknown
			}
			c.finish(now, t.op, outcome, err)
			c.free(t)
		}
		q.tasks = nil
	}
	c.end(s)
}

// endIfIdle ends a session that a later incarnation has taken the place of, when nothing of it is under way any more.
func (c *Clients) endIfIdle(s *session) {
	later := func(x *session) bool { return x.producer == s.producer && x.incarnation > s.incarnation }
	if !s.over && slices.ContainsFunc(c.sessions, later) && !slices.ContainsFunc(s.queues, func(q *queue) bool { return len(q.tasks) > 0 }) {
		c.end(s)
	}
}

// end takes a session out of the books, and closes its connections.
func (c *Clients) end(s *session) {
	s.over = true
	s.asks.disarm()
	for _, q := range s.queues {
		q.rest.disarm()
	}
	if s.conn != nil {
		c.hangUp(s.conn)
	}
	for _, l := range s.lanes {
		if l.conn != nil {
			c.hangUp(l.conn)
		}
	}
	c.sessions = slices.DeleteFunc(c.sessions, func(x *session) bool { return x == s })
}

func (q *queue) remove(t *task) {
	q.tasks = slices.DeleteFunc(q.tasks, func(x *task) bool { return x == t })
}

// dropSessions ends the sessions of crashed clients. What they had under way has ended already.
func (c *Clients) dropSessions(who string) {
	for _, s := range slices.Clone(c.sessions) {
		if gen.Meant(who, s.client) {
			c.end(s)
		}
	}
}
