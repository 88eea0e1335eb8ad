package checkers

import (
	"fmt"

	"soak/history"
)

// Outcome of a checker, and of a whole run.
type Outcome int

const (
	// Inconclusive is the zero value: the evidence does not suffice, and the reason names what is missing.
	Inconclusive Outcome = iota
	Holds
	Violated
	// NotApplicable: the target or the contract of the run cannot give the evidence.
	NotApplicable
)

// String is the outcome as people see it: "HOLDS".
func (o Outcome) String() string {
	switch o {
	case Holds:
		return "HOLDS"
	case Violated:
		return "VIOLATED"
	case NotApplicable:
		return "NOT APPLICABLE"
	}
	return "INCONCLUSIVE"
}

// MarshalText is the outcome in JSON: "holds", "violated", "inconclusive", "not-applicable".
func (o Outcome) MarshalText() ([]byte, error) {
	switch o {
	case Inconclusive:
		return []byte("inconclusive"), nil
	case Holds:
		return []byte("holds"), nil
	case Violated:
		return []byte("violated"), nil
	case NotApplicable:
		return []byte("not-applicable"), nil
	}
	return nil, fmt.Errorf("no outcome has the number %d", int(o))
}

// UnmarshalText reads what MarshalText wrote.
func (o *Outcome) UnmarshalText(text []byte) error {
	for _, known := range []Outcome{Inconclusive, Holds, Violated, NotApplicable} {
		if name, _ := known.MarshalText(); string(name) == string(text) {
			*o = known
			return nil
		}
	}
	return fmt.Errorf("no outcome is called %q", text)
}

// Violation is one thing that must not have happened.
type Violation struct {
	Kind       string   `json:"kind"`                 // what class of violation, e.g. "foreign-proposer"
	Sentence   string   `json:"sentence"`             // in plain words, without its time
	Time       int64    `json:"time"`                 // Unix ns, 0 if it has no instant
	Nodes      []int32  `json:"nodes,omitempty"`      // who did it, or where it was seen
	Faults     []int    `json:"faults,omitempty"`     // ids of the faults whose window it touches
	Place      string   `json:"place,omitempty"`      // where in the run it belongs, for its signature; set in a report
	Operations []string `json:"operations,omitempty"` // ids of the client operations concerned
	Evidence   []string `json:"evidence,omitempty"`   // the smallest evidence: events and operations as JSON lines
}

// Measure is one thing counted: coverage shows it as seen/needed. Needed is 0 where nothing was asked.
type Measure struct {
	Name   string `json:"name"`
	Seen   int64  `json:"seen"`
	Needed int64  `json:"needed,omitempty"`
	Unit   string `json:"unit,omitempty"`
}

// Verdict is what a checker found.
type Verdict struct {
	Checker     string      `json:"checker"`
	Outcome     Outcome     `json:"outcome"`
	Reason      string      `json:"reason"`       // one sentence
	Checked     int64       `json:"checked"`      // how many things were looked at
	CheckedWhat string      `json:"checked_what"` // what they are: "proposals"
	Violations  []Violation `json:"violations,omitempty"`
	Measures    []Measure   `json:"measures,omitempty"`
}

// Checker judges one property. The feeding methods are called from one goroutine; records of one kind come in the order of
// their file, and kinds may be mixed in any way. A checker may keep the pointers but never changes what they point at.
type Checker interface {
	ID() string
	Event(*history.Event)
	Operation(*history.Operation)
	Fault(*history.Fault)
	// Violations are those found so far, in the order found. Cheap when nothing was found since the last call.
	Violations() []Violation
	// Finish judges. It is called once, after the last record.
	Finish() Verdict
}

// Metered is a Checker that judges by the run's once-a-second measurements too.
type Metered interface {
	Metric(*history.Metric)
}

// Info describes a checker for lists.
type Info struct {
	ID   string
	What string // what it makes sure of, one sentence
	Live bool   // judges while the run goes on
}

type entry struct {
	Info
	make func(*shared) Checker
}

// shared is what the checkers of one run have in common.
type shared struct {
	run   *history.Run
	spill *spill // nil: everything stays in memory
	live  bool   // the run goes on, maybe for a night, and is judged from its folder in the end: entries are not kept
	ops   *operations
	told  *views
	log   *entries
	acked *ackedRecords
	kept  *retained
}

// retention is which records may be gone because their topics asked for it.
func (s *shared) retention() *retained {
	if s.kept == nil {
		s.kept = newRetained(s)
	}
	return s.kept
}

// seen is what nodes said of their replicas and entries.
func (s *shared) seen() *views {
	if s.told == nil {
		s.told = &views{timelines: newTimelines()}
		s.told.spill = s.spill
	}
	return s.told
}

// committed is the raft log, as far as nodes told of it.
func (s *shared) committed() *entries {
	if s.log == nil {
		s.log = newEntries(s.spill)
		s.log.forgets = s.live
	}
	return s.log
}

// operations is what clients did.
func (s *shared) operations() *operations {
	if s.ops == nil {
		s.ops = newOperations(s.run, s.spill)
	}
	return s.ops
}

