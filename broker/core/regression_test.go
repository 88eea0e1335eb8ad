package core

// Each test here is a defect that was found in this broker and mended; docs/found.md tells of them.

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"

	"soak/broker/meta"
	"soak/history"
)

// A partition whose last member comes back leads again without waiting for the next interval check.
func TestAReturningLastMemberLeadsAtOnce(t *testing.T) {
	c := newTestCluster(t, 0, func(x *Config) { x.ElectionInterval = 12 * time.Second })
	c.waitReady()
	l := c.leader()
	other := l%3 + 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = "solo", -1, -1
	ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	ra.Partition, ra.Replicas = 0, []int32{other}
	tp.ReplicaAssignment = append(tp.ReplicaAssignment, ra)
	req.Topics = append(req.Topics, tp)
	if a := call[*kmsg.CreateTopicsResponse](c, l, req); a.Topics[0].ErrorCode != 0 {
		t.Fatal(a.Topics[0].ErrorCode)
	}
	p := func() *meta.Partition { return c.nodes[c.leader()].core.state.Topic("solo").Partitions[0] }
	c.kill(other)
	c.until(30*time.Second, "leaderless", func() bool { return c.leader() != 0 && p().Leader == meta.NoLeader })
	c.run(time.Second)
	c.start(other)
	c.until(time.Second, "the last member leads again", func() bool { return p().Leader == other })
}

// An answer to an earlier boot's forwarded request answers no request of this boot.
func TestAForwardsAnswerOfAnEarlierBootIsVoid(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	l := c.leader()
	f := l%3 + 1
	n := c.nodes[f].core
	before := n.fwd.next
	if before == 0 {
		t.Fatal("nothing was forwarded in the first boot: the test shows nothing")
	}
	c.kill(f)
	c.start(f)
	c.until(5*time.Second, "registered", func() bool { return c.nodes[f].core.registeredInThisBoot() })
	c.run(time.Second)
	c.cut[[2]int32{f, l}] = true // its own forward is lost
	var got *kmsg.CreateTopicsResponse
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = "b", 1, 3
	req.Topics = append(req.Topics, tp)
	c.ask(f, req, func(r kmsg.Response) { got = r.(*kmsg.CreateTopicsResponse) })
	old := kmsg.NewPtrCreateTopicsResponse()
	rt := kmsg.NewCreateTopicsResponseTopic()
	rt.Topic = "a"
	old.Topics = append(old.Topics, rt)
	for num := before; num <= before+20; num++ {
		c.step(c.nodes[f], PeerInput{&PeerMessage{From: l, To: f, FromBoot: 1, Answer: &ForwardAnswer{Num: num, Resp: old, Index: 5}}})
	}
	c.run(100 * time.Millisecond)
	if got != nil {
		t.Fatalf("the creation of b is answered by what an earlier boot asked: %+v", got)
	}
}

// A confirmation of a read that an earlier boot asked for says what was committed then, and confirms no read of this boot.
func TestALateConfirmationOfAnEarlierBootsReadIsVoid(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	l := c.leader()
	f := l%3 + 1
	early := c.nodes[f].core.readContext // of boot 1
	c.kill(f)
	c.start(f)
	c.until(5*time.Second, "registered", func() bool { return c.nodes[f].core.registeredInThisBoot() })
	c.run(time.Second)
	n := c.nodes[f].core
	c.cut[[2]int32{f, l}] = true // its own question is lost
	var got kmsg.Response
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	c.ask(f, req, func(r kmsg.Response) { got = r })
	asked := n.reads.next
	if len(n.reads.asked) != 1 {
		t.Fatalf("%d reads are under way: the test shows nothing", len(n.reads.asked))
	}
	confirm := func(ctx []byte) {
		m := &pb.Message{Type: pb.MsgReadIndexResp.Enum(), From: new(uint64(l)), To: new(uint64(f)), Term: new(n.rn.BasicStatus().GetTerm()), Index: new(n.applied), Entries: []*pb.Entry{{Data: ctx}}}
		c.step(c.nodes[f], PeerInput{&PeerMessage{From: l, To: f, FromBoot: 1, Raft: m}})
		c.run(50 * time.Millisecond)
	}
	confirm(early(asked))
	if got != nil {
		t.Fatalf("a read is answered by the confirmation that an earlier boot asked for: %+v", got)
	}
	confirm(n.readContext(asked))
	if got == nil {
		t.Fatal("the confirmation of this boot's read does not answer it: the test shows nothing")
	}
}

