// Command broker runs one node of the reference broker: what a container of a run holds. See package soak/broker/cli.
package main

import (
	"os"

	"soak/broker/cli"
	"soak/chaos/docker/relay"
	"soak/chaos/docker/sidecar"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run picks the command by the first argument; without one that it knows, it is the broker.
func run(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "broker": // as `soak broker` is called: a node image takes either program
			args = args[1:]
		case "sidecar": // a partition, set from inside the target's network namespace
			return sidecar.Main(args[1:], os.Stdin, os.Stdout, os.Stderr)
		case "relay": // the way of the run to the admin port
			return relay.Main(args[1:], os.Stdin, os.Stdout, os.Stderr)
		}
	}
	return cli.Main(args, os.Stdout, os.Stderr)
}
