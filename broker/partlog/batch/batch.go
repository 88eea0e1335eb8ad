// Package batch reads and stamps the header of a Kafka record batch (message format v2, KIP-98), as functions over
// bytes. It does no input or output and looks into no record, so compressed batches pass like any other. The log
// (broker/partlog) and the core, which validates what producers send and stamps it, use it.
//
// A batch is a header of 61 bytes, big-endian, and its records:
//
//	 0 base offset int64        23 last offset delta int32    51 producer epoch int16
//	 8 length int32             27 base timestamp int64       53 base sequence int32
//	12 leader epoch int32       35 max timestamp int64        57 records int32
//	16 magic int8               43 producer id int64          61 records…
//	17 CRC32C uint32            21 attributes int16
//
// length counts what follows it; the CRC covers everything from the attributes on. So base offset and leader
// epoch, which the broker sets, lie outside of the CRC: whoever relies on them checks them against their neighbours.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderSize is the length in bytes of a header, and of the smallest batch.
const HeaderSize = 61

// Magic is the only message format that is taken.
const Magic = 2

const (
	lengthEnd = 12 // where the bytes begin that the length field counts
	crcAt     = 17
	crcStart  = 21 // where the bytes begin that the CRC covers
)

// What can be wrong with a batch. Errors of this package wrap exactly one of them.
var (
	ErrShort    = errors.New("batch cut short")                           // fewer bytes than the header or its length field says
	ErrLength   = errors.New("batch length impossible")                   // a length field smaller than a header
	ErrTooLarge = errors.New("batch larger than allowed")                 // see Validate
	ErrMagic    = errors.New("unsupported message format")                // magic is not 2
	ErrCRC      = errors.New("batch CRC32C mismatch")                     //
	ErrCount    = errors.New("record count and last offset delta differ") // or there is no record at all
)

// Header is a batch's header.
type Header struct {
	BaseOffset      int64
	Size            int64 // bytes of the whole batch, header included: the length field + 12
	LeaderEpoch     int32
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // milliseconds since 1970, as the producer gave it
	MaxTimestamp    int64
	ProducerID      int64 // negative: not idempotent
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// NextOffset is one past the batch's last offset.
func (h Header) NextOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// Compression is the codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are not assigned.
func (h Header) Compression() int { return int(h.Attributes & 0x7) }

// Transactional says whether the batch belongs to a transaction.
func (h Header) Transactional() bool { return h.Attributes&0x10 != 0 }

// Idempotent says whether an idempotent producer sent the batch: it carries a producer id.
func (h Header) Idempotent() bool { return h.ProducerID >= 0 }

// Control says whether it is a transaction marker.
func (h Header) Control() bool { return h.Attributes&0x20 != 0 }

// ParseHeader reads the header at the start of b, which may hold less than the whole batch. It checks what the header
// alone can show: length (ErrShort, ErrLength), format (ErrMagic), record count (ErrCount), and that the offsets do not overflow
// (ErrCount). The caller bounds Size before it allocates or reads by it.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrShort, len(b), HeaderSize)
	}
	be := binary.BigEndian
	h := Header{
		BaseOffset:      int64(be.Uint64(b)),
		Size:            int64(int32(be.Uint32(b[8:]))) + lengthEnd,
		LeaderEpoch:     int32(be.Uint32(b[12:])),
		CRC:             be.Uint32(b[crcAt:]),
		Attributes:      int16(be.Uint16(b[21:])),
		LastOffsetDelta: int32(be.Uint32(b[23:])),
		BaseTimestamp:   int64(be.Uint64(b[27:])),
		MaxTimestamp:    int64(be.Uint64(b[35:])),
		ProducerID:      int64(be.Uint64(b[43:])),
		ProducerEpoch:   int16(be.Uint16(b[51:])),
		BaseSequence:    int32(be.Uint32(b[53:])),
		Records:         int32(be.Uint32(b[57:])),
	}
	// The magic stands at the same place in every format, and an older format's other fields mean something else.
	if b[16] != Magic {
		return h, fmt.Errorf("%w: magic %d, want %d", ErrMagic, int8(b[16]), Magic)
	}
	if h.Size < HeaderSize {
		return h, fmt.Errorf("%w: length field %d", ErrLength, h.Size-lengthEnd)
	}
	if h.Records < 1 || int64(h.LastOffsetDelta)+1 != int64(h.Records) {
		return h, fmt.Errorf("%w: %d records, last offset delta %d", ErrCount, h.Records, h.LastOffsetDelta)
	}
	if h.BaseOffset > math.MaxInt64-int64(h.Records) {
		return h, fmt.Errorf("%w: base offset %d with %d records overflows", ErrCount, h.BaseOffset, h.Records)
	}
	return h, nil
}

// CRC computes the checksum over what it covers in b, which holds exactly one whole batch.
func CRC(b []byte) uint32 { return crc32.Checksum(b[crcStart:], castagnoli) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Parse reads the first batch of data, whole: its header, and its CRC against its bytes. Any bytes may follow.
func Parse(data []byte) (Header, error) {
	h, err := ParseHeader(data)
	if err != nil {
		return h, err
	}
	if h.Size > int64(len(data)) {
		return h, fmt.Errorf("%w: %d bytes of %d", ErrShort, len(data), h.Size)
	}
	if got := CRC(data[:h.Size]); got != h.CRC {
		return h, fmt.Errorf("%w: computed %08x, stored %08x", ErrCRC, got, h.CRC)
	}
	return h, nil
}

// Validate walks concatenated batches that fill data to the last byte and answers their headers. A batch
// of more than maxBytes is ErrTooLarge (maxBytes ≤ 0: no limit but data itself); other errors are those of Parse. The
// error says which batch, counted from 0, and where it begins. Offsets are not compared: a producer's mean nothing.
func Validate(data []byte, maxBytes int) ([]Header, error) {
	var hs []Header
	for at := 0; at < len(data); {
		h, err := ParseHeader(data[at:])
		if err == nil && maxBytes > 0 && h.Size > int64(maxBytes) {
			err = fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, h.Size, maxBytes)
		}
		if err == nil {
			h, err = Parse(data[at:])
		}
		if err != nil {
			return nil, fmt.Errorf("batch %d at byte %d: %w", len(hs), at, err)
		}
		hs = append(hs, h)
		at += int(h.Size)
	}
	return hs, nil
}

// SetOffsetAndEpoch stamps the batch at the start of b (at least HeaderSize bytes) with its place in the log. The CRC stays valid.
func SetOffsetAndEpoch(b []byte, baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b, uint64(baseOffset))
	binary.BigEndian.PutUint32(b[12:], uint32(leaderEpoch))
}
