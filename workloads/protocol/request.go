package protocol

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// Tags of Soak in the requests and answers of metadata operations; brokers that do not know them pass over them, as the
// protocol says (KIP-482).
const (
	OpTag    = 10001 // request: the operation's id
	IndexTag = 10002 // answer: the raft index that it rests on, 8 bytes big endian
)

// tagged puts the operation's id into a request's unknown tags.
func tagged(tags *kmsg.Tags, op *history.Operation) { tags.Set(OpTag, []byte(op.ID)) }

// echoedIndex is the raft index in an answer's tags, 0 if there is none.
func echoedIndex(tags *kmsg.Tags) uint64 {
	var index uint64
	tags.Each(func(key uint32, val []byte) {
		if key == IndexTag && len(val) == 8 {
			index = binary.BigEndian.Uint64(val)
		}
	})
	return index
}

// requestMillis is the time-out written into requests that have one, in milliseconds: shorter than the client's own, so
// that a broker which gives up says so before the client does.
func requestMillis(timeout time.Duration) int32 {
	return int32((timeout - timeout/6) / time.Millisecond)
}

// ChooseNode picks one of nodes for an operation that leaves it open. It is a function of the operation's id, so that the same
// history asks the same nodes.
func ChooseNode(op *history.Operation, nodes []int32) int32 {
	h := fnv.New32a()
	h.Write([]byte(op.ID))
	return nodes[int(h.Sum32()%uint32(len(nodes)))]
}
