package sim

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"time"
)

// streamVersion is part of every key: a change of how streams are drawn must not silently give stored seeds another meaning.
const streamVersion = 1

// mix hashes a few words into one (splitmix64 steps). It is the source of all noise.
func mix(words ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15) ^ streamVersion<<56
	for _, w := range words {
		h ^= w
		h += 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// chance reports true for a share of hashes, in millionths.
func chance(h uint64, millionths int64) bool { return int64(h%1_000_000) < millionths }

// between spreads a hash over [low, high).
func between(h uint64, low, high int64) int64 {
	if high <= low {
		return low
	}
	return low + int64(h%uint64(high-low))
}

// spread is between for durations.
func spread(h uint64, low, high time.Duration) int64 { return between(h, int64(low), int64(high)) }

// stream is the random stream of one life of one node, keyed on (seed, node, boot, count).
type stream struct {
	seed, node, boot, count uint64
}

func (s *stream) Read(p []byte) (int, error) {
	var b [8]byte
	for i := 0; i < len(p); i += 8 {
		s.count++
		binary.LittleEndian.PutUint64(b[:], mix(s.seed, s.node, s.boot, s.count))
		copy(p[i:], b[:])
	}
	return len(p), nil
}

// switchboard stands in for crypto/rand.Reader while a simulation runs: it reads from the stream of the node whose core is being stepped.
type switchboard struct {
	current io.Reader
}

func (s *switchboard) Read(p []byte) (int, error) {
	if s.current == nil {
		panic("sim: randomness drawn outside of any node")
	}
	return s.current.Read(p)
}

// take puts the switchboard in the place of the process's random source; the result puts the old one back.
func (s *switchboard) take() (restore func()) {
	old := rand.Reader
	rand.Reader = s
	return func() { rand.Reader = old }
}
