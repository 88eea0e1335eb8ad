// Package hand keeps a cluster to work against by hand: `soak cluster up`. It starts the nodes of a driver, knows from their events who is
// what, injects the faults that a person asks for, looks at them each second, and heals them when their time is over or they are asked
// to end.
//
// Up makes an owner of this process: it holds the lock of the cluster's id (chaos/owner) and all that a driver must hold, so the cluster
// ends with it. Other processes reach it through a Unix socket that only its user can open: List and Find say which clusters there are,
// Call asks one of them. A request and its reply are one line of JSON each, of bounded length, and a connection carries one of them.
//
// A cluster's home is a folder in the state directory, clusters/<id>: the socket, cluster.json, the nodes' logs and, for an owner in the
// background, its own log. The data of process nodes lies elsewhere, as that of a run does.
//
// The package judges nothing and records no run. Its caller is the command line.
package hand
