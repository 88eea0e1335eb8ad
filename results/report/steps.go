package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
)

// step is one row of a story: something that happened at one place, or went from one to another.
type step struct {
	at       int64
	from, to int32 // nodes, clientLane, or nowhere; equal: it happened there
	text     string
	evidence bool   // the verdict rests on it
	aside    bool   // it only surrounds what went wrong
	id       string // of an operation
	fault    bool
	answer   bool // of a message: drawn as one that goes back
	failed   bool // of a message: it did not arrive, or its answer was not ok
	rank     int  // lower is kept longer where there are too many
}

// Places beside the nodes.
const (
	nowhere    = int32(-1)
	clientLane = int32(0)
)

// maxSteps bounds the rows of a story.
const maxSteps = 48

// steps are what happened, in order, and how many were left out for want of room.
func (c *collected) steps(s *story) (out []step, leftOut int) {
	// In this order within an instant: a node that is let go on does so after the fault's end.
	for i := range c.faults {
		out = append(out, c.faultSteps(&c.faults[i], s)...)
	}
	aside := 0
	for _, e := range s.events {
		if s.dropsEvent(e) {
			aside++
			continue
		}
		out = append(out, eventStep(s, e))
	}
	for _, op := range s.operations {
		if s.drops(op) {
			aside++
			continue
		}
		out = append(out, s.operationSteps(op)...)
	}
	slices.SortStableFunc(out, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	room := c.room(maxSteps, 12)
	if len(out) <= room {
		return out, s.cut + aside
	}
	// What the verdict rests on stays, then what is nearest to it.
	order := make([]int, len(out))
	for i := range order {
		order[i] = i
	}
	at := cmp.Or(s.v.Time, s.to-after)
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(out[a].rank, out[b].rank), cmp.Compare(distance(out[a].at, at), distance(out[b].at, at)))
	})
	kept := order[:room]
	slices.Sort(kept)
	short := make([]step, 0, room)
	for _, i := range kept {
		short = append(short, out[i])
	}
	return short, s.cut + aside + len(out) - len(short)
}

// distance weighs what comes after an instant double: causes come before.
func distance(t, at int64) int64 {
	if t > at {
		return 2 * (t - at)
	}
	return at - t
}

