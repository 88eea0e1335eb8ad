package checkers

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"soak/history"
)

// KindNotLinearizable is the violation of linearizable-metadata.
const KindNotLinearizable = "not-linearizable"

// PictureLinearizable is the file name of the picture that a violation of linearizable-metadata draws.
const PictureLinearizable = "linearizable-metadata.html"

// Budgets of the search. They are counted in steps of the model, not in time, so that a stored run gets the same verdict
// on any machine; the time is a backstop. A step takes about a microsecond and keeps about 200 bytes until
// its name is done: a name may take about 200 MB.
const (
	stepsPerName = 1 << 20
	stepsInAll   = 12 << 20
	searchTime   = 20 * time.Second
	// maxOpen bounds the operations of one name that may take effect at any later time: each doubles the search.
	maxOpen = 12
	// maxPictured bounds the names that are drawn.
	maxPictured = 3
)

// linearizable looks, for each topic name of the metadata workload, for an order of its operations that explains every answer.
type linearizable struct {
	ledger
	required bool
	names    map[string]*nameHistory
	created  map[string]bool // names that are auto-created as well: their operations are not all known
	steps    int
	since    time.Time
	failed   [][]metaCall // what is to be drawn, a name each
	cut      bool         // operations may be missing at the end of the history
	last     int64        // when the last operation of any kind ended
	clock    func(int64) string
}

// nameHistory is the operations on one name.
type nameHistory struct {
	ops      []*history.Operation
	workload bool // an operation of the metadata workload is among them
}

func newLinearizable(run *history.Run) *linearizable {
	return &linearizable{
		ledger: ledger{id: LinearizableMetadata}, required: run.Minimums.MetaOps > 0,
		names: map[string]*nameHistory{}, created: map[string]bool{}, clock: clockOf(run),
	}
}

// cutTail is how long before the end of a cut history an operation may have begun that is missing in it: clients give up far sooner.
const cutTail = int64(10 * time.Second)

// incomplete tells that the history lacks operations.
func (c *linearizable) incomplete(n history.Notes) { c.cut = historyCut(n) }

func (c *linearizable) Operation(op *history.Operation) {
	c.last = max(c.last, op.Complete)
	if op.Create != nil {
		c.created[op.Create.Topic] = true
	}
	if op.Meta == nil {
		return
	}
	n := c.names[op.Meta.Name]
	if n == nil {
		n = &nameHistory{}
		c.names[op.Meta.Name] = n
	}
	n.ops = append(n.ops, op)
	n.workload = n.workload || ofMetadataWorkload(op)
}

// ofMetadataWorkload tells the metadata workload's operations from those that set the run up.
func ofMetadataWorkload(op *history.Operation) bool {
	return op.Meta != nil && (op.Meta.Owner == "metadata" || op.Meta.Owner == "")
}

func (c *linearizable) Finish() Verdict {
	names := make([]string, 0, len(c.names))
	for name, n := range c.names {
		if n.workload && !c.created[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	c.since = time.Now()
	var checked, overlapping, open int64
	var missing []string
	for _, name := range names {
		ops := explainable(c.names[name].ops)
		if c.cut {
			// An operation that is missing may explain what was answered while it ran.
			ops = upTo(ops, c.last-cutTail)
		}
		for _, op := range ops {
			checked += int64(btoi(!op.open))
			open += int64(btoi(op.open))
		}
		overlapping += overlaps(ops)
		if why := c.name(name, ops); why != "" {
			missing = append(missing, why)
		}
	}
	if c.cut {
		missing = append(missing, fmt.Sprintf("the history is cut: its last %s cannot be judged", time.Duration(cutTail)))
	}
	if checked == 0 {
		missing = append([]string{"no answered metadata operation was seen"}, missing...)
	}
	// The names were judged in their order; a reader is told of what was wrong first.
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Time, b.Time) })
	v := c.verdict(checked, "metadata operations",
		fmt.Sprintf("some order explains every answer on each of %s", plural(int64(len(names)), "topic name")), missing)
	if checked == 0 && !c.required && v.Outcome == Inconclusive {
		v.Outcome, v.Reason = NotApplicable, "the scenario has no metadata workload"
	}
	v.Measures = append(v.Measures,
		Measure{Name: "topic names", Seen: int64(len(names))}, Measure{Name: "overlapping pairs", Seen: overlapping},
		Measure{Name: "operations of unknown outcome", Seen: open})
	return v
}

