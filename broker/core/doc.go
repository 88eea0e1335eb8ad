// Package core is the whole broker but its input and output: raft metadata, controller, leader-election
// service, sessions, partitions, replication and the Kafka API, as one deterministic state machine after
// the model of raft's RawNode.
//
//	n, err := core.New(cfg, boot)   // boot: what the disk held (broker/disk opens it)
//	n.Step(now, in)                 // one input: tick, client request, peer message, disk completion, closed connection
//	out := n.Ready()                // what must happen now: disk operations, responses, peer messages, events, wake-up
//
// There is no goroutine, channel, clock, file, socket, lock, global random number, floating point or map
// order in here; a test refuses them. The caller (the shell in package broker, or the simulator) feeds every
// waiting input, time first, then calls Ready once, and does what it says in this order: write the events, then
// start disk operations, then send messages and responses. Disk operations of one queue complete in the order given.
//
// # The data's way
//
// A produce request enters by Step, is checked against the replica's state (leader, epoch, min ISR), gets its
// offsets and leaves as a DiskOp append; its DiskDone raises the durable log end; fetches of followers raise
// theirs; the high watermark, the minimum over the committed ISR, releases the waiting answer.
//
// An admin request enters at any node, is forwarded to the raft leader (the controller), becomes a
// meta.Command, is proposed, committed and applied on every node; its applied result answers the request.
// Whatever a node does about a partition (lead, follow, truncate) follows from applied commands.
//
// Files: core.go (Node, Step, Ready), raft.go (the glue to RawNode and its storage window), propose.go, snapshot.go, controller.go
// (requests that only the controller may carry out), forward.go, elector.go, sessions.go, startup.go, reads.go (ReadIndex),
// conns.go (answers in order), replica.go, replicalog.go, leader.go, follower.go, isr.go, cache.go (replication), idempotence.go, dispatch.go, and one file a Kafka request.
package core
