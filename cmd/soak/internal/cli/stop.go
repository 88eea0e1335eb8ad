package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// stopWithin is what a signal leaves time for: the runner heals and collects within seven seconds of its context's end, then
// the run is judged.
const stopWithin = 8 * time.Second

// stopper turns signals into the end of a run. The first ends the context: faults are healed, what there is is
// collected and judged. The second ends the program at once; nodes end with it or are removed by the next start.
type stopper struct {
	ctx context.Context

	mu     sync.Mutex
	signal syscall.Signal // 0 until asked
	words  string         // what the first signal is answered with
	wait   time.Duration  // how long its work may go on; 0: as long as it takes
	found  func() int     // violations so far

	cancel context.CancelFunc
	sigs   chan os.Signal
	done   chan struct{}
}

// stopSignals end a run in order. A terminal that is closed sends SIGHUP.
var stopSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

func newStopper(e *env) *stopper {
	s := &stopper{
		sigs: make(chan os.Signal, 2), done: make(chan struct{}),
		words: "ending: healing, then judging what there is (once more to stop at once)", wait: stopWithin,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	signal.Notify(s.sigs, stopSignals...)
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone must not end a run that has a cluster to take down
	go s.listen(e)
	return s
}

func (s *stopper) listen(e *env) {
	var over <-chan time.Time
	for {
		select {
		case sig := <-s.sigs:
			number, _ := sig.(syscall.Signal)
			if s.asked() {
				fmt.Fprintln(e.stderr, "stopped at once; soak clean removes what is left behind")
				os.Exit(s.code())
			}
			words, wait := s.answer()
			fmt.Fprintln(e.stderr, words)
			if wait > 0 {
				over = time.After(wait)
			}
			s.ask(number)
		case <-over:
			fmt.Fprintln(e.stderr, "note: judging took too long; soak check latest judges the run")
			os.Exit(s.code())
		case <-s.done:
			return
		}
	}
}

// calm is for work that has nothing to heal: a signal is answered with these words, and what is under way may end.
func (s *stopper) calm(words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words, s.wait = words, 0
}

func (s *stopper) answer() (words string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.words, s.wait
}

// ask takes the first signal.
func (s *stopper) ask(sig syscall.Signal) {
	s.mu.Lock()
	s.signal = sig
	s.mu.Unlock()
	s.cancel()
}

// counting says who counts the violations of the run that is under way.
func (s *stopper) counting(found func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = found
}

// asked reports whether a signal came.
func (s *stopper) asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal != 0
}

// asSignal is the signal that came, as it is passed on.
func (s *stopper) asSignal() os.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal
}

// reason is the signal's name, "" if none came.
func (s *stopper) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return signalName(s.signal)
}

// code is the exit code of a run that a signal ended: a violation that was found already comes first.
func (s *stopper) code() int {
	s.mu.Lock()
	found, sig := s.found, s.signal
	s.mu.Unlock()
	if found != nil && found() > 0 {
		return exitViolated
	}
	if sig == syscall.SIGTERM || sig == syscall.SIGHUP {
		return exitTerminate
	}
	return exitInterrupt
}

func (s *stopper) close() {
	signal.Stop(s.sigs)
	close(s.done)
	s.cancel()
}

func signalName(sig syscall.Signal) string {
	switch sig {
	case 0:
		return ""
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return sig.String()
}
