package partlog

import (
	"encoding/binary"
	"hash/crc32"

	"soak/broker/partlog/batch"
)

// A batch's own CRC begins behind it: base offset, length, leader epoch and format lie outside, since a broker sets them. On disk they
// would rot unseen, and a leader epoch that did makes a replica refuse all that follows. So what stands on disk in the place of the CRC is
// the CRC, xor a checksum of what lies before it. The batches are as long as they were, and whoever reads a log gets them as they came.
const (
	crcAt    = 17 // where in a batch its CRC stands
	crcStart = 21 // where the bytes begin that it covers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal turns a batch as it came into one as it stands on disk, and back.
func seal(b []byte) {
	binary.BigEndian.PutUint32(b[crcAt:], binary.BigEndian.Uint32(b[crcAt:])^headSum(b))
}

func headSum(b []byte) uint32 { return crc32.Checksum(b[:crcAt], castagnoli) }

// sealed is the batches of data, whose headers are hs, as they stand on disk. buf is written over.
func sealed(buf, data []byte, hs []batch.Header) []byte {
	buf = append(buf[:0], data...)
	at := int64(0)
	for _, h := range hs {
		seal(buf[at:])
		at += h.Size
	}
	return buf
}
