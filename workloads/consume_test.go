package workloads

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

// fakeCluster is some fake brokers that serve one topic, "orders".
type fakeCluster struct {
	brokers map[int32]*fakeBroker

	mu      sync.Mutex
	logs    []*fakePartition // by partition
	changed chan struct{}
	fetch   func(node int32, req *kmsg.FetchRequest) (drop bool) // may be nil; looks at each fetch
}

// fakePartition is a partition: who leads it, what the metadata says of that, and its records, all of which are below the high watermark.
type fakePartition struct {
	leader, epoch         int32
	saidLeader, saidEpoch int32
	values                [][]byte
}

func newFakeCluster(t *testing.T, nodes, partitions int32) *fakeCluster {
	f := &fakeCluster{brokers: map[int32]*fakeBroker{}, changed: make(chan struct{})}
	for p := range partitions {
		f.logs = append(f.logs, &fakePartition{})
		f.lead(p, 1+p%nodes, 0)
	}
	for id := int32(1); id <= nodes; id++ {
		var b *fakeBroker
		b = newFakeBroker(t, func(req kmsg.Request) kmsg.Response {
			switch req := req.(type) {
			case *kmsg.MetadataRequest:
				if req.AllowAutoTopicCreation {
					t.Error("a consumer's Metadata may create topics")
				}
				return f.metadata(req)
			case *kmsg.FetchRequest:
				return f.fetched(id, req, b.hang)
			}
			t.Errorf("asked for %T", req)
			return nil
		})
		f.brokers[id] = b
	}
	return f
}

// change does something to the cluster, which answers the fetches that wait.
func (f *fakeCluster) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

// lead makes a node the leader of a partition, and has the metadata say so.
func (f *fakeCluster) lead(p, leader, epoch int32) {
	l := f.logs[p]
	l.leader, l.epoch, l.saidLeader, l.saidEpoch = leader, epoch, leader, epoch
}

// add appends records to a partition.
func (f *fakeCluster) add(p int32, count int) {
	l := f.logs[p]
	for range count {
		l.values = append(l.values, gen.AppendValue(nil, gen.Header{
			Run: testRun, Producer: 1, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", p), Seq: uint64(len(l.values)),
		}, 90, 1))
	}
}

