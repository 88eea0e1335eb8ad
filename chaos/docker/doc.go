// Package docker is the driver whose nodes are containers: the real thing, with kernels, sockets, SIGKILL and network
// namespaces of their own, and with any image as the broker.
//
// It uses testcontainers-go for networks and containers, and the engine's client inside it for what that has no name for:
// kill, pause, logs, attach. A run has one network with fixed addresses, so that nobody asks a name server for a node that is
// down, and host ports on 127.0.0.1 that are chosen before the start, so that a restart keeps them. Partitions are set from a
// sidecar container in the target's network namespace (chaos/docker/sidecar). A pause has a guard outside of the runner (thaw.go), so that
// no fault outlives the runner.
//
// All that a run makes carries its id and the owner domain as labels (chaos/owner). Only things with these labels are ever
// touched. Ryuk, testcontainers' own reaper, is off: its image may not be to be had, and Clean does its work.
package docker
