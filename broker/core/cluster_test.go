package core

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"soak/broker/bugs"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
	"soak/history"
)

// testCluster is three cores in virtual time with a reliable network of fixed latency and a disk that forgets nothing: the smallest
// thing that runs the whole core. It is deterministic: the order of everything is (time, order of scheduling).
type testCluster struct {
	t      testT
	now    int64
	queue  testQueue
	order  uint64
	nodes  map[int32]*testNode
	events []history.Event
	cfg    func(*Config)
	cut    map[[2]int32]bool // ordered pairs whose messages are lost
	lose   func(*PeerMessage) bool
	jitter func() int64 // ns that a message takes longer than testLatency
	slow   func() int64 // ns that a disk operation takes longer than testLatency
}

// testT is what the cluster needs of a *testing.T or a *rapid.T.
type testT interface {
	Helper()
	Fatalf(format string, args ...any)
}

type testNode struct {
	id       int32
	boot     uint64
	core     *Node // nil while it is down
	disk     *testDisk
	wake     int64
	corr     int32
	awaits   map[int32]func(kmsg.Response)
	closed   int
	diskFree int64
	gen      int // drops what was scheduled for an earlier boot
}

const (
	testLatency = int64(time.Millisecond)
	testStart   = int64(1_700_000_000_000_000_000)
)

type testEvent struct {
	at    int64
	order uint64
	f     func()
}
type testQueue []testEvent

func (q testQueue) Len() int { return len(q) }
func (q testQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q testQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *testQueue) Push(x any)   { *q = append(*q, x.(testEvent)) }
func (q *testQueue) Pop() any     { o := *q; e := o[len(o)-1]; *q = o[:len(o)-1]; return e }

func newTestCluster(t testT, set bugs.Set, cfg func(*Config)) *testCluster {
	c := &testCluster{t: t, now: testStart, nodes: map[int32]*testNode{}, cut: map[[2]int32]bool{}, jitter: func() int64 { return 0 }, slow: func() int64 { return 0 }}
	c.cfg = func(x *Config) {
		x.Bugs = set
		if cfg != nil {
			cfg(x)
		}
	}
	for id := int32(1); id <= 3; id++ {
		c.nodes[id] = &testNode{id: id, disk: newTestDisk(), awaits: map[int32]func(kmsg.Response){}}
	}
	for id := int32(1); id <= 3; id++ {
		c.start(id)
	}
	return c
}

func (c *testCluster) start(id int32) {
	n := c.nodes[id]
	n.boot++
	n.gen++
	cfg := Config{
		ID: id, Peers: []int32{1, 2, 3}, Seed: 7, Boot: n.boot, Advertise: fmt.Sprintf("127.0.0.1:%d", 9090+id), Version: "test",
		ElectionInterval: 2 * time.Second, AutoCreate: true,
	}
	c.cfg(&cfg)
	core, err := New(cfg, n.disk.boot(), c.now)
	if err != nil {
		c.t.Fatalf("starting n%d: %v", id, err)
	}
	n.core = core
	c.ready(n)
}

func (c *testCluster) kill(id int32) {
	n := c.nodes[id]
	n.core = nil
	n.gen++
	n.awaits = map[int32]func(kmsg.Response){}
}

func (c *testCluster) at(d int64, f func()) {
	c.order++
	heap.Push(&c.queue, testEvent{c.now + d, c.order, f})
}

func (c *testCluster) step(n *testNode, in Input) {
	if n.core == nil {
		return
	}
	n.core.Step(c.now, in)
	c.ready(n)
}