func (f *fakeCluster) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	resp := kmsg.NewPtrMetadataResponse()
	for _, asked := range req.Topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = asked.Topic
		for p, l := range f.logs {
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader, rp.LeaderEpoch = int32(p), l.saidLeader, l.saidEpoch
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// fetched answers when there is something to say, or after the time that the fetch waits.
func (f *fakeCluster) fetched(node int32, req *kmsg.FetchRequest, hang <-chan struct{}) kmsg.Response {
	wait := time.NewTimer(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	defer wait.Stop()
	for late := false; ; {
		f.mu.Lock()
		if f.fetch != nil && f.fetch(node, req) {
			f.mu.Unlock()
			return nil
		}
		resp, news := f.answer(node, req)
		changed := f.changed
		f.mu.Unlock()
		if news || late {
			return resp
		}
		select {
		case <-changed:
		case <-wait.C:
			late = true
		case <-hang:
			return nil
		}
	}
}

func (f *fakeCluster) answer(node int32, req *kmsg.FetchRequest) (_ kmsg.Response, news bool) {
	resp := kmsg.NewPtrFetchResponse()
	for _, asked := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = asked.Topic
		for _, p := range asked.Partitions {
			l := f.logs[p.Partition]
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.HighWatermark = p.Partition, int64(len(l.values))
			switch {
			case l.leader != node:
				rp.ErrorCode = protocol.CodeNotLeader
			case p.CurrentLeaderEpoch < l.epoch:
				rp.ErrorCode = protocol.CodeFencedLeaderEpoch
			case p.CurrentLeaderEpoch > l.epoch:
				rp.ErrorCode = protocol.CodeUnknownLeaderEpoch
			case p.FetchOffset > int64(len(l.values)):
				rp.ErrorCode = protocol.CodeOffsetOutOfRange
			case p.FetchOffset < int64(len(l.values)):
				rp.RecordBatches = batchAt(p.FetchOffset, l.values[p.FetchOffset:]...)
			}
			news = news || rp.ErrorCode != protocol.CodeNone || len(rp.RecordBatches) > 0
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, news
}

// along is consumers that read a fake cluster along.
type along struct {
	t    *testing.T
	c    *Clients
	stop func() // and waits for Read to return

	mu    sync.Mutex
	ops   []*history.Operation
	given chan struct{} // a token when there is another operation
}

func (f *fakeCluster) readAlong(t *testing.T, readers int) *along {
	t.Helper()
	addrs := map[int32]string{}
	for id, b := range f.brokers {
		addrs[id] = b.addr()
	}
	a := &along{t: t, c: newClients(t, Config{Addrs: addrs, RunHash: testRun}), given: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	a.stop = sync.OnceFunc(func() { cancel(); <-returned })
	t.Cleanup(a.stop)
	topics := []history.TopicInfo{{Name: "orders", Partitions: int32(len(f.logs))}}
	go func() {
		defer close(returned)
		a.c.Read(ctx, topics, readers, func() int64 { return time.Now().UnixNano() }, func(op *history.Operation) {
			a.mu.Lock()
			a.ops = append(a.ops, op)
			a.mu.Unlock()
			poke(a.given)
		})
	}()
	return a
}

// of is what was given of a partition so far.
func (a *along) of(p int32) []*history.Operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.ops), func(op *history.Operation) bool { return op.Consume.Partition != p })
}

// until waits for what was given of a partition to be as a test wants it.
func (a *along) until(p int32, what string, is func([]*history.Operation) bool) []*history.Operation {
	a.t.Helper()
	giveUp := time.NewTimer(30 * time.Second) // of a test that hangs
	defer giveUp.Stop()
	for {
		if ops := a.of(p); is(ops) {
			return ops
		}
		select {
		case <-a.given:
		case <-giveUp.C:
			for _, op := range a.of(p) {
				a.t.Logf("%s of n%d: %s %s %+v", op.ID, op.Node, op.Outcome, op.Error, op.Consume)
			}
			a.t.Fatalf("orders-%d: waited in vain for %s", p, what)
		}
	}
}

// readTo is a condition of until: the partition was read up to an offset.
func readTo(offset int64) func([]*history.Operation) bool {
	return func(ops []*history.Operation) bool {
		return len(ops) > 0 && ops[len(ops)-1].Outcome == history.OK && ops[len(ops)-1].Consume.To == offset
	}
}

// continuous checks that the operations that are ok give each record once, in order.
func continuous(t *testing.T, ops []*history.Operation, client string) {
	t.Helper()
	next, seq := int64(0), uint64(0)
	for _, op := range ops {
		c := op.Consume
		if op.Client != client || op.Invoke == 0 || op.Invoke > op.Complete || c.From != next || len(c.Bad) > 0 {
			t.Errorf("%s: %+v, %+v; want it from %s and offset %d on", op.ID, op, c, client, next)
		}
		for _, s := range c.Spans {
			if s.Offset != next || s.Seq != seq {
				t.Errorf("%s: %+v, want offset %d and sequence %d", op.ID, s, next, seq)
			}
			next, seq = s.Offset+int64(s.Count), s.Seq+uint64(s.Count)
		}
		if c.To != next || c.High < next {
			t.Errorf("%s: %+v ends at %d", op.ID, c, next)
		}
	}
}

func TestConsumersFollowTheLeaders(t *testing.T) {
	f := newFakeCluster(t, 3, 3)
	f.fetch = func(_ int32, req *kmsg.FetchRequest) bool {
		if req.Version != 12 || req.ReplicaID != -1 || req.MaxWaitMillis != 500 || req.MinBytes != 1 || req.SessionEpoch != -1 {
			t.Errorf("%+v; want a consumer's single fetch that waits for half a second", req)
		}
		return false
	}
	f.change(func() { f.add(0, 4); f.add(1, 4); f.add(2, 4) })
	a := f.readAlong(t, 2)
	for p := range int32(3) {
		a.until(p, "what was there", readTo(4))
	}
	f.change(func() { f.add(1, 3); f.lead(1, 3, 1); f.add(2, 1) })
	a.until(1, "what came with the new leader", readTo(7))
	a.until(2, "what came", readTo(5))
	f.change(func() { f.add(1, 1) })
	a.until(1, "what came after", readTo(8))
	a.stop()

	ids := map[string]bool{}
	for p, client := range map[int32]string{0: "consume-1", 1: "consume-2", 2: "consume-1"} {
		ops := a.of(p)
		continuous(t, ops, client)
		for _, op := range ops {
			if ids[op.ID] {
				t.Errorf("two operations are %s", op.ID)
			}
			ids[op.ID] = true
		}
	}
	if !ids["f1.0"] || !ids["f2.0"] {
		t.Errorf("operations %v, want them counted from f1.0 and f2.0 on", ids)
	}
	ops := a.of(1)
	if first, last := ops[0], ops[len(ops)-1]; first.Node != 2 || first.Consume.LeaderEpoch != 0 || last.Node != 3 || last.Consume.LeaderEpoch != 1 {
		t.Errorf("orders-1 was first read of n%d in epoch %d and last of n%d in epoch %d; want n2 in 0 and n3 in 1",
			first.Node, first.Consume.LeaderEpoch, last.Node, last.Consume.LeaderEpoch)
	}
	for id, b := range f.brokers {
		// One of each consumer, and one for Metadata at a time, of which each node has its turns.
		if n := len(b.conns); n > 2+1+len(askedFor[*kmsg.MetadataRequest](b)) {
			t.Errorf("n%d has seen %d connections", id, n)
		}
	}
}

func TestMoreConsumersThanPartitions(t *testing.T) {
	f := newFakeCluster(t, 2, 2)
	f.change(func() { f.add(0, 2); f.add(1, 2) })
	a := f.readAlong(t, 3)
	ops := a.until(0, "two consumers", func(ops []*history.Operation) bool {
		return len(ops) == 2 && ops[0].Client != ops[1].Client
	})
	for _, op := range ops {
		if c := op.Consume; c.From != 0 || c.To != 2 {
			t.Errorf("%s was given %+v, want both records", op.Client, c)
		}
	}
	a.until(1, "the other partition", readTo(2))
	a.stop()
	for _, op := range a.of(1) {
		if op.Client != "consume-2" {
			t.Errorf("orders-1 was read by %s", op.Client)
		}
	}
}

// A leader that is in another epoch than the metadata says gives nothing, until the metadata says the same.
func TestConsumersGoByFreshEpochs(t *testing.T) {
	for _, tc := range []struct {
		name        string
		said, truth int32
	}{{"fenced", 4, 5}, {"not known yet", 5, 4}} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeCluster(t, 2, 1)
			refused := make(chan struct{})
			seen := 0
			f.fetch = func(node int32, req *kmsg.FetchRequest) bool {
				if req.Topics[0].Partitions[0].CurrentLeaderEpoch == tc.said {
					if seen++; seen == 2 { // and so the metadata was asked between
						close(refused)
					}
				}
				return false
			}
			f.change(func() {
				f.add(0, 3)
				f.lead(0, 1, tc.truth)
				f.logs[0].saidEpoch = tc.said
			})
			a := f.readAlong(t, 1)
			<-refused
			f.change(func() { f.logs[0].saidEpoch = tc.truth })
			ops := a.until(0, "the records", readTo(3))
			continuous(t, ops, "consume-1")
			for _, op := range ops {
				if op.Consume.LeaderEpoch != tc.truth {
					t.Errorf("%s is of epoch %d, want nothing but of %d", op.ID, op.Consume.LeaderEpoch, tc.truth)
				}
			}
		})
	}
}

