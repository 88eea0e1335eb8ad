// Package knock asks a Kafka node the shortest question there is, to see from a client's place whether bytes reach it
// and come back. The drivers use it for the evidence of partitions that cut clients off.
package knock

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Time bounds one question, dialling included: on this machine a node answers at once, or something is in the way.
const Time = 500 * time.Millisecond

// Short bounds a question to a node whose packets are counted as dropped: that it goes unanswered bears the counters out.
const Short = 200 * time.Millisecond

// On sends an ApiVersions request, version 0, to HOST:PORT and does not wait for the answer. The caller closes the
// connection.
func On(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Time)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	const apiVersions, version, correlation, noClient = 18, 0, 1, 0xffff
	b := binary.BigEndian.AppendUint32(nil, 10) // bytes that follow
	b = binary.BigEndian.AppendUint16(b, apiVersions)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint32(b, correlation)
	b = binary.BigEndian.AppendUint16(b, noClient)
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := conn.Write(b); err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking %s: %w", addr, err)
	}
	return conn, nil
}

// Unanswered sends the same and reports whether the answer has not begun after Short.
func Unanswered(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, Short)
	defer cancel()
	return Answered(ctx, addr) != nil
}

// Answered sends the same and waits for the answer to begin.
func Answered(ctx context.Context, addr string) error {
	conn, err := On(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		return fmt.Errorf("waiting for the answer of %s: %w", addr, err)
	}
	return nil
}
