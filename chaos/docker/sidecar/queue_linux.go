package sidecar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel's interface to packets that wait for a program's word: nfnetlink_queue. Numbers are those of linux/netfilter/nfnetlink_queue.h,
// values are in network order.
const (
	msgPacket, msgVerdict, msgConfig = 0, 1, 2

	configCommand, configParameters, configMaxLen = 1, 2, 3
	commandBind                                   = 1
	copyPacket                                    = 2

	attrPacket, attrVerdict, attrPayload = 1, 2, 10

	verdictDrop, verdictAccept = 0, 1

	hookIn, hookOut = 1, 3

	typeMask = 0x3fff // of an attribute's kind: two bits say other things
)

// headerBytes of each packet are looked at: those of IPv4.
const headerBytes = 20

// receiveBuffer keeps what the kernel says while this process waits for its turn, a packet's header each.
const receiveBuffer = 8 << 20

// kernelQueue is a queue of packets that rules hand over.
type kernelQueue struct {
	number uint16
	socket *os.File
	buf    []byte
}

// openQueue binds a queue of the network namespace that the process is in. Packets for a queue that nobody has bound pass, by the rules' flag
// bypass: so when this process ends, however it ends, they do.
func openQueue(number uint16) (packetQueue, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	q := &kernelQueue{number: number, socket: os.NewFile(uintptr(fd), "queue of packets"), buf: make([]byte, 64<<10)}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1), // what there is no room for is lost, which is no error
	)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // root of a namespace of users alone may not
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer))
	}
	for _, set := range []struct {
		attr  uint16
		value []byte
	}{
		{configCommand, []byte{commandBind, 0, 0, unix.AF_INET}},
		{configParameters, []byte{0, 0, 0, headerBytes, copyPacket}},
		{configMaxLen, binary.BigEndian.AppendUint32(nil, MaxPackets+1024)}, // beyond our own bound: we say what is lost
	} {
		if err == nil {
			err = q.configure(set.attr, set.value)
		}
	}
	if err != nil {
		q.socket.Close()
		return nil, fmt.Errorf("binding queue %d (the kernel needs nfnetlink_queue): %w", number, err)
	}
	return q, nil
}

// message is one of the queue's with one attribute.
func (q *kernelQueue) message(to []byte, kind, flags, attr uint16, value []byte) []byte {
	const head, generic, attribute = unix.SizeofNlMsghdr, 4, unix.SizeofNlAttr
	pad := -len(value) & 3
	native := binary.NativeEndian
	to = native.AppendUint32(to, uint32(head+generic+attribute+len(value)+pad))
	to = native.AppendUint16(to, unix.NFNL_SUBSYS_QUEUE<<8|kind)
	to = native.AppendUint16(to, unix.NLM_F_REQUEST|flags)
	to = append(to, make([]byte, 8)...) // sequence and port: nobody asks
	to = append(to, unix.AF_INET, 0)
	to = binary.BigEndian.AppendUint16(to, q.number)
	to = native.AppendUint16(to, uint16(attribute+len(value)))
	to = native.AppendUint16(to, attr)
	to = append(to, value...)
	return append(to, make([]byte, pad)...)
}

// configure sends a message of the configuration and waits for the kernel's word on it.
func (q *kernelQueue) configure(attr uint16, value []byte) error {
	if _, err := q.socket.Write(q.message(nil, msgConfig, unix.NLM_F_ACK, attr, value)); err != nil {
		return err
	}
	for { // packets may come already: nobody has been told to hand any over, but then they are dropped, not answered wrongly
		messages, err := q.receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type == unix.NLMSG_ERROR {
				return errorOf(m)
			}
		}
	}
}

func errorOf(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return errors.New("the kernel's word on a netlink message is cut short")
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

func (q *kernelQueue) receive() ([]syscall.NetlinkMessage, error) {
	n, err := q.socket.Read(q.buf)
	if err != nil {
		return nil, err
	}
	return syscall.ParseNetlinkMessage(q.buf[:n])
}

// next waits for packets. One that it cannot read is an error: it would wait for ever.
func (q *kernelQueue) next() (packets []queued, err error) {
	messages, err := q.receive()
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NFNL_SUBSYS_QUEUE<<8 | msgPacket:
			p, err := readPacket(m.Data)
			if err != nil {
				return nil, err
			}
			packets = append(packets, p)
		case unix.NLMSG_ERROR:
			// Only an answer may be meant. A packet that is there no more needs none: a table that goes takes what waits along.
			if err := errorOf(m); err != nil && !errors.Is(err, unix.ENOENT) {
				return nil, fmt.Errorf("the kernel's word on an answer: %w", err)
			}
		}
	}
	return packets, nil
}

// readPacket reads what the kernel says of a packet: behind 4 bytes of a general head its attributes.
func readPacket(b []byte) (p queued, err error) {
	const general = 4
	var hook byte
	var header []byte
	found := false
	for b = b[min(general, len(b)):]; len(b) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) & typeMask
		if size < unix.SizeofNlAttr || size > len(b) {
			break
		}
		value := b[unix.SizeofNlAttr:size]
		switch {
		case kind == attrPacket && len(value) >= 7:
			p.id, hook, found = binary.BigEndian.Uint32(value), value[6], true
		case kind == attrPayload:
			header = value
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	if !found || len(header) < headerBytes {
		return p, errors.New("the kernel handed over a packet without its header")
	}
	p.size = int(binary.BigEndian.Uint16(header[2:]))
	switch hook {
	case hookIn:
		p.way, p.peer = In, [4]byte(header[12:])
	case hookOut:
		p.way, p.peer = Out, [4]byte(header[16:])
	default:
		return p, fmt.Errorf("the kernel handed over a packet at hook %d", hook)
	}
	return p, nil
}

// answer lets packets go on, or drops them.
func (q *kernelQueue) answer(ids []uint32, accept bool) error {
	verdict := uint32(verdictDrop)
	if accept {
		verdict = verdictAccept
	}
	const atOnce = 64
	for len(ids) > 0 {
		some := ids[:min(len(ids), atOnce)]
		ids = ids[len(some):]
		var b []byte
		for _, id := range some {
			value := binary.BigEndian.AppendUint32(nil, verdict)
			b = q.message(b, msgVerdict, 0, attrVerdict, binary.BigEndian.AppendUint32(value, id))
		}
		if _, err := q.socket.Write(b); err != nil {
			return fmt.Errorf("answering for packets: %w", err)
		}
	}
	return nil
}

func (q *kernelQueue) close() error { return q.socket.Close() }
