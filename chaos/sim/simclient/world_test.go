package simclient

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

const (
	ms       = int64(time.Millisecond)
	second   = int64(time.Second)
	testRun  = 0xfeed
	linkTime = ms // from client to node and back, each
	begin    = 1000 * second
)

// world is a tiny cluster in memory, in virtual time: nodes 1 to 3, one log for each partition whoever leads it, all at once durable.
type world struct {
	t     testing.TB
	c     *Clients
	now   int64
	queue []happening
	seq   uint64

	logs    map[string]*fakeLog
	down    map[int32]bool // refuses connections
	mute    map[int32]bool // takes requests and says nothing
	drops   map[int32]bool // closes the connection with the request in hand
	held    []func()       // answers held back while hold is set
	hold    bool
	fetches bool                                             // hold only those to fetches
	answers func(node int32, req kmsg.Request) kmsg.Response // in place of the node's own, if not nil

	ids     int64 // producer ids given
	where   map[Conn]int32
	flying  map[Conn]int
	most    int // produce requests in flight on one connection, at most
	sent    []string
	done    []*history.Operation
	endings map[string]int // how often each operation came back
}

type happening struct {
	at  int64
	seq uint64
	do  func()
}

type fakeLog struct {
	leader int32
	epoch  int32
	data   []byte // batches
	ends   []int  // of each batch
	next   int64
	seqs   map[int64][]fakeBatch // by producer id
	high   int64                 // shown to consumers, -1: all that there is
}

// fakeBatch is a batch of an idempotent producer.
type fakeBatch struct {
	seq, n int32
	base   int64
}

func newWorld(t testing.TB, cfg Config) *world {
	cfg.Nodes, cfg.RunHash = []int32{3, 1, 2}, testRun
	w := &world{
		t: t, c: New(cfg), now: begin, logs: map[string]*fakeLog{}, down: map[int32]bool{}, mute: map[int32]bool{}, drops: map[int32]bool{},
		where: map[Conn]int32{}, flying: map[Conn]int{}, endings: map[string]int{},
	}
	for p, leader := range []int32{1, 2, 3} {
		w.logs[fmt.Sprint("orders-", p)] = &fakeLog{leader: leader, epoch: 1, high: -1}
	}
	return w
}

func (w *world) log(topic string, p int32) *fakeLog { return w.logs[fmt.Sprintf("%s-%d", topic, p)] }

func (w *world) after(d int64, do func()) {
	w.seq++
	w.queue = append(w.queue, happening{w.now + d, w.seq, do})
}

// run lets everything happen that is due until a time.
func (w *world) run(until int64) {
	for {
		w.pump()
		at, wake := -1, w.c.Wake()
		for i := range w.queue {
			if at < 0 || w.queue[i].at < w.queue[at].at || w.queue[i].at == w.queue[at].at && w.queue[i].seq < w.queue[at].seq {
				at = i
			}
		}
		switch {
		case at >= 0 && w.queue[at].at <= until && (wake == 0 || w.queue[at].at <= wake):
			h := w.queue[at]
			w.queue = slices.Delete(w.queue, at, at+1)
			w.now = max(w.now, h.at)
			h.do()
		case wake != 0 && wake <= until:
			if wake < w.now {
				w.t.Fatalf("it wanted a Tick at %d and it is %d", wake, w.now)
			}
			w.now = wake
			w.c.Tick(w.now)
			if again := w.c.Wake(); again != 0 && again <= w.now {
				w.t.Fatalf("after a Tick at %d it wants one at %d", w.now, again)
			}
		default:
			w.now = max(w.now, until)
			return
		}
	}
}

func (w *world) runFor(d int64) { w.run(w.now + d) }

func (w *world) start(ops ...*history.Operation) {
	for _, op := range ops {
		op.Invoke = w.now
		w.c.Start(w.now, op)
		w.pump()
	}
}

// pump carries out what the clients want.
func (w *world) pump() {
	for outs := w.c.Output(); len(outs) > 0; outs = w.c.Output() {
		for _, o := range outs {
			switch {
			case o.Done != nil:
				if o.Done.Complete != w.now {
					w.t.Errorf("%s completed at %d, and it is %d", o.Done.ID, o.Done.Complete, w.now)
				}
				w.done = append(w.done, o.Done)
				w.endings[o.Done.ID]++
			case o.Close:
				delete(w.where, o.Conn)
			default:
				w.send(o)
			}
		}
	}
}

