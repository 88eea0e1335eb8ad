package workloads

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

const testRun = 0xfeed

func produceOp(id string, producer uint32, partition int32, first uint64, count int32) *history.Operation {
	return &history.Operation{ID: id, Client: fmt.Sprint("produce-", producer), Invoke: 1_700_000_000_000_000_000, Produce: &history.ProduceOp{
		Topic: "orders", Partition: partition, Producer: producer, Incarnation: 1, FirstSeq: first, Count: count, Acked: 5, Acks: -1,
	}}
}

// fakeLog is what a fake leader appended, by partition.
type fakeLog struct {
	mu      sync.Mutex
	values  map[int32][]gen.Header
	appends int
}

// answer is that of the leader of 4 partitions of "orders": it appends, unless refuse answers a code for the n-th produce (from
// 1), or dropIt.
func (l *fakeLog) answer(b *fakeBroker, req kmsg.Request, refuse func(n int) int16) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		return apiVersions()
	case *kmsg.MetadataRequest:
		return b.metadata(4, "orders")
	case *kmsg.ProduceRequest:
		return l.append(b.t, req, refuse)
	}
	return nil
}

// dropIt stands for dropping the connection with the request in hand.
const dropIt = -100

func (l *fakeLog) attempts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends
}

func (l *fakeLog) at(partition int32, offset int64) gen.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[partition][offset-logStart]
}

// logStart is the offset of the first record: the log began before the run.
const logStart = 1000

func (l *fakeLog) append(t *testing.T, req *kmsg.ProduceRequest, refuse func(n int) int16) kmsg.Response {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	code := refuse(l.appends)
	if code == dropIt {
		return nil
	}
	resp := kmsg.NewPtrProduceResponse()
	for _, rt := range req.Topics {
		at := kmsg.NewProduceResponseTopic()
		at.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			ap := kmsg.NewProduceResponseTopicPartition()
			ap.Partition, ap.ErrorCode, ap.BaseOffset = rp.Partition, code, -1
			if code == 0 {
				ap.BaseOffset = logStart + int64(len(l.values[rp.Partition]))
				err := protocol.ReadBatches(rp.Records, visitor{
					record: func(_ int64, v []byte) {
						h, err := gen.ParseValue(v)
						if err != nil {
							t.Errorf("produced value: %v", err)
						}
						l.values[rp.Partition] = append(l.values[rp.Partition], h)
					},
					damaged: func(_, _ int64, err error) { t.Errorf("produced batch: %v", err) },
					end:     func(int64) {},
				})
				if err != nil {
					t.Errorf("produced records: %v", err)
				}
			}
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func newLeader(t *testing.T, refuse func(n int) int16) (*fakeBroker, *fakeLog) {
	l := &fakeLog{values: map[int32][]gen.Header{}}
	var b *fakeBroker
	b = newFakeBroker(t, func(r kmsg.Request) kmsg.Response { return l.answer(b, r, refuse) })
	return b, l
}

func always(code int16) func(int) int16 { return func(int) int16 { return code } }

func TestProduceOffsetsAreThoseOfTheRecords(t *testing.T) {
	b, l := newLeader(t, always(0))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun, ValueBytes: 100})
	// Several producers, and several operations of one producer to one partition, which kafka-go merges.
	var ops []*history.Operation
	var wg sync.WaitGroup
	for i := range 24 {
		op := produceOp(fmt.Sprint("p", i), uint32(1+i%2), int32(i%3), uint64(i/6*7), 7)
		ops = append(ops, op)
		wg.Go(func() { c.Do(t.Context(), op) })
	}
	wg.Wait()
	for _, op := range ops {
		p := op.Produce
		if op.Outcome != history.OK || len(p.Offsets) != 7 {
			t.Fatalf("%s: %q (%s) with %d offsets, want ok with 7", op.ID, op.Outcome, op.Error, len(p.Offsets))
		}
		if op.Node != 1 {
			t.Errorf("%s was answered by node %d, want 1, which leads all partitions", op.ID, op.Node)
		}
		for i, off := range p.Offsets {
			want := gen.Header{
				Run: testRun, Producer: p.Producer, Incarnation: 1, TopicPartition: gen.PartitionHash("orders", p.Partition),
				Seq: p.FirstSeq + uint64(i), Time: op.Invoke, Acked: 5, Body: 100 - gen.HeaderSize,
			}
			if got := l.at(p.Partition, off); got != want {
				t.Errorf("%s: at offset %d of partition %d stands %+v, want %+v", op.ID, off, p.Partition, got, want)
			}
		}
	}
	for _, r := range askedFor[*kmsg.ProduceRequest](b) {
		if r.Acks != -1 {
			t.Errorf("a produce asked for acks %d, want all", r.Acks)
		}
	}
}

