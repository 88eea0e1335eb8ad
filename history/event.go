package history

// Event is one audit event. Node and Boot name who speaks (Node 0 is the runner itself), Seq is dense from
// 1 within a boot: a missing number is a gap in the evidence, a cut tail (the node was killed) is none.
type Event struct {
	Node int32
	Boot uint64
	Seq  uint64
	Time int64 // Unix nanoseconds on the speaker's clock
	Body Body
}

// Body is the content of an event: exactly one of the types of this file, by pointer.
type Body interface {
	// Kind is the event's name in JSON ("role", "leader_check", …).
	Kind() string
}

// Term is the raft term that the event speaks of, 0 if of none. The highest seen so far in any event is what the run loop and the
// checkers know of raft's term.
func (e *Event) Term() uint64 {
	switch b := e.Body.(type) {
	case *RoleChange:
		return b.Term
	case *LeaderCheck:
		return b.Term
	case *Propose:
		return b.Term
	case *Apply:
		return b.Term
	case *Snapshot:
		return b.Term
	}
	return 0
}

// Role names of raft, as raft's own status gives them at the instant of the event.
type Role string

const (
	RoleFollower     Role = "follower"
	RolePreCandidate Role = "pre-candidate"
	RoleCandidate    Role = "candidate"
	RoleLeader       Role = "leader"
)

// Started is the first event of each boot.
type Started struct {
	Version string   `json:"version,omitempty"` // of the broker
	Nodes   []int32  `json:"nodes,omitempty"`   // the members it was configured with
	Bugs    []string `json:"bugs,omitempty"`    // planted bugs that are switched on
}

// RoleChange is written when raft's term, role or known leader changes. Leader 0 means none is known.
type RoleChange struct {
	Term   uint64 `json:"term"`
	Role   Role   `json:"role"`
	Leader int32  `json:"leader"`
}

// Causes of a leader check.
const (
	CauseInterval = "interval" // the periodic timer; these are the checks that count as election intervals
	CauseExpiry   = "expiry"   // a session expired, or had expired when a new leader's own-term entry was applied
)

// LeaderCheck is written by the leader-election service each time it looks at every partition's
// leader. On a sound broker only the raft leader writes it.
type LeaderCheck struct {
	Term  uint64 `json:"term"`
	Role  Role   `json:"role"`
	Cause string `json:"cause,omitempty"`
}

// Outcomes of a proposal attempt.
const (
	ProposeAccepted = "accepted"  // handed to raft by a node that is leader; says nothing of commitment
	ProposeRefused  = "refused"   // this node is not the leader: "Cannot propose: …"
	ProposeDropped  = "dropped"   // raft dropped it (no leader, transfer, limit); legitimate around a loss of leadership
	ProposeForwards = "forwarded" // handed to raft by a node that is not leader (only with forward-hides-error)
)

// Propose is one attempt to propose a metadata command, refused or not.
type Propose struct {
	Command string `json:"command"` // the command's kind, e.g. "set_partition_leader"
	Key     string `json:"key"`     // what it is about, e.g. "orders-0" or a topic's name
	Term    uint64 `json:"term"`
	Role    Role   `json:"role"`
	Leader  int32  `json:"leader"`  // as raft knows it at that instant, 0 if none
	Attempt uint64 `json:"attempt"` // dense within (node, boot)
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	Op      string `json:"op,omitempty"`    // id of the client operation that caused it, if the request carried one
	Via     int32  `json:"via,omitempty"`   // node that the client's request reached, for creations; 0 otherwise
	Cause   string `json:"cause,omitempty"` // why: "elect", "expiry", "rebalance", "create_topics", "auto_create_produce", "auto_create_metadata", "startup", "shutdown", …
}

// Apply is one committed metadata entry, applied or refused, on one node.
type Apply struct {
	Index         uint64            `json:"index"`
	Term          uint64            `json:"term"`
	Command       string            `json:"command"`
	Key           string            `json:"key"`
	Proposer      int32             `json:"proposer"`
	ProposerTerm  uint64            `json:"proposer_term"`
	ProposerBoot  uint64            `json:"proposer_boot"`
	Attempt       uint64            `json:"attempt"`
	ExpectedEpoch int32             `json:"expected_epoch"` // partition epoch that the command was made for; -1 where it has none
	Outcome       string            `json:"outcome"`        // "applied" or "refused"
	Error         string            `json:"error,omitempty"`
	Changes       []PartitionChange `json:"changes,omitempty"` // resulting partitions, all that the command changed
	Hash          uint64            `json:"hash,string"`       // chained over the resulting changes
	Via           int32             `json:"via,omitempty"`
	Cause         string            `json:"cause,omitempty"`
	Op            string            `json:"op,omitempty"`
}

// PartitionChange is a partition's state after a command. Leader -1: none. Gone: the topic was deleted.
type PartitionChange struct {
	Topic          string  `json:"topic"`
	Partition      int32   `json:"partition"`
	Leader         int32   `json:"leader"`
	LeaderEpoch    int32   `json:"leader_epoch"`
	PartitionEpoch int32   `json:"partition_epoch"`
	ISR            []int32 `json:"isr,omitempty"`
	Replicas       []int32 `json:"replicas,omitempty"`
	Gone           bool    `json:"gone,omitempty"`
}

