package report

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"soak/history"
)

// stretch is one state that lasted.
type stretch struct {
	from, to int64
	class    string // of the drawing: up, down, paused, cut, disk, slow, other; n1…n9 where a node leads
	text     string // in the drawing, where there is room for it
	short    string // in its place, where there is room for this alone
	title    string // in full
	size     int    // of an ISR, else 0
	full     int    // replicas of the partition, else 0
}

// life is what one node did, as far as events tell.
type life struct {
	turns []turn // when it started and ended
	leads []lead
}

type turn struct {
	at   int64
	up   bool
	what string
}

// lead is the time in which a node took itself for raft's leader.
type lead struct {
	node     int32
	term     uint64
	from, to int64 // to is 0 while it lasts
}

// check is one look of the leader-election service.
type check struct {
	at   int64
	node int32
	term uint64
	role history.Role
	what string
}

// placing is a partition's leader and ISR from an instant on.
type placing struct {
	at       int64
	leader   int32
	epoch    int32
	isr      []int32
	replicas int
	gone     bool
}

// states follows the cluster through its events.
type states struct {
	lives      map[int32]*life
	checks     []check
	placings   map[partition][]placing
	highest    uint64 // raft index seen
	exits      []*history.Event
	lines      []*history.Event // of logs, that matter
	bugs       []*history.Event
	wanted     func(topic string) bool
	passedOver int // checks and placings that were too many to keep
}

type partition struct {
	topic string
	id    int32
}

func (p partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.id) }

// Bounds of what is kept of the states. No run that was made comes near them; an edited file may.
const (
	maxChecks   = 200_000
	maxPlacings = 20_000 // of a partition
	maxTurns    = 50_000 // of a node
	maxSingles  = 2_000  // exits, lines and bug events, each
)

func newStates(wanted func(string) bool) states {
	return states{lives: map[int32]*life{}, placings: map[partition][]placing{}, wanted: wanted}
}

func (s *states) life(node int32) *life {
	l := s.lives[node]
	if l == nil {
		l = &life{}
		s.lives[node] = l
	}
	return l
}

func (s *states) turn(node int32, t turn) {
	l := s.life(node)
	if len(l.turns) >= maxTurns {
		s.passedOver++
		return
	}
	l.turns = append(l.turns, t)
}

// event takes an event of the kinds that stateful names.
func (s *states) event(e *history.Event) {
	switch b := e.Body.(type) {
	case *history.Started:
		s.endLead(e.Node, e.Time)
		s.turn(e.Node, turn{e.Time, true, fmt.Sprintf("started, boot %d", e.Boot)})
	case *history.Exit:
		s.endLead(b.Of, e.Time)
		s.turn(b.Of, turn{e.Time, false, exitWords(b)})
		s.exits = keep(s.exits, e, &s.passedOver)
	case *history.LogLine:
		s.lines = keep(s.lines, e, &s.passedOver)
	case *history.Bug:
		s.bugs = keep(s.bugs, e, &s.passedOver)
	case *history.RoleChange:
		s.role(e, b)
	case *history.LeaderCheck:
		if len(s.checks) >= maxChecks {
			s.passedOver++
			return
		}
		s.checks = append(s.checks, check{e.Time, e.Node, b.Term, b.Role, b.Cause})
	case *history.Apply:
		s.apply(e, b)
	}
}

func keep(list []*history.Event, e *history.Event, over *int) []*history.Event {
	if len(list) >= maxSingles {
		*over++
		return list
	}
	return append(list, e)
}

func exitWords(x *history.Exit) string {
	words := fmt.Sprintf("exit code %d", x.Code)
	if x.Signal != "" {
		words = x.Signal
	}
	if !x.Asked {
		words += ", unasked"
	}
	return words
}

func (s *states) role(e *history.Event, b *history.RoleChange) {
	l := s.life(e.Node)
	last := len(l.leads) - 1
	leads := last >= 0 && l.leads[last].to == 0
	if leads && b.Role == history.RoleLeader && l.leads[last].term == b.Term {
		return
	}
	s.endLead(e.Node, e.Time)
	if b.Role == history.RoleLeader && len(l.leads) < maxTurns {
		l.leads = append(l.leads, lead{node: e.Node, term: b.Term, from: e.Time})
	}
}

