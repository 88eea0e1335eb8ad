package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// A snapshot is a version byte, the state in its canonical encoding (the bytes that Hash hashes), and a CRC32C over both,
// little-endian. Equal states have equal snapshots, byte for byte.
const snapshotVersion = 1

// MaxSnapshot bounds a snapshot, in bytes: it travels in one message between brokers (see wire.MaxPeerFrame), with room left for the
// message around it. It holds about a million partitions.
const MaxSnapshot = 24 << 20

// ErrSnapshot wraps every error of Restore.
var ErrSnapshot = errors.New("metadata snapshot cannot be restored")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot encodes the whole state.
func (s *State) Snapshot() []byte {
	b := append([]byte{snapshotVersion}, s.encode()...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Restore decodes what Snapshot made. It never panics, allocates no more than a small multiple of the input's length, and refuses
// what no sequence of commands could have led to as well as any bytes but the canonical ones. Bugs and Self of the state are the
// caller's to set.
func Restore(b []byte) (*State, error) {
	switch {
	case len(b) > MaxSnapshot:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSnapshot, len(b), MaxSnapshot)
	case len(b) < 1+crc32.Size:
		return nil, fmt.Errorf("%w: it ends early", ErrSnapshot)
	case b[0] != snapshotVersion:
		return nil, fmt.Errorf("%w: encoding version %d, this version reads %d", ErrSnapshot, b[0], snapshotVersion)
	}
	covered := b[:len(b)-crc32.Size]
	if got, want := crc32.Checksum(covered, castagnoli), binary.LittleEndian.Uint32(b[len(covered):]); got != want {
		return nil, fmt.Errorf("%w: CRC computed %08x, stored %08x", ErrSnapshot, got, want)
	}
	s, err := decodeState(covered[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if !bytes.Equal(s.encode(), covered[1:]) {
		return nil, fmt.Errorf("%w: its encoding is not the canonical one", ErrSnapshot)
	}
	return s, nil
}

// decodeState reads what encode wrote.
func decodeState(b []byte) (*State, error) {
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != encodingVersion {
		return nil, fmt.Errorf("state encoding version %d, this version reads %d", v, encodingVersion)
	}
	s := NewState()
	s.Index, s.Chain = r.u64(), r.u64()
	for n := r.count(4); n > 0 && r.err == nil; n-- {
		broker := r.broker()
		if k := len(s.Brokers); k > 0 && s.Brokers[k-1].ID >= broker.ID {
			r.fail("brokers are not in order")
		}
		s.Brokers = append(s.Brokers, &broker)
	}
	for n := r.count(1 + len(TopicID{}) + 2); n > 0 && r.err == nil; n-- {
		s.restoreTopic(&r)
	}
	s.NextProducerID = r.u64()
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d bytes behind its end", len(r.b)))
	}
	return s, r.err
}

func (s *State) restoreTopic(r *reader) {
	t := &Topic{Name: r.str(), ID: r.topicID(), Configs: r.configs()}
	for n := r.count(5); n > 0 && r.err == nil; n-- {
		p := &Partition{Replicas: r.ids(), ISR: r.ids(), Leader: r.i32(), LeaderEpoch: r.i32(), PartitionEpoch: r.i32()}
		switch {
		case r.err != nil:
		case len(p.Replicas) == 0 || len(p.ISR) == 0:
			r.fail("a partition without replicas or without an ISR")
		case p.Leader != NoLeader && !slices.Contains(p.ISR, p.Leader):
			r.fail("a partition's leader is not in its ISR")
		case p.LeaderEpoch < 0 || p.PartitionEpoch < 0:
			r.fail("a negative epoch")
		}
		t.Partitions = append(t.Partitions, p)
	}
	switch k := len(s.Topics); {
	case r.err != nil:
	case len(t.Partitions) == 0:
		r.fail("a topic without partitions")
	case k > 0 && s.Topics[k-1].Name >= t.Name:
		r.fail("topics are not in order")
	case s.byID[t.ID] != nil:
		r.fail("two topics have one id")
	}
	s.Topics = append(s.Topics, t)
	s.byID[t.ID] = t
}
