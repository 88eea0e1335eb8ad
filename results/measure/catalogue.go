package measure

import "slices"

// Unit of a measure's value.
type Unit string

// Units. Values are float64 of exactly these: seconds, not milliseconds; bytes, not MiB; a share from 0 to 1, not percent.
const (
	Count         Unit = ""
	Seconds       Unit = "s"
	Bytes         Unit = "bytes"
	Share         Unit = "share"
	RecordsPerSec Unit = "records/s"
	OpsPerSec     Unit = "operations/s"
)

// Better says which of two values of a measure is the better one.
type Better int

const (
	Neither Better = iota // neither: it says what a run was like
	Lower
	Higher
)

// String is "lower", "higher" or "".
func (b Better) String() string {
	switch b {
	case Lower:
		return "lower"
	case Higher:
		return "higher"
	}
	return ""
}

// Definition is what a measure is.
type Definition struct {
	Name   string
	Unit   Unit
	Better Better
	What   string // one sentence
	Sample string // what its samples are values of: "window", "fault"; "": it has none
}

// Names of the measures.
const (
	AckedPerSecond    = "acked_per_second"
	AckedRecords      = "acked_records"
	ErrorShare        = "error_share"
	FailedRecords     = "failed_records"
	UnknownRecords    = "unknown_records"
	LatencyP50        = "latency_p50"
	LatencyP99        = "latency_p99"
	LatencyMax        = "latency_max"
	QuietLatencyP50   = "quiet_latency_p50"
	QuietLatencyP99   = "quiet_latency_p99"
	QuietLatencyMax   = "quiet_latency_max"
	FaultLatencyP50   = "fault_latency_p50"
	FaultLatencyP99   = "fault_latency_p99"
	FaultLatencyMax   = "fault_latency_max"
	LongestOutage     = "longest_outage"
	RecoveryMedian    = "recovery_median"
	RecoveryMax       = "recovery_max"
	MetadataPerSecond = "metadata_per_second"
	MetadataErrors    = "metadata_error_share"
	LeaderChanges     = "leader_changes"
	Intervals         = "intervals"
	Faults            = "faults"
	NodeMemoryMax     = "node_memory_max"
	NodeHeapMax       = "node_heap_max"
	NodeGoroutines    = "node_goroutines_max"
	NodeDescriptors   = "node_descriptors_max"
	NodeDisk          = "node_disk_max"
	RunnerMemoryMax   = "runner_memory_max"
	RunnerHeapMax     = "runner_heap_max"
	RunnerGoroutines  = "runner_goroutines_max"
	RunnerDescriptors = "runner_descriptors_max"
	StallMax          = "runner_stall_max"
	DiskSyncMax       = "disk_sync_max"
)

// catalogue in the order of the reports. "The load" is from the begin of the steady phase to that of the drain.
var catalogue = []Definition{
	{AckedPerSecond, RecordsPerSec, Higher, "records acknowledged during the load, per second of it", window},
	{AckedRecords, Count, Neither, "records acknowledged during the load", ""},
	{ErrorShare, Share, Lower, "records sent during the load that failed or whose outcome is unknown, of all that were sent", window},
	{FailedRecords, Count, Neither, "records sent during the load that surely were not appended", ""},
	{UnknownRecords, Count, Neither, "records sent during the load whose outcome is unknown", ""},
	{LatencyP50, Seconds, Lower, "median time from handing a produce request to the client to its acknowledgement", window},
	{LatencyP99, Seconds, Lower, "the same, 99th percentile", window},
	{LatencyMax, Seconds, Lower, "the same, the slowest", window},
	{QuietLatencyP50, Seconds, Lower, "median of the acknowledged produce requests that no proven fault touched", window},
	{QuietLatencyP99, Seconds, Lower, "the same, 99th percentile", window},
	{QuietLatencyMax, Seconds, Lower, "the same, the slowest", window},
	{FaultLatencyP50, Seconds, Lower, "median of the acknowledged produce requests that ran while a proven fault was active", window},
	{FaultLatencyP99, Seconds, Lower, "the same, 99th percentile", window},
	{FaultLatencyMax, Seconds, Lower, "the same, the slowest", window},
	{LongestOutage, Seconds, Lower, "longest time in the load that one record partition went without an acknowledgement", ""},
	{RecoveryMedian, Seconds, Lower, "from a fault's seen end until every record partition had acknowledged a write: the median fault", fault},
	{RecoveryMax, Seconds, Lower, "the same, the slowest fault", ""},
	{MetadataPerSecond, OpsPerSec, Higher, "metadata operations answered during the load, per second of it", window},
	{MetadataErrors, Share, Lower, "metadata operations of the load that failed or whose outcome is unknown, of all of them", window},
	{LeaderChanges, Count, Neither, "changes of the raft leader, as coverage counts them", ""},
	{Intervals, Count, Neither, "election intervals that counted, as coverage counts them", ""},
	{Faults, Count, Neither, "faults with evidence, as coverage counts them", ""},
	{NodeMemoryMax, Bytes, Lower, "most resident memory of a node", window},
	{NodeHeapMax, Bytes, Lower, "most memory of a node that its last garbage collection had found in use", window},
	{NodeGoroutines, Count, Lower, "most goroutines of a node", window},
	{NodeDescriptors, Count, Lower, "most open file descriptors of a node", window},
	{NodeDisk, Bytes, Neither, "most bytes in a node's data directory", window},
	{RunnerMemoryMax, Bytes, Lower, "most resident memory of the runner, which holds clients and recorder", window},
	{RunnerHeapMax, Bytes, Lower, "most memory of the runner that its last garbage collection had found in use", window},
	{RunnerGoroutines, Count, Lower, "most goroutines of the runner", window},
	{RunnerDescriptors, Count, Lower, "most open file descriptors of the runner", window},
	{StallMax, Seconds, Neither, "longest time that the runner was not scheduled: what the machine did to the run", window},
	{DiskSyncMax, Seconds, Neither, "longest small write with fsync of the runner, beside all nodes: what the machine's disk did to the run", window},
}

const (
	window = "window"
	fault  = "fault"
)

// List gives every measure of this version, in the order of the reports.
func List() []Definition { return append([]Definition(nil), catalogue...) }

// Find gives the measure of that name.
func Find(name string) (Definition, bool) {
	for _, d := range catalogue {
		if d.Name == name {
			return d, true
		}
	}
	return Definition{}, false
}

// OfMachines reports whether a measure is one of what nodes, the runner or the disk took or did: a simulated run has none.
func OfMachines(name string) bool {
	return slices.Contains(ofNodes[:], name) || slices.Contains(ofRunner[:], name) || name == StallMax || name == DiskSyncMax
}

// Names lists the measures' names, in the order of the reports.
func Names() []string {
	var out []string
	for _, d := range catalogue {
		out = append(out, d.Name)
	}
	return out
}
