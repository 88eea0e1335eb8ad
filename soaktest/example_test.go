package soaktest_test

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"soak/internal/standin"
	"soak/soaktest"
)

// A cluster that loses its raft leader for three election intervals. In a test of yours t is the *testing.T. Check() without names wants every checker to hold.
func Example() {
	t := standin.New("TestPausedLeader")
	defer t.End()

	c := soaktest.Start(t, soaktest.Options{ElectionInterval: 500 * time.Millisecond})
	c.WaitIntervals(3)
	f := c.Fault("pause", "raft-leader")
	c.WaitIntervals(6)
	f.Heal()
	c.Check("single-leader-proposing", "no-crash")
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A whole scenario, as `soak run` takes it; the name of one that Soak brings would do as well.
func ExampleRun() {
	t := standin.New("TestKill")
	defer t.End()

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
	fmt.Println(r.Report.Outcome) // HOLDS
}

// Records that a client of the test's own sends are judged too: it takes its values from a Producer, and says what became of each.
func ExampleCluster_Producer() {
	t := standin.New("TestOwnClient")
	defer t.End()

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
