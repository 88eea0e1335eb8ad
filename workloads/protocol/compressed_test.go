package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"soak/workloads/decompress"
)

// codecs are those that a batch may be compressed with (KIP-110 brought the last).
var codecs = map[string]struct {
	number uint16
	make   func() kgo.CompressionCodec
}{
	"gzip": {1, kgo.GzipCompression}, "snappy": {2, kgo.SnappyCompression}, "lz4": {3, kgo.Lz4Compression}, "zstd": {4, kgo.ZstdCompression},
}

// compressed is a batch of five values, compressed.
func compressed(tb testing.TB, codec string) (batch []byte, values [][]byte) {
	tb.Helper()
	for i := range 5 {
		values = append(values, fmt.Appendf(nil, "value %d of %s, %s", i, codec, bytes.Repeat([]byte("x"), 200)))
	}
	plain := AppendBatch(nil, 1, values...)
	c := codecs[codec]
	compressor, err := kgo.DefaultCompressor(c.make())
	if err != nil {
		tb.Fatal(err)
	}
	records, used := compressor.Compress(new(bytes.Buffer), plain[batchHeaderSize:])
	if uint16(used) != c.number {
		tb.Fatalf("compressed with codec %d, want %d", used, c.number)
	}
	batch = append(plain[:batchHeaderSize:batchHeaderSize], records...)
	binary.BigEndian.PutUint16(batch[batchAttrsAt:], c.number)
	return endBatch(batch, 0), values
}

// values collects what it is told.
type readValues struct {
	got     [][]byte
	damaged error
}

func (r *readValues) Record(_ int64, value []byte)      { r.got = append(r.got, bytes.Clone(value)) }
func (r *readValues) Damaged(_, _ int64, err error)     { r.damaged = err }
func (r *readValues) End(raw []byte, first, last int64) {}

// Consumers of several replicas read batches of all codecs at once, by the same decoders.
func TestCompressedBatchesAreReadAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for codec := range codecs {
		batch, values := compressed(t, codec)
		for range 4 {
			all.Go(func() {
				for range 50 {
					var r readValues
					if err := ReadBatches(batch, &r); err != nil || r.damaged != nil || len(r.got) != len(values) {
						t.Errorf("%s: %v, %v, %d records", codec, err, r.damaged, len(r.got))
						return
					}
					for i := range values {
						if !bytes.Equal(r.got[i], values[i]) {
							t.Errorf("%s: record %d is %q, want %q", codec, i, r.got[i], values[i])
							return
						}
					}
				}
			})
		}
	}
	all.Wait()
}

// A broker may hand out a batch of a few kilobytes that has gigabytes of records: it is damaged, and not what the runner ends by.
func TestADecompressionBombIsDamage(t *testing.T) {
	for codec, c := range codecs {
		compressor, err := kgo.DefaultCompressor(c.make())
		if err != nil {
			t.Fatal(err)
		}
		header := AppendBatch(nil, 1, []byte("x"))[:batchHeaderSize:batchHeaderSize]
		records, _ := compressor.Compress(new(bytes.Buffer), make([]byte, decompress.Max+1))
		batch := append(header, records...)
		binary.BigEndian.PutUint16(batch[batchAttrsAt:], c.number)
		var r readValues
		if err := ReadBatches(endBatch(batch, 0), &r); err != nil || !errors.Is(r.damaged, kgo.ErrMaxDecompress) {
			t.Errorf("%s: %v, damaged by %v; want %v", codec, err, r.damaged, kgo.ErrMaxDecompress)
		}
	}
}

type nobody struct{}

func (nobody) Record(int64, []byte)        {}
func (nobody) Damaged(_, _ int64, _ error) {}
func (nobody) End([]byte, int64, int64)    {}

func BenchmarkReadCompressed(b *testing.B) {
	for codec := range codecs {
		batch, _ := compressed(b, codec)
		b.Run(codec, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := ReadBatches(batch, nobody{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
