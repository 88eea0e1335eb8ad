package checkers

import (
	"testing"

	"soak/history"
)

func TestMetadataAgreement(t *testing.T) {
	// hashed lets each node apply an entry and come to a hash of its own.
	hashed := func(s *story, hashes map[int32]uint64) {
		a := s.enter(1, 1, topicCommand(createTopicCommand, "orders"))
		for n := int32(1); n <= 3; n++ {
			if h, ok := hashes[n]; ok {
				b := *a
				b.Hash = h
				s.event(n, &b)
			}
		}
	}
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"all agree", func(s *story) { hashed(s, map[int32]uint64{1: 7, 2: 7, 3: 7}) }, Holds, "all of 2 comparisons", nil},
		{"one node only", func(s *story) { hashed(s, map[int32]uint64{1: 7}) }, Inconclusive, "no raft index was seen to be applied twice", nil},
		{"different indexes are not compared", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			hashed(s, map[int32]uint64{1: 8, 2: 8})
			hashed(s, map[int32]uint64{3: 9})
		}, Holds, "", nil},
		{"one differs, and is told once", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7, 3: 8})
			hashed(s, map[int32]uint64{1: 9, 2: 9, 3: 10})
		}, Violated, "n1 and n3 came to different changes by create_topic orders at raft index 1", []string{KindChangesDiffer}},
		{"a replay after a restart differs", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.index--
			s.restart(2)
			hashed(s, map[int32]uint64{2: 8})
		}, Violated, "n1 and n2", []string{KindChangesDiffer}},
		{"only its own replay differs", func(s *story) {
			hashed(s, map[int32]uint64{2: 7})
			s.index--
			s.restart(2)
			hashed(s, map[int32]uint64{2: 8})
		}, Violated, "n2 in its boots 1 and 2", []string{KindChangesDiffer}},
		{"another entry at the index", func(s *story) {
			s.enter(1, 1, topicCommand(createTopicCommand, "orders"), 1)
			s.index--
			s.enter(1, 2, topicCommand(createTopicCommand, "orders"), 2)
		}, Violated, "applied different entries", []string{KindEntriesDiffer}},
		{"whole states agree", func(s *story) {
			s.event(1, &history.StateHash{Index: 100, Hash: 5})
			s.event(2, &history.StateHash{Index: 100, Hash: 5})
		}, Holds, "", nil},
		{"whole states differ", func(s *story) {
			s.event(1, &history.StateHash{Index: 100, Hash: 5})
			s.event(2, &history.StateHash{Index: 100, Hash: 6})
			s.event(2, &history.StateHash{Index: 200, Hash: 6})
		}, Violated, "n1 and n2 hold different states at raft index 100", []string{KindStatesDiffer}},
		{"a restored snapshot is what was taken", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.event(1, &history.StateHash{Index: 1, Hash: 5})
			s.restart(1)
			s.snapshot(1, history.SnapshotRestored, 1, 5)
			s.snapshot(3, history.SnapshotInstalled, 1, 5)
		}, Holds, "all of 3 comparisons", nil},
		{"a restored snapshot lacks something", func(s *story) {
			s.event(1, &history.StateHash{Index: 90, Hash: 5})
			s.restart(1)
			s.snapshot(1, history.SnapshotRestored, 90, 6)
		}, Violated, "n1 in its boots 1 and 2 hold different states at raft index 90", []string{KindStatesDiffer}},
		{"an installed snapshot lacks something", func(s *story) {
			s.event(1, &history.StateHash{Index: 90, Hash: 5})
			s.snapshot(3, history.SnapshotInstalled, 90, 6)
		}, Violated, "n1 and n3 hold different states at raft index 90", []string{KindStatesDiffer}},
		{"what is applied behind a snapshot differs", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.event(1, &history.StateHash{Index: 1, Hash: 5})
			s.snapshot(3, history.SnapshotInstalled, 1, 5)
			hashed(s, map[int32]uint64{1: 8, 2: 8, 3: 9})
		}, Violated, "n1 and n3 came to different changes", []string{KindChangesDiffer}},
		{"a restored snapshot that nobody else hashed", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.restart(1)
			s.snapshot(1, history.SnapshotRestored, 1, 5)
		}, Inconclusive, "n1 put a snapshot of raft index 1 in the place of its state in boot 2, and nobody else told a hash of that index", nil},
		{"a restored snapshot that nobody hashed", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.event(1, &history.StateHash{Index: 1, Hash: 5})
			s.event(3, &history.Snapshot{What: history.SnapshotInstalled, Index: 1, Term: 1})
			s.check(3, 1, history.RoleLeader)
		}, Inconclusive, "n3 put a snapshot of raft index 1 in the place of its state in boot 1, and told no hash of it", nil},
		{"a node killed in the middle of telling", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.event(3, &history.Snapshot{What: history.SnapshotInstalled, Index: 1, Term: 1})
		}, Holds, "", nil},
		{"a snapshot taken replaces nothing", func(s *story) {
			hashed(s, map[int32]uint64{1: 7, 2: 7})
			s.snapshot(3, history.SnapshotTaken, 1, 5)
		}, Holds, "", nil},
		{"a target without events", func(s *story) { s.check(1, 1, history.RoleLeader) }, NotApplicable, "do not tell", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			wants(t, feed(newMetadataAgreement(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}

// While a run goes on, its entries are not kept, and a difference is seen all the same.
func TestMetadataAgreementWhileTheRunGoesOn(t *testing.T) {
	s := newStory()
	live := newMetadataAgreement(&shared{run: &s.run, live: true})
	a := s.enter(1, 1, topicCommand("create_topic", "a"), 1, 2)
	other := *a
	other.Hash++
	s.event(3, &other)
	wants(t, feed(live, s), Violated, "n1 and n3 came to different changes by create_topic a at raft index 1", KindChangesDiffer)
	if n := len(live.entries.at) + live.entries.tape.count; n != 0 {
		t.Errorf("%d entries are kept", n)
	}
}
