package report

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Eight hours fit into the cells, nothing is lost from sums, and the one slow answer of all is still the maximum of its time.
func TestCellsKeepSumsAndExtremes(t *testing.T) {
	c := cells{start: 1000}
	const seconds = 8 * 3600
	for s := range int64(seconds) {
		x := c.at(1000 + s*int64(time.Second))
		x.acked += 7
		x.errors[2]++
		x.latency.put(int64(5 * time.Millisecond))
		if s == 12345 {
			x.latency.put(int64(9 * time.Second))
			x.memory[1] = 1 << 40
		}
	}
	if len(c.list) > maxCells {
		t.Fatalf("%d cells, want at most %d", len(c.list), maxCells)
	}
	var acked, errors, answers, highest int64
	for i, x := range c.list {
		if x == nil {
			continue
		}
		acked += x.acked
		errors += int64(x.errors[2])
		answers += x.latency.n
		if x.latency.max == int64(9*time.Second) {
			from, to := int64(i)*c.width, int64(i+1)*c.width
			if at := 12345 * int64(time.Second); at < from || at >= to || x.memory[1] != 1<<40 {
				t.Errorf("the extreme is in the cell from %d to %d", from, to)
			}
			highest++
		}
	}
	if acked != 7*seconds || errors != seconds || answers != seconds+1 || highest != 1 {
		t.Errorf("got %d acknowledged, %d errors, %d answers, %d extremes", acked, errors, answers, highest)
	}
	if c.at(999) != nil {
		t.Error("a time before the start has a cell")
	}
}

func TestQuantilesAreRightToSevenPercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []int64
	for range 20000 {
		ns := int64(50_000 * (1 + r.ExpFloat64()*400))
		all = append(all, ns)
		h.put(ns)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		want, got := float64(all[int(q*float64(len(all)))]), float64(h.quantile(q))
		if got < want*0.93 || got > want*1.07 {
			t.Errorf("quantile %v is %v, want %v within 7 percent", q, got, want)
		}
	}
	if h.quantile(1) != all[len(all)-1] {
		t.Errorf("the maximum is %d, want exactly %d", h.quantile(1), all[len(all)-1])
	}
}