// One fetch, however many partitions it names, starts a bounded number of reads from disk.
func TestColdReadsOfOneFetchAreBounded(t *testing.T) {
	c, l := newTopicCluster(t, nil)
	n := c.nodes[l].core
	produce(c, l, "orders", -1, string(make([]byte, 500_000)))
	for range 8 {
		produce(c, l, "orders", -1, string(make([]byte, 500_000)))
	}
	c.run(time.Second)
	req := fetchRequest("orders", -1, 0, 0)
	q := req.Topics[0].Partitions[0]
	q.PartitionMaxBytes = 1
	req.Topics[0].Partitions = nil
	for range 5000 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, q)
	}
	req.MaxBytes = 8 << 20
	before := len(n.disk)
	n.Step(c.now, &ClientRequest{Conn: 9999, Corr: 9999, Req: req})
	if reads := len(n.disk) - before; reads < 1 || reads > int(n.cfg.MaxFetchBytes/n.cfg.MaxRecordBatch)+1 {
		t.Fatalf("one fetch of 5000 partitions has %d reads under way", reads)
	}
}

// A broker that comes back never leads, not even for an instant, in an epoch of its earlier boot.
func TestNoRoleInAnEarlierBootsEpoch(t *testing.T) {
	c, l := newTopicCluster(t, nil)
	p := replicaOn(c, l, "orders")
	epoch := p.state.LeaderEpoch
	c.kill(l)
	c.start(l)
	from, seen := len(c.events), 0
	c.until(5*time.Second, "registered", func() bool { return c.nodes[l].core.registeredInThisBoot() })
	for _, e := range c.events[from:] {
		if b, ok := e.Body.(*history.Partition); ok && e.Node == l && e.Boot == 2 && b.Topic == "orders" {
			seen++
			if b.Role == "leader" && b.LeaderEpoch <= epoch {
				t.Errorf("boot 2 of n%d says that it leads epoch %d, which boot 1 had led: %+v", l, epoch, b)
			}
		}
	}
	if seen == 0 {
		t.Fatal("no partition event of the new boot")
	}
}

// An election that an ISR change under way has made stale is asked for again at once.
func TestAStaleElectionIsAskedForAgain(t *testing.T) {
	c, l := newTopicCluster(t, func(x *Config) { x.ElectionInterval = 12 * time.Second })
	n := c.nodes[l].core
	tp := n.state.Topic("orders")
	p := tp.Partitions[0]
	// move the leadership away from the controller first
	other := l%3 + 1
	n.setLeader(tp, 0, p, other, p.ISR, "rebalance")
	c.until(2*time.Second, "moved", func() bool { return n.state.Topic("orders").Partitions[0].Leader == other })
	c.run(100 * time.Millisecond)
	// the leader's own last AlterPartition is on its way (here: proposed, not applied) when its session expires
	c.kill(other)
	p = n.state.Topic("orders").Partitions[0]
	cmd := &meta.Command{Cause: "alter_partition", ChangeISR: &meta.ChangeISR{Topic: tp.ID, Name: "orders", ExpectedEpoch: p.PartitionEpoch, LeaderEpoch: p.LeaderEpoch, ISR: p.ISR}}
	if err := n.propose(cmd, func(applied) {}); err != nil {
		t.Fatal(err)
	}
	n.sessions.graceUntil = 0
	n.sessionOf(other).heard = n.now - int64(n.cfg.SessionTimeout)
	n.watchSessions()
	c.until(time.Second, "another leader", func() bool { return n.state.Topic("orders").Partitions[0].Leader != other })
	refused := slices.ContainsFunc(c.events, func(e history.Event) bool {
		a, ok := e.Body.(*history.Apply)
		return ok && a.Command == meta.KindSetLeader && a.Outcome == history.Refused
	})
	if !refused {
		t.Fatal("no election was refused as stale: the test shows nothing")
	}
}

// A deletion by id never deletes another topic that has the name by then.
func TestADeletionByIDSparesTheSuccessor(t *testing.T) {
	c, l := newTopicCluster(t, nil)
	old := c.nodes[l].core.state.Topic("orders").ID
	n := c.nodes[c.leader()].core
	id := c.leader()
	codes := map[string]int16{}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Version, del.TopicNames = 5, []string{"orders"}
	cr := kmsg.NewPtrCreateTopicsRequest()
	cr.Version = 7
	ct := kmsg.NewCreateTopicsRequestTopic()
	ct.Topic, ct.NumPartitions, ct.ReplicationFactor = "orders", 1, 3
	cr.Topics = append(cr.Topics, ct)
	byID := kmsg.NewPtrDeleteTopicsRequest()
	byID.Version = 6
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.TopicID = old
	byID.Topics = append(byID.Topics, dt)
	c.ask(id, del, func(r kmsg.Response) { codes["delete"] = r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode })
	c.ask(id, cr, func(r kmsg.Response) { codes["create"] = r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode })
	c.ask(id, byID, func(r kmsg.Response) { codes["delete by id"] = r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode })
	c.run(time.Second)
	if len(codes) != 3 || codes["delete"] != errNone || codes["create"] != errNone || codes["delete by id"] != errUnknownTopicID || n.state.Topic("orders") == nil {
		t.Fatalf("codes %v; the new topic exists: %v", codes, n.state.Topic("orders") != nil)
	}
}

