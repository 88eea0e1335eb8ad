package report

import (
	"cmp"
	"maps"
	"slices"

	"soak/checkers"
	"soak/history"
)

// metadataStory is what a story of a metadata answer that cannot be true has besides: the answer, what it contradicts, and what the node that gave it knew.
type metadataStory struct {
	window checkers.Window
	ok     bool               // the window was found
	core   map[string]bool    // the answer and the writes that it contradicts; nil where it follows from no single answers
	inside map[string]bool    // the operations of the window
	since  int64              // what was over before the write that the answer contradicts was asked for has no part in the story
	answer *history.Operation // nil where it is not in the evidence
	broken *history.Operation // the last of the writes that the answer contradicts, nil if there are none
	knew   *knowledge         // nil where it is not known who answered
}

// maxBack is how far before an answer the story of the writes that it contradicts may begin.
const maxBack = int64(20e9)

// findWindow looks for what a metadata answer contradicts. It is called when the history has been read, and before the events are.
func (s *story) findWindow() {
	if s.checker != checkers.LinearizableMetadata {
		return
	}
	m := &metadataStory{}
	s.metadata = m
	var ops []*history.Operation
	for _, op := range s.inOrder() {
		if op.Meta != nil && s.ids[op.ID] {
			ops = append(ops, op)
		}
	}
	m.window, m.ok = checkers.Unexplained(ops, s.v.Time)
	// What never had an answer, and took effect in no order, only stretches the axis.
	m.window.Operations = slices.DeleteFunc(m.window.Operations, func(o checkers.WindowOperation) bool { return o.Open && len(o.After) == 0 })
	m.ok = m.ok && len(m.window.Operations) > 0
	if m.ok {
		m.inside = map[string]bool{}
		for _, o := range m.window.Operations {
			m.inside[o.Operation.ID] = true
			if o.Last {
				m.answer = o.Operation
			}
		}
		m.since = s.from
		for _, op := range m.window.Core() {
			if m.core == nil {
				m.core = map[string]bool{}
			}
			m.core[op.ID] = true
			if op != m.answer && (m.broken == nil || op.Complete > m.broken.Complete) {
				m.broken = op
			}
		}
		if m.broken != nil {
			m.since = m.broken.Invoke
			s.from = max(min(s.from, m.broken.Invoke-second), s.v.Time-maxBack)
		}
	}
	if i := slices.IndexFunc(ops, func(op *history.Operation) bool {
		return op.Complete == s.v.Time && op.Node != 0 && slices.Contains(s.v.Nodes, op.Node)
	}); m.answer == nil && i >= 0 {
		m.answer = ops[i] // no window was found: the search is too long, or operations are missing
	}
	if m.answer != nil && m.answer.Node != 0 {
		m.knew = newKnowledge(m.answer, m.broken)
	}
}

const second = int64(1e9)

// inOrder are the story's operations, each once, in the order in which they were asked for.
func (s *story) inOrder() []*history.Operation {
	byID := map[string]*history.Operation{}
	for _, op := range s.operations {
		byID[op.ID] = op
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b *history.Operation) int {
		return cmp.Or(cmp.Compare(a.Invoke, b.Invoke), cmp.Compare(a.ID, b.ID))
	})
}

// aside reports whether an operation only surrounds what went wrong: it is about the same topic, and may well be true.
func (s *story) aside(op *history.Operation) bool {
	return s.metadata != nil && s.metadata.core != nil && op.Meta != nil && !s.metadata.core[op.ID]
}

// drops reports whether an operation has no row: it was answered before all that the answer contradicts, or asked for after the answer.
func (s *story) drops(op *history.Operation) bool {
	m := s.metadata
	if m == nil || !m.ok || m.core[op.ID] {
		return false
	}
	return op.Complete != 0 && op.Complete < m.since || op.Invoke > s.v.Time
}

// dropsEvent reports whether an event has no row: what the answer comes down to had not begun or was over, or a node that starts again applies what it had applied before.
func (s *story) dropsEvent(e *history.Event) bool {
	m := s.metadata
	if m == nil || !m.ok || m.knew != nil && slices.ContainsFunc(m.knew.rows(), func(r *history.Event) bool { return same(e, r) }) {
		return false
	}
	switch b := e.Body.(type) {
	case *history.Apply:
		return e.Time < m.since || e.Time > s.v.Time || m.broken != nil && b.Index < m.broken.Meta.Index
	case *history.Claim:
		return true // the entry's own rows tell the same
	case *history.Propose:
		return e.Time < m.since || e.Time > s.v.Time
	case *history.RoleChange, *history.Started, *history.Exit:
		return e.Time > s.v.Time && !slices.Contains(s.v.Nodes, e.Node)
	}
	return e.Time > s.v.Time
}
