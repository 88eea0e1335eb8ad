package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/broker/meta"
	"soak/history"
)

const testSnapshotEntries = 20

func often(c *Config) { c.SnapshotEntries = testSnapshotEntries }

// fill creates and deletes topics through a node until so many entries more are applied there.
func fill(c *testCluster, id int32, entries uint64) {
	c.t.Helper()
	n := c.nodes[id].core
	for i, end := 0, n.applied+entries; n.applied < end; i++ {
		name := fmt.Sprintf("filler-%d", i)
		createTopic(c, id, name, 1)
		deleteTopic(c, id, name)
	}
}

func deleteTopic(c *testCluster, id int32, name string) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 5, []string{name}
	if r := call[*kmsg.DeleteTopicsResponse](c, id, req); r.Topics[0].ErrorCode != errNone {
		c.t.Fatalf("delete %s: code %d", name, r.Topics[0].ErrorCode)
	}
}

// told counts a node's snapshot events in its present boot.
func (c *testCluster) told(id int32, what string) (n int) {
	for _, e := range c.events {
		if s, ok := e.Body.(*history.Snapshot); ok && e.Node == id && e.Boot == c.nodes[id].boot && s.What == what {
			n++
		}
	}
	return n
}

// sameStates waits until all nodes have applied the same entries, and compares what came of it and what was told of it on the way.
func sameStates(t *testing.T, c *testCluster) {
	t.Helper()
	c.until(20*time.Second, "all nodes have applied the same", func() bool {
		a := c.nodes[1].core.applied
		return c.nodes[2].core.applied == a && c.nodes[3].core.applied == a
	})
	for id := int32(2); id <= 3; id++ {
		if c.nodes[id].core.state.Hash() != c.nodes[1].core.state.Hash() {
			t.Errorf("n%d and n1 hold different metadata at index %d", id, c.nodes[1].core.applied)
		}
	}
	hashes := map[uint64]uint64{}
	for _, e := range c.events {
		if h, ok := e.Body.(*history.StateHash); ok {
			if known, ok := hashes[h.Index]; ok && known != h.Hash {
				t.Errorf("n%d told another hash of index %d", e.Node, h.Index)
			}
			hashes[h.Index] = h.Hash
		}
	}
}

// What a node does about its partitions follows from the metadata; how those came to it must make no difference.
func TestANodeFarBehindIsSentASnapshot(t *testing.T) {
	c, lead := newTopicCluster(t, often, "min.insync.replicas", "1")
	createTopic(c, lead, "gone", 1)
	produce(c, lead, "orders", -1, "v")
	produce(c, leads(c, "gone"), "gone", -1, "v")
	far := c.leader()%3 + 1
	c.until(5*time.Second, "the log of gone is there", func() bool { return replicaOn(c, far, "gone").durable == 1 })
	gone, before := replicaOn(c, far, "gone").id, replicaOn(c, far, "orders").state
	c.isolate(far, true)
	c.until(20*time.Second, "others lead", func() bool {
		return c.leader() != far && c.leader() != 0 && !slices.Contains(part(c, "orders").ISR, far)
	})
	ctl := c.leader()
	deleteTopic(c, ctl, "gone")
	createTopic(c, ctl, "new", 3)
	fill(c, ctl, 3*testSnapshotEntries)
	c.isolate(far, false)
	sameStates(t, c)
	if c.told(far, history.SnapshotInstalled) == 0 {
		t.Fatal("no snapshot was installed: the test proves nothing")
	}
	if c.nodes[far].disk.logs[gone] != nil {
		t.Error("the log of a topic that was deleted meanwhile is still there")
	}
	if r := replicaOn(c, far, "orders"); r.state.PartitionEpoch == before.PartitionEpoch || r.role != c.nodes[far].core.roleFor(r) || r.topic != c.nodes[far].core.state.Topic("orders") {
		t.Errorf("its replica of orders is %s in %+v, was in %+v", r.role, r.state, before)
	}
	if r := replicaOn(c, far, "new"); r == nil || r.role == replicaIdle {
		t.Error("it does nothing for a topic that was created meanwhile")
	}
	waitISR(c, "orders", 3)
	if p := produce(c, leads(c, "orders"), "orders", -1, "w"); p.ErrorCode != errNone {
		t.Errorf("produce: code %d", p.ErrorCode)
	}
	sameLogs(c, "orders")
	noForeignProposals(t, c)
}

