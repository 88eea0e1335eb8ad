// Package sim is the third driver: the same broker core, metadata, logs and recovery code in virtual time, with a simulated network, disk,
// clocks and clients. One seed is one run, bit for bit.
//
// A world holds a queue of events in virtual time and nothing else moves: no goroutine, no clock, no socket. Nodes are core.Node over
// broker/disk over a simulated file system; clients are the state machines of simclient; the run is the same runloop.Loop that drives
// real clusters. What differs from run to run (latencies, losses, slow disks) is noise: a pure function of seed, entity and time, so that
// taking one fault out of a schedule leaves the others as they were.
//
// One simulation at a time in a process: raft draws its election time-outs from crypto/rand.Reader, which Run replaces by streams keyed on
// (seed, node, boot, count). The runner's own process never does that; it starts a worker.
//
// Files: world.go (the queue), node.go (one broker), disk.go (its queues), network.go (links), clients.go (the way from clients to nodes),
// wire.go (the real encoding, for runs that want it), clock.go, random.go, hash.go, run.go (Run); faults.go (what an Inject does), with nodefaults.go, linkfaults.go
// and diskfaults.go; swarm.go (Draw: what each seed does).
package sim
