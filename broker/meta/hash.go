package meta

import (
	"encoding/binary"
	"hash/fnv"
)

// chain folds an applied command and what it did into the state's chained hash: two nodes with the same chain at an
// index made the same changes all the way.
func (s *State) chain(c *Command, r *Result) {
	w := writer{buf: make([]byte, 0, 256)}
	w.buf = binary.BigEndian.AppendUint64(w.buf, s.Chain)
	w.u64(s.Index)
	w.str(c.Kind())
	w.str(c.Key())
	w.str(string(r.Refused))
	for _, ch := range r.Changes {
		w.str(ch.Topic)
		w.i32(ch.Partition)
		w.i32(ch.Leader)
		w.i32(ch.LeaderEpoch)
		w.i32(ch.PartitionEpoch)
		w.ids(ch.ISR)
		w.ids(ch.Replicas)
	}
	if c.Producer != nil {
		w.u64(uint64(r.ProducerID))
	}
	h := fnv.New64a()
	h.Write(w.buf)
	s.Chain = h.Sum64()
}

// Hash is computed afresh from the whole canonical state; the chain is part of it.
func (s *State) Hash() uint64 {
	h := fnv.New64a()
	h.Write(s.encode())
	return h.Sum64()
}

// encode writes the whole state in its canonical order: what is hashed, and what a snapshot holds. decodeState reads it: a field that
// one of them lacks is a field that a snapshot loses.
func (s *State) encode() []byte {
	w := writer{buf: make([]byte, 0, 4096)}
	w.byte(encodingVersion)
	w.u64(s.Index)
	w.u64(s.Chain)
	w.u64(uint64(len(s.Brokers)))
	for _, b := range s.Brokers {
		w.broker(b)
	}
	w.u64(uint64(len(s.Topics)))
	for _, t := range s.Topics {
		w.str(t.Name)
		w.raw(t.ID[:])
		w.configs(t.Configs)
		w.u64(uint64(len(t.Partitions)))
		for _, p := range t.Partitions {
			w.ids(p.Replicas)
			w.ids(p.ISR)
			w.i32(p.Leader)
			w.i32(p.LeaderEpoch)
			w.i32(p.PartitionEpoch)
		}
	}
	w.u64(s.NextProducerID)
	return w.buf
}
