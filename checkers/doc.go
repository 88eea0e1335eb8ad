// Package checkers judges a run by its history. A checker is fed every fault, operation and event, and ends
// with a verdict: Holds, Violated (with the smallest evidence), Inconclusive (with what is missing) or NotApplicable.
//
//	report, pictures, err := checkers.Judge(dir, run)   // a stored run; the same folder gives the same bytes
//	live := checkers.NewLive(run)                       // those that judge while the run goes on
//
// Three rules make the verdicts trustworthy. A violation needs positive evidence: what is merely unknown never accuses. The
// zero outcome is Inconclusive: a checker that saw nothing, crashed or ran out of its budget says so and never passes. And
// a checker sees history alone, so that it cannot know which driver ran or which bug was planted.
//
// Files: verdict.go (the vocabulary), judge.go (a folder's report), ledger.go, leaders.go, sequence.go, timelines.go, entries.go, drains.go (what
// checkers share), and one or more files a checker. The package imports only soak/history of the project, starts nothing and writes
// nothing; package results stores what it answers.
package checkers
