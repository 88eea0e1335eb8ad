package core

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/partlog/batch/batchtest"
	"soak/history"
)

// configured creates a topic of one partition whose leader is the controller, with configurations.
func configured(c *testCluster, topic string, pairs ...string) (leader int32) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 3
	for i := 0; i < len(pairs); i += 2 {
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		kv.Name, kv.Value = pairs[i], &pairs[i+1]
		rt.Configs = append(rt.Configs, kv)
	}
	req.Topics = append(req.Topics, rt)
	if r := call[*kmsg.CreateTopicsResponse](c, c.leader(), req); r.Topics[0].ErrorCode != errNone {
		c.t.Fatalf("creating %s: code %d", topic, r.Topics[0].ErrorCode)
	}
	return c.nodes[c.leader()].core.state.Topic(topic).Partitions[0].Leader
}

// produceNow produces a batch that carries the present time.
func produceNow(c *testCluster, id int32, topic string, values ...string) {
	c.t.Helper()
	req := produceRequest(topic, -1, 5*time.Second, values...)
	batchtest.At(req.Topics[0].Partitions[0].Records, c.now/int64(time.Millisecond))
	if r := call[*kmsg.ProduceResponse](c, id, req); r.Topics[0].Partitions[0].ErrorCode != errNone {
		c.t.Fatalf("produce: code %d", r.Topics[0].Partitions[0].ErrorCode)
	}
}

func replicaAt(c *testCluster, id int32, topic string) *replica {
	n := c.nodes[id].core
	return n.repl.parts[PartitionID{Topic: n.state.Topic(topic).ID}]
}

func starts(c *testCluster, topic string) (out []int64) {
	for id := int32(1); id <= 3; id++ {
		out = append(out, replicaAt(c, id, topic).start)
	}
	return out
}

func earliest(c *testCluster, id int32, topic string) int64 {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -2, -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.ListOffsetsRequestTopicPartition{p}
	req.Topics = append(req.Topics, rt)
	return call[*kmsg.ListOffsetsResponse](c, id, req).Topics[0].Partitions[0].Offset
}

func quick(x *Config) { x.RetentionCheck = time.Second }

func TestRetentionByAge(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	lead := configured(c, "orders", "retention.ms", "10000")
	produceNow(c, lead, "orders", "a", "b")
	c.run(6 * time.Second)
	lead = part(c, "orders").Leader // a rebalance may have come between
	produceNow(c, lead, "orders", "c")
	if got := starts(c, "orders"); !slices.Equal(got, []int64{0, 0, 0}) {
		t.Fatalf("after 6 s the logs begin at %v", got)
	}
	c.run(6 * time.Second)
	lead = part(c, "orders").Leader
	if got := starts(c, "orders"); !slices.Equal(got, []int64{2, 2, 2}) {
		t.Fatalf("after 12 s the logs begin at %v, the first batch is older than 10 s", got)
	}
	if got := earliest(c, lead, "orders"); got != 2 {
		t.Errorf("ListOffsets says that it begins at %d", got)
	}
	if a := fetch(c, lead, "orders", -1, 1); a.ErrorCode != errOffsetOutOfRange || a.LogStartOffset != 2 {
		t.Errorf("a fetch below the start: code %d, log start %d", a.ErrorCode, a.LogStartOffset)
	}
	if a := fetch(c, lead, "orders", -1, 2); a.ErrorCode != errNone || len(a.RecordBatches) == 0 || a.LogStartOffset != 2 {
		t.Errorf("a fetch at the start: code %d, %d bytes, log start %d", a.ErrorCode, len(a.RecordBatches), a.LogStartOffset)
	}
	// A restart keeps it, and another leader has it too.
	c.kill(lead)
	c.start(lead)
	c.waitReady()
	c.until(5*time.Second, "another leader", func() bool {
		l := part(c, "orders").Leader
		return l > 0 && replicaAt(c, l, "orders").role == replicaLeader
	})
	if got := replicaAt(c, lead, "orders").start; got != 2 && got != 3 {
		t.Errorf("after a restart n%d's log begins at %d", lead, got)
	}
	// The last batch goes as well, and the log goes on where it ended.
	c.run(12 * time.Second)
	lead = part(c, "orders").Leader
	if got := replicaAt(c, lead, "orders"); got.start != 3 || got.end != 3 {
		t.Errorf("the leader's log holds %d to %d", got.start, got.end)
	}
	produceNow(c, lead, "orders", "d")
	if a := fetch(c, lead, "orders", -1, 3); a.ErrorCode != errNone || len(a.RecordBatches) == 0 {
		t.Errorf("what came afterwards: code %d, %d bytes", a.ErrorCode, len(a.RecordBatches))
	}
}

