package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// message is what kmsg's requests and responses have in common.
type message interface {
	Key() int16
	MaxVersion() int16
	GetVersion() int16
	SetVersion(int16)
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
}

// forwarded are the requests that brokers send each other. Their newest versions have shapes.
var forwarded = map[int16]bool{
	int16(kmsg.Fetch):                   true,
	int16(kmsg.CreateTopics):            true,
	int16(kmsg.DeleteTopics):            true,
	int16(kmsg.IncrementalAlterConfigs): true,
	int16(kmsg.AlterPartition):          true,
	int16(kmsg.BrokerRegistration):      true,
	int16(kmsg.InitProducerID):          true,
	int16(kmsg.ControlledShutdown):      true,
	int16(kmsg.AlterConfigs):            true,
	int16(kmsg.CreatePartitions):        true,
	int16(kmsg.ElectLeaders):            true,
}

// peerVersion is the version in which a body travels between brokers: the newest, whose fields include all older ones. DeleteTopics
// is the exception: its list of names ends with version 5.
func peerVersion(m message) int16 {
	if r, ok := m.(*kmsg.DeleteTopicsRequest); ok && r.Version < 6 {
		return 5
	}
	return m.MaxVersion()
}

// appendBody appends key, version and body. The message's own version, in which a client may have to be answered, is
// put back.
func appendBody(buf []byte, m message) ([]byte, error) {
	if !forwarded[m.Key()] {
		return buf, fmt.Errorf("encoding a peer message: a %T is not among what brokers send each other", m)
	}
	own := m.GetVersion()
	defer m.SetVersion(own)
	v := peerVersion(m)
	m.SetVersion(v)
	buf = binary.BigEndian.AppendUint16(buf, uint16(m.Key()))
	buf = binary.BigEndian.AppendUint16(buf, uint16(v))
	return m.AppendTo(buf), nil
}

func bodyHeader(b []byte) (key, version int16, rest []byte, err error) {
	if len(b) < 4 {
		return 0, 0, nil, errShort
	}
	return int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:])), b[4:], nil
}

func readBody(b []byte, shapes map[int16]shape, make func(key int16) message) (message, error) {
	key, version, rest, err := bodyHeader(b)
	if err != nil {
		return nil, err
	}
	s, ok := shapes[key]
	if !ok || !forwarded[key] {
		return nil, fmt.Errorf("body of key %d, which brokers do not send each other", key)
	}
	m := make(key)
	m.SetVersion(version)
	if version < 0 || version != peerVersion(m) {
		return nil, fmt.Errorf("%s in version %d", kmsg.NameForKey(key), version)
	}
	left, err := s.check(version, rest)
	if err == nil && left != 0 {
		err = fmt.Errorf("%d bytes too many", left)
	}
	if err == nil {
		err = m.ReadFrom(rest)
	}
	if err != nil {
		return nil, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(key), version, err)
	}
	return m, nil
}

func readRequestBody(b []byte) (kmsg.Request, error) {
	m, err := readBody(b, requestShapes, func(key int16) message { return kmsg.RequestForKey(key) })
	if err != nil {
		return nil, err
	}
	return m.(kmsg.Request), nil
}

func readResponseBody(b []byte) (kmsg.Response, error) {
	m, err := readBody(b, responseShapes, func(key int16) message { return kmsg.ResponseForKey(key) })
	if err != nil {
		return nil, err
	}
	return m.(kmsg.Response), nil
}
