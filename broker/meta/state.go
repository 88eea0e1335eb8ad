package meta

import (
	"cmp"
	"slices"

	"soak/broker/bugs"
)

// TopicID identifies one creation of a topic; it is never used again.
type TopicID = [16]byte

// NoLeader is a partition's leader when it has none.
const NoLeader int32 = -1

// State is the cluster's metadata. Both lists are sorted, which makes their order the canonical one. Readers must not modify it.
type State struct {
	Index   uint64    // of the last applied entry
	Chain   uint64    // hash chained over every change since the beginning
	Brokers []*Broker // ascending ID
	Topics  []*Topic  // ascending name

	NextProducerID uint64 // the id that the next idempotent producer gets: all below are taken

	byID map[TopicID]*Topic // for lookup only, never ranged over

	// For planted bugs alone: which are on, and the node that this state belongs to. A sound Apply reads neither.
	Bugs bugs.Set
	Self int32
}

// Broker is a registered broker.
type Broker struct {
	ID   int32
	Boot uint64 // boot id of its last registration
	Host string
	Port int32
}

// Topic is one topic. Partitions are indexed by partition number.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions []*Partition
	Configs    []Config // ascending key
}

// Config is one topic configuration value that was set.
type Config struct{ Key, Value string }

// Partition is the replicated state of one partition.
type Partition struct {
	Replicas       []int32 // in order of preference: Replicas[0] is the preferred leader
	ISR            []int32 // in-sync replicas, ascending, never empty
	Leader         int32   // NoLeader if none
	LeaderEpoch    int32   // rises with every change of leader, also to none
	PartitionEpoch int32   // rises with every change; commands are compare-and-set on it
}

// NewState returns the empty state.
func NewState() *State { return &State{byID: map[TopicID]*Topic{}} }

// Broker returns a broker by id, nil if it is not registered.
func (s *State) Broker(id int32) *Broker {
	i, ok := slices.BinarySearchFunc(s.Brokers, id, func(b *Broker, id int32) int { return cmp.Compare(b.ID, id) })
	if !ok {
		return nil
	}
	return s.Brokers[i]
}

// Topic returns a topic by name, nil if there is none.
func (s *State) Topic(name string) *Topic {
	i, ok := s.find(name)
	if !ok {
		return nil
	}
	return s.Topics[i]
}

// TopicByID returns a topic by id, nil if there is none (any more).
func (s *State) TopicByID(id TopicID) *Topic { return s.byID[id] }

// Partition returns a partition by topic id and number, nil if there is none.
func (s *State) Partition(id TopicID, p int32) *Partition {
	t := s.byID[id]
	if t == nil || p < 0 || int(p) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[p]
}

func (s *State) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.Topics, name, func(t *Topic, name string) int { return cmp.Compare(t.Name, name) })
}

// Config returns a configuration value that was set, and whether it was.
func (t *Topic) Config(key string) (string, bool) {
	for _, c := range t.Configs {
		if c.Key == key {
			return c.Value, true
		}
	}
	return "", false
}

// MinISR is min.insync.replicas: as set, otherwise 2, or 1 for a topic of one replica.
func (t *Topic) MinISR() int {
	if v, ok := t.Config("min.insync.replicas"); ok {
		n := 0
		for _, d := range v {
			if d < '0' || d > '9' || n > 1<<20 {
				return 2
			}
			n = n*10 + int(d-'0')
		}
		return n
	}
	if len(t.Partitions) > 0 && len(t.Partitions[0].Replicas) < 2 {
		return 1
	}
	return 2
}
