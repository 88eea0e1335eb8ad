package history

// Outcome of a client operation. Failed is used only where every attempt got an answer that surely
// means that nothing was done; everything else that is not ok is unknown.
type Outcome string

const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Operation is one client operation: one line of history.jsonl. Exactly one of Produce, Meta, Create and
// Drain is set.
type Operation struct {
	ID       string // unique in the run
	Client   string // who asked, e.g. "produce-1"; a client has one operation of a kind at a time only where stated
	Node     int32  // node that was asked, 0 where the client library chose
	Invoke   int64  // Unix ns, before the request was handed to the client
	Complete int64  // Unix ns, 0 if it never completed
	Outcome  Outcome
	Error    string // error text or Kafka error name, "" if ok

	Produce *ProduceOp
	Meta    *MetaOp
	Create  *AutoCreateOp
	Drain   *DrainOp
}

// ProduceOp is a batch of records of one producer to one partition, with dense sequences from FirstSeq.
type ProduceOp struct {
	Topic       string
	Partition   int32
	Producer    uint32
	Incarnation uint32
	FirstSeq    uint64
	Count       int32
	Offsets     []int64 // of each record when ok (-1: acknowledged, offset unknown); nil otherwise
	Acked       int64   // highest offset known acknowledged in this partition when the call was made, -1 none
	Acks        int16
}

// Kinds of metadata operation.
const (
	MetaCreate   = "create"
	MetaDelete   = "delete"
	MetaDescribe = "describe"   // is the topic there, and with which id
	MetaWrite    = "config_set" // a config value written as a register
	MetaRead     = "config_get"
)

// MetaOp is an operation on one topic name of the metadata workload.
type MetaOp struct {
	Kind    string
	Name    string
	Config  string // name of the config key, for config_set and config_get
	Value   string // written, or read ("" for unset)
	Exists  bool   // describe: what was seen
	TopicID string // describe and create: hex, "" if none
	Index   uint64 // raft index echoed by the broker, 0 if none
	Code    int16  // Kafka error code of the answer

	Partitions  int32 // create: as asked
	Replication int16
	Configs     map[string]string `json:",omitempty"` // create: topic configs as asked
	Owner       string            // workload: "setup", "metadata", "ready"
}

// AutoCreateOp is a produce (or a Metadata with auto-creation) to a topic that does not exist yet.
type AutoCreateOp struct {
	Topic string
	How   string // "produce" (a single Produce straight to the node) or "writer" (kafka-go's Writer)
}

// DrainOp is a piece of the final read of one replica.
type DrainOp struct {
	Topic     string
	Partition int32
	Replica   int32  // node read from
	From      int64  // first offset asked
	To        int64  // next offset to read after this piece
	LogEnd    int64  // log end offset of that replica as known at the end of this piece, -1 unknown
	High      int64  // high watermark as it answered
	End       bool   // the replica was read to its end
	Spans     []Span // what was read, in offset order
	Bad       []BadRecord
}

// Span is a run of records with consecutive offsets and consecutive sequences of one producer.
type Span struct {
	Offset      int64
	Producer    uint32
	Incarnation uint32
	Seq         uint64
	Count       int32
}

// BadRecord is a record whose value is not one that this run wrote to this partition.
type BadRecord struct {
	Offset int64
	Why    string // "corrupt", "misrouted", "other run", "not ours"
}
