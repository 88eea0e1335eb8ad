package sidecar

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// Shape is what a Cut may do to packets in place of dropping them: each is kept for Delay, and up to Jitter more, and of each link and way no
// more than BytesPerSecond go on. Order is kept, as a wire keeps it. Zero values do nothing.
type Shape struct {
	Delay, Jitter  time.Duration
	BytesPerSecond int64
}

// Bounds of what is kept. What comes beyond them is lost, as a router loses it, and TCP sends it again.
const (
	// MaxPackets is how many packets are kept in all.
	MaxPackets = 16 << 10

	// minBacklog is how many bytes a link of a bounded rate keeps at least; otherwise it is as many as go on in maxWait.
	minBacklog = 16 << 10
	maxWait    = time.Second
)

// Link is what became of the packets of one rule since the state began.
type Link struct {
	Bytes  int64         `json:"bytes"`            // that went on
	Took   time.Duration `json:"took"`             // that the last of them had been kept
	Waited int64         `json:"waited,omitempty"` // bytes that waited for a bounded rate
	Lost   int64         `json:"lost,omitempty"`   // packets that there was no room for
}

// packet is one that the kernel has handed over and waits for word of.
type packet struct {
	id   uint32
	rule string
	size int
}

// kept is a packet that waits.
type kept struct {
	packet
	at, due time.Time
	turn    uint64 // among those of one instant
}

// lane is one link and way.
type lane struct {
	Link
	last    time.Time // when the last packet of it is due
	freeAt  time.Time // with a bounded rate: when the next may begin to go
	backlog int64     // bytes kept
}

// traffic decides when packets go on. It has no clock and no goroutine of its own: see shaped.
type traffic struct {
	mu    sync.Mutex
	shape Shape
	on    bool
	since time.Time // when that began
	lanes map[string]*lane
	queue byDue
	turns uint64
}

func newTraffic(s Shape) *traffic { return &traffic{shape: s, lanes: map[string]*lane{}} }

// enter begins to shape, or ends it: then all that is kept is due at once.
func (t *traffic) enter(on bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.since = on, now
	for _, l := range t.lanes {
		l.Link = Link{}
		l.last, l.freeAt = time.Time{}, time.Time{}
	}
	if !on {
		for i := range t.queue {
			t.queue[i].due = now
		}
		heap.Init(&t.queue)
	}
}

// arrive takes a packet, and reports whether there is room for it.
func (t *traffic) arrive(p packet, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[p.rule]
	if l == nil {
		l = &lane{}
		t.lanes[p.rule] = l
	}
	due := now
	if t.on {
		if len(t.queue) >= MaxPackets || t.shape.BytesPerSecond > 0 && l.backlog > max(minBacklog, t.shape.BytesPerSecond*int64(maxWait/time.Second)) {
			l.Lost++
			return false
		}
		if t.shape.BytesPerSecond > 0 {
			if l.freeAt.After(due) {
				due = l.freeAt
				l.Waited += int64(p.size)
			}
			due = due.Add(time.Duration(int64(p.size) * int64(time.Second) / t.shape.BytesPerSecond))
			l.freeAt = due
		}
		due = due.Add(t.shape.Delay)
		if t.shape.Jitter > 0 { // a real network's is not the run's to decide
			due = due.Add(rand.N(t.shape.Jitter))
		}
	}
	if due.Before(l.last) {
		due = l.last
	}
	l.last = due
	l.backlog += int64(p.size)
	t.turns++
	heap.Push(&t.queue, kept{packet: p, at: now, due: due, turn: t.turns})
	return true
}

// depart gives the packets that go on now, in order, and otherwise when the next is due: the zero time where none is kept.
func (t *traffic) depart(now time.Time) (ids []uint32, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 && !t.queue[0].due.After(now) {
		k := heap.Pop(&t.queue).(kept)
		l := t.lanes[k.rule]
		l.backlog -= int64(k.size)
		if !k.at.Before(t.since) { // what came before tells of the state before
			l.Bytes += int64(k.size)
			l.Took = now.Sub(k.at)
		}
		ids = append(ids, k.id)
	}
	if len(t.queue) > 0 {
		next = t.queue[0].due
	}
	return ids, next
}

// links are the counts of all links and ways that had a packet.
func (t *traffic) links() map[string]Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := map[string]Link{}
	for rule, l := range t.lanes {
		of[rule] = l.Link
	}
	return of
}

// keeps reports whether packets wait.
func (t *traffic) keeps() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) > 0
}

// byDue is a heap of kept packets.
type byDue []kept

func (q byDue) Len() int { return len(q) }
func (q byDue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].turn < q[j].turn
}
func (q byDue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *byDue) Push(x any)   { *q = append(*q, x.(kept)) }
func (q *byDue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
