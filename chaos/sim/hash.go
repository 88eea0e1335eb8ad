package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"soak/history"
)

// hasher folds everything that was observed into one number: every field of every record, in its own type. Equal hashes mean equal
// events.jsonl, history.jsonl and faults.jsonl, without writing them.
type hasher struct{ sum uint64 }

func (h *hasher) word(w uint64) {
	s := (h.sum ^ w) * 0xff51afd7ed558ccd
	h.sum = s ^ s>>32
}

func (h *hasher) int(n int64)   { h.word(uint64(n)) }
func (h *hasher) node(id int32) { h.word(uint64(uint32(id))) }

func (h *hasher) kind(tag uint64) { h.word(tag) }

func (h *hasher) flag(b bool) {
	if b {
		h.word(1)
	} else {
		h.word(0)
	}
}

func (h *hasher) text(s string) {
	h.word(uint64(len(s)))
	for ; len(s) >= 8; s = s[8:] {
		h.word(uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56)
	}
	if len(s) > 0 {
		var rest [8]byte
		copy(rest[:], s)
		h.word(binary.LittleEndian.Uint64(rest[:]))
	}
}

func (h *hasher) nodes(ids []int32) {
	h.word(uint64(len(ids)))
	for _, id := range ids {
		h.node(id)
	}
}

func (h *hasher) texts(list []string) {
	h.word(uint64(len(list)))
	for _, s := range list {
		h.text(s)
	}
}

func (h *hasher) event(e *history.Event) {
	h.node(e.Node)
	h.word(e.Boot)
	h.word(e.Seq)
	h.int(e.Time)
	switch b := e.Body.(type) {
	case *history.Partition:
		h.kind(1)
		h.text(b.Topic)
		h.node(b.Partition)
		h.text(b.Role)
		h.node(b.Leader)
		h.node(b.LeaderEpoch)
		h.node(b.PartitionEpoch)
		h.nodes(b.ISR)
		h.int(b.HighWatermark)
		h.int(b.LogEnd)
		h.logStart(b.LogStart)
		h.text(b.Cause)
	case *history.Apply:
		h.kind(2)
		h.apply(b)
	case *history.Propose:
		h.kind(3)
		h.text(b.Command)
		h.text(b.Key)
		h.word(b.Term)
		h.text(string(b.Role))
		h.node(b.Leader)
		h.word(b.Attempt)
		h.text(b.Outcome)
		h.text(b.Error)
		h.text(b.Op)
		h.node(b.Via)
		h.text(b.Cause)
	case *history.Read:
		h.kind(4)
		h.text(b.Op)
		h.word(b.Index)
	case *history.LeaderCheck:
		h.kind(5)
		h.word(b.Term)
		h.text(string(b.Role))
		h.text(b.Cause)
	case *history.RoleChange:
		h.kind(6)
		h.word(b.Term)
		h.text(string(b.Role))
		h.node(b.Leader)
	case *history.StateHash:
		h.kind(7)
		h.word(b.Index)
		h.word(b.Hash)
	case *history.Session:
		h.kind(8)
		h.node(b.Broker)
		h.text(b.State)
	case *history.Claim:
		h.kind(9)
		h.text(b.What)
		h.text(b.Key)
		h.word(b.Index)
		h.node(b.Leader)
		h.node(b.LeaderEpoch)
	case *history.Started:
		h.kind(10)
		h.text(b.Version)
		h.nodes(b.Nodes)
		h.texts(b.Bugs)
	case *history.Bug:
		h.kind(11)
		h.text(b.Name)
		h.word(b.Decisions)
	case *history.Exit:
		h.kind(12)
		h.node(b.Of)
		h.int(int64(b.Code))
		h.text(b.Signal)
		h.flag(b.Asked)
	case *history.LogLine:
		h.kind(13)
		h.node(b.Of)
		h.text(b.What)
		h.text(b.Line)
	case *history.Stall:
		h.kind(14)
		h.text(b.What)
		h.int(b.Nanos)
	case *history.Snapshot:
		h.kind(15)
		h.text(b.What)
		h.word(b.Index)
		h.word(b.Term)
		h.int(b.Bytes)
	default:
		panic(fmt.Sprintf("sim: an event that cannot be hashed: %T", b))
	}
}

