package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Reference values are those of R's wilcox.test and of tables of the U distribution.
func TestRankTestAgainstKnownValues(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second []float64
		p, effect     float64
		exact         bool
	}{
		// Complete separation of 3 and 3: 2 of the 20 arrangements are as extreme.
		{"three and three apart", []float64{1, 2, 3}, []float64{4, 5, 6}, 0.1, 1, true},
		{"five and five apart", []float64{6, 7, 8, 9, 10}, []float64{1, 2, 3, 4, 5}, 2.0 / 252, 0, true},
		// R: wilcox.test(c(1.1,2.2,3.3,4.4), c(2.5,3.5,4.5,5.5,6.5)): W = 3, p-value = 0.1111.
		{"four and five", []float64{1.1, 2.2, 3.3, 4.4}, []float64{2.5, 3.5, 4.5, 5.5, 6.5}, 14.0 / 126, 17.0 / 20, true},
		// With ties, by hand: U = 2 + 3.5 + 4 + 4 = 13.5 of 16, variance 16/12 × (9 − (24 + 6)/56) = 11.286, z = (5.5 − 0.5)/3.3594 = 1.4884.
		{"with ties", []float64{1, 2, 2, 3}, []float64{2, 3, 4, 5}, 0.13666, 13.5 / 16, false},
		{"all the same", []float64{7, 7, 7}, []float64{7, 7, 7, 7}, 1, 0.5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rankTest(c.first, c.second)
			if math.Abs(got.P-c.p) > 1e-4 || math.Abs(got.Effect-c.effect) > 1e-9 || got.Exact != c.exact {
				t.Errorf("p %.5f, effect %.4f, exact %v; want %.5f, %.4f, %v", got.P, got.Effect, got.Exact, c.p, c.effect, c.exact)
			}
			back := rankTest(c.second, c.first)
			if math.Abs(back.P-got.P) > 1e-12 || math.Abs(back.Effect+got.Effect-1) > 1e-12 {
				t.Errorf("the other way round: p %v, effect %v", back.P, back.Effect)
			}
		})
	}
}

// The exact distribution and its approximation must agree where both are good.
func TestExactAndNormalAgree(t *testing.T) {
	for u := 0; u <= 400; u += 20 {
		e, n := exactP(u, 20, 20), normalP(float64(u), 20, 20, 0)
		if math.Abs(e-n) > 0.004 {
			t.Errorf("U %d of 20 and 20: exact %.5f, normal %.5f", u, e, n)
		}
	}
}

// Where both samples come from one distribution, p below 1 % comes in about 1 % of all tests; where the second is shifted, nearly always.
func TestRankTestFindsShiftsAndLittleElse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, shift float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = math.Exp(r.NormFloat64()) + shift
		}
		return out
	}
	const tries = 2000
	wrong, found := 0, 0
	for range tries {
		if rankTest(draw(15, 0), draw(18, 0)).P < 0.01 {
			wrong++
		}
		if rankTest(draw(30, 0), draw(30, 2)).P < 0.01 {
			found++
		}
	}
	if wrong > tries/50 || found < tries*9/10 {
		t.Errorf("of %d: %d of one distribution called different, %d of two found", tries, wrong, found)
	}
}

func TestLeastP(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {3, 3}, {5, 6}, {20, 4}} {
		if got, want := leastP(n[0], n[1]), exactP(0, n[0], n[1]); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", n, got, want)
		}
	}
}

func TestHolm(t *testing.T) {
	a, b, c := 0.01, 0.04, 0.03
	holm([]*float64{&a, &b, &c})
	if math.Abs(a-0.03) > 1e-12 || math.Abs(c-0.06) > 1e-12 || math.Abs(b-0.06) > 1e-12 {
		t.Errorf("corrected to %v, %v, %v; want 0.03, 0.06, 0.06", a, b, c)
	}
}
