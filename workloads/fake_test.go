package workloads

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeBroker is a broker on loopback that answers as a test's handler says, and remembers what it was asked.
type fakeBroker struct {
	t      *testing.T
	ln     net.Listener
	handle func(kmsg.Request) kmsg.Response // nil: the connection is dropped with the request in hand

	mu    sync.Mutex
	asked []kmsg.Request
	conns map[net.Conn]struct{}
	hang  chan struct{} // closed at the end: a handler may wait on it to give no answer
}

func newFakeBroker(t *testing.T, handle func(kmsg.Request) kmsg.Response) *fakeBroker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{t: t, ln: ln, handle: handle, conns: map[net.Conn]struct{}{}, hang: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[nc] = struct{}{}
			b.mu.Unlock()
			serving.Go(func() { b.serve(nc) })
		}
	})
	t.Cleanup(func() {
		close(b.hang)
		ln.Close()
		b.mu.Lock()
		for nc := range b.conns {
			nc.Close()
		}
		b.mu.Unlock()
		serving.Wait()
	})
	return b
}

func (b *fakeBroker) addr() string { return b.ln.Addr().String() }

func (b *fakeBroker) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		req := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(frame)))
		req.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
		corr := frame[4:8]
		body := frame[8:]
		if n := int16(binary.BigEndian.Uint16(body)); n > 0 {
			body = body[n:]
		}
		body = body[2:]
		if req.IsFlexible() {
			var err error
			if body, err = skipTags(body); err != nil {
				b.t.Errorf("request header: %v", err)
				return
			}
		}
		if err := req.ReadFrom(body); err != nil {
			b.t.Errorf("request %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
			return
		}
		b.mu.Lock()
		b.asked = append(b.asked, req)
		b.mu.Unlock()
		resp := b.handle(req)
		if resp == nil {
			return
		}
		resp.SetVersion(req.GetVersion())
		out := append([]byte{0, 0, 0, 0}, corr...)
		if resp.IsFlexible() && resp.Key() != 18 {
			out = append(out, 0)
		}
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// askedFor is the requests of one kind that came in.
func askedFor[R kmsg.Request](b *fakeBroker) []R {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []R
	for _, r := range b.asked {
		if r, ok := r.(R); ok {
			out = append(out, r)
		}
	}
	return out
}

// apiVersions answers what kafka-go asks on each new connection.
func apiVersions() kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, k := range []struct{ key, max int16 }{{0, 9}, {1, 12}, {3, 12}, {18, 0}} {
		e := kmsg.NewApiVersionsResponseApiKey()
		e.ApiKey, e.MaxVersion = k.key, k.max
		resp.ApiKeys = append(resp.ApiKeys, e)
	}
	return resp
}

// metadata answers with this broker as node 1, leading every partition of the given topics.
func (b *fakeBroker) metadata(partitions int32, topics ...string) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	host, port, _ := net.SplitHostPort(b.addr())
	br := kmsg.NewMetadataResponseBroker()
	br.NodeID, br.Host = 1, host
	n, err := strconv.Atoi(port)
	if err != nil {
		b.t.Error(err)
	}
	br.Port = int32(n)
	resp.Brokers = append(resp.Brokers, br)
	resp.ControllerID = 1
	for _, name := range topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = new(name)
		for p := range partitions {
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader = p, 1
			rp.Replicas, rp.ISR = []int32{1}, []int32{1}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func newClients(t *testing.T, cfg Config) *Clients {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// visitor reads batches by functions; a damaged batch and the end of one are the test's to expect.
type visitor struct {
	record  func(offset int64, value []byte)
	damaged func(first, last int64, err error)
	end     func(last int64)
}

func (v visitor) Record(offset int64, value []byte)    { v.record(offset, value) }
func (v visitor) Damaged(first, last int64, err error) { v.damaged(first, last, err) }
func (v visitor) End(_ []byte, _, last int64)          { v.end(last) }
