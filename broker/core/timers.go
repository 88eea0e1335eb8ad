package core

import (
	"container/heap"
	"time"
)

// timer is one pending wake-up.
type timer struct {
	at    int64
	order uint64 // timers due at the same instant fire in the order they were set
	f     func()
	in    *timers
	index int // in the heap, -1 when not in it
}

// cancel takes the timer out of the heap at once: clients choose how long some would wait.
func (t *timer) cancel() {
	if t != nil && t.index >= 0 {
		heap.Remove(&t.in.h, t.index)
	}
}

// timers is a heap of wake-ups in virtual time; the node's only clock is what Step is told.
type timers struct {
	h     timerHeap
	order uint64
}

func (ts *timers) at(when int64, f func()) *timer {
	ts.order++
	t := &timer{at: when, order: ts.order, f: f, in: ts}
	heap.Push(&ts.h, t)
	return t
}

// fire runs all timers that are due at now. A timer set by one of them for now or earlier waits for the next
// call, so that a timer that sets itself again cannot hold the caller.
func (ts *timers) fire(now int64) {
	limit := ts.order
	for len(ts.h) > 0 && ts.h[0].at <= now {
		t := ts.h[0]
		if t.order > limit {
			break
		}
		heap.Pop(&ts.h)
		t.f()
	}
}

// wake returns how long until the next timer, at least 0.
func (ts *timers) wake(now int64) time.Duration {
	if len(ts.h) == 0 {
		return time.Second
	}
	return time.Duration(max(ts.h[0].at-now, 0))
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	t.index = -1
	*h = old[:len(old)-1]
	return t
}
