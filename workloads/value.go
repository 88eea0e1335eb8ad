package workloads

import (
	"errors"

	"soak/history"
	"soak/workloads/gen"
)

// Why a record read back is not one that this run wrote to this partition (history.BadRecord.Why).
const (
	badCorrupt   = "corrupt"
	badMisrouted = "misrouted"
	badOtherRun  = "other run"
	badNotOurs   = "not ours"
)

// identify reads the identity in a value; why is "" if this run wrote it to this partition.
func identify(value []byte, runHash uint64, topic string, partition int32) (h gen.Header, why string) {
	h, err := gen.ParseValue(value)
	switch {
	case errors.Is(err, gen.ErrCorrupt):
		return h, badCorrupt
	case err != nil:
		return h, badNotOurs
	case h.Run != runHash:
		return h, badOtherRun
	case h.TopicPartition != gen.PartitionHash(topic, partition):
		return h, badMisrouted
	}
	return h, ""
}

// appendRecord appends the value of the i-th record of an operation.
func (c *Config) appendRecord(buf []byte, op *history.Operation, i int) []byte {
	p := op.Produce
	return gen.AppendValue(buf, gen.Header{
		Run:            c.RunHash,
		Producer:       p.Producer,
		Incarnation:    p.Incarnation,
		TopicPartition: gen.PartitionHash(p.Topic, p.Partition),
		Seq:            p.FirstSeq + uint64(i),
		Time:           op.Invoke,
		Acked:          p.Acked,
	}, c.ValueBytes, c.Seed)
}