func TestProduceOutcomeOfEachCode(t *testing.T) {
	for code, want := range map[int16]history.Outcome{
		3: history.Failed, 10: history.Failed, 17: history.Failed, 19: history.Failed,
		5: history.Unknown, 6: history.Unknown, 7: history.Unknown, 20: history.Unknown, -1: history.Unknown, 56: history.Unknown, 45: history.Unknown,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			b, l := newLeader(t, always(code))
			c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
			op := produceOp("p1", 1, 2, 0, 3)
			c.Do(t.Context(), op)
			if op.Outcome != want || op.Produce.Offsets != nil {
				t.Errorf("%q (%s), offsets %v; want %q and none", op.Outcome, op.Error, op.Produce.Offsets, want)
			}
			if op.Error != protocol.CodeName(code) {
				t.Errorf("error %q, want %q", op.Error, protocol.CodeName(code))
			}
			if l.attempts() != 1 {
				t.Errorf("%d attempts, want one", l.attempts())
			}
		})
	}
}

// TestTheNodeOfASendIsNamedWhereItIsSure: kafka-go tells nobody where it sent a request. Whoever it took for the leader all the time is named, and nobody
// where that changed meanwhile.
func TestTheNodeOfASendIsNamedWhereItIsSure(t *testing.T) {
	led := func(node, epoch int32) leading { return leading{node, epoch} }
	for name, c := range map[string]struct {
		before, after leading
		want          int32
	}{
		"one leader":       {led(2, 7), led(2, 7), 2},
		"another":          {led(2, 7), led(3, 8), 0},
		"the same anew":    {led(2, 7), led(2, 9), 0},
		"none before":      {led(0, 0), led(2, 7), 0},
		"none known after": {led(2, 7), led(0, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := &way{asked: map[place]int32{}, transport: &memory{known: []leading{c.before, c.after}}}
			req := &produce.Request{Topics: []produce.RequestTopic{{Topic: "orders", Partitions: []produce.RequestPartition{{Partition: 3}}}}}
			if _, err := w.RoundTrip(t.Context(), kafka.TCP("localhost:1"), req); err != nil {
				t.Fatal(err)
			}
			s := &sending{partition: 3, offsets: make([]int64, 2), results: make([]error, 2), nodes: make([]int32, 2)}
			complete(w)([]kafka.Message{{Topic: "orders", WriterData: slot{s, 0}}, {Topic: "orders", WriterData: slot{s, 1}}}, nil)
			if got := s.node(); got != c.want {
				t.Errorf("node %d, want %d", got, c.want)
			}
		})
	}
	if got := (&sending{nodes: []int32{1, 2}}).node(); got != 0 {
		t.Errorf("records that went to two nodes have node %d, want 0", got)
	}
}

// memory is a transport whose metadata changes with each look.
type memory struct{ known []leading }

