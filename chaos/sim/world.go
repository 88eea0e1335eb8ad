package sim

import (
	"soak/broker/core"
)

// event is one thing that happens at an instant of virtual time. Events at the same instant happen in the order in which they were set.
type event struct {
	at    int64
	order uint64
	do    func() // nil for the kinds below, which need no closure
	node  *node
	life  int        // of node: an event of an earlier life is void, 0 means any
	input core.Input // delivered to node; nil with node set: the node is to be turned
}

// world is the queue of everything that is still to happen.
type world struct {
	now   int64 // Unix ns, virtual
	queue []*event
	order uint64
	free  []*event
	count int64 // events that happened

	seed uint64
	rng  switchboard
}

func (w *world) event() *event {
	if k := len(w.free); k > 0 {
		e := w.free[k-1]
		w.free = w.free[:k-1]
		return e
	}
	return &event{}
}

// at has f called at an instant.
func (w *world) at(when int64, f func()) {
	e := w.event()
	*e = event{at: when, do: f}
	w.push(e)
}

// deliver has an input reach a node at an instant, if the node then still lives the same life (life 0: any life).
func (w *world) deliver(when int64, n *node, life int, in core.Input) {
	e := w.event()
	*e = event{at: when, node: n, life: life, input: in}
	w.push(e)
}

// turn has a node turned at an instant.
func (w *world) turn(when int64, n *node) {
	e := w.event()
	*e = event{at: when, node: n, life: n.life}
	w.push(e)
}

func (w *world) push(e *event) {
	if e.at < w.now {
		e.at = w.now
	}
	w.order++
	e.order = w.order
	q := append(w.queue, e)
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !before(e, q[p]) {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = e
	w.queue = q
}

func (w *world) pop() *event {
	q := w.queue
	top, last := q[0], q[len(q)-1]
	q[len(q)-1] = nil
	q = q[:len(q)-1]
	if n := len(q); n > 0 {
		i := 0
		for {
			c := 2*i + 1
			if c >= n {
				break
			}
			if c+1 < n && before(q[c+1], q[c]) {
				c++
			}
			if !before(q[c], last) {
				break
			}
			q[i] = q[c]
			i = c
		}
		q[i] = last
	}
	w.queue = q
	return top
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.order < b.order }

// next lets the next thing happen; false if there is none.
func (w *world) next() bool {
	if len(w.queue) == 0 {
		return false
	}
	e := w.pop()
	w.now = e.at
	w.count++
	do, n, life, in := e.do, e.node, e.life, e.input
	*e = event{}
	w.free = append(w.free, e)
	switch {
	case do != nil:
		do()
	case n == nil || life != 0 && life != n.life:
	case in != nil:
		n.receive(in)
	default:
		n.turnDue()
	}
	return true
}
