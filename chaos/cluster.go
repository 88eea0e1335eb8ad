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
	Bugs             []string
	Seed             uint64
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
	Stop       = "stop"        // SIGTERM; healing starts it again (later version)
	RestartAll = "restart-all" // SIGKILL all nodes at once; healing starts all
	Pause      = "pause"       // SIGSTOP or the freezer; healing resumes
	Partition  = "partition"   // the targets are cut from all other nodes, with Clients also from clients
)

// ErrLapsed is wrapped by a Probe's error that says: the fault is seen not to be in effect, although nobody has healed it. Any other
// error of a Probe says that it could not be looked at.
var ErrLapsed = errors.New("the fault is not in effect any more")

// Spec is a fault as the run loop asks for it, with its targets resolved.
type Spec struct {
	ID      int
	Kind    string
	Nodes   []int32
	Clients bool // Partition: cut clients from the targets too
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
