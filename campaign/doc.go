// Package campaign simulates many runs and makes use of those that fail: it covers ranges of seeds, says which faults met which states of
// the brokers, shrinks a failing schedule to the smallest that still fails, and plants each bug of the catalogue to see that the checkers
// find it.
//
//	answer := campaign.Simulate(campaign.Job{Seed: 7})           // one run, judged in memory
//	err := campaign.Serve(os.Stdin, os.Stdout)                   // a worker: jobs on one side, answers on the other
//	pool, err := campaign.NewPool(n, start)                      // worker processes, since a process simulates one run at a time
//
// A run here writes no folder and encodes nothing that nobody reads: records go from the simulator to the checkers. Equal hashes mean equal
// runs, so a failing seed that is run again with `soak run` can be held against what was seen here.
//
// Files: job.go (one run), met.go (faults and states), worker.go and pool.go (processes), journal.go (what survives an interruption), tally.go (sums
// and groups), campaign.go (Run), shrink.go and passes.go (Shrink), story.go (what a shrunk schedule reads as), selftest.go (Selftest), trace.go (a run as a
// conversation).
package campaign
