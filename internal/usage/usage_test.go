package usage

import (
	"os"
	"runtime"
	"testing"
)

var kept []byte

// What the process holds on to shows in its measure, each in its own kind.
func TestWhatIsHeldIsSeen(t *testing.T) {
	runtime.GC()
	before := Read()
	kept = make([]byte, 32<<20)
	runtime.GC()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := make(chan struct{})
	defer close(end)
	go func() { <-end }()
	after := Read()
	if after.HeapLive-before.HeapLive < 30<<20 {
		t.Errorf("32 MiB more are in use, and the heap went from %d to %d bytes", before.HeapLive, after.HeapLive)
	}
	if after.Goroutines <= before.Goroutines {
		t.Errorf("goroutines went from %d to %d", before.Goroutines, after.Goroutines)
	}
	if before.Descriptors >= 0 && after.Descriptors <= before.Descriptors {
		t.Errorf("descriptors went from %d to %d", before.Descriptors, after.Descriptors)
	}
	if after.Memory == 0 {
		t.Error("no resident bytes")
	}
	runtime.KeepAlive(kept)
}
