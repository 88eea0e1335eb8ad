package core

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
)

// request is one client request under way. Handlers keep it and answer it once by Node.reply or by dropping its connection.
type request struct {
	*ClientRequest
	conn  *conn
	done  bool
	resp  kmsg.Response
	index uint64
}

// conn holds the requests of one connection in the order in which they came: Kafka answers in that order, whatever
// finishes first.
type conn struct {
	id    ConnID
	queue []*request
	gone  bool
}

func (n *Node) onRequest(in *ClientRequest) {
	c := n.conns[in.Conn]
	if c == nil {
		c = &conn{id: in.Conn}
		n.conns[in.Conn] = c
	}
	if c.gone {
		return
	}
	rq := &request{ClientRequest: in, conn: c}
	c.queue = append(c.queue, rq)
	n.dispatch(rq)
}

// reply answers a request that rests on no raft index; resp nil writes nothing (acks=0).
func (n *Node) reply(rq *request, resp kmsg.Response) { n.replyAt(rq, resp, 0) }

// replyAt answers a request with what was true at a raft index. Answers leave in the order of their connection's requests.
func (n *Node) replyAt(rq *request, resp kmsg.Response, index uint64) {
	if rq.done {
		return
	}
	rq.done, rq.resp, rq.index = true, resp, index
	if resp != nil {
		resp.SetVersion(rq.Req.GetVersion())
	}
	c := rq.conn
	if n.cfg.Bugs.Has(bugs.PipelinedReorder) && c.queue[0] != rq {
		n.bugHit(bugs.PipelinedReorder)
		c.queue = slices.DeleteFunc(c.queue, func(x *request) bool { return x == rq })
		c.queue = slices.Insert(c.queue, 0, rq)
	}
	for len(c.queue) > 0 && c.queue[0].done {
		r := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if !c.gone {
			n.out.Responses = append(n.out.Responses, Response{Conn: c.id, Corr: r.Corr, Kmsg: r.resp, Op: r.Op, Index: r.index})
		}
	}
	if len(c.queue) == 0 && !c.gone {
		delete(n.conns, c.id)
	}
}

// closeConn ends a connection without an answer to rq: what Kafka does where no error code fits.
func (n *Node) closeConn(rq *request) {
	c := rq.conn
	if c.gone {
		return
	}
	c.gone = true // and stays known until the caller says that it is closed: requests that were read already must not be carried out
	n.out.Close = append(n.out.Close, c.id)
	n.dropBacklog(c)
}

// onConnClosed forgets a connection. Its requests go on (they may be in the log already) and their answers go nowhere.
func (n *Node) onConnClosed(id ConnID) {
	if c := n.conns[id]; c != nil {
		c.gone = true
		delete(n.conns, id)
		n.dropBacklog(c)
	}
}
