package owner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Process names one process for good: a pid alone is used again, a pid with its start time is not.
type Process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // when it started, in the system's own words, with the boot of the machine
}

// errGone says that no process has this pid.
var errGone = errors.New("no such process")

// Identify names a running process.
func Identify(pid int) (Process, error) {
	start, _, err := look(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start}, nil
}

// Running reports whether this very process is still there; one that ended and was not waited for is not.
func (p Process) Running() bool {
	start, state, err := look(p.PID)
	return err == nil && start == p.Start && state != Zombie
}

// State of a process.
type State byte

const (
	Other   State = iota // runs, sleeps, waits
	Stopped              // by SIGSTOP
	Zombie               // has ended and was not waited for
)

// State looks at this very process: an error if it is gone.
func (p Process) State() (State, error) {
	start, state, err := look(p.PID)
	if err == nil && start != p.Start {
		err = errGone
	}
	if err != nil {
		return Other, fmt.Errorf("looking at process %d: %w", p.PID, err)
	}
	return state, nil
}

// Kill ends this very process with SIGKILL, which a stopped one obeys too, and returns when it is gone. It reports
// whether there was something to kill.
func (p Process) Kill(ctx context.Context) (bool, error) {
	if p.PID <= 1 || p.PID == os.Getpid() {
		return false, fmt.Errorf("killing process %d: that cannot be a node", p.PID)
	}
	// Found first and identified after: where the system has process handles (Linux 5.3), the signal then cannot reach
	// another process that was given the same pid in between.
	h, err := os.FindProcess(p.PID)
	if err != nil {
		return false, nil
	}
	defer h.Release()
	if !p.Running() {
		return false, nil
	}
	if err := h.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("killing process %d: %w", p.PID, err)
	}
	for p.Running() {
		select {
		case <-ctx.Done():
			return true, fmt.Errorf("waiting for process %d to end: %w", p.PID, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true, nil
}
