package checkers

import (
	"fmt"
	"slices"

	"soak/history"
)

// contradiction is why an answer about a topic cannot be, as far as it follows from single answers: the writes that it contradicts, in the order of
// their answers, and the reason in words, a sentence or two without the last full stop. A search for an order finds violations that follow from no single answer: those have neither.
type contradiction struct {
	writes []metaCall
	why    string
}

// contradicts looks for the acknowledged writes that an answer contradicts. What it says is true by itself, whatever the search has found: it passes
// over everything that an operation of unknown outcome, or one under way at the same time, could explain.
func contradicts(calls []metaCall, final metaCall, clock func(int64) string) contradiction {
	m := final.op.Meta
	var before []metaCall // acknowledged before the question was put, in the order of their answers
	for _, c := range calls {
		if c.op != final.op && !c.open && c.writes() && !absent(c.op.Meta) && c.op.Meta.Code == codeNone && c.ret < final.call {
			before = append(before, c)
		}
	}
	slices.SortStableFunc(before, func(a, b metaCall) int { return int(min(max(a.ret-b.ret, -1), 1)) })
	// mayFollow reports whether a write of a kind may have taken effect behind another one and before the answer: a deletion or creation, or a write of that value.
	mayFollow := func(w metaCall, kind, config, value string) bool {
		return slices.ContainsFunc(calls, func(c metaCall) bool {
			x := c.op.Meta
			return c.op != w.op && c.op != final.op && x.Kind == kind && (c.open || x.Code == codeNone) && (config == "" || x.Config == config && x.Value == value) &&
				(c.open || c.ret > w.call) && c.call < final.ret
		})
	}
	// mayLieBetween reports whether the name may have been deleted otherwise, or created again, between a creation and a deletion of it.
	mayLieBetween := func(c, d metaCall) bool {
		return slices.ContainsFunc(calls, func(x metaCall) bool {
			m := x.op.Meta
			return x.op != c.op && x.op != d.op && x.op != final.op && (m.Kind == history.MetaDelete || m.Kind == history.MetaCreate) && (x.open || m.Code == codeNone) &&
				(x.open || x.ret > c.call) && x.call < d.ret
		})
	}
	last := func(kind, config string) (metaCall, bool) {
		for i := len(before) - 1; i >= 0; i-- {
			if x := before[i].op.Meta; x.Kind == kind && (config == "" || x.Config == config) {
				return before[i], true
			}
		}
		return metaCall{}, false
	}
	// acknowledged says who acknowledged what when: it is what a reader has to compare the answer with.
	acknowledged := func(c metaCall, what string) string {
		return fmt.Sprintf("Before this was asked, %s had acknowledged %s, at %s%s", by(c), what, clock(c.ret), atIndex(c.op.Meta.Index))
	}
	switch {
	case claimsAbsent(m):
		if c, ok := last(history.MetaCreate, ""); ok && !mayFollow(c, history.MetaDelete, "", "") {
			what := "its creation"
			if m.Kind == history.MetaCreate {
				what = "a creation of that name"
			}
			return contradiction{[]metaCall{c}, acknowledged(c, what) + ". Nobody had deleted it since"}
		}
	case m.Kind != history.MetaCreate && !slices.ContainsFunc(calls, func(c metaCall) bool {
		return c.op.Meta.Kind == history.MetaCreate && (c.open || c.op.Meta.Code == codeNone) && c.call < final.ret
	}):
		return contradiction{why: "No creation of it had been acknowledged, and none was under way"}
	case m.TopicID != "":
		for i, c := range before {
			if x := c.op.Meta; x.Kind != history.MetaCreate || x.TopicID != m.TopicID {
				continue
			}
			for _, d := range before[i+1:] {
				if d.op.Meta.Kind == history.MetaDelete && d.call > c.ret {
					of := "the deletion of just that topic"
					if mayLieBetween(c, d) {
						of = "a deletion of that name that came after its creation" // of that topic or of one that followed: it is gone in any case
					}
					return contradiction{[]metaCall{c, d}, acknowledged(d, of)}
				}
			}
		}
	default:
		if d, ok := last(history.MetaDelete, ""); ok && !mayFollow(d, history.MetaCreate, "", "") {
			return contradiction{[]metaCall{d}, acknowledged(d, "the topic's deletion") + ". Nobody had created it again"}
		}
	}
	if m.Kind == history.MetaRead && !absent(m) {
		wrote := func(c metaCall) bool {
			x := c.op.Meta
			return c.call < final.ret && (x.Kind == history.MetaWrite && x.Config == m.Config && x.Value == m.Value || x.Kind == history.MetaCreate && x.Configs[m.Config] == m.Value)
		}
		if m.Value != "" && !slices.ContainsFunc(calls, wrote) {
			return contradiction{why: "Nobody had written that value"}
		}
		w, ok := last(history.MetaWrite, m.Config)
		if ok && w.op.Meta.Value != m.Value && !mayFollow(w, history.MetaWrite, m.Config, m.Value) && !mayFollow(w, history.MetaDelete, "", "") {
			// The topic was there for the write and stayed: a creation behind it did nothing.
			return contradiction{[]metaCall{w}, acknowledged(w, fmt.Sprintf("%q as its value", w.op.Meta.Value)) + fmt.Sprintf(". Nobody had written %q again", m.Value)}
		}
	}
	return contradiction{}
}