func (s *states) endLead(node int32, at int64) {
	l := s.life(node)
	if n := len(l.leads); n > 0 && l.leads[n-1].to == 0 {
		l.leads[n-1].to = max(at, l.leads[n-1].from)
	}
}

// apply takes the changes of a committed entry from whichever node told of it first.
func (s *states) apply(e *history.Event, b *history.Apply) {
	if b.Index <= s.highest {
		return
	}
	s.highest = b.Index
	if b.Outcome != history.Applied {
		return
	}
	for _, c := range b.Changes {
		if !s.wanted(c.Topic) {
			continue
		}
		p := partition{c.Topic, c.Partition}
		if len(s.placings[p]) >= maxPlacings {
			s.passedOver++
			continue
		}
		s.placings[p] = append(s.placings[p], placing{e.Time, c.Leader, c.LeaderEpoch, c.ISR, len(c.Replicas), c.Gone})
	}
}

// stateWords say what a kind of fault makes of a node, as a class of the drawing and as a word.
func stateWords(kind string) (class, word string) {
	switch kind {
	case "kill", "stop", "restart-all", "rolling-restart", "crash-loop", "power-loss", "disk-crash":
		return "down", "down"
	case "pause":
		return "paused", "paused"
	case "partition", "bridge", "all-apart":
		return "cut", "cut off"
	case "partition-one-way":
		return "cut", "cut off one way"
	case "partition-clients":
		return "cut", "cut off from clients"
	case "flapping-partition":
		return "cut", "cut off in turns"
	case "disk-full":
		return "disk", "disk full"
	case "write-error", "fsync-error", "read-error", "bit-rot":
		return "disk", strings.ReplaceAll(kind, "-", " ")
	case "slow-disk", "slow-node", "link-delay", "bandwidth", "packet-loss":
		return "slow", strings.ReplaceAll(kind, "-", " ")
	}
	return "other", strings.ReplaceAll(kind, "-", " ")
}

// nodeStates are a node's states in the order of drawing: what it was by itself, and over it what faults made of it.
func nodeStates(node int32, l *life, faults []history.Fault, from, to int64) []stretch {
	var out []stretch
	if l != nil {
		out = upAndDown(l, from, to)
	}
	for i := range faults {
		f := &faults[i]
		if !f.Proven() || !slices.Contains(f.Nodes, node) {
			continue
		}
		class, word := stateWords(f.Kind)
		if class == "down" && l != nil && len(l.turns) > 0 {
			continue // its exit and its start are there
		}
		out = append(out, stretch{from: f.Effective, to: faultEnd(f, to), class: class, text: word,
			title: fmt.Sprintf("n%d %s: fault %d, %s", node, word, f.ID, cmp.Or(faultKinds[f.Kind], f.Kind))})
	}
	return out
}

// faultEnd is when a fault ended, the end of the drawing if that was never seen.
func faultEnd(f *history.Fault, end int64) int64 {
	switch {
	case f.Healed != 0:
		return f.Healed
	case f.Lapsed != 0:
		return f.Lapsed
	}
	return end
}

func upAndDown(l *life, from, to int64) []stretch {
	turns := slices.Clone(l.turns)
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	var out []stretch
	state := stretch{from: from, class: "down", text: "down", title: "not started yet"}
	for _, t := range turns {
		state.to = t.at
		out = appendStretch(out, state)
		if t.up {
			state = stretch{from: t.at, class: "up", text: "up", title: "up: " + t.what}
		} else {
			state = stretch{from: t.at, class: "down", text: "down", title: "down: " + t.what}
		}
	}
	state.to = max(to, state.from)
	return appendStretch(out, state)
}

func appendStretch(out []stretch, s stretch) []stretch {
	if s.to <= s.from {
		return out
	}
	return append(out, s)
}

