package measure

import (
	"math"
	"slices"
	"time"
)

// bucketRatio is the width of a bucket: each is 1 % above the one before.
const bucketRatio = 1.01

var logRatio = math.Log(bucketRatio)

// histogram counts durations in buckets. Only buckets that hold something take memory.
type histogram struct {
	counts map[int]int64
	total  int64
	max    int64 // ns, exact
}

func (h *histogram) add(ns int64) {
	if h.counts == nil {
		h.counts = map[int]int64{}
	}
	h.counts[bucketOf(ns)]++
	h.total++
	h.max = max(h.max, ns)
}

func bucketOf(ns int64) int {
	if ns <= 1 {
		return 0
	}
	return int(math.Log(float64(ns)) / logRatio)
}

// quantile is the nearest-rank quantile in seconds, q from 0 to 1, to within half a percent: the middle of the bucket that it falls
// into. The histogram must not be empty.
func (h *histogram) quantile(q float64) float64 {
	rank := max(1, int64(math.Ceil(q*float64(h.total))))
	if rank == h.total {
		return h.slowest()
	}
	keys := make([]int, 0, len(h.counts))
	for k := range h.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var seen int64
	for _, k := range keys {
		if seen += h.counts[k]; seen >= rank {
			ns := min(math.Exp((float64(k)+0.5)*logRatio), float64(h.max))
			return ns / float64(time.Second)
		}
	}
	return h.slowest()
}

func (h *histogram) slowest() float64 { return time.Duration(h.max).Seconds() }
