package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"soak/history"
)

// knowledge is what a node knew of the cluster's metadata when it gave an answer, boot by boot, by its own audit events: raft's leader and term, and how
// many of the log's entries it had applied. What its log holds beyond those leaves no event.
type knowledge struct {
	node   int32
	answer *history.Operation
	index  uint64 // of the write that the answer contradicts; 0: there is none, or its index is not known
	mark   []byte // of the answer's own event

	boots  []*knownBoot
	role   *history.Event // the last before the answer
	read   *history.Event // the answer, by the node's own word
	caught *history.Event // the first entry from index on that it applied after the answer
	leads  []knownLead    // of other nodes, before the answer
}

// knownBoot is one boot of the node.
type knownBoot struct {
	boot        uint64
	from, ended int64
	end         string // how
	snapshot    uint64 // it restored, or was sent
	first, last uint64 // entries that it applied before the answer
	lastAt      int64
	finally     uint64 // the last that it applied at all
}

type knownLead struct {
	node int32
	term uint64
	at   int64
}

// maxBoots bounds the boots that are told: the last before the answer, and the one after it.
const maxBoots = 6

func newKnowledge(answer, broken *history.Operation) *knowledge {
	k := &knowledge{node: answer.Node, answer: answer, mark: []byte(`"op":"` + answer.ID + `"`)}
	if broken != nil {
		k.index = broken.Meta.Index
	}
	return k
}

// event takes a line of the events. It reads most of them by their first fields alone: each node tells of every entry.
func (k *knowledge) event(kind []byte, at int64, line []byte) {
	switch string(kind) {
	case "started", "role", "apply", "snapshot", "read":
		node := int32(field(line, `"node":`))
		if node != k.node {
			if string(kind) == "role" && at <= k.answer.Complete && bytes.Contains(line, []byte(`"role":"leader"`)) {
				k.leads = append(k.leads, knownLead{node, uint64(field(line, `"term":`)), at})
			}
			return
		}
	case "exit":
		if n := len(k.boots); n > 0 && k.boots[n-1].ended == 0 && int32(field(line, `"of":`)) == k.node {
			if e, ok, err := history.ParseEvent(line); err == nil && ok {
				k.boots[n-1].ended, k.boots[n-1].end = at, exitWords(e.Body.(*history.Exit))
			}
		}
		return
	default:
		return
	}
	b := k.boot(uint64(field(line, `"boot":`)), at)
	switch string(kind) {
	case "apply":
		index := uint64(field(line, `"index":`))
		b.finally = max(b.finally, index)
		if !k.past(at) {
			if b.first == 0 {
				b.first = index
			}
			b.last, b.lastAt = max(b.last, index), at
		} else if k.caught == nil && k.index != 0 && index >= k.index {
			k.caught = parsed(line)
		}
	case "snapshot":
		if e := parsed(line); e != nil && e.Body.(*history.Snapshot).What != history.SnapshotTaken {
			index := e.Body.(*history.Snapshot).Index
			b.finally = max(b.finally, index)
			if !k.past(at) {
				b.snapshot = max(b.snapshot, index)
			} else if k.caught == nil && k.index != 0 && index >= k.index {
				k.caught = e
			}
		}
	case "role":
		if !k.past(at) {
			if e := parsed(line); e != nil {
				k.role = e
			}
		}
	case "read":
		if k.read == nil && bytes.Contains(line, k.mark) {
			k.read = parsed(line)
		}
	}
}

// past reports whether an event of the node came after its answer: the answer's own event, or else what the client saw, tells.
func (k *knowledge) past(at int64) bool { return k.read != nil || at > k.answer.Complete }

func parsed(line []byte) *history.Event {
	e, ok, err := history.ParseEvent(line)
	if err != nil || !ok {
		return nil
	}
	return &e
}

// boot is the boot of a number; the events of one come behind those of another.
func (k *knowledge) boot(number uint64, at int64) *knownBoot {
	if n := len(k.boots); n > 0 && k.boots[n-1].boot == number {
		return k.boots[n-1]
	}
	b := &knownBoot{boot: number, from: at}
	k.boots = append(k.boots, b)
	return b
}

// answered is the boot that gave the answer, by its place in the list; −1 where no boot is known.
func (k *knowledge) answered() int {
	if k.read != nil {
		return slices.IndexFunc(k.boots, func(b *knownBoot) bool { return b.boot == k.read.Boot })
	}
	found := -1
	for i, b := range k.boots {
		if b.from <= k.answer.Complete {
			found = i
		}
	}
	return found
}

// at is when the node answered.
func (k *knowledge) at() int64 {
	if k.read != nil {
		return k.read.Time
	}
	return k.answer.Complete
}

// entry is how far the node's state was when it answered; 0 if it is not known.
func (k *knowledge) entry() uint64 {
	if k.read != nil {
		return k.read.Body.(*history.Read).Index
	}
	return k.answer.Meta.Index
}

// leader is what the node knew of raft's leader, in words that follow the node's name.
func (k *knowledge) leader() string {
	if k.role == nil {
		return ""
	}
	b := k.role.Body.(*history.RoleChange)
	switch {
	case b.Role == history.RoleLeader:
		return fmt.Sprintf("took itself for the raft leader, in term %d", b.Term)
	case b.Leader == 0:
		return fmt.Sprintf("knew no raft leader: it was a raft %s in term %d", b.Role, b.Term)
	}
	return fmt.Sprintf("followed n%d as the raft leader, in term %d", b.Leader, b.Term)
}

