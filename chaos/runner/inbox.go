package runner

import "sync"

// inbox is an unbounded queue from many goroutines to one. Unbounded, because a sink must return fast and nothing may be lost; what
// feeds it is bounded in turn (operations in flight, what three nodes can log).
type inbox struct {
	mu    sync.Mutex
	items []any
	ready chan struct{} // holds a token while items may be waiting
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

func (q *inbox) put(x any) {
	q.mu.Lock()
	q.items = append(q.items, x)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// takeAll takes what is waiting, in order.
func (q *inbox) takeAll() []any {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}