func TestConsumersReadATruncatedLogAnew(t *testing.T) {
	f := newFakeCluster(t, 1, 1)
	f.change(func() { f.add(0, 5) })
	a := f.readAlong(t, 1)
	a.until(0, "all", readTo(5))
	f.change(func() { f.logs[0].values = f.logs[0].values[:2] })
	ops := a.until(0, "what is left", readTo(2))
	if len(ops) < 3 {
		t.Fatalf("%d operations", len(ops))
	}
	refused, anew := ops[len(ops)-2], ops[len(ops)-1]
	if refused.Outcome != history.Failed || refused.Error != "OFFSET_OUT_OF_RANGE (1)" || refused.Consume.From != 5 || refused.Consume.To != 5 || refused.Consume.High != -1 {
		t.Errorf("%+v, %+v; want the refusal to read at 5", refused, refused.Consume)
	}
	if anew.Consume.From != 0 || len(anew.Consume.Spans) != 1 || anew.Consume.Spans[0].Count != 2 {
		t.Errorf("%+v; want the two records again", anew.Consume)
	}
}

func TestConsumersOutliveLostConnections(t *testing.T) {
	f := newFakeCluster(t, 2, 2)
	drops := 3
	f.fetch = func(node int32, _ *kmsg.FetchRequest) bool {
		if node == 1 && drops > 0 {
			drops--
			return true
		}
		return false
	}
	f.change(func() { f.add(0, 2); f.add(1, 2) })
	a := f.readAlong(t, 1)
	a.until(0, "the records of a node that drops connections", readTo(2))
	a.until(1, "the records of the other", readTo(2))

	// The node goes down for good, with fetches and perhaps a Metadata in hand; the other leads.
	b := f.brokers[1]
	b.ln.Close()
	b.mu.Lock()
	for nc := range b.conns {
		nc.Close()
	}
	b.mu.Unlock()
	f.change(func() { f.lead(0, 2, 1); f.add(0, 2) })
	a.until(0, "the records of the new leader", readTo(4))
	f.change(func() { f.add(0, 1); f.add(1, 1) })
	a.until(0, "what came after", readTo(5))
	a.until(1, "what came after", readTo(3))
	a.stop()
	continuous(t, a.of(0), "consume-1")
	continuous(t, a.of(1), "consume-1")
}

