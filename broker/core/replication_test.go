package core

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
	"soak/broker/partlog/batch/batchtest"
	"soak/history"
)

// produceRequest is one batch for partition 0 of a topic.
func produceRequest(topic string, acks int16, timeout time.Duration, values ...string) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 12, acks, int32(timeout.Milliseconds())
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batchtest.Make(0, 0, values...)
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = append(req.Topics, rt)
	return req
}

func produce(c *testCluster, id int32, topic string, acks int16, values ...string) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	return call[*kmsg.ProduceResponse](c, id, produceRequest(topic, acks, 5*time.Second, values...)).Topics[0].Partitions[0]
}

// fetchRequest asks for partition 0 from offset on; replica is -1 for a consumer, -2 for the debugging consumer.
func fetchRequest(topic string, replica int32, offset int64, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes = 12, replica, int32(wait.Milliseconds()), 1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = append(req.Topics, rt)
	return req
}

func fetch(c *testCluster, id int32, topic string, replica int32, offset int64) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	return call[*kmsg.FetchResponse](c, id, fetchRequest(topic, replica, offset, 0)).Topics[0].Partitions[0]
}

// part is the newest applied state of partition 0.
func part(c *testCluster, topic string) *meta.Partition {
	var newest *Node
	for id := int32(1); id <= 3; id++ {
		if n := c.nodes[id]; n.core != nil && (newest == nil || n.core.applied > newest.applied) {
			newest = n.core
		}
	}
	if t := newest.state.Topic(topic); t != nil {
		return t.Partitions[0]
	}
	return nil
}

// replicaOn is a node's replica of partition 0, nil if it has none.
func replicaOn(c *testCluster, id int32, topic string) *replica {
	n := c.nodes[id].core
	if n == nil || n.state.Topic(topic) == nil {
		return nil
	}
	return n.repl.parts[PartitionID{Topic: n.state.Topic(topic).ID}]
}

// leads waits until a node leads partition 0 and knows it, and returns it.
func leads(c *testCluster, topic string) int32 {
	c.t.Helper()
	var id int32
	c.until(10*time.Second, topic+" has a leader", func() bool {
		p := part(c, topic)
		if p == nil || p.Leader < 0 {
			return false
		}
		id = p.Leader
		r := replicaOn(c, id, topic)
		return r != nil && r.role == replicaLeader && r.state.LeaderEpoch == p.LeaderEpoch
	})
	return id
}

func waitISR(c *testCluster, topic string, want int) {
	c.t.Helper()
	c.until(30*time.Second, fmt.Sprintf("ISR of %s has %d members", topic, want), func() bool { return len(part(c, topic).ISR) == want })
}

// newTopicCluster is a cluster with one topic of one partition, which it waits for.
func newTopicCluster(t *testing.T, cfg func(*Config), configs ...string) (*testCluster, int32) {
	c := newTestCluster(t, 0, cfg)
	c.waitReady()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "orders", 1, 3
	for i := 0; i < len(configs); i += 2 {
		k := kmsg.NewCreateTopicsRequestTopicConfig()
		k.Name, k.Value = configs[i], &configs[i+1]
		rt.Configs = append(rt.Configs, k)
	}
	req.Topics = append(req.Topics, rt)
	if r := call[*kmsg.CreateTopicsResponse](c, 1, req); r.Topics[0].ErrorCode != errNone {
		t.Fatalf("create: code %d", r.Topics[0].ErrorCode)
	}
	return c, leads(c, "orders")
}

func (c *testCluster) isolate(id int32, cut bool) {
	for other := int32(1); other <= 3; other++ {
		if other != id {
			c.cut[[2]int32{id, other}], c.cut[[2]int32{other, id}] = cut, cut
		}
	}
}

// sameLogs waits until all three replicas hold the same log, and returns its bytes.
func sameLogs(c *testCluster, topic string) []byte {
	c.t.Helper()
	id := PartitionID{Topic: c.nodes[1].core.state.Topic(topic).ID}
	all := func(n int32) (data []byte) {
		for _, b := range c.nodes[n].disk.log(id).batches {
			data = append(data, b.data...)
		}
		return data
	}
	c.until(20*time.Second, "the replicas of "+topic+" are the same", func() bool {
		return bytes.Equal(all(1), all(2)) && bytes.Equal(all(1), all(3))
	})
	return all(1)
}

