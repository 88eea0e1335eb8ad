package checkers

import (
	"fmt"
	"slices"

	"soak/history"
)

// KindDuplicate is a record of an idempotent producer that stands in the log twice.
const KindDuplicate = "duplicate"

// repeat is a record that was found at a second offset.
type repeat struct {
	partition
	producer
	seq          uint64
	first, again int64
	from         source // of the second
}

// noDuplicates holds idempotent producers' records to stand in the log once, however often they were sent. What was sent and read back is collected
// by acked-records, which finds the second copies on its way; duplicates of other producers, which may send again whatever they like, are counted.
type noDuplicates struct {
	ledger
	records *ackedRecords
	sent    int64 // records of idempotent producers
}

func newNoDuplicates(r *ackedRecords) *noDuplicates {
	return &noDuplicates{ledger: ledger{id: NoDuplicates}, records: r}
}

func (c *noDuplicates) Operation(op *history.Operation) {
	if op.Produce != nil && op.Produce.Idempotent {
		c.sent += int64(op.Produce.Count)
	}
}

func (c *noDuplicates) Finish() Verdict {
	if !c.records.audited.Load() {
		return Verdict{Checker: c.id, CheckedWhat: "records of idempotent producers", Reason: "acked-records, which reads the logs for it, did not come to its end"}
	}
	found := slices.DeleteFunc(slices.Clone(c.records.repeats), func(r repeat) bool { return c.records.exempt[r.partition] != "" })
	all := len(found)
	found = slices.DeleteFunc(found, func(r repeat) bool {
		return c.records.kept.goneBefore(r.partition, min(r.first, r.again), max(r.first, r.again))
	})
	forgotten := int64(all - len(found))
	var runs []repeats
	for i := 0; i < len(found); {
		n := 1
		for i+n < len(found) && found[i+n].follows(&found[i], n) {
			n++
		}
		runs = append(runs, repeats{repeat: found[i], count: n})
		i += n
	}
	c.senders(runs)
	for i := range runs {
		c.duplicate(&runs[i])
	}
	var missing []string
	if c.sent > 0 {
		missing = c.records.drains.shortfalls()
		if c.records.historyCut { // who was idempotent is told by the sends alone
			missing = append(missing, "the history is cut")
		}
	}
	holds := fmt.Sprintf("none of %s of idempotent producers was read at two offsets", plural(c.sent, "record"))
	if forgotten > 0 {
		holds += fmt.Sprintf("; but %s, which retention had removed before it was stored again", plural(forgotten, "record"))
	}
	v := c.verdict(c.sent, "records of idempotent producers", holds, missing)
	if v.Outcome != Violated && c.sent == 0 {
		v.Outcome, v.Reason = NotApplicable, "no producer was idempotent: others may write a record twice"
	}
	v.Measures = append(v.Measures, Measure{Name: "duplicates of other producers", Seen: c.records.duplicates - int64(len(c.records.repeats))})
	return v
}

// follows reports whether r is the n-th record of a run that begins with first.
func (r repeat) follows(first *repeat, n int) bool {
	return r.partition == first.partition && r.producer == first.producer && r.from.node == first.from.node &&
		r.seq == first.seq+uint64(n) && r.first == first.first+int64(n) && r.again == first.again+int64(n)
}

// repeats is a run of them, with the operations that sent the first.
type repeats struct {
	repeat
	count   int
	senders []*history.Operation
}

// senders finds who sent the first of each run that will be told of, in one pass over each partition.
func (c *noDuplicates) senders(runs []repeats) {
	wanted := map[partition]map[producer][]*repeats{}
	for i := range runs[:min(len(runs), maxViolations)] {
		r := &runs[i]
		if wanted[r.partition] == nil {
			wanted[r.partition] = map[producer][]*repeats{}
		}
		wanted[r.partition][r.producer] = append(wanted[r.partition][r.producer], r)
	}
	for p, of := range wanted {
		t := c.records.ops.sends(p)
		t.each(func(i int, op *history.Operation) {
			sent := op.Produce
			for _, r := range of[producerOf(sent)] {
				if r.seq >= sent.FirstSeq && r.seq < sent.FirstSeq+uint64(sent.Count) {
					r.senders = append(r.senders, t.at(i))
				}
			}
		})
	}
}

func (c *noDuplicates) duplicate(r *repeats) {
	if c.counted() {
		return
	}
	n := r.count
	what, first, again := fmt.Sprintf("sequence %d", r.seq), fmt.Sprint(r.first), fmt.Sprint(r.again)
	if n > 1 {
		last := int64(n) - 1
		what = fmt.Sprintf("sequences %d to %d", r.seq, r.seq+uint64(last))
		first, again = fmt.Sprintf("%d to %d", r.first, r.first+last), fmt.Sprintf("%d to %d", r.again, r.again+last)
	}
	v := Violation{
		Kind: KindDuplicate, Time: r.from.op().Complete, Nodes: []int32{r.from.node},
		Sentence: fmt.Sprintf("%s holds %s of the idempotent producer %d.%d twice: at %s, and again at %s on n%d",
			r.partition, what, r.producer.id, r.producer.incarnation, first, again, r.from.node),
	}
	for _, op := range r.senders {
		v.Time = op.Complete // when it was over for its client
		v.Operations = append(v.Operations, op.ID)
		v.Evidence = append(v.Evidence, opLine(op))
	}
	cite(&v, source{piece: holding(c.records.drains.pieces[replica{r.partition, r.from.node}], r.first), node: r.from.node}, r.first)
	cite(&v, r.from, r.again)
	c.violate(v)
}
