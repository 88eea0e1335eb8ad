package checkers

import (
	"fmt"
	"slices"

	"soak/history"
)

// tenure is a node's beginning as a partition's leader, by its own word.
type tenure struct {
	node, epoch int32
	at, logEnd  int64
}

// truncation is a replica's cutting of its own log.
type truncation struct {
	node, epoch int32
	at, logEnd  int64
}

// partitionEvent keeps who led a partition and whose log was cut: they tell how a record was lost.
func (c *ackedRecords) partitionEvent(e *history.Event, b *history.Partition) {
	p := partition{b.Topic, b.Partition}
	if b.Cause == "truncation" {
		s := c.partition(p)
		s.truncated = append(s.truncated, truncation{e.Node, b.LeaderEpoch, e.Time, b.LogEnd})
	}
	if b.Role != "leader" {
		return
	}
	list := c.tenures[p]
	for i := len(list) - 1; i >= 0; i-- {
		if t := &list[i]; t.epoch == b.LeaderEpoch && t.node == e.Node {
			if e.Time < t.at {
				t.at, t.logEnd = e.Time, b.LogEnd
			}
			return
		}
	}
	c.tenures[p] = append(list, tenure{e.Node, b.LeaderEpoch, e.Time, b.LogEnd})
}

// acknowledgement is who acknowledged a send, and in which tenure, as far as that is known.
type acknowledgement struct {
	who   string
	at    int64 // when the client learnt of it
	epoch int32 // of the tenure
	known bool  // the tenure is
}

// before reports whether what happened in a leader epoch came after the tenure in which a send was acknowledged. A takeover or a cut of that epoch or an earlier one
// made room for what was acknowledged then, whenever the send began. If the tenure is not known, what came after the answer did.
func (k acknowledgement) before(epoch int32, at int64) bool {
	if !k.known {
		return at >= k.at
	}
	return epoch > k.epoch
}

// acknowledgement is by the record of a send, or else of whoever led the partition when it was answered, by the nodes' own word.
func (a *audit) acknowledgement(op *history.Operation) acknowledgement {
	out := acknowledgement{who: "a node", at: op.Complete}
	var led *tenure
	tenures := a.checker.tenures[a.partition]
	for i := range tenures {
		if t := &tenures[i]; t.at <= op.Complete && (op.Node == 0 || t.node == op.Node) && (led == nil || t.epoch > led.epoch) {
			led = t
		}
	}
	if led != nil {
		out.epoch, out.known = led.epoch, true
		out.who = fmt.Sprintf("the leader of %s (n%d, as the nodes tell)", a.partition, led.node)
	}
	if op.Node != 0 {
		out.who = node(op.Node)
	}
	return out
}

// aftermath tells what became of an acknowledged record by the nodes' own word: who took over as leader thereafter with a log that ends below it, and who cut it off.
func (a *audit) aftermath(op *history.Operation, offset int64) string {
	if offset < 0 {
		return ""
	}
	text := ""
	by := a.acknowledgement(op)
	var took *tenure
	tenures := a.checker.tenures[a.partition]
	for i := range tenures {
		if t := &tenures[i]; by.before(t.epoch, t.at) && t.logEnd <= offset && (took == nil || t.at < took.at) {
			took = t
		}
	}
	if took != nil {
		text += fmt.Sprintf(". n%d took over as the partition's leader at %s (leader epoch %d) with a log that ended at offset %d", took.node, a.checker.clock(took.at), took.epoch, took.logEnd)
	}
	var cut *truncation
	for i := range a.sends.truncated {
		if t := &a.sends.truncated[i]; by.before(t.epoch, t.at) && t.logEnd <= offset && (cut == nil || t.at < cut.at) {
			cut = t
		}
	}
	if cut != nil {
		text += fmt.Sprintf(". n%d cut its log back to offset %d at %s", cut.node, cut.logEnd, a.checker.clock(cut.at))
	}
	return text
}

