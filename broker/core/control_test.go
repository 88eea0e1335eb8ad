package core

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// testBatchBounds reads base offset, next offset and size of the first record batch of b.
func testBatchBounds(b []byte) (base, next int64, size int) {
	base = int64(binary.BigEndian.Uint64(b))
	size = 12 + int(binary.BigEndian.Uint32(b[8:]))
	return base, base + int64(binary.BigEndian.Uint32(b[23:])) + 1, size
}

func TestAClusterStarts(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.run(time.Second)
	if c.leader() == 0 {
		t.Fatal("no raft leader within a second")
	}
	c.waitReady()
	noForeignProposals(t, c)
}

func noForeignProposals(t *testing.T, c *testCluster) {
	t.Helper()
	leaders := map[uint64]int32{}
	for _, e := range c.events {
		switch b := e.Body.(type) {
		case *history.RoleChange:
			if b.Role == history.RoleLeader {
				if l := leaders[b.Term]; l != 0 && l != e.Node {
					t.Fatalf("n%d and n%d both lead term %d", l, e.Node, b.Term)
				}
				leaders[b.Term] = e.Node
			}
		case *history.Propose:
			if b.Role != history.RoleLeader {
				t.Fatalf("n%d proposed as %s: %+v", e.Node, b.Role, b)
			}
		case *history.LeaderCheck:
			if b.Role != history.RoleLeader {
				t.Fatalf("n%d checked as %s", e.Node, b.Role)
			}
		case *history.Apply:
			if l := leaders[b.Term]; l != b.Proposer {
				t.Fatalf("entry %d of term %d was proposed by n%d, its leader is n%d", b.Index, b.Term, b.Proposer, l)
			}
		}
	}
}

func createTopic(c *testCluster, id int32, name string, partitions int32) *kmsg.CreateTopicsResponse {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 3
	req.Topics = append(req.Topics, rt)
	return call[*kmsg.CreateTopicsResponse](c, id, req)
}

func describe(c *testCluster, id int32, name string) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, rt)
	return call[*kmsg.MetadataResponse](c, id, req)
}

func TestAnyNodeTakesAnAdminRequest(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	for id := int32(1); id <= 3; id++ {
		name := "t" + string(rune('0'+id))
		if r := createTopic(c, id, name, 4); r.Topics[0].ErrorCode != errNone {
			t.Fatalf("create through n%d: code %d", id, r.Topics[0].ErrorCode)
		}
		if r := createTopic(c, id, name, 4); r.Topics[0].ErrorCode != errTopicExists {
			t.Fatalf("create again through n%d: code %d, want %d", id, r.Topics[0].ErrorCode, errTopicExists)
		}
		for other := int32(1); other <= 3; other++ {
			if r := describe(c, other, name); r.Topics[0].ErrorCode != errNone || len(r.Topics[0].Partitions) != 4 || len(r.Brokers) != 3 {
				t.Fatalf("n%d describes %s: %+v", other, name, r)
			}
		}
	}
	noForeignProposals(t, c)
}

func TestADeadLeaderIsReplacedAndLeadershipsComeBack(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 6)
	c.run(8 * time.Second) // three quiet checks: the leaders are spread
	lead := c.leader()
	st := c.nodes[lead].core.state
	counts := map[int32]int{}
	for _, p := range st.Topic("orders").Partitions {
		counts[p.Leader]++
	}
	for id := int32(1); id <= 3; id++ {
		if counts[id] != 2 {
			t.Fatalf("leaders after three quiet checks: %v, want two each", counts)
		}
	}
	victim := lead%3 + 1
	c.kill(victim)
	c.run(1500 * time.Millisecond)
	for i, p := range st.Topic("orders").Partitions {
		if p.Leader == victim || p.Leader < 1 {
			t.Fatalf("orders-%d is led by %d 1.5 s after n%d died (session 1 s)", i, p.Leader, victim)
		}
	}
	c.start(victim)
	c.waitReady()
	c.run(12 * time.Second)
	for i, p := range st.Topic("orders").Partitions {
		if p.Leader != p.Replicas[0] || len(p.ISR) != 3 {
			t.Errorf("orders-%d: leader %d, replicas %v, ISR %v: not whole 12 s after the return", i, p.Leader, p.Replicas, p.ISR)
		}
	}
	noForeignProposals(t, c)
}

func TestFailoverOfTheController(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 2, "orders", 3)
	old := c.leader()
	c.kill(old)
	c.until(4*time.Second, "another controller, and no partition led by the dead one", func() bool {
		l := c.leader()
		if l == 0 || l == old {
			return false
		}
		for _, p := range c.nodes[l].core.state.Topic("orders").Partitions {
			if p.Leader == old || p.Leader < 1 {
				return false
			}
		}
		return true
	})
	c.start(old)
	c.waitReady()
	noForeignProposals(t, c)
}