func (m *memory) RoundTrip(_ context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if _, ok := req.(*metadata.Request); !ok {
		return &produce.Response{}, nil
	}
	l := m.known[0]
	m.known = m.known[1:]
	return &metadata.Response{Topics: []metadata.ResponseTopic{{Name: "orders", Partitions: []metadata.ResponsePartition{{PartitionIndex: 3, LeaderID: l.node, LeaderEpoch: l.epoch}}}}}, nil
}

func TestProduceDroppedWithTheRequestInHandIsUnknown(t *testing.T) {
	b, l := newLeader(t, always(dropIt))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
	op := produceOp("p1", 1, 0, 0, 2)
	c.Do(t.Context(), op)
	if op.Outcome != history.Unknown || l.attempts() != 1 {
		t.Errorf("%q (%s) after %d attempts, want unknown after one", op.Outcome, op.Error, l.attempts())
	}
}

func TestProduceSurelyNotSentFails(t *testing.T) {
	t.Run("no node can be reached", func(t *testing.T) {
		c := newClients(t, Config{Addrs: map[int32]string{1: closedPort(t)}})
		op := produceOp("p1", 1, 0, 0, 2)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed {
			t.Errorf("%q (%s), want failed", op.Outcome, op.Error)
		}
	})
	t.Run("topic not in the metadata", func(t *testing.T) {
		b, l := newLeader(t, always(0))
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		op := produceOp("p1", 1, 0, 0, 2)
		op.Produce.Topic = "payments"
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed || l.attempts() != 0 {
			t.Errorf("%q (%s) after %d produces, want failed after none", op.Outcome, op.Error, l.attempts())
		}
	})
	t.Run("partition not in the metadata", func(t *testing.T) {
		b, l := newLeader(t, always(0))
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		op := produceOp("p1", 1, 9, 0, 2)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed || l.attempts() != 0 {
			t.Errorf("%q (%s) after %d produces, want failed after none", op.Outcome, op.Error, l.attempts())
		}
	})
	t.Run("the leader takes connections and drops them", func(t *testing.T) {
		// As a proxy does that stands before a node which is down.
		dead := newFakeBroker(t, func(kmsg.Request) kmsg.Response { return nil })
		b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
			if _, ok := r.(*kmsg.MetadataRequest); ok {
				return dead.metadata(4, "orders")
			}
			return apiVersions()
		})
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		op := produceOp("p1", 1, 0, 0, 2)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed {
			t.Errorf("%q (%s), want failed", op.Outcome, op.Error)
		}
	})
	t.Run("the clients are closed", func(t *testing.T) {
		b, _ := newLeader(t, always(0))
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		c.Close()
		op := produceOp("p1", 1, 0, 0, 2)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed {
			t.Errorf("%q (%s), want failed", op.Outcome, op.Error)
		}
	})
}

// More records than a batch takes go in two requests. That the first was acknowledged must not be lost in "failed".
func TestProducePartlyAcknowledgedIsUnknown(t *testing.T) {
	b, l := newLeader(t, func(n int) int16 {
		if n == 2 {
			return protocol.CodeNotEnoughReplicas
		}
		return 0
	})
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
	op := produceOp("p1", 1, 0, 0, batchRecords+10)
	c.Do(t.Context(), op)
	if l.attempts() != 2 {
		t.Fatalf("%d requests, want 2", l.attempts())
	}
	if op.Outcome != history.Unknown || !strings.Contains(op.Error, fmt.Sprintf("%d of %d records were acknowledged", batchRecords, batchRecords+10)) {
		t.Errorf("%q (%s), want unknown, naming how many were acknowledged", op.Outcome, op.Error)
	}
}

func TestCloseCutsAProduceShort(t *testing.T) {
	var b *fakeBroker
	arrived := make(chan struct{}, 1)
	b = newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		switch r.(type) {
		case *kmsg.ApiVersionsRequest:
			return apiVersions()
		case *kmsg.MetadataRequest:
			return b.metadata(4, "orders")
		}
		arrived <- struct{}{}
		<-b.hang
		return nil
	})
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
	op := produceOp("p1", 1, 0, 0, 2)
	done := make(chan struct{})
	go func() { c.Do(t.Context(), op); close(done) }()
	<-arrived
	c.Close()
	<-done
	if op.Outcome != history.Unknown {
		t.Errorf("%q (%s), want unknown: the node has the request", op.Outcome, op.Error)
	}
}