func TestRetentionBySize(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	configured(c, "orders", "retention.bytes", "300")
	for range 20 {
		produceNow(c, part(c, "orders").Leader, "orders", "0123456789")
	}
	c.run(3 * time.Second)
	r := replicaAt(c, part(c, "orders").Leader, "orders")
	size := 0
	for _, b := range c.nodes[part(c, "orders").Leader].disk.logs[r.id].batches {
		size += len(b.data)
	}
	if r.start == 0 || r.end != 20 || size < 300 || size > 400 {
		t.Errorf("the log holds %d to %d in %d bytes", r.start, r.end, size)
	}
	if got := starts(c, "orders"); got[0] != got[1] || got[1] != got[2] {
		t.Errorf("the logs begin at %v", got)
	}
}

// Without a wish of the topic nothing ever goes.
func TestRetentionIsOffByDefault(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	lead := configured(c, "orders")
	produceNow(c, lead, "orders", "a")
	batches := c.nodes[lead].disk.logs[replicaAt(c, lead, "orders").id].batches
	batchtest.At(batches[0].data, 1) // as old as a batch can be
	c.run(10 * time.Second)
	if got := starts(c, "orders"); !slices.Equal(got, []int64{0, 0, 0}) {
		t.Errorf("the logs begin at %v", got)
	}
}

// A leader tells what it decides by before it has its disk do it, and every replica where its log begins once that is done: a checker judges by both.
func TestLogStartsAreTold(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	produceNow(c, configured(c, "orders", "retention.ms", "5000"), "orders", "a", "b")
	c.run(3 * time.Second)
	produceNow(c, part(c, "orders").Leader, "orders", "c") // followers keep their last segment
	c.until(20*time.Second, "all logs begin behind them", func() bool { return slices.Equal(starts(c, "orders"), []int64{2, 2, 2}) })
	causes := map[string]int{}
	for id := int32(1); id <= 3; id++ {
		var decided *history.Partition
		for _, e := range c.events {
			p, ok := e.Body.(*history.Partition)
			if !ok || e.Node != id || p.Topic != "orders" {
				continue
			}
			if p.Cause == history.CauseRetention {
				decided = p
			}
			if p.LogStart == 0 {
				continue
			}
			causes[p.Cause]++
			if p.LogStart != 2 || p.HighWatermark != 3 {
				t.Errorf("n%d told %+v", id, p)
			}
			if p.Cause == history.CauseRetained && (decided == nil || decided.Role != "leader" || decided.LogStart != 0 || decided.HighWatermark != 3 || decided.LogEnd != 3) {
				t.Errorf("n%d decided by %+v", id, decided)
			}
			break
		}
	}
	if n := causes[history.CauseRetained]; n == 0 || n+causes[history.CauseFollowed] != 3 {
		t.Errorf("log starts were told with the causes %v", causes)
	}
}

// What a member of the ISR does not have stays, however old it is: it is above the high watermark.
func TestRetentionStopsAtTheHighWatermark(t *testing.T) {
	c := newTestCluster(t, 0, func(x *Config) { quick(x); x.SessionTimeout, x.ReplicaLag = time.Hour, time.Hour })
	c.waitReady()
	lead := configured(c, "orders", "retention.ms", "1000")
	produceNow(c, lead, "orders", "a")
	for id := int32(1); id <= 3; id++ {
		if id != lead {
			c.lose = func(m *PeerMessage) bool { return m.FetchResp != nil }
		}
	}
	req := produceRequest("orders", 1, time.Second, "b")
	batchtest.At(req.Topics[0].Partitions[0].Records, c.now/int64(time.Millisecond))
	call[*kmsg.ProduceResponse](c, lead, req)
	c.run(10 * time.Second)
	if r := replicaAt(c, lead, "orders"); r.start != 1 || r.hw != 1 || r.end != 2 {
		t.Errorf("the log holds %d to %d, high watermark %d", r.start, r.end, r.hw)
	}
}

