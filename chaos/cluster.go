package chaos

import (
	"context"
	"errors"
	"time"

	"soak/history"
)

// Config is what a driver needs to start a cluster of the reference broker.
type Config struct {
	RunID            string // label of everything that the run creates
	Nodes            int    // ids are 1..Nodes
	Dir              string // the run folder: logs go to Dir/logs/nN.log
	Work             string // scratch folder of this run: data directories, sockets; removed at Close
	Image            string // docker: image reference; "" builds the reference broker's own
	Executable       string // process: program whose "broker" command is a node; "" is $SOAK_BROKER_BINARY, or this program
	ElectionInterval time.Duration
	SessionTimeout   time.Duration
	Flush            string        // the brokers' flush policy; "": their default
	RetentionCheck   time.Duration // how often leaders look for what a topic's retention lets go; 0: their default
	Bugs             []string
	Seed             uint64
	ShortLogs        bool // the logs in the run folder leave out what the Sink was told as events: for long runs, which record it compressed
	DiskFaults       bool // nodes are started so that disk faults can be brought about (see DiskKind); without, they have nothing of it
	Sink             Sink
	Logf             func(format string, args ...any) // progress: "building the node image…"
}

// Sink takes what the driver sees of its nodes. Its methods may be called from any goroutine, and return fast.
type Sink interface {
	// Event is one audit event read from a node's log, in the order of that node's log, each (node, boot, seq) once; or an
	// observation of the driver (history.Exit, history.LogLine) with Node 0, whose Boot and Seq the sink fills in.
	Event(history.Event)
	// Stats is a node's own once-a-second measurement.
	Stats(history.NodeMetric)
}

// Fault kinds of this version.
const (
	Kill       = "kill"        // SIGKILL; healing starts the node again on the same data
	Stop       = "stop"        // SIGTERM, and the node ends by itself with exit code 0; healing starts it again
	RestartAll = "restart-all" // SIGKILL all nodes at once; healing starts all
	Pause      = "pause"       // SIGSTOP or the freezer; healing resumes
	Partition  = "partition"   // the targets are cut from all other nodes, with Clients also from clients

	Rolling   = "rolling-restart" // the targets are stopped and started one after the other, each Every at the earliest, once the last one is back
	CrashLoop = "crash-loop"      // the targets are killed and started, each Every, until healing

	OneWay     = "partition-one-way"  // like Partition, but Way "in" (the targets hear nothing) or "out" (nobody hears them)
	Bridge     = "bridge"             // the two targets are cut from each other; everyone else reaches both
	AllApart   = "all-apart"          // every target is cut from every other
	ClientsCut = "partition-clients"  // the targets are cut from clients, and from nobody else
	Flapping   = "flapping-partition" // a Partition that is there for Every, gone for Every, and so on
	Reset      = "connection-reset"   // the clients' connections to the targets are reset, each Every

	Delay     = "link-delay"  // what goes to and comes from the targets takes By longer, and up to Jitter more
	Bandwidth = "bandwidth"   // no more than BytesPerSecond go to or come from the targets on each link
	Loss      = "packet-loss" // of what comes to the targets, PPM millionths are lost

	PowerLoss  = "power-loss"  // the targets lose power at once, and with it what was not synced; healing starts them
	DiskFull   = "disk-full"   // nothing more can be written; the targets stop, healing starts them
	SlowDisk   = "slow-disk"   // every call takes Factor times as long
	WriteError = "write-error" // writes fail; the targets stop, healing starts them
	SyncError  = "fsync-error" // syncs fail; the targets stop, healing starts them
	ReadError  = "read-error"  // reads fail

	// Of the simulator alone, in this version.
	DiskCrash = "disk-crash" // a Kill in the middle of the targets' next disk operation
	BitRot    = "bit-rot"    // the targets are killed and one bit of Files turns over; healing restores it and starts them
	ClockJump = "clock-jump" // the targets' clocks jump By
	ClockRate = "clock-rate" // the targets' clocks run PPM millionths faster
	SlowNode  = "slow-node"  // the targets' processor takes Factor times as long

	// ClientCrash kills clients: their connections close, what they await is never answered, what they remember is gone. Healing brings
	// them back as new incarnations. Its target is the clients themselves; of the simulator alone, in this version.
	ClientCrash = "client-crash"
)

// Ways of a OneWay partition.
const (
	WayIn  = "in"
	WayOut = "out"
)

// Files that rot.
const (
	FilesSegment  = "segment"  // partition logs
	FilesRaft     = "raft"     // the raft log
	FilesSnapshot = "snapshot" // the raft snapshot; the raft log of a node that has none yet
	FilesNode     = "node"     // the node's identity and boot number
)

