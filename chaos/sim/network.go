package sim

import (
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/raft/v3/raftpb"

	"soak/broker/core"
)

// link is one direction between two nodes, or between the clients and a node (the clients are node 0). What it does to a message is a
// function of (seed, link, time).
type link struct {
	from, to int32
	cuts     int   // faults that cut it now
	delay    int64 // that faults add to each message now, and up to so much more
	jitter   int64
	loss     int64 // share of the messages that faults take now, in millionths
	last     int64 // arrival of the latest message: a connection keeps the order of what is sent on it
	dropped  int64 // messages that a cut took, the evidence of a partition
	passed   int64
}

func (l *link) key() uint64 { return uint64(uint32(l.from))<<32 | uint64(uint32(l.to)) }

// Salts keep the kinds of noise apart.
const (
	saltLatency uint64 = iota + 1
	saltSpike
	saltDrop
	saltDuplicate
	saltReorder
	saltDisk
	saltDiskSpike
	saltTurn
	saltPower
	saltClock
	saltSwarm
	saltReset
	saltCrash
	saltDiskFault
	saltRot
	saltDelay
	saltLoss
	saltClient
	saltFlush
	saltSnapshot
	saltRetention
)

// noiseStep is how finely noise varies in time.
const noiseStep = int64(250_000) // 250 µs

// latency of a message that is sent on the link now.
func (s *sim) latency(l *link) int64 {
	t := uint64(s.now / noiseStep)
	d := spread(mix(s.seed, saltLatency, l.key(), t), s.mix.LatencyMin, s.mix.LatencyMax)
	if h := mix(s.seed, saltSpike, l.key(), uint64(s.now/spikeStep)); chance(h, s.mix.SpikePPM) {
		d += spread(h>>20, 0, s.mix.SpikeMax)
	}
	return d + s.lag(l)
}

// spikeStep is how long a spike of latency lasts.
const spikeStep = int64(20_000_000)

// sendPeer carries a message between nodes.
func (s *sim) sendPeer(m *core.PeerMessage) {
	l := s.link(m.From, m.To)
	to := s.nodes[m.To]
	if s.taken(l) {
		return
	}
	t := uint64(s.now / noiseStep)
	if s.mix.DropPPM > 0 && chance(mix(s.seed, saltDrop, l.key(), t), s.mix.DropPPM) {
		s.stats.Dropped++
		return
	}
	l.passed++
	at := s.now + s.latency(l)
	reordered := s.mix.ReorderPPM > 0 && chance(mix(s.seed, saltReorder, l.key(), t), s.mix.ReorderPPM)
	if reordered {
		at += between(mix(s.seed, saltReorder, l.key(), t, 1), 0, int64(s.mix.SpikeMax))
		s.stats.Reordered++
	} else {
		at = max(at, l.last+1)
		l.last = at
	}
	if s.mix.Wire {
		m = s.throughWire(m)
	}
	s.deliver(at, to, 0, core.PeerInput{Msg: m})
	if s.mix.DuplicatePPM > 0 && chance(mix(s.seed, saltDuplicate, l.key(), t), s.mix.DuplicatePPM) {
		s.stats.Duplicated++
		again := *m
		if m.Raft != nil {
			again.Raft = proto.Clone(m.Raft).(*pb.Message) // raft owns what it is given
		}
		s.deliver(at+between(mix(s.seed, saltDuplicate, l.key(), t, 1), 1, int64(s.mix.SpikeMax)+2), to, 0, core.PeerInput{Msg: &again})
	}
}

// link answers the link of an ordered pair.
func (s *sim) link(from, to int32) *link { return &s.links[int(from)*(len(s.nodes))+int(to)] }
