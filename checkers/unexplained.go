package checkers

import (
	"cmp"
	"slices"

	"soak/history"
)

// Window is the smallest stretch of one topic name's operations that no order explains: it begins where the last time nothing was under way, with the
// states that were possible then, and ends with the answer that cannot be.
type Window struct {
	Before      []string // the states that were possible at its begin
	Operations  []WindowOperation
	Earlier     int               // operations before it, which some order explains
	Contradicts []WindowOperation // acknowledged writes before it that the last answer contradicts, where single ones do
}

// Core are the operations that a violation comes down to: the last answer, and the writes that it contradicts. None where it follows from no single
// answers: then all operations of the window belong to it.
func (w Window) Core() []*history.Operation {
	var out []*history.Operation
	last, broken := (*history.Operation)(nil), false
	for _, o := range slices.Concat(w.Contradicts, w.Operations) {
		if o.Last {
			last = o.Operation
		} else if o.Broken {
			broken = true
			out = append(out, o.Operation)
		}
	}
	if !broken || last == nil {
		return nil
	}
	return append(out, last)
}

// WindowOperation is one operation of a window.
type WindowOperation struct {
	Operation *history.Operation
	Words     string   // what was asked and answered
	Open      bool     // no known outcome: it may take effect at any later time, or never
	Last      bool     // the answer that nothing explains
	Broken    bool     // an acknowledged write that the last answer contradicts
	After     []string // the states that were possible right after it took effect, in the orders that explain all answers but the last; none for the last
}

// unexplainedSteps bounds the search for a window: it is for a picture, and gives up sooner than judging does.
const unexplainedSteps = 1 << 18

// Unexplained finds the window of a violation of linearizable-metadata from the operations that it names and its time. False where there is
// none: the operations are not all there, or the search is too long.
func Unexplained(ops []*history.Operation, at int64) (Window, bool) {
	calls := upTo(explainable(ops), at)
	slices.SortStableFunc(calls, func(a, b metaCall) int { return cmp.Compare(a.call, b.call) })
	last := slices.IndexFunc(calls, func(c metaCall) bool { return !c.open && c.ret == at })
	if last < 0 {
		return Window{}, false
	}
	final := calls[last]
	s := &windowSearch{model: newTopicModel(calls, unexplainedSteps)}
	var closed []metaCall
	for i, c := range calls {
		switch {
		case i == last:
		case c.open:
			s.open = append(s.open, c)
		default:
			closed = append(closed, c)
		}
	}
	if len(s.open) > maxOpen {
		return Window{}, false
	}
	segments := s.segments(append(slices.Clone(closed), final))
	frontier := map[windowState]bool{{}: true}
	earlier := 0
	for i, segment := range segments {
		if i == len(segments)-1 {
			segment = slices.DeleteFunc(segment, func(c metaCall) bool { return c.op == final.op })
			w, ok := s.window(frontier, segment, final, earlier)
			for _, c := range contradicts(calls, final, func(int64) string { return "" }).writes {
				if i := slices.IndexFunc(w.Operations, func(o WindowOperation) bool { return o.Operation == c.op }); i >= 0 {
					w.Operations[i].Broken = true
				} else {
					w.Contradicts = append(w.Contradicts, WindowOperation{Operation: c.op, Words: c.words(), Broken: true})
				}
			}
			return w, ok
		}
		next, _ := s.through(frontier, segment, segment[len(segment)-1].call)
		if len(next) == 0 || s.steps > unexplainedSteps {
			return Window{}, false
		}
		frontier, earlier = next, earlier+len(segment)
	}
	return Window{}, false
}

// windowState is a state of the name between two segments, and which of the open operations have taken effect.
type windowState struct {
	state int
	used  uint32
}

type windowSearch struct {
	model *topicModel
	open  []metaCall
	steps int
}

