package workloads

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

// newIdempotentLeader is a leader that gives producer ids from 100 on and answers Metadata with topic ids.
func newIdempotentLeader(t *testing.T, refuse func(n int) int16) (*fakeBroker, *fakeLog) {
	var mu sync.Mutex
	next := int64(100)
	var b *fakeBroker
	var l *fakeLog
	b, l = newLeader(t, refuse)
	plain := b.handle
	b.handle = func(r kmsg.Request) kmsg.Response {
		switch r := r.(type) {
		case *kmsg.InitProducerIDRequest:
			mu.Lock()
			defer mu.Unlock()
			resp := kmsg.NewPtrInitProducerIDResponse()
			resp.ProducerID = next
			next++
			return resp
		case *kmsg.ApiVersionsRequest:
			resp := plain(r).(*kmsg.ApiVersionsResponse)
			e := kmsg.NewApiVersionsResponseApiKey()
			e.ApiKey, e.MaxVersion = int16(kmsg.InitProducerID), 4
			resp.ApiKeys = append(resp.ApiKeys, e)
			return resp
		}
		return plain(r)
	}
	return b, l
}

func idempotentOp(id string, producer, incarnation uint32, partition int32, first uint64, count int32) *history.Operation {
	op := produceOp(id, producer, partition, first, count)
	op.Produce.Incarnation, op.Produce.Idempotent = incarnation, true
	return op
}

// batchHead is what of a batch's header tells who sent it, and how.
type batchHead struct {
	producer int64
	sequence int32
	codec    int16
}

func heads(b *fakeBroker) (out []batchHead) {
	for _, r := range askedFor[*kmsg.ProduceRequest](b) {
		for _, rt := range r.Topics {
			for _, rp := range rt.Partitions {
				be := binary.BigEndian
				out = append(out, batchHead{int64(be.Uint64(rp.Records[43:])), int32(be.Uint32(rp.Records[53:])), int16(be.Uint16(rp.Records[21:])) & 7})
			}
		}
	}
	return out
}

// TestAnIdempotentProducerSendsAgainWithItsSequence: what got no answer, or one that says that another node leads, is sent again as it was.
func TestAnIdempotentProducerSendsAgainWithItsSequence(t *testing.T) {
	for name, first := range map[string]int16{"no answer": dropIt, "not the leader": protocol.CodeNotLeader, "not enough replicas": protocol.CodeNotEnoughReplicas} {
		t.Run(name, func(t *testing.T) {
			b, l := newIdempotentLeader(t, func(n int) int16 {
				if n == 2 {
					return first
				}
				return 0
			})
			c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun})
			for i := range 3 {
				op := idempotentOp(fmt.Sprint("p", i), 1, 1, 0, uint64(i*2), 2)
				c.Do(t.Context(), op)
				if op.Outcome != history.OK || !slices.Equal(op.Produce.Offsets, []int64{logStart + int64(2*i), logStart + int64(2*i) + 1}) {
					t.Fatalf("%s: %q (%s), offsets %v", op.ID, op.Outcome, op.Error, op.Produce.Offsets)
				}
				if i > 0 && op.Node != 1 { // before the first, the client knew no leader
					t.Errorf("%s was answered by node %d, want 1", op.ID, op.Node)
				}
			}
			hs := heads(b)
			var sequences []int32
			for _, h := range hs {
				sequences = append(sequences, h.sequence)
			}
			if got := l.attempts(); got != len(hs) {
				t.Errorf("%d attempts with %d batches", got, len(hs))
			}
			// The two records of an operation may go in batches of their own, where the client is slow to take the second.
			one := slices.DeleteFunc(slices.Clone(sequences), func(s int32) bool { return s%2 == 1 })
			if want := []int32{0, 2, 2, 4}; !slices.Equal(one, want) {
				t.Errorf("sequences %v, want %v: one was sent twice", sequences, want)
			}
			for _, h := range hs {
				if h.producer != 100 {
					t.Errorf("producer id %d, want the one id that was given", h.producer)
				}
			}
		})
	}
}

// TestProducersComeAndGo: a new incarnation has an id of its own, and begins at sequence 0; producers take the compressions in turn.
func TestProducersComeAndGo(t *testing.T) {
	b, _ := newIdempotentLeader(t, always(0))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun})
	for producer := range uint32(5) {
		for incarnation := range uint32(2) {
			op := idempotentOp(fmt.Sprint("p", producer, incarnation), producer+1, incarnation+1, 0, 0, 20)
			c.Do(t.Context(), op)
			if op.Outcome != history.OK {
				t.Fatalf("%s: %q (%s)", op.ID, op.Outcome, op.Error)
			}
		}
	}
	ids, used := map[int64]bool{}, map[int16]bool{}
	for _, h := range heads(b) {
		if h.sequence == 0 && ids[h.producer] {
			t.Errorf("the producer id %d begins twice", h.producer)
		}
		ids[h.producer] = true
		used[h.codec] = true
	}
	if len(ids) != 10 || len(used) != 5 {
		t.Errorf("%d producer ids, compressions %v; want 10 and all five", len(ids), used)
	}
}

