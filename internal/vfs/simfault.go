package vfs

import (
	"slices"
	"syscall"
)

// SimFault is something wrong with a disk for a time. Virtual times are nanoseconds.
type SimFault struct {
	Kind  SimFaultKind
	From  int64             // calls that are done at this time or later meet it
	Until int64             // and before this one; 0: until Heal
	Match func(string) bool // of a call's path, as it was opened; nil: all
	Times int               // how many calls it refuses at most; 0: all

	Factor int64 // SlowDisk: a call takes so many times as long, at least 1
	Free   int64 // DiskFull: so many bytes can still be written
	Short  bool  // DiskFull and WriteError: the write that is refused leaves a part: what fits, or half
	// Lingers (SyncError) leaves dropped pages in the cache when the process dies, so that the next boot reads them, syncs
	// without an error, and loses them with the power.
	Lingers bool
	Keeps   bool // SyncError: the pages stay dirty, and a later sync writes them
}

// SimFaultKind is what is wrong.
type SimFaultKind uint8

// The faults. Bit rot is Sim.Flip.
const (
	// DiskFull refuses writes, new files and new directories with ENOSPC once Free bytes are used up.
	DiskFull SimFaultKind = iota + 1
	// SlowDisk makes every call take Factor times as long.
	SlowDisk
	// WriteError refuses writes with EIO.
	WriteError
	// SyncError fails syncs with EIO. As on Linux the pages are then marked clean, though they were not written: the process
	// still reads them, later syncs succeed and write nothing, and when the process or the power goes they are lost
	// (Crash: all that was not synced before; PowerLoss: as choose says). Lingers and Keeps change that.
	SyncError
	// ReadError refuses reads with EIO.
	ReadError
)

// Injected is a fault in a Sim, and what it did: the evidence.
type Injected struct {
	SimFault
	Refused int   // calls that failed
	Delayed int   // calls that took longer
	Delay   int64 // nanoseconds in all
	healed  bool
}

// Heal ends the fault for calls from now on. What it did to pages stays.
func (f *Injected) Heal() { f.healed = true }

// Inject adds a fault.
func (s *Sim) Inject(f SimFault) *Injected {
	if f.Until == 0 {
		f.Until = never
	}
	in := &Injected{SimFault: f}
	s.faults = append(s.faults, in)
	return in
}

// dropFaults forgets those that are over.
func (s *Sim) dropFaults() {
	if len(s.faults) > 0 {
		s.faults = slices.DeleteFunc(s.faults, func(f *Injected) bool { return f.healed || f.Until <= s.settled })
	}
}

func (f *Injected) meets(now int64, path string) bool {
	return !f.healed && f.From <= now && now < f.Until && (f.Times == 0 || f.Refused < f.Times) && (f.Match == nil || f.Match(path))
}

// delay is how much longer a call of latency d takes.
func (s *Sim) delay(path string, d int64) int64 {
	more := int64(0)
	for _, f := range s.faults {
		if f.Kind == SlowDisk && f.meets(s.now, path) {
			extra := (max(f.Factor, 1) - 1) * d
			f.Delayed++
			f.Delay += extra
			more += extra
		}
	}
	return more
}

// refuse asks the faults about a call, and answers how many of a write's bytes are written.
func (s *Sim) refuse(op Op, path string, bytes int) (fits int, err error) {
	if len(s.faults) == 0 {
		return bytes, nil
	}
	for _, f := range s.faults {
		if !f.meets(s.now, path) {
			continue
		}
		if fits, err := f.refuses(op, bytes); err != nil {
			f.Refused++
			return fits, err
		}
	}
	return bytes, nil
}

// refuses asks a fault that a call meets: the error with which it fails, nil if it does not, and how many of a write's bytes are written
// all the same. A file's sync is not asked here.
func (f *SimFault) refuses(op Op, bytes int) (fits int, err error) {
	switch {
	case f.Kind == DiskFull && (op == OpWrite || op == OpCreate || op == OpMkdir):
		if need := int64(max(bytes, 1)); f.Free >= need {
			f.Free -= int64(bytes)
			return bytes, nil
		}
		if f.Short {
			fits = int(f.Free)
			f.Free = 0
		}
		return min(fits, bytes), syscall.ENOSPC
	case f.Kind == WriteError && op == OpWrite:
		if f.Short {
			fits = bytes / 2
		}
		return fits, syscall.EIO
	case f.Kind == ReadError && op == OpRead, f.Kind == SyncError && op == OpSyncDir:
		return 0, syscall.EIO
	}
	return bytes, nil
}

// refuseSync asks the faults about a file's sync.
func (s *Sim) refuseSync(file *simFile) error {
	for _, f := range s.faults {
		if f.Kind != SyncError || !f.meets(s.now, file.path) {
			continue
		}
		f.Refused++
		if n := file.n; !f.Keeps && len(n.changes) > 0 && n.changes[len(n.changes)-1].kind != simSync && n.failedSync == 0 {
			n.failedSync = s.stampOne(n) + 1
			n.lingers = f.Lingers
		}
		return syscall.EIO
	}
	return nil
}

// Flip turns over one bit (0 to 7) of the byte at off in a file, as bits rot at rest: readers see it, no sync mends
// it. It says whether there is such a byte; Files tells what there is.
func (s *Sim) Flip(path string, off int64, bit uint) bool {
	n, err := s.find(path)
	if err != nil || n.dir || off < 0 || off >= int64(len(n.data)) {
		return false
	}
	n.data[off] ^= 1 << (bit & 7)
	return true
}
