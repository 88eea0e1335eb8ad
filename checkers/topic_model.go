package checkers

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/anishathalye/porcupine"

	"soak/history"
)

// Kafka error codes that say what the state of a topic is.
const (
	codeNone          = 0
	codeUnknownTopic  = 3
	codeAlreadyExists = 36
)

// metaCall is one operation as the search sees it.
type metaCall struct {
	op        *history.Operation
	call, ret int64 // Unix ns
	open      bool  // the outcome is unknown: it takes effect at any time after its call, or never
}

func (m metaCall) writes() bool {
	return m.op.Meta.Kind != history.MetaDescribe && m.op.Meta.Kind != history.MetaRead
}

// words tell what was asked and answered.
func (m metaCall) words() string {
	meta := m.op.Meta
	what := meta.Kind
	switch meta.Kind {
	case history.MetaWrite:
		what = fmt.Sprintf("config_set %s=%q", meta.Config, meta.Value)
	case history.MetaRead:
		what = "config_get " + meta.Config
	}
	if m.op.Node != 0 {
		what += fmt.Sprintf(" at n%d", m.op.Node)
	}
	switch {
	case m.open && m.op.Outcome == history.OK && m.op.Complete != 0 && tells(meta):
		return what + " had not been answered yet" // when the history was cut off behind the answer in question
	case m.open:
		return what + " has no known outcome"
	case meta.Code == codeAlreadyExists:
		return what + " answered that the topic exists already"
	case absent(meta):
		return what + " answered that there is no such topic"
	case meta.Kind == history.MetaRead:
		return fmt.Sprintf("%s answered %q", what, meta.Value)
	case meta.TopicID != "":
		return what + " succeeded with topic id " + meta.TopicID
	}
	return what + " succeeded"
}

// absent reports whether an answer says that the topic is not there.
func absent(m *history.MetaOp) bool {
	return m.Code == codeUnknownTopic || m.Kind == history.MetaDescribe && !m.Exists
}

// explainable turns a name's operations into what an order must explain. Failed ones surely did nothing, and a
// read without an answer says nothing: they are left out.
func explainable(ops []*history.Operation) []metaCall {
	read := map[[2]string]bool{} // config, value
	for _, op := range ops {
		if op.Meta.Kind == history.MetaRead && op.Outcome == history.OK {
			read[[2]string{op.Meta.Config, op.Meta.Value}] = true
		}
	}
	var out []metaCall
	for _, op := range ops {
		c := metaCall{op: op, call: op.Invoke, ret: max(op.Complete, op.Invoke)}
		c.open = op.Outcome == history.Unknown || op.Complete == 0 || !tells(op.Meta)
		switch {
		case op.Outcome == history.Failed:
			continue
		case c.open && !c.writes():
			continue
		case c.open && op.Meta.Kind == history.MetaWrite && op.Meta.Value != "" && !read[[2]string{op.Meta.Config, op.Meta.Value}]:
			// Nobody ever read the value: an order in which it is written stays one without it.
			continue
		}
		out = append(out, c)
	}
	return out
}

// tells reports whether the code of an answer says what became of the operation.
func tells(m *history.MetaOp) bool {
	switch m.Kind {
	case history.MetaCreate:
		return m.Code == codeNone || m.Code == codeAlreadyExists
	case history.MetaDelete, history.MetaWrite, history.MetaDescribe, history.MetaRead:
		return m.Code == codeNone || m.Code == codeUnknownTopic
	}
	return false
}

// topicState is a topic name's state: absent (the zero value), or a topic with its id and its settings.
type topicState struct {
	exists  bool
	id      string // "" while no answer has told it
	configs string // "key\x00value\x00…", ascending keys
}

// topicModel is the sequential specification of one topic name. Porcupine keeps every state that it reaches, so states are
// numbered and kept once.
type topicModel struct {
	owned map[string]bool // ids that an answered creation gave: no other creation can have made them
	limit int

	mu      sync.Mutex // porcupine searches the names of a picture side by side
	steps   int
	states  []topicState
	numbers map[topicState]int
}

func newTopicModel(ops []metaCall, limit int) *topicModel {
	m := &topicModel{owned: map[string]bool{}, limit: limit, numbers: map[topicState]int{}}
	m.number(topicState{})
	for _, op := range ops {
		if meta := op.op.Meta; !op.open && meta.Kind == history.MetaCreate && meta.Code == codeNone && meta.TopicID != "" {
			m.owned[meta.TopicID] = true
		}
	}
	return m
}

