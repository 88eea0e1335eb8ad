package soaktest

import (
	"os"
	"sync/atomic"
	"testing"

	broker "soak/broker/cli"
	"soak/chaos/docker"
)

// hooked is set once Node has seen that this process is a test, and no node.
var hooked atomic.Bool

// Main runs a package's tests, in which clusters can then be started:
//
//	func TestMain(m *testing.M) { soaktest.Main(m) }
//
// A node is another process of the same test binary: Main is where it becomes one. So there is nothing to install and nothing to compile
// while tests run, and -race, -cover and go test -c mean the nodes too. With containers it is where the guard is started that thaws what a killed test has frozen.
func Main(m *testing.M) {
	Node()
	os.Exit(m.Run())
}

// Node is for those whose TestMain does more: it must come first, since nodes pass it too. In a process that is to be a node it never
// returns; in any other it does nothing.
func Node() {
	// go test itself begins with -test. flags.
	switch {
	case len(os.Args) > 1 && os.Args[1] == "broker":
		os.Exit(broker.Main(os.Args[2:], os.Stdout, os.Stderr))
	case docker.IsGuard(os.Args):
		os.Exit(docker.Thaw(os.Args[3:], os.Stdin, os.Stdout, os.Stderr))
	}
	hooked.Store(true)
}
