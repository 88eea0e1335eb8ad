package simclient

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// fetchPause is how long a consumer leaves a node alone that it lost, in ns.
const fetchPause = int64(100 * time.Millisecond)

// consumer reads some partitions from their leaders, each from offset 0 on.
type consumer struct {
	name  string
	id    int
	made  int // operations recorded
	parts []*consumed
	lanes []*fetchLane // by node, in the order of Config.Nodes
	down  bool         // it has crashed
}

// consumed is a partition as one consumer reads it.
type consumed struct {
	part  *part
	read  protocol.Reading
	asked bool // in a fetch under way
}

// fetchLane is one consumer's way to one node, with one fetch under way at most.
type fetchLane struct {
	of   *consumer
	node int32
	conn *conn
	task task
	sent int64
	asks []ask
}

// ask is what a fetch under way asked of one partition.
type ask struct {
	of    *consumed
	epoch int32
	acked int64 // highest offset known acknowledged when it was sent
}

// Read has Config.Readers consumers read these topics from now on, each partition by one of them; where there are more consumers than
// partitions, some are read twice. Whatever they are given comes out as operations of kind Consume. It is called once.
func (c *Clients) Read(now int64, topics []gen.Topic) {
	var parts []*part
	for _, t := range topics {
		for p := range t.Partitions {
			parts = append(parts, c.partition(t.Name, p))
		}
	}
	if len(parts) == 0 {
		return
	}
	for i := range c.c.Readers {
		r := &consumer{id: i + 1, name: fmt.Sprintf("consume-%d", i+1)}
		for _, node := range c.c.Nodes {
			l := &fetchLane{of: r, node: node}
			l.task = task{kind: taskConsume, consumes: l}
			r.lanes = append(r.lanes, l)
		}
		for j := i % len(parts); j < len(parts); j += max(c.c.Readers, 1) {
			r.parts = append(r.parts, &consumed{part: parts[j], read: protocol.NewReading(parts[j].topic, parts[j].partition)})
		}
		c.consumers = append(c.consumers, r)
	}
	c.pollAll(now)
}

// StopReading ends the consumers. Answers to fetches under way are ignored.
func (c *Clients) StopReading() {
	for _, r := range c.consumers {
		for _, l := range r.lanes {
			l.task.disarm()
			if l.conn != nil {
				c.hangUp(l.conn)
			}
		}
	}
	c.consumers = nil
}

// pollAll has all consumers go on by the newest metadata.
func (c *Clients) pollAll(now int64) {
	lacking := false
	for _, r := range c.consumers {
		for _, l := range r.lanes {
			c.poll(now, l)
		}
		lacking = lacking || slices.ContainsFunc(r.parts, func(p *consumed) bool { return p.part.leader == noLeader })
	}
	if lacking {
		c.want(now)
	}
}

// poll sends a node its next fetch, of all that it leads, unless one is under way there or a pause is.
func (c *Clients) poll(now int64, l *fetchLane) {
	if l.task.state != stateIdle || l.of.down {
		return
	}
	l.asks = l.asks[:0]
	for _, p := range l.of.parts {
		if p.part.leader == l.node && !p.asked {
			l.asks = append(l.asks, ask{of: p, epoch: p.part.epoch, acked: p.part.acked})
		}
	}
	if len(l.asks) == 0 {
		return
	}
	req := protocol.ConsumeRequest(c.c.ReadWait)
	for _, a := range l.asks {
		a.of.asked = true
		protocol.AddPartition(req, a.of.part.topic, a.of.part.partition, a.epoch, a.of.read.Offset)
	}
	if l.conn == nil {
		c.open(l.node, &l.conn)
	}
	l.sent = now
	c.send(now, l.conn, &l.task, req, "", c.c.ReadWait+c.c.RequestTimeout)
}

func (l *fetchLane) landed() {
	l.task.state = stateIdle
	for _, a := range l.asks {
		a.of.asked = false
	}
}

func (c *Clients) consumeLost(now int64, l *fetchLane) {
	l.landed()
	for _, a := range l.asks {
		c.distrust(now, a.of.part, l.node)
	}
	l.task.state = stateWaiting
	c.timers.arm(&l.task, now+fetchPause)
}

func (c *Clients) consumeAnswered(now int64, l *fetchLane, answer kmsg.Response) {
	l.landed()
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok || resp.ErrorCode != protocol.CodeNone {
		c.consumeLost(now, l)
		return
	}
	for _, a := range l.asks {
		rp := protocol.AnswerOf(resp, a.of.part.topic, a.of.part.partition)
		if rp == nil || !c.given(now, l, a, rp) {
			c.distrust(now, a.of.part, l.node)
		}
	}
	// A partition may have moved to another lane meanwhile, which had to wait for this answer.
	for _, l := range l.of.lanes {
		c.poll(now, l)
	}
}

// given takes what a fetch brought of one partition and records it (protocol.Reading says what of it). False means that the node is not to be
// asked again before the metadata is fresh.
func (c *Clients) given(now int64, l *fetchLane, a ask, rp *kmsg.FetchResponseTopicPartition) bool {
	op, trust := a.of.read.Given(l.node, a.epoch, a.acked, rp, c.c.RunHash)
	if op != nil {
		op.ID, op.Client, op.Invoke = fmt.Sprintf("f%d.%d", l.of.id, l.of.made), l.of.name, l.sent
		l.of.made++
		c.done(now, op)
	}
	return trust
}
