// Package runner is the shell around a run loop on real clusters: it owns the clock, the goroutines and the contexts that
// runloop.Loop must not have. It feeds the loop time and what happened, does what the loop answers (client operations,
// faults), records every event, operation, fault and metric as it comes by, and leaves no fault unhealed and no cluster
// running at any end.
//
// One goroutine steps the loop and records; everything that may block (a cluster's methods, clients' operations) runs in
// goroutines that report back through one queue. So records are in the order in which the loop learnt of them.
//
// It decides nothing about what a run does (that is the loop) and judges nothing (that is checkers). Called by cmd/soak
// and soaktest, which steers its loop from outside (Options.Inputs).
package runner
