package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/parser"
)

// Kinds lists the kinds of fault that a schedule may hold, in the order that help lists them.
func Kinds() []string { return slices.Clone(kinds) }

// maxWord bounds what ParseFault takes for one field.
const maxWord = 256

// ParseFault reads one fault, given field by field with the names and values of a scenario's YAML ("kind": "kill", "target": "n2", "for": "5s"),
// for a cluster of so many nodes whose topics are not known. It holds it to the same rules as a scenario's fault, of which it needs no time.
// Every error is an *Error.
func ParseFault(fields map[string]string, nodes int) (Fault, error) {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		if len(name) > maxWord || len(value) > maxWord {
			return Fault{}, &Error{Msg: fmt.Sprintf("the fault: a field of more than %d bytes", maxWord)}
		}
		// A JSON string is a YAML string, whatever is in it.
		n, _ := json.Marshal(name)
		v, err := json.Marshal(value)
		if err != nil {
			return Fault{}, &Error{Msg: fmt.Sprintf("the fault: %s: %v", name, err)}
		}
		text = append(text, string(n)+": "+string(v))
	}
	if _, given := fields["at"]; !given {
		text = append(text, `"at": "0"`)
	}
	tree, err := parser.ParseBytes([]byte("{"+strings.Join(text, ", ")+"}"), 0)
	if err != nil || len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return Fault{}, &Error{Msg: "the fault: its fields cannot be read", Hint: "name: value, with plain words"}
	}
	s := &Scenario{Nodes: nodes}
	if t, err := ParseTarget(fields["target"]); err == nil && t.Role == "leader" {
		s.Topics = []Topic{{Name: t.Topic, Partitions: t.Partition + 1}} // whether there is such a topic, the cluster will say
	}
	r := &reader{}
	f := r.fault(tree.Docs[0].Body, "the fault", s)
	if r.err != nil {
		r.err.Line, r.err.Col = 0, 0 // of a text that nobody wrote
		return Fault{}, r.err
	}
	return f, nil
}
