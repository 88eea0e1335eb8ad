package runner

import (
	"fmt"

	"soak/history"
)

// The disk that the run's record is on is mostly the nodes' as well, at least for their logs: when it is full, a node that cannot write
// ends by itself, often before the runner's own buffers have met the same. Such an end is a sign of a harness that failed, not
// of a bad broker. So one that nobody asked for is held back until what was recorded up to then, and in the second after, could be written.

// crash reports whether an event tells of a node's end that nobody asked for.
func crash(e *history.Event) bool {
	switch b := e.Body.(type) {
	case *history.Exit:
		return !b.Asked
	case *history.LogLine:
		return b.What == "fatal"
	}
	return false
}

// hold keeps an event back until the record is known to be sound.
func (s *shell) hold(e history.Event) {
	s.held = append(s.held, e)
	s.flush()
}

// flush writes what was recorded, and ends the run where that fails. It reports whether the record is sound.
func (s *shell) flush() bool {
	err := s.o.Recorder.Flush()
	if err == nil {
		return true
	}
	for _, e := range s.held {
		s.note("%s, after the record could no longer be written: not held against it", crashWords(&e))
	}
	s.held = nil
	if !s.ending {
		s.errs = append(s.errs, fmt.Errorf("writing the run's record: %w", err))
		s.endNow("the run's record cannot be written", endGrace)
	}
	return false
}

// settle flushes, and records what was held back if that went well.
func (s *shell) settle() {
	if !s.flush() {
		return
	}
	for _, e := range s.held {
		s.record(e)
	}
	s.held = nil
}

func crashWords(e *history.Event) string {
	switch b := e.Body.(type) {
	case *history.Exit:
		return fmt.Sprintf("n%d exited with code %d", b.Of, b.Code)
	case *history.LogLine:
		return fmt.Sprintf("n%d logged a fatal error", b.Of)
	}
	return "an event"
}
