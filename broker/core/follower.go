package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/partlog/batch"
)

// fetcher is the one fetch loop of this node to one leader, for all partitions that it follows there. The next fetch is sent
// when everything of the last answer is on disk: a follower's fetch offset is its durable log end, which is what the
// leader counts toward the high watermark.
type fetcher struct {
	leader   int32
	parts    []*replica // ascending by PartitionID
	under    uint64     // number of the fetch under way, 0 if none
	again    bool       // ask anew although one is under way: it lacks a partition, or went to a boot that is gone
	timer    *timer     // the answer is lost
	patience time.Duration
	notAt    int64 // refused as a whole: not asked before
	turn     int   // where the next fetch begins, so that no partition always comes last
}

// askedFetch is what a replica was asked for in the fetch under way.
type askedFetch struct {
	num    uint64
	epoch  int32
	offset int64
}

const (
	peerFetchWait = 500 * time.Millisecond // the leader parks a fetch with nothing to give for so long

	// An answer that does not come is asked for again after fetchPatience, then twice that at most.
	fetchPatience    = time.Second
	maxFetchPatience = 2 * time.Second

	// fetchRetry is how long a partition is left out after an error: mostly leader and follower have not applied the same metadata yet.
	fetchRetry = 50 * time.Millisecond

	peerPartitionBytes = 1 << 20
)

// follow begins to follow the partition's leader. Where the logs differ is found by the first fetch.
func (n *Node) follow(r *replica) {
	r.leaderHW, r.leaderStart, r.retryAt = -1, 0, 0
	i, ok := slices.BinarySearchFunc(n.repl.fetchers, r.state.Leader, func(f *fetcher, id int32) int { return int(f.leader) - int(id) })
	if !ok {
		n.repl.fetchers = slices.Insert(n.repl.fetchers, i, &fetcher{leader: r.state.Leader, patience: fetchPatience})
	}
	f := n.repl.fetchers[i]
	at, _ := slices.BinarySearchFunc(f.parts, r.id, func(r *replica, id PartitionID) int { return comparePartition(r.id, id) })
	f.parts = slices.Insert(f.parts, at, r)
	f.again = true
	r.fetch = f
}

func (n *Node) unfollow(r *replica) {
	f := r.fetch
	if f == nil {
		return
	}
	r.fetch = nil
	r.asked = askedFetch{}
	f.parts = slices.DeleteFunc(f.parts, func(x *replica) bool { return x == r })
	if len(f.parts) == 0 {
		f.timer.cancel()
		n.repl.fetchers = slices.DeleteFunc(n.repl.fetchers, func(x *fetcher) bool { return x == f })
	}
}

