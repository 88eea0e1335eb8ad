package protocol

import (
	"encoding/binary"
	"hash/crc32"

	"soak/history"
)

// stretchOffsets is the size of the blocks of offsets that stretches keep to: one ends before the first batch of another block, on every
// replica alike. So their number follows that of the records, however small the batches are, and what lies between two ends can be compared.
const stretchOffsets = 1024

// addStretch adds a whole batch, of the offsets from first up to, but not with, to, to what was read. A stretch ends at the high watermark as well: what
// lies above it may differ between replicas.
func addStretch(read *[]history.Stretch, raw []byte, first, to, high int64) {
	sum := batchSum(raw)
	if n := len(*read); n > 0 {
		last := &(*read)[n-1]
		if last.To == first && last.From/stretchOffsets == first/stretchOffsets && (last.To > high || to <= high) {
			last.To = to
			last.Hash += sum
			return
		}
	}
	*read = append(*read, history.Stretch{From: first, To: to, Hash: sum})
}

// batchSum is a hash of a batch's bytes: FNV-1a over the header, which holds a CRC32C of what follows, then another checksum of that, and a
// finalizer, because the sums of neighbours are added.
func batchSum(raw []byte) uint64 {
	sum := uint64(0xcbf29ce484222325)
	step := func(b byte) { sum = (sum ^ uint64(b)) * 0x100000001b3 }
	for _, b := range raw[:batchHeaderSize] {
		step(b)
	}
	for _, b := range binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(raw[batchHeaderSize:])) {
		step(b)
	}
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	return sum
}
