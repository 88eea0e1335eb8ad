package core

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"soak/broker/meta"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
)

// replicationWatch follows a cluster and checks what must hold at every moment.
type replicationWatch struct {
	t     *rapid.T
	c     *testCluster
	acked []ackedRecord
	high  map[int32]int64 // by partition: highest high watermark ever seen on any node
	hw    map[[2]int64]int64
	seq   int

	// The newest state that any node has ever applied. The nodes that are up may all be behind it: it counts from the moment when it was committed,
	// and whoever knows of that may have died since.
	applied uint64
	topic   meta.TopicID
	isr     [watchPartitions][]int32

	sequence [watchPartitions]int32 // of the batch that an idempotent producer sends, again and again until it is acknowledged
	again    int                    // batches acknowledged to it that were sent more than once
	sendings [watchPartitions]int   // of that batch
}

type ackedRecord struct {
	partition int32
	offset    int64
	value     string
}

const watchTopic, watchPartitions = "orders", 3

// check: no high watermark is above what the disk of every committed member holds; on one boot of a replica it never goes back.
func (w *replicationWatch) check() {
	for id := int32(1); id <= 3; id++ {
		if n := w.c.nodes[id].core; n != nil && n.applied > w.applied {
			t := n.state.Topic(watchTopic)
			w.applied, w.topic = n.applied, t.ID
			for p := range w.isr {
				w.isr[p] = slices.Clone(t.Partitions[p].ISR)
			}
		}
	}
	for p := range int32(watchPartitions) {
		id := PartitionID{Topic: w.topic, Partition: p}
		for node := int32(1); node <= 3; node++ {
			n := w.c.nodes[node]
			if n.core == nil || n.core.repl.parts[id] == nil {
				continue
			}
			r := n.core.repl.parts[id]
			key := [2]int64{int64(node)<<32 | int64(n.boot), int64(p)}
			if r.hw < w.hw[key] {
				w.t.Fatalf("n%d: high watermark of partition %d went back from %d to %d", node, p, w.hw[key], r.hw)
			}
			w.hw[key] = r.hw
			w.high[p] = max(w.high[p], r.hw)
			if r.durable > n.disk.log(id).end || r.hw > r.durable || r.durable > r.end {
				w.t.Fatalf("n%d, partition %d: hw %d, durable %d, end %d, on disk %d", node, p, r.hw, r.durable, r.end, n.disk.log(id).end)
			}
		}
		for _, member := range w.isr[p] {
			if end := w.c.nodes[member].disk.log(id).end; end < w.high[p] {
				w.t.Fatalf("partition %d was committed up to %d, but n%d of the ISR %v has %d on disk", p, w.high[p], member, w.isr[p], end)
			}
		}
	}
}

func (w *replicationWatch) run(d time.Duration) {
	for end := w.c.now + int64(d); w.c.now < end; w.check() {
		w.c.run(5 * time.Millisecond)
	}
}

// produce sends a batch to whichever node believes that it leads the partition (several may), or else to any.
func (w *replicationWatch) produce(node, p int32, acks int16) {
	if w.c.nodes[node].core == nil {
		return
	}
	w.seq++
	values := []string{fmt.Sprintf("p%d-%d.", p, w.seq), fmt.Sprintf("p%d-%d-second.", p, w.seq)}
	req := produceRequest(watchTopic, acks, 3*time.Second, values...)
	req.Topics[0].Partitions[0].Partition = p
	w.c.ask(node, req, func(r kmsg.Response) {
		if a := r.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; a.ErrorCode == errNone && acks == -1 {
			w.acked = append(w.acked, ackedRecord{p, a.BaseOffset, values[0]}, ackedRecord{p, a.BaseOffset, values[1]})
		}
	})
}

// produceAgain sends an idempotent producer's batch to whichever node, as often as it is called until the batch is acknowledged.
func (w *replicationWatch) produceAgain(node, p int32) {
	if w.c.nodes[node].core == nil {
		return
	}
	sequence := w.sequence[p]
	value := fmt.Sprintf("p%d-sequence-%d.", p, sequence)
	req := produceRequest(watchTopic, -1, 3*time.Second, value)
	req.Topics[0].Partitions[0].Partition = p
	batchtest.By(req.Topics[0].Partitions[0].Records, int64(p), 0, sequence)
	w.sendings[p]++
	w.c.ask(node, req, func(r kmsg.Response) {
		a := r.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if a.ErrorCode != errNone {
			return
		}
		w.acked = append(w.acked, ackedRecord{p, a.BaseOffset, value})
		if w.sequence[p] == sequence {
			if w.sendings[p] > 1 {
				w.again++
			}
			w.sequence[p], w.sendings[p] = sequence+1, 0
		}
	})
}

// remembered checks that an idempotent producer's batches stand in the log once each, in order, and that every replica remembers the same.
func (w *replicationWatch) remembered(p int32, batches []testBatch) {
	next := int32(0)
	for _, b := range batches {
		h, err := batch.ParseHeader(b.data)
		if err != nil {
			w.t.Fatalf("partition %d, offset %d: %v", p, b.base, err)
		}
		if !h.Idempotent() {
			continue
		}
		if h.BaseSequence != next {
			w.t.Fatalf("partition %d, offset %d: sequence %d where %d is due", p, b.base, h.BaseSequence, next)
		}
		next++
	}
	for node := int32(1); node <= 3; node++ {
		n := w.c.nodes[node]
		id := PartitionID{Topic: n.core.state.Topic(watchTopic).ID, Partition: p}
		if !n.core.repl.parts[id].producers.Equal(n.disk.log(id).producers()) {
			w.t.Fatalf("partition %d: n%d does not remember what its log holds", p, node)
		}
	}
}

