package core

import (
	"strconv"
	"time"

	"soak/broker/bugs"
	"soak/broker/partlog/producers"
	"soak/history"
)

// Retention: a leader has the disk remove whole segments from the beginning of its log, by age and size as the topic's configuration says, and never
// above the high watermark, so that every member of the ISR has had what goes. Followers follow their leader's log start. Time is the node's clock
// against the times that producers gave their batches.

// configNumber is a topic's integer configuration, def where it is not set. Its form was checked when it was set.
func (r *replica) configNumber(key string, def int64) int64 {
	if r.topic == nil {
		return def
	}
	if v, ok := r.topic.Config(key); ok {
		if i, err := strconv.ParseInt(v, 10, 64); err == nil {
			return i
		}
	}
	return def
}

// segmentBytes is the size to which segments of the partition grow, 0 where that is the disk's to say.
func (n *Node) segmentBytes(r *replica) int64 { return r.configNumber("segment.bytes", 0) }

// checkRetention is the one timer of all partitions that this node leads.
func (n *Node) checkRetention() {
	for _, r := range n.repl.order {
		if r.role != replicaLeader || !r.onDisk || r.end == r.start {
			continue
		}
		keep := Retention{Below: r.hw, Bytes: r.configNumber("retention.bytes", -1)}
		if n.cfg.Bugs.Has(bugs.RetentionAboveHW) && r.end > r.hw {
			n.bugHit(bugs.RetentionAboveHW)
			keep.Below = r.end
		}
		if ms := r.configNumber("retention.ms", -1); ms >= 0 {
			keep.Before = max(n.now/int64(time.Millisecond)-ms, 0)
		}
		if (keep.Before > 0 || keep.Bytes >= 0) && !r.retaining {
			n.tell(r, history.CauseRetention)
			n.retain(r, keep, history.CauseRetained)
		}
	}
	n.after(n.cfg.RetentionCheck, n.checkRetention)
}

// retainUntil follows the leader's log start: what is older goes here as well, as far as whole segments of it are below both.
func (n *Node) retainUntil(r *replica, start int64) {
	if start > r.leaderStart && start <= r.hw && r.onDisk && !r.retaining {
		r.leaderStart = start
		n.retain(r, Retention{Below: start, Until: start, Bytes: -1}, history.CauseFollowed)
	}
}

// retain has the disk remove segments, and takes note of where the log begins then. Another one must not be under way.
func (n *Node) retain(r *replica, keep Retention, cause string) {
	r.retaining = true
	n.submit(DiskOp{Kind: OpLogRetain, Part: r.id, Retain: keep}, func(d *DiskDone) {
		r.retaining = false
		if !r.deleted && d.End > r.start {
			r.beginAt(d.End)
			n.touch(r)
			n.tell(r, cause)
		}
	})
}

// beginAt forgets what lies below a new log start.
func (l *replicaLog) beginAt(start int64) {
	l.start = start
	i := len(l.epochs)
	for i > 0 && l.epochs[i-1].Start > start {
		i--
	}
	if i > 0 {
		l.epochs = l.epochs[i-1:]
		l.epochs[0].Start = start
	}
	l.cache.dropBelow(start)
}

// restartLog gives up all of a follower's log and has it begin at its leader's start. The leader has told that all below is gone, and was committed
// before that: so this replica is not in the ISR, or has nothing that was. The high watermark is the start, as in Kafka, before the disk has confirmed the empty log:
// nothing stands below it that could be missing.
func (n *Node) restartLog(r *replica, start int64) {
	r.cutAt(r.start)
	r.start, r.end, r.hw, r.epochs = start, start, start, nil
	r.leaderStart = start
	r.producers = producers.New(0)
	r.onDisk = true
	n.write(r, &logWrite{end: start}, DiskOp{Kind: OpLogRestart, Offset: start})
	n.touch(r)
	n.tell(r, history.CauseRestart)
}

// dropBelow forgets the batches that end at or below offset.
func (c *cache) dropBelow(offset int64) {
	for len(c.batches) > 0 && c.batches[0].next <= offset {
		c.bytes -= len(c.batches[0].data)
		c.batches[0] = cachedBatch{}
		c.batches = c.batches[1:]
	}
}
