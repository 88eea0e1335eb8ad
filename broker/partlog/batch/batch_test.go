package batch_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
)

// The header is read as an independent decoder reads it.
func TestParseHeaderAgreesWithKmsg(t *testing.T) {
	b := batchtest.Make(41, 7, "a", "bb", "ccc")
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var k kmsg.RecordBatch
	if err := k.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	want := batch.Header{
		BaseOffset: k.FirstOffset, Size: int64(k.Length) + 12, LeaderEpoch: k.PartitionLeaderEpoch, CRC: uint32(k.CRC),
		Attributes: k.Attributes, LastOffsetDelta: k.LastOffsetDelta, BaseTimestamp: k.FirstTimestamp, MaxTimestamp: k.MaxTimestamp,
		ProducerID: k.ProducerID, ProducerEpoch: k.ProducerEpoch, BaseSequence: k.FirstSequence, Records: k.NumRecords,
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Errorf("kmsg reads (-) otherwise than Parse (+):\n%s", d)
	}
	if h.NextOffset() != 44 || h.Size != int64(len(b)) {
		t.Errorf("next offset %d of size %d, want 44 of %d", h.NextOffset(), h.Size, len(b))
	}
}

func TestAttributes(t *testing.T) {
	h := batch.Header{Attributes: 4 | 0x10}
	if h.Compression() != 4 || !h.Transactional() || h.Control() {
		t.Errorf("zstd in a transaction reads as compression %d, transactional %v, control %v", h.Compression(), h.Transactional(), h.Control())
	}
	if h := (batch.Header{Attributes: 0x30}); h.Compression() != 0 || !h.Control() {
		t.Error("a control batch is not seen as one")
	}
}

func TestSetOffsetAndEpochKeepsTheCRC(t *testing.T) {
	b := batchtest.Make(0, 0, "x")
	batch.SetOffsetAndEpoch(b, 1<<40, 99)
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if h.BaseOffset != 1<<40 || h.LeaderEpoch != 99 {
		t.Errorf("got offset %d epoch %d", h.BaseOffset, h.LeaderEpoch)
	}
}

func TestValidate(t *testing.T) {
	one, two := batchtest.Make(0, 0, "one"), batchtest.Make(5, 1, "two", "three")
	both := slices.Concat(one, two)
	edit := func(at int, v ...byte) []byte {
		b := slices.Clone(both)
		copy(b[at:], v)
		return b
	}
	second := len(one)
	cases := []struct {
		name string
		data []byte
		max  int
		want error
	}{
		{"two batches", both, len(two), nil},
		{"no limit", both, 0, nil},
		{"nothing", nil, 10, nil},
		{"the larger one over the limit", both, len(two) - 1, batch.ErrTooLarge},
		{"cut in the second header", both[:second+batch.HeaderSize-1], 1000, batch.ErrShort},
		{"cut in the second's records", both[:len(both)-1], 1000, batch.ErrShort},
		{"trailing byte", append(slices.Clone(both), 0), 1000, batch.ErrShort},
		{"old format", edit(16, 1), 1000, batch.ErrMagic},
		{"a flipped bit in the records", edit(len(both)-1, both[len(both)-1]^1), 1000, batch.ErrCRC},
		{"a flipped bit in the attributes", edit(second+22, 1), 1000, batch.ErrCRC},
		{"length 0", edit(second+8, 0, 0, 0, 0), 1000, batch.ErrLength},
		{"length one less than a header", edit(second+8, 0, 0, 0, 48), 1000, batch.ErrLength},
		{"length negative", edit(second+8, 0xff, 0xff, 0xff, 0xff), 1000, batch.ErrLength},
		{"length 2 GiB", edit(second+8, 0x7f, 0xff, 0xff, 0xff), 1000, batch.ErrTooLarge},
		{"length 2 GiB without a limit", edit(second+8, 0x7f, 0xff, 0xff, 0xff), 0, batch.ErrShort},
		{"count above delta", edit(57, 0, 0, 0, 2), 1000, batch.ErrCount},
		{"no records", edit(57, 0, 0, 0, 0), 1000, batch.ErrCount},
		{"negative count", edit(23, 0xff, 0xff, 0xff, 0xfd, 0), 1000, batch.ErrCount},
		{"offset at the end of numbers", edit(0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1000, batch.ErrCount},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hs, err := batch.Validate(c.data, c.max)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want == nil && len(c.data) > 0 && (len(hs) != 2 || hs[1].Records != 2 || hs[1].BaseOffset != 5) {
				t.Errorf("headers %+v", hs)
			}
		})
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(batchtest.Make(0, 0, "a"), 1000)
	f.Add(slices.Concat(batchtest.Make(0, 0, "a", "b"), batchtest.Make(2, 3, "c")), 100)
	f.Add([]byte{}, 0)
	f.Add(make([]byte, 200), -1)
	f.Fuzz(func(t *testing.T, data []byte, max int) {
		hs, err := batch.Validate(data, max)
		if err != nil {
			return
		}
		// What was accepted fills the data exactly, within the limit, and survives being stamped.
		at := 0
		for i, h := range hs {
			b := data[at : at+int(h.Size)]
			if max > 0 && len(b) > max {
				t.Fatalf("batch %d has %d bytes, limit %d", i, len(b), max)
			}
			if h.CRC != binary.BigEndian.Uint32(b[17:]) || h.CRC != batch.CRC(b) || h.NextOffset() <= h.BaseOffset {
				t.Fatalf("accepted a bad batch %+v", h)
			}
			at += len(b)
		}
		if at != len(data) {
			t.Fatalf("accepted %d of %d bytes", at, len(data))
		}
	})
}
