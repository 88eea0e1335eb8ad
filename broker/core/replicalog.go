package core

import (
	"slices"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/producers"
)

// replicaLog is what the core knows of a partition's log. Offsets are of batches, never within one.
type replicaLog struct {
	start   int64 // first offset
	end     int64 // log end offset, what is not yet on disk included
	durable int64 // log end offset on disk (with FlushNone: written to it); only this counts toward the high watermark
	hw      int64 // high watermark: never above durable
	epochs  []EpochStart
	onDisk  bool // the log exists on disk, or its creation is under way

	writes      []*logWrite      // appends and truncations under way, in their order
	producers   *producers.Table // of the whole log; nil while a truncation is under way and what is left not known
	retaining   bool             // an OpLogRetain is under way
	truncations uint64           // a cold read that began at another count may hold what was cut
	cache       cache
}

// logWrite is one append or truncation on its way to the disk.
type logWrite struct {
	end   int64 // the durable log end once it is done; lowered by a later truncation
	bytes int64
}

// epochBefore is the leader epoch of the last batch before offset, -1 if there is none.
func (l *replicaLog) epochBefore(offset int64) int32 {
	for i := len(l.epochs) - 1; i >= 0; i-- {
		if l.epochs[i].Start < offset {
			return l.epochs[i].Epoch
		}
	}
	return -1
}

// latestEpoch is the newest leader epoch known to the log, one without a batch yet included; -1 if there is none.
func (l *replicaLog) latestEpoch() int32 {
	if len(l.epochs) == 0 {
		return -1
	}
	return l.epochs[len(l.epochs)-1].Epoch
}

// endOf answers where a leader epoch ends (KIP-101, KIP-279): the largest epoch not above the asked one, and the offset at which
// the next begins. An epoch newer than any known has no answer (-1, -1). One older than all known ends where the first begins.
func (l *replicaLog) endOf(epoch int32) (int32, int64) {
	last := l.latestEpoch()
	switch {
	case epoch < 0 || epoch > last:
		return -1, -1
	case epoch == last:
		return last, l.end
	}
	i := len(l.epochs) - 1
	for i > 0 && l.epochs[i-1].Epoch > epoch {
		i--
	}
	// epochs[i] is the first above the asked one.
	if i == 0 {
		return epoch, l.epochs[0].Start
	}
	return l.epochs[i-1].Epoch, l.epochs[i].Start
}

// divergesAt compares a follower's last epoch and log end with this log (KIP-595): diverges says that the follower holds what
// this log does not; then it must cut to where (epoch, end) allow it.
func (l *replicaLog) divergesAt(lastEpoch int32, offset int64) (epoch int32, end int64, diverges bool) {
	if lastEpoch < 0 {
		return -1, -1, false
	}
	epoch, end = l.endOf(lastEpoch)
	return epoch, end, epoch >= 0 && (epoch < lastEpoch || end < offset)
}

// forgot reports whether a follower with that last epoch ends where this log begins, and what stood there before is of no epoch that this log knows.
func (l *replicaLog) forgot(lastEpoch int32, offset int64) bool {
	return offset == l.start && offset > 0 && lastEpoch >= 0 && (len(l.epochs) == 0 || lastEpoch < l.epochs[0].Epoch)
}

// truncateTo is where a follower cuts its log, told by the leader that epoch ends at end there: no lower than what both
// certainly share of that epoch and those before it.
func (l *replicaLog) truncateTo(epoch int32, end int64) int64 {
	own := l.end
	for i := len(l.epochs) - 1; i >= 0 && l.epochs[i].Epoch > epoch; i-- {
		own = l.epochs[i].Start
	}
	return max(min(end, own), l.start)
}

// beginEpoch notes that a leader epoch begins at the log's end. An earlier epoch that never got a batch goes.
func (l *replicaLog) beginEpoch(epoch int32) {
	if epoch <= l.latestEpoch() {
		return
	}
	for len(l.epochs) > 0 && l.epochs[len(l.epochs)-1].Start >= l.end {
		l.epochs = l.epochs[:len(l.epochs)-1]
	}
	l.epochs = append(l.epochs, EpochStart{Epoch: epoch, Start: l.end})
}

