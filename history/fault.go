package history

// Fault is one injected fault: one line of faults.jsonl, written when it is healed or given up.
type Fault struct {
	ID           int
	Kind         string  // "kill", "pause", "partition", "restart-all", …
	Target       string  // as the schedule names it: "raft-leader", "leader(orders-0)"
	Nodes        []int32 // as resolved
	Role         string  // the role that the nodes had when chosen, for the coverage of roles
	Clients      bool    // partition: clients are cut off as well
	Trigger      string  // what fired it: "at 3.25 intervals" or "when leader_check"
	Asked        int64   // Unix ns: when it was asked for
	Effective    int64   // when the evidence of its effect was seen, 0 if never
	HealAsked    int64
	Healed       int64 // when the evidence of its end was seen, 0 if never
	Evidence     []Evidence
	OnRaftLeader bool // a target was the raft leader when the fault was injected
	Error        string
}

// Proven reports whether the fault's effect was seen in the data path.
func (f *Fault) Proven() bool { return f.Effective != 0 }

// Evidence is one observation that a fault took effect, or that it ended.
type Evidence struct {
	Time  int64
	Phase string // "before", "during", "after"
	What  string // in words: "exit status: killed", "12 packets dropped n1→n2"
	Count int64  // where it is a number
}
