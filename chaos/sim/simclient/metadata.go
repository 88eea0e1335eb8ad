package simclient

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/workloads/gen"
	"soak/workloads/protocol"
)

const (
	// refreshPause is the least time between two refreshes, in ns: while a partition has no leader, clients ask again and again.
	refreshPause = int64(50 * time.Millisecond)
	// suspicion is how long a node that did not answer is not asked for metadata if another can be, in ns.
	suspicion = int64(2 * time.Second)
	// refreshesPerNode is after how many refreshes another node has its turn, so that the answers of all are met.
	refreshesPerNode = 16
)

// noLeader stands for a leader that is not known, or not there.
const noLeader = -1

// topic is what the cache knows of a topic.
type topic struct {
	name  string
	parts []*part
}

type part struct {
	topic     string
	partition int32
	leader    int32
	epoch     int32
	acked     int64 // highest offset acknowledged to our producers, -1 none
}

// cache is the state of the metadata cache that producers and consumers share, but the topics themselves.
type cache struct {
	task     task // one refresh at a time
	conn     *conn
	at       int64   // when the cache was last filled
	filled   bool    // once, at least
	next     int64   // the earliest time of the next refresh
	nodes    []int32 // ids
	suspects []int64 // by node: until when
	turn     int     // index into nodes
	asked    uint64
}

func newCache(c *Config) cache {
	return cache{
		task: task{kind: taskCache}, nodes: c.Nodes, suspects: make([]int64, len(c.Nodes)),
		turn: gen.NewRand(c.Seed).Intn(len(c.Nodes)),
	}
}

// suspect marks a node as one that does not answer.
func (m *cache) suspect(node int32, now int64) {
	for i, id := range m.nodes {
		if id == node {
			m.suspects[i] = now + suspicion
		}
	}
}

// choose picks the node to ask: the one whose turn it is, or the next that is not suspected. If all are, their turns go round.
func (m *cache) choose(now int64) int32 {
	if m.asked%refreshesPerNode == refreshesPerNode-1 || m.suspects[m.turn] > now {
		m.turn = (m.turn + 1) % len(m.nodes)
	}
	m.asked++
	for i := range m.nodes {
		if at := (m.turn + i) % len(m.nodes); m.suspects[at] <= now {
			m.turn = at
			break
		}
	}
	return m.nodes[m.turn]
}

// partition is the cache's entry of a partition, made if need be.
func (c *Clients) partition(name string, number int32) *part {
	t := c.topicIndex[name]
	if t == nil {
		t = &topic{name: name}
		c.topicIndex[name] = t
		c.topics = append(c.topics, t)
	}
	for int(number) >= len(t.parts) {
		t.parts = append(t.parts, &part{topic: name, partition: int32(len(t.parts)), leader: noLeader, epoch: -1, acked: -1})
	}
	return t.parts[number]
}

// want asks for a refresh as soon as one may be.
func (c *Clients) want(now int64) {
	m := &c.meta
	switch {
	case m.task.state != stateIdle:
	case now >= m.next:
		c.refresh(now)
	default:
		m.task.state = stateWaiting
		c.timers.arm(&m.task, m.next)
	}
}

// age refreshes a cache that is older than producers go by.
func (c *Clients) age(now int64) {
	if m := &c.meta; m.task.state == stateIdle && (!m.filled || now-m.at >= int64(c.c.MetadataAge)) {
		c.want(now)
	}
}

// refresh asks a node for the metadata of all topics in use.
func (c *Clients) refresh(now int64) {
	m := &c.meta
	node := m.choose(now)
	if m.conn != nil && m.conn.node != node {
		c.hangUp(m.conn)
	}
	if m.conn == nil {
		c.open(node, &m.conn)
	}
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	req.AllowAutoTopicCreation = false
	req.Topics = make([]kmsg.MetadataRequestTopic, len(c.topics))
	for i, t := range c.topics {
		req.Topics[i].Topic = &t.name
	}
	c.send(now, m.conn, &m.task, req, "", c.c.MetadataTimeout)
}

func (c *Clients) cacheLost(now int64) {
	m := &c.meta
	m.task.state = stateIdle
	m.next = now + refreshPause
	c.want(now)
}

func (c *Clients) cacheAnswered(now int64, answer kmsg.Response) {
	m := &c.meta
	m.task.state = stateIdle
	m.next = now + refreshPause
	resp, ok := answer.(*kmsg.MetadataResponse)
	if !ok {
		c.want(now)
		return
	}
	m.at, m.filled = now, true
	for i := range resp.Topics {
		if rt := &resp.Topics[i]; rt.Topic != nil && c.topicIndex[*rt.Topic] != nil {
			c.learn(c.topicIndex[*rt.Topic], rt)
		}
	}
	waiting := c.pending
	c.pending = nil
	for _, t := range waiting {
		c.route(now, t)
	}
	c.pollAll(now)
}

// learn takes what a node says of a topic, whatever was believed before: as kafka-go does, whose part this plays.
func (c *Clients) learn(t *topic, rt *kmsg.MetadataResponseTopic) {
	for _, p := range t.parts {
		p.leader = noLeader
	}
	if rt.ErrorCode != protocol.CodeNone && rt.ErrorCode != protocol.CodeLeaderNotAvailable {
		return
	}
	for i := range rt.Partitions {
		rp := &rt.Partitions[i]
		// A partition that nobody here uses is passed over.
		if rp.Partition < 0 || int(rp.Partition) >= len(t.parts) || !c.knows(rp.Leader) {
			continue
		}
		p := t.parts[rp.Partition]
		p.leader, p.epoch = rp.Leader, rp.LeaderEpoch
	}
}

// distrust forgets a partition's leader, if it still is the one that gave reason to, and asks for another.
func (c *Clients) distrust(now int64, p *part, node int32) {
	if p.leader == node {
		p.leader = noLeader
	}
	c.want(now)
}
