package history

// FormatVersion of a run folder. Readers accept this and older ones. Version 2 has lines that stand for many operations; a folder without them, which
// NewRecorder writes, is one of PlainFormat, so that versions of Soak which know nothing of them read it.
const (
	FormatVersion = 2
	PlainFormat   = 1
)

// Run describes a run: run.json.
type Run struct {
	Format           int         `json:"format"`
	ID               string      `json:"id"`
	Version          string      `json:"version,omitempty"` // of Soak
	Commit           string      `json:"commit,omitempty"`  // "unknown" where the build does not say
	Command          []string    `json:"command,omitempty"`
	Scenario         string      `json:"scenario,omitempty"`
	ScenarioYAML     string      `json:"scenario_yaml,omitempty"` // in full, as resolved with the flags
	Driver           string      `json:"driver,omitempty"`
	DriverWhy        string      `json:"driver_why,omitempty"`
	Seed             uint64      `json:"seed,string"`
	Nodes            int         `json:"nodes,omitempty"`
	ElectionInterval int64       `json:"election_interval,omitempty"` // ns
	SessionTimeout   int64       `json:"session_timeout,omitempty"`   // ns
	Bugs             []string    `json:"bugs,omitempty"`
	Needs            []string    `json:"needs,omitempty"` // kinds of fault without which the run proves nothing: what its planted bugs cannot show without
	Machine          Machine     `json:"machine"`
	Noise            []string    `json:"noise,omitempty"` // what slows a simulated machine besides the faults: "messages are lost"
	Phases           []Phase     `json:"phases,omitempty"`
	Liveness         *Liveness   `json:"liveness,omitempty"` // of runs with such a phase that came to it
	Contract         Contract    `json:"contract"`
	Minimums         Minimums    `json:"minimums"`
	Notes            []string    `json:"notes,omitempty"`         // what the harness could not do or had to work around
	Interrupted      string      `json:"interrupted,omitempty"`   // signal that ended it early, "" if none
	HarnessError     string      `json:"harness_error,omitempty"` // why the harness failed, "" if it did not
	RecordTopics     []TopicInfo `json:"record_topics,omitempty"`
	RunHash          uint64      `json:"run_hash,string"`           // run id carried in record headers
	SimHash          uint64      `json:"sim_hash,string,omitempty"` // of all that a simulation observed: equal for equal runs; 0 on other drivers
}

// Liveness is what came of a core of nodes that had to serve while the others stayed broken. Times are Unix ns.
type Liveness struct {
	Core    []int32  `json:"core"`
	Others  string   `json:"others"`            // what kept the others broken: the fault's kind
	From    int64    `json:"from,omitempty"`    // since when the core was whole and had to serve; 0: that was never reached
	Served  int64    `json:"served,omitempty"`  // when it did all that is asked of it, 0 if it did not
	Bound   int64    `json:"bound,omitempty"`   // ns from From on
	Missing []string `json:"missing,omitempty"` // what was not there when the bound was over
	Exempt  []string `json:"exempt,omitempty"`  // partitions that could not promise to be available, and why
}

// TopicInfo is a topic of the run.
type TopicInfo struct {
	Name       string  `json:"name"`
	Partitions int32   `json:"partitions,omitempty"`
	Replicas   []int32 `json:"replicas,omitempty"` // broker ids that the drain must read

	// What the topic asked for when it was created. Where both of the first two are 0, it keeps its records for ever.
	RetentionMillis int64 `json:"retention_ms,omitempty"`    // records older than this may go
	RetentionBytes  int64 `json:"retention_bytes,omitempty"` // the oldest of a partition's may go while as many bytes stay
	SegmentBytes    int64 `json:"segment_bytes,omitempty"`
}

// KeepsAll reports whether a topic keeps its records for ever.
func (t *TopicInfo) KeepsAll() bool { return t.RetentionMillis == 0 && t.RetentionBytes == 0 }

type Machine struct {
	OS     string `json:"os,omitempty"`
	Arch   string `json:"arch,omitempty"`
	CPUs   int    `json:"cpus,omitempty"`
	Memory int64  `json:"memory,omitempty"`
	Kernel string `json:"kernel,omitempty"`
}

