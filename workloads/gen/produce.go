package gen

import (
	"fmt"

	"soak/history"
)

// Topic is a record topic to produce to, or to drain.
type Topic struct {
	Name       string
	Partitions int32
}

// ProduceConfig configures NewProduce. All fields are required but those of idempotence.
type ProduceConfig struct {
	Topics    []Topic
	Rate      int // records a second over all producers
	Producers int
	Batch     int   // records of one operation
	Start     int64 // Unix ns, when the first operation is due

	// Idempotent producers are all but every fourth, which stays plain.
	Idempotent bool
	// Lifetime of an idempotent producer in ns, 0: as long as the run. Then it comes back as a new incarnation, with sequences from 0.
	Lifetime int64
}

const (
	// An operation to a partition without a leader stays under way for its whole time-out of 3 s. The bound per partition keeps
	// such a partition from using up its producer's own bound, so that the others go on.
	inFlightPerPartition = 4
	inFlightPerProducer  = 32

	acksAll = -1
)

// Produce generates the produce workload: producers, each over all partitions in turn, with dense sequences from 0 per
// producer and partition, at a fixed rate. When a bound of operations under way is reached, a slot is missed and
// counted; no error stops it or is retried (a retried batch would be the same record twice);
// idempotent producers' clients may send again what is not answered.
type Produce struct {
	c          ProduceConfig
	pace       pace
	missed     Missed
	partitions []producePartition
	producers  []producer
	slot       int64 // slots so far: the producer's turn
	underWay   map[string]produceSlot
}

type producePartition struct {
	topic     string
	partition int32
	acked     int64
}

type producer struct {
	incarnation uint32
	down        bool
	idempotent  bool
	born        int64 // Unix ns
	turn        int   // partition's turn
	ops         uint64
	seq         []uint64 // next, by partition
	inFlight    []int    // by partition
	total       int
}

type produceSlot struct{ producer, partition int }

// NewProduce checks the configuration.
func NewProduce(c ProduceConfig) (*Produce, error) {
	p := &Produce{c: c, underWay: map[string]produceSlot{}}
	for _, t := range c.Topics {
		for i := range t.Partitions {
			p.partitions = append(p.partitions, producePartition{topic: t.Name, partition: i, acked: -1})
		}
	}
	if c.Rate < 1 || c.Producers < 1 || c.Batch < 1 || len(p.partitions) == 0 {
		return nil, fmt.Errorf("produce workload: %d records a second from %d producers in batches of %d to %d partitions: all must be at least 1",
			c.Rate, c.Producers, c.Batch, len(p.partitions))
	}
	p.pace = pace{period: max(1, int64(c.Batch)*1_000_000_000/int64(c.Rate)), next: c.Start}
	p.producers = make([]producer, c.Producers)
	for i := range p.producers {
		p.producers[i] = producer{
			incarnation: 1, idempotent: c.Idempotent && i%4 != 3,
			born: c.Start - int64(i)*c.Lifetime/int64(c.Producers), // so that they do not all go at once
			// Producers start at different partitions, so that one partition's batches come from all of them, spread in time.
			turn:     i * len(p.partitions) / c.Producers,
			seq:      make([]uint64, len(p.partitions)),
			inFlight: make([]int, len(p.partitions)),
		}
	}
	return p, nil
}

// Next is what is due now, and when to ask again.
func (p *Produce) Next(now int64) (ops []*history.Operation, wake int64) {
	serve, late := p.pace.due(now)
	p.missed.add(late, p.pace.period)
	for range serve {
		if op := p.one(now); op != nil {
			ops = append(ops, op)
		} else {
			p.missed.add(1, p.pace.period)
		}
	}
	return ops, p.pace.next
}

// one fills a slot, or answers nil when a bound is reached. The turns move on either way.
func (p *Produce) one(now int64) *history.Operation {
	id := int(p.slot % int64(len(p.producers)))
	p.slot++
	who := &p.producers[id]
	at := who.turn
	who.turn = (who.turn + 1) % len(p.partitions)
	if who.down || who.total >= inFlightPerProducer || who.inFlight[at] >= inFlightPerPartition {
		return nil
	}
	if who.idempotent && p.c.Lifetime > 0 && now-who.born >= p.c.Lifetime {
		who.incarnation++
		who.born = now
		clear(who.seq)
	}
	part := &p.partitions[at]
	op := &history.Operation{
		ID:     fmt.Sprintf("p%d.%d", id+1, who.ops),
		Client: producerName(id),
		Invoke: now,
		Produce: &history.ProduceOp{
			Topic: part.topic, Partition: part.partition,
			Producer: uint32(id + 1), Incarnation: who.incarnation,
			FirstSeq: who.seq[at], Count: int32(p.c.Batch),
			Acked: part.acked, Acks: acksAll, Idempotent: who.idempotent,
		},
	}
	who.ops++
	who.seq[at] += uint64(p.c.Batch)
	who.inFlight[at]++
	who.total++
	p.underWay[op.ID] = produceSlot{producer: id, partition: at}
	return op
}

func producerName(id int) string { return fmt.Sprintf("%s-%d", ProducerClient, id+1) }

// Crash has the producers that are meant be down: they ask for nothing until Restart, and then are new incarnations, whose sequences begin
// anew. Operations under way come back by Done as always.
func (p *Produce) Crash(who string) {
	for i := range p.producers {
		if one := &p.producers[i]; !one.down && Meant(who, producerName(i)) {
			one.down = true
			one.incarnation++
			clear(one.seq)
		}
	}
}

// Restart has the producers that are meant go on.
func (p *Produce) Restart(who string) {
	for i := range p.producers {
		if Meant(who, producerName(i)) {
			p.producers[i].down = false
		}
	}
}

// Done takes an operation back. One that is not under way is ignored.
func (p *Produce) Done(_ int64, op *history.Operation) {
	slot, ok := p.underWay[op.ID]
	if !ok {
		return
	}
	delete(p.underWay, op.ID)
	who := &p.producers[slot.producer]
	who.inFlight[slot.partition]--
	who.total--
	if op.Produce == nil || op.Outcome != history.OK {
		return
	}
	part := &p.partitions[slot.partition]
	for _, offset := range op.Produce.Offsets {
		part.acked = max(part.acked, offset)
	}
}

// InFlight is how many operations are under way.
func (p *Produce) InFlight() int { return len(p.underWay) }

// Missed is the load that was due and not sent.
func (p *Produce) Missed() Missed { return p.missed }
