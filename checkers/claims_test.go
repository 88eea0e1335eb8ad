package checkers

import (
	"testing"

	"soak/history"
)

func TestClaims(t *testing.T) {
	elected := history.Claim{What: "elected", Key: "orders-0", Index: 2, Leader: 2, LeaderEpoch: 1}
	shrunk := history.Claim{What: "isr_changed", Key: "orders-0", Index: 2, Leader: 2, LeaderEpoch: 1}
	elect := changes("set_partition_leader", change(2, 1, 1, 2, 3))
	told := func(kind string, index uint64) history.Operation {
		return history.Operation{Client: "meta-1", Meta: &history.MetaOp{Kind: kind, Name: "orders", Index: index}}
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"all are borne out", func(s *story) {
			s.event(1, &history.Claim{What: "created", Key: "orders", Index: 1})
			s.enter(1, 1, elect, 1, 2, 3)
			s.event(1, &elected)
			s.event(2, &shrunk)
			s.op(told(history.MetaCreate, 1))
			s.deleted(1)
			s.op(told(history.MetaDelete, 3))
		}, Holds, "all of 5 claims", nil},
		{"before it is applied", func(s *story) {
			s.event(1, &elected)
			s.enter(1, 1, elect, 1, 2, 3)
		}, Violated, "at raft index 2, when it had applied no more than 1", []string{KindClaimEarly}},
		{"before it is applied on the node that claims", func(s *story) {
			s.enter(1, 1, elect, 2, 3)
			s.event(1, &elected)
		}, Violated, "n1 claimed", []string{KindClaimEarly}},
		{"without an index", func(s *story) {
			early := elected
			early.Index = 0
			s.event(1, &early)
		}, Violated, "named no committed entry", []string{KindClaimEarly}},
		{"of another epoch", func(s *story) {
			s.enter(1, 1, changes("set_partition_leader", change(2, 2, 1, 2, 3)), 1, 2, 3)
			s.event(1, &elected)
		}, Violated, "says otherwise", []string{KindClaimUnborn}},
		{"of an entry that was refused", func(s *story) {
			refused := elect
			refused.Outcome, refused.Changes = history.Refused, nil
			s.enter(1, 1, refused, 1, 2, 3)
			s.event(1, &elected)
		}, Violated, "says otherwise", []string{KindClaimUnborn}},
		{"of an index without an entry", func(s *story) {
			s.index++ // raft's own
			s.enter(1, 1, elect, 1, 2, 3)
			s.event(1, &elected)
		}, Violated, "where no entry was applied", []string{KindClaimUnborn}},
		{"of a creation that was none", func(s *story) {
			s.event(1, &history.Claim{What: "created", Key: "payments", Index: 1})
		}, Violated, `n1 claimed "created" of payments`, []string{KindClaimUnborn}},
		{"after a gap", func(s *story) {
			s.seqs[boot{1, 1}]++
			s.event(1, &elected)
		}, Inconclusive, "events are missing before it", nil},
		{"after a gap, with the entry on another node", func(s *story) {
			s.enter(1, 1, elect, 2, 3)
			s.seqs[boot{1, 1}]++
			s.event(1, &elected)
		}, Inconclusive, "events are missing before it", nil},
		{"a success without its entry", func(s *story) {
			s.op(told(history.MetaDelete, 1))
		}, Violated, "meta-1 was told that its delete of orders succeeded at raft index 1", []string{KindAnswerUnfit}},
		{"a success of an entry that nobody told", func(s *story) {
			s.op(told(history.MetaCreate, 9))
		}, Inconclusive, "of which no event tells", nil},
		{"answers that claim no success", func(s *story) {
			s.event(1, &history.Claim{What: "created", Key: "orders", Index: 1})
			exists := told(history.MetaDelete, 1)
			exists.Outcome, exists.Meta.Code = history.Failed, 3
			s.op(exists)
			s.op(told(history.MetaCreate, 0))
			s.op(told(history.MetaDescribe, 1))
		}, Holds, "all of 1 claim ", nil},
		{"a target that claims nothing", func(*story) {}, NotApplicable, "claim nothing", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			s.created()
			c.tell(s)
			wants(t, feed(newClaims(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}