func TestANodeStartsFromItsSnapshot(t *testing.T) {
	c, lead := newTopicCluster(t, often)
	createTopic(c, lead, "gone", 1)
	produce(c, lead, "orders", -1, "v")
	produce(c, leads(c, "gone"), "gone", -1, "v")
	c.run(time.Second)
	gone := replicaOn(c, lead, "gone").id
	id := c.leader()%3 + 1
	fill(c, c.leader(), 2*testSnapshotEntries)
	sameStates(t, c)
	n := c.nodes[id]
	if d := n.disk; d.snap == nil || d.base == 0 || len(d.entries) > testSnapshotEntries*2 || n.core.Stats().RaftLog != len(d.entries) {
		t.Fatalf("%d entries behind index %d on disk, %d in memory: the log is not kept short", len(d.entries), d.base, n.core.Stats().RaftLog)
	}
	c.kill(id)
	c.until(20*time.Second, "a leader", func() bool { return c.leader() != 0 })
	deleteTopic(c, c.leader(), "gone")
	fill(c, c.leader(), 3*testSnapshotEntries) // more than the others keep
	c.start(id)
	sameStates(t, c)
	if c.told(id, history.SnapshotRestored) != 1 || c.told(id, history.SnapshotInstalled) == 0 {
		t.Fatalf("%d snapshots restored and %d installed: the test proves nothing", c.told(id, history.SnapshotRestored), c.told(id, history.SnapshotInstalled))
	}
	waitISR(c, "orders", 3)
	if n.disk.logs[gone] != nil {
		t.Error("the log of a topic that was deleted meanwhile is still there")
	}
	sameLogs(c, "orders")
}

// A crash between the deletion of a topic and that of its log, and a snapshot in between: nobody will ever apply the deletion again.
func TestALogWhoseTopicNoSnapshotKnowsGoes(t *testing.T) {
	c, _ := newTopicCluster(t, often)
	fill(c, c.leader(), 2*testSnapshotEntries)
	id := c.leader()%3 + 1
	c.kill(id)
	orphan, kept := PartitionID{Topic: meta.TopicID{0xee}}, replicaOn(c, c.leader(), "orders").id
	c.nodes[id].disk.log(orphan).end = 5
	c.start(id)
	c.waitReady()
	c.run(time.Second)
	if c.nodes[id].disk.logs[orphan] != nil || c.nodes[id].core.repl.parts[orphan] != nil {
		t.Error("the log of no topic is still there")
	}
	if c.nodes[id].core.repl.parts[kept] == nil {
		t.Error("a log of a topic is gone")
	}
}

// Raft sends a follower nothing more until it confirms its snapshot, and nobody tells raft that a message was lost.
func TestALostSnapshotIsSentAgain(t *testing.T) {
	c, _ := newTopicCluster(t, often)
	far := c.leader()%3 + 1
	c.isolate(far, true)
	c.until(20*time.Second, "others lead", func() bool { return c.leader() != far && c.leader() != 0 })
	fill(c, c.leader(), 3*testSnapshotEntries)
	lost := 0
	c.lose = func(m *PeerMessage) bool {
		if m.Raft.GetType() != pb.MsgSnap || m.To != far || lost == 2 {
			return false
		}
		lost++
		return true
	}
	c.isolate(far, false)
	sameStates(t, c)
	if lost != 2 || c.told(far, history.SnapshotInstalled) == 0 {
		t.Fatalf("%d snapshots lost and %d installed: the test proves nothing", lost, c.told(far, history.SnapshotInstalled))
	}
}

// What became of a proposal that a snapshot may cover is not known, and may be anything: its asker is told no less.
func TestAProposalCoveredByASnapshotIsUnknown(t *testing.T) {
	c, _ := newTopicCluster(t, often)
	old := c.leader()
	c.isolate(old, true)
	var end applied
	ended := 0
	cmd := &meta.Command{Create: &meta.CreateTopic{Name: "mine", ID: meta.TopicID{9}, Partitions: []meta.NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}}}
	if err := c.nodes[old].core.propose(cmd, func(a applied) { end = a; ended++ }); err != nil {
		t.Fatal(err)
	}
	c.until(20*time.Second, "others lead", func() bool { return c.leader() != old && c.leader() != 0 })
	fill(c, c.leader(), 3*testSnapshotEntries)
	c.isolate(old, false)
	sameStates(t, c)
	if c.told(old, history.SnapshotInstalled) == 0 {
		t.Fatal("no snapshot was installed: the test proves nothing")
	}
	if ended != 1 || !end.unknown || end.lost || len(c.nodes[old].core.proposals) != 0 {
		t.Errorf("the proposal ended %d times, %+v; %d still wait", ended, end, len(c.nodes[old].core.proposals))
	}
}

