// Command soak is a chaos and soak tester for Kafka-protocol clusters. `soak help` lists what it can do.
package main

import (
	"os"

	"soak/cmd/soak/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr, os.Getenv))
}
