package sim

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/core"
	"soak/broker/wire"
)

// What the two ends of a simulated connection do to each other's bytes when a run goes through the real encoding. A message that does not
// survive it is a defect of the encoding, and stops the simulation.

// throughWire encodes a message between nodes and decodes it again.
func (s *sim) throughWire(m *core.PeerMessage) *core.PeerMessage {
	frame, err := wire.AppendPeer(s.frame[:0], m)
	if err != nil {
		panic(fmt.Sprintf("sim: a peer message that cannot be encoded: %v", err))
	}
	s.frame = frame
	s.frames.Reset(bytes.NewReader(frame))
	body, err := wire.ReadPeer(&s.frames)
	if err != nil {
		panic(fmt.Sprintf("sim: a peer message that cannot be read: %v", err))
	}
	back, err := wire.ParsePeer(body)
	if err != nil {
		panic(fmt.Sprintf("sim: a peer message that cannot be decoded: %v", err))
	}
	s.stats.Encoded++
	return back
}

// lengthPrefix is what stands before each request and answer.
const lengthPrefix = 4

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("sim"))

// requestThroughWire encodes a client's request and decodes it as a broker does: the operation's id comes from its tag.
func (s *sim) requestThroughWire(r *core.ClientRequest) *core.ClientRequest {
	frame := formatter.AppendRequest(nil, r.Req, r.Corr)
	back, err := wire.ParseRequest(frame[lengthPrefix:])
	if err != nil {
		panic(fmt.Sprintf("sim: a request that the broker cannot decode: %v", err))
	}
	s.stats.Encoded++
	return &core.ClientRequest{Conn: r.Conn, Corr: back.Corr, Req: back.Req, Op: back.Op}
}

// answerThroughWire encodes an answer as a broker does and decodes it as a client does.
func (s *sim) answerThroughWire(r *core.Response) kmsg.Response {
	frame := wire.AppendResponse(nil, r)[lengthPrefix+4:] // and the correlation id
	resp := kmsg.ResponseForKey(r.Kmsg.Key())
	resp.SetVersion(r.Kmsg.GetVersion())
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		frame = frame[1:] // no tagged fields in the header
	}
	if err := resp.ReadFrom(frame); err != nil {
		panic(fmt.Sprintf("sim: an answer that a client cannot decode: %v", err))
	}
	s.stats.Encoded++
	return resp
}
