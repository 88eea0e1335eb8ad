package gen

import (
	"fmt"

	"soak/history"
)

// How an auto-create operation reaches its topic.
const (
	HowProduce = "produce" // a single Produce request straight to the node
	HowWriter  = "writer"  // kafka-go's Writer bound to the node, whose Metadata request creates the topic
)

// AutocreateConfig configures NewAutocreate.
type AutocreateConfig struct {
	Seed      uint64
	PerMinute int // new topics a minute, at least 1
	Start     int64
}

// OwnerAutocreate is the owner of the operations that delete what the workload has created.
const OwnerAutocreate = "autocreate"

// autocreateKept is how many of its topics the workload leaves: each new one has the oldest deleted. Otherwise a night would end with ten thousand, of which
// every failover moves a third, and what the brokers do and tell would grow with the square of the run's length.
const autocreateKept = 200

// autocreateInFlight bounds operations under way: a few stuck at a node that does not answer must not stop the others.
const autocreateInFlight = 16

// Autocreate generates produces to topics that do not exist yet, each name used once, at followers only: a broker that
// confuses "there is a leader" with "I am the leader" is wrong there.
type Autocreate struct {
	c         AutocreateConfig
	pace      pace
	missed    Missed
	followers []int32
	made      int
	underWay  map[string]bool
	down      bool
}

// NewAutocreate checks the configuration.
func NewAutocreate(c AutocreateConfig) (*Autocreate, error) {
	if c.PerMinute < 1 {
		return nil, fmt.Errorf("autocreate workload: %d topics a minute: want at least 1", c.PerMinute)
	}
	return &Autocreate{c: c, underWay: map[string]bool{}, pace: pace{period: max(1, 60_000_000_000/int64(c.PerMinute)), next: c.Start}}, nil
}

// SetFollowers says which nodes are followers of a known raft leader and can be reached, in a fixed order. With none, slots are missed.
func (a *Autocreate) SetFollowers(nodes []int32) { a.followers = append(a.followers[:0], nodes...) }

// Next is what is due now, and when to ask again.
func (a *Autocreate) Next(now int64) (ops []*history.Operation, wake int64) {
	serve, late := a.pace.due(now)
	a.missed.add(late, a.pace.period)
	for range serve {
		if a.down || len(a.followers) == 0 || len(a.underWay) >= autocreateInFlight {
			a.missed.add(1, a.pace.period)
			continue
		}
		how := HowProduce
		if a.made%2 == 1 {
			how = HowWriter
		}
		op := &history.Operation{
			ID:     fmt.Sprintf("c%d", a.made),
			Client: AutocreateClient,
			// Both ways meet every follower: the node's turn moves on every second topic.
			Node:   a.followers[a.made/2%len(a.followers)],
			Invoke: now,
			Create: &history.AutoCreateOp{Topic: a.topic(a.made), How: how},
		}
		a.made++
		a.underWay[op.ID] = true
		ops = append(ops, op)
		if a.made > autocreateKept {
			ops = append(ops, a.retire(a.made-1-autocreateKept, op.Node, now))
		}
	}
	return ops, a.pace.next
}

func (a *Autocreate) topic(n int) string { return fmt.Sprintf("auto-%d-%d", a.c.Seed, n) }

// retire is the deletion of the n-th topic. It is asked for once, like everything that changes metadata: one that fails leaves a topic more.
func (a *Autocreate) retire(n int, node int32, now int64) *history.Operation {
	op := &history.Operation{
		ID: fmt.Sprintf("a%d", n), Client: AutocreateClient, Node: node, Invoke: now,
		Meta: &history.MetaOp{Kind: history.MetaDelete, Name: a.topic(n), Owner: OwnerAutocreate},
	}
	a.underWay[op.ID] = true
	return op
}

// Crash has the client ask for nothing until Restart, if it is meant. Operations under way come back by Done as always.
func (a *Autocreate) Crash(who string) { a.down = a.down || Meant(who, AutocreateClient) }

// Restart has the client go on, if it is meant.
func (a *Autocreate) Restart(who string) { a.down = a.down && !Meant(who, AutocreateClient) }

// Done takes an operation back. One that is not under way is ignored.
func (a *Autocreate) Done(_ int64, op *history.Operation) { delete(a.underWay, op.ID) }

// InFlight is how many operations are under way.
func (a *Autocreate) InFlight() int { return len(a.underWay) }

// Missed is the load that was due and not sent.
func (a *Autocreate) Missed() Missed { return a.missed }
