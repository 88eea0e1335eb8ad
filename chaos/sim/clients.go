package sim

import (
	"slices"

	"soak/broker/core"
	"soak/chaos/sim/simclient"
)

// clientConn is a connection of a simulated client to a node.
type clientConn struct {
	id   simclient.Conn
	node *node
	life int // of the node when the connection was made
}

// pumpClients carries out what the clients want since the last call.
func (s *sim) pumpClients() {
	for {
		outs := s.clients.Output()
		if len(outs) == 0 {
			break
		}
		for i := range outs {
			s.clientWants(&outs[i])
		}
	}
	if wake := s.clients.Wake(); wake != 0 && (s.clientWake == 0 || wake < s.clientWake) {
		s.clientWake = max(wake, s.now)
		s.at(s.clientWake, func() {
			if s.now >= s.clientWake {
				s.clientWake = 0
			}
			s.clients.Tick(s.now)
			s.pumpClients()
		})
	}
}

func (s *sim) clientWants(o *simclient.Out) {
	switch {
	case o.Done != nil:
		s.done(o.Done)
	case o.Close:
		s.conns = slices.DeleteFunc(s.conns, func(c clientConn) bool {
			if c.id != o.Conn {
				return false
			}
			s.closed(c, s.latency(s.link(0, c.node.id)))
			return true
		})
	default:
		s.clientSends(o)
	}
}

// clientSends carries a request to a node. The first on a connection opens it: a node that is down refuses it.
func (s *sim) clientSends(o *simclient.Out) {
	n := s.nodes[o.Node]
	l := s.link(0, o.Node)
	i := slices.IndexFunc(s.conns, func(c clientConn) bool { return c.id == o.Conn })
	if i < 0 {
		if !n.alive() && l.cuts == 0 {
			conn := o.Conn
			s.at(s.now+s.latency(l), func() { s.clients.Refused(s.now, conn); s.pumpClients() })
			return
		}
		s.conns = append(s.conns, clientConn{id: o.Conn, node: n, life: n.life})
		i = len(s.conns) - 1
	}
	if s.taken(l) {
		return // the client's own time-out ends it
	}
	l.passed++
	at := max(s.now+s.latency(l), l.last+1)
	l.last = at
	req := &core.ClientRequest{Conn: core.ConnID(o.Conn), Corr: o.Corr, Req: o.Req, Op: o.Op}
	if s.mix.Wire {
		req = s.requestThroughWire(req)
	}
	s.deliver(at, n, s.conns[i].life, req)
	if s.resetNow(l, o.Conn) {
		s.stats.Reset++
		s.resetConn(o.Conn)
	}
}

// answer carries a node's answer to its client.
func (s *sim) answer(n *node, r *core.Response) {
	if r.Kmsg == nil {
		return
	}
	l := s.link(n.id, 0)
	if s.taken(l) {
		return
	}
	l.passed++
	at := max(s.now+s.latency(l), l.last+1)
	l.last = at
	conn, corr, resp, index := simclient.Conn(r.Conn), r.Corr, r.Kmsg, r.Index
	if s.mix.Wire {
		resp, index = s.answerThroughWire(r), 0 // told in the answer's own tag
	}
	s.at(at, func() { s.clients.Answer(s.now, conn, corr, resp, index); s.pumpClients() })
}

// closed tells a node that a connection of its is gone: after all that was sent on it, for a core must not hear of it again.
func (s *sim) closed(c clientConn, after int64) {
	l := s.link(0, c.node.id)
	l.last = max(s.now+after, l.last+1)
	s.deliver(l.last, c.node, c.life, core.ConnClosed{Conn: core.ConnID(c.id)})
}

// resetConn ends a connection for both of its sides, whoever did it: the node itself, or something on the way.
func (s *sim) resetConn(id simclient.Conn) {
	s.lose(func(c clientConn) bool {
		if c.id != id {
			return false
		}
		s.closed(c, 1)
		return true
	})
}

// clientsLose tells the clients that a node's connections are gone with it.
func (s *sim) clientsLose(n *node) {
	s.lose(func(c clientConn) bool { return c.node == n })
}

func (s *sim) lose(which func(clientConn) bool) {
	var gone []simclient.Conn
	s.conns = slices.DeleteFunc(s.conns, func(c clientConn) bool {
		if which(c) {
			gone = append(gone, c.id)
			return true
		}
		return false
	})
	for _, id := range gone {
		s.at(s.now+int64(s.mix.LatencyMin), func() { s.clients.Closed(s.now, id); s.pumpClients() })
	}
}
