package gen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
)

// Header is the identity that a record's value carries. With dense sequences per (producer, partition) a reader can tell
// loss, duplication, misrouting, leftovers of another run and damage from each other.
type Header struct {
	Run            uint64 // run id
	Producer       uint32
	Incarnation    uint32 // of the producer: a new one starts its sequences anew
	TopicPartition uint64 // PartitionHash of where it was meant to go
	Seq            uint64 // dense from 0 per producer and partition
	Time           int64  // of the call, Unix ns
	Acked          int64  // highest offset known acknowledged in this partition when the call was made, -1 none
	Body           uint32 // bytes of padding after the header; AppendValue sets it
}

// The layout, all little-endian: magic (4), version (1), zero (3), run (8), producer (4), incarnation (4), topic-partition (8),
// sequence (8), time (8), acked (8), body length (4), CRC32C (4) of the whole value with this field zero; then the padding.
const (
	HeaderSize = 64
	MaxValue   = 1 << 20 // bytes of a whole value, header included

	magic   = "SOAK"
	version = 1
	crcAt   = 60
)

var (
	// ErrNotOurs: the value does not begin as ours do, or is of another version.
	ErrNotOurs = errors.New("not a value of this program")
	// ErrCorrupt: it begins as ours do, and its length or checksum is wrong.
	ErrCorrupt = errors.New("corrupt value")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PartitionHash names a partition in 64 bits (FNV-1a of topic, a zero byte, partition).
func PartitionHash(topic string, partition int32) uint64 {
	h := fnv.New64a()
	h.Write([]byte(topic))
	h.Write(binary.LittleEndian.AppendUint32([]byte{0}, uint32(partition)))
	return h.Sum64()
}

// AppendValue appends a value of size bytes in all (raised to HeaderSize, cut to MaxValue). The padding is a function of seed and header, so
// that no two records have the same bytes and any of them can be made again.
func AppendValue(buf []byte, h Header, size int, seed uint64) []byte {
	size = min(max(size, HeaderSize), MaxValue)
	start := len(buf)
	buf = append(buf, magic...)
	buf = append(buf, version, 0, 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, h.Run)
	buf = binary.LittleEndian.AppendUint32(buf, h.Producer)
	buf = binary.LittleEndian.AppendUint32(buf, h.Incarnation)
	buf = binary.LittleEndian.AppendUint64(buf, h.TopicPartition)
	buf = binary.LittleEndian.AppendUint64(buf, h.Seq)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(h.Time))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(h.Acked))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(size-HeaderSize))
	buf = append(buf, 0, 0, 0, 0)
	padding := NewRand(seed ^ h.TopicPartition ^ uint64(h.Producer)<<32 ^ uint64(h.Incarnation)<<48 ^ h.Seq)
	for size-(len(buf)-start) >= 8 {
		buf = binary.LittleEndian.AppendUint64(buf, padding.Uint64())
	}
	for last := padding.Uint64(); len(buf)-start < size; last >>= 8 {
		buf = append(buf, byte(last))
	}
	binary.LittleEndian.PutUint32(buf[start+crcAt:], crc32.Checksum(buf[start:], castagnoli))
	return buf
}

// ParseValue reads a value's identity. The error wraps ErrNotOurs or ErrCorrupt.
func ParseValue(b []byte) (Header, error) {
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return Header{}, ErrNotOurs
	}
	if len(b) < HeaderSize || len(b) > MaxValue {
		return Header{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	var zero [4]byte
	sum := crc32.Checksum(b[:crcAt], castagnoli)
	sum = crc32.Update(sum, castagnoli, zero[:])
	sum = crc32.Update(sum, castagnoli, b[HeaderSize:])
	if want := binary.LittleEndian.Uint32(b[crcAt:]); sum != want {
		return Header{}, fmt.Errorf("%w: checksum %08x, value says %08x", ErrCorrupt, sum, want)
	}
	if b[4] != version || b[5]|b[6]|b[7] != 0 {
		return Header{}, fmt.Errorf("%w: version %d", ErrNotOurs, b[4])
	}
	h := Header{
		Run:            binary.LittleEndian.Uint64(b[8:]),
		Producer:       binary.LittleEndian.Uint32(b[16:]),
		Incarnation:    binary.LittleEndian.Uint32(b[20:]),
		TopicPartition: binary.LittleEndian.Uint64(b[24:]),
		Seq:            binary.LittleEndian.Uint64(b[32:]),
		Time:           int64(binary.LittleEndian.Uint64(b[40:])),
		Acked:          int64(binary.LittleEndian.Uint64(b[48:])),
		Body:           binary.LittleEndian.Uint32(b[56:]),
	}
	if int(h.Body) != len(b)-HeaderSize {
		return Header{}, fmt.Errorf("%w: body of %d bytes, value says %d", ErrCorrupt, len(b)-HeaderSize, h.Body)
	}
	return h, nil
}