// fetchFrom sends the next fetch to a leader if there is something to ask and nothing to wait for.
func (n *Node) fetchFrom(f *fetcher) {
	if f.under != 0 && !f.again || n.now < f.notAt {
		return
	}
	for _, r := range f.parts {
		if len(r.writes) > 0 {
			return // its completion brings the next Ready
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.Version = req.MaxVersion()
	req.ReplicaState.ID, req.ReplicaState.Epoch = n.cfg.ID, int64(n.cfg.Boot)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(peerFetchWait.Milliseconds()), 1, n.cfg.MaxFetchBytes
	n.repl.nextNum++
	num := n.repl.nextNum
	f.turn++
	room := make([]kmsg.FetchRequestTopicPartition, 0, len(f.parts)) // of all topics: this is the most frequent request there is
	for i := range f.parts {
		r := f.parts[(i+f.turn)%len(f.parts)]
		if n.now < r.retryAt {
			continue
		}
		r.asked = askedFetch{num: num, epoch: r.state.LeaderEpoch, offset: r.end}
		room = addFetch(req, r, room)
	}
	if len(req.Topics) == 0 {
		return
	}
	f.under, f.again = num, false
	f.timer.cancel()
	f.timer = n.after(f.patience, func() {
		f.under, f.patience = 0, min(2*f.patience, maxFetchPatience)
	})
	n.send(f.leader, &PeerMessage{Fetch: &PeerFetch{Num: num, Req: req}})
}

// addFetch asks for a partition. What is asked of one topic stands together in room, which is returned longer by one.
func addFetch(req *kmsg.FetchRequest, r *replica, room []kmsg.FetchRequestTopicPartition) []kmsg.FetchRequestTopicPartition {
	if k := len(req.Topics); k == 0 || req.Topics[k-1].TopicID != r.id.Topic {
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = r.id.Topic
		req.Topics = append(req.Topics, t)
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.PartitionMaxBytes = r.id.Partition, r.state.LeaderEpoch, peerPartitionBytes
	p.FetchOffset, p.LastFetchedEpoch, p.LogStartOffset, p.HighWatermark = r.end, r.latestEpoch(), r.start, r.hw
	room = append(room, p)
	t := &req.Topics[len(req.Topics)-1]
	t.Partitions = room[len(room)-1-len(t.Partitions) : len(room) : len(room)]
	return room
}

// onPeerFetchResp takes a leader's answer to the fetch under way; any other answer is late and void.
func (n *Node) onPeerFetchResp(from int32, fromBoot uint64, m *PeerFetchResp) {
	i := slices.IndexFunc(n.repl.fetchers, func(f *fetcher) bool { return f.leader == from })
	if i < 0 || m.Resp == nil || n.repl.fetchers[i].under == 0 || n.repl.fetchers[i].under != m.Num {
		return
	}
	f := n.repl.fetchers[i]
	f.under, f.patience = 0, fetchPatience
	f.timer.cancel()
	if m.Resp.ErrorCode != errNone {
		f.notAt = n.now + int64(2*fetchRetry)
		n.after(2*fetchRetry, func() {}) // the wake-up's Ready asks again
		return
	}
	for ti := range m.Resp.Topics {
		t := &m.Resp.Topics[ti]
		for pi := range t.Partitions {
			r := n.repl.parts[PartitionID{Topic: t.TopicID, Partition: t.Partitions[pi].Partition}]
			if r == nil || r.fetch != f || r.asked.num != m.Num || r.asked.epoch != r.state.LeaderEpoch || r.asked.offset != r.end || len(r.writes) > 0 {
				continue
			}
			r.asked.num = 0 // a partition that an answer names twice is taken once
			n.fetched(r, &t.Partitions[pi])
		}
	}
}

// fetched takes one partition of an answer that fits what was asked.
func (n *Node) fetched(r *replica, a *kmsg.FetchResponseTopicPartition) {
	switch {
	case a.ErrorCode == errOffsetOutOfRange && (a.LogStartOffset > r.end || a.LogStartOffset >= 0 && r.start == r.end) && !r.retaining:
		// Its leader's log begins above all that it has; or ends below where its own begins, which is empty: what has gone by retention was unsynced on who leads now,
		// and the offsets are given anew.
		n.restartLog(r, a.LogStartOffset)
		return
	case a.ErrorCode != errNone:
		n.fetchLater(r, fetchRetry)
		return
	case a.DivergingEpoch.Epoch >= 0 && a.DivergingEpoch.EndOffset >= 0:
		to := r.truncateTo(a.DivergingEpoch.Epoch, a.DivergingEpoch.EndOffset)
		switch {
		case r.retaining: // where the log begins is about to change
			n.fetchLater(r, fetchRetry)
		case to <= a.LogStartOffset && r.start < a.LogStartOffset, a.DivergingEpoch.EndOffset < r.start:
			// Where the two logs part lies before one of them begins: whether what stands there is what was committed, nobody can tell any more.
			n.restartLog(r, max(a.LogStartOffset, 0))
		default:
			n.truncateLog(r, to)
		}
		return
	}
	n.retainUntil(r, a.LogStartOffset)
	if len(a.RecordBatches) > 0 {
		hs, err := checkFetched(a.RecordBatches, r.end, r.epochBefore(r.end), r.state.LeaderEpoch)
		if err != nil {
			n.fetchLater(r, 10*fetchRetry) // damaged on its way or in its leader's memory: never stored, asked for again
			return
		}
		n.appendLog(r, slices.Clone(a.RecordBatches), hs)
	}
	r.leaderHW = max(r.leaderHW, a.HighWatermark)
	n.followHW(r)
}

// checkFetched checks batches that a leader gave for a log end: whole, undamaged, without a gap, epochs in order.
func checkFetched(data []byte, end int64, last, leaderEpoch int32) ([]batch.Header, error) {
	hs, err := batch.Validate(data, 0)
	if err != nil {
		return nil, fmt.Errorf("fetched batches: %w", err)
	}
	for _, h := range hs {
		if h.BaseOffset != end || h.LeaderEpoch < last || h.LeaderEpoch > leaderEpoch {
			return nil, fmt.Errorf("fetched a batch at offset %d of epoch %d behind offset %d of epoch %d", h.BaseOffset, h.LeaderEpoch, end, last)
		}
		end, last = h.NextOffset(), h.LeaderEpoch
	}
	return hs, nil
}

// fetchLater leaves a partition out of the fetches for a while.
func (n *Node) fetchLater(r *replica, d time.Duration) {
	f := r.fetch
	r.retryAt = n.now + int64(d)
	n.after(d, func() { f.again = true })
}

// followHW raises a follower's high watermark: what the leader said, as far as it is durable here.
func (n *Node) followHW(r *replica) {
	if hw := min(r.leaderHW, r.durable); hw > r.hw {
		r.hw = hw
		n.touch(r)
		n.noteMoved(r)
	}
}
