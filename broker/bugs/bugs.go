// Package bugs is the catalogue of historical bugs that can be switched on in the reference broker, each at
// one named decision point of broker/core. A bug that is off costs one test of a bit.
//
// It is here to prove the checkers: a planted bug that a checker does not find is a hole in the checker. The catalogue
// entry of each names its source, mechanism, trigger, symptom and the checkers that must find it.
package bugs

import (
	"fmt"
	"sort"
	"strings"
)

// Bug names one planted bug.
type Bug uint8

const (
	ElectorGateHasLeader Bug = iota
	AutocreateGateHasLeader
	StartupGateHasLeader
	ForwardHidesError
	count
)

// Set is a set of bugs. The zero value is the sound broker.
type Set uint64

// Has reports whether b is switched on.
func (s Set) Has(b Bug) bool { return s&(1<<b) != 0 }

// With returns s with b switched on.
func (s Set) With(b Bug) Set { return s | 1<<b }

// Names of the bugs that are on, in catalogue order.
func (s Set) Names() []string {
	var out []string
	for _, e := range Catalogue {
		if s.Has(e.Bug) {
			out = append(out, e.Name)
		}
	}
	return out
}

// Entry documents one bug.
type Entry struct {
	Bug       Bug
	Name      string   // for --bug
	Source    string   // where it happened
	Mechanism string   // what the code gets wrong
	Trigger   string   // what brings it out
	Symptom   string   // what is seen
	Checkers  []string // ids of those that must report it
	May       []string // ids of those that may report it as well
}

// Catalogue lists every bug in the order of the constants.
var Catalogue = []Entry{
	{
		Bug: ElectorGateHasLeader, Name: "elector-gate-has-leader",
		Source:    "a Kafka-compatible broker, fixed in its release 2.2.3 (docs/story.md)",
		Mechanism: "the leader-election service is gated by \"a raft leader is known\", which is true on followers too",
		Trigger:   "none for the checks; a partition leader's session must expire for the proposals",
		Symptom:   "every node runs partition leader checks; followers' proposals fail with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: AutocreateGateHasLeader, Name: "autocreate-gate-has-leader",
		Source:    "the same broker, its attempted fix 2.2.2",
		Mechanism: "the one topic-creation path asks \"is a leader known\" where it must ask \"am I the leader\"",
		Trigger:   "a topic that is auto-created through a follower",
		Symptom:   "the follower proposes the topic itself and fails with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: StartupGateHasLeader, Name: "startup-gate-has-leader",
		Source:    "the same broker before 2.2.1",
		Mechanism: "the start-up initialiser proposes __meta as soon as a leader is known, on every node",
		Trigger:   "the first start of a cluster",
		Symptom:   "followers propose __meta in the first moments and fail with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: ForwardHidesError, Name: "forward-hides-error",
		Source:    "derived: elector-gate-has-leader with raft's default proposal forwarding left on",
		Mechanism: "followers' proposals travel to the leader and are committed; nothing refuses them, no caller sees an error",
		Trigger:   "a partition leader's session expires",
		Symptom:   "entries whose proposer is not their term's leader; three SetPartitionLeader for one election",
		Checkers:  []string{"single-leader-proposing"},
		May:       []string{"zero-proposal-errors"},
	},
}

// Parse turns names into a set. An unknown name is an error that tells the known ones.
func Parse(names []string) (Set, error) {
	var s Set
next:
	for _, n := range names {
		for _, e := range Catalogue {
			if e.Name == n {
				s = s.With(e.Bug)
				continue next
			}
		}
		known := make([]string, 0, len(Catalogue))
		for _, e := range Catalogue {
			known = append(known, e.Name)
		}
		sort.Strings(known)
		return 0, fmt.Errorf("unknown bug %q (known: %s)", n, strings.Join(known, ", "))
	}
	return s, nil
}
