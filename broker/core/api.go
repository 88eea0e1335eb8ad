package core

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"

	"soak/broker/bugs"
	"soak/broker/partlog/producers"
	"soak/history"
)

// Config of a node. Every field is set by the caller; New validates.
type Config struct {
	ID    int32
	Peers []int32 // all members, this node included, ascending
	Seed  uint64  // topic ids and every other random value come from it
	Boot  uint64  // this boot's number, from the data directory; also the boot id in registrations

	Advertise string // HOST:PORT that clients are told for this node
	Version   string

	Tick             time.Duration // raft tick, default 100 ms
	ElectionTicks    int           // 10
	HeartbeatTicks   int           // 1
	ElectionInterval time.Duration // period of the leader-election service, default 12 s
	SessionTimeout   time.Duration // default half the election interval, at least 500 ms
	ReplicaLag       time.Duration // default the session timeout, at least 1 s
	InitialLeader    string        // "raft-leader" (default) or "balanced"

	AutoCreate         bool
	DefaultPartitions  int32
	DefaultReplication int32 // 3, or all nodes if fewer
	MaxRecordBatch     int32 // bytes, default 1 MiB
	MaxFetchBytes      int32 // bytes a fetch answer holds at most, default 8 MiB
	MaxQueuedDiskBytes int64 // beyond it produce waits, default 64 MiB

	RetentionCheck time.Duration // how often a leader looks for segments that retention has ended, default 30 s
	// SnapshotEntries is after how many raft entries the metadata are stored as a snapshot, and the entries up to it dropped but for
	// a quarter of that many, so that a follower slightly behind needs no snapshot. Default 10,000.
	SnapshotEntries int64

	// Flush says when a record counts as replicated: FlushSync (default) when it is synced, FlushNone when it is written, as Kafka does it. The
	// metadata log is synced either way.
	Flush string

	Bugs bugs.Set
}

// Boot is what the disk held when the data directory was opened.
type Boot struct {
	First     bool // the raft log was empty: the very first start
	HardState *pb.HardState
	Snapshot  *pb.Snapshot // nil if none
	// The entry before the first of Entries: (0, 0) without a snapshot, otherwise the snapshot's or one before it.
	BaseIndex, BaseTerm uint64
	Entries             []*pb.Entry
	Logs                []LogInfo
	// Unclean is the last boot that did not sync its records (FlushNone) and was not stopped in order, so that a part of what it had
	// written may be gone; 0: none.
	Unclean uint64
}

// PartitionID names a partition's log. Topic ids are never used again, so a topic deleted and created anew has new logs.
type PartitionID struct {
	Topic     [16]byte
	Partition int32
}

// LogInfo is what recovery found in one partition log.
type LogInfo struct {
	ID     PartitionID
	Start  int64 // log start offset
	End    int64 // log end offset: one past the last whole batch
	Epochs []EpochStart

	Producers *producers.Table // of all its batches, the core's from here on; nil: none
}

// EpochStart says at which offset a leader epoch begins (KIP-101).
type EpochStart struct {
	Epoch int32
	Start int64
}

// ---- inputs ----

// Input is one of Tick, ClientRequest, ConnClosed, PeerInput, DiskDone, Shutdown.
type Input interface{ isInput() }

// Tick tells the time and nothing else. Step takes the time with every input; a Tick is for the wake-up.
type Tick struct{}

// ConnID names a client connection for as long as it lives; the caller never uses one again.
type ConnID uint64

// ClientRequest is one decoded request. The core answers each with exactly one Response or by closing the
// connection, in the order of the requests of that connection. (Produce with acks=0 gets Response.Kmsg nil.)
type ClientRequest struct {
	Conn ConnID
	Corr int32 // correlation id, given back in the Response
	Req  kmsg.Request
	Op   string // the operation id carried in an unknown tagged field, "" if none
}

// ConnClosed tells that a client connection is gone; its requests need no answer any more.
type ConnClosed struct{ Conn ConnID }

// PeerInput is a message that arrived from another node.
type PeerInput struct{ Msg *PeerMessage }

// DiskDone is the completion of a disk operation.
type DiskDone struct {
	ID   uint64
	Err  error  // any error of a write or sync is fatal: the node answers with Ready.Fatal
	Data []byte // reads: whole record batches from the asked offset on
	End  int64  // appends and truncations: the log's end after it; below the asked offset if that lay inside a batch, which is cut whole

	Producers *producers.Table // truncations: of the batches that are left, the core's from here on; nil: none
	Bugs      bugs.Set         // planted ones that changed how the operation was executed
}

// Shutdown asks the node to hand over what it leads, within 2.5 s, and to say by Output.Stopped when it may end. Until then it serves on.
type Shutdown struct{}

func (Tick) isInput()           {}
func (*ClientRequest) isInput() {}
func (ConnClosed) isInput()     {}
func (PeerInput) isInput()      {}
func (*DiskDone) isInput()      {}
func (Shutdown) isInput()       {}

// ---- outputs ----