func TestAcknowledgedRecordsOutliveTheirLeader(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	var want []string
	for i := range 20 {
		v := fmt.Sprintf("before-%d", i)
		if a := produce(c, lead, "orders", -1, v); a.ErrorCode != errNone || a.BaseOffset != int64(i) {
			t.Fatalf("record %d: code %d, offset %d", i, a.ErrorCode, a.BaseOffset)
		}
		want = append(want, v)
	}
	c.kill(lead)
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	next := leads(c, "orders")
	if a := produce(c, next, "orders", -1, "after"); a.ErrorCode != errNone || a.BaseOffset != 20 {
		t.Fatalf("after the failover: code %d, offset %d, want 0, 20", a.ErrorCode, a.BaseOffset)
	}
	got := fetch(c, next, "orders", -1, 0)
	if got.HighWatermark != 21 {
		t.Fatalf("high watermark %d, want 21", got.HighWatermark)
	}
	for _, v := range append(want, "after") {
		if !bytes.Contains(got.RecordBatches, []byte(v)) {
			t.Errorf("%s was acknowledged and is not there", v)
		}
	}
	c.start(lead)
	waitISR(c, "orders", 3)
	sameLogs(c, "orders")
}

func TestAnIsolatedLeadersTailIsCut(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	produce(c, lead, "orders", -1, "shared")
	c.isolate(lead, true)
	if a := produce(c, lead, "orders", 1, "alone-1"); a.ErrorCode != errNone || a.BaseOffset != 1 {
		t.Fatalf("acks=1 on the isolated leader: code %d, offset %d", a.ErrorCode, a.BaseOffset)
	}
	produce(c, lead, "orders", 1, "alone-2")
	var waiting *kmsg.ProduceResponse
	c.ask(lead, produceRequest("orders", -1, time.Minute, "alone-3"), func(r kmsg.Response) { waiting = r.(*kmsg.ProduceResponse) })
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	if next := leads(c, "orders"); produce(c, next, "orders", -1, "new").BaseOffset != 1 {
		t.Fatal("the new leader's first record is not behind the shared one")
	}
	if waiting != nil {
		t.Fatalf("an isolated leader answered acks=all: %+v", waiting)
	}
	c.isolate(lead, false)
	waitISR(c, "orders", 3)
	if waiting == nil || waiting.Topics[0].Partitions[0].ErrorCode != errNotLeader {
		t.Fatalf("the deposed leader's waiting producer got %+v, want code %d", waiting, errNotLeader)
	}
	log := sameLogs(c, "orders")
	if !bytes.Contains(log, []byte("new")) || bytes.Contains(log, []byte("alone")) {
		t.Errorf("the log after the cut is %q", log)
	}
	told := slices.ContainsFunc(c.events, func(e history.Event) bool {
		p, ok := e.Body.(*history.Partition)
		return ok && e.Node == lead && p.Cause == "truncation" && p.LogEnd == 1 && p.Topic == "orders"
	})
	if !told {
		t.Error("no event tells of the truncation to 1")
	}
}

func TestProduceErrors(t *testing.T) {
	c, lead := newTopicCluster(t, func(cfg *Config) { cfg.AutoCreate = false }, "min.insync.replicas", "3", "max.message.bytes", "200")
	other := lead%3 + 1
	for _, x := range []struct {
		name  string
		node  int32
		topic string
		acks  int16
		value string
		want  int16
	}{
		{"fine", lead, "orders", -1, "v", errNone},
		{"acks 2", lead, "orders", 2, "v", errInvalidRequiredAcks},
		{"unknown topic", lead, "nope", -1, "v", errUnknownTopicOrPartition},
		{"internal topic", lead, MetaTopic, -1, "v", errInvalidTopic},
		{"impossible name", lead, "a b", -1, "v", errInvalidTopic},
		{"not the leader", other, "orders", -1, "v", errNotLeader},
		{"above max.message.bytes", lead, "orders", -1, strings.Repeat("x", 300), errMessageTooLarge},
	} {
		a := produce(c, x.node, x.topic, x.acks, x.value)
		if a.ErrorCode != x.want {
			t.Errorf("%s: code %d, want %d", x.name, a.ErrorCode, x.want)
		}
		if x.want == errNotLeader && a.CurrentLeader.LeaderID != lead {
			t.Errorf("%s: names n%d as the leader, want n%d", x.name, a.CurrentLeader.LeaderID, lead)
		}
	}
	if r := replicaOn(c, lead, "orders"); r.end != 1 {
		t.Errorf("log end %d: refused batches were appended", r.end)
	}
	req := produceRequest("orders", -1, time.Second, "v")
	req.Topics[0].Partitions[0].Partition = 7
	if a := call[*kmsg.ProduceResponse](c, lead, req).Topics[0].Partitions[0]; a.ErrorCode != errUnknownTopicOrPartition {
		t.Errorf("unknown partition: code %d", a.ErrorCode)
	}
}

