// Command bench measures a cluster of the reference broker as its users meet it, through the soak binary and franz-go: how soon it takes a record
// from nothing, how long it takes none when its controller dies, and how many it takes in a second. It prints a Markdown table. Figures
// are of the machine that it runs on, all of it: clients, brokers and whatever else is at work there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
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

func main() {
	soak := flag.String("soak", "bin/soak", "the soak binary (make build)")
	drivers := flag.String("drivers", "process,docker", "drivers, with commas")
	runs := flag.Int("n", 3, "clusters of each driver; the median is printed, with least and most")
	seconds := flag.Int("seconds", 10, "of produce at full speed, on each cluster")
	partitions := flag.Int("partitions", 6, "of the topic that is produced to")
	flag.Parse()
	fmt.Printf("%s/%s, %d processors, %s\n\n| driver | what | median | least | most |\n|---|---|---|---|---|\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	failed := false
	for driver := range strings.SplitSeq(*drivers, ",") {
		var all []figures
		for range *runs {
			b := bench{soak: *soak, driver: driver, seconds: *seconds, partitions: int32(*partitions)}
			f, err := b.run()
			if err != nil {
				fmt.Fprintf(os.Stderr, "error: %s: %v\n", driver, err)
				failed = true
				break
			}
			all = append(all, f)
		}
		report(driver, all)
	}
	if failed {
		os.Exit(1)
	}
}

// figures of one cluster.
type figures struct {
	start    time.Duration // from nothing to the first acknowledged record
	failover time.Duration // the longest time without an acknowledged record around the death of the controller
	rate     float64       // acknowledged records a second
}

func report(driver string, all []figures) {
	if len(all) == 0 {
		return
	}
	row := func(what string, of func(figures) float64, unit string, digits int) {
		var vs []float64
		for _, f := range all {
			vs = append(vs, of(f))
		}
		slices.Sort(vs)
		fmt.Printf("| %s | %s | %.*f %s | %.*f | %.*f |\n", driver, what, digits, vs[len(vs)/2], unit, digits, vs[0], digits, vs[len(vs)-1])
	}
	row("from nothing to the first acknowledged record", func(f figures) float64 { return f.start.Seconds() }, "s", 2)
	row("the controller killed: longest time without an acknowledged record", func(f figures) float64 { return f.failover.Seconds() }, "s", 2)
	row(fmt.Sprintf("idempotent produce, acks=all, %d bytes, synced", valueBytes), func(f figures) float64 { return f.rate }, "records/s", 0)
}

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

func (b *bench) run() (f figures, err error) {
	began := time.Now()
	list, err := b.cluster("up", "-d", "-q", "--driver", b.driver)
	if err != nil {
		return f, err
	}
	defer func() {
		_, down := b.cluster("down")
		err = errors.Join(err, down)
	}()
	b.bootstrap = strings.Split(list, ",")
	if err := b.create(); err != nil {
		return f, err
	}
	first, err := b.client(nil)
	if err != nil {
		return f, err
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := first.ProduceSync(ctx, record()).FirstErr(); err != nil {
		return f, fmt.Errorf("the first record: %w", err)
	}
	f.start = time.Since(began)
	if f.rate, err = b.rate(first); err != nil {
		return f, err
	}
	first.Close()
	f.failover, err = b.failover()
	return f, err
}

// client is a producer as the contract's bounds suppose it: idempotent, metadata of 250 ms at most, requests of 3 s.
func (b *bench) client(p kgo.Partitioner) (*kgo.Client, error) {
	if p == nil {
		p = kgo.StickyPartitioner()
	}
	return kgo.NewClient(
		kgo.RecordPartitioner(p),
		kgo.SeedBrokers(b.bootstrap...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
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
func (b *bench) rate(c *kgo.Client) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second)
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
