package workloads

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

// Times of the consumers.
const (
	readWait        = 500 * time.Millisecond // how long a fetch waits for something to read
	fetchPause      = 100 * time.Millisecond // for how long a node is left alone that was lost
	fetchSpacing    = 5 * time.Millisecond   // least time from one fetch of a node to the next, which bounds what reading costs
	refreshPause    = 100 * time.Millisecond // least time from one Metadata to the next, while a leader is sought
	metadataTimeout = time.Second            // of a Metadata: another node is asked then
	refreshesANode  = 16                     // after so many Metadata another node has its turn, so that the answers of all are met
)

// noLeader stands for a leader that is not known, or not there.
const noLeader = -1

// Read has n consumers read these topics, each partition from offset 0 on and by one of them; where there are more consumers than partitions,
// some are read twice. Each consumer has one connection to each node, with one fetch under way at most, which names the leader epochs that it
// goes by. What they are given goes to sink as finished operations of kind Consume, from several goroutines, those of one partition and consumer in
// their order; now is the clock of their times. sink must return fast.
//
// Read returns when ctx has ended and no call of sink is under way any more; answers to fetches under way are dropped then.
func (c *Clients) Read(ctx context.Context, topics []history.TopicInfo, n int, now func() int64, sink func(*history.Operation)) {
	r := &readers{c: c, now: now, sink: sink, wanted: make(chan struct{}, 1)}
	for _, t := range topics {
		for p := range t.Partitions {
			r.parts = append(r.parts, &readPart{topic: t.Name, partition: p, leader: noLeader, epoch: -1})
		}
	}
	if len(r.parts) == 0 || n <= 0 {
		<-ctx.Done()
		return
	}
	for i := range n {
		x := &consumer{id: i + 1, name: fmt.Sprintf("consume-%d", i+1)}
		for j := i % len(r.parts); j < len(r.parts); j += n {
			p := r.parts[j]
			x.parts = append(x.parts, &consumed{part: p, read: protocol.NewReading(p.topic, p.partition)})
		}
		for _, node := range c.nodes {
			x.lanes = append(x.lanes, &fetchLane{r: r, of: x, node: node, poked: make(chan struct{}, 1)})
		}
		r.consumers = append(r.consumers, x)
	}
	var running sync.WaitGroup
	for _, x := range r.consumers {
		for _, l := range x.lanes {
			running.Go(func() { l.run(ctx) })
		}
	}
	running.Go(func() { r.follow(ctx) })
	running.Wait()
}

// readers are the consumers of one Read, and the metadata that they go by.
type readers struct {
	c         *Clients
	now       func() int64
	sink      func(*history.Operation)
	consumers []*consumer
	wanted    chan struct{} // holds a token while fresh metadata is asked for

	mu    sync.Mutex
	parts []*readPart // leaders and epochs
}

// readPart is a partition and who is believed to lead it.
type readPart struct {
	topic     string
	partition int32
	leader    int32
	epoch     int32
}

type consumer struct {
	id    int
	name  string
	made  int // operations; under readers.mu
	parts []*consumed
	lanes []*fetchLane // one a node
}

// consumed is a partition as one consumer reads it. read belongs to the lane that has asked for it.
type consumed struct {
	part  *readPart
	read  protocol.Reading
	asked bool // in a fetch under way; under readers.mu
}

// fetchLane is one consumer's way to one node. All but poked belongs to its goroutine.
type fetchLane struct {
	r     *readers
	of    *consumer
	node  int32
	poked chan struct{} // holds a token when there may be something to ask
	conn  *singleConn
	asks  []fetchAsk
}

