package soaktest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"soak/history"
	"soak/workloads/gen"
)

// producers are those of the test's own clients.
type producers struct {
	mu   sync.Mutex
	all  int
	open map[*Sent]bool
	over bool // nothing is recorded any more
	ops  int
}

// firstProducer is the id of a test's first producer, beyond those of Soak's own.
const firstProducer = 1 << 20

// Producer records what one producer of the test's own sends to a topic of the cluster's, whatever client it sends with, so that it is judged with the rest:
// nothing acknowledged is lost, doubled, damaged or out of order. Its methods are safe for concurrent use.
type Producer struct {
	c     *Cluster
	id    uint32
	topic string

	mu   sync.Mutex
	next map[int32]uint64 // sequence, by partition
}

// Producer makes one that sends to a topic of Options.Topics.
func (c *Cluster) Producer(topic string) *Producer {
	c.r.t.Helper()
	if !slices.ContainsFunc(c.r.loop.Topics(), func(t history.TopicInfo) bool { return t.Name == topic }) {
		c.r.t.Fatalf("soaktest: no topic %q: only the records of Options.Topics are read back", topic)
	}
	c.producers.mu.Lock()
	defer c.producers.mu.Unlock()
	c.producers.all++
	return &Producer{c: c, id: uint32(firstProducer + c.producers.all), topic: topic, next: map[int32]uint64{}}
}

// Sent is a record on its way. Exactly one of Acked, Failed and Unknown says what became of it; one of which nothing is said when the cluster is
// judged is taken for unknown.
type Sent struct {
	// Value is what must be sent as the record's value, as it is: by it the record is known again.
	Value []byte

	p  *Producer
	op *history.Operation
}

// Send begins a record of size bytes, 64 to 1 MiB, to a partition. Call it just before the client's own call, and send with acks=all: what a
// broker acknowledges otherwise may be lost.
func (p *Producer) Send(partition int32, size int) *Sent {
	p.mu.Lock()
	seq := p.next[partition]
	p.next[partition]++
	p.mu.Unlock()
	now := time.Now().UnixNano()
	s := &Sent{p: p, op: &history.Operation{
		Client: fmt.Sprintf("test-%d", p.id-firstProducer), Invoke: now, Outcome: history.Unknown,
		Produce: &history.ProduceOp{Topic: p.topic, Partition: partition, Producer: p.id, FirstSeq: seq, Count: 1, Acked: -1, Acks: -1},
	}}
	s.Value = gen.AppendValue(nil, gen.Header{
		Run: p.c.r.desc.RunHash, Producer: p.id, TopicPartition: gen.PartitionHash(p.topic, partition), Seq: seq, Time: now, Acked: -1,
	}, size, p.c.r.desc.Seed)
	all := &p.c.producers
	all.mu.Lock()
	defer all.mu.Unlock()
	all.ops++
	s.op.ID = fmt.Sprintf("t%d", all.ops)
	if all.open == nil {
		all.open = map[*Sent]bool{}
	}
	if !all.over {
		all.open[s] = true
	}
	return s
}

// Acked says that the broker has acknowledged the record at this offset.
func (s *Sent) Acked(offset int64) {
	s.end(func(op *history.Operation) { op.Outcome, op.Produce.Offsets = history.OK, []int64{offset} })
}

// Failed says that the record was surely not appended: it must not be read back. A time-out is no such thing, nor is a connection that broke.
func (s *Sent) Failed(err error) {
	s.end(func(op *history.Operation) { op.Outcome, op.Error = history.Failed, fmt.Sprint(err) })
}

// Unknown says that nobody knows: the record may be there or not.
func (s *Sent) Unknown(err error) {
	s.end(func(op *history.Operation) { op.Outcome, op.Error = history.Unknown, fmt.Sprint(err) })
}

func (s *Sent) end(how func(*history.Operation)) {
	all := &s.p.c.producers
	all.mu.Lock()
	defer all.mu.Unlock()
	if !all.open[s] {
		return
	}
	delete(all.open, s)
	how(s.op)
	s.op.Complete = time.Now().UnixNano()
	s.p.c.r.recorder.Operation(s.op)
}

// settle records what nobody has said anything about, and what comes later no more.
func (p *producers) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for s := range p.open {
		s.p.c.r.recorder.Operation(s.op)
	}
	p.open = nil
}
