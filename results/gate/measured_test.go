package gate

import (
	"testing"
	"time"

	"soak/history"
	"soak/results/measure"
)

// measured are the measures of a run whose p99 is so many seconds; under 0: the run sent nothing.
func measured(t *testing.T, p99 float64) *measure.Measures {
	t.Helper()
	dir := t.TempDir()
	const from = 1000 * int64(time.Second)
	run := &history.Run{Driver: "process", Phases: []history.Phase{{Name: "steady", Start: from}, {Name: "drain", Start: from + 10*int64(time.Second)}}}
	rec, err := history.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p99 >= 0 {
		rec.Operation(&history.Operation{ID: "a", Invoke: from + 1, Complete: from + 1 + int64(p99*float64(time.Second)), Outcome: history.OK,
			Produce: &history.ProduceOp{Topic: "orders", Count: 1, Offsets: []int64{0}, Acks: -1}})
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := measure.Of(dir, run, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
