// Package faultshim is how a run tells a broker's fault shim (vfs.Shim) what to do: the requests and their answers, the
// broker's side (Server) and the run's (Client). They meet on the broker's admin port, as JSON over HTTP.
//
// The lease of a fault is held here, where the fault is: one that is not renewed for LeaseTime ends by itself, so that a run that is
// killed leaves no broken disk behind.
//
// It is off unless the broker is started with --fault-shim, for it can end the process and lose data: that is its purpose.
package faultshim

import (
	"fmt"
	"time"

	"soak/internal/vfs"
)

// Mark stands in every error that the shim made up, and so in what the broker says of it.
const Mark = vfs.ShimMark

const (
	// LeaseTime is how long a fault lasts without a renewal, in the time in which the process runs: a process that is stopped for a
	// minute does not lose a fault by that.
	LeaseTime = 4 * time.Second

	// SetTime is the most that setting a fault may take: the probe that meets it is part of it, and on a slow disk that is slow.
	SetTime = 15 * time.Second

	// RenewEvery is how often a run renews: one renewal that is lost does no harm.
	RenewEvery = LeaseTime / 4

	// MaxFaults bounds how many faults there are at a time.
	MaxFaults = 16

	// MaxFactor bounds how many times as long a slow disk takes.
	MaxFactor = 1_000_000

	maxID     = 1 << 30
	maxFree   = 1 << 30
	maxWithin = 10 * time.Second
)

// Kinds of fault, as scenarios name them.
const (
	DiskFull   = "disk-full"
	SlowDisk   = "slow-disk"
	WriteError = "write-error"
	SyncError  = "fsync-error"
	ReadError  = "read-error"
)

var kinds = map[string]vfs.SimFaultKind{
	DiskFull: vfs.DiskFull, SlowDisk: vfs.SlowDisk, WriteError: vfs.WriteError, SyncError: vfs.SyncError, ReadError: vfs.ReadError,
}

// Fault is a fault to set.
type Fault struct {
	ID     int    `json:"id"` // the run's own number of it, from 1
	Kind   string `json:"kind"`
	Factor int64  `json:"factor,omitempty"` // slow-disk: 2 to a million times as long, a call 10 s at most
	Free   int64  `json:"free,omitempty"`   // disk-full: bytes that can still be written
	Short  bool   `json:"short,omitempty"`  // disk-full, write-error: the write that is refused leaves a part
}

func (f Fault) check() error {
	_, known := kinds[f.Kind]
	switch {
	case f.ID < 1 || f.ID > maxID:
		return fmt.Errorf("id %d: want 1 to %d", f.ID, maxID)
	case !known:
		return fmt.Errorf("unknown kind %q", f.Kind)
	case f.Kind == SlowDisk && (f.Factor < 2 || f.Factor > MaxFactor):
		return fmt.Errorf("factor %d: want 2 to %d", f.Factor, MaxFactor)
	case f.Free < 0 || f.Free > maxFree:
		return fmt.Errorf("free %d: want 0 to %d", f.Free, maxFree)
	}
	return nil
}

// Status is what a fault has done to the broker's own calls so far.
type Status struct {
	ID      int    `json:"id"`
	Kind    string `json:"kind"`
	Refused int    `json:"refused"`        // calls that failed
	Delayed int    `json:"delayed"`        // calls that took longer
	Micros  int64  `json:"micros"`         // how much longer in all
	Last    string `json:"last,omitempty"` // the last of them: call and path
}

// Probe is one look at the disk: a small file written, synced and read back, by the way that the broker's own calls take.
type Probe struct {
	Micros  int64  `json:"micros"`            // how long it took
	Step    string `json:"step,omitempty"`    // the step that failed: create, write, sync or read
	Refused string `json:"refused,omitempty"` // its error; "" if all went well
}

// Words tells a probe in a sentence's part.
func (p Probe) Words() string {
	if p.Refused != "" {
		return fmt.Sprintf("a probe's %s is refused: %s", p.Step, p.Refused)
	}
	return fmt.Sprintf("a probe of 512 bytes is written, synced and read in %.1f ms", float64(p.Micros)/1000)
}

// PowerCut asks for a loss of power.
type PowerCut struct {
	Seed   uint64 `json:"seed"`   // chooses what of the unsynced is found
	Within int64  `json:"within"` // milliseconds to wait for a sync with something to lose; at most 10 s
}

// Loss is what a loss of power did. The process ends right after it is told.
type Loss struct {
	Unsynced int64 `json:"unsynced"` // bytes written and not synced
	Dropped  int64 `json:"dropped"`  // of these, not found
	Files    int   `json:"files"`    // that lost some
	Names    int   `json:"names"`    // made, renamed or removed, and found as they were before
}

// Paths on the admin port.
const (
	pathStatus = "/fault-shim"
	pathSet    = "/fault-shim/set"
	pathRenew  = "/fault-shim/renew"
	pathEnd    = "/fault-shim/end"
	pathProbe  = "/fault-shim/probe"
	pathPower  = "/fault-shim/power-loss"
)

// which names a fault that is there.
type which struct {
	ID int `json:"id"`
}
