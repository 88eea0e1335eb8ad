package simclient

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

var (
	errConnClosed = errors.New("the connection was closed")
	errGivenUp    = errors.New("the connection was given up after another request on it had no answer")
)

// task is one thing under way: an operation, a refresh of the metadata, or a consumer's turn at a node.
type task struct {
	kind  taskKind
	state taskState
	gen   uint32 // raised whenever its timer is armed or disarmed
	conn  *conn  // while it is in flight
	op    *history.Operation

	started  int64
	part     *part          // produce
	lane     *lane          // produce, while it waits in one
	piece    protocol.Piece // drain
	maybe    bool           // auto-create, idempotent: something was sent that may have had an effect
	lastErr  error          // auto-create
	consumes *fetchLane     // consumer
	session  *session       // that asks for its id
	queue    *queue         // idempotent, or the queue that rests
	sent     bool           // idempotent: it has a sequence
	sequence int32
}

type taskKind uint8

const (
	taskProduce taskKind = iota + 1
	taskAdmin            // a single request: metadata operations, auto-create by Produce
	taskWriter           // auto-create as kafka-go's Writer does it
	taskDrain
	taskCache
	taskConsume
	taskIdempotent
	taskSession // asks for a producer id
	taskQueue   // a pause of a queue of batches
)

type taskState uint8

const (
	stateIdle    taskState = iota // nothing under way: a pause, or nothing to do
	statePending                  // produce: no leader is known
	stateWaiting                  // produce: too many requests are in flight
	stateFlying                   // a request is sent
	stateWriting                  // auto-create by a Writer: its Produce is sent
)

// disarm makes the task's timer void.
func (t *task) disarm() { t.gen++ }

func (c *Clients) newTask(now int64, kind taskKind, op *history.Operation) *task {
	var t *task
	if n := len(c.freeTasks); n > 0 {
		t = c.freeTasks[n-1]
		c.freeTasks = c.freeTasks[:n-1]
	} else {
		t = new(task)
	}
	t.kind, t.op, t.started = kind, op, now
	return t
}

// free gives a task back. Timers of it that are left in the heap are void.
func (c *Clients) free(t *task) {
	*t = task{gen: t.gen + 1}
	c.freeTasks = append(c.freeTasks, t)
}

// conn is a connection: one for each (producer, node), (consumer, node), operation of an admin client, piece of the drain, and node
// asked for metadata.
type conn struct {
	id       Conn
	node     int32
	corr     int32
	answered int32    // highest number answered
	flights  []flight // in the order of their sending
	slot     **conn   // where its owner holds it, nil if nobody does
	lane     *lane    // the producer's, if it is one
}

type flight struct {
	corr int32
	task *task
}

// open makes a connection, to be held in slot.
func (c *Clients) open(node int32, slot **conn) *conn {
	var cn *conn
	if n := len(c.freeConns); n > 0 {
		cn = c.freeConns[n-1]
		c.freeConns = c.freeConns[:n-1]
	} else {
		cn = new(conn)
	}
	c.lastConn++
	cn.id, cn.node, cn.slot = c.lastConn, node, slot
	if slot != nil {
		*slot = cn
	}
	c.conns[cn.id] = cn
	return cn
}

// send puts a task's request on a connection. Without an answer within timeout the task is told.
func (c *Clients) send(now int64, cn *conn, t *task, req kmsg.Request, op string, timeout time.Duration) {
	c.post(cn, req, op)
	cn.flights = append(cn.flights, flight{cn.corr, t})
	t.conn, t.state = cn, stateFlying
	c.timers.arm(t, now+int64(timeout))
}

// post puts a request on a connection, whose answer nobody waits for.
func (c *Clients) post(cn *conn, req kmsg.Request, op string) {
	cn.corr++
	c.outs = append(c.outs, Out{Conn: cn.id, Node: cn.node, Corr: cn.corr, Req: req, Op: op})
}

// forget takes a connection out of the books.
func (c *Clients) forget(cn *conn) {
	delete(c.conns, cn.id)
	if cn.slot != nil {
		*cn.slot = nil
	}
	clear(cn.flights)
	*cn = conn{flights: cn.flights[:0]}
	c.freeConns = append(c.freeConns, cn)
}

