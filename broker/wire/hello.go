package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A connection between brokers carries messages one way, from the one that dialled. It begins with a Hello of the dialler and one
// in answer; after that the accepting side writes an Alive byte now and then, by which the dialler knows that somebody reads.
const (
	helloMagic  = "SOAKPEER"
	helloFormat = 1
	helloSize   = len(helloMagic) + 2 + 4 + 8 + 4
	// Alive is the byte that the accepting side of a peer connection writes.
	Alive = '.'
)

// ErrHello is the cause of a connection that does not begin as one between brokers of this format and cluster.
var ErrHello = errors.New("not a hello of this broker's peers")

// Hello says who speaks, in which boot, and to whom.
type Hello struct {
	From int32
	Boot uint64
	To   int32
}

// AppendHello appends the encoded hello.
func AppendHello(buf []byte, h Hello) []byte {
	buf = append(buf, helloMagic...)
	buf = binary.BigEndian.AppendUint16(buf, helloFormat)
	buf = binary.BigEndian.AppendUint32(buf, uint32(h.From))
	buf = binary.BigEndian.AppendUint64(buf, h.Boot)
	return binary.BigEndian.AppendUint32(buf, uint32(h.To))
}

// ReadHello reads a hello and checks its magic and format, and that it is meant for node self.
func ReadHello(r io.Reader, self int32) (Hello, error) {
	var b [helloSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Hello{}, fmt.Errorf("reading a peer's hello: %w", err)
	}
	n := len(helloMagic)
	if string(b[:n]) != helloMagic {
		return Hello{}, fmt.Errorf("%w: begins with %q", ErrHello, b[:n])
	}
	if f := binary.BigEndian.Uint16(b[n:]); f != helloFormat {
		return Hello{}, fmt.Errorf("%w: format %d, this broker speaks %d", ErrHello, f, helloFormat)
	}
	h := Hello{
		From: int32(binary.BigEndian.Uint32(b[n+2:])),
		Boot: binary.BigEndian.Uint64(b[n+6:]),
		To:   int32(binary.BigEndian.Uint32(b[n+14:])),
	}
	if h.To != self {
		return h, fmt.Errorf("%w: from node %d, meant for node %d; this is node %d", ErrHello, h.From, h.To, self)
	}
	return h, nil
}