func TestProduceWithTooFewInSync(t *testing.T) {
	c, lead := newTopicCluster(t, nil, "min.insync.replicas", "3")
	victim := lead%3 + 1
	c.kill(victim)
	// The ISR is whole still: what is appended now waits for the dead member until its time is over, or until it left.
	var late, shrunk kmsg.ProduceResponseTopicPartition
	c.ask(lead, produceRequest("orders", -1, 200*time.Millisecond, "late"), func(r kmsg.Response) { late = r.(*kmsg.ProduceResponse).Topics[0].Partitions[0] })
	c.ask(lead, produceRequest("orders", -1, time.Minute, "shrunk"), func(r kmsg.Response) { shrunk = r.(*kmsg.ProduceResponse).Topics[0].Partitions[0] })
	c.run(300 * time.Millisecond)
	if late.ErrorCode != errRequestTimedOut {
		t.Errorf("time over: code %d, want %d", late.ErrorCode, errRequestTimedOut)
	}
	waitISR(c, "orders", 2)
	c.run(time.Second)
	if shrunk.ErrorCode != errNotEnoughAfterAppend {
		t.Errorf("ISR too small after the append: code %d, want %d", shrunk.ErrorCode, errNotEnoughAfterAppend)
	}
	lead = leads(c, "orders")
	end := replicaOn(c, lead, "orders").end
	if a := produce(c, lead, "orders", -1, "refused"); a.ErrorCode != errNotEnoughReplicas {
		t.Errorf("ISR too small before the append: code %d, want %d", a.ErrorCode, errNotEnoughReplicas)
	}
	if now := replicaOn(c, lead, "orders").end; now != end {
		t.Errorf("log end %d, want %d: code %d means surely not appended", now, end, errNotEnoughReplicas)
	}
	if a := produce(c, lead, "orders", 1, "acks=1"); a.ErrorCode != errNone {
		t.Errorf("acks=1 with a small ISR: code %d", a.ErrorCode)
	}
	if w := c.nodes[lead].core.Stats().Waiters; w != 0 {
		t.Errorf("%d requests still wait", w)
	}
}

func TestProduceWithoutAcknowledgement(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	c.ask(lead, produceRequest("orders", 0, time.Second, "v"), func(kmsg.Response) { t.Error("acks=0 was answered") })
	c.run(100 * time.Millisecond)
	if r := replicaOn(c, lead, "orders"); r.hw != 1 || c.nodes[lead].closed != 0 {
		t.Errorf("high watermark %d, %d connections closed, want 1, 0", r.hw, c.nodes[lead].closed)
	}
	other := lead%3 + 1
	c.ask(other, produceRequest("orders", 0, time.Second, "v"), func(kmsg.Response) { t.Error("acks=0 was answered") })
	if c.nodes[other].closed != 1 {
		t.Error("acks=0 at the wrong node must close the connection: the client learns nothing otherwise")
	}
}

func TestProduceCreatesItsTopicThroughAnyNode(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	follower := c.leader()%3 + 1
	a := produce(c, follower, "fresh", -1, "v")
	if part(c, "fresh") == nil {
		t.Fatalf("not created (code %d)", a.ErrorCode)
	}
	if lead := leads(c, "fresh"); lead == follower && a.ErrorCode != errNone || lead != follower && a.ErrorCode != errNotLeader {
		t.Errorf("n%d leads, n%d answered code %d", lead, follower, a.ErrorCode)
	}
	created := slices.ContainsFunc(c.events, func(e history.Event) bool {
		p, ok := e.Body.(*history.Apply)
		return ok && p.Key == "fresh" && p.Via == follower && p.Cause == "auto_create_produce"
	})
	if !created {
		t.Error("no entry says that the topic was created through the follower")
	}
}

