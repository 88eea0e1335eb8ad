// Package batchtest makes record batches for tests.
package batchtest

import (
	"encoding/binary"

	"soak/broker/partlog/batch"
)

// Make builds one uncompressed batch with the given values as records without keys, as an idempotence-free
// producer would send it, stamped with a base offset and leader epoch. At least one value must be given.
func Make(baseOffset int64, leaderEpoch int32, values ...string) []byte {
	be := binary.BigEndian
	b := make([]byte, batch.HeaderSize)
	b[16] = batch.Magic
	be.PutUint32(b[23:], uint32(len(values)-1))
	be.PutUint64(b[43:], ^uint64(0)) // no producer id, epoch and sequence: -1
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[57:], uint32(len(values)))
	for i, v := range values {
		r := []byte{0}                            // attributes
		r = binary.AppendVarint(r, 0)             // timestamp delta
		r = binary.AppendVarint(r, int64(i))      // offset delta
		r = binary.AppendVarint(r, -1)            // no key
		r = binary.AppendVarint(r, int64(len(v))) //
		r = append(r, v...)                       //
		r = binary.AppendVarint(r, 0)             // headers
		b = binary.AppendVarint(b, int64(len(r))) //
		b = append(b, r...)
	}
	be.PutUint32(b[8:], uint32(len(b)-12))
	be.PutUint32(b[17:], batch.CRC(b))
	batch.SetOffsetAndEpoch(b, baseOffset, leaderEpoch)
	return b
}

// By makes a batch that of an idempotent producer, and answers it.
func By(b []byte, producer int64, epoch int16, sequence int32) []byte {
	be := binary.BigEndian
	be.PutUint64(b[43:], uint64(producer))
	be.PutUint16(b[51:], uint16(epoch))
	be.PutUint32(b[53:], uint32(sequence))
	be.PutUint32(b[17:], batch.CRC(b))
	return b
}

// At gives a batch a time, in ms since 1970, and answers it.
func At(b []byte, ms int64) []byte {
	be := binary.BigEndian
	be.PutUint64(b[27:], uint64(ms))
	be.PutUint64(b[35:], uint64(ms))
	be.PutUint32(b[17:], batch.CRC(b))
	return b
}
