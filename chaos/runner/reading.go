package runner

import (
	"context"
	"sync"

	"soak/history"
)

// consumed is what a consumer that reads along was given.
type consumed struct{ op *history.Operation }

// reading is the consumers that read along, while they do. The zero value is none.
type reading struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// read starts the consumers.
func (s *shell) read() {
	if s.o.Readers == 0 || s.reading.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.reading.cancel = cancel
	topics := s.o.Loop.Topics()
	s.reading.done.Go(func() {
		s.clients.Read(ctx, topics, s.o.Readers, s.now, func(op *history.Operation) { s.in.put(consumed{op}) })
	})
}

// stop has the consumers end, and does not wait for it.
func (r *reading) stop() {
	if r.cancel != nil {
		r.cancel()
	}
}

// wait waits until they have ended.
func (r *reading) wait() { r.done.Wait() }
