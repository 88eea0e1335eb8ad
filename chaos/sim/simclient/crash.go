package simclient

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"soak/history"
	"soak/workloads/gen"
	"soak/workloads/protocol"
)

var (
	errDown    = errors.New("before anything was sent: its client is down")
	errCrashed = errors.New("before anything was sent: its client crashed")
)

// Cut is what a crash of clients ended.
type Cut struct {
	Operations int // that were under way
	Conns      int
}

// Crash ends a client (a name that operations carry), or gen.AllClients, as SIGKILL does: its connections close, what it had sent may
// have been done and is never answered, what it had not sent never will be; a consumer forgets how far it had read. Until Restart it
// starts nothing. Clients that have nothing to lose at that instant are left alone, and the Cut is zero. The metadata cache, which stands
// for all of them, is lost only when all of them are.
func (c *Clients) Crash(now int64, who string) Cut {
	tasks, conns := c.belongings(who)
	cut := Cut{Conns: len(conns)}
	for _, t := range tasks {
		if t.op != nil {
			cut.Operations++
		}
	}
	if cut == (Cut{}) {
		return cut
	}
	c.down = append(c.down, who)
	for _, t := range tasks {
		c.cutOff(now, t)
	}
	for _, cn := range conns {
		c.hangUp(cn)
	}
	c.dropSessions(who)
	for _, r := range c.consumers {
		if gen.Meant(who, r.name) {
			r.crash()
		}
	}
	if who == gen.AllClients {
		c.meta.task.state, c.meta.filled = stateIdle, false
		for _, t := range c.topics {
			for _, p := range t.parts {
				p.leader, p.epoch = noLeader, -1
			}
		}
	}
	return cut
}

// belongings are the tasks under way of the clients meant, in the order in which they began what they wait for, and their connections.
func (c *Clients) belongings(who string) (tasks []*task, conns []*conn) {
	// Whatever is under way has a timer armed.
	var armed []timer
	for _, e := range c.timers.heap {
		if e.gen == e.task.gen && c.meant(who, e.task) {
			armed = append(armed, e)
		}
	}
	slices.SortFunc(armed, func(a, b timer) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range armed {
		tasks = append(tasks, e.task)
	}
	for _, id := range slices.Sorted(maps.Keys(c.conns)) {
		if cn := c.conns[id]; c.owns(who, cn) {
			conns = append(conns, cn)
		}
	}
	return tasks, conns
}

// meant reports whether a task is of the clients meant.
func (c *Clients) meant(who string, t *task) bool {
	switch {
	case t.kind == taskCache:
		return who == gen.AllClients
	case t.consumes != nil:
		return gen.Meant(who, t.consumes.of.name)
	}
	return t.op != nil && gen.Meant(who, t.op.Client)
}

// owns reports whether a connection is of the clients meant.
func (c *Clients) owns(who string, cn *conn) bool {
	switch {
	case cn.lane != nil:
		return gen.Meant(who, cn.lane.client)
	case cn == c.meta.conn:
		return who == gen.AllClients
	case len(cn.flights) > 0:
		return c.meant(who, cn.flights[0].task)
	}
	return slices.ContainsFunc(c.consumers, func(r *consumer) bool {
		return gen.Meant(who, r.name) && slices.ContainsFunc(r.lanes, func(l *fetchLane) bool { return l.conn == cn })
	})
}

// cutOff ends a task whose client is gone. Its connection is the caller's to close.
func (c *Clients) cutOff(now int64, t *task) {
	t.disarm()
	t.conn = nil
	if t.op == nil {
		return
	}
	switch t.state {
	case statePending:
		c.pending = slices.DeleteFunc(c.pending, func(x *task) bool { return x == t })
	case stateWaiting:
		t.lane.waiting = slices.DeleteFunc(t.lane.waiting, func(x *task) bool { return x == t })
	}
	if t.queue != nil {
		t.queue.remove(t)
	}
	if t.state == stateFlying || t.state == stateWriting || t.maybe {
		c.finish(now, t.op, history.Unknown, fmt.Errorf("%s crashed before it had an answer", t.op.Client))
	} else {
		c.finish(now, t.op, history.Failed, errCrashed)
	}
	c.free(t)
}

// crash makes a consumer one that has read nothing.
func (r *consumer) crash() {
	r.down = true
	for _, l := range r.lanes {
		l.task.state = stateIdle
		l.asks = l.asks[:0]
	}
	for _, p := range r.parts {
		p.read, p.asked = protocol.NewReading(p.part.topic, p.part.partition), false
	}
}

// Restart brings back what Crash ended by the same name. Consumers read from the beginning.
func (c *Clients) Restart(now int64, who string) {
	before := len(c.down)
	c.down = slices.DeleteFunc(c.down, func(x string) bool { return x == who })
	if len(c.down) == before {
		return
	}
	for _, r := range c.consumers {
		r.down = c.isDown(r.name)
	}
	c.pollAll(now)
}

// isDown reports whether a client has crashed and is not back.
func (c *Clients) isDown(client string) bool {
	return len(c.down) > 0 && slices.ContainsFunc(c.down, func(who string) bool { return gen.Meant(who, client) })
}