// A duplicate of a forwarded request that arrives after the controller's term is not answered "surely no effect": the
// original may take effect yet.
func TestADuplicateForwardIsNotRefused(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	l := c.leader()
	f := l%3 + 1
	n, ctl := c.nodes[f].core, c.nodes[l].core
	var got *kmsg.CreateTopicsResponse
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = "dup", 1, 3
	req.Topics = append(req.Topics, tp)
	n.Step(c.now, &ClientRequest{Conn: 777, Corr: 777, Req: req})
	var fw *PeerMessage
	for _, m := range n.out.Messages {
		if m.Forward != nil {
			fw = m
		}
	}
	c.nodes[f].awaits[777] = func(r kmsg.Response) { got = r.(*kmsg.CreateTopicsResponse) }
	c.ready(c.nodes[f])
	// the forward is handled, its entry reaches the followers, nothing of it comes back; then the controller steps down
	c.run(2500 * time.Microsecond)
	c.cut[[2]int32{1, l}], c.cut[[2]int32{2, l}], c.cut[[2]int32{3, l}] = true, true, true
	c.cut[[2]int32{l, f}] = false
	c.until(5*time.Second, "step down", func() bool { return !ctl.AmILeader() })
	c.step(c.nodes[l], PeerInput{fw})
	c.run(100 * time.Millisecond)
	c.run(3 * time.Second)
	if c.nodes[f].core.state.Topic("dup") == nil {
		t.Fatal("the original took no effect: the test shows nothing")
	}
	if got != nil && got.Topics[0].ErrorCode == errNotController {
		t.Fatal("answered NOT_CONTROLLER, and the topic was created")
	}
}

// One AlterPartition names several partitions, and a change of the controller loses the change of one of them: that one is asked for again.
func TestALostPartOfAnAlterPartitionIsAskedForAgain(t *testing.T) {
	c := newTestCluster(t, 0, func(x *Config) { x.ElectionInterval = 12 * time.Second })
	c.waitReady()
	l := c.leader()
	back, next := l%3+1, (l+1)%3+1 // the member that comes back, and another follower
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = "orders", -1, -1
	for p := range int32(2) {
		ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		ra.Partition, ra.Replicas = p, []int32{l, back, next}
		tp.ReplicaAssignment = append(tp.ReplicaAssignment, ra)
	}
	req.Topics = append(req.Topics, tp)
	if a := call[*kmsg.CreateTopicsResponse](c, l, req); a.Topics[0].ErrorCode != 0 {
		t.Fatal(a.Topics[0].ErrorCode)
	}
	n := c.nodes[l].core
	isrs := func(members int) func() bool {
		return func() bool {
			o := n.state.Topic("orders")
			return len(o.Partitions[0].ISR) == members && len(o.Partitions[1].ISR) == members
		}
	}
	c.kill(back)
	c.until(10*time.Second, "it is out of both ISRs", isrs(2))
	// it comes back, and the leader asks for both ISRs at once; of the second change no entry leaves the controller
	c.lose = func(m *PeerMessage) bool {
		return m.Raft != nil && slices.ContainsFunc(m.Raft.GetEntries(), func(e *pb.Entry) bool {
			cmd, err := meta.Decode(e.GetData())
			return err == nil && cmd.ChangeISR != nil && cmd.ChangeISR.Name == "orders" && cmd.ChangeISR.Partition == 1 && len(cmd.ChangeISR.ISR) == 3
		})
	}
	second := n.repl.parts[PartitionID{Topic: n.state.Topic("orders").ID, Partition: 1}]
	c.start(back)
	for end := c.now + int64(10*time.Second); !second.alter.under && c.now < end; {
		c.run(time.Millisecond)
	}
	c.run(2 * time.Millisecond) // for the first change's entry to arrive
	c.isolate(l, true)
	c.until(10*time.Second, "another controller", func() bool { return c.nodes[back].core.AmILeader() || c.nodes[next].core.AmILeader() })
	c.lose = nil
	c.isolate(l, false)
	c.until(2*time.Second, "the second change is lost", func() bool { return !n.AmILeader() && len(n.proposals) == 0 })
	o := n.state.Topic("orders")
	if len(o.Partitions[0].ISR) != 3 || len(o.Partitions[1].ISR) != 2 || second.state.LeaderEpoch != 0 || second.role != replicaLeader {
		t.Fatalf("ISRs %v and %v, %v in epoch %d: the test shows nothing", o.Partitions[0].ISR, o.Partitions[1].ISR, second.role, second.state.LeaderEpoch)
	}
	c.until(time.Second, "it is in both ISRs", isrs(3))
}
