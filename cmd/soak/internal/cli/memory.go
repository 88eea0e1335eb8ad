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

// Memory from which on garbage is collected eagerly. A runner may take 512 MB. A run on real clusters holds 50 and some more each hour, and judging a long night up
// to 300.
const (
	runMemory     = 320 << 20
	judgingMemory = 400 << 20
)

// within collects garbage eagerly from a bound on until the function that it gives is called, unless GOMEMLIMIT says otherwise. It is no limit: what is held is held.
func within(getenv func(string) string, bound int64) (restore func()) {
	if getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(bound)
	return func() { debug.SetMemoryLimit(before) }
}
