package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
	"soak/broker/partlog/batch"
)

// ListOffsets (key 2), versions 1 to 8, from the leader; by replica id -2 (the debugging consumer) from any replica. Latest is the
// high watermark, for the debugging consumer the log end. A time is looked up by reading the log from its start, to the precision of
// a batch: the answer is the first offset of the first batch that holds a record of that time or a later one, which is never after
// the record that was asked for.

// Special timestamps of ListOffsets.
const (
	offsetsLatest        int64 = -1
	offsetsEarliest      int64 = -2
	offsetsMaxTimestamp  int64 = -3 // KIP-734: answered with the last offset of the batch that holds it
	offsetsEarliestLocal int64 = -4 // KIP-405: everything is local
)

// listRead is how many bytes one step of a look-up by time reads.
const listRead = 1 << 20

// scanQueue runs a request's look-ups by time one after another, so that one request has one read of the disk under way at most.
type scanQueue struct {
	waiting []func(next func())
}

func (q *scanQueue) next() {
	if len(q.waiting) > 0 {
		scan := q.waiting[0]
		q.waiting = q.waiting[1:]
		scan(q.next)
	}
}

func (n *Node) onListOffsets(rq *request, req *kmsg.ListOffsetsRequest) {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	var scans scanQueue
	left := 1 // this function's own part
	done := func() {
		if left--; left == 0 {
			n.reply(rq, resp)
		}
	}
	for ti := range req.Topics {
		qt, at := &req.Topics[ti], &resp.Topics[ti]
		at.Default()
		at.Topic = qt.Topic
		at.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(qt.Partitions))
		t := n.state.Topic(qt.Topic)
		for pi := range qt.Partitions {
			at.Partitions[pi].Default()
			at.Partitions[pi].Partition = qt.Partitions[pi].Partition
			left++
			n.listOffset(req, t, &qt.Partitions[pi], &at.Partitions[pi], &scans, done)
		}
	}
	scans.next()
	done()
}

// listOffset answers one partition and calls done, at once or when the log has been read, in its turn among scans.
func (n *Node) listOffset(req *kmsg.ListOffsetsRequest, t *meta.Topic, q *kmsg.ListOffsetsRequestTopicPartition, a *kmsg.ListOffsetsResponseTopicPartition, scans *scanQueue, done func()) {
	r, code := n.replicaOf(t, q.Partition, errUnknownTopicOrPartition)
	debug := req.ReplicaID == debuggingConsumer
	if code == errNone {
		code = r.checkEpoch(q.CurrentLeaderEpoch)
	}
	if code == errNone && !debug && r.role != replicaLeader {
		code = errNotLeader
	}
	if code != errNone {
		a.ErrorCode = code
		done()
		return
	}
	limit := r.hw
	if debug {
		limit = r.end
	}
	give := func(offset, timestamp int64, epoch int32) {
		a.Offset, a.Timestamp, a.LeaderEpoch = offset, timestamp, epoch
		done()
	}
	switch q.Timestamp {
	case offsetsEarliest, offsetsEarliestLocal:
		give(r.start, -1, r.epochBefore(r.start+1))
	case offsetsLatest:
		if !debug && r.hw < r.epochStart {
			// A new leader does not know yet how far its epoch's beginning was committed: any answer could go back (KIP-207).
			a.ErrorCode = errOffsetNotAvailable
			if req.Version < 5 {
				a.ErrorCode = errLeaderNotAvailable
			}
			done()
			return
		}
		give(limit, -1, r.latestEpoch())
	default:
		if q.Timestamp < offsetsMaxTimestamp {
			give(-1, -1, -1) // kinds of storage that there are none of here
			return
		}
		s := &timeScan{r: r, at: r.start, limit: min(limit, r.durable), want: q.Timestamp, truncations: r.truncations, offset: -1, time: -1, epoch: -1}
		scans.waiting = append(scans.waiting, func(next func()) {
			n.scanTimes(s, func(code int16) {
				if code != errNone {
					a.ErrorCode = code
					done()
				} else {
					give(s.offset, s.time, s.epoch)
				}
				next()
			})
		})
	}
}

// timeScan is a look-up by time under way.
type timeScan struct {
	r           *replica
	at, limit   int64
	want        int64 // a time in milliseconds, or offsetsMaxTimestamp
	truncations uint64

	offset, time int64 // the answer, -1 if there is none
	epoch        int32
}

// scanTimes reads the log onward until it has the answer.
func (n *Node) scanTimes(s *timeScan, done func(code int16)) {
	if s.at >= s.limit {
		done(errNone)
		return
	}
	n.submit(DiskOp{Kind: OpLogRead, Part: s.r.id, Offset: s.at, Max: listRead}, func(d *DiskDone) {
		switch {
		case s.r.deleted:
			done(errUnknownTopicOrPartition)
			return
		case s.r.truncations != s.truncations:
			done(errNotLeader) // the log was cut while it was read
			return
		case d.Err != nil:
			done(errStorage)
			return
		}
		data := trimBatches(d.Data, s.at, s.limit)
		if len(data) == 0 {
			done(errStorage)
			return
		}
		if s.take(data) {
			done(errNone)
			return
		}
		n.scanTimes(s, done)
	})
}

// take looks through whole batches and reports whether the answer is found.
func (s *timeScan) take(data []byte) bool {
	for len(data) > 0 {
		h, err := batch.ParseHeader(data)
		if err != nil {
			return false // trimBatches gives whole batches only
		}
		if s.want == offsetsMaxTimestamp {
			if h.MaxTimestamp > s.time {
				s.offset, s.time, s.epoch = h.NextOffset()-1, h.MaxTimestamp, h.LeaderEpoch
			}
		} else if h.MaxTimestamp >= s.want {
			s.offset, s.time, s.epoch = h.BaseOffset, h.BaseTimestamp, h.LeaderEpoch
			return true
		}
		s.at = h.NextOffset()
		data = data[h.Size:]
	}
	return false
}