// TestAnIdempotentProducerKeepsTheOrderOfItsOperations: each is carried out in a goroutine of its own, and whichever gets to the client first, the
// sequences say in which order they are sent.
func TestAnIdempotentProducerKeepsTheOrderOfItsOperations(t *testing.T) {
	b, _ := newIdempotentLeader(t, always(0))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun})
	first, second := idempotentOp("p1", 1, 1, 0, 0, 2), idempotentOp("p2", 1, 1, 0, 2, 2)
	var under sync.WaitGroup
	under.Go(func() { c.Do(t.Context(), second) })
	time.Sleep(50 * time.Millisecond) // no more than a busy machine may take from a goroutine
	c.Do(t.Context(), first)
	under.Wait()
	for i, op := range []*history.Operation{first, second} {
		if want := []int64{logStart + int64(2*i), logStart + int64(2*i) + 1}; op.Outcome != history.OK || !slices.Equal(op.Produce.Offsets, want) {
			t.Errorf("%s: %q (%s), offsets %v; want %v", op.ID, op.Outcome, op.Error, op.Produce.Offsets, want)
		}
	}
	// What does not come is not waited for for ever, and is not sent behind what passed it.
	ahead, behind := idempotentOp("p4", 1, 1, 0, 6, 2), idempotentOp("p3", 1, 1, 0, 4, 2)
	c.Do(t.Context(), ahead)
	c.Do(t.Context(), behind)
	if ahead.Outcome != history.OK || behind.Outcome != history.Failed {
		t.Errorf("%q (%s) and, behind it, %q (%s); want ok and failed", ahead.Outcome, ahead.Error, behind.Outcome, behind.Error)
	}
}

// TestAnIncarnationThatIsOverSendsNothing: its client is ending, and another under a new id could overtake what that has under way.
func TestAnIncarnationThatIsOverSendsNothing(t *testing.T) {
	b, _ := newIdempotentLeader(t, always(0))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun})
	for _, x := range []struct {
		op   *history.Operation
		want history.Outcome
	}{
		{idempotentOp("p1", 1, 1, 0, 0, 1), history.OK}, {idempotentOp("p2", 1, 2, 0, 0, 1), history.OK}, {idempotentOp("p3", 1, 1, 0, 1, 1), history.Failed},
	} {
		if c.Do(t.Context(), x.op); x.op.Outcome != x.want {
			t.Errorf("%s: %q (%s), want %q", x.op.ID, x.op.Outcome, x.op.Error, x.want)
		}
	}
}

// TestABrokenProducerIsReplaced: where the broker says that the order is lost, the outcome is unknown, nothing is sent on under another id,
// and the next operation has a producer that works.
func TestABrokenProducerIsReplaced(t *testing.T) {
	b, l := newIdempotentLeader(t, func(n int) int16 {
		if n == 2 {
			return protocol.CodeOutOfOrderSequence
		}
		return 0
	})
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun})
	want := []history.Outcome{history.OK, history.Unknown, history.OK}
	for i, outcome := range want {
		op := idempotentOp(fmt.Sprint("p", i), 1, 1, 0, uint64(i), 1)
		c.Do(t.Context(), op)
		if op.Outcome != outcome {
			t.Fatalf("%s: %q (%s), want %q", op.ID, op.Outcome, op.Error, outcome)
		}
	}
	if got := l.attempts(); got != 3 {
		t.Errorf("%d attempts, want 3: what was refused is not sent again", got)
	}
}

// TestAnIdempotentProduceEndsInTime: where nobody leads, the operation ends as unknown when its time is over, and Close does not wait for it.
func TestAnIdempotentProduceEndsInTime(t *testing.T) {
	b, _ := newIdempotentLeader(t, always(protocol.CodeNotLeader))
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, RunHash: testRun, Timeout: 400 * time.Millisecond})
	op := idempotentOp("p1", 1, 1, 0, 0, 1)
	c.Do(t.Context(), op)
	if op.Outcome != history.Unknown || op.Error == "" {
		t.Errorf("%q (%s), want unknown and why", op.Outcome, op.Error)
	}
	c.Close()
	late := idempotentOp("p2", 1, 2, 0, 0, 1)
	c.Do(t.Context(), late)
	if late.Outcome != history.Failed {
		t.Errorf("after Close: %q (%s), want failed", late.Outcome, late.Error)
	}
}
