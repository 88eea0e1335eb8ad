package meta

import (
	"slices"
	"testing"
)

// A broker that may have lost records that counted as replicated leaves every ISR that has another member, and leads nothing in which it is not.
func TestAnUncleanBrokerLeavesTheISRs(t *testing.T) {
	for _, tc := range []struct {
		name           string
		id             int32
		isr            []int32
		unclean        uint64
		live           []int32
		leader         int32
		want           []int32
		leaderEpoch    int32
		partitionEpoch int32
	}{
		{"the leader: another live member leads", 1, []int32{1, 2, 3}, 1, []int32{1, 3}, 3, []int32{2, 3}, 2, 2},
		{"the leader, and no other member lives: none leads", 1, []int32{1, 2, 3}, 1, []int32{1}, NoLeader, []int32{2, 3}, 2, 2},
		{"a follower: the leader stays", 2, []int32{1, 2, 3}, 1, []int32{1, 2, 3}, 1, []int32{1, 3}, 1, 2},
		{"the last member is never removed", 1, []int32{1}, 1, []int32{1, 2, 3}, 1, []int32{1}, 2, 2},
		{"outside of the ISR: what is under way for its old boot is void", 3, []int32{1, 2}, 1, []int32{1, 2, 3}, 1, []int32{1, 2}, 1, 2},
		{"what was unclean is older than what is registered", 2, []int32{1, 2, 3}, 0, []int32{1, 2, 3}, 1, []int32{1, 2, 3}, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, id := newOrders(t)
			if r := s.Apply(5, &Command{SetLeader: &SetLeader{Topic: id, Name: "orders", Leader: 1, ISR: tc.isr}}); r.Refused != "" {
				t.Fatal(r.Refused)
			}
			before := s.Topic("orders").Partitions[0].ISR
			held := slices.Clone(before)
			r := s.Apply(6, &Command{Register: &Register{Broker: Broker{ID: tc.id, Boot: 2}, Live: tc.live, Unclean: tc.unclean}})
			p := s.Topic("orders").Partitions[0]
			if p.Leader != tc.leader || !slices.Equal(p.ISR, tc.want) || p.LeaderEpoch != tc.leaderEpoch || p.PartitionEpoch != tc.partitionEpoch {
				t.Errorf("got %+v, want leader %d, ISR %v, epochs %d and %d", *p, tc.leader, tc.want, tc.leaderEpoch, tc.partitionEpoch)
			}
			if want := int(tc.partitionEpoch - 1); len(r.Changes) != want {
				t.Errorf("%d changes, want %d: %+v", len(r.Changes), want, r.Changes)
			}
			if !slices.Equal(before, held) {
				t.Error("a list that others hold was changed in place")
			}
			// The same registration once more is no new boot.
			if r := s.Apply(7, &Command{Register: &Register{Broker: Broker{ID: tc.id, Boot: 2}, Live: tc.live, Unclean: tc.unclean}}); len(r.Changes) != 0 {
				t.Errorf("registered again, it changed %+v", r.Changes)
			}
		})
	}
}

// A boot that was never registered is no way around it: what the boot before it lost is still lost.
func TestABootBetweenDoesNotMakeAnUncleanBrokerClean(t *testing.T) {
	s, _ := newOrders(t)
	// Boot 1, registered, was unclean; boot 2 ended in order before it was registered; this is boot 3.
	s.Apply(5, &Command{Register: &Register{Broker: Broker{ID: 2, Boot: 3}, Live: []int32{1, 2, 3}, Unclean: 1}})
	if p := s.Topic("orders").Partitions[0]; slices.Contains(p.ISR, 2) {
		t.Errorf("n2 is in the ISR %v", p.ISR)
	}
}
