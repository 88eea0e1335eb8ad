package core

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/broker/partlog/producers"
)

// idempotentRequest is one batch of an idempotent producer for partition 0 of orders.
func idempotentRequest(id int64, epoch int16, sequence int32, acks int16, values ...string) *kmsg.ProduceRequest {
	req := produceRequest("orders", acks, 5*time.Second, values...)
	batchtest.By(req.Topics[0].Partitions[0].Records, id, epoch, sequence)
	return req
}

func produceAs(c *testCluster, node int32, id int64, sequence int32, values ...string) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	return call[*kmsg.ProduceResponse](c, node, idempotentRequest(id, 0, sequence, -1, values...)).Topics[0].Partitions[0]
}

func wantProduced(t *testing.T, what string, a kmsg.ProduceResponseTopicPartition, code int16, offset int64) {
	t.Helper()
	if a.ErrorCode != code || a.BaseOffset != offset {
		t.Fatalf("%s: code %d at offset %d, want code %d at %d", what, a.ErrorCode, a.BaseOffset, code, offset)
	}
}

func newProducerID(c *testCluster, node int32) int64 {
	c.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	r := call[*kmsg.InitProducerIDResponse](c, node, req)
	if r.ErrorCode != errNone || r.ProducerEpoch != 0 {
		c.t.Fatalf("n%d gives a producer id: code %d, epoch %d", node, r.ErrorCode, r.ProducerEpoch)
	}
	return r.ProducerID
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	given := map[int64]bool{}
	take := func(node int32) {
		t.Helper()
		id := newProducerID(c, node)
		if id < 0 || given[id] {
			t.Fatalf("n%d gave the id %d, which was given before or cannot be", node, id)
		}
		given[id] = true
	}
	for node := int32(1); node <= 3; node++ {
		take(node)
		take(node)
	}
	old := c.leader()
	c.kill(old)
	c.until(10*time.Second, "another controller", func() bool { return c.leader() != 0 && c.leader() != old })
	take(c.leader())
	c.start(old)
	c.waitReady()
	for node := int32(1); node <= 3; node++ {
		take(node)
	}
	for node := int32(1); node <= 3; node++ {
		c.kill(node)
	}
	for node := int32(1); node <= 3; node++ {
		c.start(node)
	}
	c.waitReady()
	take(1)
}

func TestInitProducerIDIsRefusedSoThatClientsKnowWhatToDo(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	transactional, empty := "tx", ""
	for _, tc := range []struct {
		id   *string
		code int16
	}{{&transactional, errUnsupportedVersion}, {&empty, errInvalidRequest}} {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID = 4, tc.id
		if r := call[*kmsg.InitProducerIDResponse](c, 1, req); r.ErrorCode != tc.code || r.ProducerID != -1 {
			t.Errorf("transactional id %q: code %d, producer id %d, want code %d and none", *tc.id, r.ErrorCode, r.ProducerID, tc.code)
		}
	}
	lone := c.leader()%3 + 1 // not the controller, and cut off from it
	c.isolate(lone, true)
	if r := call[*kmsg.InitProducerIDResponse](c, lone, kmsg.NewPtrInitProducerIDRequest()); r.ErrorCode != errCoordinatorLoading {
		t.Errorf("without a controller: code %d, want %d", r.ErrorCode, errCoordinatorLoading)
	}
	c.run(5 * time.Second) // now it knows of none
	if r := call[*kmsg.InitProducerIDResponse](c, lone, kmsg.NewPtrInitProducerIDRequest()); r.ErrorCode != errCoordinatorLoading {
		t.Errorf("without a controller for long: code %d, want %d", r.ErrorCode, errCoordinatorLoading)
	}
}

func TestABatchThatIsSentAgainIsAcknowledgedAtItsFirstOffset(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	for i := range int32(6) {
		wantProduced(t, "in sequence", produceAs(c, lead, 7, 2*i, fmt.Sprintf("a%d", i), "b"), errNone, int64(2*i))
	}
	for i := int32(1); i < 6; i++ {
		wantProduced(t, "one of the last five again", produceAs(c, lead, 7, 2*i, fmt.Sprintf("a%d", i), "b"), errNone, int64(2*i))
	}
	wantProduced(t, "the sixth last again", produceAs(c, lead, 7, 0, "a0", "b"), errOutOfOrderSequence, -1)
	wantProduced(t, "behind a gap", produceAs(c, lead, 7, 13, "c"), errOutOfOrderSequence, -1)
	wantProduced(t, "nobody's later batch", produceAs(c, lead, 8, 5, "c"), errUnknownProducerID, -1)
	wantProduced(t, "a new epoch", call[*kmsg.ProduceResponse](c, lead, idempotentRequest(7, 1, 0, -1, "d")).Topics[0].Partitions[0], errNone, 12)
	wantProduced(t, "the old epoch", produceAs(c, lead, 7, 12, "e"), errInvalidProducerEpoch, -1)
	wantProduced(t, "acks=1, again", call[*kmsg.ProduceResponse](c, lead, idempotentRequest(7, 1, 0, 1, "d")).Topics[0].Partitions[0], errNone, 12)
	for what, req := range map[string]*kmsg.ProduceRequest{"no sequence": idempotentRequest(9, 0, -1, -1, "f"), "no epoch": idempotentRequest(9, -1, 0, -1, "f")} {
		wantProduced(t, what, call[*kmsg.ProduceResponse](c, lead, req).Topics[0].Partitions[0], errInvalidRecord, -1)
	}
	if n := replicaOn(c, lead, "orders").end; n != 13 {
		t.Errorf("the log ends at %d, want 13", n)
	}
}