func eventStep(s *story, e *history.Event) step {
	_, words := history.Message(e.Body)
	st := step{at: e.Time, from: e.Node, to: e.Node, text: words, rank: 2}
	st.evidence = s.told[string(history.AppendEvent(nil, e))]
	switch b := e.Body.(type) {
	case *history.Started:
		st.text = fmt.Sprintf("n%d starts, boot %d", e.Node, e.Boot)
		st.rank = 1
	case *history.RoleChange:
		st.text = fmt.Sprintf("n%d becomes raft %s in term %d", e.Node, b.Role, b.Term)
		if b.Role == history.RoleFollower && b.Leader > 0 {
			st.text = fmt.Sprintf("n%d follows n%d as raft leader in term %d", e.Node, b.Leader, b.Term)
		}
		if b.Role == history.RoleFollower && b.Leader == 0 {
			st.text = fmt.Sprintf("n%d is a raft follower in term %d and knows no raft leader", e.Node, b.Term)
		}
		if (b.Role == history.RoleCandidate || b.Role == history.RolePreCandidate) && b.Leader == 0 {
			st.text += " and knows no raft leader"
		}
		if b.Role == history.RoleLeader || b.Role == history.RoleFollower {
			st.rank = 1
		}
	case *history.LeaderCheck:
		st.text = fmt.Sprintf("n%d, %s in term %d, checks who leads the partitions", e.Node, article(string(b.Role)), b.Term)
		if b.Role != history.RoleLeader {
			st.text += ", which only the raft leader may do"
			st.failed = true
			st.rank = 1
		}
	case *history.Propose:
		st.text = proposeWords(e.Node, b)
		st.failed = b.Outcome != history.ProposeAccepted
		switch {
		case b.Outcome == history.ProposeForwards && b.Leader > 0:
			st.to = b.Leader
		case b.Via > 0 && b.Via != e.Node:
			st.from = b.Via
			st.text = fmt.Sprintf("n%d passes a client's request on; %s", b.Via, st.text)
		}
	case *history.Apply:
		st.text = fmt.Sprintf("n%d applies raft entry %d: %s", e.Node, b.Index, commandWords(b.Command, b.Key))
		if b.Outcome == history.Refused {
			st.text = fmt.Sprintf("n%d refuses raft entry %d: %s (%s)", e.Node, b.Index, commandWords(b.Command, b.Key), b.Error)
			st.failed = true
		}
		if ch := changeWords(b.Changes); ch != "" && s.metadata == nil {
			st.text += "; " + ch
		}
		st.text += fmt.Sprintf("; proposed by n%d", b.Proposer)
		if b.Proposer != 0 {
			st.from = b.Proposer
		}
	case *history.Partition:
		st.text = fmt.Sprintf("n%d is %s of partition %s-%d in leader epoch %d: high watermark %d, log end %d", e.Node, cmp.Or(b.Role, "none"), b.Topic, b.Partition, b.LeaderEpoch, b.HighWatermark, b.LogEnd)
		if b.Cause == "truncation" {
			st.text = fmt.Sprintf("n%d cuts its log of %s-%d back to %d, high watermark %d, as the partition's %s in leader epoch %d", e.Node, b.Topic, b.Partition, b.LogEnd, b.HighWatermark, b.Role, b.LeaderEpoch)
			st.rank = 1
		}
	case *history.Session:
		st.text = fmt.Sprintf("n%d sees the session of n%d: %s", e.Node, b.Broker, b.State)
	case *history.Claim:
		st.text = fmt.Sprintf("n%d says: %s", e.Node, words)
	case *history.Read:
		st.text = fmt.Sprintf("n%d answers a read at raft index %d", e.Node, b.Index)
	case *history.Exit:
		st.from, st.to = b.Of, b.Of
		st.text = fmt.Sprintf("n%d ends: %s", b.Of, exitWords(b))
		st.rank = 1
	case *history.LogLine:
		st.from, st.to = b.Of, b.Of
		st.text = fmt.Sprintf("log of n%d, %s: %s", b.Of, b.What, cutText(b.Line, 200))
		st.rank = 1
	case *history.Stall:
		st.from, st.to = nowhere, nowhere
		st.text = fmt.Sprintf("%s stood still for %s", nodeOr(e.Node, "the runner"), lengthWords(b.Nanos))
		switch {
		case b.What == history.StallDisk:
			st.text = fmt.Sprintf("the disk of the machine stood still for %s", lengthWords(b.Nanos))
		case e.Node != 0:
			st.from, st.to = e.Node, e.Node
		}
		st.rank = 1
	case *history.Bug:
		st.text = fmt.Sprintf("on n%d the planted bug %s changes its first decision", e.Node, b.Name)
		st.rank = 1
	}
	if st.evidence {
		st.rank = 0
	}
	if m := s.metadata; m != nil && m.knew != nil {
		switch {
		case same(e, m.knew.read):
			st.rank, st.text = 0, m.knew.words()
		case same(e, m.knew.role):
			st.rank = 0
		case same(e, m.knew.caught):
			st.rank = 0
			st.text += fmt.Sprintf("; before that it had not applied entry %d", m.knew.index)
		}
	}
	if l := s.lost; l != nil {
		switch e {
		case l.led:
			st.rank = 0
			st.text += fmt.Sprintf(". It leads with a log that ends before %s, at offset %d", l.record(), l.offset)
		case l.cut:
			st.rank = 0
			st.text += fmt.Sprintf(". That cuts off %s, at offset %d", l.record(), l.offset)
		}
	}
	return st
}

func article(role string) string {
	if role == "" {
		return "of no known role"
	}
	return "a raft " + role
}

func proposeWords(node int32, b *history.Propose) string {
	what := commandWords(b.Command, b.Key)
	switch b.Outcome {
	case history.ProposeAccepted:
		return fmt.Sprintf("n%d (%s, term %d) proposes: %s", node, b.Role, b.Term, what)
	case history.ProposeRefused:
		return fmt.Sprintf("n%d (%s, term %d) attempts to propose and is refused: %s; %s", node, b.Role, b.Term, what, b.Error)
	case history.ProposeForwards:
		return fmt.Sprintf("n%d (%s, term %d) hands its own proposal to the leader: %s", node, b.Role, b.Term, what)
	}
	return fmt.Sprintf("n%d (%s, term %d) proposes, and raft drops it: %s", node, b.Role, b.Term, what)
}