// hangUp closes a connection on which nothing is awaited any more.
func (c *Clients) hangUp(cn *conn) {
	c.outs = append(c.outs, Out{Close: true, Conn: cn.id})
	c.forget(cn)
}

// lose ends what was in flight on a connection that is gone. Refused means that nothing of it has arrived.
func (c *Clients) lose(now int64, cn *conn, err error, refused bool) {
	node, lane := cn.node, cn.lane
	flights := append([]flight(nil), cn.flights...)
	c.forget(cn)
	c.meta.suspect(node, now)
	for _, f := range flights {
		f.task.disarm()
		why := err
		if !refused {
			why = fmt.Errorf("awaiting an answer from n%d: %w", node, err)
		}
		c.lost(now, node, f.task, why, refused)
	}
	if lane != nil {
		c.drainLane(now, lane)
	}
}

// answered hands an answer to whose it is.
func (c *Clients) answered(now int64, cn *conn, t *task, resp kmsg.Response, index uint64) {
	t.conn = nil
	switch t.kind {
	case taskProduce:
		c.produceAnswered(now, cn, t, resp)
	case taskAdmin:
		c.adminAnswered(now, cn, t, resp, index)
	case taskWriter:
		c.writerAnswered(now, cn, t, resp)
	case taskDrain:
		c.drainAnswered(now, cn, t, resp)
	case taskCache:
		c.cacheAnswered(now, resp)
	case taskConsume:
		c.consumeAnswered(now, t.consumes, resp)
	case taskIdempotent:
		c.idempotentAnswered(now, cn, t, resp)
	case taskSession:
		c.idAnswered(now, t.session, resp)
	}
}

// lost tells a task that its request was not answered and never will be.
func (c *Clients) lost(now int64, node int32, t *task, err error, refused bool) {
	t.conn = nil
	switch t.kind {
	case taskProduce:
		c.produceLost(now, node, t, err, refused)
	case taskAdmin:
		c.adminLost(now, t, err, refused)
	case taskWriter:
		c.writerLost(now, t, err, refused)
	case taskDrain:
		t.piece.Broken(err)
		c.over(now, t)
	case taskCache:
		c.cacheLost(now)
	case taskConsume:
		c.consumeLost(now, t.consumes)
	case taskIdempotent:
		c.idempotentLost(now, node, t, err, refused)
	case taskSession:
		c.idLost(now, t.session)
	}
}

// timedOut takes a task whose timer went off. A connection with a request that was not answered in time is of no more use.
func (c *Clients) timedOut(now int64, t *task) {
	cn := t.conn
	if cn == nil {
		c.turn(now, t)
		return
	}
	for i := range cn.flights {
		if cn.flights[i].task == t {
			cn.flights = append(cn.flights[:i], cn.flights[i+1:]...)
			break
		}
	}
	node := cn.node
	c.outs = append(c.outs, Out{Close: true, Conn: cn.id})
	// First the one that is late, so that operations end in the order in which they were sent.
	c.meta.suspect(node, now)
	id := cn.id
	c.lost(now, node, t, fmt.Errorf("awaiting an answer from n%d: none within %v", node, c.timeoutOf(t.kind)), false)
	if c.conns[id] == cn { // an idempotent producer that gives up closes all its connections
		c.lose(now, cn, errGivenUp, false)
	}
}

func (c *Clients) timeoutOf(k taskKind) time.Duration {
	if k == taskCache || k == taskSession {
		return c.c.MetadataTimeout
	}
	return c.c.RequestTimeout
}

// turn goes on with a task that was waiting for a time.
func (c *Clients) turn(now int64, t *task) {
	switch t.kind {
	case taskProduce:
		c.produceWaited(now, t)
	case taskWriter:
		c.writerAsk(now, t)
	case taskCache:
		c.refresh(now)
	case taskConsume:
		t.state = stateIdle
		c.poll(now, t.consumes)
	case taskIdempotent:
		c.idempotentWaited(now, t)
	case taskSession:
		c.askID(now, t.session)
	case taskQueue:
		c.pump(now, t.queue)
	}
}

// over gives a task's operation back, settled as it is.
func (c *Clients) over(now int64, t *task) {
	c.done(now, t.op)
	c.free(t)
}

// outcome of a request without an answer.
func lostOutcome(refused bool) history.Outcome {
	if refused {
		return history.Failed
	}
	return history.Unknown
}
