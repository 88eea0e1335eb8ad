package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/chaos"
	"soak/chaos/process"
	"soak/history"
)

// quiet takes what a cluster says of itself; these tests look at what clients see.
type quiet struct{}

func (quiet) Event(history.Event)      {}
func (quiet) Stats(history.NodeMetric) {}

// cluster starts three brokers as processes and returns where clients reach them.
func cluster(t *testing.T) (chaos.Cluster, []string) {
	t.Helper()
	c, err := process.New(chaos.Config{
		RunID: fmt.Sprintf("clients%d", time.Now().UnixNano()), Nodes: 3, Dir: t.TempDir(), Work: t.TempDir(), Executable: binary,
		ElectionInterval: time.Second, SessionTimeout: time.Second, Sink: quiet{}, Logf: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return c, []string{c.Addr(1), c.Addr(2), c.Addr(3)}
}

// The clients that people use produce and consume against the reference broker as it is advertised: franz-go in every compression,
// idempotent as it is by itself, and kafka-go's Writer, Reader and admin client.
func TestRealClientsWork(t *testing.T) {
	_, addrs := cluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	admin := &kafka.Client{Addr: kafka.TCP(addrs...), Timeout: 10 * time.Second}
	var created *kafka.CreateTopicsResponse
	eventually(t, 20*time.Second, "kafka-go to create a topic", func() bool {
		var err error
		created, err = admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "orders", NumPartitions: 3, ReplicationFactor: 3}}})
		return err == nil && created.Errors["orders"] == nil
	})

	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DefaultProduceTopic("orders"))
		if err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for i := range 100 {
			records = append(records, kgo.StringRecord(fmt.Sprintf("franz-%v-%d %s", codec, i, strings.Repeat("x", 200))))
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatalf("franz-go, codec %v: %v", codec, err)
		}
		cl.Close()
	}
	w := &kafka.Writer{Addr: kafka.TCP(addrs...), Topic: "orders", RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond}
	var messages []kafka.Message
	for i := range 100 {
		messages = append(messages, kafka.Message{Value: fmt.Appendf(nil, "kafka-go-%d", i)})
	}
	if err := w.WriteMessages(ctx, messages...); err != nil {
		t.Fatalf("kafka-go: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	const want = 600
	consumer, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	var seen []string
	for len(seen) < want {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("franz-go consumed %d of %d: %v", len(seen), want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen = append(seen, string(r.Value)) })
	}
	slices.Sort(seen)
	if got := len(slices.Compact(seen)); got != want {
		t.Fatalf("franz-go consumed %d different records, want %d", got, want)
	}

	read := 0
	for p := range 3 {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: addrs, Topic: "orders", Partition: p, MaxWait: 200 * time.Millisecond})
		last, err := r.ReadLag(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range last {
			if _, err := r.ReadMessage(ctx); err != nil {
				t.Fatalf("kafka-go read %d of %d in partition %d: %v", read, last, p, err)
			}
			read++
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if read != want {
		t.Fatalf("kafka-go's Reader read %d records, want %d", read, want)
	}

	configs, err := admin.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: "orders"}}})
	if err != nil || len(configs.Resources) != 1 || len(configs.Resources[0].ConfigEntries) == 0 {
		t.Fatalf("kafka-go describes configs: %+v, %v", configs, err)
	}
	altered, err := admin.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: "orders",
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "60000", ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil || altered.Resources[0].Error != nil {
		t.Fatalf("kafka-go alters configs: %+v, %v", altered, err)
	}
	deleted, err := admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{"orders"}})
	if err != nil || deleted.Errors["orders"] != nil {
		t.Fatalf("kafka-go deletes a topic: %+v, %v", deleted, err)
	}
}

// Admin requests as franz-go sends them, each in the newest version that both sides know.
func TestAdminRequestsOfRealClients(t *testing.T) {
	_, addrs := cluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()

	create := kmsg.NewPtrCreateTopicsRequest()
	ct := kmsg.NewCreateTopicsRequestTopic()
	ct.Topic, ct.NumPartitions, ct.ReplicationFactor = "orders", 2, 3
	create.Topics = append(create.Topics, ct)
	eventually(t, 20*time.Second, "franz-go to create a topic", func() bool {
		r, err := create.RequestWith(ctx, cl)
		return err == nil && len(r.Topics) == 1 && r.Topics[0].ErrorCode == 0
	})

	describe := kmsg.NewPtrDescribeClusterRequest()
	// A node that starts late registers late: the cluster takes requests with two of three.
	eventually(t, 20*time.Second, "DescribeCluster to tell of three brokers and a controller", func() bool {
		r, err := describe.RequestWith(ctx, cl)
		return err == nil && r.ErrorCode == 0 && len(r.Brokers) == 3 && r.ControllerID >= 1
	})

	grow := kmsg.NewPtrCreatePartitionsRequest()
	gt := kmsg.NewCreatePartitionsRequestTopic()
	gt.Topic, gt.Count = "orders", 5
	grow.Topics, grow.TimeoutMillis = append(grow.Topics, gt), 5000
	if r, err := grow.RequestWith(ctx, cl); err != nil || len(r.Topics) != 1 || r.Topics[0].ErrorCode != 0 {
		t.Errorf("CreatePartitions: %+v, %v", r, err)
	}

	elect := kmsg.NewPtrElectLeadersRequest()
	et := kmsg.NewElectLeadersRequestTopic()
	et.Topic, et.Partitions = "orders", []int32{0, 1, 2, 3, 4}
	elect.Topics, elect.TimeoutMillis = append(elect.Topics, et), 5000
	const (
		notNeeded    = 84 // the preferred replica leads already
		notAvailable = 80 // the preferred replica is not in sync: a node that starts late
	)
	eventually(t, 30*time.Second, "ElectLeaders to find all preferred replicas in sync", func() bool {
		r, err := elect.RequestWith(ctx, cl)
		if err != nil || r.ErrorCode != 0 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 5 {
			t.Fatalf("ElectLeaders: %+v, %v", r, err)
		}
		all := true
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode != 0 && p.ErrorCode != notNeeded && p.ErrorCode != notAvailable {
				t.Fatalf("ElectLeaders: orders-%d: code %d", p.Partition, p.ErrorCode)
			}
			all = all && p.ErrorCode != notAvailable
		}
		return all
	})

	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = kmsg.StringPtr("orders")
	meta.Topics = append(meta.Topics, mt)
	m, err := meta.RequestWith(ctx, cl)
	if err != nil || len(m.Topics) != 1 || len(m.Topics[0].Partitions) != 5 {
		t.Fatalf("Metadata: %+v, %v", m, err)
	}
	for _, p := range m.Topics[0].Partitions {
		if p.Leader != p.Replicas[0] {
			t.Errorf("orders-%d is led by %d after its election, replicas %v", p.Partition, p.Leader, p.Replicas)
		}
	}

	alter := kmsg.NewPtrAlterConfigsRequest()
	ar := kmsg.NewAlterConfigsRequestResource()
	ar.ResourceType, ar.ResourceName = kmsg.ConfigResourceTypeTopic, "orders"
	ac := kmsg.NewAlterConfigsRequestResourceConfig()
	ac.Name, ac.Value = "retention.ms", kmsg.StringPtr("60000")
	ar.Configs = append(ar.Configs, ac)
	alter.Resources = append(alter.Resources, ar)
	if r, err := alter.RequestWith(ctx, cl); err != nil || len(r.Resources) != 1 || r.Resources[0].ErrorCode != 0 {
		t.Errorf("AlterConfigs: %+v, %v", r, err)
	}
}