// A follower whose log ends below its leader's start begins anew there, and comes back into the ISR.
func TestAFollowerBelowTheLogStart(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	lead := configured(c, "orders", "retention.ms", "5000")
	produceNow(c, lead, "orders", "a", "b")
	c.run(500 * time.Millisecond)
	gone := lead%3 + 1
	c.kill(gone)
	c.until(5*time.Second, "the ISR goes on without it", func() bool { return len(part(c, "orders").ISR) == 2 })
	for range 5 {
		produceNow(c, part(c, "orders").Leader, "orders", "c", "d")
		c.run(time.Second)
	}
	c.run(7 * time.Second)
	produceNow(c, part(c, "orders").Leader, "orders", "e")
	if r := replicaAt(c, part(c, "orders").Leader, "orders"); r.start != 12 || r.end != 13 {
		t.Fatalf("the leader's log holds %d to %d", r.start, r.end)
	}
	c.start(gone)
	c.waitReady()
	c.until(10*time.Second, "it is in the ISR again", func() bool { return len(part(c, "orders").ISR) == 3 })
	if r := replicaAt(c, gone, "orders"); r.start != 12 || r.end != 13 || r.durable != 13 {
		t.Errorf("n%d's log holds %d to %d, durable to %d", gone, r.start, r.end, r.durable)
	}
	restarted := false
	for _, e := range c.events {
		if p, ok := e.Body.(*history.Partition); ok && e.Node == gone && p.Cause == history.CauseRestart {
			restarted = true
			if p.LogStart != 12 || p.HighWatermark != 12 || p.LogEnd != 12 {
				t.Errorf("n%d began anew with %+v", gone, p)
			}
		}
	}
	if !restarted {
		t.Errorf("n%d has not told that it began anew", gone)
	}
}

// A follower whose log ends just where its leader's begins, with records of its own before that, gives them up: the leader cannot tell any more that they are not
// what was committed. Once in the ISR it would show them to consumers, and to whom it leads.
func TestAFollowerThatEndsAtTheLogStart(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	lead := configured(c, "orders", "retention.ms", "5000")
	produceNow(c, lead, "orders", "shared")
	c.run(500 * time.Millisecond)
	lead = part(c, "orders").Leader
	c.isolate(lead, true)
	req := produceRequest("orders", 1, time.Second, "alone")
	batchtest.At(req.Topics[0].Partitions[0].Records, c.now/int64(time.Millisecond)+int64(time.Hour/time.Millisecond)) // never old enough for itself
	call[*kmsg.ProduceResponse](c, lead, req)
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	produceNow(c, leads(c, "orders"), "orders", "committed")
	c.until(20*time.Second, "all that was committed has gone", func() bool {
		r := replicaAt(c, part(c, "orders").Leader, "orders")
		return r.role == replicaLeader && r.start == 2 && r.end == 2
	})
	if r := replicaAt(c, lead, "orders"); r.start > 1 || r.end != 2 {
		t.Fatalf("the log of the one that was alone holds %d to %d, and was to end where its leader's begins", r.start, r.end)
	}
	c.isolate(lead, false)
	waitISR(c, "orders", 3)
	if r := replicaAt(c, lead, "orders"); r.start != 2 || r.end != 2 {
		t.Errorf("in the ISR again its log holds %d to %d", r.start, r.end)
	}
	for _, b := range c.nodes[lead].disk.logs[replicaAt(c, lead, "orders").id].batches {
		t.Errorf("n%d holds %q", lead, b.data)
	}
}

// A follower whose log is empty, by retention, and begins beyond its leader's end begins anew as well: its leader, the last in-sync replica, has lost unsynced records
// with its power, and gives their offsets to new ones. To wait until it reaches that far would leave the follower without those.
func TestAnEmptyFollowerBeyondItsLeadersEnd(t *testing.T) {
	c := newTestCluster(t, 0, quick)
	c.waitReady()
	produceNow(c, configured(c, "orders"), "orders", "a")
	c.run(time.Second)
	id := part(c, "orders").Leader%3 + 1
	n, r := c.nodes[id].core, replicaAt(c, id, "orders")
	n.restartLog(r, 5)
	c.run(10 * time.Millisecond)
	a := kmsg.NewFetchResponseTopicPartition()
	a.ErrorCode, a.LogStartOffset = errOffsetOutOfRange, 0
	n.fetched(r, &a)
	if r.start != 0 || r.end != 0 {
		t.Errorf("its log holds %d to %d, its leader's begins at 0", r.start, r.end)
	}
	// One with records is told where they part from its leader's, and waits for that.
	r.end = 3
	a.LogStartOffset = 1
	if n.fetched(r, &a); r.start != 0 || r.end != 3 {
		t.Errorf("with records: its log holds %d to %d", r.start, r.end)
	}
}