// Raft takes the snapshot that it is given for committed, so what is damaged or another cluster's must not reach it.
func TestADamagedSnapshotIsNotInstalled(t *testing.T) {
	c, _ := newTopicCluster(t, nil)
	id := c.leader()%3 + 1
	n := c.nodes[id].core
	good := n.state.Snapshot()
	bad := slices.Clone(good)
	bad[len(bad)/2] ^= 1
	term := n.rn.BasicStatus().GetTerm()
	for name, s := range map[string]*pb.Snapshot{
		"damaged":           {Data: bad, Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(n.applied + 100), Term: &term, ConfState: n.store.conf}},
		"another cluster's": {Data: good, Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(n.applied + 100), Term: &term, ConfState: &pb.ConfState{Voters: []uint64{1, 2}}}},
		"of no term":        {Data: good, Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(n.applied + 100), ConfState: n.store.conf}},
		"empty":             {},
	} {
		before := n.applied
		m := &pb.Message{Type: pb.MsgSnap.Enum(), From: proto.Uint64(uint64(c.leader())), To: proto.Uint64(uint64(id)), Term: &term, Snapshot: s}
		c.step(c.nodes[id], PeerInput{&PeerMessage{From: c.leader(), To: id, FromBoot: 1, Raft: m}})
		c.run(100 * time.Millisecond)
		if n.applied != before || c.told(id, history.SnapshotInstalled) != 0 {
			t.Errorf("%s: it was installed", name)
		}
	}
	createTopic(c, id, "still", 1)
	sameStates(t, c)
}

func TestWindowMoves(t *testing.T) {
	entries := func(term, from, to uint64) (es []*pb.Entry) {
		for i := from; i <= to; i++ {
			es = append(es, &pb.Entry{Index: proto.Uint64(i), Term: proto.Uint64(term)})
		}
		return es
	}
	snap := func(index, term uint64) *pb.Snapshot {
		return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(index), Term: proto.Uint64(term)}}
	}
	w, err := newWindow([]int32{1}, Boot{Entries: entries(1, 1, 10)})
	if err != nil {
		t.Fatal(err)
	}
	held, _ := w.Entries(5, 9, 1<<20) // in raft's hands
	w.compact(snap(8, 1), 6)
	if w.firstIndex() != 7 || w.lastIndex() != 10 || w.snapshotIndex() != 8 || held[0].GetIndex() != 5 || len(held) != 4 {
		t.Errorf("it holds %d to %d with a snapshot of %d; raft's own begin with %d", w.firstIndex(), w.lastIndex(), w.snapshotIndex(), held[0].GetIndex())
	}
	if _, err := w.Entries(6, 8, 1<<20); err != raft.ErrCompacted {
		t.Errorf("entries that are gone: %v", err)
	}
	if term, err := w.Term(6); term != 1 || err != nil {
		t.Errorf("term of the entry before the first: %d, %v", term, err)
	}
	if _, err := w.Term(5); err != raft.ErrCompacted {
		t.Errorf("term of an entry that is gone: %v", err)
	}
	w.install(snap(20, 3))
	w.compact(snap(9, 1), 8) // of before, and late
	w.append(entries(3, 21, 22))
	if w.firstIndex() != 21 || w.lastIndex() != 22 || w.snapshotIndex() != 20 {
		t.Errorf("it holds %d to %d with a snapshot of %d", w.firstIndex(), w.lastIndex(), w.snapshotIndex())
	}
	for name, b := range map[string]Boot{
		"a snapshot beyond the log":       {Snapshot: snap(5, 1), BaseIndex: 2, BaseTerm: 1, Entries: entries(1, 3, 4)},
		"entries missing behind the base": {Snapshot: snap(5, 1), BaseIndex: 6, BaseTerm: 1, Entries: entries(1, 7, 8)},
	} {
		if _, err := newWindow([]int32{1}, b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w, err = newWindow([]int32{1}, Boot{Snapshot: snap(5, 1), BaseIndex: 2, BaseTerm: 1, Entries: entries(1, 3, 8), HardState: &pb.HardState{Term: proto.Uint64(4), Vote: proto.Uint64(1), Commit: proto.Uint64(3)}})
	if err != nil {
		t.Fatal(err)
	}
	if hs := w.hardState; hs.GetCommit() != 5 || hs.GetTerm() != 4 || hs.GetVote() != 1 {
		t.Errorf("hard state %v, want the commit index raised to the snapshot's and no more", hs)
	}
}