// claimsAbsent reports whether an answer says that the topic was not there when it was asked for.
func claimsAbsent(m *history.MetaOp) bool {
	return absent(m) || m.Kind == history.MetaCreate && m.Code == codeNone
}

// by names who answered, where that is known.
func by(c metaCall) string {
	if c.op.Node == 0 {
		return "a node"
	}
	return fmt.Sprintf("n%d", c.op.Node)
}

func atIndex(index uint64) string {
	if index == 0 {
		return ""
	}
	return fmt.Sprintf(" (raft entry %d)", index)
}

// claim is what an answer says, in a sentence that begins with who said it.
func claim(c metaCall) string {
	m := c.op.Meta
	says := ""
	switch {
	case m.Code == codeAlreadyExists:
		says = fmt.Sprintf("refused to create topic %s because it exists already", m.Name)
	case absent(m) && m.Kind == history.MetaDescribe:
		says = fmt.Sprintf("answered that there is no such topic as %s", m.Name)
	case absent(m) && m.Kind == history.MetaRead:
		says = fmt.Sprintf("answered, asked for %s, that there is no such topic as %s", m.Config, m.Name)
	case absent(m) && m.Kind == history.MetaWrite:
		says = fmt.Sprintf("refused to set %s of topic %s because there is none", m.Config, m.Name)
	case absent(m):
		says = fmt.Sprintf("refused to %s topic %s because there is none", m.Kind, m.Name)
	case m.Kind == history.MetaCreate:
		says = "acknowledged the creation of topic " + m.Name
	case m.Kind == history.MetaDelete:
		says = "acknowledged the deletion of topic " + m.Name
	case m.Kind == history.MetaWrite:
		says = fmt.Sprintf("acknowledged %q as %s of topic %s", m.Value, m.Config, m.Name)
	case m.Kind == history.MetaRead:
		says = fmt.Sprintf("answered that %s of topic %s is %q", m.Config, m.Name, m.Value)
	default:
		says = fmt.Sprintf("answered that topic %s exists", m.Name)
	}
	if m.TopicID != "" && !absent(m) {
		says += fmt.Sprintf(" (topic id %s)", m.TopicID)
	}
	return by(c) + " " + says
}

// refuted says of an answer that no order explains who answered what, and which acknowledged write it contradicts: in short sentences, of which the last has no full stop.
func refuted(calls []metaCall, final metaCall, clock func(int64) string) string {
	said := claim(final)
	why := contradicts(calls, final, clock)
	if why.why == "" {
		return fmt.Sprintf("%s. That contradicts what was answered before: no order of the first %s on this topic explains all of their answers",
			said, plural(int64(len(calls)), "operation"))
	}
	text := said + ". " + why.why
	index, newest := final.op.Meta.Index, uint64(0)
	for _, w := range why.writes {
		newest = max(newest, w.op.Meta.Index)
	}
	switch {
	case index != 0 && newest > index:
		text += fmt.Sprintf(". The answer is of the older state at raft entry %d", index)
	case index != 0:
		text += fmt.Sprintf(". The answer names raft entry %d", index)
	}
	return text
}
