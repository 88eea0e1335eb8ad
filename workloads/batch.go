package workloads

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Layout of a record batch of magic 2 (KIP-98), in bytes from its start.
const (
	batchLengthAt   = 8  // int32: what follows this field
	batchPrefix     = 12 // base offset and length
	batchCRCAt      = 17 // uint32, CRC32C of everything from the attributes on
	batchAttrsAt    = 21
	batchHeaderSize = 61
)

const (
	attrCodec   = 0x07
	attrControl = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBatch appends a batch of uncompressed records with these values and the given time in Unix milliseconds.
func appendBatch(dst []byte, millis int64, values ...[]byte) []byte {
	var records []byte
	for i, v := range values {
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(i)
		r.Value = v
		body := r.AppendTo(nil)
		// AppendTo begins with the record's length, which is only known now; the zero that it wrote takes one byte.
		r.Length = int32(len(body) - 1)
		records = r.AppendTo(records)
	}
	b := kmsg.NewRecordBatch()
	b.PartitionLeaderEpoch = -1
	b.Magic = 2
	b.LastOffsetDelta = int32(len(values) - 1)
	b.FirstTimestamp, b.MaxTimestamp = millis, millis
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = -1, -1, -1
	b.NumRecords = int32(len(values))
	b.Records = records
	b.Length = int32(batchHeaderSize - batchPrefix + len(records))
	start := len(dst)
	dst = b.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start+batchCRCAt:], crc32.Checksum(dst[start+batchAttrsAt:], castagnoli))
	return dst
}

// batchVisitor is told what a fetch's bytes hold, in order.
type batchVisitor struct {
	record  func(offset int64, value []byte)
	damaged func(first, last int64, err error) // a batch whose records cannot be read
	end     func(last int64)                   // after each batch: the last offset that it stands for
}

// readBatches walks the batches of a fetch. A batch cut off at the end is passed over, as brokers may send one. The values given to
// record are only valid during the call. The error says that what follows is no batch.
func readBatches(b []byte, v batchVisitor) error {
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
			if err := readRecords(one, &batch, v.record); err != nil {
				v.damaged(batch.FirstOffset, last, err)
			}
		}
		v.end(last)
	}
	return nil
}

var errRecordCut = errors.New("a record is cut off")

// readRecords gives a batch's records to fn, all or none.
func readRecords(raw []byte, batch *kmsg.RecordBatch, fn func(int64, []byte)) error {
	if got := crc32.Checksum(raw[batchAttrsAt:], castagnoli); got != uint32(batch.CRC) {
		return fmt.Errorf("the batch's checksum is %08x and its bytes have %08x", uint32(batch.CRC), got)
	}
	data := batch.Records
	if codec := batch.Attributes & attrCodec; codec != 0 {
		var err error
		if data, err = kgo.DefaultDecompressor().Decompress(data, kgo.CompressionCodecType(codec)); err != nil {
			return fmt.Errorf("decompressing: %w", err)
		}
	}
	type rec struct {
		offset int64
		value  []byte
	}
	var recs []rec
	for len(data) > 0 {
		size, n := binary.Varint(data)
		if n <= 0 || size < 0 || size > int64(len(data)-n) {
			return errRecordCut
		}
		var r kmsg.Record
		if err := r.ReadFrom(data[:n+int(size)]); err != nil {
			return fmt.Errorf("reading a record: %w", err)
		}
		data = data[n+int(size):]
		recs = append(recs, rec{batch.FirstOffset + int64(r.OffsetDelta), r.Value})
	}
	if int32(len(recs)) != batch.NumRecords {
		return fmt.Errorf("the batch has %d records and says %d", len(recs), batch.NumRecords)
	}
	for _, r := range recs {
		fn(r.offset, r.value)
	}
	return nil
}
