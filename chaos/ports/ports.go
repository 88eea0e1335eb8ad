// Package ports chooses the TCP ports of nodes before they start, and keeps them for nodes that are down: a broker that
// is killed must find its port free when it comes back, and its address is known to clients by then.
//
// Ports are taken outside of the range that the system uses for outgoing connections, one of which would sooner or later
// sit on a killed node's port. On Linux a chosen port is also reserved against other choosers while nobody listens on it.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Port is a chosen port of 127.0.0.1.
type Port struct {
	Number int
	hold   func() // ends the reservation; nil where there is none
}

// Addr is 127.0.0.1:N.
func (p Port) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Number)) }

// Release ends the reservation.
func (p Port) Release() {
	if p.hold != nil {
		p.hold()
	}
}

// Choose finds n free ports of 127.0.0.1, all different. The caller releases them when their nodes are gone.
func Choose(n int) ([]Port, error) {
	low, high := outside()
	var chosen []Port
	for tries := 0; len(chosen) < n; tries++ {
		// Hundreds of failures in a row are no bad luck: something else is wrong, and the last error says what.
		p, err := reserve(low + rand.IntN(high-low))
		if err == nil {
			chosen = append(chosen, p)
			continue
		}
		if tries > 100*(n+1) {
			for _, p := range chosen {
				p.Release()
			}
			return nil, fmt.Errorf("choosing %d ports of 127.0.0.1 between %d and %d: %w", n, low, high, err)
		}
	}
	return chosen, nil
}

// errTaken says that a port is in use.
var errTaken = errors.New("the port is taken")
