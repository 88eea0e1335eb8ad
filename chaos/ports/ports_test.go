package ports

import (
	"net"
	"testing"
)

func TestChooseGivesDifferentPortsThatCanBeListenedOn(t *testing.T) {
	chosen, err := Choose(8)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range chosen {
		defer p.Release()
		if seen[p.Number] {
			t.Errorf("port %d twice", p.Number)
		}
		seen[p.Number] = true
		// Twice: a node listens, is killed, and listens again, with the reservation in place all the time.
		for range 2 {
			l, err := net.Listen("tcp4", p.Addr())
			if err != nil {
				t.Fatalf("listening on a chosen port: %v", err)
			}
			l.Close()
		}
	}
}

func TestReserveRefusesAPortThatIsListenedOn(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p, err := reserve(l.Addr().(*net.TCPAddr).Port); err == nil {
		p.Release()
		t.Error("a port with a listener was reserved")
	}
}