// fetchAsk is what a fetch under way asks of one partition.
type fetchAsk struct {
	of    *consumed
	epoch int32
	acked int64 // highest offset known acknowledged when it was sent, -1 none
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (l *fetchLane) run(ctx context.Context) {
	defer l.hangUp()
	for ctx.Err() == nil {
		if !l.take() {
			select {
			case <-l.poked:
			case <-ctx.Done():
			}
			continue
		}
		begun := time.Now()
		wait := fetchPause
		if l.fetch(ctx) {
			wait = fetchSpacing - time.Since(begun)
		}
		if wait > 0 {
			pause(ctx, wait)
		}
	}
}

func (l *fetchLane) hangUp() {
	if l.conn != nil {
		l.conn.close()
		l.conn = nil
	}
}

// take chooses what to ask the node for: all partitions that it leads and that no fetch under way asks for.
func (l *fetchLane) take() bool {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	l.asks = l.asks[:0]
	for _, p := range l.of.parts {
		if p.part.leader == l.node && !p.asked {
			p.asked = true
			l.asks = append(l.asks, fetchAsk{of: p, epoch: p.part.epoch})
		}
	}
	return len(l.asks) > 0
}

// fetch asks the node once. False means that the node was lost.
func (l *fetchLane) fetch(ctx context.Context) bool {
	req := protocol.ConsumeRequest(readWait)
	for i := range l.asks {
		a := &l.asks[i]
		a.acked = l.r.c.acked.of(a.of.part.topic, a.of.part.partition)
		protocol.AddPartition(req, a.of.part.topic, a.of.part.partition, a.epoch, a.of.read.Offset)
	}
	invoke := l.r.now()
	resp, err := l.ask(ctx, req)
	complete := l.r.now()
	if ctx.Err() != nil {
		return false
	}
	if err != nil || resp.ErrorCode != protocol.CodeNone {
		l.hangUp()
		l.landed(func(fetchAsk) bool { return false })
		return false
	}
	l.landed(func(a fetchAsk) bool {
		rp := protocol.AnswerOf(resp, a.of.part.topic, a.of.part.partition)
		if rp == nil {
			return false
		}
		op, trust := a.of.read.Given(l.node, a.epoch, a.acked, rp, l.r.c.cfg.RunHash)
		if op != nil {
			op.ID, op.Client, op.Invoke, op.Complete = l.nextID(), l.of.name, invoke, complete
			l.r.sink(op)
		}
		return trust
	})
	return true
}

// ask sends one fetch, on a connection that is made if need be.
func (l *fetchLane) ask(ctx context.Context, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	if l.conn == nil {
		conn, err := l.r.c.connect(ctx, l.node)
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	answer, err := l.conn.ask(ctx, req, readWait+l.r.c.cfg.Timeout)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok {
		return nil, protocol.ErrNotAnswered
	}
	return resp, nil
}

// landed has each partition of the fetch taken in by given, and lets go of it. Where that says false, the node is not to be asked again before the
// metadata is fresh. A partition may have moved to another lane meanwhile, which had to wait for this answer.
func (l *fetchLane) landed(given func(fetchAsk) bool) {
	r := l.r
	for _, a := range l.asks {
		trust := given(a)
		r.mu.Lock()
		a.of.asked = false
		if !trust && a.of.part.leader == l.node {
			a.of.part.leader = noLeader
		}
		r.mu.Unlock()
		if !trust {
			poke(r.wanted)
		}
	}
	for _, other := range l.of.lanes {
		if other != l {
			poke(other.poked)
		}
	}
}

func (l *fetchLane) nextID() string {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	id := fmt.Sprintf("f%d.%d", l.of.id, l.of.made)
	l.of.made++
	return id
}

// follow keeps the metadata fresh: not older than Config.MetadataTTL, and sooner where a leader was not the one that it was taken for, or none is
// known. A node that does not answer gives place to the next.
func (r *readers) follow(ctx context.Context) {
	var conn *singleConn
	defer func() {
		if conn != nil {
			conn.close()
		}
	}()
	nodes := r.c.nodes
	for turn, asked := 0, 0; ctx.Err() == nil; asked++ {
		if conn == nil || asked >= refreshesANode {
			if conn != nil {
				conn.close()
				conn = nil
			}
			turn, asked = (turn+1)%len(nodes), 0
		}
		lacking, err := r.refresh(ctx, nodes[turn], &conn)
		if err != nil && conn != nil {
			conn.close()
			conn = nil
		}
		if !pause(ctx, refreshPause) {
			return
		}
		if err != nil || lacking {
			continue
		}
		rest := time.NewTimer(r.c.cfg.MetadataTTL - refreshPause)
		select {
		case <-r.wanted:
		case <-rest.C:
		case <-ctx.Done():
		}
		rest.Stop()
	}
}

// refresh asks a node for the metadata of all topics, and takes it in. It tells whether a partition has no leader that is known.
func (r *readers) refresh(ctx context.Context, node int32, conn **singleConn) (lacking bool, err error) {
	if *conn == nil {
		if *conn, err = r.c.connect(ctx, node); err != nil {
			return true, err
		}
	}
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	req.AllowAutoTopicCreation = false
	for i, p := range r.parts {
		if i == 0 || r.parts[i-1].topic != p.topic {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = new(p.topic)
			req.Topics = append(req.Topics, t)
		}
	}
	answer, err := (*conn).ask(ctx, req, metadataTimeout)
	if err != nil {
		return true, err
	}
	resp, ok := answer.(*kmsg.MetadataResponse)
	if !ok {
		return true, protocol.ErrNotAnswered
	}
	return r.learn(resp), nil
}

// learn takes what a node says, whatever was believed before.
func (r *readers) learn(resp *kmsg.MetadataResponse) (lacking bool) {
	r.mu.Lock()
	for _, p := range r.parts {
		p.leader, p.epoch = leaderIn(resp, p)
		if !slices.Contains(r.c.nodes, p.leader) {
			p.leader = noLeader
		}
		lacking = lacking || p.leader == noLeader
	}
	r.mu.Unlock()
	for _, x := range r.consumers {
		for _, l := range x.lanes {
			poke(l.poked)
		}
	}
	return lacking
}

// leaderIn is who leads a partition by an answer, and in which epoch.
func leaderIn(resp *kmsg.MetadataResponse, p *readPart) (leader, epoch int32) {
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		if rt.Topic == nil || *rt.Topic != p.topic || rt.ErrorCode != protocol.CodeNone && rt.ErrorCode != protocol.CodeLeaderNotAvailable {
			continue
		}
		for j := range rt.Partitions {
			if rp := &rt.Partitions[j]; rp.Partition == p.partition {
				return rp.Leader, rp.LeaderEpoch
			}
		}
	}
	return noLeader, -1
}

// ackedOffsets knows the highest offset acknowledged in each partition. The zero value knows of none.
type ackedOffsets struct {
	mu   sync.Mutex
	high map[ackedPlace]int64
}

type ackedPlace struct {
	topic     string
	partition int32
}

// see takes a produce operation that is over.
func (a *ackedOffsets) see(op *history.Operation) {
	p := op.Produce
	if op.Outcome != history.OK || len(p.Offsets) == 0 {
		return
	}
	last := slices.Max(p.Offsets)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.high == nil {
		a.high = make(map[ackedPlace]int64)
	}
	at := ackedPlace{p.Topic, p.Partition}
	if known, ok := a.high[at]; !ok || last > known {
		a.high[at] = last
	}
}

// of is the highest offset known acknowledged in a partition, -1 if there is none.
func (a *ackedOffsets) of(topic string, partition int32) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.high[ackedPlace{topic, partition}]; ok {
		return known
	}
	return -1
}