func (c *testCluster) ready(n *testNode) {
	out := n.core.Ready()
	if out.Fatal != nil {
		c.t.Fatalf("n%d: fatal: %v", n.id, out.Fatal)
	}
	c.events = append(c.events, out.Events...)
	gen := n.gen
	for _, op := range out.Disk {
		n.diskFree = max(n.diskFree, c.now+testLatency+c.slow()) // in the order given
		c.at(n.diskFree-c.now, func() {
			if n.gen == gen { // what had not reached the disk when its node died is lost
				c.step(n, n.disk.do(op))
			}
		})
	}
	for _, m := range out.Messages {
		if c.cut[[2]int32{m.From, m.To}] || c.lose != nil && c.lose(m) {
			continue
		}
		to := c.nodes[m.To]
		if m.Raft != nil {
			m.Raft = proto.Clone(m.Raft).(*pb.Message)
		}
		c.at(testLatency+c.jitter(), func() {
			if !c.cut[[2]int32{m.From, m.To}] {
				c.step(to, PeerInput{m})
			}
		})
	}
	for _, r := range out.Responses {
		if f := n.awaits[r.Corr]; f != nil && r.Kmsg != nil {
			delete(n.awaits, r.Corr)
			f(r.Kmsg)
		}
	}
	n.closed += len(out.Close)
	wake := c.now + int64(max(out.Wake, time.Microsecond))
	n.wake = wake
	c.at(wake-c.now, func() {
		if n.gen == gen && n.wake == wake {
			c.step(n, Tick{})
		}
	})
}

// run lets virtual time pass.
func (c *testCluster) run(d time.Duration) {
	end := c.now + int64(d)
	for len(c.queue) > 0 && c.queue[0].at <= end {
		e := heap.Pop(&c.queue).(testEvent)
		c.now = e.at
		e.f()
	}
	c.now = end
}

// until lets time pass until cond holds, and fails after d.
func (c *testCluster) until(d time.Duration, what string, cond func() bool) {
	c.t.Helper()
	for end := c.now + int64(d); !cond(); {
		if c.now >= end {
			c.t.Fatalf("after %v still not: %s", d, what)
		}
		c.run(10 * time.Millisecond)
	}
}

// ask sends a request to a node on a connection of its own and gives the answer to f.
func (c *testCluster) ask(id int32, req kmsg.Request, f func(kmsg.Response)) {
	n := c.nodes[id]
	n.corr++
	corr := n.corr
	n.awaits[corr] = f
	c.step(n, &ClientRequest{Conn: ConnID(corr), Corr: corr, Req: req})
}

// call asks and lets time pass until the answer is there.
func call[R kmsg.Response](c *testCluster, id int32, req kmsg.Request) R {
	c.t.Helper()
	var got R
	answered := false
	c.ask(id, req, func(r kmsg.Response) { got, answered = r.(R), true })
	c.until(10*time.Second, fmt.Sprintf("n%d answers %T", id, req), func() bool { return answered })
	return got
}

func (c *testCluster) leader() int32 {
	for id := int32(1); id <= 3; id++ {
		if n := c.nodes[id]; n.core != nil && n.core.AmILeader() && n.core.ownTermApplied() {
			return id
		}
	}
	return 0
}

// waitReady waits until all nodes that are up are registered and __meta exists.
func (c *testCluster) waitReady() {
	c.t.Helper()
	c.until(10*time.Second, "all nodes ready", func() bool {
		for id := int32(1); id <= 3; id++ {
			n := c.nodes[id]
			if n.core != nil && (!n.core.Stats().Ready || !n.core.registeredInThisBoot() || n.core.state.Topic(MetaTopic) == nil) {
				return false
			}
		}
		return true
	})
}

// testDisk keeps what was written, in memory, at once.
type testDisk struct {
	hs      *pb.HardState
	snap    *pb.Snapshot
	base    uint64 // of the entry before the first
	term    uint64 // and its term
	entries []*pb.Entry
	logs    map[PartitionID]*testLog
	ids     []PartitionID
	cuts    int // truncations
}

type testLog struct {
	batches []testBatch
	start   int64
	end     int64
	epochs  []EpochStart
}

func (l *testLog) producers() *producers.Table {
	t := producers.New(0)
	for _, b := range l.batches {
		h, _ := batch.ParseHeader(b.data)
		t.Add(h)
	}
	return t
}

type testBatch struct {
	base, next int64
	data       []byte
}

func newTestDisk() *testDisk { return &testDisk{logs: map[PartitionID]*testLog{}} }

