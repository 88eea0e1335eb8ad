package compare

import (
	"cmp"
	"math"
	"slices"
)

// RankTest is the result of the Mann–Whitney U test (Mann and Whitney, 1947; Wilcoxon's rank sum) of two samples.
type RankTest struct {
	N1, N2 int
	P      float64 // two-sided: how often chance alone gives ranks at least that unequal
	Exact  bool    // from the exact distribution, not its normal approximation
	// Effect is the probability that a value of the second sample is the larger of two that are drawn one from each sample, ties counted
	// half (Vargha and Delaney's A): 0.5 means no difference, 1 that every value of the second is larger than every one of the first.
	Effect float64
}

// exactUpTo is the size of samples up to which the exact distribution is used. Beyond it, and with ties, the normal approximation is good.
const exactUpTo = 20

// rankTest compares two samples, neither of which may be empty.
func rankTest(first, second []float64) RankTest {
	n1, n2 := len(first), len(second)
	u, ties := statistic(first, second) // of the second sample
	r := RankTest{N1: n1, N2: n2, Effect: u / float64(n1*n2)}
	if n1 <= exactUpTo && n2 <= exactUpTo && ties == 0 {
		r.P, r.Exact = exactP(int(u), n1, n2), true
		return r
	}
	r.P = normalP(u, float64(n1), float64(n2), ties)
	return r
}

// statistic is how many pairs have the larger value in the second sample, ties counted half; and the sum of t³−t over groups of t tied
// values, by which the variance is corrected.
func statistic(first, second []float64) (u, ties float64) {
	type value struct {
		v      float64
		second bool
	}
	all := make([]value, 0, len(first)+len(second))
	for _, v := range first {
		all = append(all, value{v, false})
	}
	for _, v := range second {
		all = append(all, value{v, true})
	}
	slices.SortFunc(all, func(a, b value) int { return cmp.Compare(a.v, b.v) })
	var ranks float64 // of the second sample
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		shared := float64(i+j+1) / 2 // the mean of the ranks i+1 to j
		for _, x := range all[i:j] {
			if x.second {
				ranks += shared
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	n2 := float64(len(second))
	return ranks - n2*(n2+1)/2, ties
}

// exactP counts the arrangements of n1 and n2 values without ties whose U is at least as far from its mean.
func exactP(u, n1, n2 int) float64 {
	// ways[j][k]: how many choices of j of the values looked at so far as the second sample give U = k. Counts stay below C(40,20), which a
	// float64 holds exactly.
	most := n1 * n2
	ways := make([][]float64, n2+1)
	for j := range ways {
		ways[j] = make([]float64, most+1)
	}
	ways[0][0] = 1
	for i := range n1 + n2 {
		for j := min(i, n2-1); j >= 0; j-- {
			below := i - j // values of the first sample below this one
			if below > n1 {
				continue
			}
			for k := most - below; k >= 0; k-- {
				ways[j+1][k+below] += ways[j][k]
			}
		}
	}
	var all, tail float64
	far := min(u, most-u)
	for k, w := range ways[n2] {
		all += w
		if k <= far {
			tail += w
		}
	}
	return min(1, 2*tail/all)
}

// leastP is the smallest p that samples of these sizes can give: that of the two arrangements in which they overlap nowhere.
func leastP(n1, n2 int) float64 {
	p := 2.0
	for i := 1; i <= n1; i++ {
		p *= float64(i) / float64(n2+i)
	}
	return min(1, p)
}

// normalP is the normal approximation with the correction for ties and for continuity.
func normalP(u, n1, n2, ties float64) float64 {
	n := n1 + n2
	variance := n1 * n2 / 12 * (n + 1 - ties/(n*(n-1)))
	if variance <= 0 { // all values are the same
		return 1
	}
	z := max(0, math.Abs(u-n1*n2/2)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}

// holm corrects p-values for their number (Holm, 1979), in place: the smallest counts as many times as there are values, the next one time
// less, and so on.
func holm(ps []*float64) {
	slices.SortStableFunc(ps, func(a, b *float64) int { return cmp.Compare(*a, *b) })
	most := 0.0
	for i, p := range ps {
		most = max(most, min(1, *p*float64(len(ps)-i)))
		*p = most
	}
}
