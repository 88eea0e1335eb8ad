package campaign

import (
	"slices"
	"sort"

	"soak/chaos/sim"
	"soak/history"
)

// States of the brokers that a fault may find them in.
const (
	Steady     = "steady"      // none of the others
	Election   = "election"    // raft has no leader
	ISRShrunk  = "isr-shrunk"  // a partition's ISR lacks a replica
	Truncation = "truncation"  // a replica has just cut its log
	Starting   = "starting"    // a node has just begun a boot
	Snapshot   = "snapshot"    // a node has just taken a raft snapshot, or installed one that was sent to it
	Overlap    = "other-fault" // another fault is in effect
)

// States lists them in the order of the table.
func States() []string {
	return []string{Steady, Election, ISRShrunk, Truncation, Starting, Snapshot, Overlap}
}

// Kinds lists the faults that the simulator can do.
func Kinds() []string {
	var out []string
	for k, why := range sim.Capabilities() {
		if why == "" {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}

// shortly is how long a truncation and a boot count as just now, in ns.
const shortly = int64(1_000_000_000)

// window is a time in which a state held, end 0 while it does.
type window struct{ from, to int64 }

// met follows the states of the brokers, so that a fault can be told which of them it found. Faults are recorded when they are over, so
// the windows are kept.
type met struct {
	election, shrunk []window
	cut, boot, snaps []int64 // instants
	snapshots        map[string]int
	applied          uint64 // the highest index so far
	lacking          map[partition]bool
	candidates       map[int32]bool
	faults           []history.Fault
}

type partition struct {
	topic string
	id    int32
}

func newMet() *met {
	return &met{lacking: map[partition]bool{}, candidates: map[int32]bool{}, snapshots: map[string]int{}}
}

func (m *met) event(e *history.Event) {
	switch b := e.Body.(type) {
	case *history.RoleChange:
		m.role(e.Node, b.Role, e.Time)
	case *history.Apply:
		if b.Index <= m.applied {
			return // a node that lags applies what was, not what is
		}
		m.applied = b.Index
		for _, c := range b.Changes {
			k := partition{c.Topic, c.Partition}
			if !c.Gone && len(c.ISR) < len(c.Replicas) {
				m.lacking[k] = true
			} else {
				delete(m.lacking, k)
			}
		}
		if len(m.lacking) > 0 {
			m.shrunk = openWindow(m.shrunk, e.Time)
		} else {
			closeWindow(m.shrunk, e.Time)
		}
	case *history.Partition:
		if b.Cause == "truncation" {
			m.cut = append(m.cut, e.Time)
		}
	case *history.Snapshot:
		m.snapshots[b.What]++
		if b.What != history.SnapshotRestored {
			m.snaps = append(m.snaps, e.Time)
		}
	case *history.Started:
		m.boot = append(m.boot, e.Time)
	}
}

// role follows the election: from the first candidate until one leads, or none stands any more.
func (m *met) role(node int32, r history.Role, at int64) {
	switch r {
	case history.RoleLeader:
		clear(m.candidates)
	case history.RoleFollower:
		delete(m.candidates, node)
	default:
		m.candidates[node] = true
	}
	if len(m.candidates) > 0 {
		m.election = openWindow(m.election, at)
	} else {
		closeWindow(m.election, at)
	}
}

func openWindow(ws []window, at int64) []window {
	if n := len(ws); n > 0 && ws[n-1].to == 0 {
		return ws
	}
	return append(ws, window{from: at})
}

func closeWindow(ws []window, at int64) {
	if n := len(ws); n > 0 && ws[n-1].to == 0 {
		ws[n-1].to = at
	}
}

func (m *met) fault(f *history.Fault) { m.faults = append(m.faults, *f) }

// sum counts the proven faults, and the states that each kind found when it was asked for.
func (m *met) sum() (proven int, found map[string]int) {
	found = map[string]int{}
	for i := range m.faults {
		f := &m.faults[i]
		if !f.Proven() {
			continue
		}
		proven++
		for _, s := range m.states(f) {
			found[f.Kind+"/"+s]++
		}
	}
	return proven, found
}

func (m *met) states(f *history.Fault) []string {
	var out []string
	at := f.Asked
	in := func(ws []window) bool {
		return slices.ContainsFunc(ws, func(w window) bool { return w.from <= at && (w.to == 0 || at < w.to) })
	}
	lately := func(ts []int64) bool {
		return slices.ContainsFunc(ts, func(t int64) bool { return t <= at && at-t < shortly })
	}
	if in(m.election) {
		out = append(out, Election)
	}
	if in(m.shrunk) {
		out = append(out, ISRShrunk)
	}
	if lately(m.cut) {
		out = append(out, Truncation)
	}
	if lately(m.boot) {
		out = append(out, Starting)
	}
	if lately(m.snaps) {
		out = append(out, Snapshot)
	}
	if slices.ContainsFunc(m.faults, func(o history.Fault) bool {
		return o.ID != f.ID && o.Effective != 0 && o.Effective <= at && (o.Healed == 0 || at < o.Healed)
	}) {
		out = append(out, Overlap)
	}
	if len(out) == 0 {
		out = append(out, Steady)
	}
	return out
}
