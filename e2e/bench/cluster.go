package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic       = "bench"
	valueBytes  = 100
	patience    = 60 * time.Second // for a step that should take seconds
	faultLasts  = 6 * time.Second  // of the killed controller
	steadyEvery = 5 * time.Millisecond
)

type bench struct {
	soak, driver string
	seconds      int
	partitions   int32
	bootstrap    []string
}

// cluster calls the soak binary for a cluster, and gives what it printed.
func (b *bench) cluster(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.soak, append([]string{"cluster"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("soak cluster %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// whole measures a cluster from its start to its end.
func (b bench) whole(t table) error {
	return b.up(t, func(first *kgo.Client) error {
		rate, err := rate(first, b.seconds)
		if err != nil {
			return err
		}
		t.add(fmt.Sprintf("idempotent produce, acks=all, %d bytes, synced", valueBytes), rate, "records/s", 0)
		first.Close()
		longest, err := b.failover()
		if err != nil {
			return err
		}
		t.add("the controller killed: longest time without an acknowledged record", longest.Seconds(), "s", 2)
		return b.links(t)
	})
}

// unsynced measures what records left to the kernel are worth.
func (b bench) unsynced(t table) error {
	return b.up(nothing(), func(c *kgo.Client) error {
		rate, err := rate(c, b.seconds)
		t.add(fmt.Sprintf("idempotent produce, acks=all, %d bytes, left to the kernel", valueBytes), rate, "records/s", 0)
		return err
	}, "--flush", "none")
}

// nothing is a table that nobody reads.
func nothing() table { return table{rows: map[string]*row{}} }

// up starts a cluster, has it used once it has taken a record, and takes it down.
func (b *bench) up(t table, use func(*kgo.Client) error, flags ...string) (err error) {
	began := time.Now()
	list, err := b.cluster(append([]string{"up", "-d", "-q", "--driver", b.driver}, flags...)...)
	if err != nil {
		return err
	}
	defer func() {
		_, down := b.cluster("down")
		err = errors.Join(err, down)
	}()
	b.bootstrap = strings.Split(list, ",")
	if err := b.create(); err != nil {
		return err
	}
	first, err := b.client(nil)
	if err != nil {
		return err
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := first.ProduceSync(ctx, record()).FirstErr(); err != nil {
		return fmt.Errorf("the first record: %w", err)
	}
	t.add("from nothing to the first acknowledged record", time.Since(began).Seconds(), "s", 2)
	return use(first)
}

// client is a producer as the contract's bounds suppose it: idempotent, metadata of 250 ms at most, requests of 3 s.
func (b *bench) client(p kgo.Partitioner) (*kgo.Client, error) {
	if p == nil {
		p = kgo.StickyPartitioner()
	}
	return producer(b.bootstrap, p)
}

func producer(bootstrap []string, p kgo.Partitioner) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.RecordPartitioner(p),
		kgo.SeedBrokers(bootstrap...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.ProduceRequestTimeout(3*time.Second), kgo.RequestTimeoutOverhead(3*time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.DisableClientMetrics(), kgo.MaxBufferedRecords(100_000),
	)
}

func record() *kgo.Record { return &kgo.Record{Value: make([]byte, valueBytes)} }

// create makes the topic, three replicas a partition.
func (b *bench) create() error {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap...))
	if err != nil {
		return err
	}
	defer c.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 3000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, b.partitions, 3
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := req.RequestWith(ctx, c)
	if err != nil {
		return fmt.Errorf("creating the topic: %w", err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("creating the topic: %w", err)
		}
	}
	return nil
}

// rate produces as fast as acknowledgements let it, and counts those.
func rate(c *kgo.Client, seconds int) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	var acked atomic.Int64
	var failed atomic.Pointer[error]
	began := time.Now()
	for ctx.Err() == nil {
		c.Produce(ctx, record(), func(_ *kgo.Record, err error) {
			switch {
			case err == nil:
				acked.Add(1)
			case !errors.Is(err, context.DeadlineExceeded):
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	took := time.Since(began)
	n := acked.Load()
	if p := failed.Load(); p != nil {
		return 0, fmt.Errorf("producing at full speed: %w", *p)
	}
	flush, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := c.Flush(flush); err != nil {
		return 0, fmt.Errorf("after producing at full speed: %w", err)
	}
	return float64(n) / took.Seconds(), nil
}

// failover kills the controller under a steady load of every partition, and gives the longest time that one was without an acknowledgement.
func (b *bench) failover() (time.Duration, error) {
	c, err := b.client(kgo.ManualPartitioner())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	last := make([]atomic.Int64, b.partitions) // ns since began
	var longest atomic.Int64
	began := time.Now()
	send := func(partition int32) {
		r := record()
		r.Topic, r.Partition = topic, partition
		c.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				return
			}
			now := int64(time.Since(began))
			gap := now - last[partition].Swap(now)
			for old := longest.Load(); gap > old && !longest.CompareAndSwap(old, gap); old = longest.Load() {
			}
		})
	}
	for p := range b.partitions {
		send(p)
	}
	if err := c.Flush(ctx); err != nil {
		return 0, fmt.Errorf("before the fault: %w", err)
	}
	longest.Store(0) // connections were made
	tick := time.NewTicker(steadyEvery)
	defer tick.Stop()
	killed := make(chan error, 1)
	go func() {
		_, err := b.cluster("fault", "kill", "raft-leader", "--for", faultLasts.String())
		killed <- err
	}()
	until := time.Now().Add(faultLasts + 4*time.Second)
	for i := int32(0); time.Now().Before(until); i++ {
		<-tick.C
		send(i % b.partitions)
	}
	if err := <-killed; err != nil {
		return 0, err
	}
	return time.Duration(longest.Load()), c.Flush(ctx)
}