func (m *topicModel) number(s topicState) int {
	n, ok := m.numbers[s]
	if !ok {
		n = len(m.states)
		m.states = append(m.states, s)
		m.numbers[s] = n
	}
	return n
}

// exhausted reports whether the search was cut by its budget of steps.
func (m *topicModel) exhausted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steps > m.limit
}

func (m *topicModel) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			m.mu.Lock()
			defer m.mu.Unlock()
			// Past the limit no step succeeds, so that the search ends at once; its answer is not used.
			if m.steps++; m.steps > m.limit {
				return false, state
			}
			ok, next := m.step(m.states[state.(int)], input.(metaCall))
			if !ok {
				return false, state
			}
			return true, m.number(next)
		},
		Hash:              func(state any) uint64 { return uint64(state.(int)) * 0x9e3779b97f4a7c15 },
		DescribeOperation: func(input, _ any) string { return input.(metaCall).words() },
		DescribeState: func(state any) string {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.states[state.(int)].String()
		},
	}
}

// operations is what porcupine is given. Open operations return after all others.
func (m *topicModel) operations(ops []metaCall) []porcupine.Operation {
	var end int64 = math.MinInt64
	for _, op := range ops {
		end = max(end, op.call, op.ret)
	}
	clients := map[string]int{}
	var out []porcupine.Operation
	for _, op := range ops {
		client, ok := clients[op.op.Client]
		if !ok || op.open { // an open operation overlaps the client's next ones, and gets a row of its own in a picture
			client = len(clients)
			name := op.op.Client
			if op.open {
				name = "open " + op.op.ID
			}
			clients[name] = client
		}
		ret := op.ret
		if op.open {
			ret = end + 1
		}
		out = append(out, porcupine.Operation{ClientId: client, Input: op, Call: op.call, Return: ret, Metadata: op.op.ID})
	}
	return out
}

// step is the specification: whether the operation can take effect in this state with this answer, and the state after it.
func (m *topicModel) step(s topicState, c metaCall) (bool, topicState) {
	meta := c.op.Meta
	if c.open {
		return true, effect(s, meta)
	}
	if meta.Kind == history.MetaCreate {
		if meta.Code == codeAlreadyExists {
			return s.exists, s
		}
		return !s.exists, effect(s, meta)
	}
	if absent(meta) {
		return !s.exists, s
	}
	if !s.exists {
		return false, s
	}
	s, ok := m.sameTopic(s, meta.TopicID)
	if !ok {
		return false, s
	}
	if meta.Kind == history.MetaRead {
		return s.config(meta.Config) == meta.Value, s
	}
	return true, effect(s, meta)
}

// sameTopic matches an id that an answer told with the state's. The first answer about a topic whose creation was never
// answered teaches its id.
func (m *topicModel) sameTopic(s topicState, id string) (topicState, bool) {
	switch {
	case id == "" || id == s.id:
		return s, true
	case s.id == "" && !m.owned[id]:
		s.id = id
		return s, true
	}
	return s, false
}

// effect is what an operation does if it does anything.
func effect(s topicState, m *history.MetaOp) topicState {
	switch m.Kind {
	case history.MetaCreate:
		if s.exists {
			return s
		}
		s = topicState{exists: true, id: m.TopicID}
		for key, value := range m.Configs {
			s = s.with(key, value)
		}
	case history.MetaDelete:
		return topicState{}
	case history.MetaWrite:
		if s.exists {
			s = s.with(m.Config, m.Value)
		}
	}
	return s
}

// pairs splits the settings.
func (s topicState) pairs() [][2]string {
	parts := strings.Split(s.configs, "\x00")
	var out [][2]string
	for i := 0; i+1 < len(parts); i += 2 {
		out = append(out, [2]string{parts[i], parts[i+1]})
	}
	return out
}

// config is a setting's value, "" if it is not set.
func (s topicState) config(key string) string {
	for _, p := range s.pairs() {
		if p[0] == key {
			return p[1]
		}
	}
	return ""
}

// with sets a setting; the empty value takes it away.
func (s topicState) with(key, value string) topicState {
	pairs := slices.DeleteFunc(s.pairs(), func(p [2]string) bool { return p[0] == key })
	if value != "" {
		pairs = append(pairs, [2]string{key, value})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var text strings.Builder
	for _, p := range pairs {
		text.WriteString(p[0] + "\x00" + p[1] + "\x00")
	}
	s.configs = text.String()
	return s
}

func (s topicState) String() string {
	if !s.exists {
		return "absent"
	}
	text := "exists"
	if s.id != "" {
		text += " " + s.id
	}
	for _, p := range s.pairs() {
		text += " " + p[0] + "=" + p[1]
	}
	return text
}