func (h *hasher) apply(b *history.Apply) {
	h.word(b.Index)
	h.word(b.Term)
	h.text(b.Command)
	h.text(b.Key)
	h.node(b.Proposer)
	h.word(b.ProposerTerm)
	h.word(b.ProposerBoot)
	h.word(b.Attempt)
	h.node(b.ExpectedEpoch)
	h.text(b.Outcome)
	h.text(b.Error)
	h.word(uint64(len(b.Changes)))
	for i := range b.Changes {
		c := &b.Changes[i]
		h.text(c.Topic)
		h.node(c.Partition)
		h.node(c.Leader)
		h.node(c.LeaderEpoch)
		h.node(c.PartitionEpoch)
		h.nodes(c.ISR)
		h.nodes(c.Replicas)
		h.flag(c.Gone)
	}
	h.word(b.Hash)
	h.node(b.Via)
	h.text(b.Cause)
	h.text(b.Op)
}

func (h *hasher) operation(op *history.Operation) {
	h.text(op.ID)
	h.text(op.Client)
	h.node(op.Node)
	h.int(op.Invoke)
	h.int(op.Complete)
	h.text(string(op.Outcome))
	h.text(op.Error)
	if p := op.Produce; p != nil {
		h.kind(1)
		h.text(p.Topic)
		h.node(p.Partition)
		h.word(uint64(p.Producer))
		h.word(uint64(p.Incarnation))
		h.word(p.FirstSeq)
		h.node(p.Count)
		h.word(uint64(len(p.Offsets)))
		for _, o := range p.Offsets {
			h.int(o)
		}
		h.int(p.Acked)
		h.int(int64(p.Acks))
		h.flag(p.Idempotent)
		h.flag(p.Disordered)
	}
	if m := op.Meta; m != nil {
		h.kind(2)
		h.meta(m)
	}
	if c := op.Create; c != nil {
		h.kind(3)
		h.text(c.Topic)
		h.text(c.How)
	}
	if d := op.Drain; d != nil {
		h.kind(4)
		h.text(d.Topic)
		h.node(d.Partition)
		h.node(d.Replica)
		h.int(d.From)
		h.int(d.To)
		h.int(d.LogEnd)
		h.int(d.High)
		h.flag(d.End)
		h.logStart(d.LogStart)
		h.read(d.Spans, d.Bad)
		h.int(int64(len(d.Stretches)))
		for _, s := range d.Stretches {
			h.int(s.From)
			h.int(s.To)
			h.word(s.Hash)
		}
	}
	if c := op.Consume; c != nil {
		h.kind(5)
		h.text(c.Topic)
		h.node(c.Partition)
		h.node(c.LeaderEpoch)
		h.int(c.From)
		h.int(c.To)
		h.int(c.High)
		h.read(c.Spans, c.Bad)
	}
}

// logStart leaves out a log start of 0: runs without retention hash to what they did before there was any.
func (h *hasher) logStart(at int64) {
	if at != 0 {
		h.text("log_start")
		h.int(at)
	}
}

func (h *hasher) meta(m *history.MetaOp) {
	h.text(m.Kind)
	h.text(m.Name)
	h.text(m.Config)
	h.text(m.Value)
	h.flag(m.Exists)
	h.text(m.TopicID)
	h.word(m.Index)
	h.int(int64(m.Code))
	h.node(m.Partitions)
	h.int(int64(m.Replication))
	h.word(uint64(len(m.Configs)))
	if len(m.Configs) > 0 {
		for _, k := range slices.Sorted(maps.Keys(m.Configs)) {
			h.text(k)
			h.text(m.Configs[k])
		}
	}
	h.text(m.Owner)
}

func (h *hasher) read(spans []history.Span, bad []history.BadRecord) {
	h.word(uint64(len(spans)))
	for i := range spans {
		s := &spans[i]
		h.int(s.Offset)
		h.word(uint64(s.Producer))
		h.word(uint64(s.Incarnation))
		h.word(s.Seq)
		h.node(s.Count)
	}
	h.word(uint64(len(bad)))
	for i := range bad {
		h.int(bad[i].Offset)
		h.text(bad[i].Why)
	}
}

func (h *hasher) fault(f *history.Fault) {
	h.int(int64(f.ID))
	h.text(f.Kind)
	h.text(f.Target)
	h.nodes(f.Nodes)
	h.text(f.Role)
	h.flag(f.Clients)
	h.text(f.Trigger)
	h.int(f.Asked)
	h.int(f.Effective)
	h.int(f.HealAsked)
	h.int(f.Healed)
	h.int(f.Lapsed)
	h.word(uint64(len(f.Evidence)))
	for i := range f.Evidence {
		e := &f.Evidence[i]
		h.int(e.Time)
		h.text(e.Phase)
		h.text(e.What)
		h.int(e.Count)
	}
	h.flag(f.OnRaftLeader)
	h.text(f.Error)
}
