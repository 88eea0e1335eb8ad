// Package gate decides whether a release may go out: it reads what a gate file asks for, has the runs made one after the other, judges each by its
// verdict, thresholds and known failures, and writes what came of it as gate.json, index.html, junit.xml and summary.md.
//
// What it holds to: a violated run is never tried again, and one violation in any repetition fails the gate, however many others hold; only runs that
// proved too little, or whose harness failed, may be tried again. Missing data never passes. A known failure counts again when its time is over.
//
// It starts nothing itself: the caller makes the runs and hands back their folders. cmd/soak calls it; it imports results, results/measure, checkers and
// history.
package gate
