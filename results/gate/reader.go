package gate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"soak/internal/nearest"
	"soak/results"
)

// reader walks the YAML tree and keeps the first error with its place, as chaos/scenario does.
type reader struct {
	file string
	now  time.Time
	err  *results.Problem
}

func (r *reader) fail(n ast.Node, hint, format string, args ...any) {
	if r.err != nil {
		return
	}
	at, col := line(n), 1
	if t := token(n); t != nil && t.GetToken() != nil && t.GetToken().Position != nil {
		col = t.GetToken().Position.Column
	}
	r.err = problem(r.file, max(1, at), col, fmt.Sprintf(format, args...), hint)
}

// token is where a person looks for a node: a mapping's first key, not its first colon.
func token(n ast.Node) ast.Node {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key
	}
	return n
}

func line(n ast.Node) int {
	if n = token(n); n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// object is a mapping with known fields only.
type object struct {
	r      *reader
	node   ast.Node
	what   string
	fields map[string]ast.Node
}

func (r *reader) object(n ast.Node, what string, known ...string) object {
	o := object{r: r, node: n, what: what, fields: map[string]ast.Node{}}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.fail(n, "fields: "+strings.Join(known, ", "), "%s: want fields (name: value)", what)
		return o
	}
	for _, field := range m.Values {
		name := r.word(field.Key, what)
		if !slices.Contains(known, name) {
			hint := "fields: " + strings.Join(known, ", ")
			if near := nearest.Word(name, known); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			r.fail(field.Key, hint, "%s: unknown field %q", what, name)
			return o
		}
		o.fields[name] = field.Value
	}
	return o
}

func (o object) get(name string) ast.Node { return o.fields[name] }

func (o object) at(name string) ast.Node {
	if n := o.get(name); n != nil {
		return n
	}
	return o.node
}

// word is the text of a single value.
func (r *reader) word(n ast.Node, what string) string {
	switch v := n.(type) {
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value)
	case *ast.StringNode:
		return v.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	r.fail(n, "write one word or number; what has spaces or signs goes into quotes", "%s: want a single value", what)
	return ""
}

func (o object) text(name, otherwise string) string {
	n := o.get(name)
	if n == nil {
		return otherwise
	}
	return o.r.word(n, o.what+": "+name)
}

func (o object) number(name string, otherwise, low, high int) int {
	n := o.get(name)
	if n == nil {
		return otherwise
	}
	t := o.r.word(n, o.what+": "+name)
	v, err := strconv.Atoi(strings.ReplaceAll(t, "_", ""))
	if err != nil || v < low || v > high {
		o.r.fail(n, fmt.Sprintf("write it as in %s: %d; docs/gate.md says what it means", name, max(low, 1)), "%s: %s: %q is not a whole number between %d and %d", o.what, name, t, low, high)
	}
	return v
}

func (r *reader) unsigned(n ast.Node, what string) uint64 {
	t := r.word(n, what)
	v, err := strconv.ParseUint(t, 10, 64)
	if err != nil {
		r.fail(n, "a run prints its seed: seeds: [7, 8]", "%s: %q is not a whole number from 0 on", what, t)
	}
	return v
}

func (o object) duration(name string) time.Duration {
	n := o.get(name)
	if n == nil {
		return 0
	}
	t := o.r.word(n, o.what+": "+name)
	d, err := time.ParseDuration(t)
	if err != nil || d <= 0 {
		o.r.fail(n, "write it as in 90s, 30m or 8h", "%s: %s: %q is not a duration of more than nothing", o.what, name, t)
	}
	return d
}

func (o object) list(name string) []ast.Node {
	n := o.get(name)
	if n == nil {
		return nil
	}
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	o.r.fail(n, "begin each item with a dash, or write [a, b]", "%s: %s: want a list", o.what, name)
	return nil
}

func (o object) words(name string) []string {
	var out []string
	for _, n := range o.list(name) {
		out = append(out, o.r.word(n, o.what+": "+name))
	}
	return out
}
