package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"soak/checkers"
	"soak/history"
)

// A story is one violation with all that the folder holds of it: the evidence, and what happened around it to the same partitions, keys and nodes.
type story struct {
	number  int // from 1, in the order of the page
	checker string
	v       *checkers.Violation
	cause   *cause

	from, to int64 // what is shown around it
	ids      map[string]bool
	keys     map[string]bool // topics, and partitions as keys
	topics   map[string]bool // of those partitions: their other partitions do not matter
	indexes  map[uint64]bool // of raft entries in evidence
	told     map[string]bool // evidence, as it stands in the verdict
	lost     *lostStory      // of lost records, nil of others
	metadata *metadataStory  // of a metadata answer that cannot be true, nil of others

	events     []*history.Event
	operations []*history.Operation
	cut        int // lines of the trace in its time that were too many
}

// Bounds of the stories.
const (
	maxStories   = 14
	perKind      = 3          // causes whose first violation is of one kind
	before       = int64(3e9) // shown before a violation, and
	after        = int64(1500e6)
	maxGathered  = 1500 // records of each sort that a story keeps while reading
	maxKeptByIDs = 5000 // operations of a story by its violation's list
)

// near is how close in time violations of one family must lie to be told as one cause.
const near = int64(10e9)

// families are checkers that see the same wrong from several sides: what one of them finds, the others mostly find as well.
var families = map[string]string{
	checkers.AckedRecords: "records", checkers.RecordOrder: "records", checkers.NoDuplicates: "records", checkers.PhantomRead: "records", checkers.HighWatermark: "records",
	checkers.ReplicaAgreement: "records", checkers.SingleLeaderProposing: "leadership", checkers.ZeroProposalErrors: "leadership",
}

// cause is violations that belong together, as far as their time and their partition tell: one is told, the others are counted.
type cause struct {
	family   string
	from, to int64 // of those that have a time before the final read
	keys     map[string]bool
	list     []causeMember
}

type causeMember struct {
	checker string
	v       *checkers.Violation
}

