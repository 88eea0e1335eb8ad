package runner

import (
	"context"
	"time"
)

// A stall of the machine: the ticker is late by more than stallLate (CHECKS: rules that make verdicts trustworthy).
const (
	stallTick = 10 * time.Millisecond
	stallLate = 200 * time.Millisecond
)

// stalled is a stall of the runner's own ticker, in ns.
type stalled int64

// watchStalls reports stalls until ctx ends. now is the run's clock.
func watchStalls(ctx context.Context, now func() int64, report func(stalled)) {
	t := time.NewTicker(stallTick)
	defer t.Stop()
	last := now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n := now()
		if late := n - last - int64(stallTick); late > int64(stallLate) {
			report(stalled(late))
		}
		last = n
	}
}
