package broker

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"soak/broker/core"
	"soak/internal/usage"
)

const (
	statsEvery = time.Second
	// diskEvery spaces walks of the data directory, which take a system call a file.
	diskEvery = 5
	// loopPatience is how long a line of usage waits for the loop: a node whose loop stands still tells the rest all the same.
	loopPatience = 200 * time.Millisecond

	stallTick = 10 * time.Millisecond
	stallLate = 200 * time.Millisecond
)

// watchUsage logs a line of what the process takes every second: the run's metrics. -1: this system does not tell. The requests that wait are left out
// while the loop does not answer.
func watchUsage(ctx context.Context, data string, stats func(context.Context) (core.Stats, error), log *slog.Logger) {
	t := time.NewTicker(statsEvery)
	defer t.Stop()
	var disk int64
	for n := 0; ; n++ {
		if n%diskEvery == 0 {
			disk = dirBytes(data)
		}
		u := usage.Read()
		line := []any{"memory", u.Memory, "heap_live", u.HeapLive, "goroutines", u.Goroutines, "descriptors", u.Descriptors, "disk", disk}
		asked, cancel := context.WithTimeout(ctx, loopPatience)
		if s, err := stats(asked); err == nil {
			line = append(line, "waiting", s.Waiting())
		}
		cancel()
		log.Info("stats", line...)
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