// Nodes die, come back, are cut off and see each other late, while batches are produced to them. Whatever the schedule: nothing that is
// committed is missing on a member of the ISR, high watermarks never go back, replicas end up the same, and every record that was
// acknowledged with acks=all is there at its offset; what an idempotent producer sends again is there once.
func TestReplicationUnderFaults(t *testing.T) {
	acknowledged, cut, again := 0, 0, 0
	reader := rand.Reader // raft's election jitter reads it: a schedule that fails must fail again
	t.Cleanup(func() { rand.Reader = reader })
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.Uint64().Draw(t, "noise")
		rand.Reader = mathrand.NewChaCha8([32]byte{byte(noise), byte(noise >> 8), byte(noise >> 16)})
		c := newTestCluster(t, 0, nil)
		c.waitReady()
		createTopic(c, 1, watchTopic, watchPartitions)
		c.run(300 * time.Millisecond)
		w := &replicationWatch{t: t, c: c, high: map[int32]int64{}, hw: map[[2]int64]int64{}}
		spread := 1 + int64(rapid.SampledFrom([]int{0, 3, 20}).Draw(t, "jitter ms"))*int64(time.Millisecond)
		slow := 1 + int64(rapid.SampledFrom([]int{0, 5, 30}).Draw(t, "disk ms"))*int64(time.Millisecond)
		random := func(below int64) int64 {
			noise = noise*6364136223846793005 + 1442695040888963407
			return int64(noise>>33) % below
		}
		c.jitter = func() int64 { return random(spread) }
		c.slow = func() int64 { return random(slow) }
		down := int32(0)
		for range rapid.IntRange(4, 24).Draw(t, "steps") {
			node := int32(rapid.IntRange(1, 3).Draw(t, "node"))
			switch rapid.SampledFrom([]string{"produce", "produce", "produce", "again", "again", "again", "burst", "kill", "start", "isolate", "one-way", "heal", "wait"}).Draw(t, "step") {
			case "produce":
				w.produce(node, int32(rapid.IntRange(0, watchPartitions-1).Draw(t, "partition")), int16(rapid.SampledFrom([]int{-1, -1, 1}).Draw(t, "acks")))
			case "again":
				p := int32(rapid.IntRange(0, watchPartitions-1).Draw(t, "partition"))
				for n := node; n < node+2; n++ { // a client whose metadata is old asks another node as well
					w.produceAgain(1+n%3, p)
				}
			case "burst":
				for i := range int32(12) {
					w.produce(1+i%3, i/3%watchPartitions, -1)
				}
			case "kill":
				if down == 0 {
					down = node
					c.kill(node)
				}
			case "start":
				if down != 0 {
					c.start(down)
					down = 0
				}
			case "isolate":
				c.isolate(node, true)
			case "one-way":
				c.cut[[2]int32{node, node%3 + 1}] = true
			case "heal":
				c.cut = map[[2]int32]bool{}
			case "wait":
				w.run(time.Duration(rapid.IntRange(500, 3000).Draw(t, "ms")) * time.Millisecond)
			}
			w.run(time.Duration(rapid.IntRange(0, 300).Draw(t, "pause ms")) * time.Millisecond)
		}
		c.cut = map[[2]int32]bool{}
		if down != 0 {
			c.start(down)
		}
		w.settle()
		acknowledged += len(w.acked)
		again += w.again
		for _, n := range c.nodes {
			cut += n.disk.cuts
		}
	})
	if acknowledged == 0 || cut == 0 || again == 0 {
		t.Errorf("%d records acknowledged, %d of them of batches that were sent again, and %d truncations over all schedules: the test proves nothing", acknowledged, again, cut)
	}
}

// settle waits until everything is whole again and compares the replicas with each other and with what was acknowledged.
func (w *replicationWatch) settle() {
	c := w.c
	id := func(p int32) PartitionID {
		return PartitionID{Topic: c.nodes[1].core.state.Topic(watchTopic).ID, Partition: p}
	}
	whole := func() bool {
		w.check()
		for p := range int32(watchPartitions) {
			for node := int32(1); node <= 3; node++ {
				n := c.nodes[node]
				t := n.core.state.Topic(watchTopic)
				if t == nil || len(t.Partitions[p].ISR) != 3 || n.core.repl.parts[id(p)] == nil {
					return false
				}
				r, first := n.core.repl.parts[id(p)], c.nodes[1].core.repl.parts[id(p)]
				if r.hw != r.end || first == nil || r.end != first.end || r.durable != r.end || len(r.writes) > 0 || n.core.repl.waiting != 0 {
					return false
				}
			}
		}
		return true
	}
	c.until(60*time.Second, "every replica is in the ISR and committed to its end", whole)
	for p := range int32(watchPartitions) {
		logs := make([][]byte, 3)
		for node := int32(1); node <= 3; node++ {
			for _, b := range c.nodes[node].disk.log(id(p)).batches {
				logs[node-1] = append(logs[node-1], b.data...)
			}
		}
		if !bytes.Equal(logs[0], logs[1]) || !bytes.Equal(logs[0], logs[2]) {
			w.t.Fatalf("partition %d: the replicas differ", p)
		}
		w.remembered(p, c.nodes[1].disk.log(id(p)).batches)
	}
	for _, a := range w.acked {
		batches := c.nodes[1].disk.log(id(a.partition)).batches
		i := slices.IndexFunc(batches, func(b testBatch) bool { return b.base == a.offset })
		if i < 0 || !bytes.Contains(batches[i].data, []byte(a.value)) {
			w.t.Fatalf("partition %d: %q was acknowledged at offset %d and is not there", a.partition, a.value, a.offset)
		}
	}
}
