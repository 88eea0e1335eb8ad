package checkers

import (
	"math"
	"slices"
)

// point is a value at a time, in seconds.
type point struct{ at, value float64 }

// maxPoints bounds the points of one slope: all pairs of them are looked at.
const maxPoints = 200

// floors are the lowest values in stretches of equal length, each at least shortest seconds, at most maxPoints of them: what a process takes when it has
// put away what it could. Stretches of which less than half was seen are left out. The points are one a second, ascending.
func floors(points []point, shortest float64) []point {
	if len(points) == 0 {
		return nil
	}
	first, span := points[0].at, points[len(points)-1].at-points[0].at
	length := max(shortest, span/maxPoints)
	var out []point
	for i := 0; i < len(points); {
		n := math.Floor((points[i].at - first) / length)
		low, count := points[i].value, 0
		for ; i < len(points) && math.Floor((points[i].at-first)/length) == n; i++ {
			low = min(low, points[i].value)
			count++
		}
		if float64(count) >= length/2 {
			out = append(out, point{first + float64(n*length), low})
		}
	}
	return out
}

// rises reports whether the lowest of each third of the points is above that of the one before, and the last by least above the first.
func rises(points []point, least float64) bool {
	var low [3]float64
	for i := range low {
		third := points[i*len(points)/3 : (i+1)*len(points)/3]
		low[i] = third[0].value
		for _, p := range third {
			low[i] = min(low[i], p.value)
		}
	}
	return low[0] < low[1] && low[1] < low[2] && low[2]-low[0] >= least
}

// slopes is the lower end of the 95 % interval of the Theil-Sen slope, per second, and the slope itself (Sen 1968): the median over all pairs of points, which
// a few outliers do not move. The ends of the interval are those of Kendall's test.
func slopes(points []point) (low, middle float64) {
	n := len(points)
	all := make([]float64, 0, n*(n-1)/2)
	for i, a := range points {
		for _, b := range points[i+1:] {
			all = append(all, (b.value-a.value)/(b.at-a.at))
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	const normal = 1.96
	spread := normal * math.Sqrt(float64(n)*float64(n-1)*float64(2*n+5)/18)
	at := int(math.Floor((float64(len(all)) - spread) / 2))
	if at < 0 {
		return math.Inf(-1), all[len(all)/2]
	}
	return all[at], all[len(all)/2]
}
