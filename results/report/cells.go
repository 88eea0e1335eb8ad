package report

import (
	"math/bits"
	"time"
)

// maxCells bounds the cells of time that a run's measurements are kept in. A cell is as wide as that asks for: a minute of a run has cells of a
// quarter of a second, eight hours have cells of 8 s.
const maxCells = 4800

// firstWidth is the width that cells begin with.
const firstWidth = 250 * time.Millisecond

// errorKinds bounds the kinds of error that are told apart; the last is all others.
const errorKinds = 12

// cell is what was measured in one stretch of time.
type cell struct {
	acked   int64 // records
	lost    int64 // records of failed and unknown sends
	errors  [errorKinds]int32
	latency histogram // of acknowledged sends
	memory  [maxNodes]int64
	stall   int64 // the runner's longest
}

// maxNodes bounds the nodes whose memory is drawn.
const maxNodes = 9

// cells are the run's measurements by time. The zero value with its start set is ready. When a time does not fit, neighbours are merged and
// cells become twice as wide: sums stay sums, extremes stay extremes.
type cells struct {
	start int64
	width int64 // 0: firstWidth
	list  []*cell
}

// at is the cell of an instant; nil before the start.
func (c *cells) at(t int64) *cell {
	if t < c.start {
		return nil
	}
	if c.width == 0 {
		c.width = int64(firstWidth)
	}
	for (t-c.start)/c.width >= maxCells {
		c.merge()
	}
	i := int((t - c.start) / c.width)
	for len(c.list) <= i {
		c.list = append(c.list, nil)
	}
	if c.list[i] == nil {
		c.list[i] = &cell{}
	}
	return c.list[i]
}

func (c *cells) merge() {
	c.width *= 2
	half := c.list[:0]
	for i := 0; i < len(c.list); i += 2 {
		a := c.list[i]
		if i+1 < len(c.list) {
			a = a.with(c.list[i+1])
		}
		half = append(half, a)
	}
	clear(c.list[len(half):])
	c.list = half
}

// with adds a later cell. Either may be nil.
func (a *cell) with(b *cell) *cell {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	a.acked += b.acked
	a.lost += b.lost
	for i := range a.errors {
		a.errors[i] += b.errors[i]
	}
	a.latency.add(&b.latency)
	for i := range a.memory {
		a.memory[i] = max(a.memory[i], b.memory[i])
	}
	a.stall = max(a.stall, b.stall)
	return a
}

// A histogram counts lengths of time in steps of an eighth of their power of two: a quantile is right to 7 percent; the maximum is exact.
type histogram struct {
	counts []uint32
	n      int64
	max    int64
}

const (
	subSteps  = 8
	firstBits = 14 // everything up to 16 µs is one step
)

func stepOf(ns int64) int {
	if ns < 1<<firstBits {
		return 0
	}
	exponent := bits.Len64(uint64(ns)) - 1
	return (exponent-firstBits)*subSteps + int(ns>>(exponent-3))&(subSteps-1) + 1
}

// valueOf is the middle of a step.
func valueOf(step int) int64 {
	if step == 0 {
		return 1 << (firstBits - 1)
	}
	step--
	exponent := step/subSteps + firstBits
	low := int64(1)<<exponent + int64(step%subSteps)<<(exponent-3)
	return low + int64(1)<<(exponent-4)
}

func (h *histogram) put(ns int64) {
	i := stepOf(max(ns, 0))
	for len(h.counts) <= i {
		h.counts = append(h.counts, make([]uint32, i+1-len(h.counts))...)
	}
	h.counts[i]++
	h.n++
	h.max = max(h.max, ns)
}

func (h *histogram) add(o *histogram) {
	if len(o.counts) > len(h.counts) {
		h.counts = append(h.counts, make([]uint32, len(o.counts)-len(h.counts))...)
	}
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile is the value that the share q of all does not exceed; 0 of none.
func (h *histogram) quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	rank := int64(q*float64(h.n)) + 1
	if rank >= h.n {
		return h.max
	}
	var seen int64
	for i, n := range h.counts {
		if seen += int64(n); seen >= rank {
			return min(valueOf(i), h.max)
		}
	}
	return h.max
}