func TestReadsOfAnIsolatedNodeAreNotAnswered(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	lonely := c.leader()
	for id := int32(1); id <= 3; id++ {
		c.cut[[2]int32{lonely, id}], c.cut[[2]int32{id, lonely}] = true, true
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	answered := false
	c.ask(lonely, req, func(kmsg.Response) { answered = true })
	c.run(4 * time.Second)
	if answered || c.nodes[lonely].closed != 1 {
		t.Fatalf("answered %v, connections closed %d: an isolated node must close instead of answering", answered, c.nodes[lonely].closed)
	}
}

// Only the controller proposes: a proposal that another node's raft sends is refused and counted, though raft itself would take it.
func TestAProposalFromTheNetworkIsRefused(t *testing.T) {
	send := func(set bugs.Set) (c *testCluster, refused uint64, applied bool) {
		c = newTestCluster(t, set, nil)
		c.waitReady()
		lead := c.leader()
		from := lead%3 + 1
		cmd := &meta.Command{Proposer: from, ProposerBoot: 1, Attempt: 99, Cause: "smuggled", Delete: &meta.DeleteTopic{Name: "nothing"}}
		m := &pb.Message{Type: pb.MsgProp.Enum(), From: proto.Uint64(uint64(from)), To: proto.Uint64(uint64(lead)), Entries: []*pb.Entry{{Data: cmd.Encode()}}}
		c.step(c.nodes[lead], PeerInput{&PeerMessage{From: from, To: lead, FromBoot: 1, Raft: m}})
		c.run(500 * time.Millisecond)
		for _, e := range c.events {
			if a, ok := e.Body.(*history.Apply); ok && a.Cause == "smuggled" {
				applied = true
			}
		}
		return c, c.nodes[lead].core.Stats().RefusedProposals, applied
	}
	if _, refused, applied := send(0); refused != 1 || applied {
		t.Errorf("refused %d, committed %v: want one refusal and nothing committed", refused, applied)
	}
	if _, refused, applied := send(bugs.Set(0).With(bugs.ForwardHidesError)); refused != 0 || !applied {
		t.Errorf("with forwarding left on: refused %d, committed %v: the test shows nothing", refused, applied)
	}
}

// Each planted bug of the story changes a decision, and is seen in the events as the catalogue says.
func TestTheStorysBugsShow(t *testing.T) {
	refused := func(e history.Event) bool {
		p, ok := e.Body.(*history.Propose)
		return ok && p.Outcome == history.ProposeRefused && strings.HasPrefix(p.Error, "Cannot propose: this node (id=")
	}
	foreign := func(c *testCluster) bool {
		leaders := map[uint64]int32{}
		for _, e := range c.events {
			if r, ok := e.Body.(*history.RoleChange); ok && r.Role == history.RoleLeader {
				leaders[r.Term] = e.Node
			}
			if a, ok := e.Body.(*history.Apply); ok && leaders[a.Term] != a.Proposer {
				return true
			}
		}
		return false
	}
	for _, tc := range []struct {
		bug  bugs.Bug
		name string
		seen func(*testCluster) bool
	}{
		{bugs.ElectorGateHasLeader, "elector-gate-has-leader", nil},
		{bugs.AutocreateGateHasLeader, "autocreate-gate-has-leader", nil},
		{bugs.StartupGateHasLeader, "startup-gate-has-leader", nil},
		{bugs.ForwardHidesError, "forward-hides-error", foreign},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestCluster(t, bugs.Set(0).With(tc.bug), nil)
			c.waitReady()
			createTopic(c, 1, "orders", 6)
			for id := int32(1); id <= 3; id++ {
				req := kmsg.NewPtrMetadataRequest()
				req.Version, req.AllowAutoTopicCreation = 12, true
				rt := kmsg.NewMetadataRequestTopic()
				rt.Topic = kmsg.StringPtr("auto-" + string(rune('0'+id)))
				req.Topics = append(req.Topics, rt)
				call[*kmsg.MetadataResponse](c, id, req)
			}
			c.run(8 * time.Second)
			c.kill(c.leader()%3 + 1)
			c.run(3 * time.Second)
			reached := false
			found := tc.seen != nil && tc.seen(c)
			for _, e := range c.events {
				if b, ok := e.Body.(*history.Bug); ok && b.Name == tc.name {
					reached = true
				}
				if tc.seen == nil && refused(e) {
					found = true
				}
			}
			if !reached || !found {
				t.Fatalf("bug reached %v, found %v", reached, found)
			}
		})
	}
}
