package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"soak/broker/core"
)

// MaxPeerFrame bounds one message between brokers, in bytes: a fetch answer at its largest and then some.
const MaxPeerFrame = 32 << 20

// ErrPeerFrame is the cause of a peer connection that ends because of what it carried.
var ErrPeerFrame = errors.New("malformed peer message")

// Types of peer messages.
const (
	typeRaft = iota + 1
	typeHeartbeat
	typeForward
	typeAnswer
	typeFetch
	typeFetchResp
)

// AppendPeer appends the whole frame of a message, length prefix included. Kafka bodies travel in their newest version
// (topics by id where it has no names); the message's own versions are put back before it returns, so it must not run while another
// goroutine reads the message.
func AppendPeer(buf []byte, m *core.PeerMessage) ([]byte, error) {
	start := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(m.From))
	buf = binary.BigEndian.AppendUint32(buf, uint32(m.To))
	buf = binary.BigEndian.AppendUint64(buf, m.FromBoot)
	var err error
	switch {
	case m.Raft != nil:
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(append(buf, typeRaft), m.Raft); err != nil {
			err = fmt.Errorf("encoding a raft message: %w", err)
		}
	case m.Heartbeat != nil:
		buf = append(buf, typeHeartbeat)
		buf = binary.BigEndian.AppendUint64(buf, m.Heartbeat.Seq)
	case m.Forward != nil:
		f := m.Forward
		buf = append(buf, typeForward)
		buf = binary.BigEndian.AppendUint64(buf, f.Num)
		buf = binary.BigEndian.AppendUint64(buf, f.Term)
		buf = binary.BigEndian.AppendUint64(buf, f.CtrlBoot)
		buf = binary.BigEndian.AppendUint32(buf, uint32(f.Via))
		buf = appendShort(buf, f.Cause)
		buf = appendShort(buf, f.Op)
		buf, err = appendBody(buf, f.Req)
	case m.Answer != nil:
		a := m.Answer
		buf = append(buf, typeAnswer)
		buf = binary.BigEndian.AppendUint64(buf, a.Num)
		buf = binary.BigEndian.AppendUint64(buf, a.Index)
		buf = append(buf, flag(a.Refused))
		if a.Resp != nil {
			buf, err = appendBody(buf, a.Resp)
		}
	case m.Fetch != nil:
		buf = append(buf, typeFetch)
		buf = binary.BigEndian.AppendUint64(buf, m.Fetch.Num)
		buf, err = appendBody(buf, m.Fetch.Req)
	case m.FetchResp != nil:
		buf = append(buf, typeFetchResp)
		buf = binary.BigEndian.AppendUint64(buf, m.FetchResp.Num)
		buf, err = appendBody(buf, m.FetchResp.Resp)
	default:
		return buf[:start], errors.New("encoding a peer message: it is empty")
	}
	if err != nil {
		return buf[:start], err
	}
	n := len(buf) - start - 4
	if n > MaxPeerFrame {
		return buf[:start], fmt.Errorf("encoding a peer message: %d bytes, at most %d", n, MaxPeerFrame)
	}
	binary.BigEndian.PutUint32(buf[start:], uint32(n))
	return buf, nil
}

// ReadPeer reads one frame, at most MaxPeerFrame bytes long. io.EOF means that the peer closed the connection between two frames.
func ReadPeer(r *bufio.Reader) ([]byte, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b[:])
	if n < peerHeader || n > MaxPeerFrame {
		return nil, fmt.Errorf("%w: %d bytes, must be %d to %d", ErrPeerFrame, n, peerHeader, MaxPeerFrame)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("reading a peer message of %d bytes: %w", n, err)
	}
	return frame, nil
}

const peerHeader = 4 + 4 + 8 + 1

// ParsePeer decodes a frame. Byte fields of the message alias the frame.
func ParsePeer(frame []byte) (*core.PeerMessage, error) {
	c := &cursor{b: frame}
	m := &core.PeerMessage{From: int32(c.u32()), To: int32(c.u32()), FromBoot: c.u64()}
	typ := c.u8()
	var err error
	switch typ {
	case typeRaft:
		if m.Raft, err = readRaft(c.rest()); err != nil {
			return nil, fmt.Errorf("%w: raft: %w", ErrPeerFrame, err)
		}
	case typeHeartbeat:
		m.Heartbeat = &core.Heartbeat{Seq: c.u64()}
	case typeForward:
		f := &core.Forward{Num: c.u64(), Term: c.u64(), CtrlBoot: c.u64(), Via: int32(c.u32()), Cause: c.short(), Op: c.short()}
		f.Req, err = readRequestBody(c.rest())
		m.Forward = f
	case typeAnswer:
		a := &core.ForwardAnswer{Num: c.u64(), Index: c.u64(), Refused: c.u8() != 0}
		if b := c.rest(); len(b) > 0 {
			a.Resp, err = readResponseBody(b)
		}
		m.Answer = a
	case typeFetch:
		num := c.u64()
		var req kmsg.Request
		if req, err = readRequestBody(c.rest()); err == nil {
			fetch, ok := req.(*kmsg.FetchRequest)
			if !ok {
				return nil, fmt.Errorf("%w: a fetch that holds a %T", ErrPeerFrame, req)
			}
			m.Fetch = &core.PeerFetch{Num: num, Req: fetch}
		}
	case typeFetchResp:
		num := c.u64()
		var resp kmsg.Response
		if resp, err = readResponseBody(c.rest()); err == nil {
			fetch, ok := resp.(*kmsg.FetchResponse)
			if !ok {
				return nil, fmt.Errorf("%w: a fetch answer that holds a %T", ErrPeerFrame, resp)
			}
			m.FetchResp = &core.PeerFetchResp{Num: num, Resp: fetch}
		}
	default:
		return nil, fmt.Errorf("%w: type %d", ErrPeerFrame, typ)
	}
	switch {
	case c.truncated:
		return nil, fmt.Errorf("%w: type %d: %w", ErrPeerFrame, typ, errShort)
	case err != nil:
		return nil, fmt.Errorf("%w: type %d: %w", ErrPeerFrame, typ, err)
	case len(c.b) > 0:
		return nil, fmt.Errorf("%w: type %d: %d bytes too many", ErrPeerFrame, typ, len(c.b))
	}
	return m, nil
}

// Fields of raftpb.Message that hold other messages.
const (
	raftEntries   = 7
	raftResponses = 14
)

// readRaft decodes a raft message. An entry of two bytes becomes a struct of fifty times that, so entries are counted first; a
// message for raft's own storage threads (it carries responses) never comes from outside.
func readRaft(b []byte) (*pb.Message, error) {
	entries := 0
	for rest := b; len(rest) > 0; {
		num, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		switch num {
		case raftEntries:
			entries++
		case raftResponses:
			return nil, errors.New("a message for the storage threads")
		}
		rest = rest[n:]
	}
	if entries > maxElements {
		return nil, errElements
	}
	m := &pb.Message{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendShort appends a string of at most 64 KiB; a longer one is cut (causes and operation ids are far shorter).
func appendShort(buf []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(s)))
	return append(buf, s...)
}

// cursor reads fixed fields; past the end it gives zeros and remembers.
type cursor struct {
	b         []byte
	truncated bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.truncated, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) rest() []byte { return c.take(len(c.b)) }

func (c *cursor) u8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) short() string {
	v := c.take(2)
	if v == nil {
		return ""
	}
	return string(c.take(int(binary.BigEndian.Uint16(v))))
}
