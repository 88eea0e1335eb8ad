package cli

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"soak/checkers"
)

// A signal may come before the first run, between two, or within one.
func TestASetThatASignalCutsShortHasNotPassed(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     int // after how many runs the signal comes; -1: never
		sig    syscall.Signal
		exit   int // of a run
		want   int
		report string
	}{
		{"never", -1, 0, exitHolds, exitHolds, "3 runs done: HOLDS 3 of 3"},
		{"before the first", 0, syscall.SIGTERM, exitHolds, exitTerminate, "0 runs done"},
		{"between two", 1, syscall.SIGINT, exitHolds, exitInterrupt, "1 run done: HOLDS 1 of 1"},
		{"between two, inconclusive", 2, syscall.SIGTERM, exitInconclusive, exitTerminate, "2 runs done"},
		{"between two, violated", 1, syscall.SIGTERM, exitViolated, exitViolated, "1 run done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			e := &env{stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }}
			s := newStopper(e)
			defer s.close()
			if c.at == 0 {
				s.ask(c.sig)
			}
			task := &task{env: e, flags: &runFlags{repeat: 3}, stop: s}
			code, err := task.repeat(func(nth int) (*outcome, error) {
				if nth == c.at {
					s.ask(c.sig)
				}
				return &outcome{exit: c.exit, verdict: map[int]checkers.Outcome{exitHolds: checkers.Holds, exitViolated: checkers.Violated}[c.exit]}, nil
			})
			if err != nil || code != c.want || !strings.HasPrefix(stdout.String(), c.report) {
				t.Errorf("exit %d, %v, %q; want %d, %q", code, err, stdout.String(), c.want, c.report)
			}
		})
	}
}