// Phase is one phase of the run with its times (Unix ns, End 0 while it runs).
type Phase struct {
	Name  string `json:"name"`
	Start int64  `json:"start,omitempty"`
	End   int64  `json:"end,omitempty"`
}

// Contract is what the run's configuration promises, and so what checkers hold it to.
type Contract struct {
	Acks         int16  `json:"acks"`
	MinISR       int    `json:"min_isr,omitempty"`
	Idempotent   bool   `json:"idempotent,omitempty"`
	Unclean      bool   `json:"unclean,omitempty"`
	Flush        string `json:"flush,omitempty"`
	Transactions bool   `json:"transactions,omitempty"`
	ValueBytes   int    `json:"value_bytes,omitempty"` // of each record that the workload produces; 0: not known
	LossPPM      int64  `json:"loss_ppm,omitempty"`    // messages that the simulated network loses by itself, in millionths
}

// Minimums are what the run must have seen to prove anything. 0 means not asked for.
type Minimums struct {
	Intervals     int `json:"intervals,omitempty"`
	Faults        int `json:"faults,omitempty"`         // with evidence
	LongFaults    int `json:"long_faults,omitempty"`    // longer than session + interval
	LeaderFaults  int `json:"leader_faults,omitempty"`  // on the raft leader
	LeaderChanges int `json:"leader_changes,omitempty"` // raft leader changes
	AckedRecords  int `json:"acked_records,omitempty"`
	MetaOps       int `json:"meta_ops,omitempty"`
	MetaOverlaps  int `json:"meta_overlaps,omitempty"` // pairs of overlapping operations on one name
	AutoCreated   int `json:"auto_created,omitempty"`  // topics created through followers
}

// Metric is one line of metrics.jsonl.
type Metric struct {
	Time        int64        `json:"time"`
	Interval    int64        `json:"interval"`          // ns that the counters cover
	Acked       int64        `json:"acked"`             // records in the interval
	Failed      int64        `json:"failed,omitempty"`  // records in the interval
	Unknown     int64        `json:"unknown,omitempty"` // records in the interval
	MetaOK      int64        `json:"meta_ok,omitempty"`
	MetaFailed  int64        `json:"meta_failed,omitempty"`
	MetaUnknown int64        `json:"meta_unknown,omitempty"`
	LatencyP50  int64        `json:"latency_p50,omitempty"` // ns, of produce
	LatencyP99  int64        `json:"latency_p99,omitempty"` // ns, of produce
	LatencyMax  int64        `json:"latency_max,omitempty"` // ns, of produce
	Nodes       []NodeMetric `json:"nodes,omitempty"`
	Runner      *Usage       `json:"runner,omitempty"`      // what the runner's own process takes
	StallNanos  int64        `json:"stall_nanos,omitempty"` // longest stall of the runner in the interval
	DiskNanos   int64        `json:"disk_nanos,omitempty"`  // longest write with fsync of the runner's probe of the disk in the interval
}

// Usage is what a process takes of its machine. 0 where it does not tell.
type Usage struct {
	Memory      int64 `json:"memory,omitempty"`    // resident bytes
	HeapLive    int64 `json:"heap_live,omitempty"` // bytes that the last garbage collection found in use
	Goroutines  int64 `json:"goroutines,omitempty"`
	Descriptors int64 `json:"descriptors,omitempty"`
}

// NodeMetric is what one node's own metrics said.
type NodeMetric struct {
	Node int32  `json:"node"`
	Up   bool   `json:"up"`
	Boot uint64 `json:"boot,omitempty"` // that it speaks of, 0 if it does not tell

	Memory      int64 `json:"memory,omitempty"`    // resident bytes
	HeapLive    int64 `json:"heap_live,omitempty"` // bytes that the last garbage collection found in use
	Goroutines  int64 `json:"goroutines,omitempty"`
	Descriptors int64 `json:"descriptors,omitempty"`

	Disk    int64  `json:"disk,omitempty"`    // bytes in its data directory
	Waiting *int64 `json:"waiting,omitempty"` // requests of clients and of itself that wait for something; nil: it does not tell
}