func (w *world) send(o Out) {
	w.sent = append(w.sent, fmt.Sprintf("%d c%d n%d #%d %s %s", (w.now-begin)/ms, o.Conn, o.Node, o.Corr, kmsg.NameForKey(o.Req.Key()), o.Op))
	if node, open := w.where[o.Conn]; open && node != o.Node {
		w.t.Fatalf("connection %d is to node %d, and a request on it goes to %d", o.Conn, node, o.Node)
	}
	w.where[o.Conn] = o.Node
	if _, is := o.Req.(*kmsg.ProduceRequest); is {
		w.flying[o.Conn]++
		w.most = max(w.most, w.flying[o.Conn])
	}
	w.after(linkTime, func() { w.arrive(o) })
}

func (w *world) open(id Conn) bool {
	_, ok := w.where[id]
	return ok
}

func (w *world) end(id Conn, tell func(int64, Conn)) {
	if w.open(id) {
		delete(w.where, id)
		tell(w.now, id)
	}
}

func (w *world) arrive(o Out) {
	if !w.open(o.Conn) {
		return
	}
	switch {
	case w.down[o.Node]:
		w.end(o.Conn, w.c.Refused)
		return
	case w.drops[o.Node]:
		w.end(o.Conn, w.c.Closed)
		return
	case w.mute[o.Node]:
		return
	}
	var resp kmsg.Response
	if w.answers != nil {
		resp = w.answers(o.Node, o.Req)
	}
	if resp == nil {
		resp = w.answer(o.Node, o.Req)
	}
	reply := func() {
		w.after(linkTime, func() {
			if w.open(o.Conn) {
				w.flying[o.Conn]--
				w.c.Answer(w.now, o.Conn, o.Corr, resp, 0)
			}
		})
	}
	f, fetch := o.Req.(*kmsg.FetchRequest)
	if w.hold && (fetch || !w.fetches) {
		w.held = append(w.held, reply)
		return
	}
	if fetch && f.MaxWaitMillis > 0 && empty(resp.(*kmsg.FetchResponse)) {
		w.after(int64(f.MaxWaitMillis)*ms, reply)
		return
	}
	reply()
}

func empty(resp *kmsg.FetchResponse) bool {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode != 0 || len(p.RecordBatches) > 0 {
				return false
			}
		}
	}
	return true
}

func (w *world) release() {
	w.hold, w.fetches = false, false
	for _, reply := range w.held {
		reply()
	}
	w.held = nil
}

func (w *world) answer(node int32, req kmsg.Request) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.MetadataRequest:
		return w.metadata(req)
	case *kmsg.ProduceRequest:
		return w.produce(node, req)
	case *kmsg.FetchRequest:
		return w.fetch(node, req)
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = w.ids
		w.ids++
		return resp
	case *kmsg.CreateTopicsRequest:
		resp := kmsg.NewPtrCreateTopicsResponse()
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.TopicID = req.Topics[0].Topic, [16]byte{1}
		resp.Topics = append(resp.Topics, rt)
		return resp
	}
	w.t.Fatalf("no node answers %T", req)
	return nil
}

func (w *world) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	for _, q := range req.Topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = q.Topic
		for p := int32(0); ; p++ {
			l := w.log(*q.Topic, p)
			if l == nil && p == 0 && req.AllowAutoTopicCreation {
				l = &fakeLog{leader: 3, epoch: 1, high: -1}
				w.logs[*q.Topic+"-0"] = l
				rt.ErrorCode = protocol.CodeLeaderNotAvailable // not yet
			}
			if l == nil {
				if p == 0 {
					rt.ErrorCode = protocol.CodeUnknownTopic
				}
				break
			}
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader, rp.LeaderEpoch = p, l.leader, l.epoch
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (w *world) produce(node int32, req *kmsg.ProduceRequest) kmsg.Response {
	q := req.Topics[0].Partitions[0]
	resp := kmsg.NewPtrProduceResponse()
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.BaseOffset = q.Partition, -1
	l := w.log(req.Topics[0].Topic, q.Partition)
	switch {
	case l == nil:
		rp.ErrorCode = protocol.CodeUnknownTopic
	case l.leader != node:
		rp.ErrorCode = protocol.CodeNotLeader
	default:
		var again bool
		if rp.BaseOffset, rp.ErrorCode, again = l.judge(q.Records); again || rp.ErrorCode != 0 {
			break
		}
		rp.BaseOffset = l.next
		raw := bytes.Clone(q.Records)
		binary.BigEndian.PutUint64(raw, uint64(l.next))
		l.data = append(l.data, raw...)
		l.ends = append(l.ends, len(l.data))
		l.next += int64(binary.BigEndian.Uint32(raw[57:]))
	}
	resp.Topics = []kmsg.ProduceResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{rp}}}
	return resp
}

