package protocol

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"soak/history"
)

// batches are n batches of so many records each, one behind the other.
func batches(from int64, n, records int) []byte {
	var out []byte
	for i := range n {
		values := make([][]byte, records)
		for j := range values {
			values[j] = fmt.Appendf(nil, "value %d", from+int64(i*records+j))
		}
		out = append(out, batchAt(from+int64(i*records), values...)...)
	}
	return out
}

func stretches(t *testing.T, high int64, pieces ...[]byte) []history.Stretch {
	t.Helper()
	d := history.DrainOp{Stretches: []history.Stretch{}}
	for _, b := range pieces {
		r := reader{to: &d.To, spans: &d.Spans, bad: &d.Bad, stretches: &d.Stretches, high: high}
		if err := ReadBatches(b, &r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Stretches
}

func TestStretchesEndAtBlocksAndAtTheHighWatermark(t *testing.T) {
	got := stretches(t, 2400, batches(0, 300, 10))
	want := []history.Stretch{{From: 0, To: 1030}, {From: 1030, To: 2050}, {From: 2050, To: 2400}, {From: 2400, To: 3000}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(history.Stretch{}, "Hash")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestHashesOfStretchesAddUp(t *testing.T) {
	all := stretches(t, 900, batches(0, 90, 10))
	first, rest := stretches(t, 900, batches(0, 33, 10)), stretches(t, 900, batches(330, 57, 10))
	if len(all) != 1 || len(first) != 1 || len(rest) != 1 || all[0].Hash != first[0].Hash+rest[0].Hash {
		t.Errorf("%v read at once, %v and %v in pieces", all, first, rest)
	}
}

// Each byte of a batch counts, of its header as well, whatever its checksum says.
func TestStretchHashesEveryByte(t *testing.T) {
	raw := batches(7, 1, 2)
	seen := map[uint64]int{batchSum(raw): -1}
	for i := range raw {
		raw[i] ^= 0x10
		sum := batchSum(raw)
		if other, known := seen[sum]; known {
			t.Errorf("a change of byte %d gives the hash of a change of byte %d", i, other)
		}
		seen[sum] = i
		raw[i] ^= 0x10
	}
}
