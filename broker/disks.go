package broker

import (
	"sync"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/vfs"
)

// storage is an open data directory.
type storage interface {
	Do(ops []core.DiskOp, sync func([]vfs.File) error) []core.DiskDone
	Read(op core.DiskOp) core.DiskDone
	Cuts() []disk.Cut
	Close() error
}

// readers is the size of the pool for reads of partition logs.
const readers = 4

// disks executes disk operations: raft saves in one ordered queue, writes to partition logs in another, reads in a small pool. A
// queue takes everything waiting at once, so that one sync serves it all: the group commit.
type disks struct {
	dir  storage
	sync func([]vfs.File) error
	done func(*core.DiskDone)

	raft, logs, reads *opQueue
	workers           sync.WaitGroup
}

func startDisks(dir storage, sync func([]vfs.File) error, done func(*core.DiskDone)) *disks {
	d := &disks{dir: dir, sync: sync, done: done, raft: newOpQueue(), logs: newOpQueue(), reads: newOpQueue()}
	d.workers.Go(func() { d.write(d.raft) })
	d.workers.Go(func() { d.write(d.logs) })
	for range readers {
		d.workers.Go(d.read)
	}
	return d
}

// submit hands operations over; each is answered by one completion. It never waits.
func (d *disks) submit(ops []core.DiskOp) {
	var raft, logs, reads []core.DiskOp
	for _, op := range ops {
		switch op.Kind {
		case core.OpRaftSave, core.OpRaftSnapshot:
			raft = append(raft, op)
		case core.OpLogRead:
			reads = append(reads, op)
		default:
			logs = append(logs, op)
		}
	}
	d.raft.put(raft)
	d.logs.put(logs)
	d.reads.put(reads)
}

// flush executes what is queued and ends the workers. Nothing may be submitted any more.
func (d *disks) flush() {
	d.raft.close()
	d.logs.close()
	d.reads.close()
	d.workers.Wait()
}

func (d *disks) write(q *opQueue) {
	for {
		ops := q.all()
		if ops == nil {
			return
		}
		done := d.dir.Do(ops, d.sync)
		for i := range done {
			d.done(&done[i])
		}
	}
}

func (d *disks) read() {
	for {
		op, ok := d.reads.one()
		if !ok {
			return
		}
		done := d.dir.Read(op)
		d.done(&done)
	}
}

// opQueue is an unbounded queue: the core bounds what it has under way.
type opQueue struct {
	mu     sync.Mutex
	some   sync.Cond
	ops    []core.DiskOp
	closed bool
}

func newOpQueue() *opQueue {
	q := &opQueue{}
	q.some.L = &q.mu
	return q
}

func (q *opQueue) put(ops []core.DiskOp) {
	if len(ops) == 0 {
		return
	}
	q.mu.Lock()
	q.ops = append(q.ops, ops...)
	q.mu.Unlock()
	q.some.Broadcast()
}

func (q *opQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}

// all waits for operations and takes every one; nil once the queue is closed and empty.
func (q *opQueue) all() []core.DiskOp {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ops) == 0 && !q.closed {
		q.some.Wait()
	}
	ops := q.ops
	q.ops = nil
	return ops
}

// one waits for an operation and takes it; false once the queue is closed and empty.
func (q *opQueue) one() (core.DiskOp, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ops) == 0 && !q.closed {
		q.some.Wait()
	}
	if len(q.ops) == 0 {
		return core.DiskOp{}, false
	}
	op := q.ops[0]
	q.ops[0] = core.DiskOp{}
	q.ops = q.ops[1:]
	return op, true
}