// appendLog appends whole batches, stamped with offsets that follow the log's end. They count as durable when the disk says so.
func (n *Node) appendLog(r *replica, data []byte, hs []batch.Header) {
	base, last := r.end, r.epochBefore(r.end)
	var begun []EpochStart
	at := int64(0)
	for _, h := range hs {
		if h.LeaderEpoch != last {
			last = h.LeaderEpoch
			begun = append(begun, EpochStart{Epoch: last, Start: h.BaseOffset})
			r.beginEpoch(last)
		}
		r.cache.add(h.BaseOffset, h.NextOffset(), data[at:at+h.Size:at+h.Size])
		at += h.Size
		r.end = h.NextOffset()
	}
	n.noteProducers(r, hs)
	r.onDisk = true
	n.write(r, &logWrite{end: r.end, bytes: int64(len(data))}, DiskOp{Kind: OpLogAppend, Sync: n.cfg.Flush == FlushSync, Offset: base, Data: data, Epochs: begun, Segment: n.segmentBytes(r)})
	r.cache.evict(n.cacheLimit(), r.durable)
	n.touch(r)
	n.noteMoved(r)
}

// truncateLog cuts the log's end. What is cut is never served again: the count of truncations tells reads that are under way.
func (n *Node) truncateLog(r *replica, to int64) {
	if !r.cutAt(to) {
		return
	}
	r.producers = nil
	n.write(r, &logWrite{end: to}, DiskOp{Kind: OpLogTruncate, Offset: to})
	n.touch(r)
	n.tell(r, "truncation")
}

// cutAt forgets everything from an offset on, and reports whether a batch was among it.
func (l *replicaLog) cutAt(to int64) bool {
	for len(l.epochs) > 0 && l.epochs[len(l.epochs)-1].Start >= to {
		l.epochs = l.epochs[:len(l.epochs)-1]
	}
	if to >= l.end {
		return false
	}
	l.truncations++
	l.end, l.durable, l.hw = to, min(l.durable, to), min(l.hw, to)
	for _, w := range l.writes {
		w.end = min(w.end, to)
	}
	l.cache.truncate(to)
	return true
}

// write hands an operation to the disk's queue, which keeps the order within a partition.
func (n *Node) write(r *replica, w *logWrite, op DiskOp) {
	r.writes = append(r.writes, w)
	n.repl.queued += w.bytes
	op.Part = r.id
	n.submit(op, func(d *DiskDone) {
		n.repl.queued -= w.bytes
		r.writes = slices.DeleteFunc(r.writes, func(x *logWrite) bool { return x == w })
		if r.deleted {
			return
		}
		if op.Kind == OpLogTruncate && d.End < w.end && r.end == w.end {
			r.cutAt(d.End) // the offset lay inside a batch, which the disk cuts whole
		}
		if op.Kind == OpLogTruncate {
			r.producers = knownProducers(d.Producers)
		}
		r.durable = max(r.durable, min(w.end, r.end))
		n.durableMoved(r)
	})
}

// knownProducers is the table that the disk gave, or an empty one.
func knownProducers(t *producers.Table) *producers.Table {
	if t == nil {
		return producers.New(0)
	}
	return t
}

// durableMoved follows a risen durable log end: the leader's own counts toward the high watermark, a follower's bounds its own.
func (n *Node) durableMoved(r *replica) {
	switch r.role {
	case replicaLeader:
		n.releaseDurable(r)
		n.advanceHW(r)
	case replicaFollower:
		n.followHW(r)
	}
}

// trimBatches cuts what a cold read gave to the batches that end after from and begin before limit.
func trimBatches(data []byte, from, limit int64) []byte {
	begin, at := -1, 0
	for at < len(data) {
		h, err := batch.ParseHeader(data[at:])
		if err != nil || int64(len(data)-at) < h.Size || h.BaseOffset >= limit {
			break
		}
		if begin < 0 && h.NextOffset() > from {
			begin = at
		}
		at += int(h.Size)
	}
	if begin < 0 {
		return nil
	}
	return data[begin:at:at]
}
