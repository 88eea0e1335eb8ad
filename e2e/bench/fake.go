package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fake measures the same client against brokers that keep records in its own process's memory, replicate nothing and sync nothing.
func fake(t table, seconds int, partitions int32) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic))
	if err != nil {
		return err
	}
	defer c.Close()
	client, err := producer(c.ListenAddrs(), kgo.StickyPartitioner())
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := rate(client, seconds)
	t.add(fmt.Sprintf("idempotent produce, acks=all, %d bytes, in memory, not replicated", valueBytes), r, "records/s", 0)
	return err
}