const (
	Applied = "applied"
	Refused = "refused"
)

// StateHash is a hash of the whole canonical metadata state, computed afresh.
type StateHash struct {
	Index uint64 `json:"index"`
	Hash  uint64 `json:"hash,string"`
}

// What a Snapshot event says.
const (
	SnapshotTaken     = "taken"     // of this node's own state, now durable
	SnapshotRestored  = "restored"  // from its disk, at the start
	SnapshotInstalled = "installed" // received from the raft leader, now durable and in force
)

// Snapshot is a raft snapshot of the metadata that a node took, or put in the place of its state. In the latter case the
// entries up to Index are not applied one by one, and have no apply events on this node; a state_hash of that index follows.
type Snapshot struct {
	What  string `json:"what"`
	Index uint64 `json:"index"` // raft index of the last entry that it covers
	Term  uint64 `json:"term"`  // of that entry
	Bytes int64  `json:"bytes"`
}

// Partition is one replica's view of its partition: on change, at boot, on truncation, and otherwise at
// most once a second.
type Partition struct {
	Topic          string  `json:"topic"`
	Partition      int32   `json:"partition"`
	Role           string  `json:"role"` // "leader", "follower", "none"
	Leader         int32   `json:"leader"`
	LeaderEpoch    int32   `json:"leader_epoch"`
	PartitionEpoch int32   `json:"partition_epoch"`
	ISR            []int32 `json:"isr,omitempty"`
	HighWatermark  int64   `json:"high_watermark"`
	LogEnd         int64   `json:"log_end"`
	LogStart       int64   `json:"log_start,omitempty"` // first offset; above 0 once retention has removed records
	Cause          string  `json:"cause,omitempty"`     // "change", "boot", "truncation", "periodic", or one of the following
}

// Causes of a Partition event that have to do with where a log begins.
const (
	CauseRetention = "retention" // a leader has asked its disk to remove what retention lets go: state and time are those that it decided by
	CauseRetained  = "retained"  // that is done, and the log begins later
	CauseFollowed  = "followed"  // a follower's log begins later, as its leader's does
	CauseRestart   = "restart"   // a follower has given up all of its log, and begins where its leader's begins
)

// Session is a change in one node's session table.
type Session struct {
	Broker int32  `json:"broker"`
	State  string `json:"state"` // "live" or "expired"
}

// Claim is a statement that later evidence must bear out: "elected", "created", "isr_changed". It
// carries the raft index that it rests on (0 if none).
type Claim struct {
	What        string `json:"what"`
	Key         string `json:"key"`
	Index       uint64 `json:"index"`
	Leader      int32  `json:"leader"`
	LeaderEpoch int32  `json:"leader_epoch"`
}

// Read ties a linearizable read of a client operation to the raft index it was answered at.
type Read struct {
	Op    string `json:"op,omitempty"`
	Index uint64 `json:"index"`
}

// Bug counts the decisions that a planted bug has changed so far in this boot; written at the first
// and at powers of two.
type Bug struct {
	Name      string `json:"name"`
	Decisions uint64 `json:"decisions"`
}

// Exit is the runner's observation that a node's process or container ended.
type Exit struct {
	Of     int32  `json:"of"`               // the node
	Code   int    `json:"code"`             // exit code, -1 when killed by a signal
	Signal string `json:"signal,omitempty"` // "killed", "terminated", "" …
	Asked  bool   `json:"asked"`            // a fault or the end of the run asked for it
}

// LogLine is the runner's observation of a line in a node's log that is no event and that matters:
// a panic, a data race report, a fatal error, or a target profile's pattern.
type LogLine struct {
	Of   int32  `json:"of"`
	What string `json:"what"`           // "panic", "data_race", "fatal", "disk_fault", "cannot_propose", …
	Line string `json:"line,omitempty"` // cut to 500 bytes
}

// StallDisk is what stood still if a small write with fsync, by the runner and outside of all nodes, took more than 500 ms.
const StallDisk = "disk"

// Stall is the runner's or a node's observation that its 10 ms ticker was late by more than 200 ms, or the runner's that the disk was.
type Stall struct {
	What  string `json:"what,omitempty"` // StallDisk, or empty: the process itself was not scheduled
	Nanos int64  `json:"nanos"`
}

func (*Started) Kind() string     { return "started" }
func (*RoleChange) Kind() string  { return "role" }
func (*LeaderCheck) Kind() string { return "leader_check" }
func (*Propose) Kind() string     { return "propose" }
func (*Apply) Kind() string       { return "apply" }
func (*StateHash) Kind() string   { return "state_hash" }
func (*Snapshot) Kind() string    { return "snapshot" }
func (*Partition) Kind() string   { return "partition" }
func (*Session) Kind() string     { return "session" }
func (*Claim) Kind() string       { return "claim" }
func (*Read) Kind() string        { return "read" }
func (*Bug) Kind() string         { return "bug" }
func (*Exit) Kind() string        { return "exit" }
func (*LogLine) Kind() string     { return "log_line" }
func (*Stall) Kind() string       { return "stall" }