// A batch that is not replicated yet is sent again: both sendings wait for the same high watermark, behind what came first.
func TestADuplicateWaitsWithTheFirst(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	wantProduced(t, "first", produceAs(c, lead, 7, 0, "a"), errNone, 0)
	for id := int32(1); id <= 3; id++ { // nobody may fetch, and nobody has missed that yet
		if id != lead {
			c.cut[[2]int32{id, lead}] = true
		}
	}
	var answers []string
	ask := func(name string, sequence int32) {
		c.ask(lead, idempotentRequest(7, 0, sequence, -1, "v"), func(r kmsg.Response) {
			a := r.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			answers = append(answers, fmt.Sprintf("%s %d@%d", name, a.ErrorCode, a.BaseOffset))
		})
	}
	ask("one", 1)
	ask("two", 2)
	ask("one again", 1)
	ask("two again", 2)
	ask("zero again", 0) // of whose replication nothing is missing
	c.run(100 * time.Millisecond)
	if got := fmt.Sprint(answers); got != "[zero again 0@0]" {
		t.Fatalf("answered before they were replicated: %s", got)
	}
	c.cut = map[[2]int32]bool{}
	c.until(10*time.Second, "all are answered", func() bool { return len(answers) == 5 })
	want := "[zero again 0@0 one 0@1 one again 0@1 two 0@2 two again 0@2]"
	if got := fmt.Sprint(answers); got != want {
		t.Errorf("answers %s\nwant    %s", got, want)
	}
	if n := replicaOn(c, lead, "orders").end; n != 3 {
		t.Errorf("the log ends at %d, want 3", n)
	}
}

// What a leader remembers survives it: the next leader has it from replication, and a node that starts anew from its log.
func TestWhatIsRememberedSurvivesFailoverAndRestart(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	for i := range int32(4) {
		wantProduced(t, "in sequence", produceAs(c, lead, 7, i, fmt.Sprint(i)), errNone, int64(i))
	}
	c.kill(lead)
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	next := leads(c, "orders")
	wantProduced(t, "again, to the next leader", produceAs(c, next, 7, 3, "3"), errNone, 3)
	wantProduced(t, "the next, to the next leader", produceAs(c, next, 7, 4, "4"), errNone, 4)
	c.start(lead)
	waitISR(c, "orders", 3)
	for node := int32(1); node <= 3; node++ {
		c.kill(node)
	}
	for node := int32(1); node <= 3; node++ {
		c.start(node)
	}
	c.waitReady()
	last := leads(c, "orders")
	wantProduced(t, "again, after all were restarted", produceAs(c, last, 7, 0, "0"), errNone, 0)
	wantProduced(t, "the next, after all were restarted", produceAs(c, last, 7, 5, "5"), errNone, 5)
	sameProducers(c, "orders")
}

// sameProducers waits until all replicas hold the same log and checks that they remember the same of it.
func sameProducers(c *testCluster, topic string) {
	c.t.Helper()
	sameLogs(c, topic)
	id := PartitionID{Topic: c.nodes[1].core.state.Topic(topic).ID}
	for node := int32(1); node <= 3; node++ {
		if !replicaOn(c, node, topic).producers.Equal(c.nodes[node].disk.log(id).producers()) {
			c.t.Fatalf("n%d does not remember what its log holds", node)
		}
	}
}

// A deposed leader's tail is cut, and with it what it remembered of that: leading again, it takes what is sent again for new, and what was before the tail
// for known.
func TestWhatWasCutIsForgotten(t *testing.T) {
	c, lead := newTopicCluster(t, func(c *Config) { c.InitialLeader = InitialLeaderBalanced })
	for i := range int32(3) {
		wantProduced(t, "in sequence", produceAs(c, lead, 7, i, fmt.Sprint("shared-", i)), errNone, int64(i))
	}
	c.isolate(lead, true)
	for i := int32(3); i < 10; i++ { // more than are remembered
		c.ask(lead, idempotentRequest(7, 0, i, 1, fmt.Sprint("alone-", i)), func(kmsg.Response) {})
	}
	c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
	if n := replicaOn(c, lead, "orders").end; n != 10 {
		t.Fatalf("the isolated leader's log ends at %d, want 10: nothing to cut", n)
	}
	next := leads(c, "orders")
	wantProduced(t, "to the next leader", produceAs(c, next, 7, 3, "new-3"), errNone, 3)
	c.isolate(lead, false)
	waitISR(c, "orders", 3)
	sameProducers(c, "orders")
	// The leadership goes back to the preferred replica when all has been quiet for a while.
	c.until(30*time.Second, fmt.Sprintf("n%d leads again (replicas %v)", lead, part(c, "orders").Replicas), func() bool { return part(c, "orders").Leader == lead })
	if leads(c, "orders") != lead {
		t.Fatal("the deposed leader never led again")
	}
	wantProduced(t, "what it has from the next leader, again", produceAs(c, lead, 7, 3, "new-3"), errNone, 3)
	wantProduced(t, "before the tail, again", produceAs(c, lead, 7, 1, "shared-1"), errNone, 1)
	wantProduced(t, "what it had alone", produceAs(c, lead, 7, 4, "again-4"), errNone, 4)
}