func TestProduceWaitsForTheDisk(t *testing.T) {
	c, lead := newTopicCluster(t, func(cfg *Config) { cfg.MaxQueuedDiskBytes = 1 })
	n := c.nodes[lead]
	var offsets []int64
	for i := range 5 {
		n.corr++
		n.awaits[n.corr] = func(r kmsg.Response) {
			offsets = append(offsets, r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset)
		}
		c.step(n, &ClientRequest{Conn: 1 << 40, Corr: n.corr, Req: produceRequest("orders", 1, time.Second, fmt.Sprint(i))})
		if i > 0 && replicaOn(c, lead, "orders").end != 1 {
			t.Fatal("appended although the disk's queue is full")
		}
	}
	if len(n.core.repl.backlog) != 4 {
		t.Fatalf("%d requests wait, want 4", len(n.core.repl.backlog))
	}
	c.run(50 * time.Millisecond)
	if !slices.Equal(offsets, []int64{0, 1, 2, 3, 4}) {
		t.Errorf("offsets %v: not in order", offsets)
	}
	if s := n.core.Stats(); s.QueuedBytes != 0 || s.Waiters != 0 {
		t.Errorf("at rest %d bytes are queued and %d requests wait", s.QueuedBytes, s.Waiters)
	}
}

func TestFetchWaitsAndWakes(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	var got *kmsg.FetchResponse
	c.ask(lead, fetchRequest("orders", -1, 0, time.Second), func(r kmsg.Response) { got = r.(*kmsg.FetchResponse) })
	c.run(200 * time.Millisecond)
	if got != nil {
		t.Fatal("answered though there was nothing")
	}
	produce(c, lead, "orders", -1, "wake")
	if got == nil || len(got.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("not woken by the high watermark: %+v", got)
	}
	got = nil
	asked := c.now
	c.ask(lead, fetchRequest("orders", -1, 1, time.Second), func(r kmsg.Response) { got = r.(*kmsg.FetchResponse) })
	c.until(2*time.Second, "MaxWait ends it", func() bool { return got != nil })
	if waited := time.Duration(c.now - asked); waited < time.Second || waited > 1100*time.Millisecond || got.Topics[0].Partitions[0].RecordBatches == nil {
		t.Errorf("an empty fetch came back after %v: %+v", waited, got)
	}
	got = nil
	many := fetchRequest("orders", -1, 1, time.Second)
	many.MinBytes = 150
	c.ask(lead, many, func(r kmsg.Response) { got = r.(*kmsg.FetchResponse) })
	produce(c, lead, "orders", -1, "small")
	if got != nil {
		t.Error("answered below MinBytes")
	}
	produce(c, lead, "orders", -1, strings.Repeat("x", 100))
	if got == nil {
		t.Error("not answered though MinBytes are there")
	}
	// A closed connection's fetch is forgotten.
	n := c.nodes[lead]
	c.ask(lead, fetchRequest("orders", -1, 3, time.Hour), func(kmsg.Response) {})
	c.step(n, ConnClosed{ConnID(n.corr)})
	c.run(3 * time.Second)
	if slices.ContainsFunc(n.core.repl.parked, func(f *fetchCall) bool { return f.kind == fetchConsumer }) {
		t.Error("the fetch of a closed connection is still parked")
	}
}

