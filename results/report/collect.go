package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"soak/checkers"
	"soak/history"
)

// Input is what a report is drawn from.
type Input struct {
	Dir    string           // the run folder
	Run    *history.Run     // nil if run.json is missing or cannot be read
	Report *checkers.Report // nil if there is no verdict
	Notes  []string         // what is wrong with the folder, as far as the caller knows
}

// collected is what one pass over the folder gave.
type collected struct {
	Input
	from, to int64 // of the time axis

	faults  []history.Fault
	cells   cells
	states  states
	outages *outages
	stories []*story
	squeeze int // 1, 2, 4, …: the page shows only so small a part of what the bounds allow
	sends   []*sends

	lost     map[string]bool // operations that lost records
	lostSpan lostSpan        // when they were acknowledged

	acked, failed, unknown int64 // records
	operations             map[string]int64
	errorNames             [errorKinds]string
	quiet, faulty          histogram // latency of acknowledged sends outside and inside of the faults' time
	nodes                  []int32
	memory                 bool
	notes                  []string
	windows                [][2]int64 // of the faults, merged
	seenLast               int64      // the last instant that any record tells of
	nodeStates             map[int32][]stretch
}

// collect reads the folder. It does not fail: what cannot be read is noted.
func collect(in Input) *collected {
	c := &collected{Input: in, operations: map[string]int64{}, lost: map[string]bool{}}
	c.notes = append(c.notes, in.Notes...)
	if in.Run == nil {
		c.Run = &history.Run{}
	}
	c.read(history.FaultsFile, c.faultLine)
	slices.SortStableFunc(c.faults, func(a, b history.Fault) int { return cmp.Compare(a.ID, b.ID) })
	c.span()
	c.cells.start = c.from
	c.windows = faultWindows(c.faults)
	c.outages = newOutages(c.faults)
	c.states = newStates(c.topicsWanted())
	c.stories = c.chooseStories()
	c.findSends()
	c.read(history.HistoryFile, c.operationLine)
	for _, s := range c.stories {
		s.findWindow()
	}
	c.read(history.EventsFile, c.eventLine)
	c.read(history.MetricsFile, c.metricLine)
	c.outages.finish()
	c.finish()
	return c
}

// read calls line for each line of a file. Lines that cannot be read are counted and passed over: they are the checkers' matter.
func (c *collected) read(name string, line func([]byte) error) {
	bad, number, first := 0, 0, 0
	var why error
	notes, err := history.ReadLines(c.Dir, name, func(text []byte) error {
		number++
		if err := line(text); err != nil {
			if bad++; bad == 1 {
				first, why = number, err
			}
		}
		return nil
	})
	c.notes = append(c.notes, notes.Lines()...)
	if err != nil {
		c.notes = append(c.notes, fmt.Sprintf("the rest of %s could not be read: %v", name, err))
	}
	switch {
	case bad == 1 && first == number:
		c.notes = append(c.notes, fmt.Sprintf("the last line of %s is cut or damaged and was left out", name))
	case bad > 0:
		c.notes = append(c.notes, fmt.Sprintf("%s has %d damaged lines, which were left out; the first is line %d: %v", name, bad, first, why))
	}
}

func (c *collected) faultLine(line []byte) error {
	f, err := history.ParseFault(line)
	if err != nil {
		return err
	}
	c.faults = append(c.faults, *f)
	return nil
}

// span finds the time axis: the run's phases, or what the records begin with.
func (c *collected) span() {
	for _, p := range c.Run.Phases {
		if c.from == 0 || p.Start != 0 && p.Start < c.from {
			c.from = p.Start
		}
		c.to = max(c.to, p.Start, p.End)
	}
	if c.from != 0 {
		return
	}
	first := int64(math.MaxInt64)
	look := func(t int64) {
		if t > 0 {
			first = min(first, t)
		}
	}
	// Enough of each file's beginning: a record is written when it is over.
	for name, at := range map[string]func([]byte){
		history.EventsFile:  func(l []byte) { _, t, _ := eventHead(l); look(t) },
		history.HistoryFile: func(l []byte) { look(field(l, `"invoke":`)) },
	} {
		n := 0
		_, _ = history.ReadLines(c.Dir, name, func(l []byte) error {
			if n++; n > 200 {
				return errEnough
			}
			at(l)
			return nil
		})
	}
	for i := range c.faults {
		look(c.faults[i].Asked)
	}
	if first == math.MaxInt64 {
		first = 0
	}
	c.from = first
}

var errEnough = fmt.Errorf("enough was read")

