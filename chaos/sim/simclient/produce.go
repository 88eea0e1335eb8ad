package simclient

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

// lane is the way of one producer to one node: a connection with a few requests in flight, and what waits behind them.
type lane struct {
	node    int32
	client  string   // whose way it is
	session *session // of an idempotent producer, nil otherwise; then nothing waits here
	conn    *conn
	waiting []*task
}

type laneKey struct {
	producer uint32
	node     int32
}

// startProduce sends an operation's batch to its partition's leader, exactly once, as soon as that is known.
func (c *Clients) startProduce(now int64, op *history.Operation) {
	p := op.Produce
	if p.Count <= 0 || p.Partition < 0 {
		c.finish(now, op, history.Failed, fmt.Errorf("a produce of %d records to partition %d", p.Count, p.Partition))
		return
	}
	p.Offsets, op.Node = nil, 0 // it is known when it is sent
	t := c.newTask(now, taskProduce, op)
	t.part = c.partition(p.Topic, p.Partition)
	c.timers.arm(t, now+int64(c.c.LeaderWait))
	c.route(now, t)
	c.age(now)
}

var errNoLeader = errors.New("before anything was sent: no leader of the partition is known")

// route brings an operation that was not sent yet to its leader's lane, or has it wait for a leader.
func (c *Clients) route(now int64, t *task) {
	if t.part.leader == noLeader {
		if now-t.started >= int64(c.c.LeaderWait) {
			c.finish(now, t.op, history.Failed, errNoLeader)
			c.free(t)
			return
		}
		t.state = statePending
		c.pending = append(c.pending, t)
		c.want(now)
		return
	}
	key := laneKey{t.op.Produce.Producer, t.part.leader}
	l := c.lanes[key]
	if l == nil {
		l = &lane{node: key.node, client: t.op.Client}
		c.lanes[key] = l
	}
	if c.full(l) { // and whoever waits there is served first: see drainLane
		t.state, t.lane = stateWaiting, l
		l.waiting = append(l.waiting, t)
		return
	}
	c.sendProduce(now, l, t)
}

func (c *Clients) full(l *lane) bool { return l.conn != nil && len(l.conn.flights) >= c.c.InFlight }

func (c *Clients) sendProduce(now int64, l *lane, t *task) {
	if l.conn == nil {
		c.open(l.node, &l.conn).lane = l
	}
	t.lane, t.op.Node = nil, l.node
	req := protocol.ProduceRequest(t.op, &c.values, now, c.c.RequestTimeout)
	if t.op.Produce.Acks == 0 { // nothing will come back
		c.post(l.conn, req, "")
		protocol.ProduceAnswer(t.op, nil)
		c.over(now, t)
		return
	}
	c.send(now, l.conn, t, req, "", c.c.RequestTimeout)
}

// drainLane sends what waits in a lane and has room, by the newest metadata.
func (c *Clients) drainLane(now int64, l *lane) {
	if l.session != nil {
		c.pumpSession(now, l.session)
		return
	}
	for len(l.waiting) > 0 && !c.full(l) {
		t := l.waiting[0]
		if t.part.leader == l.node {
			l.waiting = slices.Delete(l.waiting, 0, 1)
			c.sendProduce(now, l, t)
			continue
		}
		// The leader has moved, and whatever else waits for it moves along, in order.
		moved := slices.Clone(l.waiting)
		l.waiting = l.waiting[:0]
		for _, t := range moved {
			t.lane = nil
			c.route(now, t)
		}
		return
	}
}

func (c *Clients) produceAnswered(now int64, cn *conn, t *task, resp kmsg.Response) {
	l, node := cn.lane, cn.node
	code := protocol.ProduceAnswer(t.op, resp)
	if offsets := t.op.Produce.Offsets; len(offsets) > 0 {
		t.part.acked = max(t.part.acked, offsets[len(offsets)-1])
	}
	p := t.part
	c.over(now, t)
	if protocol.StaleLeader(code) {
		c.distrust(now, p, node)
	}
	c.drainLane(now, l)
}

func (c *Clients) produceLost(now int64, node int32, t *task, err error, refused bool) {
	p := t.part
	c.finish(now, t.op, lostOutcome(refused), err)
	c.free(t)
	c.distrust(now, p, node)
}

// produceWaited takes an operation that has waited, unsent, for as long as one may for a leader; behind other requests it may wait on.
func (c *Clients) produceWaited(now int64, t *task) {
	err := errNoLeader
	if t.state == stateWaiting {
		if until := t.started + int64(c.c.RequestTimeout); now < until {
			c.timers.arm(t, until)
			return
		}
		err = errors.New("before anything was sent: the requests before it were not answered")
		t.lane.waiting = slices.DeleteFunc(t.lane.waiting, func(x *task) bool { return x == t })
	} else {
		c.pending = slices.DeleteFunc(c.pending, func(x *task) bool { return x == t })
	}
	c.finish(now, t.op, history.Failed, err)
	c.free(t)
}
