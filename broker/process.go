package broker

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"
)

const (
	statsEvery = time.Second
	// diskEvery spaces walks of the data directory, which take a system call a file.
	diskEvery = 5

	stallTick = 10 * time.Millisecond
	stallLate = 200 * time.Millisecond
)

// usage is what the process takes of its machine. -1: this system does not tell.
type usage struct {
	memory      int64 // resident bytes
	goroutines  int64
	descriptors int64
	disk        int64 // bytes in the data directory
}

// watchUsage logs a line of usage every second: the run's metrics.
func watchUsage(ctx context.Context, data string, log *slog.Logger) {
	t := time.NewTicker(statsEvery)
	defer t.Stop()
	var disk int64
	for n := 0; ; n++ {
		if n%diskEvery == 0 {
			disk = dirBytes(data)
		}
		u := usage{memory: residentBytes(), goroutines: int64(runtime.NumGoroutine()), descriptors: openDescriptors(), disk: disk}
		log.Info("stats", "memory", u.memory, "goroutines", u.goroutines, "descriptors", u.descriptors, "disk", u.disk)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// watchStalls logs when a ticker is late by more than stallLate: the machine, or this process, stood still.
func watchStalls(ctx context.Context, clock func() time.Time, log *slog.Logger) {
	t := time.NewTicker(stallTick)
	defer t.Stop()
	last := clock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := clock()
		if late := now.Sub(last) - stallTick; late > stallLate {
			log.Warn("stall", "nanos", late.Nanoseconds())
		}
		last = now
	}
}

// dirBytes adds up the files under dir. Files that vanish meanwhile count nothing.
func dirBytes(dir string) (n int64) {
	// The walk itself cannot fail: each error is passed over below.
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}
