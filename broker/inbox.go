package broker

import (
	"sync"

	"soak/broker/core"
)

// maxPeerBytes is how much from peers may wait for the core, in bytes; beyond it their connections are not read. (Clients are
// bounded by bytes in flight, disk completions by the core itself.)
const maxPeerBytes = 64 << 20

// entry is one thing that waits for the loop: an input of the core, or a call that needs the core to itself.
type entry struct {
	in   core.Input
	conn *clientConn // of a client's request: nothing is given to the core once this is closed
	call func(node)
}

// inbox collects what waits for the loop, in the order in which it came. Nobody who puts something in waits for the core,
// except peers beyond maxPeerBytes.
type inbox struct {
	wake chan struct{} // holds a token while something waits

	mu        sync.Mutex
	room      sync.Cond
	entries   []entry
	peerBytes int
	closed    bool
}

func newInbox() *inbox {
	b := &inbox{wake: make(chan struct{}, 1)}
	b.room.L = &b.mu
	return b
}

func (b *inbox) put(e entry) {
	b.mu.Lock()
	b.entries = append(b.entries, e)
	b.mu.Unlock()
	b.signal()
}

// putPeer waits for room. It reports false once the inbox is closed.
func (b *inbox) putPeer(m *core.PeerMessage, size int) bool {
	b.mu.Lock()
	for b.peerBytes > maxPeerBytes && !b.closed {
		b.room.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.peerBytes += size
	b.entries = append(b.entries, entry{in: core.PeerInput{Msg: m}})
	b.mu.Unlock()
	b.signal()
	return true
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns everything that waits. The slice given is reused for what comes next.
func (b *inbox) take(reuse []entry) []entry {
	clear(reuse)
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.entries
	b.entries = reuse[:0]
	b.peerBytes = 0
	b.room.Broadcast()
	return out
}

// close lets go of everybody who waits for room.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.room.Broadcast()
}