// lostSentence says in short sentences who promised what and when, and that it is gone.
func (a *audit) lostSentence(run []loss, held []int32) string {
	first, last := run[0], run[len(run)-1]
	p := first.op.Produce
	where := "at an offset that the client was not told"
	if first.offset >= 0 {
		where = fmt.Sprintf("offset %d", first.offset)
	}
	if len(run) > 1 && last.offset >= 0 && first.offset >= 0 {
		where = fmt.Sprintf("offsets %d to %d", first.offset, last.offset)
	}
	seqs, them := fmt.Sprintf("sequence %d", first.seq), "it"
	if len(run) > 1 {
		seqs, them = fmt.Sprintf("sequences %d to %d", first.seq, last.seq), "them"
	}
	whom := "No replica was read that holds " + them
	switch len(held) {
	case 0:
	case 1:
		whom = fmt.Sprintf("%s does not hold %s in the end", nodes(held), them)
	default:
		whom = fmt.Sprintf("None of %s holds %s in the end", nodes(held), them)
	}
	return fmt.Sprintf("%s acknowledged %s of %s at %s (%s; producer %d.%d %s). %s: %s%s", first.by,
		plural(int64(len(run)), "record"), a.partition, a.checker.clock(first.op.Complete), where, p.Producer, p.Incarnation, seqs, whom, classWords(first.class, len(run)), a.aftermath(first.op, first.offset))
}

// classWords say in which way records were lost.
func classWords(class string, n int) string {
	switch class {
	case "tail":
		return "lost from the end of the log"
	case "truncated":
		return "lost where a replica cut its log"
	case "middle":
		return "lost from among later ones that are there"
	case "overwritten":
		if n > 1 {
			return "lost, with other records at their offsets"
		}
		return "lost, with another record at its offset"
	case "prefix":
		return "lost from before the first record that was read"
	}
	return "lost (" + class + ")"
}

// conflictSentence says who promised, or holds, two records at one offset.
func (a *audit) conflictSentence(c conflict, n int) string {
	where, other, each := fmt.Sprintf("offset %d", c.offset), "another record", ""
	if n > 1 {
		where, other, each = fmt.Sprintf("each of the offsets %d to %d", c.offset, c.offset+int64(n)-1), "other records", ", beginning with "
	}
	one := func(v value) string {
		record := named(v.producer, v.seq)
		if n == 1 {
			return " (" + record + ")"
		}
		return each + record
	}
	first, second := c.first, c.second
	if !first.from.acknowledged() && second.from.acknowledged() || first.from.acknowledged() && second.from.acknowledged() && second.from.op().Complete < first.from.op().Complete {
		first, second = second, first
	}
	what := "a record"
	if n > 1 {
		what = "records"
	}
	var text string
	if first.from.acknowledged() {
		text = fmt.Sprintf("%s acknowledged %s at %s of %s at %s%s", a.acknowledgement(first.from.op()).who, what, where, a.partition, a.checker.clock(first.from.op().Complete), one(first))
	} else {
		text = fmt.Sprintf("n%d holds %s at %s of %s%s", first.from.node, what, where, a.partition, one(first))
	}
	if second.from.acknowledged() {
		text += fmt.Sprintf(". Then %s acknowledged %s there at %s%s. One offset has one record: one of the two acknowledgements is broken",
			a.acknowledgement(second.from.op()).who, other, a.checker.clock(second.from.op().Complete), one(second))
	} else {
		text += fmt.Sprintf(". But n%d holds %s there%s", second.from.node, other, one(second))
	}
	if first.from.acknowledged() {
		text += a.aftermath(first.from.op(), c.offset)
	}
	return text
}

// at is when a conflict came to be, as far as it is known: with the second of two acknowledgements, or the only one.
func (c conflict) at() int64 {
	switch one, two := c.first.from, c.second.from; {
	case one.acknowledged() && two.acknowledged():
		return max(one.op().Complete, two.op().Complete)
	case one.acknowledged():
		return one.op().Complete
	case two.acknowledged():
		return two.op().Complete
	default:
		return two.op().Complete
	}
}

// blame are the nodes of a conflict: who acknowledged, and whose log holds.
func (c conflict) blame() []int32 {
	var out []int32
	for _, s := range []source{c.first.from, c.second.from} {
		if n := s.node; n != 0 && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
