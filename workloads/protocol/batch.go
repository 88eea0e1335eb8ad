package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/workloads/decompress"
)

// Layout of a record batch of magic 2 (KIP-98), in bytes from its start.
const (
	batchLengthAt   = 8  // int32: what follows this field
	batchPrefix     = 12 // base offset and length
	batchCRCAt      = 17 // uint32, CRC32C of everything from the attributes on
	batchAttrsAt    = 21
	batchProducerAt = 43 // int64, then epoch int16 and first sequence int32
	batchHeaderSize = 61
)

const (
	attrCodec   = 0x07
	attrControl = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBatch appends a batch of uncompressed records with these values and the given time in Unix milliseconds. It is written by
// hand, because simulated producers make one for every operation.
func AppendBatch(dst []byte, millis int64, values ...[]byte) []byte {
	dst, start := beginBatch(dst, millis, len(values))
	for i, v := range values {
		dst = append(append(beginRecord(dst, i, len(v)), v...), 0)
	}
	return endBatch(dst, start)
}

// beginBatch appends the header of a batch of n records. Each record is begun by beginRecord, then comes its value and a zero: no
// headers. endBatch ends the batch.
func beginBatch(dst []byte, millis int64, n int) (_ []byte, start int) {
	be := binary.BigEndian
	start = len(dst)
	dst = be.AppendUint64(dst, 0)                  // base offset: the broker's to set
	dst = be.AppendUint32(dst, 0)                  // length, below
	dst = be.AppendUint32(dst, 0xffffffff)         // leader epoch: none
	dst = append(dst, 2)                           // magic
	dst = be.AppendUint32(dst, 0)                  // CRC, below
	dst = be.AppendUint16(dst, 0)                  // attributes
	dst = be.AppendUint32(dst, uint32(n-1))        // last offset delta
	dst = be.AppendUint64(dst, uint64(millis))     // first time
	dst = be.AppendUint64(dst, uint64(millis))     // last time
	dst = be.AppendUint64(dst, 0xffffffffffffffff) // producer id: none
	dst = be.AppendUint16(dst, 0xffff)             // producer epoch: none
	dst = be.AppendUint32(dst, 0xffffffff)         // base sequence: none
	return be.AppendUint32(dst, uint32(n)), start
}

// putSequence makes a batch that was begun an idempotent producer's.
func putSequence(batch []byte, s Sequence) {
	be := binary.BigEndian
	be.PutUint64(batch[batchProducerAt:], uint64(s.Producer))
	be.PutUint16(batch[batchProducerAt+8:], uint16(s.Epoch))
	be.PutUint32(batch[batchProducerAt+10:], uint32(s.First))
}

func beginRecord(dst []byte, i, valueSize int) []byte {
	delta, size := int64(i), int64(valueSize)
	// Attributes, time delta, no key and no headers take a byte each.
	dst = binary.AppendVarint(dst, 4+varintSize(delta)+varintSize(size)+size)
	dst = append(dst, 0, 0)
	dst = binary.AppendVarint(dst, delta)
	dst = binary.AppendVarint(dst, -1)
	return binary.AppendVarint(dst, size)
}

func endBatch(dst []byte, start int) []byte {
	be := binary.BigEndian
	be.PutUint32(dst[start+batchLengthAt:], uint32(len(dst)-start-batchPrefix))
	be.PutUint32(dst[start+batchCRCAt:], crc32.Checksum(dst[start+batchAttrsAt:], castagnoli))
	return dst
}

// varintSize is the length of v in zigzag encoding, in bytes.
func varintSize(v int64) int64 {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := int64(1)
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// Visitor is told what a fetch's bytes hold, in order.
type Visitor interface {
	Record(offset int64, value []byte)    // the value is only valid during the call
	Damaged(first, last int64, err error) // a batch whose records cannot be read
	End(raw []byte, first, last int64)    // after each batch: its bytes, only valid during the call, and the offsets that it stands for
}

// ReadBatches walks the batches of a fetch. A batch cut off at the end is passed over, as brokers may send one. The error says
// that what follows is no batch.
func ReadBatches(b []byte, v Visitor) error {
	for len(b) >= batchPrefix {
		length := int64(int32(binary.BigEndian.Uint32(b[batchLengthAt:])))
		if length < batchHeaderSize-batchPrefix {
			return fmt.Errorf("a batch of length %d, less than its header", length)
		}
		if length > int64(len(b)-batchPrefix) {
			return nil
		}
		one := b[:batchPrefix+length]
		b = b[len(one):]
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(one); err != nil {
			return fmt.Errorf("reading a batch: %w", err)
		}
		if batch.Magic != 2 {
			return fmt.Errorf("a batch of magic %d at offset %d where 2 is expected", batch.Magic, batch.FirstOffset)
		}
		if batch.LastOffsetDelta < 0 {
			return fmt.Errorf("the batch at offset %d ends before it begins", batch.FirstOffset)
		}
		last := batch.FirstOffset + int64(batch.LastOffsetDelta)
		// Markers of transactions are no records of clients.
		if batch.Attributes&attrControl == 0 {
			if err := readRecords(one, &batch, v); err != nil {
				v.Damaged(batch.FirstOffset, last, err)
			}
		}
		v.End(one, batch.FirstOffset, last)
	}
	return nil
}

var errRecordCut = errors.New("a record is cut off")

// readRecords gives a batch's records to v, all or none.
func readRecords(raw []byte, batch *kmsg.RecordBatch, v Visitor) error {
	if got := crc32.Checksum(raw[batchAttrsAt:], castagnoli); got != uint32(batch.CRC) {
		return fmt.Errorf("the batch's checksum is %08x and its bytes have %08x", uint32(batch.CRC), got)
	}
	data := batch.Records
	if codec := batch.Attributes & attrCodec; codec != 0 {
		var err error
		if data, err = decompress.Records(int8(codec), data); err != nil {
			return err
		}
	}
	// First whether all can be read, then what they hold: in place of keeping them.
	var r kmsg.Record
	count := int32(0)
	for rest := data; len(rest) > 0; count++ {
		var err error
		if rest, err = nextRecord(rest, &r); err != nil {
			return err
		}
	}
	if count != batch.NumRecords {
		return fmt.Errorf("the batch has %d records and says %d", count, batch.NumRecords)
	}
	for len(data) > 0 {
		var err error
		if data, err = nextRecord(data, &r); err != nil {
			return err
		}
		v.Record(batch.FirstOffset+int64(r.OffsetDelta), r.Value)
	}
	return nil
}

// nextRecord reads the first record of data and answers what follows it.
func nextRecord(data []byte, r *kmsg.Record) ([]byte, error) {
	size, n := binary.Varint(data)
	if n <= 0 || size < 0 || size > int64(len(data)-n) {
		return nil, errRecordCut
	}
	if err := r.ReadFrom(data[:n+int(size)]); err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	return data[n+int(size):], nil
}
