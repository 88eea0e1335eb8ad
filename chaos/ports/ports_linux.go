package ports

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// outside gives the ports [low, high) that the kernel does not give to outgoing connections.
func outside() (low, high int) {
	var first, last int
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(b), &first, &last)
	}
	switch {
	case err != nil:
		first, last = 32768, 60999 // the kernel's default
	case first < 12000 && last > 64000:
		return 2048, 65536 // nearly everything is: then the reservation alone has to do
	}
	if first >= 12000 {
		return 10000, first
	}
	return last + 1, 65536
}

// reserve binds the port without listening. A listener that sets SO_REUSEADDR, as Go's and the engine's do, can still
// take it; an outgoing connection cannot, nor can another reserve, which sets nothing until it is bound.
func reserve(port int) (Port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Port{}, fmt.Errorf("reserving port %d: %w", port, err)
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err != nil {
		unix.Close(fd)
		return Port{}, fmt.Errorf("reserving port %d: %w: %w", port, errTaken, err)
	}
	return Port{Number: port, hold: func() { unix.Close(fd) }}, nil
}