func TestAutoCreateByProduce(t *testing.T) {
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		resp := kmsg.NewPtrProduceResponse()
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = r.(*kmsg.ProduceRequest).Topics[0].Topic
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.ErrorCode = 6
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp
	})
	c := newClients(t, Config{Addrs: map[int32]string{2: b.addr()}})
	op := &history.Operation{ID: "a1", Node: 2, Create: &history.AutoCreateOp{Topic: "auto-1", How: gen.HowProduce}}
	c.Do(t.Context(), op)
	if op.Outcome != history.OK || op.Error != protocol.CodeName(6) {
		t.Errorf("%q (%s), want ok with the answer's code", op.Outcome, op.Error)
	}
	reqs := askedFor[*kmsg.ProduceRequest](b)
	if len(reqs) != 1 || reqs[0].Acks != -1 || reqs[0].Topics[0].Topic != "auto-1" || reqs[0].Version > 12 || opTags(reqs[0]) != "a1" {
		t.Fatalf("asked %+v", reqs)
	}
	var got []string
	err := protocol.ReadBatches(reqs[0].Topics[0].Partitions[0].Records, visitor{
		record:  func(_ int64, v []byte) { got = append(got, string(v)) },
		damaged: func(_, _ int64, err error) { t.Error(err) },
		end:     func(int64) {},
	})
	if err != nil || !slices.Equal(got, []string{"a1"}) {
		t.Errorf("the request holds %q, %v; want one record", got, err)
	}
}

func TestAutoCreateByWriterAsksTheNodeToCreate(t *testing.T) {
	var b *fakeBroker
	var mu sync.Mutex
	created := false
	b = newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		mu.Lock()
		defer mu.Unlock()
		switch r := r.(type) {
		case *kmsg.ApiVersionsRequest:
			return apiVersions()
		case *kmsg.MetadataRequest:
			if r.AllowAutoTopicCreation {
				created = true
			}
			if created {
				return b.metadata(1, "auto-2")
			}
			resp := b.metadata(0, "auto-2").(*kmsg.MetadataResponse)
			resp.Topics[0].ErrorCode = protocol.CodeUnknownTopic
			return resp
		case *kmsg.ProduceRequest:
			return (&fakeLog{values: map[int32][]gen.Header{}}).append(t, &kmsg.ProduceRequest{Topics: []kmsg.ProduceRequestTopic{{
				Topic: "auto-2", Partitions: []kmsg.ProduceRequestTopicPartition{{}},
			}}}, always(0))
		}
		return nil
	})
	c := newClients(t, Config{Addrs: map[int32]string{1: closedPort(t), 2: b.addr()}})
	op := &history.Operation{ID: "a2", Node: 2, Create: &history.AutoCreateOp{Topic: "auto-2", How: gen.HowWriter}}
	c.Do(t.Context(), op)
	if op.Outcome != history.OK {
		t.Errorf("%q (%s), want ok", op.Outcome, op.Error)
	}
	if !created {
		t.Error("no Metadata asked for the topic's creation")
	}
}

func TestAutoCreateByWriterAtADeadNodeFails(t *testing.T) {
	c := newClients(t, Config{Addrs: map[int32]string{2: closedPort(t)}, Timeout: 2e9})
	op := &history.Operation{ID: "a3", Node: 2, Create: &history.AutoCreateOp{Topic: "auto-3", How: gen.HowWriter}}
	c.Do(t.Context(), op)
	if op.Outcome != history.Failed {
		t.Errorf("%q (%s), want failed: nothing was ever sent", op.Outcome, op.Error)
	}
}