func TestFetchErrorsAndReaders(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	other := lead%3 + 1
	for i := range 3 {
		produce(c, lead, "orders", -1, fmt.Sprint(i))
	}
	c.run(100 * time.Millisecond)
	epoch := part(c, "orders").LeaderEpoch
	for _, x := range []struct {
		name    string
		node    int32
		replica int32
		edit    func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)
		want    int16
	}{
		{"fine", lead, -1, nil, errNone},
		{"not the leader", other, -1, nil, errNotLeader},
		{"the debugging consumer at a follower", other, -2, nil, errNone},
		{"as a follower through the clients' door", lead, other, nil, errClusterAuthorization},
		{"beyond the log end", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 4 }, errOffsetOutOfRange},
		{"at the log end", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 3 }, errNone},
		{"below the log start", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -1 }, errOffsetOutOfRange},
		{"this epoch", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch }, errNone},
		{"future epoch", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch + 1 }, errUnknownLeaderEpoch},
		{"unknown topic", lead, -1, func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics[0].Topic = "nope" }, errUnknownTopicOrPartition},
		{"unknown topic id", lead, -1, func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
			r.Version, r.Topics[0].TopicID = 13, [16]byte{9}
		}, errUnknownTopicID},
		{"unknown partition", lead, -1, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 1 }, errUnknownTopicOrPartition},
	} {
		req := fetchRequest("orders", x.replica, 0, 0)
		if x.edit != nil {
			x.edit(req, &req.Topics[0].Partitions[0])
		}
		if a := call[*kmsg.FetchResponse](c, x.node, req).Topics[0].Partitions[0]; a.ErrorCode != x.want || x.want == errNone && a.HighWatermark != 3 {
			t.Errorf("%s: code %d, high watermark %d; want code %d", x.name, a.ErrorCode, a.HighWatermark, x.want)
		}
	}
	session := fetchRequest("orders", -1, 0, 0)
	session.SessionID = 5
	if r := call[*kmsg.FetchResponse](c, lead, session); r.ErrorCode != errFetchSessionNotFound {
		t.Errorf("a fetch session that was never given: code %d", r.ErrorCode)
	}
}

func TestAStaleEpochIsFenced(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	produce(c, lead, "orders", -1, "a")
	old := part(c, "orders").LeaderEpoch
	c.kill(lead)
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	lead = leads(c, "orders")
	produce(c, lead, "orders", -1, "b")
	now := part(c, "orders").LeaderEpoch

	req := fetchRequest("orders", -1, 0, 0)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = old
	if a := call[*kmsg.FetchResponse](c, lead, req).Topics[0].Partitions[0]; a.ErrorCode != errFencedLeaderEpoch || a.CurrentLeader.LeaderEpoch != now {
		t.Errorf("fetch in epoch %d: code %d, told of epoch %d", old, a.ErrorCode, a.CurrentLeader.LeaderEpoch)
	}
	ask := func(current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version, req.ReplicaID = 4, -1
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = current, epoch
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic, rt.Partitions = "orders", []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
		req.Topics = append(req.Topics, rt)
		return call[*kmsg.OffsetForLeaderEpochResponse](c, lead, req).Topics[0].Partitions[0]
	}
	if a := ask(now, old); a.ErrorCode != errNone || a.LeaderEpoch != old || a.EndOffset != 1 {
		t.Errorf("where epoch %d ended: %+v", old, a)
	}
	if a := ask(now, now); a.EndOffset != 2 {
		t.Errorf("where epoch %d ends: %+v", now, a)
	}
	if a := ask(now, now+1); a.EndOffset != -1 || a.LeaderEpoch != -1 {
		t.Errorf("a future epoch's end: %+v", a)
	}
	if a := ask(old, old); a.ErrorCode != errFencedLeaderEpoch {
		t.Errorf("asked in epoch %d: code %d", old, a.ErrorCode)
	}
}

func TestListOffsets(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	other := lead%3 + 1
	ask := func(node, replica int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID = 7, replica
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = timestamp, -1
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic, rt.Partitions = "orders", []kmsg.ListOffsetsRequestTopicPartition{p}
		req.Topics = append(req.Topics, rt)
		return call[*kmsg.ListOffsetsResponse](c, node, req).Topics[0].Partitions[0]
	}
	if a := ask(lead, -1, offsetsMaxTimestamp); a.Offset != -1 || a.ErrorCode != errNone {
		t.Errorf("the newest time of an empty log: %+v", a)
	}
	produce(c, lead, "orders", -1, "a", "b")
	produce(c, lead, "orders", -1, "c")
	c.run(100 * time.Millisecond)
	for _, x := range []struct {
		name      string
		node      int32
		replica   int32
		timestamp int64
		code      int16
		offset    int64
	}{
		{"latest", lead, -1, offsetsLatest, errNone, 3},
		{"earliest", lead, -1, offsetsEarliest, errNone, 0},
		{"earliest local", lead, -1, offsetsEarliestLocal, errNone, 0},
		{"tiered", lead, -1, -5, errNone, -1},
		{"a time that all have", lead, -1, 0, errNone, 0},
		{"a time that none has", lead, -1, 1, errNone, -1},
		{"newest time", lead, -1, offsetsMaxTimestamp, errNone, 1},
		{"not the leader", other, -1, offsetsLatest, errNotLeader, -1},
		{"the debugging consumer at a follower", other, -2, offsetsLatest, errNone, 3},
	} {
		if a := ask(x.node, x.replica, x.timestamp); a.ErrorCode != x.code || a.Offset != x.offset {
			t.Errorf("%s: code %d, offset %d; want %d, %d", x.name, a.ErrorCode, a.Offset, x.code, x.offset)
		}
	}
}

