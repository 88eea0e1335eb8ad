package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"soak/chaos"
)

// Liveness is the phase after the faults in which a core of nodes is healed and must serve while the others stay broken. The zero value is
// none.
type Liveness struct {
	Core   []int32       // ids, ascending: a majority of the nodes, and not all
	Others string        // what keeps the others broken: kill, pause or partition (from clients too)
	Bound  time.Duration // from the healing of the core to its serving; 0: what the run loop reckons from session and interval
}

// On reports whether there is such a phase.
func (l Liveness) On() bool { return len(l.Core) > 0 }

// brokenBy are the kinds that can keep nodes broken for a whole phase.
var brokenBy = []string{chaos.Kill, chaos.Pause, chaos.Partition}

// NodesTarget is the target that names these nodes: "n1+n3".
func NodesTarget(ids []int32) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = fmt.Sprintf("n%d", id)
	}
	return strings.Join(names, "+")
}

// Rest is the nodes that are not of the core, ascending.
func (s *Scenario) Rest() []int32 {
	var ids []int32
	for id := int32(1); int(id) <= s.Nodes; id++ {
		if !slices.Contains(s.Liveness.Core, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// coreProblem says why the core cannot be in a cluster of this size, "" if it can.
func (s *Scenario) coreProblem() string {
	core := s.Liveness.Core
	switch n := len(core); {
	case n == 0:
		return ""
	case int(core[n-1]) > s.Nodes:
		return fmt.Sprintf("the cluster has %d nodes", s.Nodes)
	case 2*n <= s.Nodes:
		return fmt.Sprintf("%d of %d nodes are no majority: they cannot serve", n, s.Nodes)
	case n == s.Nodes:
		return "nobody is left to stay broken"
	}
	return ""
}

func (r *reader) liveness(n ast.Node, s *Scenario) Liveness {
	o := r.object(n, "liveness", "core", "others", "bound")
	l := Liveness{Others: o.word("others", brokenBy), Bound: o.duration("bound", 0, 0, maxInterval)}
	if l.Others == "" {
		l.Others = chaos.Kill
	}
	text := o.text("core", "")
	switch t, err := ParseTarget(text); {
	case err == nil && t.Role == "node":
		l.Core = []int32{t.Node}
	case err == nil && t.Role == "nodes":
		l.Core = t.Nodes
	default:
		r.fail(o.at("core"), "core: n1+n3", "liveness: core: %q: want a majority of the nodes by name", text)
		return l
	}
	c := *s
	c.Liveness = l
	if msg := c.coreProblem(); msg != "" {
		r.fail(o.at("core"), "core: n1+n3 of three nodes", "liveness: core: %q: %s", text, msg)
	}
	return l
}

// yaml writes the section, unless there is none.
func (l Liveness) yaml(p func(string, ...any)) {
	if !l.On() {
		return
	}
	p("liveness:\n  core: %s\n  others: %s\n", NodesTarget(l.Core), l.Others)
	if l.Bound > 0 {
		p("  bound: %s\n", l.Bound)
	}
}
