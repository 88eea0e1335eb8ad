package runner

import (
	"context"
	"sync"
	"time"

	"soak/history"
)

// Operations in flight at once. Generators bound themselves far below; these bound what a mistake in a scenario can cost.
const (
	maxProduceInFlight = 4096
	maxOtherInFlight   = 1024
)

// opDone is an operation that came back, with the time at which the loop meant it to start: latency counts from there, so that
// a generator which cannot keep up does not hide it.
type opDone struct {
	op       *history.Operation
	intended int64
}

// pool carries operations out, each in a goroutine. Produce and everything else are bounded apart, so that a stuck partition
// cannot keep the metadata operations waiting. It is used from one goroutine.
type pool struct {
	ctx    context.Context
	now    func() int64
	done   func(opDone)
	do     func(context.Context, *history.Operation)
	lanes  [2]lane
	flying sync.WaitGroup
}

type lane struct {
	limit    int
	inFlight int
	waiting  []opDone
}

func newPool(ctx context.Context, now func() int64, do func(context.Context, *history.Operation), done func(opDone)) *pool {
	p := &pool{ctx: ctx, now: now, do: do, done: done}
	p.lanes[0].limit = maxProduceInFlight
	p.lanes[1].limit = maxOtherInFlight
	return p
}

func (p *pool) lane(op *history.Operation) *lane {
	if op.Produce != nil {
		return &p.lanes[0]
	}
	return &p.lanes[1]
}

// start hands an operation over at once, or when an earlier one of its lane is done.
func (p *pool) start(op *history.Operation) {
	l := p.lane(op)
	w := opDone{op, op.Invoke}
	if l.inFlight >= l.limit {
		l.waiting = append(l.waiting, w)
		return
	}
	p.launch(l, w)
}

// landed says that an operation's result was taken in, and starts the next of its lane.
func (p *pool) landed(op *history.Operation) {
	l := p.lane(op)
	l.inFlight--
	if len(l.waiting) == 0 || p.ctx.Err() != nil {
		return
	}
	next := l.waiting[0]
	l.waiting = l.waiting[1:]
	next.op.Invoke = p.now() // it is handed over only now
	p.launch(l, next)
}

func (p *pool) launch(l *lane, w opDone) {
	l.inFlight++
	if w.op.Invoke == 0 {
		w.op.Invoke = p.now()
		w.intended = w.op.Invoke
	}
	p.flying.Go(func() {
		p.do(p.ctx, w.op)
		w.op.Complete = p.now()
		if w.op.Outcome == "" {
			w.op.Outcome, w.op.Error = history.Unknown, "the client gave no outcome"
		}
		p.done(w)
	})
}

// wait waits for the operations in flight, at most for d; false means that some are still out.
func (p *pool) wait(d time.Duration) bool {
	landed := make(chan struct{})
	go func() {
		p.flying.Wait()
		close(landed)
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-landed:
		return true
	case <-t.C:
		return false
	}
}