func TestColdReads(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	value := strings.Repeat("v", 400<<10)
	for i := range 6 { // more than a replica keeps in memory
		if a := produce(c, lead, "orders", -1, fmt.Sprintf("%d-%s", i, value)); a.ErrorCode != errNone {
			t.Fatal(a.ErrorCode)
		}
	}
	if _, cached := replicaOn(c, lead, "orders").cache.find(0); cached {
		t.Fatal("nothing has left the cache: the test proves nothing")
	}
	for offset := int64(0); offset < 6; {
		a := fetch(c, lead, "orders", -1, offset)
		if a.ErrorCode != errNone || len(a.RecordBatches) == 0 {
			t.Fatalf("at offset %d: code %d, %d bytes", offset, a.ErrorCode, len(a.RecordBatches))
		}
		base, next, size := testBatchBounds(a.RecordBatches)
		if base != offset || !bytes.Contains(a.RecordBatches[:size], []byte(fmt.Sprintf("%d-v", offset))) {
			t.Fatalf("at offset %d: a batch of %d to %d", offset, base, next)
		}
		offset = next
	}
	// A new replica that has lost everything is brought up from the disk as well.
	victim := lead%3 + 1
	c.kill(victim)
	c.nodes[victim].disk.logs = map[PartitionID]*testLog{}
	c.nodes[victim].disk.ids = nil
	waitISR(c, "orders", 2)
	c.start(victim)
	waitISR(c, "orders", 3)
	sameLogs(c, "orders")
}

// A follower that cannot reach its leader, though the controller hears both, leaves the ISR by the leader's own judgement, and comes back.
func TestALaggingFollowerLeavesAndReturns(t *testing.T) {
	c := newTestCluster(t, 0, func(cfg *Config) { cfg.InitialLeader = InitialLeaderBalanced })
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	c.run(time.Second)
	ctl := c.leader()
	st := c.nodes[ctl].core.state.Topic("orders")
	p := slices.IndexFunc(st.Partitions, func(p *meta.Partition) bool { return p.Leader != ctl })
	lead := st.Partitions[p].Leader
	follower := 6 - ctl - lead
	c.cut[[2]int32{follower, lead}] = true
	req := produceRequest("orders", -1, 10*time.Second, "v")
	req.Topics[0].Partitions[0].Partition = int32(p)
	if a := call[*kmsg.ProduceResponse](c, lead, req).Topics[0].Partitions[0]; a.ErrorCode != errNone {
		t.Fatalf("produce beside a lagging follower: code %d", a.ErrorCode)
	}
	if isr := st.Partitions[p].ISR; slices.Contains(isr, follower) || len(isr) != 2 || st.Partitions[p].Leader != lead {
		t.Fatalf("ISR %v led by n%d after n%d lagged", isr, st.Partitions[p].Leader, follower)
	}
	claim := slices.ContainsFunc(c.events, func(e history.Event) bool {
		x, ok := e.Body.(*history.Claim)
		return ok && e.Node == lead && x.What == "isr_changed" && x.Key == fmt.Sprintf("orders-%d", p) && x.Index > 0
	})
	if !claim {
		t.Error("the leader claims no change of the ISR")
	}
	delete(c.cut, [2]int32{follower, lead})
	c.until(5*time.Second, "the follower is back in the ISR", func() bool { return len(st.Partitions[p].ISR) == 3 })
}

