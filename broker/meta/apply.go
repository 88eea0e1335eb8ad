package meta

import (
	"slices"

	"soak/broker/bugs"
	"soak/history"
)

// Refusal says why a committed command changed nothing. The empty value: it was applied.
type Refusal string

const (
	TopicExists      Refusal = "topic already exists"
	UnknownTopic     Refusal = "unknown topic or partition"
	StaleEpoch       Refusal = "partition epoch is not the expected one"
	StaleLeaderEpoch Refusal = "leader epoch is not the partition's"
	StaleBoot        Refusal = "boot id is older than the registered one"
	StaleCount       Refusal = "the topic has another number of partitions than expected"
	InvalidCommand   Refusal = "the command contradicts itself"
)

// Result is what an applied command did.
type Result struct {
	Refused Refusal
	Changes []history.PartitionChange
	// Touched names the topic whose partitions changed; for a registration, several.
	Touched []Touched
	// Deleted is the topic that a DeleteTopic removed.
	Deleted *Topic
	// ProducerID is what a NewProducerID took.
	ProducerID int64
	Chain      uint64

	BugReached bool // a planted bug has changed what this command did
	Bug        bugs.Bug
}

// Touched is one partition that changed.
type Touched struct {
	Topic     *Topic
	Partition int32
}

// Apply applies the committed command at a raft index, once and in log order.
func (s *State) Apply(index uint64, c *Command) Result {
	s.Index = index
	var r Result
	switch {
	case c.Register != nil:
		s.register(c.Register, &r)
	case c.Create != nil:
		s.create(c.Create, &r)
	case c.Delete != nil:
		s.delete(c.Delete, &r)
	case c.Alter != nil:
		s.alter(c.Alter, &r)
	case c.SetLeader != nil:
		s.setLeader(c.SetLeader, &r)
	case c.ChangeISR != nil:
		s.changeISR(c.ChangeISR, &r)
	case c.Producer != nil:
		r.ProducerID = int64(s.NextProducerID)
		s.NextProducerID++
	case c.Grow != nil:
		s.grow(c.Grow, &r)
	}
	for _, t := range r.Touched {
		p := t.Topic.Partitions[t.Partition]
		r.Changes = append(r.Changes, history.PartitionChange{
			Topic: t.Topic.Name, Partition: t.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
			ISR: slices.Clone(p.ISR), Replicas: slices.Clone(p.Replicas),
		})
	}
	s.chain(c, &r)
	r.Chain = s.Chain
	return r
}

func (s *State) register(c *Register, r *Result) {
	old := s.Broker(c.Broker.ID)
	if old != nil && old.Boot > c.Broker.Boot {
		r.Refused = StaleBoot
		return
	}
	b := c.Broker
	newBoot := old != nil && old.Boot != b.Boot
	unclean := newBoot && old.Boot <= c.Unclean
	if old != nil {
		*old = b
	} else {
		i, _ := slices.BinarySearchFunc(s.Brokers, b.ID, func(x *Broker, id int32) int { return int(x.ID) - int(id) })
		s.Brokers = slices.Insert(s.Brokers, i, &b)
	}
	if !newBoot {
		return
	}
	for _, t := range s.Topics {
		for i, p := range t.Partitions {
			if unclean && slices.Contains(p.Replicas, b.ID) {
				// The new epoch also voids what is under way: a change of the ISR that was made for the boot that is over may hold this broker.
				p.leaveISR(b.ID)
				p.PartitionEpoch++
				r.Touched = append(r.Touched, Touched{t, int32(i)})
			}
			if p.Leader != b.ID {
				continue
			}
			// A broker never leads in an epoch that it was given in an earlier boot.
			if !slices.Contains(p.ISR, b.ID) {
				p.Leader = NoLeader
			}
			for _, m := range p.Replicas {
				if m != b.ID && slices.Contains(p.ISR, m) && slices.Contains(c.Live, m) {
					p.Leader = m
					break
				}
			}
			p.LeaderEpoch++
			if !unclean {
				p.PartitionEpoch++
				r.Touched = append(r.Touched, Touched{t, int32(i)})
			}
		}
	}
}

// leaveISR takes a broker out of the ISR unless it is the last member: that one is never removed, whatever it has lost.
func (p *Partition) leaveISR(id int32) {
	if len(p.ISR) > 1 {
		// Not in place: events and commands hold the list as it was.
		p.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(x int32) bool { return x == id })
	}
}