// judge knows the batches of idempotent producers again, and wants them without a gap.
func (l *fakeLog) judge(b []byte) (base int64, code int16, again bool) {
	be := binary.BigEndian
	id, n, seq := int64(be.Uint64(b[43:])), int32(be.Uint32(b[57:])), int32(be.Uint32(b[53:]))
	if id < 0 {
		return 0, 0, false
	}
	next := int32(0)
	for _, x := range l.seqs[id] {
		if x.seq == seq {
			return x.base, 0, true
		}
		next = x.seq + x.n
	}
	if seq != next {
		return -1, protocol.CodeOutOfOrderSequence, false
	}
	if l.seqs == nil {
		l.seqs = map[int64][]fakeBatch{}
	}
	l.seqs[id] = append(l.seqs[id], fakeBatch{seq, n, l.next})
	return l.next, 0, false
}

func (w *world) fetch(node int32, req *kmsg.FetchRequest) kmsg.Response {
	resp := kmsg.NewPtrFetchResponse()
	for _, qt := range req.Topics {
		at := kmsg.NewFetchResponseTopic()
		at.Topic = qt.Topic
		for _, q := range qt.Partitions {
			a := kmsg.NewFetchResponseTopicPartition()
			a.Partition = q.Partition
			l := w.log(qt.Topic, q.Partition)
			switch {
			case req.ReplicaID == -1 && l.leader != node:
				a.ErrorCode = protocol.CodeNotLeader
			case req.ReplicaID == -1 && q.CurrentLeaderEpoch != l.epoch:
				a.ErrorCode = protocol.CodeFencedLeaderEpoch
			case q.FetchOffset > l.next:
				a.ErrorCode = protocol.CodeOffsetOutOfRange
			default:
				a.HighWatermark = l.next
				if l.high >= 0 {
					a.HighWatermark = l.high
				}
				a.RecordBatches = l.from(q.FetchOffset)
			}
			at.Partitions = append(at.Partitions, a)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

// from is the two batches from the one on that holds an offset.
func (l *fakeLog) from(offset int64) []byte {
	start := 0
	for i, end := range l.ends {
		b := l.data[start:end]
		if base, n := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[57:])); base+n > offset {
			return l.data[start:l.ends[min(i+1, len(l.ends)-1)]]
		}
		start = end
	}
	return nil
}

// records is what a log holds.
func (l *fakeLog) records(t testing.TB) []gen.Header {
	var h headers
	h.t = t
	if err := protocol.ReadBatches(l.data, &h); err != nil {
		t.Fatal(err)
	}
	return h.all
}

type headers struct {
	t   testing.TB
	all []gen.Header
}

func (h *headers) Record(offset int64, v []byte) {
	if offset != int64(len(h.all)) {
		h.t.Errorf("a record at offset %d is the log's number %d", offset, len(h.all))
	}
	got, err := gen.ParseValue(v)
	if err != nil {
		h.t.Error(err)
	}
	h.all = append(h.all, got)
}
func (h *headers) Damaged(first, _ int64, err error) { h.t.Errorf("batch at %d: %v", first, err) }
func (h *headers) End([]byte, int64, int64)          {}

func produceOp(id string, producer uint32, partition int32, first uint64) *history.Operation {
	return &history.Operation{ID: id, Client: fmt.Sprint("produce-", producer), Produce: &history.ProduceOp{
		Topic: "orders", Partition: partition, Producer: producer, Incarnation: 1, FirstSeq: first, Count: 2, Acked: -1, Acks: -1,
	}}
}

func wantOutcome(t *testing.T, op *history.Operation, o history.Outcome) {
	t.Helper()
	if op.Outcome != o || op.Complete == 0 {
		t.Errorf("%s: %q (%s), completed at %d; want %q", op.ID, op.Outcome, op.Error, op.Complete, o)
	}
}
