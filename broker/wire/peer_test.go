package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"soak/broker/core"
	"soak/broker/meta"
)

// peerMessages is one message of each kind, with every field set.
func peerMessages() []*core.PeerMessage {
	rng := rand.New(rand.NewPCG(7, 8))
	req := func(k kmsg.Key) kmsg.Request {
		return filled(rng, kmsg.RequestForKey(int16(k))).(kmsg.Request)
	}
	resp := func(k kmsg.Key) kmsg.Response {
		return filled(rng, kmsg.ResponseForKey(int16(k))).(kmsg.Response)
	}
	raft := &pb.Message{
		Type: pb.MsgApp.Enum(), To: proto.Uint64(2), From: proto.Uint64(1), Term: proto.Uint64(9), Index: proto.Uint64(100),
		Entries: []*pb.Entry{{Term: proto.Uint64(9), Index: proto.Uint64(101), Type: pb.EntryNormal.Enum(), Data: []byte("command")}},
		Context: []byte("read"),
	}
	snap := &pb.Message{
		Type: pb.MsgSnap.Enum(), To: proto.Uint64(2), From: proto.Uint64(1), Term: proto.Uint64(9),
		Snapshot: &pb.Snapshot{Data: []byte("state"), Metadata: &pb.SnapshotMetadata{
			ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}}, Index: proto.Uint64(100), Term: proto.Uint64(8),
		}},
	}
	out := []*core.PeerMessage{
		{Raft: raft},
		{Raft: snap},
		{Heartbeat: &core.Heartbeat{Seq: 5}},
		{Answer: &core.ForwardAnswer{Num: 3, Refused: true}},
		{Fetch: &core.PeerFetch{Num: 8, Req: req(kmsg.Fetch).(*kmsg.FetchRequest)}},
		{FetchResp: &core.PeerFetchResp{Num: 8, Resp: resp(kmsg.Fetch).(*kmsg.FetchResponse)}},
	}
	for _, k := range []kmsg.Key{kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.IncrementalAlterConfigs, kmsg.AlterPartition, kmsg.BrokerRegistration, kmsg.ControlledShutdown, kmsg.AlterConfigs, kmsg.CreatePartitions, kmsg.ElectLeaders} {
		out = append(out,
			&core.PeerMessage{Forward: &core.Forward{Num: 3, Term: 9, CtrlBoot: 4, Req: req(k), Cause: "create_topics", Via: 2, Op: "m-1"}},
			&core.PeerMessage{Answer: &core.ForwardAnswer{Num: 3, Resp: resp(k), Index: 77}})
	}
	for _, m := range out {
		m.From, m.To, m.FromBoot = 1, 2, 6
	}
	return out
}

