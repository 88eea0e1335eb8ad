// Package usage measures what the own process takes of its machine: memory, goroutines, descriptors. Brokers tell theirs in their logs once a
// second, the runner puts its own into the run folder. It judges nothing, and knows no other process.
package usage

import (
	"runtime"
	"runtime/metrics"
)

// Usage of this process. -1: this system does not tell.
type Usage struct {
	Memory      int64 // resident bytes
	HeapLive    int64 // bytes that the last garbage collection found in use, 0 before the first
	Goroutines  int64
	Descriptors int64 // open files, sockets and the like
}

// Read measures. It stops nothing, and takes a few system calls.
func Read() Usage {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	u := Usage{Memory: residentBytes(), Goroutines: int64(runtime.NumGoroutine()), Descriptors: openDescriptors()}
	if live[0].Value.Kind() == metrics.KindUint64 {
		u.HeapLive = int64(live[0].Value.Uint64())
	}
	return u
}
