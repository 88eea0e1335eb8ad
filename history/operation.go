package history

// Outcome of a client operation. Failed is used only where every attempt got an answer that surely
// means that nothing was done; everything else that is not ok is unknown.
type Outcome string

const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Operation is one client operation: one line of history.jsonl. Exactly one of Produce, Meta, Create,
// Drain and Consume is set.
type Operation struct {
	ID       string  `json:"id"`                 // unique in the run
	Client   string  `json:"client,omitempty"`   // who asked, e.g. "produce-1"; a client has one operation of a kind at a time only where stated
	Node     int32   `json:"node"`               // node that was asked, of a send the one that it was last written to; 0 where nobody knows
	Invoke   int64   `json:"invoke"`             // Unix ns, before the request was handed to the client
	Complete int64   `json:"complete,omitempty"` // Unix ns, 0 if it never completed
	Outcome  Outcome `json:"outcome"`
	Error    string  `json:"error,omitempty"` // error text or Kafka error name, "" if ok

	Produce *ProduceOp    `json:"produce,omitempty"`
	Meta    *MetaOp       `json:"meta,omitempty"`
	Create  *AutoCreateOp `json:"create,omitempty"`
	Drain   *DrainOp      `json:"drain,omitempty"`
	Consume *ConsumeOp    `json:"consume,omitempty"`
}

// ProduceOp is a batch of records of one producer to one partition, with dense sequences from FirstSeq.
type ProduceOp struct {
	Topic       string  `json:"topic"`
	Partition   int32   `json:"partition"`
	Producer    uint32  `json:"producer"`
	Incarnation uint32  `json:"incarnation,omitempty"`
	FirstSeq    uint64  `json:"first_seq"`
	Count       int32   `json:"count"`
	Offsets     []int64 `json:"offsets,omitempty"` // of each record when ok (-1: acknowledged, offset unknown); nil otherwise
	Acked       int64   `json:"acked"`             // highest offset known acknowledged in this partition when the call was made, -1 none
	Acks        int16   `json:"acks"`
	Idempotent  bool    `json:"idempotent,omitempty"` // sent again, with the same sequence, until it was answered for good (KIP-98); otherwise sent once
	Disordered  bool    `json:"disordered,omitempty"` // an answer to it came behind that to a later request on the same connection
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
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Config  string `json:"config,omitempty"`   // name of the config key, for config_set and config_get
	Value   string `json:"value,omitempty"`    // written, or read ("" for unset)
	Exists  bool   `json:"exists,omitempty"`   // describe: what was seen
	TopicID string `json:"topic_id,omitempty"` // describe and create: hex, "" if none
	Index   uint64 `json:"index,omitempty"`    // raft index echoed by the broker, 0 if none
	Code    int16  `json:"code"`               // Kafka error code of the answer

	Partitions  int32             `json:"partitions,omitempty"` // create: as asked
	Replication int16             `json:"replication,omitempty"`
	Configs     map[string]string `json:"configs,omitempty"` // create: topic configs as asked
	Owner       string            `json:"owner,omitempty"`   // workload: "setup", "metadata", "ready"
}

// AutoCreateOp is a produce (or a Metadata with auto-creation) to a topic that does not exist yet.
type AutoCreateOp struct {
	Topic string `json:"topic"`
	How   string `json:"how,omitempty"` // "produce" (a single Produce straight to the node) or "writer" (kafka-go's Writer)
}

// DrainOp is a piece of the final read of one replica.
type DrainOp struct {
	Topic     string      `json:"topic"`
	Partition int32       `json:"partition"`
	Replica   int32       `json:"replica"`             // node read from
	From      int64       `json:"from"`                // first offset asked
	To        int64       `json:"to"`                  // next offset to read after this piece
	LogEnd    int64       `json:"log_end"`             // log end offset of that replica as known at the end of this piece, -1 unknown
	High      int64       `json:"high"`                // high watermark as it answered
	LogStart  int64       `json:"log_start,omitempty"` // the highest log start that it answered with: what lies below it could not be read, or not any more
	End       bool        `json:"end,omitempty"`       // the replica was read to its end
	Spans     []Span      `json:"spans,omitempty"`     // what was read, in offset order
	Bad       []BadRecord `json:"bad,omitempty"`
	Stretches []Stretch   `json:"stretches,omitempty"` // the bytes of what was read, in offset order
}

// ConsumeOp is what one fetch of a consumer was given of one partition by its leader (the operation's Node). A fetch that brought no
// record is recorded where its high watermark says something: see workloads/protocol, Reading.
type ConsumeOp struct {
	Topic       string      `json:"topic"`
	Partition   int32       `json:"partition"`
	LeaderEpoch int32       `json:"leader_epoch"`    // that the fetch named, and the node answered in; -1: none was named
	From        int64       `json:"from"`            // offset asked
	To          int64       `json:"to"`              // next offset to read after it
	High        int64       `json:"high"`            // high watermark as it answered, -1 unknown
	Spans       []Span      `json:"spans,omitempty"` // what was given, in offset order
	Bad         []BadRecord `json:"bad,omitempty"`
}

// Span is a run of records with consecutive offsets and consecutive sequences of one producer.
type Span struct {
	Offset      int64  `json:"offset"`
	Producer    uint32 `json:"producer"`
	Incarnation uint32 `json:"incarnation,omitempty"`
	Seq         uint64 `json:"seq"`
	Count       int32  `json:"count"`
}

// Stretch is whole batches that stand one behind the other on a replica, and a hash of their bytes as they were answered, headers included. Hashes of
// neighbours add up, modulo 2^64, to that of both together: so replicas that were read in different pieces can be compared.
type Stretch struct {
	From int64  `json:"from"` // offset of the first batch, which may lie below the piece's own beginning
	To   int64  `json:"to"`   // offset behind the last
	Hash uint64 `json:"hash,string"`
}

// BadRecord is a record whose value is not one that this run wrote to this partition.
type BadRecord struct {
	Offset int64  `json:"offset"`
	Why    string `json:"why,omitempty"` // "corrupt", "misrouted", "other run", "not ours"
}
