package vfs

import (
	"slices"
	"strings"
	"syscall"
	"time"
)

// ShimMark stands in the text of every error that a Shim makes up: so an error that was injected can be told from a real one wherever
// it is quoted.
const ShimMark = "[fault shim]"

// ShimError is an error that a Shim made up in place of a call. It wraps what the system would have answered.
type ShimError struct{ Err error }

func (e *ShimError) Error() string { return e.Err.Error() + " " + ShimMark }
func (e *ShimError) Unwrap() error { return e.Err }

// maxDelay bounds what a slow disk adds to one call.
const maxDelay = 10 * time.Second

// ShimFault is a fault in a Shim. Of a SimFault it uses Kind, Factor, Free and Short. After a failed sync pages stay in the real kernel's cache,
// where a next process reads them; a loss of power in this one's life takes them, whatever later syncs answered.
type ShimFault struct {
	SimFault
	s      *Shim
	active bool // for the broker's calls too
	counts ShimCounts
	ended  chan struct{}
}

// ShimCounts is what a fault did to the broker's own calls.
type ShimCounts struct {
	Refused int           // calls that failed
	Delayed int           // calls that took longer
	Delay   time.Duration // in all
	Last    string        // the last of them: call and path
}

// Inject adds a fault that probes meet at once, and the broker's own calls from Activate on: so that who injects it has looked at it
// before the broker stops of it.
func (s *Shim) Inject(f SimFault) *ShimFault {
	in := &ShimFault{SimFault: f, s: s, ended: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, in)
	return in
}

// Activate lets the broker's calls meet the fault.
func (f *ShimFault) Activate() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.active = true
}

// Heal ends the fault, also for calls that it is holding up. Healing twice does nothing.
func (f *ShimFault) Heal() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if i := slices.Index(f.s.faults, f); i >= 0 {
		f.s.faults = slices.Delete(f.s.faults, i, i+1)
		close(f.ended)
	}
}

// Counts tells what the fault has done so far.
func (f *ShimFault) Counts() ShimCounts {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.counts
}

// refuse asks the faults about a call, and answers how many of a write's bytes are written.
func (s shimFS) refuse(op Op, path string, bytes int) (fits int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !f.active && !s.probe {
			continue
		}
		asked := &f.SimFault
		if s.probe { // a probe uses up nothing
			look := f.SimFault
			asked = &look
		}
		fits, err := asked.refuses(op, bytes)
		if f.Kind == SyncError && op == OpSync {
			err = syscall.EIO
		}
		if err == nil {
			continue
		}
		if !s.probe {
			f.counts.Refused++
			f.counts.Last = string(op) + " " + path
		}
		return fits, pathError(string(op), path, &ShimError{err})
	}
	return bytes, nil
}

// call does one call, or refuses it, or makes it late.
func (s shimFS) call(op Op, path string, do func() error) error {
	s.gate.RLock()
	if _, err := s.refuse(op, path, 0); err != nil {
		s.gate.RUnlock()
		return err
	}
	begin := time.Now()
	err := do()
	took := time.Since(begin)
	s.gate.RUnlock()
	s.delay(op, path, took)
	return err
}

// write does one write of p, as much of it as the faults let through.
func (s shimFS) write(path string, p []byte, do func(fits []byte) error) error {
	s.gate.RLock()
	fits, refused := s.refuse(OpWrite, path, len(p))
	if refused != nil && fits == 0 {
		s.gate.RUnlock()
		return refused
	}
	begin := time.Now()
	err := do(p[:fits])
	took := time.Since(begin)
	s.gate.RUnlock()
	if err == nil {
		err = refused
	}
	s.delay(OpWrite, path, took)
	return err
}

// delay makes a call that took so long take the longer that a slow disk makes it, or until the fault ends.
func (s shimFS) delay(op Op, path string, took time.Duration) {
	s.mu.Lock()
	var slow *ShimFault
	for _, f := range s.faults {
		if f.Kind == SlowDisk && (f.active || s.probe) && (slow == nil || f.Factor > slow.Factor) {
			slow = f // of several the slowest
		}
	}
	s.mu.Unlock()
	if slow == nil {
		return
	}
	begin := time.Now()
	late := time.NewTimer(min(maxDelay, took*time.Duration(max(slow.Factor, 1)-1)))
	select {
	case <-late.C:
	case <-slow.ended:
		late.Stop()
	}
	if s.probe {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slow.counts.Delayed++
	slow.counts.Delay += time.Since(begin)
	slow.counts.Last = string(op) + " " + path
}

// ShimProbe is what one look at the disk showed. Probes go the way of the broker's calls and meet the same faults.
type ShimProbe struct {
	Took    time.Duration // of all steps
	Refused string        // the error of the step that failed; "" if all went well
	Step    Op            // which that was
}

// probeFile is the file in the data directory that probes write. It stays there: a removal would have to be synced each time.
const probeFile = "fault-probe"

// Probe makes or empties a small file in the data directory, writes it, syncs it and reads it back.
func (s *Shim) Probe() ShimProbe {
	through := shimFS{s, true}
	path := s.dir + "/" + probeFile
	begin := time.Now()
	step, err := through.lookAt(path)
	p := ShimProbe{Took: time.Since(begin)}
	if err != nil {
		p.Step, p.Refused = step, err.Error()
	}
	return p
}

func (s shimFS) lookAt(path string) (step Op, err error) {
	f, err := s.Create(path)
	if err != nil {
		return OpCreate, err
	}
	content := []byte(strings.Repeat("soak", SectorBytes/4))
	if _, err = f.Write(content); err != nil {
		step = OpWrite
	}
	if err == nil {
		if err = f.Sync(); err != nil {
			step = OpSync
		}
	}
	if err == nil {
		if _, err = f.ReadAt(content, 0); err != nil {
			step = OpRead
		}
	}
	_ = f.Close() // what was to be seen has been
	return step, err
}
