// Command broker runs one node of the reference broker: what a container of a run holds. See package soak/broker/cli.
package main

import (
	"os"

	"soak/broker/cli"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run picks the command by the first argument; without one that it knows, it is the broker.
func run(args []string) int {
	return cli.Main(args, os.Stdout, os.Stderr)
}
