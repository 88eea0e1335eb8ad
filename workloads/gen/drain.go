package gen

import (
	"fmt"
	"math"

	"soak/history"
)

// DrainConfig configures NewDrain.
type DrainConfig struct {
	Topics   []Topic
	Replicas []int32 // nodes to read each partition from
	Start    int64
}

const (
	drainPerNode = 4             // pieces under way at one node: enough to keep it busy, few enough to leave it air
	drainRetry   = 200_000_000   // ns between a piece that brought nothing and the next of the same replica
	drainQuiet   = 5_000_000_000 // ns without any progress anywhere after which the drain gives up
	// However steady its progress, a drain does not run for ever: ten minutes are some hundred times what the longest
	// of the embedded scenarios needs.
	drainLongest = 600_000_000_000
)

// Drain plans the final read: every partition of every topic on every replica, piece after piece from offset 0 without a gap,
// until each replica was read to its log end and as far as the highest high watermark that any replica of that
// partition has named. A replica that ended before that is read on from its own high watermark: what it held above may have been
// cut. It gives up only when nothing has progressed for 5 s.
type Drain struct {
	c          DrainConfig
	cells      []drainCell
	high       []int64 // highest high watermark seen, by partition
	busy       []int   // pieces under way, by position in c.Replicas
	progressed int64   // when something last did
	ops        uint64
	underWay   map[string]int
	gaveUp     bool
}

type drainCell struct {
	topic     string
	partition int32
	replica   int32
	part      int   // index into high
	node      int   // index into busy
	to        int64 // next offset of the last piece
	safe      int64 // below it everything was read below the replica's own high watermark of its time
	furthest  int64
	ended     bool
	everEnded bool
	inFlight  bool
	notBefore int64
}

// NewDrain plans the read. Partitions come before replicas, so that all nodes are read from at once.
func NewDrain(c DrainConfig) *Drain {
	d := &Drain{c: c, busy: make([]int, len(c.Replicas)), progressed: c.Start, underWay: map[string]int{}}
	for _, t := range c.Topics {
		for p := range t.Partitions {
			for i, node := range c.Replicas {
				d.cells = append(d.cells, drainCell{topic: t.Name, partition: p, replica: node, part: len(d.high), node: i})
			}
			d.high = append(d.high, 0)
		}
	}
	return d
}

// complete reports whether a replica has been read as far as anybody knows there is something to read.
func (d *Drain) complete(c *drainCell) bool { return c.ended && c.to >= d.high[c.part] }

// Next is what is to be read now, and when to ask again. It answers nothing once Finished.
func (d *Drain) Next(now int64) (ops []*history.Operation, wake int64) {
	wake = min(d.progressed+drainQuiet, d.c.Start+drainLongest)
	if now >= wake {
		d.gaveUp = true
	}
	if d.Finished() {
		return nil, math.MaxInt64
	}
	for i := range d.cells {
		c := &d.cells[i]
		switch {
		case c.inFlight || d.complete(c):
		case c.notBefore > now:
			wake = min(wake, c.notBefore)
		case d.busy[c.node] < drainPerNode:
			ops = append(ops, d.piece(now, i))
		}
	}
	return ops, wake
}

func (d *Drain) piece(now int64, at int) *history.Operation {
	c := &d.cells[at]
	from := c.to
	if c.ended {
		from = c.safe // there is more to come, and what stood above the high watermark may have been cut for it
	}
	c.inFlight = true
	d.busy[c.node]++
	op := &history.Operation{
		ID:     fmt.Sprintf("d%d", d.ops),
		Client: fmt.Sprintf("drain-%d", c.replica),
		Node:   c.replica,
		Invoke: now,
		Drain: &history.DrainOp{
			Topic: c.topic, Partition: c.partition, Replica: c.replica,
			From: from, To: from, LogEnd: -1, High: -1,
		},
	}
	d.ops++
	d.underWay[op.ID] = at
	return op
}

// Done takes a piece back. One that is not under way is ignored.
func (d *Drain) Done(now int64, op *history.Operation) {
	at, ok := d.underWay[op.ID]
	if !ok {
		return
	}
	delete(d.underWay, op.ID)
	c := &d.cells[at]
	c.inFlight = false
	d.busy[c.node]--
	piece := op.Drain
	if piece == nil || op.Outcome != history.OK || piece.To < piece.From {
		c.notBefore = now + drainRetry
		return
	}
	safe := c.safe
	if piece.From <= safe {
		safe = max(safe, min(piece.To, piece.High))
	}
	advanced := piece.To > c.furthest || safe > c.safe || piece.End && !c.everEnded
	c.to, c.safe, c.furthest = piece.To, safe, max(c.furthest, piece.To)
	c.ended, c.everEnded = piece.End, c.everEnded || piece.End
	d.high[c.part] = max(d.high[c.part], piece.High)
	if advanced {
		d.progressed = max(d.progressed, now)
	}
	if !advanced && !d.complete(c) {
		c.notBefore = now + drainRetry // nothing there yet: a replica that is behind
	}
}

// Finished reports whether everything has been read, or nothing has progressed for too long.
func (d *Drain) Finished() bool { return d.gaveUp || d.Left() == 0 }

// GaveUp reports whether the drain ended with something unread.
func (d *Drain) GaveUp() bool { return d.gaveUp && d.Left() > 0 }

// Left is how many replicas are still to be read to their end.
func (d *Drain) Left() int {
	left := 0
	for i := range d.cells {
		if !d.complete(&d.cells[i]) {
			left++
		}
	}
	return left
}