// raftLeaders are raft's leaders by term: each from the time it led until it knew that it did not, or another led in a higher term.
func (s *states) raftLeaders(to int64) []stretch {
	var all []lead
	for _, l := range s.lives {
		all = append(all, l.leads...)
	}
	slices.SortFunc(all, func(a, b lead) int {
		return cmp.Or(cmp.Compare(a.term, b.term), cmp.Compare(a.from, b.from), cmp.Compare(a.node, b.node))
	})
	var out []stretch
	for i, l := range all {
		end := l.to
		if end == 0 {
			end = to
		}
		if i+1 < len(all) {
			end = min(end, all[i+1].from)
		}
		out = appendStretch(out, stretch{from: l.from, to: end, class: nodeClass(l.node), text: fmt.Sprintf("n%d · term %d", l.node, l.term), short: fmt.Sprintf("n%d", l.node),
			title: fmt.Sprintf("n%d leads raft in term %d", l.node, l.term)})
	}
	return out
}

// leadStretches are the times in which a node took itself for raft's leader.
func leadStretches(l *life, to int64) []stretch {
	if l == nil {
		return nil
	}
	var out []stretch
	for _, x := range l.leads {
		end := x.to
		if end == 0 {
			end = to
		}
		out = appendStretch(out, stretch{from: x.from, to: end, class: nodeClass(x.node), text: fmt.Sprintf("leader, term %d", x.term),
			title: fmt.Sprintf("n%d took itself for raft's leader of term %d", x.node, x.term)})
	}
	return out
}

func nodeClass(node int32) string {
	if node < 1 {
		return "none"
	}
	return fmt.Sprintf("n%d", (node-1)%maxNodes+1)
}

// placed are a partition's leaders and ISRs.
func placed(p partition, list []placing, to int64) []stretch {
	var out []stretch
	for i, x := range list {
		end := to
		if i+1 < len(list) {
			end = list[i+1].at
		}
		if x.gone {
			continue
		}
		s := stretch{from: x.at, to: end, class: nodeClass(x.leader), size: len(x.isr), full: x.replicas}
		who := "no leader"
		if x.leader > 0 {
			who = fmt.Sprintf("n%d", x.leader)
		}
		s.text, s.short = fmt.Sprintf("%s · ISR %d", who, len(x.isr)), who
		s.title = fmt.Sprintf("%s: leader %s in epoch %d, ISR %s of %d replicas", p, who, x.epoch, names(x.isr), x.replicas)
		if n := len(out); n > 0 && out[n-1].to == s.from && out[n-1].title == s.title {
			out[n-1].to = s.to
			continue
		}
		out = appendStretch(out, s)
	}
	return out
}

// leaderAt is a partition's leader at an instant, 0 if it had none. The placings are in the order of the log, and so in that of time.
func leaderAt(list []placing, at int64) int32 {
	return placingAt(list, at).leader
}

// placingAt is how a partition stood at an instant, the zero value if it was not there.
func placingAt(list []placing, at int64) placing {
	i := sort.Search(len(list), func(i int) bool { return list[i].at > at })
	if i == 0 || list[i-1].gone {
		return placing{}
	}
	return list[i-1]
}

// names are nodes by their names: "n1, n3".
func names(nodes []int32) string {
	if len(nodes) == 0 {
		return "none"
	}
	var out []string
	for _, n := range nodes {
		out = append(out, fmt.Sprintf("n%d", n))
	}
	return strings.Join(out, ", ")
}

// maxStretches bounds the stretches of all lanes together: a lane that has more than its share is drawn by cells of time.
const maxStretches = 6000

// thin brings a lane down to at most most stretches: where many fall into one cell of time they are drawn as one that says how many, with the smallest ISR
// among them. It reports how many it merged.
func thin(list []stretch, from, to int64, most int) ([]stretch, int) {
	if len(list) <= most {
		return list, 0
	}
	cell := max((to-from)/int64(most)*2, 1)
	var out []stretch
	merged := 0
	for i := 0; i < len(list); {
		s, n := list[i], 1
		if s.to-s.from < cell {
			for i+n < len(list) && list[i+n].to-s.from < cell {
				n++
			}
		}
		if n > 1 {
			for _, x := range list[i+1 : i+n] {
				s.to = max(s.to, x.to)
				s.size = min(s.size, x.size)
			}
			s.class, s.text, s.short = "many", fmt.Sprintf("%d changes", n), fmt.Sprint(n)
			s.title = fmt.Sprintf("%d states in a short time, too many to draw one by one; the first: %s", n, s.title)
			merged += n - 1
		}
		out = append(out, s)
		i += n
	}
	return out, merged
}
