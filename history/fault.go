package history

import (
	"fmt"
	"strings"
)

// Fault is one injected fault: one line of faults.jsonl, written when it is healed or given up.
type Fault struct {
	ID           int        `json:"id"`
	Kind         string     `json:"kind"`                // "kill", "pause", "partition", "restart-all", …
	Target       string     `json:"target,omitempty"`    // as the schedule names it: "raft-leader", "leader(orders-0)"
	Nodes        []int32    `json:"nodes,omitempty"`     // as resolved
	Role         string     `json:"role,omitempty"`      // the role that the nodes had when chosen, for the coverage of roles
	Clients      bool       `json:"clients,omitempty"`   // partition: clients are cut off as well
	Trigger      string     `json:"trigger,omitempty"`   // what fired it: "at 3.25 intervals" or "when leader_check"
	Asked        int64      `json:"asked"`               // Unix ns: when it was asked for
	Effective    int64      `json:"effective,omitempty"` // when the evidence of its effect was seen, 0 if never
	HealAsked    int64      `json:"heal_asked,omitempty"`
	Healed       int64      `json:"healed,omitempty"` // when the evidence of its end was seen, 0 if never
	Lapsed       int64      `json:"lapsed,omitempty"` // where it was seen to have ended before its healing was asked for: when it was last seen in effect
	Evidence     []Evidence `json:"evidence,omitempty"`
	OnRaftLeader bool       `json:"on_raft_leader,omitempty"` // a target was the raft leader when the fault was injected
	Error        string     `json:"error,omitempty"`
}

// Proven reports whether the fault's effect was seen in the data path.
func (f *Fault) Proven() bool { return f.Effective != 0 }

// Lasted is how long it was in effect for certain, in ns: from the evidence of its effect to the request to heal it, or as long as it was
// seen if it ended before.
func (f *Fault) Lasted() int64 {
	if f.Lapsed != 0 {
		return min(f.Lapsed, f.HealAsked) - f.Effective
	}
	return f.HealAsked - f.Effective
}

// Words says what the fault is, everywhere in the same way: "kill of n3 (partition-leader)"; before its nodes are chosen "kill of
// partition-leader".
func (f *Fault) Words() string { return f.words(f.Target) }

// Plain is Words for sentences that are read without the schedule: a target that is named by a role is said in plain words, "kill of n3 (the
// raft leader)", and one that only names the nodes again is left out.
func (f *Fault) Plain() string {
	target := f.Target
	if len(f.Nodes) > 0 && strings.Contains(target, "+") {
		target = ""
	}
	if plain := plainTargets[target]; plain != "" {
		target = plain
	}
	if p, ok := strings.CutPrefix(target, "leader("); ok {
		target = "the leader of " + strings.TrimSuffix(p, ")")
	}
	return f.words(target)
}

// plainTargets are the roles that a schedule names targets by.
var plainTargets = map[string]string{"raft-leader": "the raft leader", "follower": "a raft follower", "partition-leader": "the leader of a partition", "all": "all nodes"}

func (f *Fault) words(target string) string {
	var names []string
	for _, n := range f.Nodes {
		names = append(names, fmt.Sprintf("n%d", n))
	}
	who := strings.Join(names, ", ")
	switch {
	case who == "":
		who = target
	case target != "" && target != who:
		who += " (" + target + ")"
	}
	words := f.Kind
	if who != "" {
		words += " of " + who
	}
	if f.Clients {
		words += ", clients too"
	}
	return words
}

// Evidence is one observation that a fault took effect, or that it ended.
type Evidence struct {
	Time  int64  `json:"time"`
	Phase string `json:"phase,omitempty"` // "before", "during", "after"
	What  string `json:"what"`            // in words: "exit status: killed", "12 packets dropped n1→n2"
	Count int64  `json:"count"`           // where it is a number
}
