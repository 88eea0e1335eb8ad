package checkers

import "soak/history"

// leaders knows who led which raft term. It learns from role events alone, in which a node says of itself, from raft's own
// status, that it leads: what others believe, or what a faulty service claims, teaches nothing.
type leaders struct {
	of map[uint64]*history.Event // the first role event of each term's leader
}

func newLeaders() leaders { return leaders{of: map[uint64]*history.Event{}} }

// learn takes a role event. It answers the event of another node that led the same term, if there is one.
func (l *leaders) learn(e *history.Event) (other *history.Event, isNew bool) {
	r, ok := e.Body.(*history.RoleChange)
	if !ok || r.Role != history.RoleLeader {
		return nil, false
	}
	first, known := l.of[r.Term]
	switch {
	case !known:
		l.of[r.Term] = e
		return nil, true
	case first.Node != e.Node:
		return first, false
	}
	return nil, false
}

// leader is who led the term, 0 if unknown.
func (l *leaders) leader(term uint64) int32 {
	if e, ok := l.of[term]; ok {
		return e.Node
	}
	return 0
}