// Output is what must happen now. The slices are the caller's until the next call of Ready.
type Output struct {
	Events    []history.Event
	Disk      []DiskOp
	Responses []Response
	Close     []ConnID // connections to close without a (further) answer
	Messages  []*PeerMessage
	Wake      time.Duration // the node wants a Tick after this long at the latest (relative to the time of the last Step)
	Fatal     error         // the node must stop: a failed write, a broken invariant

	Stopped bool   // a Shutdown has been carried out: the node may be ended
	Kept    string // with Stopped: why leaderships were not handed over, "" if they were
}

// Response answers one request. Kmsg nil: nothing is written (acks=0).
type Response struct {
	Conn  ConnID
	Corr  int32
	Kmsg  kmsg.Response
	Op    string // the request's operation id, for the echo
	Index uint64 // raft index that the answer rests on, 0 if none: echoed in a tagged field when Op was carried
}

// PeerMessage is what nodes say to each other. Exactly one of the pointers is set.
type PeerMessage struct {
	From, To int32
	FromBoot uint64

	Raft      *pb.Message
	Heartbeat *Heartbeat
	Forward   *Forward
	Answer    *ForwardAnswer
	Fetch     *PeerFetch
	FetchResp *PeerFetchResp
}

// Heartbeat is a broker's sign of life to every node's session table.
type Heartbeat struct {
	Seq uint64
}

// Forward carries an admin or internal request to the controller. It is never sent twice. The controller refuses
// it when Term or CtrlBoot are not its own, and handles each (From, FromBoot, Num) once within a term.
type Forward struct {
	Num      uint64
	Term     uint64       // raft term of the controller it is meant for
	CtrlBoot uint64       // boot of the controller it is meant for
	Req      kmsg.Request // CreateTopics, DeleteTopics, IncrementalAlterConfigs, AlterPartition, BrokerRegistration, …
	Cause    string       // as in history.Propose.Cause
	Via      int32        // node that the client's request reached
	Op       string
}

// ForwardAnswer answers a Forward. Refused: it did not enter the log and never will.
type ForwardAnswer struct {
	Num     uint64
	Refused bool
	Resp    kmsg.Response
	Index   uint64 // raft index at which the outcome was decided
}

// PeerFetch is a follower's fetch to one leader: Kafka's Fetch with leader epochs, and the boot id (KIP-903).
// Num matches the answer to the request: one is under way per (follower, leader).
type PeerFetch struct {
	Num uint64
	Req *kmsg.FetchRequest
}

type PeerFetchResp struct {
	Num  uint64
	Resp *kmsg.FetchResponse
}

// ---- disk ----

// DiskOpKind says what a DiskOp does.
type DiskOpKind uint8

const (
	// OpRaftSave appends entries (replacing any with the same or a higher index) and the hard state, then syncs if Sync. With a Snapshot,
	// which another node made, that takes the place of everything stored before, in one step with the rest of the save.
	OpRaftSave DiskOpKind = iota + 1
	// OpRaftSnapshot stores a snapshot of this node's own and drops the entries up to Base, in this order, durably.
	OpRaftSnapshot
	// OpLogAppend appends whole record batches, whose first has base offset Offset, to a partition's log (creating it if absent).
	OpLogAppend
	// OpLogTruncate cuts a partition's log to end at Offset, and syncs.
	OpLogTruncate
	// OpLogDelete removes a partition's log.
	OpLogDelete
	// OpLogRetain removes segments from a log's beginning, as Retain says; its completion's End is where the log begins then.
	OpLogRetain
	// OpLogRestart empties a log (creating it if absent) and has it begin at Offset.
	OpLogRestart
	// OpLogRead reads whole batches from the batch that holds Offset on, at most Max bytes but at least one batch.
	OpLogRead
)

// Retention says which segments of a log's beginning may go. A segment goes as a whole, and none goes before an earlier one.
type Retention struct {
	Below  int64 // only what lies below this offset
	Until  int64 // all that lies below this offset; 0: nothing is to go for that
	Before int64 // what holds no record of this time or later, in ms since 1970; a record without a time is of no time. 0: nothing is to go for its age
	Bytes  int64 // the oldest of a log that is as large without them; negative: nothing is to go for the log's size
}

// DiskOp is one disk operation. Raft saves form one queue, writes to partition logs another, reads a pool: order is
// kept within the raft queue and within one partition's writes. A completion (DiskDone) is due for every operation.
type DiskOp struct {
	ID   uint64
	Kind DiskOpKind

	// OpRaftSave and OpRaftSnapshot
	HardState *pb.HardState // nil: unchanged
	Entries   []*pb.Entry
	Snapshot  *pb.Snapshot
	Base      uint64 // OpRaftSnapshot
	Hasty     bool   // OpRaftSnapshot with a planted bug: the log is cut without waiting for the snapshot to be durable
	Sync      bool   // also for OpLogAppend: durable before it completes (false with flush=none)

	// partition logs
	Part   PartitionID
	Offset int64
	Max    int32
	Data   []byte
	Epochs []EpochStart // OpLogAppend: epochs that begin within Data, for the log's epoch index

	Retain  Retention // OpLogRetain
	Segment int64     // OpLogAppend: bytes to which a segment grows, 0: the directory's own
}