// faultWindows are the times in which at least one fault was asked for and not seen healed, in order and merged.
func faultWindows(faults []history.Fault) [][2]int64 {
	var all [][2]int64
	for i := range faults {
		if f := &faults[i]; f.Asked != 0 {
			all = append(all, [2]int64{f.Asked, faultEnd(f, math.MaxInt64)})
		}
	}
	slices.SortFunc(all, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	var out [][2]int64
	for _, w := range all {
		if n := len(out); n > 0 && w[0] <= out[n-1][1] {
			out[n-1][1] = max(out[n-1][1], w[1])
			continue
		}
		out = append(out, w)
	}
	return out
}

// disturbed reports whether a stretch of time touches a fault's.
func (c *collected) disturbed(from, to int64) bool {
	i := sort.Search(len(c.windows), func(i int) bool { return c.windows[i][1] >= from })
	return i < len(c.windows) && c.windows[i][0] <= to
}

// topicsWanted tells the topics whose partitions are drawn: those with records, the metadata's own, and those that violations speak of.
func (c *collected) topicsWanted() func(string) bool {
	wanted := map[string]bool{"__meta": true}
	for _, t := range c.Run.RecordTopics {
		wanted[t.Name] = true
	}
	if c.Report != nil {
		for _, v := range c.Report.Verdicts {
			for _, x := range v.Violations[:min(len(v.Violations), 50)] {
				for _, line := range x.Evidence {
					for _, name := range mentioned([]byte(line)) {
						if len(wanted) < 64 {
							wanted[name] = true
						}
					}
				}
			}
		}
	}
	return func(topic string) bool { return wanted[topic] }
}

// mentioned are the topics that a record speaks of.
func mentioned(line []byte) []string {
	var r struct {
		Topic, Key string
		Produce    struct{ Topic string }
		Consume    struct{ Topic string }
		Drain      struct{ Topic string }
	}
	if json.Unmarshal(line, &r) != nil {
		return nil
	}
	var out []string
	for _, s := range []string{r.Topic, r.Produce.Topic, r.Consume.Topic, r.Drain.Topic} {
		if s != "" {
			out = append(out, s)
		}
	}
	if i := strings.LastIndexByte(r.Key, '-'); i > 0 {
		out = append(out, r.Key[:i])
	}
	return out
}

func (c *collected) operationLine(line []byte) error {
	if h, ok := scanOp(line); ok {
		c.operation(h, func() (*history.Operation, error) { return history.ParseOperation(line) })
		return nil
	}
	return history.ParseOperations(line, func(op *history.Operation) error {
		c.operation(headOf(op), func() (*history.Operation, error) { return op, nil })
		return nil
	})
}

// operation takes an operation by its head; whole reads all of it, for those few that need it.
func (c *collected) operation(h opHead, whole func() (*history.Operation, error)) {
	c.operations[h.kind]++
	c.seenLast = max(c.seenLast, h.invoke, h.complete)
	done := string(h.outcome) == string(history.OK)
	if !done {
		if x := c.cells.at(cmp.Or(h.complete, h.invoke)); x != nil {
			x.errors[c.errorKind(h.err)]++
		}
	}
	if len(c.lost) > 0 && c.lost[string(h.id)] {
		c.lostSpan.take(h.complete)
	}
	for _, s := range c.stories {
		s.operation(h, whole)
	}
	if h.kind != "produce" {
		return
	}
	if len(c.sends) > 0 {
		if s := c.sendsOf(h.topic, h.partition); s != nil {
			s.take(h, whole, c.from, c.to)
		}
	}
	n := int64(h.count)
	switch {
	case done && h.complete != 0:
		c.acked += n
		c.outages.acked(h.topic, h.partition, h.invoke, h.complete)
		took := h.complete - h.invoke
		if c.disturbed(h.invoke, h.complete) {
			c.faulty.put(took)
		} else {
			c.quiet.put(took)
		}
		if x := c.cells.at(h.complete); x != nil {
			x.acked += n
			x.latency.put(took)
		}
		return
	case string(h.outcome) == string(history.Failed):
		c.failed += n
	default:
		c.unknown += n
	}
	if x := c.cells.at(cmp.Or(h.complete, h.invoke)); x != nil {
		x.lost += n
	}
}

func headOf(op *history.Operation) opHead {
	h := opHead{id: []byte(op.ID), client: []byte(op.Client), node: op.Node, invoke: op.Invoke, complete: op.Complete, outcome: []byte(op.Outcome), err: []byte(op.Error)}
	switch {
	case op.Produce != nil:
		h.kind, h.topic, h.partition, h.count = "produce", []byte(op.Produce.Topic), op.Produce.Partition, op.Produce.Count
	case op.Consume != nil:
		h.kind, h.topic, h.partition = "consume", []byte(op.Consume.Topic), op.Consume.Partition
	case op.Drain != nil:
		h.kind, h.topic, h.partition = "drain", []byte(op.Drain.Topic), op.Drain.Partition
	case op.Create != nil:
		h.kind, h.topic = "create", []byte(op.Create.Topic)
	case op.Meta != nil:
		h.kind, h.topic = "meta", []byte(op.Meta.Name)
	}
	return h
}

// errorKind is the number of an error's kind, from 0 on in the order in which kinds came up; the last number is all that found no place.
func (c *collected) errorKind(text []byte) int {
	name := errorName(text)
	for i, known := range c.errorNames[:errorKinds-1] {
		if known == name {
			return i
		}
		if known == "" {
			c.errorNames[i] = name
			return i
		}
	}
	c.errorNames[errorKinds-1] = "other errors"
	return errorKinds - 1
}

// errorName brings an error's text down to its kind: Kafka's name of it, or what came between client and node.
func errorName(text []byte) string {
	if name, _, ok := bytes.Cut(text, []byte(" (")); ok && len(name) > 0 && len(name) < 60 && bytes.ContainsFunc(name, isUpper) && !bytes.ContainsFunc(name, notConstant) {
		return string(name)
	}
	for _, k := range []struct{ part, name string }{
		{"connection refused", "connection refused"}, {"reset by peer", "connection reset"}, {"timeout", "no answer in time"}, {"none within", "no answer in time"},
		{"deadline", "no answer in time"}, {"no leader", "no leader known"}, {"closed", "connection closed"}, {"given up", "connection closed"}, {"EOF", "connection closed"},
		{"broken pipe", "connection closed"}, {"crashed", "client crashed"},
	} {
		if bytes.Contains(text, []byte(k.part)) {
			return k.name
		}
	}
	if len(text) == 0 {
		return "no error told"
	}
	return "other errors"
}

func isUpper(r rune) bool     { return r >= 'A' && r <= 'Z' }
func notConstant(r rune) bool { return !isUpper(r) && r != '_' && (r < '0' || r > '9') }

// stateful are the kinds of event that the lanes are drawn from.
var stateful = map[string]bool{"started": true, "role": true, "leader_check": true, "exit": true, "log_line": true, "bug": true}

func (c *collected) eventLine(line []byte) error {
	kind, at, ok := eventHead(line)
	if !ok {
		e, known, err := history.ParseEvent(line)
		if err != nil || !known {
			return err
		}
		kind, at = []byte(e.Body.Kind()), e.Time
	}
	c.seenLast = max(c.seenLast, at)
	told := false
	for _, s := range c.stories {
		if s.metadata != nil && s.metadata.knew != nil {
			s.metadata.knew.event(kind, at, line)
		}
		told = told || s.wants(kind, at)
	}
	if string(kind) == "apply" {
		index := uint64(field(line, `,"index":`))
		if index > c.states.highest && !bytes.Contains(line, []byte(`"changes":[`)) {
			c.states.highest = index
		}
		if !told && index <= c.states.highest {
			return nil
		}
	} else if !told && !stateful[string(kind)] {
		return nil
	}
	e, known, err := history.ParseEvent(line)
	if err != nil || !known {
		return err
	}
	c.states.event(&e)
	if told {
		for _, s := range c.stories {
			s.event(&e)
		}
	}
	return nil
}

func (c *collected) metricLine(line []byte) error {
	var m history.Metric
	if err := json.Unmarshal(line, &m); err != nil {
		return err
	}
	x := c.cells.at(m.Time)
	if x == nil {
		return nil
	}
	x.stall = max(x.stall, m.StallNanos)
	for _, n := range m.Nodes {
		if n.Node >= 1 && n.Node <= maxNodes && n.Memory > 0 {
			x.memory[n.Node-1] = max(x.memory[n.Node-1], n.Memory)
			c.memory = true
		}
	}
	return nil
}

// finish settles the axis and the nodes.
func (c *collected) finish() {
	if last := len(c.Run.Phases) - 1; last < 0 || c.Run.Phases[last].End == 0 {
		c.to = max(c.to, c.seenLast)
	}
	if c.to <= c.from {
		c.to = c.from + 1
	}
	nodes := map[int32]bool{}
	for n := range c.Run.Nodes {
		nodes[int32(n+1)] = true
	}
	for n := range c.states.lives {
		nodes[n] = true
	}
	for n := range nodes {
		if n > 0 {
			c.nodes = append(c.nodes, n)
		}
	}
	slices.Sort(c.nodes)
	if n := c.states.passedOver; n > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%d states and checks were too many to keep and are not drawn", n))
	}
	if n := c.outages.late; n > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%d acknowledgements stand far from their place in %s: times without writes may be shown too long", n, history.HistoryFile))
	}
}