// Stopped while fetches wait at their nodes, and while nobody answers, consumers end at once, and give nothing more.
func TestConsumersStop(t *testing.T) {
	f := newFakeCluster(t, 2, 2)
	waiting := make(chan struct{}, 100)
	f.fetch = func(int32, *kmsg.FetchRequest) bool { waiting <- struct{}{}; return false }
	f.logs[1].saidLeader = noLeader
	a := f.readAlong(t, 2)
	f.change(func() { f.add(0, 1) })
	a.until(0, "the record", readTo(1))
	<-waiting
	a.stop()
	given := len(a.of(0))
	f.change(func() { f.add(0, 1) })
	if n := len(a.of(0)); n != given {
		t.Errorf("%d operations after the end", n-given)
	}
}

func TestConsumersOfNothingEnd(t *testing.T) {
	c := newClients(t, Config{Addrs: map[int32]string{1: closedPort(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := func() int64 { return 1 }
	c.Read(ctx, nil, 2, now, nil)
	c.Read(ctx, []history.TopicInfo{{Name: "orders", Partitions: 1}}, 0, now, nil)
	c.Read(ctx, []history.TopicInfo{{Name: "orders", Partitions: 1}}, 1, now, nil)
}

// What producers were acknowledged is what consumers are told of.
func TestConsumersKnowWhatWasAcknowledged(t *testing.T) {
	var a ackedOffsets
	op := func(p int32, o history.Outcome, offsets ...int64) *history.Operation {
		return &history.Operation{Outcome: o, Produce: &history.ProduceOp{Topic: "orders", Partition: p, Offsets: offsets}}
	}
	a.see(op(0, history.OK, 7, 8))
	a.see(op(0, history.OK, 3, 4))
	a.see(op(0, history.Unknown, 12))
	a.see(op(1, history.OK))
	if a.of("orders", 0) != 8 || a.of("orders", 1) != -1 || a.of("payments", 0) != -1 {
		t.Errorf("acknowledged %v", a.high)
	}
}
