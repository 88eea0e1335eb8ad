package core

import (
	"slices"
	"time"

	"soak/history"
)

// sessions is this node's table of when it last heard each broker. Every node keeps one; only the controller's decides anything.
type sessions struct {
	peers      []session // in the order of Config.Peers
	graceUntil int64     // until then everyone counts as live: the node has just started, or was itself stalled
	hbSeq      uint64
	booted     int64
}

type session struct {
	id    int32
	boot  uint64 // of the last heartbeat, 0 before the first
	heard int64  // 0: never in this boot
	live  bool   // as last told by an event
}

func (n *Node) initSessions() {
	n.sessions.booted = n.now
	n.sessions.graceUntil = n.now + int64(n.cfg.SessionTimeout)
	for _, p := range n.cfg.Peers {
		n.sessions.peers = append(n.sessions.peers, session{id: p, live: true})
	}
	n.heartbeat()
	n.watchSessions()
}

// heartbeat tells every node, in a fixed rhythm, that this broker lives.
func (n *Node) heartbeat() {
	n.sessions.hbSeq++
	for _, p := range n.cfg.Peers {
		if p != n.cfg.ID {
			n.send(p, &PeerMessage{Heartbeat: &Heartbeat{Seq: n.sessions.hbSeq}})
		}
	}
	n.after(n.cfg.heartbeatEvery(), n.heartbeat)
}

func (n *Node) onHeartbeat(from int32, boot uint64) {
	s := n.sessionOf(from)
	if boot < s.boot {
		return // a message of an earlier boot that was long under way
	}
	s.boot, s.heard = boot, n.now
	if !s.live {
		s.live = true
		n.emit(&history.Session{Broker: from, State: "live"})
		n.electorSessionBack()
	}
	n.startupHeard()
}

func (n *Node) sessionOf(id int32) *session {
	for i := range n.sessions.peers {
		if n.sessions.peers[i].id == id {
			return &n.sessions.peers[i]
		}
	}
	return nil
}

// sessionLive reports whether a broker's session lives in this node's table. A broker never heard in this boot, and every broker
// after this node itself was stalled, counts as live for one full session.
func (n *Node) sessionLive(id int32) bool {
	if id == n.cfg.ID {
		return true
	}
	s := n.sessionOf(id)
	return s != nil && (n.now < n.sessions.graceUntil || s.heard != 0 && n.now-s.heard < int64(n.cfg.SessionTimeout))
}

func (n *Node) liveCount() int {
	c := 0
	for _, s := range n.sessions.peers {
		if n.sessionLive(s.id) {
			c++
		}
	}
	return c
}

// heardFromMajority reports whether this node has heard a majority of the group, itself included, in this boot.
func (n *Node) heardFromMajority() bool {
	c := 1
	for _, s := range n.sessions.peers {
		if s.id != n.cfg.ID && s.heard != 0 {
			c++
		}
	}
	return c > len(n.sessions.peers)/2
}

// heardBoot is the boot that a node last spoke in, 0 if it was not heard in this boot of ours.
func (n *Node) heardBoot(id int32) uint64 {
	if id == n.cfg.ID {
		return n.cfg.Boot
	}
	if s := n.sessionOf(id); s != nil {
		return s.boot
	}
	return 0
}

// watchSessions looks for expired sessions as often as heartbeats come, and lets the elector know at once.
func (n *Node) watchSessions() {
	var expired []int32
	for i := range n.sessions.peers {
		s := &n.sessions.peers[i]
		if s.live && !n.sessionLive(s.id) {
			s.live = false
			expired = append(expired, s.id)
		}
	}
	for _, id := range expired {
		n.emit(&history.Session{Broker: id, State: "expired"})
	}
	if len(expired) > 0 {
		n.electorExpiry()
	}
	n.after(n.nextExpiry(), n.watchSessions)
}

// bootOf is the boot id that a broker registered with, as applied here; 0 if it is not registered.
func (n *Node) bootOf(id int32) uint64 {
	if b := n.state.Broker(id); b != nil {
		return b.Boot
	}
	return 0
}

// registeredInThisBoot reports whether this broker's registration with its present boot is applied here. Until then it leads nothing.
func (n *Node) registeredInThisBoot() bool { return n.bootOf(n.cfg.ID) == n.cfg.Boot }

// replicaLive reports whether a broker may lead: a live session, in the boot that it is registered with where a boot was heard, and no wish to end.
func (n *Node) replicaLive(id int32) bool {
	if !n.sessionLive(id) || n.leaving(id) {
		return false
	}
	heard := n.heardBoot(id)
	return heard == 0 || n.bootOf(id) == 0 || heard == n.bootOf(id)
}

func (n *Node) liveReplicas(ids []int32) []int32 {
	var out []int32
	for _, id := range ids {
		if n.replicaLive(id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// nextExpiry is how long until the next session could expire, between a millisecond and the heartbeat period.
func (n *Node) nextExpiry() time.Duration {
	d := n.cfg.heartbeatEvery()
	for _, s := range n.sessions.peers {
		if s.live && s.id != n.cfg.ID {
			end := max(n.sessions.graceUntil, s.heard+int64(n.cfg.SessionTimeout))
			d = min(d, time.Duration(end-n.now))
		}
	}
	return max(d, time.Millisecond)
}
