package core

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func testCache(sizes ...int) *cache {
	c := &cache{}
	for i, s := range sizes {
		c.add(int64(10*i), int64(10*i+10), bytes.Repeat([]byte{byte(i)}, s))
	}
	return c
}

func TestCacheRead(t *testing.T) {
	c := testCache(100, 200, 300)
	for _, x := range []struct {
		name          string
		offset, limit int64
		max           int
		first         bool
		want          int
		cached        bool
	}{
		{"everything", 0, 30, 1000, true, 600, true},
		{"from within a batch", 15, 30, 1000, true, 500, true},
		{"up to the limit", 0, 20, 1000, true, 300, true},
		{"up to the bytes", 0, 30, 300, true, 300, true},
		{"a whole batch though larger", 10, 30, 50, true, 200, true},
		{"none larger unless first", 10, 30, 50, false, 0, true},
		{"at the end", 30, 30, 1000, true, 0, false},
	} {
		data, cached := c.read(x.offset, x.limit, x.max, x.first)
		if len(data) != x.want || cached != x.cached {
			t.Errorf("%s: %d bytes, cached %v; want %d, %v", x.name, len(data), cached, x.want, x.cached)
		}
	}
	c.evict(250, 10)
	if _, cached := c.read(0, 30, 10, true); cached || c.bytes != 500 {
		t.Errorf("after evicting what is durable: first batch cached %v, %d bytes, want false, 500", cached, c.bytes)
	}
	c.truncate(20)
	if data, _ := c.read(10, 30, 1000, true); len(data) != 200 || c.bytes != 200 {
		t.Errorf("after truncation to 20: %d bytes read, %d held, want 200", len(data), c.bytes)
	}
}

// The cache is a gapless tail of the log: what it answers is what a model of all batches says, and what it does not hold is durable.
func TestCacheIsATailOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &cache{}
		var model []cachedBatch
		end, durable := int64(0), int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				n := int64(rapid.IntRange(1, 5).Draw(t, "records"))
				b := cachedBatch{end, end + n, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "data")}
				c.add(b.base, b.next, b.data)
				model = append(model, b)
				end += n
			case 2:
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "cut")
					end = model[i].base
					model = model[:i]
					durable = min(durable, end)
					c.truncate(end)
				}
			case 3:
				if len(model) > 0 {
					durable = max(durable, model[rapid.IntRange(0, len(model)-1).Draw(t, "durable")].next)
				}
			case 4:
				c.evict(rapid.IntRange(0, 100).Draw(t, "limit"), durable)
			}
			if end == 0 {
				continue
			}
			from := int64(rapid.IntRange(0, int(end)-1).Draw(t, "from"))
			got, cached := c.read(from, end, 1<<20, true)
			var want []byte
			for _, b := range model {
				if b.next > from {
					want = append(want, b.data...)
				}
			}
			if cached && !bytes.Equal(got, want) {
				t.Fatalf("from %d: %d bytes, want %d", from, len(got), len(want))
			}
			if size, ok := c.size(from, end, 1<<20); ok != cached || ok && size != len(want) {
				t.Fatalf("from %d: size %d (cached %v), want %d", from, size, ok, len(want))
			}
			if !cached && from >= durable {
				t.Fatalf("offset %d is neither cached nor durable (durable end %d)", from, durable)
			}
		}
	})
}
