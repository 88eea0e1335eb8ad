package meta

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func ids() *rapid.Generator[[]int32] { return rapid.SliceOfN(rapid.Int32Range(1, 5), 1, 4) }

func configs() *rapid.Generator[[]Config] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Config {
		return Config{Key: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), Value: rapid.StringN(0, 5, 20).Draw(t, "value")}
	}), 0, 3)
}

func newPartitions() *rapid.Generator[[]NewPartition] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) NewPartition {
		r := ids().Draw(t, "replicas")
		return NewPartition{Replicas: r, ISR: r[:1], Leader: rapid.SampledFrom([]int32{NoLeader, r[0]}).Draw(t, "leader")}
	}), 0, 3)
}

// command generates any command over a few names and topics, so that they meet.
func command() *rapid.Generator[*Command] {
	return rapid.Custom(func(t *rapid.T) *Command {
		c := &Command{
			Proposer: rapid.Int32Range(1, 3).Draw(t, "proposer"), ProposerTerm: rapid.Uint64().Draw(t, "term"), ProposerBoot: rapid.Uint64Range(1, 9).Draw(t, "boot"),
			Attempt: rapid.Uint64().Draw(t, "attempt"), Via: rapid.Int32Range(0, 3).Draw(t, "via"), Cause: rapid.StringN(0, 5, 20).Draw(t, "cause"), Op: rapid.StringN(0, 5, 20).Draw(t, "op"),
		}
		name := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name")
		id := TopicID{rapid.Byte().Draw(t, "id")}
		epoch := rapid.Int32Range(0, 3).Draw(t, "epoch")
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			c.Register = &Register{Broker: Broker{ID: c.Proposer, Boot: c.ProposerBoot, Host: "h", Port: 9092}, Live: ids().Draw(t, "live"), Unclean: rapid.Uint64Range(0, 9).Draw(t, "unclean")}
		case 1:
			c.Create = &CreateTopic{Name: name, ID: id, Configs: configs().Draw(t, "configs"), Partitions: newPartitions().Draw(t, "partitions")}
		case 2:
			c.Delete = &DeleteTopic{Name: name}
		case 3:
			c.Alter = &AlterConfigs{Name: name, Set: configs().Draw(t, "set"), Remove: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 2).Draw(t, "remove")}
		case 4:
			c.SetLeader = &SetLeader{Topic: id, Name: name, Partition: rapid.Int32Range(-1, 3).Draw(t, "p"), ExpectedEpoch: epoch, Leader: rapid.Int32Range(-1, 5).Draw(t, "leader"), ISR: ids().Draw(t, "isr")}
		case 5:
			c.ChangeISR = &ChangeISR{Topic: id, Name: name, Partition: rapid.Int32Range(-1, 3).Draw(t, "p"), ExpectedEpoch: epoch, LeaderEpoch: rapid.Int32Range(0, 3).Draw(t, "le"), ISR: ids().Draw(t, "isr")}
		case 6:
			c.Producer = &NewProducerID{}
		case 7:
			c.Grow = &AddPartitions{Topic: id, Name: name, From: rapid.Int32Range(0, 3).Draw(t, "from"), Partitions: newPartitions().Draw(t, "partitions")}
		}
		return c
	})
}

func TestEveryCommandSurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := command().Draw(t, "command")
		got, err := Decode(c.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		// Cut anywhere, it is refused.
		b := c.Encode()
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := Decode(b[:cut]); !errors.Is(err, ErrDecode) {
			t.Fatalf("cut to %d of %d bytes: error %v", cut, len(b), err)
		}
	})
}

// Two nodes that apply the same commands agree at every index, and the invariants of partitions hold whatever is committed.
func TestApplyIsTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := NewState(), NewState()
		epochs := map[string][2]int32{} // topic id and partition → leader epoch, partition epoch
		for i, c := range rapid.SliceOfN(command(), 1, 40).Draw(t, "commands") {
			wire := c.Encode()
			ca, _ := Decode(wire)
			cb, _ := Decode(wire)
			before := a.Hash()
			ra, rb := a.Apply(uint64(i+1), ca), b.Apply(uint64(i+1), cb)
			if a.Hash() != b.Hash() || ra.Chain != rb.Chain || ra.Refused != rb.Refused {
				t.Fatalf("entry %d: the nodes differ", i+1)
			}
			if before == a.Hash() {
				t.Fatalf("entry %d left the state's hash as it was", i+1)
			}
			for _, topic := range a.Topics {
				for p, part := range topic.Partitions {
					key := fmt.Sprint(topic.ID, p)
					old := epochs[key]
					if part.LeaderEpoch < old[0] || part.PartitionEpoch < old[1] {
						t.Fatalf("entry %d: epochs of %s-%d went back", i+1, topic.Name, p)
					}
					epochs[key] = [2]int32{part.LeaderEpoch, part.PartitionEpoch}
					if len(part.ISR) == 0 || !subset(part.ISR, part.Replicas) {
						t.Fatalf("entry %d: %s-%d has ISR %v of replicas %v", i+1, topic.Name, p, part.ISR, part.Replicas)
					}
				}
			}
		}
	})
}

func newOrders(t *testing.T) (*State, TopicID) {
	t.Helper()
	s := NewState()
	for id := int32(1); id <= 3; id++ {
		s.Apply(uint64(id), &Command{Register: &Register{Broker: Broker{ID: id, Boot: 1}}})
	}
	id := TopicID{1}
	r := s.Apply(4, &Command{Create: &CreateTopic{Name: "orders", ID: id, Partitions: []NewPartition{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1}}}})
	if r.Refused != "" || len(r.Changes) != 1 {
		t.Fatalf("create: %+v", r)
	}
	return s, id
}