// Parameters of the kinds that have any. Zero values are those of the kinds without.
type Parameters struct {
	Way    string        // OneWay
	Every  time.Duration // Flapping, Reset, Rolling, CrashLoop
	Factor int64         // SlowDisk, SlowNode
	By     time.Duration // ClockJump: forward, or back if negative; Delay: more than 0
	PPM    int64         // ClockRate: faster, or slower if negative; Loss: more than 0
	Files  string        // BitRot

	Jitter         time.Duration // Delay: at most so much more
	BytesPerSecond int64         // Bandwidth
}

// Lone reports whether a fault of this kind takes a node out of the game, or holds it, or cuts it off: two of these on one node would heal
// each other on a real cluster. The others may come on top of anything.
func Lone(kind string) bool {
	switch kind {
	case Reset, Delay, Bandwidth, Loss, SlowDisk, ReadError, ClockJump, ClockRate, SlowNode, ClientCrash:
		return false
	}
	return true
}

// HealEachOther reports whether faults of these two kinds on one node would end each other, be it simulated or not.
func HealEachOther(a, b string) bool { return a == b || Lone(a) && Lone(b) }

// Clash reports whether faults of these two kinds cannot be on one node of a real cluster at once: they would heal each other, or the one could not be brought about
// for the other. A slow or failing disk is made by the node itself, which must be there, and not frozen, to be told so and to be asked what came of it.
func Clash(a, b string) bool {
	return HealEachOther(a, b) || toldToNode(a) && unreachable(b) || toldToNode(b) && unreachable(a)
}

func toldToNode(kind string) bool { return kind == SlowDisk || kind == ReadError }

func unreachable(kind string) bool { return kind == Pause || kind == CrashLoop || kind == Rolling }

// TakesClients reports whether a fault of this kind may extend to the links between clients and its targets.
func TakesClients(kind string) bool {
	switch kind {
	case Partition, OneWay, Flapping, Delay, Bandwidth, Loss:
		return true
	}
	return false
}

// DiskKind reports whether a fault of this kind breaks disks. On real clusters that takes nodes which were started for it: Config.DiskFaults.
func DiskKind(kind string) bool {
	switch kind {
	case PowerLoss, DiskFull, SlowDisk, WriteError, SyncError, ReadError:
		return true
	}
	return false
}

// ErrLapsed is wrapped by a Probe's error that says: the fault is seen not to be in effect, although nobody has healed it. Any other
// error of a Probe says that it could not be looked at.
var ErrLapsed = errors.New("the fault is not in effect any more")

// Spec is a fault as the run loop asks for it, with its targets resolved.
type Spec struct {
	ID      int
	Kind    string
	Nodes   []int32
	Clients bool   // faults of links (see TakesClients): those of clients to the targets too
	Client  string // ClientCrash: name of the client, or gen.AllClients; Nodes is empty then
	Parameters
}

// Capabilities says which fault kinds a driver can do on this machine; the value is "" or why not.
type Capabilities map[string]string

// Cluster is a running cluster. A driver's New returns one that has not been started.
type Cluster interface {
	Driver() string // "docker" or "process"
	Capabilities() Capabilities

	// Start creates and starts every node and returns once all are running (not necessarily ready to serve).
	// An error names what was tried, and everything created so far is removed by Close.
	Start(ctx context.Context) error

	// Addr is the HOST:PORT at which the runner's clients reach a node's Kafka port: loopback only. It stays the same across restarts.
	Addr(node int32) string

	// Inject brings the fault about and returns once its effect has been seen in the data path (or ctx ends: then the error
	// says that no evidence was seen). Evidence covers phases "before" and "during".
	Inject(ctx context.Context, f Spec) ([]history.Evidence, error)
	// Probe looks once more whether the fault with this id is still in effect: evidence of phase "during", and an error that wraps
	// ErrLapsed where a part of it is not. A part that cannot show now whether it is gives neither.
	Probe(ctx context.Context, id int) ([]history.Evidence, error)
	// Heal ends the fault and returns once the end has been seen: evidence of phase "after". Killed nodes are started again.
	// Healing what is already healed does nothing.
	Heal(ctx context.Context, id int) ([]history.Evidence, error)
	// HealAll heals everything in a safe order: resume, then links, then starts. It is used at every end.
	HealAll(ctx context.Context) error

	// Close stops the nodes (asked exits), completes logs/ with each node's whole log, and removes all that the run created. It is
	// safe to call at any time and more than once, and finishes within its context even if the engine is gone (then it says what is left).
	Close(ctx context.Context) error
}
