package cli

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemorySettingsAreForAWhileAndNotAgainstTheUser(t *testing.T) {
	none := func(string) string { return "" }
	set := func(string) string { return "50" }
	const limit = math.MaxInt64 // whatever GOMEMLIMIT says to the tests
	was := debug.SetMemoryLimit(limit)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	gc := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	restore := within(none, judgingMemory)
	if got := debug.SetMemoryLimit(-1); got != judgingMemory {
		t.Errorf("while judging the limit is %d, want %d", got, judgingMemory)
	}
	restore()
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("after judging the limit is %d", got)
	}
	within(set, judgingMemory)
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("GOMEMLIMIT is set, and the limit became %d", got)
	}
	restore = collectLess(none, simGC)
	if got := gc(); got != simGC {
		t.Errorf("while simulating GOGC is %d", got)
	}
	restore()
	collectLess(set, runGC)
	if got := gc(); got != 100 {
		t.Errorf("in the end GOGC is %d", got)
	}
}