// records is the one that collects what was sent and what was read back.
func (s *shared) records() *ackedRecords {
	if s.acked == nil {
		s.acked = newAckedRecords(s)
	}
	return s.acked
}

// catalogue holds every checker of this version, in the order of the reports.
func catalogue() []entry {
	return []entry{
		{Info{SingleLeaderProposing, "only the raft leader of a term checks partition leaders and proposes, and each election is committed once", true},
			func(s *shared) Checker { return newSingleLeader(s.run) }},
		{Info{ZeroProposalErrors, "no node attempts a proposal while it is not the raft leader", true},
			func(s *shared) Checker { return newProposalErrors(s.run) }},
		{Info{LinearizableMetadata, "every answer about a topic shows what was acknowledged before it was asked. Some order of all topic operations explains every answer that clients saw", false},
			func(s *shared) Checker { return newLinearizable(s.run) }},
		{Info{AckedRecords, "every acknowledged record is read back, at its offset, with its bytes, and nothing else is there", false},
			func(s *shared) Checker { return s.records() }},
		{Info{NoDuplicates, "what an idempotent producer sent again is in the log once", false},
			func(s *shared) Checker { return newNoDuplicates(s.records()) }},
		{Info{RecordOrder, "acknowledged records stand in the order in which they were sent, and answers come in the order of requests", false},
			func(s *shared) Checker { return newRecordOrder(s) }},
		{Info{ReplicaAgreement, "the replicas of a partition hold the same bytes below their high watermarks", false},
			func(s *shared) Checker { return newReplicaAgreement(s) }},
		{Info{PhantomRead, "what a consumer was given below the high watermark is in the final log, at that offset and the same", false},
			func(s *shared) Checker { return newPhantomRead(s) }},
		{Info{HighWatermark, "no replica's high watermark goes back while it lives, and whoever leads later has all below it", false},
			func(s *shared) Checker { return newHighWatermark(s) }},
		{Info{EpochMonotonic, "leader and partition epochs only rise, and each leader epoch has one leader, from the ISR", false},
			func(s *shared) Checker { return newEpochMonotonic(s) }},
		{Info{MetadataAgreement, "all nodes come to the same metadata at the same raft index", true},
			func(s *shared) Checker { return newMetadataAgreement(s) }},
		{Info{Claims, "everything that nodes claim to have elected, created or changed stands in the committed log", false},
			func(s *shared) Checker { return newClaims(s) }},
		{Info{Balance, "in quiet every partition is led by its preferred replica, and leaders move no more than faults explain", false},
			func(s *shared) Checker { return newBalance(s) }},
		{Info{Recovery, "leaders, writes and full ISRs are back within their bounds after each fault", false},
			func(s *shared) Checker { return newRecovery(s) }},
		{Info{Progress, "while a fault leaves a majority whole, every partition goes on acknowledging writes", false},
			func(s *shared) Checker { return newProgress(s) }},
		{Info{LatencyQuiet, "in time without faults writes are acknowledged, and consumers given what is there, within a bound", false},
			func(s *shared) Checker { return newLatencyQuiet(s) }},
		{Info{Resources, "no node takes ever more memory, goroutines, descriptors or disk, or forgets requests that wait", false},
			func(s *shared) Checker { return newResources(s.run) }},
		{Info{NoCrash, "no node panics, logs a fatal error or a data race, or exits unasked", true},
			func(s *shared) Checker { return newNoCrash(s.run) }},
		{Info{Coverage, "the run saw enough intervals, faults and work to prove something", false},
			func(s *shared) Checker { return newCoverage(s) }},
	}
}

// Ids of the checkers.
const (
	SingleLeaderProposing = "single-leader-proposing"
	ZeroProposalErrors    = "zero-proposal-errors"
	LinearizableMetadata  = "linearizable-metadata"
	AckedRecords          = "acked-records"
	NoDuplicates          = "no-duplicates"
	RecordOrder           = "record-order"
	ReplicaAgreement      = "replica-agreement"
	PhantomRead           = "phantom-read"
	HighWatermark         = "high-watermark"
	EpochMonotonic        = "epoch-monotonic"
	MetadataAgreement     = "metadata-agreement"
	Claims                = "claims"
	Balance               = "balance"
	Recovery              = "recovery"
	Progress              = "progress"
	LatencyQuiet          = "latency-quiet"
	Resources             = "resources"
	NoCrash               = "no-crash"
	Coverage              = "coverage"
)

// List describes every checker of this version, in the order of the reports.
func List() []Info {
	var out []Info
	for _, e := range catalogue() {
		out = append(out, e.Info)
	}
	return out
}

// New makes every checker of this version for a run. The run's description must be complete (its phases ended)
// when Finish is called.
func New(run *history.Run) []Checker { return newOn(&shared{run: run}) }

func newOn(s *shared) []Checker {
	var out []Checker
	for _, e := range catalogue() {
		out = append(out, e.make(s))
	}
	return out
}

// NewLive makes those that can judge while the run goes on, from its first event.
func NewLive(run *history.Run) []Checker {
	var out []Checker
	s := shared{run: run, live: true}
	for _, e := range catalogue() {
		if e.Live {
			out = append(out, e.make(&s))
		}
	}
	return out
}
