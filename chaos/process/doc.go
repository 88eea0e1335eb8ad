// Package process is the driver that needs nothing: nodes are child processes of the runner on loopback, on any laptop,
// without root and without an engine.
//
// Every link, from node to node and from clients to a node, runs through a proxy in the runner (chaos/process/proxy), so
// that a partition is a matter of holding links. Kill is SIGKILL, pause is SIGSTOP.
//
// Nothing outlives the runner. Nodes hold the reading end of a pipe that the runner has the other end of, and exit when
// it closes; on Linux they are also killed by the parent-death signal, which a stopped process obeys as well. What remains,
// folders and on macOS a stopped node, is recorded in the state directory (chaos/owner) and found by Clean.
package process
