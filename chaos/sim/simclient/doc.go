// Package simclient is the simulator's clients: producers, admin clients, the drain and consumers that read along, as one state
// machine in virtual time.
//
//	c := simclient.New(cfg)
//	c.Start(now, op)      // or Answer, Closed, Refused, Tick: one input
//	outs := c.Output()    // what must happen now: requests to send, connections to close, operations that are over
//	wake := c.Wake()      // when it wants a Tick at the latest
//
// The caller (chaos/sim) carries requests to nodes and answers back; a connection begins with the first request on it. What is asked and
// what an answer means is workloads/protocol, as for real clients; when it is asked, and of whom, is in here: the metadata cache, the way
// to the leader, requests in flight, time-outs. An operation's record is sent exactly once, but by idempotent producers.
//
// No goroutine, clock, map order or global random number: a test refuses them. The same inputs give the same outputs.
//
// Files: clients.go (Clients and its inputs), conns.go (connections and requests in flight), timers.go, metadata.go (the cache), produce.go,
// admin.go (metadata operations, auto-create), drain.go, consume.go, crash.go, idempotent.go.
package simclient