func (d *testDisk) boot() Boot {
	b := Boot{First: len(d.entries) == 0 && d.snap == nil && d.hs == nil, HardState: d.hs, Snapshot: d.snap, BaseIndex: d.base, BaseTerm: d.term, Entries: d.entries}
	for _, id := range d.ids {
		if l := d.logs[id]; l != nil {
			b.Logs = append(b.Logs, LogInfo{ID: id, Start: l.start, End: l.end, Epochs: l.epochs, Producers: l.producers()})
		}
	}
	return b
}

func (d *testDisk) log(id PartitionID) *testLog {
	l := d.logs[id]
	if l == nil {
		l = &testLog{}
		d.logs[id] = l
		d.ids = append(d.ids, id)
	}
	return l
}

func (d *testDisk) do(op DiskOp) *DiskDone {
	done := &DiskDone{ID: op.ID}
	switch op.Kind {
	case OpRaftSnapshot:
		if op.Base > d.base {
			d.term = d.entries[op.Base-d.base-1].GetTerm()
			d.entries = d.entries[op.Base-d.base:]
		}
		d.snap, d.base = op.Snapshot, max(d.base, op.Base)
	case OpRaftSave:
		if op.Snapshot != nil {
			d.snap, d.base, d.term, d.entries = op.Snapshot, op.Snapshot.GetMetadata().GetIndex(), op.Snapshot.GetMetadata().GetTerm(), nil
		}
		if op.HardState != nil {
			d.hs = op.HardState
		}
		if len(op.Entries) > 0 {
			keep := int(op.Entries[0].GetIndex() - d.base - 1)
			d.entries = append(d.entries[:keep:keep], op.Entries...)
		}
	case OpLogAppend:
		l := d.log(op.Part)
		if op.Offset != l.end {
			done.Err = fmt.Errorf("append at %d to a log that ends at %d", op.Offset, l.end)
			return done
		}
		for rest := op.Data; len(rest) > 0; {
			base, next, size := testBatchBounds(rest)
			l.batches = append(l.batches, testBatch{base, next, rest[:size:size]})
			l.end = next
			rest = rest[size:]
		}
		l.epochs = append(l.epochs, op.Epochs...)
	case OpLogTruncate:
		d.cuts++
		l := d.log(op.Part)
		for len(l.batches) > 0 && l.batches[len(l.batches)-1].next > op.Offset {
			l.end = l.batches[len(l.batches)-1].base
			l.batches = l.batches[:len(l.batches)-1]
		}
		for len(l.epochs) > 0 && l.epochs[len(l.epochs)-1].Start >= l.end {
			l.epochs = l.epochs[:len(l.epochs)-1]
		}
		done.End, done.Producers = l.end, l.producers()
	case OpLogRetain: // a batch is a segment
		l := d.log(op.Part)
		size := int64(0)
		for _, b := range l.batches {
			size += int64(len(b.data))
		}
		for len(l.batches) > 0 {
			b := l.batches[0]
			h, _ := batch.ParseHeader(b.data)
			aged := op.Retain.Before > 0 && h.MaxTimestamp > 0 && h.MaxTimestamp < op.Retain.Before
			more := len(l.batches) > 1 && (b.next <= op.Retain.Until || op.Retain.Bytes >= 0 && size-int64(len(b.data)) >= op.Retain.Bytes)
			if b.next > op.Retain.Below || !aged && !more {
				break
			}
			size -= int64(len(b.data))
			l.batches, l.start = l.batches[1:], b.next
		}
		done.End = l.start
	case OpLogRestart:
		*d.log(op.Part) = testLog{start: op.Offset, end: op.Offset}
	case OpLogDelete:
		delete(d.logs, op.Part)
	case OpLogRead:
		for _, b := range d.log(op.Part).batches {
			if b.next > op.Offset && (len(done.Data) == 0 || len(done.Data)+len(b.data) <= int(op.Max)) {
				done.Data = append(done.Data, b.data...)
			}
		}
	}
	return done
}
