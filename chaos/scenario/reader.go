package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"soak/internal/nearest"
)

// reader walks the YAML tree and keeps the first error with its place. After an error every answer is a zero value, so
// that callers read straight on and look once at the end.
type reader struct {
	file string
	err  *Error
}

// fail records what is wrong at a node, unless something was wrong before.
func (r *reader) fail(n ast.Node, hint, format string, args ...any) {
	if r.err != nil {
		return
	}
	r.err = &Error{File: r.file, Line: 1, Col: 1, Msg: fmt.Sprintf(format, args...), Hint: hint}
	if n == nil {
		return
	}
	// A mapping's own token is its first colon; its first key is where a person looks.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		r.err.Line, r.err.Col = t.Position.Line, t.Position.Column
	}
}

// object is a mapping whose fields are taken out one by one.
type object struct {
	r      *reader
	node   ast.Node
	what   string // for messages: "the scenario", "fault 2"
	fields []*ast.MappingValueNode
}

// object reads n as a mapping that has only the fields known.
func (r *reader) object(n ast.Node, what string, known ...string) object {
	o := object{r: r, node: n, what: what}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.fail(n, "", "%s: want fields (name: value)", what)
		return o
	}
	for _, field := range m.Values {
		key, ok := field.Key.(*ast.StringNode)
		if !ok {
			r.fail(field.Key, "", "%s: a field's name must be a plain word", what)
			return o
		}
		if !contains(known, key.Value) {
			hint := "fields: " + strings.Join(known, ", ")
			if near := nearest.Word(key.Value, known); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			r.fail(field.Key, hint, "%s: unknown field %q", what, key.Value)
			return o
		}
	}
	o.fields = m.Values
	return o
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// get is the value of a field, nil if it is not there.
func (o object) get(name string) ast.Node {
	for _, field := range o.fields {
		if key, ok := field.Key.(*ast.StringNode); ok && key.Value == name {
			return field.Value
		}
	}
	return nil
}

// at is the field's node if it is there, else the object's: where to point in an error.
func (o object) at(name string) ast.Node {
	if n := o.get(name); n != nil {
		return n
	}
	return o.node
}

// scalar is the text of a field; false if it is not there.
func (o object) scalar(name string) (string, ast.Node, bool) {
	n := o.get(name)
	switch v := n.(type) {
	case nil:
		return "", nil, false
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value), n, true
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, n, true
	}
	o.r.fail(n, "", "%s: %s: want a single value", o.what, name)
	return "", nil, false
}

func (o object) text(name, otherwise string) string {
	if t, _, ok := o.scalar(name); ok {
		return t
	}
	return otherwise
}

// number reads an integer within bounds.
func (o object) number(name string, otherwise, low, high int) int {
	t, n, ok := o.scalar(name)
	if !ok {
		return otherwise
	}
	v, err := strconv.Atoi(strings.ReplaceAll(t, "_", ""))
	if err != nil {
		hint := ""
		if strings.Contains(name, "bytes") {
			hint = "write it in bytes, as in 65536 for 64 KiB"
		}
		o.r.fail(n, hint, "%s: %s: %q is not a whole number", o.what, name, t)
		return otherwise
	}
	if v < low || v > high {
		o.r.fail(n, "", "%s: %s: %d is not between %d and %d", o.what, name, v, low, high)
		return otherwise
	}
	return v
}

// duration reads a Go duration within bounds.
func (o object) duration(name string, otherwise, low, high time.Duration) time.Duration {
	t, n, ok := o.scalar(name)
	if !ok {
		return otherwise
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		o.r.fail(n, "write it as in 2s, 500ms or 1m30s", "%s: %s: %q is not a duration", o.what, name, t)
		return otherwise
	}
	if d < low || d > high {
		o.r.fail(n, "", "%s: %s: %s is not between %s and %s", o.what, name, d, low, high)
		return otherwise
	}
	return d
}

// unsigned reads a 64-bit number, as seeds are; 0 if it is not there.
func (o object) unsigned(name string) uint64 {
	t, n, ok := o.scalar(name)
	if !ok {
		return 0
	}
	v, err := strconv.ParseUint(t, 10, 64)
	if err != nil {
		o.r.fail(n, "", "%s: %s: %q is not a whole number from 0 on", o.what, name, t)
	}
	return v
}

func (o object) span(name string) Span {
	t, n, ok := o.scalar(name)
	if !ok {
		return Span{}
	}
	s, err := parseSpan(t)
	if err != nil {
		o.r.fail(n, "", "%s: %s: %v", o.what, name, err)
	}
	return s
}

func (o object) flag(name string) bool {
	t, n, ok := o.scalar(name)
	if ok && t != "true" && t != "false" {
		o.r.fail(n, "", "%s: %s: want true or false", o.what, name)
	}
	return t == "true"
}

// word reads one of a few words; "" if it is not there.
func (o object) word(name string, known []string) string {
	t, n, ok := o.scalar(name)
	if !ok || contains(known, t) {
		return t
	}
	hint := "known: " + strings.Join(known, ", ")
	if near := nearest.Word(t, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	o.r.fail(n, hint, "%s: unknown %s %q", o.what, name, t)
	return ""
}

// list is the items of a field that is a sequence.
func (o object) list(name string) []ast.Node {
	n := o.get(name)
	if n == nil {
		return nil
	}
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	o.r.fail(n, "begin each item with a dash", "%s: %s: want a list", o.what, name)
	return nil
}
