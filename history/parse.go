package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// newBody holds one constructor a kind; a kind that is not here is unknown to this version.
var newBody = map[string]func() Body{
	"started":      func() Body { return new(Started) },
	"role":         func() Body { return new(RoleChange) },
	"leader_check": func() Body { return new(LeaderCheck) },
	"propose":      func() Body { return new(Propose) },
	"apply":        func() Body { return new(Apply) },
	"state_hash":   func() Body { return new(StateHash) },
	"snapshot":     func() Body { return new(Snapshot) },
	"partition":    func() Body { return new(Partition) },
	"session":      func() Body { return new(Session) },
	"claim":        func() Body { return new(Claim) },
	"read":         func() Body { return new(Read) },
	"bug":          func() Body { return new(Bug) },
	"exit":         func() Body { return new(Exit) },
	"log_line":     func() Body { return new(LogLine) },
	"stall":        func() Body { return new(Stall) },
}

// head is what events have in common. "time" is the event's nanoseconds in events.jsonl; in a log line it is the text
// that log/slog writes, and "t" has the nanoseconds.
type head struct {
	Event *string         `json:"event"`
	Node  int32           `json:"node"`
	Boot  uint64          `json:"boot"`
	Seq   uint64          `json:"seq"`
	Time  json.RawMessage `json:"time"`
	T     *int64          `json:"t"`
}

var eventKey = []byte(`"event"`)

// ParseEvent reads one line that AppendEvent or AppendLogLine wrote. The bool is false where the line is no event: text,
// a log line of another kind, or an event of a kind that this version does not know. It is an error where the line
// claims to be an event and cannot be read as one: cut JSON, a field of a wrong type, no time, a negative node.
// Unknown fields are passed over, so that a newer broker can be read. The event keeps no reference to line.
func ParseEvent(line []byte) (Event, bool, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || !bytes.Contains(line, eventKey) {
		return Event{}, false, nil
	}
	var h head
	if err := json.Unmarshal(line, &h); err != nil {
		return Event{}, false, fmt.Errorf("reading an event: %w", err)
	}
	if h.Event == nil {
		return Event{}, false, nil
	}
	newKind, ok := newBody[*h.Event]
	if !ok {
		return Event{}, false, nil
	}
	e := Event{Node: h.Node, Boot: h.Boot, Seq: h.Seq, Body: newKind()}
	if err := h.check(&e); err != nil {
		return Event{}, false, fmt.Errorf("reading a %s event: %w", *h.Event, err)
	}
	if err := json.Unmarshal(line, e.Body); err != nil {
		return Event{}, false, fmt.Errorf("reading a %s event: %w", *h.Event, err)
	}
	return e, true, nil
}

func (h *head) check(e *Event) error {
	if h.Node < 0 {
		return fmt.Errorf("node is %d", h.Node)
	}
	switch {
	case h.T != nil:
		e.Time = *h.T
	case h.Time == nil || string(h.Time) == "null":
		return errors.New("it has no time")
	default:
		if err := json.Unmarshal(h.Time, &e.Time); err != nil {
			return fmt.Errorf("its time is not in nanoseconds: %w", err)
		}
	}
	return nil
}