func TestADeletedTopicLeavesNothing(t *testing.T) {
	c, lead := newTopicCluster(t, nil, "min.insync.replicas", "1")
	produce(c, lead, "orders", -1, "v")
	c.run(50 * time.Millisecond)
	id := replicaOn(c, lead, "orders").id
	var produced kmsg.ProduceResponseTopicPartition
	var fetched kmsg.FetchResponseTopicPartition
	third := lead%3 + 1
	c.cut[[2]int32{third, lead}] = true // so that acks=all waits
	c.ask(lead, produceRequest("orders", -1, time.Minute, "w"), func(r kmsg.Response) { produced = r.(*kmsg.ProduceResponse).Topics[0].Partitions[0] })
	c.ask(lead, fetchRequest("orders", -1, 1, time.Minute), func(r kmsg.Response) { fetched = r.(*kmsg.FetchResponse).Topics[0].Partitions[0] })
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 5, []string{"orders"}
	call[*kmsg.DeleteTopicsResponse](c, lead, req)
	c.cut = map[[2]int32]bool{}
	c.run(time.Second)
	if produced.ErrorCode != errUnknownTopicOrPartition || fetched.ErrorCode != errUnknownTopicOrPartition {
		t.Errorf("waiting produce got code %d, waiting fetch %d, want %d", produced.ErrorCode, fetched.ErrorCode, errUnknownTopicOrPartition)
	}
	for n := int32(1); n <= 3; n++ {
		if c.nodes[n].disk.logs[id] != nil {
			t.Errorf("n%d still has the log", n)
		}
		if s := c.nodes[n].core.Stats(); s.Partitions != 1 || s.Waiters != 0 || s.QueuedBytes != 0 {
			t.Errorf("n%d: %d partitions, %d waiters, %d bytes queued; want __meta-0 alone", n, s.Partitions, s.Waiters, s.QueuedBytes)
		}
	}
}

func TestARestartedFollowersOldFetchIsRefused(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	n := c.nodes[lead].core
	other := lead%3 + 1
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaState.ID, req.ReplicaState.Epoch = other, 0
	n.Step(c.now, PeerInput{&PeerMessage{From: other, To: lead, FromBoot: 0, Fetch: &PeerFetch{Num: 77, Req: req}}})
	out := n.Ready()
	i := slices.IndexFunc(out.Messages, func(m *PeerMessage) bool { return m.FetchResp != nil && m.FetchResp.Num == 77 })
	if i < 0 || out.Messages[i].FetchResp.Resp.ErrorCode != errStaleBrokerEpoch {
		t.Fatalf("a fetch of another boot is answered by %+v", out.Messages)
	}
}

// A node that comes back finds in its raft log that it leads. That is the past: until its registration in this boot is applied it leads
// nothing, answers nothing from its logs, and takes nothing.
func TestARestartedNodeDoesNotLeadByItsOldLog(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	produce(c, lead, "orders", -1, "v")
	c.kill(lead)
	c.isolate(lead, true)
	c.start(lead)
	c.run(300 * time.Millisecond)
	if n := c.nodes[lead].core; n.state.Topic("orders") == nil || n.state.Topic("orders").Partitions[0].Leader != lead {
		t.Fatal("its log does not say that it leads: the test proves nothing")
	}
	if a := produce(c, lead, "orders", 1, "w"); a.ErrorCode != errNotLeader || a.CurrentLeader.LeaderID != -1 {
		t.Errorf("produce: code %d, names leader %d", a.ErrorCode, a.CurrentLeader.LeaderID)
	}
	if a := fetch(c, lead, "orders", -1, 0); a.ErrorCode != errNotLeader {
		t.Errorf("fetch: code %d", a.ErrorCode)
	}
	if r := replicaOn(c, lead, "orders"); r.role != replicaIdle || r.end != 1 {
		t.Errorf("role %s, log end %d", r.role, r.end)
	}
	c.isolate(lead, false)
	waitISR(c, "orders", 3)
	if a := produce(c, leads(c, "orders"), "orders", -1, "x"); a.BaseOffset != 1 || part(c, "orders").LeaderEpoch == 0 {
		t.Errorf("after its return: offset %d in epoch %d", a.BaseOffset, part(c, "orders").LeaderEpoch)
	}
}