// causes groups violations: one kind of failure gives hundreds, seen by several checkers. They come in the order of the verdicts, and within a verdict by
// time; what has no time, or was only seen in the final read, goes to the cause that is about the same partition.
func (c *collected) causes() []*cause {
	drain := int64(math.MaxInt64)
	for _, p := range c.Run.Phases {
		if p.Name == "drain" && p.Start != 0 {
			drain = p.Start
		}
	}
	var out []*cause
	for vi := range c.Report.Verdicts {
		v := &c.Report.Verdicts[vi]
		family := cmp.Or(families[v.Checker], v.Checker)
		list := make([]*checkers.Violation, len(v.Violations))
		for i := range v.Violations {
			list[i] = &v.Violations[i]
		}
		slices.SortStableFunc(list, func(a, b *checkers.Violation) int {
			return cmp.Or(cmp.Compare(btoi(a.Time == 0), btoi(b.Time == 0)), cmp.Compare(a.Time, b.Time))
		})
		for _, x := range list {
			key, late := violationKey(x), x.Time == 0 || x.Time >= drain
			i := slices.IndexFunc(out, func(k *cause) bool {
				return k.family == family && (late && k.keys[key] || !late && k.from != 0 && x.Time >= k.from-near && x.Time <= k.to+near)
			})
			if i < 0 {
				i = len(out)
				out = append(out, &cause{family: family, keys: map[string]bool{}})
			}
			k := out[i]
			k.list = append(k.list, causeMember{v.Checker, x})
			k.keys[key] = true
			if !late {
				if k.from == 0 || x.Time < k.from {
					k.from = x.Time
				}
				k.to = max(k.to, x.Time)
			}
		}
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// violationKey is the partition or topic that a violation is about, by the first operation or event of its evidence.
func violationKey(v *checkers.Violation) string {
	for _, line := range v.Evidence {
		if h, ok := scanOp([]byte(line)); ok {
			return keyOf(h)
		}
		if names := mentioned([]byte(line)); len(names) > 0 {
			return names[0]
		}
	}
	return ""
}

// chooseStories tells the first violation of each cause, of one checker's kind no more than perKind.
func (c *collected) chooseStories() []*story {
	if c.Report == nil {
		return nil
	}
	var out []*story
	told := map[string]int{}
	for _, k := range c.causes() {
		first := k.list[0]
		kind := first.checker + "/" + first.v.Kind
		if told[kind]++; told[kind] > perKind || len(out) >= maxStories {
			continue
		}
		s := c.newStory(first.checker, first.v)
		s.number = len(out) + 1
		s.cause = k
		out = append(out, s)
	}
	return out
}

func (c *collected) newStory(checker string, v *checkers.Violation) *story {
	s := &story{checker: checker, v: v, ids: map[string]bool{}, keys: map[string]bool{}, topics: map[string]bool{}, indexes: map[uint64]bool{}, told: map[string]bool{}, lost: newLostStory(v)}
	for _, id := range v.Operations[:min(len(v.Operations), maxKeptByIDs)] {
		s.ids[id] = true
	}
	at := v.Time
	for _, line := range v.Evidence {
		s.told[line] = true
		if e, ok, err := history.ParseEvent([]byte(line)); err == nil && ok {
			s.events = append(s.events, &e)
			s.about(&e)
			at = cmp.Or(at, e.Time)
			continue
		}
		if op, err := history.ParseOperation([]byte(line)); err == nil && op != nil {
			s.ids[op.ID] = true
			s.operations = append(s.operations, op)
			h := headOf(op)
			s.keys[keyOf(h)] = true
			s.topics[string(h.topic)] = true
			at = cmp.Or(at, op.Complete, op.Invoke)
		}
	}
	s.from, s.to = at-before, at+after
	return s
}

// keyOf is what an operation is about: a partition, or a topic.
func keyOf(h opHead) string {
	switch h.kind {
	case "produce", "consume", "drain":
		return fmt.Sprintf("%s-%d", h.topic, h.partition)
	}
	return string(h.topic)
}

// about learns what an event of the evidence is about.
func (s *story) about(e *history.Event) {
	switch b := e.Body.(type) {
	case *history.Propose:
		s.keys[b.Key] = true
		if b.Op != "" {
			s.ids[b.Op] = true
		}
	case *history.Apply:
		s.keys[b.Key] = true
		s.indexes[b.Index] = true
		if b.Op != "" {
			s.ids[b.Op] = true
		}
	case *history.Claim:
		s.keys[b.Key] = true
		s.indexes[b.Index] = true
	case *history.Partition:
		s.keys[fmt.Sprintf("%s-%d", b.Topic, b.Partition)] = true
	case *history.Read:
		s.ids[b.Op] = true
	}
	delete(s.keys, "")
}

// wants reports whether an event may belong to the story, by its kind and time alone.
func (s *story) wants(kind []byte, at int64) bool {
	return at >= s.from && at <= s.to && string(kind) != "state_hash" || s.lost != nil && s.lost.wants(kind, at)
}

// event takes an event of the story's time if it has to do with it.
func (s *story) event(e *history.Event) {
	if s.lost != nil {
		s.lost.event(e)
	}
	if e.Time < s.from || e.Time > s.to || !s.concerns(e) || s.told[string(history.AppendEvent(nil, e))] {
		return
	}
	if len(s.events) >= maxGathered {
		s.cut++
		return
	}
	s.events = append(s.events, e)
}

func (s *story) concerns(e *history.Event) bool {
	leadership := s.checker == checkers.SingleLeaderProposing || s.checker == checkers.ZeroProposalErrors
	switch b := e.Body.(type) {
	case *history.RoleChange, *history.Started, *history.Exit, *history.LogLine:
		return true
	case *history.Session:
		return b.State == "expired"
	case *history.Bug:
		return b.Decisions == 1
	case *history.LeaderCheck:
		return leadership || s.checker == checkers.Balance
	case *history.Propose:
		return s.keys[b.Key] || leadership && b.Outcome != history.ProposeAccepted
	case *history.Apply:
		return s.keys[b.Key] || s.indexes[b.Index]
	case *history.Claim:
		return s.keys[b.Key] || s.indexes[b.Index]
	case *history.Partition:
		return b.Cause != "periodic" && s.keys[fmt.Sprintf("%s-%d", b.Topic, b.Partition)]
	case *history.Snapshot:
		return s.checker == checkers.MetadataAgreement || s.checker == checkers.EpochMonotonic
	case *history.Read:
		return s.ids[b.Op] && s.metadata == nil // an answer's row tells its raft entry
	case *history.Stall:
		return true
	}
	return false
}

// operation takes an operation if the violation names it, or it went on in the story's time and is about the same.
func (s *story) operation(h opHead, whole func() (*history.Operation, error)) {
	named := len(s.ids) > 0 && s.ids[string(h.id)]
	if s.lost != nil && !named {
		s.lost.operation(h, whole)
	}
	if !named {
		end := cmp.Or(h.complete, h.invoke)
		if end < s.from || h.invoke > s.to || h.kind == "drain" {
			return
		}
		if !s.topics[string(h.topic)] && !s.keys[string(h.topic)] && !s.keys[keyOf(h)] {
			return
		}
		if len(s.keys) > 0 && !s.keys[keyOf(h)] {
			return
		}
	}
	if !named && len(s.operations) >= maxGathered {
		s.cut++
		return
	}
	op, err := whole()
	if err != nil {
		return // counted where the file is read
	}
	s.operations = append(s.operations, op)
}

// settle brings what was gathered into order, each operation once.
func (s *story) settle() {
	if s.lost != nil {
		for _, e := range []*history.Event{s.lost.led, s.lost.cut} {
			if e != nil && !slices.Contains(s.events, e) && !s.told[string(history.AppendEvent(nil, e))] {
				s.events = append(s.events, e)
			}
		}
		if s.lost.took != nil {
			s.operations = append(s.operations, s.lost.took)
		}
	}
	if s.metadata != nil && s.metadata.knew != nil {
		for _, e := range s.metadata.knew.rows() {
			if !slices.ContainsFunc(s.events, func(o *history.Event) bool { return same(o, e) }) {
				s.events = append(s.events, e)
			}
		}
	}
	s.operations = s.inOrder()
	// Simulated nodes do much in one instant: there a node's own order tells what came of what.
	slices.SortStableFunc(s.events, func(a, b *history.Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Seq, b.Seq))
	})
}
