package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/chaos"
)

// partitionLeader asks the cluster who leads partition 0 of a topic; 0 if it does not say.
func partitionLeader(ctx context.Context, cl *kgo.Client, topic string) int32 {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, cl)
	if err != nil || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return 0
	}
	return max(0, resp.Topics[0].Partitions[0].Leader)
}

// franz-go, idempotent as it is by itself, with five requests in flight, writes through the deaths of its partition's leader: every
// record stands in the log once, in the order in which it was handed in, although batches were sent again.
func TestAnIdempotentClientWritesEachRecordOnce(t *testing.T) {
	c, addrs := cluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"),
		kgo.ProducerBatchMaxBytes(16<<10), kgo.MaxBufferedRecords(2000), kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(250*time.Millisecond),
		kgo.DialTimeout(time.Second), kgo.ProduceRequestTimeout(3*time.Second), kgo.RetryTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()

	var (
		mu      sync.Mutex
		offsets []int64
		failed  error
	)
	acked := func() int { mu.Lock(); defer mu.Unlock(); return len(offsets) }
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { done <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			// It blocks when so many are under way that there is no room for more.
			cl.Produce(ctx, kgo.StringRecord(fmt.Sprintf("%08d %s", n, strings.Repeat("x", 100))), func(r *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				offsets = append(offsets, r.Offset)
			})
		}
	}()
	for id := 1; id <= 3; id++ {
		before := acked()
		eventually(t, 30*time.Second, "records to be acknowledged", func() bool { return acked() > before+5000 })
		var leader int32
		eventually(t, 10*time.Second, "a leader", func() bool { leader = partitionLeader(ctx, cl, "orders"); return leader != 0 })
		if _, err := c.Inject(ctx, chaos.Spec{ID: id, Kind: chaos.Kill, Nodes: []int32{leader}}); err != nil {
			t.Fatal(err)
		}
		before = acked()
		eventually(t, 30*time.Second, "another leader's acknowledgements", func() bool { return acked() > before+5000 })
		if _, err := c.Heal(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sent := <-done
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil || len(offsets) != sent {
		t.Fatalf("%d of %d records ended: %v", len(offsets), sent, failed)
	}
	if !slices.IsSorted(offsets) {
		t.Error("records were acknowledged in another order than that of their offsets")
	}

	consumer, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	read := 0
	for read < sent {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consumed %d of %d: %v", read, sent, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprintf("%08d ", read); !strings.HasPrefix(string(r.Value), want) {
				t.Fatalf("offset %d holds %.9q, want %q", r.Offset, r.Value, want)
			}
			read++
		})
	}
	if last := offsets[len(offsets)-1]; last != int64(sent-1) {
		t.Errorf("the last of %d records was acknowledged at offset %d", sent, last)
	}
}
