package soaktest_test

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"soak/soaktest"
)

// A cluster that loses its raft leader for three election intervals. In a test of yours t is the *testing.T, and c.Check() takes the
// place of the last three lines.
func Example() {
	t := begin("TestPausedLeader")
	defer t.end()

	c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond})
	c.WaitIntervals(3)
	f := c.Fault("pause", "raft-leader")
	c.WaitIntervals(6)
	f.Heal()

	r := c.Judge()
	r.Check()
	fmt.Println(r.Report.Outcome)
	// Output: HOLDS
}

// A whole scenario, as `soak run` takes it; the name of one that Soak brings would do as well.
func ExampleRun() {
	t := begin("TestKill")
	defer t.end()

	r := soaktest.Run(t, `
name: kill-a-leader
election_interval: 500ms
intervals: 10
steady: 1
topics: [{name: orders, partitions: 3}]
workloads: {produce: {rate: 100}, metadata: {rate: 10}, autocreate: {per_minute: 60}}
faults: [{kind: kill, target: partition-leader, at: 2, for: 1s, brief: true}]
minimums: {intervals: 10, faults: 1, acked_records: 100}
`, soaktest.Options{})
	r.Check("acked-records", "single-leader-proposing", "coverage")
	fmt.Println(r.Report.Outcome)
	// Output: HOLDS
}

// Records that a client of the test's own sends are judged too: it takes its values from a Producer, and says what became of each.
func ExampleCluster_Producer() {
	t := begin("TestOwnClient")
	defer t.end()

	c := soaktest.Start(t, soaktest.Options{Topics: []soaktest.Topic{{Name: "orders", Partitions: 1}}})
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	defer client.Close()
	orders := c.Producer("orders")
	for range 100 {
		sent := orders.Send(0, 200)
		record, err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: sent.Value}).First()
		if err != nil {
			sent.Unknown(err)
			continue
		}
		sent.Acked(record.Offset)
	}
	c.Check("acked-records", "record-order")
}