// What the metadata are allowed to grow to before they are not stored as a snapshot any more fits in a frame.
func TestTheLargestSnapshotFitsInAFrame(t *testing.T) {
	m := peerMessages()[1]
	m.Raft.Snapshot.Data = make([]byte, meta.MaxSnapshot)
	b, err := AppendPeer(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	frame, err := ReadPeer(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePeer(frame)
	if err != nil || len(back.Raft.GetSnapshot().GetData()) != meta.MaxSnapshot {
		t.Errorf("%d bytes came back: %v", len(back.Raft.GetSnapshot().GetData()), err)
	}
}

// bodies takes the Kafka bodies out of a message, in the version that travels.
func bodies(t *testing.T, m *core.PeerMessage) (out [][]byte) {
	add := func(b message) {
		buf, err := appendBody(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, buf)
	}
	switch {
	case m.Forward != nil:
		add(m.Forward.Req)
	case m.Answer != nil && m.Answer.Resp != nil:
		add(m.Answer.Resp)
	case m.Fetch != nil:
		add(m.Fetch.Req)
	case m.FetchResp != nil:
		add(m.FetchResp.Resp)
	}
	return out
}

func TestPeerMessagesRoundTrip(t *testing.T) {
	for _, m := range peerMessages() {
		buf, err := AppendPeer(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := ReadPeer(bufio.NewReader(bytes.NewReader(buf)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePeer(frame)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(bodies(t, m), bodies(t, got)); d != "" {
			t.Errorf("body differs:\n%s", d)
		}
		skipBodies := cmp.FilterPath(func(p cmp.Path) bool {
			name := p.Last().String()
			return name == ".Req" || name == ".Resp"
		}, cmp.Ignore())
		if d := cmp.Diff(m, got, protocmp.Transform(), skipBodies); d != "" {
			t.Errorf("message differs:\n%s", d)
		}
		for cut := 1; cut < len(frame); cut++ {
			if short, err := ParsePeer(frame[:cut]); err == nil && short.Raft == nil && short.Answer == nil {
				t.Fatalf("holds when cut to %d of %d bytes: %+v", cut, len(frame), short)
			}
		}
	}
}

// A client's request is forwarded in the newest version, and answered in its own.
// A follower of thousands of partitions asks for all of them at once, each with the tagged fields of its version.
func TestAFetchOfThousandsOfPartitions(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 18
	for i := range 5000 {
		topic := kmsg.NewFetchRequestTopic()
		topic.TopicID[0], topic.TopicID[1] = byte(i), byte(i>>8)
		part := kmsg.NewFetchRequestTopicPartition()
		part.HighWatermark = int64(i) // a tagged field since version 18
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
	}
	buf, err := AppendPeer(nil, &core.PeerMessage{From: 1, To: 2, FromBoot: 3, Fetch: &core.PeerFetch{Num: 1, Req: req}})
	if err != nil {
		t.Fatal(err)
	}
	frame, err := ReadPeer(bufio.NewReader(bytes.NewReader(buf)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParsePeer(frame)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Fetch.Req.Topics); n != 5000 || m.Fetch.Req.Topics[4999].Partitions[0].HighWatermark != 4999 {
		t.Errorf("%d topics came, the last with %+v", n, m.Fetch.Req.Topics[n-1])
	}
}

func TestForwardingKeepsTheOwnVersion(t *testing.T) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 2
	if _, err := AppendPeer(nil, &core.PeerMessage{Forward: &core.Forward{Req: req}}); err != nil {
		t.Fatal(err)
	}
	if req.Version != 2 {
		t.Errorf("version %d after encoding, was 2", req.Version)
	}
}

// The list of names is not a field of version 6, so an older request must not travel as one.
func TestForwardedDeleteKeepsItsNames(t *testing.T) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 1
	req.TopicNames = []string{"a", "b"}
	buf, err := AppendPeer(nil, &core.PeerMessage{Forward: &core.Forward{Req: req}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePeer(buf[4:])
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(req.TopicNames, got.Forward.Req.(*kmsg.DeleteTopicsRequest).TopicNames); d != "" {
		t.Error(d)
	}
}

func TestPeerFramesThatAreRefused(t *testing.T) {
	if _, err := AppendPeer(nil, &core.PeerMessage{From: 1, To: 2}); err == nil {
		t.Error("an empty message was encoded")
	}
	if _, err := AppendPeer(nil, &core.PeerMessage{Forward: &core.Forward{Req: kmsg.NewPtrProduceRequest()}}); err == nil {
		t.Error("a produce request was forwarded")
	}
	for _, size := range []uint32{0, peerHeader - 1, MaxPeerFrame + 1, 1<<32 - 1} {
		b := binary.BigEndian.AppendUint32(nil, size)
		if _, err := ReadPeer(bufio.NewReader(bytes.NewReader(b))); !errors.Is(err, ErrPeerFrame) {
			t.Errorf("a frame of %d bytes: %v", size, err)
		}
	}
	if _, err := ReadPeer(bufio.NewReader(bytes.NewReader(nil))); err != io.EOF {
		t.Errorf("a closed connection: %v", err)
	}
	entries := &pb.Message{Entries: make([]*pb.Entry, maxElements+1)}
	for i := range entries.Entries {
		entries.Entries[i] = &pb.Entry{}
	}
	storage := &pb.Message{Responses: []*pb.Message{{}}}
	for name, m := range map[string]*pb.Message{"too many entries": entries, "a storage message": storage} {
		buf, err := AppendPeer(nil, &core.PeerMessage{Raft: m})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePeer(buf[4:]); !errors.Is(err, ErrPeerFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHello(t *testing.T) {
	h := Hello{From: 1, Boot: 1 << 40, To: 2}
	good := AppendHello(nil, h)
	got, err := ReadHello(bytes.NewReader(good), 2)
	if err != nil || got != h {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := ReadHello(bytes.NewReader(good), 3); !errors.Is(err, ErrHello) {
		t.Errorf("meant for another node: %v", err)
	}
	for at, name := range map[int]string{0: "magic", len(helloMagic): "format"} {
		bad := bytes.Clone(good)
		bad[at] ^= 0x55
		if _, err := ReadHello(bytes.NewReader(bad), 2); !errors.Is(err, ErrHello) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := ReadHello(bytes.NewReader(good[:10]), 2); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut short: %v", err)
	}
}

func FuzzParsePeer(f *testing.F) {
	for _, m := range peerMessages() {
		buf, err := AppendPeer(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(buf[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := ParsePeer(b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20+200*uint64(len(b)) {
			t.Errorf("%d bytes allocated for %d read", n, len(b))
		}
		if err == nil {
			if _, err := AppendPeer(nil, m); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}
