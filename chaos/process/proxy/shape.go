package proxy

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Shape is what a link does to bytes that it forwards: it keeps each for Delay, and up to Jitter more, and lets no more than
// BytesPerSecond through in each direction, over all connections. Zero values do nothing. Order is kept, as TCP keeps it.
type Shape struct {
	ID             int // of whoever asks for it, for Unshape
	Delay          time.Duration
	Jitter         time.Duration
	BytesPerSecond int64
}

// effect is what several shapes come to: delays add up, and the lowest rate holds.
type effect struct {
	delay, jitter time.Duration
	rate          int64 // bytes a second, 0 for any
}

func combine(shapes []Shape) (e effect) {
	for _, s := range shapes {
		e.delay += s.Delay
		e.jitter += s.Jitter
		if s.BytesPerSecond > 0 && (e.rate == 0 || s.BytesPerSecond < e.rate) {
			e.rate = s.BytesPerSecond
		}
	}
	return e
}

// lag is how long the next bytes stay. A real network's jitter is not the run's to decide, and nothing else depends on it.
func (e effect) lag() time.Duration {
	if e.jitter <= 0 {
		return e.delay
	}
	return e.delay + rand.N(e.jitter)
}

// burst is what may go at one time: a fiftieth of a second's worth.
func (e effect) burst() int { return int(max(e.rate/50, 1)) }

// Shape adds a shape to the link, for open connections and new ones.
func (p *Proxy) Shape(s Shape) {
	p.reshape(func() { p.shapes = append(slices.Clone(p.shapes), s) })
}

// Unshape takes the shapes with that ID away.
func (p *Proxy) Unshape(id int) {
	p.reshape(func() { p.shapes = slices.DeleteFunc(slices.Clone(p.shapes), func(s Shape) bool { return s.ID == id }) })
}

func (p *Proxy) reshape(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	e := combine(p.shapes)
	for c := range p.conns {
		for _, f := range c.flows {
			f.reshape(e)
		}
	}
}
