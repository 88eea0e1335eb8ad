// Package relay lets a run talk to a port that a node's container has on its own loopback address alone: the docker driver
// has the engine start it inside of the container (command "relay" of cmd/broker and cmd/soak), and what goes in and out of its standard
// streams goes to and from the port. So the port need not be published, and nobody on the run's network reaches it.
//
// It ends when either side does. It dials loopback alone, and once.
package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// dialTime bounds the dialling.
const dialTime = 2 * time.Second

// Args is the command line of a relay to a port, with the command's name first.
func Args(port int) []string { return []string{"relay", strconv.Itoa(port)} }

// Main relays until either side ends, and returns the exit code: 0, 1 when the port could not be reached or broke off, 2 for usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	port := 0
	if len(args) == 1 {
		port, _ = strconv.Atoi(args[0]) // 0 is no port either
	}
	if port < 1 || port > 65535 {
		fmt.Fprintf(stderr, "error: relay: want one port from 1 to 65535, got %q\nhint: the docker driver starts it; it is of no use by hand\n", args)
		return 2
	}
	if err := relay(port, stdin, stdout); err != nil {
		fmt.Fprintf(stderr, "error: relay: %v\n", err)
		return 1
	}
	return 0
}

func relay(port int, stdin io.Reader, stdout io.Writer) error {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dialTime)
	if err != nil {
		return err
	}
	defer conn.Close()
	ends := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, stdin)
		ends <- err
	}()
	go func() {
		_, err := io.Copy(stdout, conn)
		ends <- err
	}()
	if err := <-ends; err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
