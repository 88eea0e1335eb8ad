package history

// FormatVersion of a run folder. Readers accept this and older ones.
const FormatVersion = 1

// Run describes a run: run.json.
type Run struct {
	Format           int
	ID               string
	Version          string // of Soak
	Commit           string // "unknown" where the build does not say
	Command          []string
	Scenario         string
	ScenarioYAML     string // in full, as resolved with the flags
	Driver           string
	DriverWhy        string
	Seed             uint64
	Nodes            int
	ElectionInterval int64 // ns
	SessionTimeout   int64 // ns
	Bugs             []string
	Machine          Machine
	Phases           []Phase
	Contract         Contract
	Minimums         Minimums
	Notes            []string // what the harness could not do or had to work around
	Interrupted      string   // signal that ended it early, "" if none
	HarnessError     string   // why the harness failed, "" if it did not
	RecordTopics     []TopicInfo
	RunHash          uint64 // run id carried in record headers
}

// TopicInfo is a topic of the run.
type TopicInfo struct {
	Name       string
	Partitions int32
	Replicas   []int32 // broker ids that the drain must read
}

type Machine struct {
	OS, Arch string
	CPUs     int
	Memory   int64
	Kernel   string
}

// Phase is one phase of the run with its times (Unix ns, End 0 while it runs).
type Phase struct {
	Name  string
	Start int64
	End   int64
}

// Contract is what the run's configuration promises, and so what checkers hold it to.
type Contract struct {
	Acks         int16
	MinISR       int
	Idempotent   bool
	Unclean      bool
	Flush        string
	Transactions bool
}

// Minimums are what the run must have seen to prove anything. 0 means not asked for.
type Minimums struct {
	Intervals     int
	Faults        int // with evidence
	LongFaults    int // longer than session + interval
	LeaderFaults  int // on the raft leader
	LeaderChanges int // raft leader changes
	AckedRecords  int
	MetaOps       int
	MetaOverlaps  int // pairs of overlapping operations on one name
	AutoCreated   int // topics created through followers
}

// Metric is one line of metrics.jsonl.
type Metric struct {
	Time                               int64
	Interval                           int64 // ns that the counters cover
	Acked, Failed, Unknown             int64 // records in the interval
	MetaOK, MetaFailed, MetaUnknown    int64
	LatencyP50, LatencyP99, LatencyMax int64 // ns, of produce
	Nodes                              []NodeMetric
	StallNanos                         int64 // longest stall of the runner in the interval
}

// NodeMetric is what one node's own metrics said.
type NodeMetric struct {
	Node        int32
	Up          bool
	Memory      int64 // resident bytes
	Goroutines  int64
	Descriptors int64
	Disk        int64
}