func (s *State) create(c *CreateTopic, r *Result) {
	i, exists := s.find(c.Name)
	if exists {
		r.Refused = TopicExists
		return
	}
	if s.byID[c.ID] != nil || len(c.Partitions) == 0 {
		r.Refused = InvalidCommand
		return
	}
	t := &Topic{Name: c.Name, ID: c.ID, Configs: slices.Clone(c.Configs)}
	for _, p := range c.Partitions {
		if !p.valid() {
			r.Refused = InvalidCommand
			return
		}
		if s.Bugs.Has(bugs.ApplyUsesLocalState) {
			r.BugReached, r.Bug = true, bugs.ApplyUsesLocalState
			k := int(s.Self) % len(p.Replicas)
			p.Replicas = slices.Concat(p.Replicas[k:], p.Replicas[:k])
		}
		t.Partitions = append(t.Partitions, &Partition{Replicas: p.Replicas, ISR: p.ISR, Leader: p.Leader})
	}
	s.Topics = slices.Insert(s.Topics, i, t)
	s.byID[t.ID] = t
	for p := range t.Partitions {
		r.Touched = append(r.Touched, Touched{t, int32(p)})
	}
}

func (p *NewPartition) valid() bool {
	return len(p.Replicas) > 0 && len(p.ISR) > 0 && (p.Leader == NoLeader || slices.Contains(p.ISR, p.Leader))
}

func (s *State) grow(c *AddPartitions, r *Result) {
	t := s.byID[c.Topic]
	switch {
	case t == nil:
		r.Refused = UnknownTopic
		return
	case len(t.Partitions) != int(c.From):
		r.Refused = StaleCount
		return
	case len(c.Partitions) == 0 || slices.ContainsFunc(c.Partitions, func(p NewPartition) bool { return !p.valid() }):
		r.Refused = InvalidCommand
		return
	}
	for _, p := range c.Partitions {
		r.Touched = append(r.Touched, Touched{t, int32(len(t.Partitions))})
		t.Partitions = append(t.Partitions, &Partition{Replicas: p.Replicas, ISR: p.ISR, Leader: p.Leader})
	}
}

func (s *State) delete(c *DeleteTopic, r *Result) {
	i, ok := s.find(c.Name)
	if !ok || c.ID != (TopicID{}) && s.Topics[i].ID != c.ID {
		r.Refused = UnknownTopic
		return
	}
	t := s.Topics[i]
	s.Topics = slices.Delete(s.Topics, i, i+1)
	delete(s.byID, t.ID)
	r.Deleted = t
	for p := range t.Partitions {
		r.Changes = append(r.Changes, history.PartitionChange{Topic: t.Name, Partition: int32(p), Leader: NoLeader, Gone: true})
	}
}

func (s *State) alter(c *AlterConfigs, r *Result) {
	t := s.Topic(c.Name)
	if t == nil {
		r.Refused = UnknownTopic
		return
	}
	for _, k := range c.Remove {
		t.Configs = slices.DeleteFunc(t.Configs, func(x Config) bool { return x.Key == k })
	}
	for _, kv := range c.Set {
		i, ok := slices.BinarySearchFunc(t.Configs, kv.Key, func(x Config, k string) int {
			switch {
			case x.Key < k:
				return -1
			case x.Key > k:
				return 1
			}
			return 0
		})
		if ok {
			t.Configs[i].Value = kv.Value
		} else {
			t.Configs = slices.Insert(t.Configs, i, kv)
		}
	}
}

func (s *State) setLeader(c *SetLeader, r *Result) {
	p := s.Partition(c.Topic, c.Partition)
	switch {
	case p == nil:
		r.Refused = UnknownTopic
		return
	case p.PartitionEpoch != c.ExpectedEpoch && s.Bugs.Has(bugs.SetLeaderNoCAS):
		r.BugReached, r.Bug = true, bugs.SetLeaderNoCAS
	case p.PartitionEpoch != c.ExpectedEpoch:
		r.Refused = StaleEpoch
		return
	case len(c.ISR) == 0 || c.Leader != NoLeader && !slices.Contains(c.ISR, c.Leader) || !subset(c.ISR, p.Replicas):
		r.Refused = InvalidCommand
		return
	}
	p.Leader, p.ISR = c.Leader, c.ISR
	p.LeaderEpoch++
	p.PartitionEpoch++
	r.Touched = append(r.Touched, Touched{s.byID[c.Topic], c.Partition})
}

func (s *State) changeISR(c *ChangeISR, r *Result) {
	p := s.Partition(c.Topic, c.Partition)
	switch {
	case p == nil:
		r.Refused = UnknownTopic
		return
	case p.PartitionEpoch != c.ExpectedEpoch:
		r.Refused = StaleEpoch
		return
	case p.LeaderEpoch != c.LeaderEpoch:
		r.Refused = StaleLeaderEpoch
		return
	case len(c.ISR) == 0 || p.Leader != NoLeader && !slices.Contains(c.ISR, p.Leader) || !subset(c.ISR, p.Replicas):
		r.Refused = InvalidCommand
		return
	}
	p.ISR = c.ISR
	p.PartitionEpoch++
	r.Touched = append(r.Touched, Touched{s.byID[c.Topic], c.Partition})
}

func subset(a, b []int32) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