func commandWords(command, key string) string {
	return strings.TrimSpace(strings.ReplaceAll(command, "_", " ") + " " + key)
}

func changeWords(changes []history.PartitionChange) string {
	var out []string
	for i, c := range changes {
		if i == 2 {
			out = append(out, fmt.Sprintf("and %d more", len(changes)-i))
			break
		}
		if c.Gone {
			out = append(out, fmt.Sprintf("%s-%d is gone", c.Topic, c.Partition))
			continue
		}
		who := "no leader"
		if c.Leader > 0 {
			who = fmt.Sprintf("leader n%d", c.Leader)
		}
		out = append(out, fmt.Sprintf("%s-%d: %s, epoch %d, ISR %s", c.Topic, c.Partition, who, c.LeaderEpoch, names(c.ISR)))
	}
	return strings.Join(out, ", ")
}

// operationSteps are a request and its answer.
func (s *story) operationSteps(op *history.Operation) []step {
	rank := 3
	if s.ids[op.ID] && (s.metadata == nil || !s.metadata.ok || s.metadata.inside[op.ID]) {
		rank = 1
	}
	asked, answered := operationWords(op)
	who := cmp.Or(op.Client, "a client")
	asks, says := who+": ", who+", after "+lengthWords(op.Complete-op.Invoke)+": "
	if op.Node != 0 && op.Produce == nil && op.Drain == nil {
		asks = fmt.Sprintf("%s to n%d: ", who, op.Node)
		says = fmt.Sprintf("n%d to %s, after %s: ", op.Node, who, lengthWords(op.Complete-op.Invoke))
	}
	if op.Produce != nil && op.Node == 0 {
		asked += " (to which node is not recorded)"
	}
	node := op.Node
	if node == 0 {
		node = nowhere
	}
	evidence := s.cited(op.ID) && !s.aside(op)
	if evidence {
		rank = 0
	}
	failed := op.Outcome != history.OK
	if l := s.lost; l != nil {
		concerned := op.Produce != nil && s.ids[op.ID]
		evidence = evidence || concerned
		switch {
		case concerned:
			if above := l.above(op); above != "" {
				answered, failed = answered+" "+above, true
			}
		case l.took != nil && op.ID == l.took.ID:
			rank = 0
			answered += fmt.Sprintf(": at offset %d, where %s was acknowledged before", l.offset, l.record())
		case op.Drain != nil:
			answered = cmp.Or(l.holds(op), answered)
		}
	}
	from, to := clientLane, node
	if to == nowhere {
		to = clientLane // the client library chose the node: which one is not recorded
	}
	aside := s.aside(op)
	out := []step{{at: op.Invoke, from: from, to: to, text: asks + asked, rank: rank, evidence: evidence, aside: aside, id: op.ID}}
	if op.Complete != 0 {
		out = append(out, step{at: op.Complete, from: to, to: from, text: says + answered,
			rank: rank, evidence: evidence, answer: true, failed: failed, aside: aside, id: op.ID})
	}
	return out
}

// cited reports whether an operation stands in the evidence itself.
func (s *story) cited(id string) bool {
	for line := range s.told {
		if strings.HasPrefix(line, `{"id":"`+id+`"`) {
			return true
		}
	}
	return false
}

// operationWords say what was asked and what came of it.
func operationWords(op *history.Operation) (asked, answered string) {
	answered = "ok"
	switch {
	case op.Produce != nil:
		p := op.Produce
		asked = fmt.Sprintf("sends %s to %s%s-%d, sequences %d to %d of producer %d.%d", plural(int64(p.Count), "record"), toNode(op.Node), p.Topic, p.Partition,
			p.FirstSeq, p.FirstSeq+uint64(max(p.Count, 1))-1, p.Producer, p.Incarnation)
		if n := len(p.Offsets); n > 0 {
			answered = fmt.Sprintf("%s acknowledges offsets %d to %d of %s-%d", nodeOr(op.Node, "the leader"), p.Offsets[0], p.Offsets[n-1], p.Topic, p.Partition)
		}
	case op.Consume != nil:
		x := op.Consume
		asked = fmt.Sprintf("fetches %s-%d from offset %d", x.Topic, x.Partition, x.From)
		answered = fmt.Sprintf("is given offsets up to %d of %s-%d, high watermark %d", x.To-1, x.Topic, x.Partition, x.High)
		if x.To <= x.From {
			answered = fmt.Sprintf("is given nothing of %s-%d, high watermark %d", x.Topic, x.Partition, x.High)
		}
	case op.Drain != nil:
		x := op.Drain
		asked = fmt.Sprintf("the final read of %s-%d on n%d, from offset %d", x.Topic, x.Partition, x.Replica, x.From)
		answered = fmt.Sprintf("n%d holds %s-%d up to %d, high watermark %d", x.Replica, x.Topic, x.Partition, x.To, x.High)
		if x.End {
			answered += ", which is its end"
		}
	case op.Create != nil:
		asked = fmt.Sprintf("uses %s for the first time (%s), which creates it", op.Create.Topic, cmp.Or(op.Create.How, "produce"))
	case op.Meta != nil:
		asked, answered = metaWords(op.Meta)
	}
	switch op.Outcome {
	case history.Failed:
		answered = "surely not done: " + cmp.Or(op.Error, "no reason told")
	case history.Unknown:
		answered = "nobody knows whether it was done: " + cmp.Or(op.Error, "no answer")
	}
	return asked, answered
}