// name judges one name, and answers why it could not.
func (c *linearizable) name(name string, ops []metaCall) (why string) {
	open := 0
	for _, op := range ops {
		open += btoi(op.open)
	}
	if open > maxOpen {
		return fmt.Sprintf("%s has %d operations of unknown outcome, more than the %d that can be searched", name, open, maxOpen)
	}
	switch c.search(ops) {
	case porcupine.Unknown:
		return fmt.Sprintf("the search for an order of the %s on %s ran out of its budget", plural(int64(len(ops)), "operation"), name)
	case porcupine.Illegal:
		c.report(ops)
	}
	return ""
}

// search runs porcupine on the operations of one name, within what is left of the budgets.
func (c *linearizable) search(ops []metaCall) porcupine.CheckResult {
	left := searchTime - time.Since(c.since)
	steps := min(stepsPerName, stepsInAll-c.steps)
	if left <= 0 || steps <= 0 {
		return porcupine.Unknown
	}
	m := newTopicModel(ops, steps)
	result := porcupine.CheckOperationsTimeout(m.model(), m.operations(ops), left)
	c.steps += m.steps
	if m.exhausted() {
		return porcupine.Unknown
	}
	return result
}

// report finds the first answer that no order explains: operations are taken away from the end, as if the run had ended
// sooner, for as long as what remains has no order.
func (c *linearizable) report(ops []metaCall) {
	answers := answered(ops)
	low, high := 0, len(answers)-1 // the answer that first makes it impossible is answers[high]
	for low < high {
		middle := (low + high) / 2
		if c.search(upTo(ops, answers[middle].ret)) == porcupine.Illegal {
			high = middle
		} else {
			low = middle + 1
		}
	}
	last := answers[high]
	part := upTo(ops, last.ret)
	slices.SortStableFunc(part, func(a, b metaCall) int { return cmp.Compare(a.call, b.call) })
	v := Violation{
		Kind: KindNotLinearizable, Time: last.ret,
		Sentence: refuted(part, last, c.clock),
	}
	if last.op.Node != 0 {
		v.Nodes = []int32{last.op.Node}
	}
	for _, op := range part {
		v.Operations = append(v.Operations, op.op.ID)
	}
	shown := part[max(0, len(part)-maxEvidence):]
	for _, w := range contradicts(part, last, c.clock).writes {
		if !slices.ContainsFunc(shown, func(s metaCall) bool { return s.op == w.op }) {
			v.Evidence = append(v.Evidence, opLine(w.op))
		}
	}
	for _, op := range shown {
		v.Evidence = append(v.Evidence, opLine(op.op))
	}
	c.violate(v)
	if len(c.failed) < maxPictured {
		c.failed = append(c.failed, part)
	}
}

// answered are the operations of known outcome in the order of their answers.
func answered(ops []metaCall) []metaCall {
	out := slices.DeleteFunc(slices.Clone(ops), func(op metaCall) bool { return op.open })
	slices.SortStableFunc(out, func(a, b metaCall) int { return cmp.Compare(a.ret, b.ret) })
	return out
}

// maxEvidence bounds the operations shown with a violation: the last ones before the answer.
const maxEvidence = 12

// upTo is the history as it stood at an instant: what was answered later is open.
func upTo(ops []metaCall, at int64) []metaCall {
	var out []metaCall
	for _, op := range ops {
		if op.call > at {
			continue
		}
		if !op.open && op.ret > at {
			if !op.writes() {
				continue
			}
			op.open = true
		}
		out = append(out, op)
	}
	return out
}

// Pictures draws the names that have no order. It is called after the verdict and cannot change it.
func (c *linearizable) Pictures() Pictures {
	if len(c.failed) == 0 {
		return nil
	}
	m := newTopicModel(slices.Concat(c.failed...), maxPictured*stepsPerName)
	var parts [][]porcupine.Operation
	for _, part := range c.failed {
		parts = append(parts, m.operations(part))
	}
	model := m.model()
	model.Partition = func([]porcupine.Operation) [][]porcupine.Operation { return parts }
	_, info := porcupine.CheckOperationsVerbose(model, nil, searchTime)
	var page bytes.Buffer
	if err := porcupine.Visualize(model, info, &page); err != nil {
		return nil
	}
	return Pictures{PictureLinearizable: page.Bytes()}
}

// overlaps counts the pairs of answered operations that ran at the same time.
func overlaps(ops []metaCall) int64 {
	var count int64
	var running []int64 // returns of those that may still run
	sorted := slices.Clone(ops)
	slices.SortStableFunc(sorted, func(a, b metaCall) int { return cmp.Compare(a.call, b.call) })
	for _, op := range sorted {
		if op.open {
			continue
		}
		running = slices.DeleteFunc(running, func(ret int64) bool { return ret < op.call })
		count += int64(len(running))
		running = append(running, op.ret)
	}
	return count
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