// segments cuts answered operations, ordered by their calls, where none was under way.
func (s *windowSearch) segments(calls []metaCall) [][]metaCall {
	slices.SortStableFunc(calls, func(a, b metaCall) int { return cmp.Compare(a.call, b.call) })
	var out [][]metaCall
	var ends int64
	for i, c := range calls {
		if i == 0 || c.call > ends {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
		ends = max(ends, c.ret)
	}
	return out
}

// node is a point of the search within a segment.
type windowNode struct {
	windowState
	done uint64
}

// through gives the states that a segment can end in, and for each of its operations and of the open ones the states that it can leave behind on the way to an end.
func (s *windowSearch) through(from map[windowState]bool, segment []metaCall, until int64) (ends map[windowState]bool, after []map[int]bool) {
	ends = map[windowState]bool{}
	after = make([]map[int]bool, len(segment)+len(s.open))
	for i := range after {
		after[i] = map[int]bool{}
	}
	if len(segment) > 63 {
		s.steps = unexplainedSteps + 1
		return ends, after
	}
	all := uint64(1)<<len(segment) - 1
	known := map[windowNode]bool{} // whether an end can be reached
	var visit func(n windowNode) bool
	visit = func(n windowNode) bool {
		if ok, seen := known[n]; seen {
			return ok
		}
		if s.steps++; s.steps > unexplainedSteps {
			return false
		}
		known[n] = false
		ok := false
		if n.done == all {
			ends[n.windowState] = true
			ok = true
		}
		first := int64(1) << 62 // the first answer of those that have not taken effect: what was called later comes after it
		for i, c := range segment {
			if n.done&(1<<i) == 0 {
				first = min(first, c.ret)
			}
		}
		for i, c := range segment {
			if n.done&(1<<i) != 0 || c.call > first {
				continue
			}
			if fits, next := s.model.step(s.model.states[n.state], c); fits {
				to := windowNode{windowState{s.model.number(next), n.used}, n.done | 1<<i}
				if visit(to) {
					after[i][to.state] = true
					ok = true
				}
			}
		}
		for i, c := range s.open {
			if n.used&(1<<i) != 0 || c.call > min(first, until) {
				continue
			}
			_, next := s.model.step(s.model.states[n.state], c)
			to := windowNode{windowState{s.model.number(next), n.used | 1<<i}, n.done}
			if to.state != n.state && visit(to) {
				after[len(segment)+i][to.state] = true
				ok = true
			}
		}
		known[n] = ok
		return ok
	}
	for f := range from {
		visit(windowNode{windowState: f})
	}
	return ends, after
}

// window tells of the last segment, without the answer that nothing explains.
func (s *windowSearch) window(frontier map[windowState]bool, segment []metaCall, final metaCall, earlier int) (Window, bool) {
	w := Window{Earlier: earlier}
	before := map[int]bool{}
	used := uint32(1)<<len(s.open) - 1
	for f := range frontier {
		before[f.state] = true
		used &= f.used // an open operation that has taken effect in every order belongs to what was before
	}
	w.Before = s.words(before)
	ends, after := s.through(frontier, segment, final.ret)
	if len(ends) == 0 || s.steps > unexplainedSteps {
		return Window{}, false
	}
	for i, c := range segment {
		w.Operations = append(w.Operations, WindowOperation{Operation: c.op, Words: c.words(), After: s.words(after[i])})
	}
	for i, c := range s.open {
		if used&(1<<i) == 0 && c.call <= final.ret {
			w.Operations = append(w.Operations, WindowOperation{Operation: c.op, Words: c.words(), Open: true, After: s.words(after[len(segment)+i])})
		}
	}
	w.Operations = append(w.Operations, WindowOperation{Operation: final.op, Words: final.words(), Last: true})
	slices.SortStableFunc(w.Operations, func(a, b WindowOperation) int { return cmp.Compare(a.Operation.Invoke, b.Operation.Invoke) })
	return w, true
}

func (s *windowSearch) words(states map[int]bool) []string {
	var out []string
	for n := range states {
		out = append(out, s.model.states[n].String())
	}
	slices.Sort(out)
	return out
}
