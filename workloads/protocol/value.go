package protocol

import (
	"errors"

	"soak/history"
	"soak/workloads/gen"
)

// Why a record read back is not one that this run wrote to this partition (history.BadRecord.Why).
const (
	BadCorrupt   = "corrupt"
	BadMisrouted = "misrouted"
	BadOtherRun  = "other run"
	BadNotOurs   = "not ours"
)

// Values is what makes the values that a run's producers write.
type Values struct {
	RunHash uint64 // the run's identity, in the header of every value
	Seed    uint64 // of the padding
	Bytes   int    // size of a value, header included; never smaller than the header
}

// Append appends the value of the i-th record of a produce operation.
func (v *Values) Append(buf []byte, op *history.Operation, i int) []byte {
	return v.append(buf, op, i, gen.PartitionHash(op.Produce.Topic, op.Produce.Partition))
}

// size is that of each value.
func (v *Values) size() int { return min(max(v.Bytes, gen.HeaderSize), gen.MaxValue) }

func (v *Values) append(buf []byte, op *history.Operation, i int, partition uint64) []byte {
	p := op.Produce
	return gen.AppendValue(buf, gen.Header{
		Run:            v.RunHash,
		Producer:       p.Producer,
		Incarnation:    p.Incarnation,
		TopicPartition: partition,
		Seq:            p.FirstSeq + uint64(i),
		Time:           op.Invoke,
		Acked:          p.Acked,
	}, v.size(), v.Seed)
}

// Identify reads the identity in a value; why is "" if the run wrote it to the partition with this gen.PartitionHash.
func Identify(value []byte, runHash, partition uint64) (h gen.Header, why string) {
	h, err := gen.ParseValue(value)
	switch {
	case errors.Is(err, gen.ErrCorrupt):
		return h, BadCorrupt
	case err != nil:
		return h, BadNotOurs
	case h.Run != runHash:
		return h, BadOtherRun
	case h.TopicPartition != partition:
		return h, BadMisrouted
	}
	return h, ""
}
