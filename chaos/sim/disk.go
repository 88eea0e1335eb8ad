package sim

import (
	"soak/broker/core"
	"soak/internal/vfs"
)

// diskQueue is one of a node's ordered queues: it takes everything that waits, writes it, syncs all touched files, and completes all.
type diskQueue struct {
	n       *node
	waiting []core.DiskOp
	busy    bool
	until   int64 // when what it executed last is done
}

// submit hands an operation to its queue, or to the pool of readers.
func (n *node) submit(op *core.DiskOp) {
	switch op.Kind {
	case core.OpRaftSave, core.OpRaftSnapshot:
		n.raft.add(op)
	case core.OpLogRead:
		n.read(*op)
	default:
		n.logs.add(op)
	}
}

func (q *diskQueue) add(op *core.DiskOp) {
	q.waiting = append(q.waiting, *op)
	if !q.busy {
		q.run()
	}
}

// run executes what waits. The code runs now; each call of the file system is stamped with an instant inside the operation's latency, so that a
// crash in the middle keeps what came before it.
func (q *diskQueue) run() {
	n := q.n
	ops := q.waiting
	q.waiting = nil
	q.busy = true
	n.fs.Begin(n.s.now)
	done := n.dir.Do(ops, func(files []vfs.File) error { return n.fs.SyncAll(files) })
	at := n.fs.End()
	q.until = at
	life := n.life
	n.s.noteDisk(n)
	n.crashWithin(n.s.now, at)
	for i := range done {
		// That it stops of this is right, also when the fault is healed before the node knows.
		n.doomed = n.doomed || done[i].Err != nil && n.broken > 0
	}
	n.s.at(at, func() {
		if n.life != life {
			return
		}
		for i := range done {
			n.receive(&done[i])
		}
		q.busy = false
		q.kick()
	})
}

// kick begins with what waits, unless the node is held: its threads are, too.
func (q *diskQueue) kick() {
	if !q.busy && len(q.waiting) > 0 && q.n.paused == 0 {
		q.run()
	}
}

// read executes a cold read.
func (n *node) read(op core.DiskOp) {
	n.fs.Begin(n.s.now)
	done := n.dir.Read(op)
	n.s.noteDisk(n)
	n.s.deliver(n.fs.End(), n, n.life, &done)
}

// disk is the latency of a node's disk: of each call of its file system.
func (s *sim) disk(n *node) vfs.Latency {
	return func(op vfs.Op, path string, bytes int) int64 {
		t := uint64(s.now / noiseStep)
		switch op {
		case vfs.OpSync, vfs.OpSyncDir:
			return spread(mix(s.seed, saltDisk, uint64(n.id), t), s.mix.SyncMin, s.mix.SyncMax) * n.slowDisk
		case vfs.OpWrite:
			return 4_000 + int64(bytes)*int64(s.mix.WritePerKiB)/1024
		case vfs.OpRead:
			return 10_000 + int64(bytes)/4
		}
		return 15_000
	}
}
