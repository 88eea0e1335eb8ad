package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/api"
)

// MaxRequest is the default bound of a client request, in bytes without its length prefix.
const MaxRequest = 8 << 20

// minRequest is the shortest header: key, version, correlation id.
const minRequest = 8

// Causes for which a connection ends without an answer, as Kafka ends it.
var (
	ErrTooLarge    = errors.New("request length out of range")
	ErrUnknownKey  = errors.New("unknown request")
	ErrUnsupported = errors.New("version not supported")
	ErrMalformed   = errors.New("malformed request")
)

// Request is one decoded client request.
type Request struct {
	Corr     int32
	ClientID string
	Req      kmsg.Request
	Op       string // the operation id of an OpTag, "" if none
}

// ReadSize reads the length prefix of the next request and checks it against limit (bytes). io.EOF means that the
// client closed the connection between two requests.
func ReadSize(r *bufio.Reader, limit int) (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	n := int32(binary.BigEndian.Uint32(b[:]))
	if n < minRequest || int(n) > limit {
		return 0, fmt.Errorf("%w: %d bytes, must be %d to %d", ErrTooLarge, n, minRequest, limit)
	}
	return int(n), nil
}

// ReadFrame reads the size bytes that ReadSize announced.
func ReadFrame(r *bufio.Reader, size int) ([]byte, error) {
	frame := make([]byte, size)
	if _, err := io.ReadFull(r, frame); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading a request of %d bytes: %w", size, err)
	}
	return frame, nil
}

// ParseRequest decodes a frame. Byte fields of the request alias the frame. Of an ApiVersions request in a version that the broker does
// not speak only the header is read: it is the one such request that gets an answer (AppendResponse gives it).
func ParseRequest(frame []byte) (*Request, error) {
	if len(frame) < minRequest {
		return nil, fmt.Errorf("%w: %d bytes are no header", ErrMalformed, len(frame))
	}
	key := int16(binary.BigEndian.Uint16(frame))
	version := int16(binary.BigEndian.Uint16(frame[2:]))
	out := &Request{Corr: int32(binary.BigEndian.Uint32(frame[4:]))}
	if _, ok := api.Find(key); !ok {
		return nil, fmt.Errorf("%w: key %d, version %d", ErrUnknownKey, key, version)
	}
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	out.Req = req
	if !api.Supported(key, version) {
		if key == int16(kmsg.ApiVersions) {
			return out, nil
		}
		return nil, fmt.Errorf("%w: %s version %d", ErrUnsupported, kmsg.NameForKey(key), version)
	}

	// Header v1: the client id, which stays a plain nullable string even in the flexible header v2 (KIP-482).
	w := walker{src: frame[minRequest:]}
	out.ClientID = string(w.skip(w.length(2)))
	if req.IsFlexible() {
		w.flexible = true
		w.taggedFields(nil)
	}
	if w.err != nil {
		return nil, fmt.Errorf("%w: header of %s version %d: %w", ErrMalformed, kmsg.NameForKey(key), version, w.err)
	}
	if _, err := requestShapes[key].check(version, w.src); err != nil {
		return nil, fmt.Errorf("%w: %s version %d: %w", ErrMalformed, kmsg.NameForKey(key), version, err)
	}
	if err := req.ReadFrom(w.src); err != nil {
		return nil, fmt.Errorf("%w: %s version %d: %w", ErrMalformed, kmsg.NameForKey(key), version, err)
	}
	out.Op = opOf(req)
	return out, nil
}
