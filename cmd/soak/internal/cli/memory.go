package cli

import "runtime/debug"

// Percent of new memory beside what is held before garbage is collected. A run on real clusters holds some 30 MB, and an eighth of its processor time went into
// collecting at Go's default; a simulation holds a few, and a seventh.
const (
	runGC = 300
	simGC = 800
)

// collectLess lets garbage grow until the function that it gives is called, unless GOGC says otherwise. Judging, which holds much, is not for that.
func collectLess(getenv func(string) string, percent int) (restore func()) {
	if getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(percent)
	return func() { debug.SetGCPercent(before) }
}

// judgingMemory is where collecting garbage becomes eager while a run is judged: a long night's judging is to stay within the 512 MB that a runner may take, and
// holds up to 300 of them.
const judgingMemory = 400 << 20

// judgeWithin keeps garbage within judgingMemory until the function that it gives is called, unless GOMEMLIMIT says otherwise. It is no bound: what is held is
// held, and judging goes on.
func judgeWithin(getenv func(string) string) (restore func()) {
	if getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(judgingMemory)
	return func() { debug.SetMemoryLimit(before) }
}
