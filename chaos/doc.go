// Package chaos names what can be run and what can be done to it: Cluster (a driver's cluster of nodes),
// Spec (a fault to inject) and Capabilities. It holds types, and what both real drivers share about reading a
// node's log; it starts nothing itself.
//
// The data's way through a run:
//
//		scenario (YAML) ─▶ runloop.Loop ──Action──▶ runner (real clocks) ─▶ Cluster, workloads.Clients
//		                        ▲                        │
//		                        └────────Input───────────┘        every record also ─▶ history.Recorder
//
//	  - chaos/scenario: strict YAML, times in election intervals, the embedded scenarios.
//	  - chaos/runloop: phases, schedule, triggers, targets, generators and drain as one state machine without a clock.
//	  - chaos/runner: the shell that drives a Loop with real time, a real Cluster and real clients.
//	  - chaos/docker, chaos/process: drivers.
//	  - chaos/owner: whose a thing is, and what a run that is gone has left behind.
//	  - chaos/restart: rolling restarts and crash loops, on nodes that a driver lends.
//	  - chaos/ports, chaos/knock: the ports of nodes before they start, and the shortest question to a node.
package chaos
