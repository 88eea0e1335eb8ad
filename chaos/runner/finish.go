package runner

import (
	"context"
	"fmt"
	"time"
)

// overrun is how much longer than its context a cluster's method may take before it is left to itself.
const overrun = time.Second

// finish leaves nothing behind: it heals everything, closes the cluster and the clients, and records what still comes in meanwhile.
// The healing comes first whatever happened; a driver is told to heal even what was never injected, which does nothing.
func (s *shell) finish(interrupted bool) {
	healBudget, closeBudget := healAllBudget, closeBudget
	if interrupted {
		healBudget = interruptedHeal
		closeBudget = interruptedTotal - interruptedLoop - interruptedHeal
	}
	done := make(chan []error, 1)
	go func() {
		var errs []error
		if err := bounded(healBudget, s.cluster.HealAll); err != nil {
			errs = append(errs, fmt.Errorf("healing all faults at the end: %w", err))
		}
		if err := bounded(closeBudget, s.cluster.Close); err != nil {
			errs = append(errs, fmt.Errorf("closing the cluster: %w", err))
		}
		done <- errs
	}()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		// The operations' context has ended, so they come back at once.
		s.pool.wait(closeBudget)
		s.reading.wait()
		if s.clients != nil {
			s.clients.Close()
		}
	}()

	clusterGone, clientsGone := false, false
	patience := time.NewTimer(healBudget + closeBudget + 2*overrun)
	defer patience.Stop()
	for waiting := true; waiting && !(clusterGone && clientsGone); {
		select {
		case <-s.in.ready:
		case errs := <-done:
			clusterGone = true
			s.errs = append(s.errs, errs...)
		case <-closed:
			clientsGone = true
			closed = nil
		case <-patience.C:
			waiting = false
			s.errs = append(s.errs, fmt.Errorf("closing the clients: not done after %v", healBudget+closeBudget))
		}
		s.takeRest()
	}
	s.takeRest()
	s.diskHangs()
	s.recordUnfinished()
	s.metric()
	s.settle()
	s.o.Run.Phases = s.o.Loop.Phases()
	s.o.Run.RecordTopics = s.o.Loop.Topics()
	if why := s.o.Loop.Problem(); why != "" {
		s.note("%s", why)
	}
	s.o.Run.Notes = append(s.o.Run.Notes, s.o.Loop.Notes()...)
	s.o.Status(s.o.Loop.Status())
	s.flush()
}

// recordUnfinished writes the line of each fault that a loop which was given up has not recorded.
func (s *shell) recordUnfinished() {
	for _, f := range s.o.Loop.Status().Active {
		if s.faults.byID[f.ID] == nil {
			continue
		}
		if f.Error != "" {
			f.Error += "; "
		}
		f.Error += "the run ended first: healed with everything at its end"
		s.recordFault(f)
	}
}

// takeRest records what came in after the loop's end. Clients of a start that came too late are closed with the rest.
func (s *shell) takeRest() {
	s.finished = true
	for _, x := range s.in.takeAll() {
		if late, ok := x.(started); ok {
			if late.clients != nil {
				go late.clients.Close()
			}
			continue
		}
		s.take(x)
	}
}

// bounded calls fn with a context of that length, and leaves it to itself when it does not heed that.
func bounded(d time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	guard := time.NewTimer(d + overrun)
	defer guard.Stop()
	select {
	case err := <-done:
		return err
	case <-guard.C:
		return fmt.Errorf("no answer after %v", d+overrun)
	}
}