func TestLateAndDuplicateElectionsAreRefused(t *testing.T) {
	s, id := newOrders(t)
	elect := func(index uint64, epoch, leader int32) Refusal {
		return s.Apply(index, &Command{SetLeader: &SetLeader{Topic: id, Name: "orders", ExpectedEpoch: epoch, Leader: leader, ISR: []int32{2, 3}}}).Refused
	}
	if r := elect(5, 0, 2); r != "" {
		t.Fatal(r)
	}
	if r := elect(6, 0, 3); r != StaleEpoch {
		t.Fatalf("a second election for the same epoch: %q, want %q", r, StaleEpoch)
	}
	if p := s.Topic("orders").Partitions[0]; p.Leader != 2 || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 {
		t.Fatalf("%+v", p)
	}
}

func TestALeaderThatComesBackInANewBootGetsANewEpoch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		live   []int32
		leader int32
	}{
		{"another live member takes over", []int32{1, 3}, 3},
		{"alone it leads again, in a new epoch", []int32{1}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := newOrders(t)
			r := s.Apply(5, &Command{Register: &Register{Broker: Broker{ID: 1, Boot: 2}, Live: tc.live}})
			p := s.Topic("orders").Partitions[0]
			if p.Leader != tc.leader || p.LeaderEpoch != 1 || len(r.Changes) != 1 {
				t.Fatalf("partition %+v, changes %+v", p, r.Changes)
			}
			if r := s.Apply(6, &Command{Register: &Register{Broker: Broker{ID: 1, Boot: 1}}}); r.Refused != StaleBoot {
				t.Fatalf("registration of the earlier boot: %q", r.Refused)
			}
		})
	}
}

func TestATopicCreatedAnewHasNothingOfTheOldOne(t *testing.T) {
	s, id := newOrders(t)
	if r := s.Apply(5, &Command{Create: &CreateTopic{Name: "orders", ID: TopicID{2}, Partitions: []NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}}}); r.Refused != TopicExists {
		t.Fatalf("create again: %q", r.Refused)
	}
	s.Apply(6, &Command{Delete: &DeleteTopic{Name: "orders"}})
	if s.TopicByID(id) != nil || s.Topic("orders") != nil {
		t.Fatal("still there")
	}
	if r := s.Apply(7, &Command{ChangeISR: &ChangeISR{Topic: id, Name: "orders", ISR: []int32{1}}}); r.Refused != UnknownTopic {
		t.Fatalf("ISR change of the deleted topic: %q", r.Refused)
	}
}

func TestNoProducerIDIsGivenTwice(t *testing.T) {
	s, _ := newOrders(t)
	before := s.Hash()
	for i := range int64(3) {
		if r := s.Apply(uint64(5+i), &Command{Producer: &NewProducerID{}}); r.ProducerID != i {
			t.Fatalf("id %d given, want %d", r.ProducerID, i)
		}
	}
	if s.NextProducerID != 3 || s.Hash() == before {
		t.Fatalf("next id %d, want 3, and the hash must tell", s.NextProducerID)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&Command{Delete: &DeleteTopic{Name: "x"}}).Encode())
	f.Add((&Command{Create: &CreateTopic{Name: "x", Partitions: []NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}}}).Encode())
	f.Add((&Command{Producer: &NewProducerID{}}).Encode())
	f.Add((&Command{Grow: &AddPartitions{Name: "x", From: 1, Partitions: []NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}}}).Encode())
	f.Add([]byte{1, 2, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(c.Encode())
		if err != nil {
			t.Fatalf("its own encoding is refused: %v", err)
		}
		if d := cmp.Diff(c, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		NewState().Apply(1, c)
	})
}

// More partitions are added to the number that they were chosen for, and to the creation of the topic that they were chosen for.
func TestAddPartitions(t *testing.T) {
	s, id := newOrders(t)
	two := []NewPartition{{Replicas: []int32{2, 3, 1}, ISR: []int32{2, 3}, Leader: 2}, {Replicas: []int32{3, 1, 2}, ISR: []int32{1}, Leader: NoLeader}}
	for i, c := range []struct {
		grow  AddPartitions
		want  Refusal
		count int
	}{
		{AddPartitions{Topic: TopicID{9}, From: 1, Partitions: two}, UnknownTopic, 1},
		{AddPartitions{Topic: id, From: 2, Partitions: two}, StaleCount, 1},
		{AddPartitions{Topic: id, From: 1}, InvalidCommand, 1},
		{AddPartitions{Topic: id, From: 1, Partitions: []NewPartition{{Replicas: []int32{1, 2, 3}, ISR: []int32{1}, Leader: 2}}}, InvalidCommand, 1},
		{AddPartitions{Topic: id, From: 1, Partitions: two}, "", 3},
		{AddPartitions{Topic: id, From: 1, Partitions: two}, StaleCount, 3},
	} {
		r := s.Apply(uint64(10+i), &Command{Grow: &c.grow})
		if r.Refused != c.want || len(s.TopicByID(id).Partitions) != c.count {
			t.Errorf("case %d: refused %q, want %q; %d partitions", i, r.Refused, c.want, len(s.TopicByID(id).Partitions))
		}
		if r.Refused == "" && (len(r.Changes) != 2 || r.Changes[0].Partition != 1 || r.Changes[0].Leader != 2 || r.Changes[1].Leader != NoLeader) {
			t.Errorf("changes %+v", r.Changes)
		}
	}
	back, err := Restore(s.Snapshot())
	if err != nil || back.Hash() != s.Hash() {
		t.Errorf("through a snapshot: %v", err)
	}
}
