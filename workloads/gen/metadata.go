package gen

import (
	"fmt"
	"strconv"

	"soak/history"
)

// MetadataConfig configures NewMetadata. All fields but Seed are required.
type MetadataConfig struct {
	Seed        uint64
	Nodes       int // requests go to nodes 1..Nodes
	Rate        int // operations a second
	Clients     int // at least 2: overlaps need two
	Names       int // in use at one time
	Replication int16
	Start       int64
}

const (
	// A checker's work on one name grows faster than its operations, and with its unknown outcomes most of all.
	nameOperations = 200
	nameUnknowns   = 5

	configKey = "retention.ms"
	// Values are distinct over the run, and none is below an hour: no broker would delete for them in a run.
	firstConfigValue = 3_600_000
)

// Metadata generates the metadata workload. In each slot two clients ask about the same name at the same instant at
// different nodes: that makes overlaps by construction. Each operation is sent once, whatever comes of it.
type Metadata struct {
	c        MetadataConfig
	rand     *Rand
	pace     pace
	missed   Missed
	clients  []metaClient
	names    []metaName
	made     int // names so far
	value    int64
	node     int // node's turn
	turn     int // name's turn
	ops      uint64
	underWay map[string]metaSlot
}

type metaClient struct{ busy, down bool }

type metaName struct {
	name     string
	number   int
	ops      int
	unknowns int
	exists   bool // as the last answer had it: only the mix of operations depends on it
}

type metaSlot struct{ client, name, number int }

// NewMetadata checks the configuration.
func NewMetadata(c MetadataConfig) (*Metadata, error) {
	if c.Rate < 1 || c.Clients < 2 || c.Names < 1 || c.Nodes < 1 || c.Replication < 1 {
		return nil, fmt.Errorf("metadata workload: %d operations a second from %d clients on %d names at %d nodes: want at least 1 from 2 on 1 at 1",
			c.Rate, c.Clients, c.Names, c.Nodes)
	}
	m := &Metadata{
		c: c, rand: NewRand(c.Seed), underWay: map[string]metaSlot{}, value: firstConfigValue,
		pace:    pace{period: max(1, 2_000_000_000/int64(c.Rate)), next: c.Start},
		clients: make([]metaClient, c.Clients),
		names:   make([]metaName, c.Names),
	}
	for i := range m.names {
		m.names[i] = m.newName()
	}
	return m, nil
}

func (m *Metadata) newName() metaName {
	n := metaName{name: fmt.Sprintf("meta-%d-%d", m.c.Seed, m.made), number: m.made}
	m.made++
	return n
}

// Next is what is due now, and when to ask again.
func (m *Metadata) Next(now int64) (ops []*history.Operation, wake int64) {
	serve, late := m.pace.due(now)
	m.missed.add(2*late, m.pace.period/2)
	for range serve {
		pair := m.pair(now)
		m.missed.add(int64(2-len(pair)), m.pace.period/2)
		ops = append(ops, pair...)
	}
	return ops, m.pace.next
}

// pair is two operations on one name; one if only one client is idle, none if none is.
func (m *Metadata) pair(now int64) []*history.Operation {
	at := m.turn
	m.turn = (m.turn + 1) % len(m.names)
	var ops []*history.Operation
	for client := range m.clients {
		if len(ops) == 2 {
			break
		}
		if m.clients[client].busy || m.clients[client].down {
			continue
		}
		m.retire(at)
		ops = append(ops, m.one(now, client, at))
	}
	return ops
}

// retire replaces a name that has had enough.
func (m *Metadata) retire(at int) {
	if n := &m.names[at]; n.ops >= nameOperations || n.unknowns >= nameUnknowns {
		m.names[at] = m.newName()
	}
}

func (m *Metadata) one(now int64, client, at int) *history.Operation {
	name := &m.names[at]
	name.ops++
	m.clients[client].busy = true
	meta := &history.MetaOp{Name: name.name, Owner: "metadata"}
	meta.Kind = m.choose(name.exists)
	switch meta.Kind {
	case history.MetaCreate:
		meta.Partitions, meta.Replication = 1, m.c.Replication
	case history.MetaWrite:
		m.value++
		meta.Config, meta.Value = configKey, strconv.FormatInt(m.value, 10)
	case history.MetaRead:
		meta.Config = configKey
	}
	op := &history.Operation{
		ID:     fmt.Sprintf("m%d", m.ops),
		Client: metadataName(client),
		Node:   int32(m.node + 1),
		Invoke: now,
		Meta:   meta,
	}
	m.ops++
	m.node = (m.node + 1) % m.c.Nodes
	m.underWay[op.ID] = metaSlot{client: client, name: at, number: name.number}
	return op
}

// The mix, in parts of a hundred. A name that exists is mostly worked with, an absent one mostly created; the other way round
// happens too, since the matching error is an answer to be checked as well.
var (
	mixExists = []share{{history.MetaDescribe, 28}, {history.MetaWrite, 26}, {history.MetaRead, 26}, {history.MetaDelete, 12}, {history.MetaCreate, 8}}
	mixAbsent = []share{{history.MetaCreate, 55}, {history.MetaDescribe, 20}, {history.MetaRead, 10}, {history.MetaWrite, 10}, {history.MetaDelete, 5}}
)

type share struct {
	kind  string
	parts int
}

func (m *Metadata) choose(exists bool) string {
	mix := mixAbsent
	if exists {
		mix = mixExists
	}
	n := m.rand.Intn(100)
	for _, s := range mix {
		if n -= s.parts; n < 0 {
			return s.kind
		}
	}
	panic("gen: the shares of the metadata mix do not add up to 100")
}

const (
	codeNone          = 0
	codeUnknownTopic  = 3
	codeAlreadyExists = 36
)

func metadataName(client int) string { return fmt.Sprintf("%s-%d", MetadataClient, client+1) }

// Crash has the clients that are meant ask for nothing until Restart. Operations under way come back by Done as always.
func (m *Metadata) Crash(who string) { m.setDown(who, true) }

// Restart has the clients that are meant go on.
func (m *Metadata) Restart(who string) { m.setDown(who, false) }

func (m *Metadata) setDown(who string, down bool) {
	for i := range m.clients {
		if Meant(who, metadataName(i)) {
			m.clients[i].down = down
		}
	}
}

// Done takes an operation back. One that is not under way is ignored.
func (m *Metadata) Done(_ int64, op *history.Operation) {
	slot, ok := m.underWay[op.ID]
	if !ok {
		return
	}
	delete(m.underWay, op.ID)
	m.clients[slot.client].busy = false
	name := &m.names[slot.name]
	if name.number != slot.number || op.Meta == nil {
		return // retired meanwhile
	}
	if op.Outcome == history.Unknown {
		name.unknowns++
	}
	if op.Outcome != history.OK {
		return
	}
	switch code := op.Meta.Code; {
	case code == codeUnknownTopic:
		name.exists = false
	case code == codeAlreadyExists:
		name.exists = true
	case code != codeNone:
	case op.Meta.Kind == history.MetaDelete:
		name.exists = false
	case op.Meta.Kind == history.MetaDescribe:
		name.exists = op.Meta.Exists
	default:
		name.exists = true
	}
}

// InFlight is how many operations are under way.
func (m *Metadata) InFlight() int { return len(m.underWay) }

// Missed is the load that was due and not sent.
func (m *Metadata) Missed() Missed { return m.missed }