// While what is left of a cut log is being read, nobody's sequences can be judged.
func TestNoSequenceIsJudgedWhileTheLogIsBeingCut(t *testing.T) {
	r := &replica{}
	h := mustHeader(t, batchtest.By(batchtest.Make(0, 0, "a"), 7, 0, 0))
	if _, duplicate, code := r.judge(h); code != errNotLeader || duplicate {
		t.Errorf("code %d, duplicate %v; want code %d", code, duplicate, errNotLeader)
	}
	r.producers = producers.New(0)
	if _, _, code := r.judge(h); code != errNone {
		t.Errorf("code %d when it is read", code)
	}
}

func TestPlantedIdempotenceBugs(t *testing.T) {
	t.Run(bugs.NoProducerStateOnFollowers.Name(), func(t *testing.T) {
		c := newTestCluster(t, bugs.Set(0).With(bugs.NoProducerStateOnFollowers), nil)
		c.waitReady()
		createTopic(c, 1, "orders", 1)
		lead := leads(c, "orders")
		wantProduced(t, "first", produceAs(c, lead, 7, 0, "twice"), errNone, 0)
		c.kill(lead)
		c.until(5*time.Second, "another leader", func() bool { return part(c, "orders").Leader != lead })
		next := leads(c, "orders")
		wantProduced(t, "again", produceAs(c, next, 7, 0, "twice"), errNone, 1)
		if n := bytes.Count(fetch(c, next, "orders", -1, 0).RecordBatches, []byte("twice")); n != 2 {
			t.Errorf("it is there %d times", n)
		}
	})
	t.Run(bugs.PIDCounterVolatile.Name(), func(t *testing.T) {
		c := newTestCluster(t, bugs.Set(0).With(bugs.PIDCounterVolatile), nil)
		c.waitReady()
		first := newProducerID(c, 1)
		old := c.leader()
		c.kill(old)
		c.until(10*time.Second, "another controller", func() bool { return c.leader() != 0 && c.leader() != old })
		if again := newProducerID(c, c.leader()); again != first {
			t.Errorf("the next controller gave %d after %d", again, first)
		}
	})
	t.Run(bugs.PipelinedReorder.Name(), func(t *testing.T) {
		c := newTestCluster(t, bugs.Set(0).With(bugs.PipelinedReorder), nil)
		c.waitReady()
		createTopic(c, 1, "orders", 1)
		n := c.nodes[leads(c, "orders")]
		var order []int32
		for corr := int32(1001); corr <= 1002; corr++ {
			n.awaits[corr] = func(kmsg.Response) { order = append(order, corr) }
		}
		c.step(n, &ClientRequest{Conn: 1 << 40, Corr: 1001, Req: produceRequest("orders", -1, time.Second, "slow")})
		c.step(n, &ClientRequest{Conn: 1 << 40, Corr: 1002, Req: kmsg.NewPtrApiVersionsRequest()})
		c.until(5*time.Second, "both are answered", func() bool { return len(order) == 2 })
		if order[0] != 1002 {
			t.Error("the answers came in the order of the requests")
		}
	})
}

func mustHeader(t *testing.T, b []byte) batch.Header {
	t.Helper()
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// As in Kafka, the size of the ISR is looked at before the sequence: a batch that is in the log already is refused too, and acknowledged at its first offset once
// the ISR is large enough again.
func TestABatchThatIsSentAgainWaitsForTheISRToo(t *testing.T) {
	c, lead := newTopicCluster(t, nil)
	wantProduced(t, "first", produceAs(c, lead, 7, 0, "a"), errNone, 0)
	r := replicaOn(c, lead, "orders")
	isr := r.state.ISR
	r.state.ISR = []int32{lead}
	wantProduced(t, "again, with too small an ISR", produceAs(c, lead, 7, 0, "a"), errNotEnoughReplicas, -1)
	wantProduced(t, "with acks=1 all the same", call[*kmsg.ProduceResponse](c, lead, idempotentRequest(7, 0, 0, 1, "a")).Topics[0].Partitions[0], errNone, 0)
	r.state.ISR = isr
	wantProduced(t, "again", produceAs(c, lead, 7, 0, "a"), errNone, 0)
	if r.end != 1 {
		t.Errorf("the log ends at %d, want 1", r.end)
	}
}
