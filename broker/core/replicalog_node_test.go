package core

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
)

// logNode is a node with one idle replica and no raft: enough to drive a log and its reads by hand.
func logNode(t *testing.T) (*Node, *replica) {
	t.Helper()
	n := &Node{
		cfg: Config{ID: 1, Boot: 1, ReplicaLag: time.Second, MaxFetchBytes: 1 << 20}, now: testStart, state: meta.NewState(),
		disk: map[uint64]func(*DiskDone){}, conns: map[ConnID]*conn{},
	}
	n.initReplication(Boot{})
	n.repl.active = true
	res := n.state.Apply(1, &meta.Command{Create: &meta.CreateTopic{
		Name: "orders", ID: meta.TopicID{1}, Partitions: []meta.NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: meta.NoLeader}},
	}})
	if res.Refused != "" {
		t.Fatal(res.Refused)
	}
	n.partitionChanged(n.state.Topic("orders"), 0, 1)
	return n, n.repl.order[0]
}

func appendBatch(t *testing.T, n *Node, r *replica, epoch int32, values ...string) {
	t.Helper()
	data := batchtest.Make(r.end, epoch, values...)
	hs, err := batch.Validate(data, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.appendLog(r, data, hs)
}

// complete gives the oldest disk operation that is not done its completion.
func complete(n *Node, done DiskDone) {
	done.ID = n.out.Disk[0].ID
	n.out.Disk = n.out.Disk[1:]
	f := n.disk[done.ID]
	delete(n.disk, done.ID)
	f(&done)
}

func TestTruncationBehindAppendsUnderWay(t *testing.T) {
	n, r := logNode(t)
	appendBatch(t, n, r, 1, "a", "b")
	appendBatch(t, n, r, 1, "c")
	n.truncateLog(r, 2)
	appendBatch(t, n, r, 3, "d", "e")
	for i, want := range []int64{2, 2, 2, 4} {
		complete(n, DiskDone{End: want})
		if r.durable != want {
			t.Errorf("after operation %d: durable to %d, want %d", i+1, r.durable, want)
		}
	}
	if r.end != 4 || n.repl.queued != 0 || r.latestEpoch() != 3 || r.epochBefore(2) != 1 {
		t.Errorf("end %d, %d bytes queued, epochs %v", r.end, n.repl.queued, r.epochs)
	}
}

func TestTheDiskCutsABatchWhole(t *testing.T) {
	n, r := logNode(t)
	appendBatch(t, n, r, 1, "a", "b")
	appendBatch(t, n, r, 2, "c", "d", "e")
	complete(n, DiskDone{End: 2})
	complete(n, DiskDone{End: 5})
	n.truncateLog(r, 3)
	complete(n, DiskDone{End: 2})
	if r.end != 2 || r.durable != 2 || r.latestEpoch() != 1 || len(r.cache.batches) != 1 {
		t.Errorf("end %d, durable to %d, epochs %v, %d batches cached; the disk ends at 2", r.end, r.durable, r.epochs, len(r.cache.batches))
	}
}

func TestAColdReadAcrossATruncationGivesNothing(t *testing.T) {
	read := func(t *testing.T, meanwhile func(*Node, *replica), done func(data []byte) DiskDone) kmsg.FetchResponseTopicPartition {
		t.Helper()
		n, r := logNode(t)
		appendBatch(t, n, r, 1, "a")
		appendBatch(t, n, r, 1, "b")
		data := append(append([]byte{}, n.out.Disk[0].Data...), n.out.Disk[1].Data...)
		complete(n, DiskDone{})
		complete(n, DiskDone{})
		r.cache = cache{}
		c := &conn{id: 9}
		rq := &request{ClientRequest: &ClientRequest{Conn: 9, Req: fetchRequest("orders", debuggingConsumer, 0, 0)}, conn: c}
		c.queue = append(c.queue, rq)
		n.onFetch(rq, rq.Req.(*kmsg.FetchRequest))
		if len(n.out.Disk) != 1 || n.out.Disk[0].Kind != OpLogRead {
			t.Fatalf("no cold read: %+v", n.out.Disk)
		}
		op := n.out.Disk[0]
		n.out.Disk = nil
		meanwhile(n, r)
		n.out.Disk = append([]DiskOp{op}, n.out.Disk...)
		complete(n, done(data))
		if len(n.out.Responses) != 1 {
			t.Fatalf("%d responses", len(n.out.Responses))
		}
		return n.out.Responses[0].Kmsg.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	}
	fine := func(data []byte) DiskDone { return DiskDone{Data: data} }
	nothing := func(*Node, *replica) {}
	if a := read(t, nothing, fine); a.ErrorCode != errNone || len(a.RecordBatches) == 0 {
		t.Errorf("undisturbed: code %d, %d bytes", a.ErrorCode, len(a.RecordBatches))
	}
	if a := read(t, func(n *Node, r *replica) { n.truncateLog(r, 1) }, fine); a.ErrorCode != errNotLeader || len(a.RecordBatches) != 0 {
		t.Errorf("truncated meanwhile: code %d, %d bytes", a.ErrorCode, len(a.RecordBatches))
	}
	if a := read(t, func(n *Node, r *replica) { n.topicDeleted(r.topic, 2) }, fine); a.ErrorCode != errUnknownTopicOrPartition {
		t.Errorf("deleted meanwhile: code %d", a.ErrorCode)
	}
	if a := read(t, nothing, func([]byte) DiskDone { return DiskDone{Err: errors.New("unreadable")} }); a.ErrorCode != errStorage || len(a.RecordBatches) != 0 {
		t.Errorf("unreadable: code %d", a.ErrorCode)
	}
}

func TestWhatComesUpLateIsDueAtOnce(t *testing.T) {
	n, r := logNode(t)
	n.replicationReady()
	if n.replicationDue() {
		t.Fatal("due right after replicationReady")
	}
	n.touch(r)
	if !n.replicationDue() {
		t.Error("a parked fetch would wait for some later input")
	}
	n.replicationReady()
	n.noteISR(r)
	if !n.replicationDue() {
		t.Error("a change of the ISR would wait for some later input")
	}
}
