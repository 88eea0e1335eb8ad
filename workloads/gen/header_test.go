package gen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

func drawHeader(t *rapid.T) Header {
	return Header{
		Run:            rapid.Uint64().Draw(t, "run"),
		Producer:       rapid.Uint32().Draw(t, "producer"),
		Incarnation:    rapid.Uint32().Draw(t, "incarnation"),
		TopicPartition: rapid.Uint64().Draw(t, "partition"),
		Seq:            rapid.Uint64().Draw(t, "seq"),
		Time:           rapid.Int64().Draw(t, "time"),
		Acked:          rapid.Int64().Draw(t, "acked"),
	}
}

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		size := rapid.IntRange(0, 600).Draw(t, "size")
		before := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "before")
		b := AppendValue(bytes.Clone(before), h, size, 42)
		if !bytes.HasPrefix(b, before) {
			t.Fatal("what was in the buffer is gone")
		}
		b = b[len(before):]
		if want := max(size, HeaderSize); len(b) != want {
			t.Fatalf("%d bytes, want %d", len(b), want)
		}
		got, err := ParseValue(b)
		h.Body = uint32(len(b) - HeaderSize)
		if err != nil || got != h {
			t.Fatalf("wrote %+v, read %+v, %v", h, got, err)
		}
		if !bytes.Equal(b, AppendValue(nil, h, size, 42)) {
			t.Fatal("the same header gave other bytes")
		}
	})
}

func TestEveryDamagedBitIsSeen(t *testing.T) {
	good := AppendValue(nil, Header{Run: 1, Producer: 2, Incarnation: 1, TopicPartition: PartitionHash("orders", 3), Seq: 4, Acked: -1}, 100, 7)
	for bit := range len(good) * 8 {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		want := ErrCorrupt
		if bit < 32 {
			want = ErrNotOurs // without its magic it could be anybody's
		}
		if _, err := ParseValue(b); !errors.Is(err, want) {
			t.Errorf("bit %d: %v, want %v", bit, err, want)
		}
	}
	for n := range len(good) {
		if _, err := ParseValue(good[:n]); err == nil {
			t.Errorf("cut to %d bytes it passes", n)
		}
	}
	if _, err := ParseValue(append(bytes.Clone(good), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a byte more: %v", err)
	}
	newer := bytes.Clone(good)
	newer[4] = 2
	reseal(newer)
	if _, err := ParseValue(newer); !errors.Is(err, ErrNotOurs) {
		t.Errorf("of version 2: %v", err)
	}
	short := bytes.Clone(good)
	binary.LittleEndian.PutUint32(short[56:], 5)
	reseal(short)
	if _, err := ParseValue(short); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with another length and a right checksum: %v", err)
	}
}

// reseal makes the checksum right again.
func reseal(b []byte) {
	clear(b[crcAt:HeaderSize])
	binary.LittleEndian.PutUint32(b[crcAt:], crc32.Checksum(b, castagnoli))
}

func TestPaddingDiffersByRecordAndSeed(t *testing.T) {
	h := Header{Producer: 1, Seq: 1}
	a := AppendValue(nil, h, 256, 1)[HeaderSize:]
	h.Seq = 2
	b := AppendValue(nil, h, 256, 1)[HeaderSize:]
	c := AppendValue(nil, h, 256, 2)[HeaderSize:]
	if bytes.Equal(a, b) || bytes.Equal(b, c) {
		t.Error("two records have the same padding")
	}
	if PartitionHash("a", 1) == PartitionHash("a", 2) || PartitionHash("a", 1) == PartitionHash("b", 1) {
		t.Error("two partitions have one hash")
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add(AppendValue(nil, Header{Seq: 1}, 0, 1))
	f.Add(AppendValue(nil, Header{Seq: 1}, 200, 1))
	f.Add([]byte("SOAK"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseValue(b)
		if err != nil {
			if !errors.Is(err, ErrNotOurs) && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("an untyped error: %v", err)
			}
			return
		}
		if int(h.Body)+HeaderSize != len(b) {
			t.Fatalf("body of %d in a value of %d bytes", h.Body, len(b))
		}
	})
}
