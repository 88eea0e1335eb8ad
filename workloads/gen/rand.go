package gen

// Rand is a small deterministic stream of numbers (SplitMix64, Steele, Lea and Flood 2014). The same seed gives
// the same numbers on every machine and with every version of Go, which a replay needs.
type Rand struct{ state uint64 }

// NewRand starts a stream.
func NewRand(seed uint64) *Rand { return &Rand{state: seed} }

// Uint64 is the next number.
func (r *Rand) Uint64() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Intn is the next number below n, which must be positive. The bias for small n is below one in 2^50.
func (r *Rand) Intn(n int) int { return int(r.Uint64() % uint64(n)) }