// shutOff are the states of a node in which it may know less than the others, by their class in the drawing.
var shutOff = map[string]string{"down": "down", "paused": "paused", "cut": "cut off"}

// Knowledge is that on the page.
type Knowledge struct {
	Node  string
	Lines []string
	Boots []bootRow
}

type bootRow struct {
	Boot, From, Applied, Finally, End string
	Answered                          bool
}

// page tells what the node knew, in sentences that each hold one fact.
func (k *knowledge) page(c *collected) *Knowledge {
	who := fmt.Sprintf("n%d", k.node)
	out := &Knowledge{Node: who}
	say := func(format string, args ...any) { out.Lines = append(out.Lines, fmt.Sprintf(format, args...)) }
	in := k.answered()
	if in < 0 {
		say("The run has no audit events of %s. What it knew is not recorded.", who)
		return out
	}
	if words := k.leader(); words != "" {
		say("%s %s, since %s.", who, words, c.clock(k.role.Time))
	} else {
		say("No event says what %s knew of raft's leader.", who)
	}
	if state := shutOff[c.stateAt(k.node, k.at())]; state != "" {
		say("%s itself was %s then.", who, state)
	}
	if k.role != nil {
		leader := k.role.Body.(*history.RoleChange).Leader
		if state := shutOff[c.stateAt(leader, k.at())]; state != "" && leader != 0 && leader != k.node {
			say("n%d was %s then.", leader, state)
		}
	}
	if newest := k.newest(); newest != nil {
		say("The newest leadership then was that of n%d: term %d, since %s.", newest.node, newest.term, c.clock(newest.at))
	}
	b := k.boots[in]
	if at := k.entry(); at != 0 {
		text := fmt.Sprintf("Its state was that of raft entry %d", at)
		if b.lastAt != 0 && b.last == at {
			text += ", which it had applied at " + c.clock(b.lastAt)
		}
		say("%s.", text)
	} else {
		say("The answer names no raft entry, so that the age of its state is not known.")
	}
	if k.index != 0 {
		say("The write that the answer contradicts is raft entry %d. %s", k.index, k.fate(c, in))
	}
	say("How far its raft log reached beyond what it had applied is not recorded: only applied entries leave events.")
	first := max(0, in-maxBoots+2)
	for i, b := range k.boots[first:min(len(k.boots), in+2)] {
		r := bootRow{Boot: fmt.Sprint(b.boot), From: c.clock(b.from), Applied: "none", Finally: "–", End: "–", Answered: first+i == in}
		switch {
		case first+i > in:
			r.Applied = "–"
		case b.last != 0:
			r.Applied = fmt.Sprintf("%d to %d", b.first, b.last)
		}
		if b.snapshot != 0 {
			r.Applied = strings.TrimSuffix(fmt.Sprintf("a snapshot up to %d, then %s", b.snapshot, r.Applied), ", then none")
		}
		if b.finally != 0 {
			r.Finally = fmt.Sprint(b.finally)
		}
		if b.ended != 0 {
			r.End = c.clock(b.ended) + ", " + b.end
		}
		out.Boots = append(out.Boots, r)
	}
	return out
}

// newest is the leadership of the highest term that another node told of before the answer, if the node did not know of it.
func (k *knowledge) newest() *knownLead {
	var out *knownLead
	for i := range k.leads {
		if l := &k.leads[i]; out == nil || l.term > out.term {
			out = l
		}
	}
	if out == nil || k.role == nil {
		return out
	}
	if b := k.role.Body.(*history.RoleChange); b.Leader == out.node && b.Term == out.term || b.Role == history.RoleLeader && b.Term > out.term {
		return nil
	}
	return out
}

// fate tells whether the node ever had the write that its answer lacks: what it never had, or had not applied yet, is stale; what it had applied before is gone.
func (k *knowledge) fate(c *collected, in int) string {
	who := fmt.Sprintf("n%d", k.node)
	for i := in; i >= 0; i-- {
		if b := k.boots[i]; max(b.last, b.snapshot) >= k.index {
			if i == in {
				return fmt.Sprintf("%s had applied it in this boot, and its answer does not show it.", who)
			}
			text := fmt.Sprintf("%s had applied it in boot %d. It had not done so again when it answered in boot %d.", who, b.boot, k.boots[in].boot)
			if k.caught != nil {
				text += fmt.Sprintf(" It did so %s after the answer.", lengthWords(k.caught.Time-k.at()))
			}
			return text
		}
	}
	if k.caught != nil {
		return fmt.Sprintf("%s applied it only at %s, %s after the answer. So the answer was stale, and nothing was lost.", who, c.clock(k.caught.Time), lengthWords(k.caught.Time-k.at()))
	}
	return fmt.Sprintf("%s had not applied it by the end of the run.", who)
}

// rows are the events that must have a row in the story, however far from the answer.
func (k *knowledge) rows() []*history.Event {
	return slices.DeleteFunc([]*history.Event{k.role, k.read, k.caught}, func(e *history.Event) bool { return e == nil })
}

// same reports whether two are one event, read twice.
func same(a, b *history.Event) bool {
	return a != nil && b != nil && a.Node == b.Node && a.Boot == b.Boot && a.Seq == b.Seq
}

// words tell of the answer itself, with what the node knew then.
func (k *knowledge) words() string {
	text := fmt.Sprintf("n%d answers %s, from its state at raft entry %d", k.node, k.answer.ID, k.entry())
	if leader := k.leader(); leader != "" {
		text += "; it " + strings.Replace(leader, ": it was", ", as", 1)
	}
	return text
}