func nodeOr(node int32, or string) string {
	if node == 0 {
		return or
	}
	return fmt.Sprintf("n%d", node)
}

// toNode is where a send went, before the partition's name.
func toNode(node int32) string {
	if node == 0 {
		return ""
	}
	return fmt.Sprintf("n%d, for ", node)
}

func metaWords(m *history.MetaOp) (asked, answered string) {
	answered = "done"
	switch m.Kind {
	case history.MetaCreate:
		asked = "create topic " + m.Name
	case history.MetaDelete:
		asked = "delete topic " + m.Name
	case history.MetaDescribe:
		asked = "is there a topic " + m.Name + "?"
		answered = "there is none"
		if m.Exists {
			answered = "yes"
		}
	case history.MetaWrite:
		asked = fmt.Sprintf("set %s of topic %s to %q", m.Config, m.Name, m.Value)
	case history.MetaRead:
		asked = fmt.Sprintf("what is %s of topic %s?", m.Config, m.Name)
		answered = fmt.Sprintf("%q", m.Value)
	}
	switch m.Code {
	case 3:
		answered = "there is no such topic"
	case 36:
		answered = "the topic exists already"
	}
	if m.TopicID != "" && m.Code == 0 {
		answered += ", topic id " + m.TopicID[:min(8, len(m.TopicID))]
	}
	if m.Index != 0 {
		answered += fmt.Sprintf(" (as of raft entry %d)", m.Index)
	}
	return asked, answered
}

// faultSteps are the beginning and the end of a fault that is active in a story's time, however long before that it began, or that the violation names.
func (c *collected) faultSteps(f *history.Fault, s *story) []step {
	var out []step
	named := slices.Contains(s.v.Faults, f.ID)
	rank := 1
	if named {
		rank = 0
	}
	add := func(at int64, text string) {
		st := step{at: at, from: nowhere, to: nowhere, text: text, fault: true, rank: rank}
		if len(f.Nodes) > 0 {
			st.from, st.to = f.Nodes[0], f.Nodes[0]
		}
		out = append(out, st)
	}
	until := s.to
	if s.lost != nil {
		until = max(until, s.lost.until())
	}
	toItsEnd := named && (s.lost != nil || s.metadata != nil) // what the nodes did then is told too
	if !f.Proven() || !named && (f.Effective > s.to || f.Healed != 0 && f.Healed < s.from) {
		return nil
	}
	add(f.Effective, fmt.Sprintf("fault %d takes effect: %s", f.ID, c.says(f, s.concern())))
	if f.Healed != 0 && (f.Healed <= until || toItsEnd) {
		over := f
		if s.concern().without {
			over = withoutPartitions(f)
		}
		add(f.Healed, fmt.Sprintf("fault %d is over: %s", f.ID, faultWords(over)))
	}
	return out
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", count(n), what)
}

// lengthWords is a length of time as people say it: "12 ms", "3.2 s".
func lengthWords(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d < 0:
		return "−" + lengthWords(-ns)
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%d ns", ns)
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(ns)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 5*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// count is a number with its thousands apart.
func count(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func cutText(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n]) + "…"
}

// explains is what a checker makes sure of, in a sentence.
func explains(id string) string {
	for _, c := range checkers.List() {
		if c.ID == id {
			return c.What
		}
	}
	return ""
}
