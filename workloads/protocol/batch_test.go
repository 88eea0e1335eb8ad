package protocol

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"soak/history"
)

// kmsgBatch is a batch as kmsg encodes it.
func kmsgBatch(millis int64, values ...[]byte) []byte {
	var records []byte
	for i, v := range values {
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(i)
		r.Value = v
		// AppendTo begins with the record's length, which is only known then; the zero that it wrote takes one byte.
		r.Length = int32(len(r.AppendTo(nil)) - 1)
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
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[batchCRCAt:], crc32.Checksum(raw[batchAttrsAt:], castagnoli))
	return raw
}

func TestBatchesAreAsTheProtocolSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := rapid.Int64Range(0, 1<<45).Draw(t, "millis")
		values := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 80).Draw(t, "values")
		got := AppendBatch([]byte("before"), millis, values...)
		if want := kmsgBatch(millis, values...); !bytes.Equal(got[len("before"):], want) {
			t.Fatalf("batch\n%x\nwant\n%x", got, want)
		}
		seen := collect{}
		if err := ReadBatches(got[len("before"):], &seen); err != nil || seen.damage != 0 {
			t.Fatalf("reading back: %v, %d damaged", err, seen.damage)
		}
		if len(seen.values) != len(values) {
			t.Fatalf("%d records read back of %d", len(seen.values), len(values))
		}
		for i := range values {
			if !bytes.Equal(seen.values[i], values[i]) || seen.offsets[i] != int64(i) {
				t.Fatalf("record %d came back as %x at offset %d", i, seen.values[i], seen.offsets[i])
			}
		}
	})
}

// The sequence of an idempotent producer is where kmsg reads it, and the checksum covers it.
func TestIdempotentProduceRequest(t *testing.T) {
	op := &history.Operation{Produce: &history.ProduceOp{Topic: "orders", Partition: 2, Producer: 1, Incarnation: 1, Count: 3, Acks: -1}}
	v := &Values{Bytes: 100}
	req := IdempotentProduceRequest(op, v, 1e9, time.Second, Sequence{Producer: 1 << 40, Epoch: 3, First: 77}).(*kmsg.ProduceRequest)
	raw := req.Topics[0].Partitions[0].Records
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	if b.ProducerID != 1<<40 || b.ProducerEpoch != 3 || b.FirstSequence != 77 || b.NumRecords != 3 {
		t.Errorf("producer %d epoch %d sequence %d, %d records", b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.NumRecords)
	}
	seen := collect{}
	if err := ReadBatches(raw, &seen); err != nil || seen.damage != 0 || len(seen.values) != 3 {
		t.Errorf("reading back: %v, %d damaged, %d records", err, seen.damage, len(seen.values))
	}
	plain := ProduceRequest(op, v, 1e9, time.Second).(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
	if err := b.ReadFrom(plain); err != nil || b.ProducerID != -1 || b.FirstSequence != -1 {
		t.Errorf("a plain one has producer %d, sequence %d, error %v", b.ProducerID, b.FirstSequence, err)
	}
}

func TestRetryProduce(t *testing.T) {
	for code, want := range map[int16][2]bool{
		CodeNotLeader: {true, false}, CodeNotEnoughReplicas: {true, false}, CodeNotEnoughAfterAppend: {true, false}, CodeRequestTimedOut: {true, false},
		CodeOutOfOrderSequence: {false, true}, CodeUnknownProducerID: {false, true},
		CodeNone: {}, CodeMessageTooLarge: {}, 47: {}, 87: {},
	} {
		if again, sequence := RetryProduce(code); [2]bool{again, sequence} != want {
			t.Errorf("%s: %v, %v; want %v", CodeName(code), again, sequence, want)
		}
	}
}

// collect keeps what batches hold.
type collect struct {
	offsets []int64
	values  [][]byte
	damage  int
	last    int64
	bad     bool // a damaged batch without a reason, or that ends before it begins
}

func (c *collect) Record(offset int64, value []byte) {
	c.offsets, c.values = append(c.offsets, offset), append(c.values, bytes.Clone(value))
}

func (c *collect) Damaged(first, last int64, err error) {
	c.damage++
	c.bad = c.bad || err == nil || last < first
}

func (c *collect) End(_ []byte, _, last int64) { c.last = last }

// batchAt is a batch with its first record at an offset.
func batchAt(offset int64, values ...[]byte) []byte {
	b := AppendBatch(nil, 1000, values...)
	binary.BigEndian.PutUint64(b, uint64(offset))
	return b
}

func TestReadBatchesGivesABatchWholeOrNotAtAll(t *testing.T) {
	whole, cut := batchAt(3, []byte("a"), []byte("b")), batchAt(5, []byte("c"), []byte("d"))
	// The second record claims a byte more than there is, and the checksum agrees.
	cut[len(cut)-8] += 2
	binary.BigEndian.PutUint32(cut[batchCRCAt:], crc32.Checksum(cut[batchAttrsAt:], castagnoli))
	damaged := batchAt(7, []byte("e"))
	damaged[len(damaged)-2] ^= 1
	control := batchAt(8, []byte("marker"))
	control[batchAttrsAt+1] |= attrControl
	var all []byte
	for _, b := range [][]byte{whole, cut, damaged, control, batchAt(9, []byte("f"))[:40]} {
		all = append(all, b...)
	}
	var got collect
	if err := ReadBatches(all, &got); err != nil {
		t.Fatal(err)
	}
	want := collect{offsets: []int64{3, 4}, values: [][]byte{[]byte("a"), []byte("b")}, damage: 2, last: 8}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(collect{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzReadBatches(f *testing.F) {
	f.Add(batchAt(3, []byte("a"), []byte("b")))
	f.Add(append(batchAt(3, []byte("a")), batchAt(4, nil)[:30]...))
	f.Add(make([]byte, 70))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got collect
		err := ReadBatches(b, &got)
		if got.bad {
			t.Error("a damaged batch without a reason, or that ends before it begins")
		}
		if err == nil && len(got.values) > len(b) {
			t.Errorf("%d records from %d bytes", len(got.values), len(b))
		}
	})
}

func BenchmarkAppendBatch(b *testing.B) {
	value := make([]byte, 128)
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		buf = AppendBatch(buf[:0], 1000, value, value, value, value, value)
	}
}
