//go:build !linux

package ports

import (
	"fmt"
	"net"
	"strconv"
)

// outside gives the ports [low, high) below the dynamic ones, which begin at 49152 (RFC 6335, and macOS as it comes).
func outside() (low, high int) { return 20000, 49152 }

// reserve looks whether the port is free now. BSD sockets cannot keep it for another listener.
func reserve(port int) (Port, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return Port{}, fmt.Errorf("%w: %w", errTaken, err)
	}
	if err := l.Close(); err != nil {
		return Port{}, fmt.Errorf("trying port %d: %w", port, err)
	}
	return Port{Number: port}, nil
}
