// Package history is what clients and brokers were seen to do: the typed records that every other
// part of Soak speaks, and their encoding as JSON lines.
//
// Four kinds of record make a run's history:
//
//   - Event: what a broker says of itself (role changes, leader checks, proposals, applied entries,
//     partition state), and what the runner saw of it from outside (exits, lines of its log).
//   - Operation: what a client asked, when, and what came of it: ok, failed or unknown.
//   - Fault: what was done to the cluster, with the evidence that it took effect.
//   - Metric: what was measured once a second.
//
// Run describes the run that they belong to. The package depends on nothing else of the project: the
// broker writes events, the run loop writes operations and faults, checkers read all of them, and none
// of these needs to know another. It must not judge (that is checkers) nor draw (that is results).
//
// Times are Unix nanoseconds. Events of one node are ordered by (Boot, Seq). Events of different nodes are ordered
// only by raft term and index, never by time: clocks differ, and a paused node speaks late.
package history
