package watch

import (
	"fmt"
	"slices"
	"strings"

	"soak/chaos/runloop"
	"soak/cmd/soak/internal/show"
	"soak/history"
)

// nodeStates is what is known of the nodes from what they and the runner said.
type nodeStates struct {
	ids  []int32 // in order
	down map[int32]bool
}

func (n *nodeStates) event(e *history.Event) {
	switch b := e.Body.(type) {
	case *history.Started:
		n.see(e.Node)
		for _, id := range b.Nodes {
			n.see(id)
		}
		delete(n.down, e.Node)
	case *history.Exit:
		n.see(b.Of)
		if n.down == nil {
			n.down = make(map[int32]bool)
		}
		n.down[b.Of] = true
	}
}

func (n *nodeStates) see(id int32) {
	if id <= 0 {
		return
	}
	if at, found := slices.BinarySearch(n.ids, id); !found {
		n.ids = slices.Insert(n.ids, at, id)
	}
}

// stateOf says what a kind of fault makes of the nodes that it is aimed at.
var stateOf = map[string]string{
	"kill": "killed", "stop": "stopped", "restart-all": "restarting", "rolling-restart": "restarting", "crash-loop": "crashing", "power-loss": "without power",
	"pause": "paused", "partition": "cut off", "partition-one-way": "cut off one way", "bridge": "cut off one", "all-apart": "alone", "partition-clients": "no clients",
	"flapping-partition": "cut off, flapping", "connection-reset": "reset", "link-delay": "slow links", "bandwidth": "narrow links", "packet-loss": "losing packets",
	"disk-full": "disk full", "write-error": "cannot write", "fsync-error": "cannot sync", "read-error": "cannot read", "slow-disk": "slow disk", "disk-crash": "disk crashed",
	"bit-rot": "rotting", "clock-jump": "clock jumped", "clock-rate": "wrong clock", "slow-node": "slow",
}

// row gives every node with its state: who leads, who is down, what is done to it.
func (n *nodeStates) row(s runloop.Status, style show.Style) string {
	if len(n.ids) == 0 {
		return "nodes    starting"
	}
	parts := make([]string, 0, len(n.ids))
	for _, id := range n.ids {
		parts = append(parts, n.node(id, s, style))
	}
	text := "nodes    " + strings.Join(parts, "   ")
	if s.RaftLeader == 0 {
		text += "   no leader"
	}
	return text
}

func (n *nodeStates) node(id int32, s runloop.Status, style show.Style) string {
	var states []string
	mark := "○"
	if s.RaftLeader == id {
		mark = "●"
		states = append(states, fmt.Sprintf("leads term %d", s.Term))
	}
	for i := range s.Active {
		f := &s.Active[i]
		if f.Proven() && slices.Contains(f.Nodes, id) {
			state, known := stateOf[f.Kind]
			if !known {
				state = f.Kind
			}
			states = append(states, state)
		}
	}
	if n.down[id] {
		mark = "✗"
		if len(states) == 0 {
			states = append(states, "down")
		}
	}
	if len(states) == 0 {
		states = append(states, "follows")
	}
	if style.ASCII {
		mark = map[string]string{"○": "o", "●": "*", "✗": "x"}[mark]
	}
	return fmt.Sprintf("%s n%d %s", mark, id, strings.Join(states, ", "))
}

// linkState is what the active faults make of the link of two nodes.
type linkState int

const (
	whole linkState = iota
	slowed
	oneWay
	cut
)

// links names the links between nodes that are not whole.
func (n *nodeStates) links(active []history.Fault, style show.Style) string {
	var broken []string
	for i, a := range n.ids {
		for _, b := range n.ids[i+1:] {
			if l := link(a, b, active); l != whole {
				broken = append(broken, fmt.Sprintf("n%d %s n%d", a, linkMark(l, style.ASCII), b))
			}
		}
	}
	for i := range active {
		f := &active[i]
		if f.Proven() && (f.Clients || f.Kind == "partition-clients") {
			for _, id := range f.Nodes {
				broken = append(broken, fmt.Sprintf("clients %s n%d", linkMark(cut, style.ASCII), id))
			}
		}
	}
	if len(broken) == 0 {
		return "  all whole"
	}
	return "  " + strings.Join(broken, "   ")
}

func linkMark(l linkState, ascii bool) string {
	switch {
	case l == cut && ascii:
		return "-x-"
	case l == cut:
		return "─╳─"
	case l == oneWay && ascii:
		return "-?-"
	case l == oneWay:
		return "─◂╳"
	case ascii:
		return "-~-"
	}
	return "─~─"
}

// link is the worst that a proven fault does to the link of a and b.
func link(a, b int32, active []history.Fault) linkState {
	worst := whole
	for i := range active {
		f := &active[i]
		if !f.Proven() {
			continue
		}
		hitA, hitB := slices.Contains(f.Nodes, a), slices.Contains(f.Nodes, b)
		state := whole
		switch f.Kind {
		case "partition", "flapping-partition":
			if hitA != hitB {
				state = cut
			}
		case "all-apart":
			state = cut
		case "bridge":
			if hitA && hitB {
				state = cut
			}
		case "partition-one-way":
			if hitA != hitB {
				state = oneWay
			}
		case "link-delay", "bandwidth", "packet-loss":
			if hitA || hitB {
				state = slowed
			}
		}
		worst = max(worst, state)
	}
	return worst
}
