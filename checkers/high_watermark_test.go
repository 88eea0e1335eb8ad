package checkers

import (
	"testing"

	"soak/history"
)

// fetchedBy adds what a consumer was shown by a node as leader in an epoch.
func (s *story) fetchedBy(node, epoch int32, high int64) *history.Operation {
	return s.op(history.Operation{Client: "consume-1", Node: node, Consume: &history.ConsumeOp{Topic: "orders", LeaderEpoch: epoch, High: high}})
}

func TestHighWatermark(t *testing.T) {
	for _, c := range []struct {
		name    string
		tell    func(s *story)
		outcome Outcome
		reason  string
		kinds   []string
	}{
		{"it rises", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 0, 5)
			s.view(1, "leader", 1, 0, 0, 5, 9)
			s.view(2, "follower", 1, 0, 0, 4, 9)
		}, Holds, "no high watermark went back in 3 replica states and 0 fetches", nil},
		{"it goes back", func(s *story) {
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.view(2, "follower", 1, 0, 0, 4, 9)
		}, Violated, "on n2 went back from 5 to 4", []string{KindHighBack}},
		{"by a truncation", func(s *story) {
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.view(2, "follower", 1, 0, 0, 4, 4).Cause = "truncation"
		}, Violated, "(truncation)", []string{KindHighBack}},
		{"by a truncation that the contract allows", func(s *story) {
			s.run.Contract.Unclean = true
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.view(2, "follower", 1, 0, 0, 4, 4).Cause = "truncation"
		}, Holds, "", nil},
		{"a truncation above it", func(s *story) {
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.view(2, "follower", 1, 0, 0, 5, 6).Cause = "truncation"
		}, Holds, "", nil},
		{"across boots it may", func(s *story) {
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.restart(2)
			s.index--
			s.created()
			s.view(2, "follower", 1, 0, 0, 0, 9)
		}, Holds, "", nil},
		{"in the topic's next life it may", func(s *story) {
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.deleted(1, 2, 3)
			s.created()
			s.view(2, "follower", 1, 0, 0, 0, 0)
		}, Holds, "", nil},
		{"the log start rises", func(s *story) {
			s.starts(1, "leader", 0, 9, 9, history.CauseRetention)
			s.starts(1, "leader", 7, 9, 12, history.CauseRetained)
			s.starts(2, "follower", 5, 8, 9, history.CauseFollowed)
			s.starts(3, "follower", 7, 7, 7, history.CauseRestart)
		}, Holds, "", nil},
		{"a decision is missing between two log starts", func(s *story) {
			s.starts(1, "leader", 0, 5, 9, history.CauseRetention)
			s.starts(1, "leader", 4, 5, 9, history.CauseRetained)
			s.starts(1, "leader", 4, 9, 9, history.CauseRetention)
			s.events = s.events[:len(s.events)-1]
			s.enter(1, 1, topicCommand("create_topic", "other"), 1)
			s.starts(1, "leader", 7, 9, 9, history.CauseRetained)
		}, Inconclusive, "1 event of n1", nil},
		{"the log start is above the high watermark", func(s *story) { s.starts(2, "follower", 6, 5, 9, history.CauseFollowed) },
			Violated, "n2 removed the records of orders-0 up to offset 6, above its high watermark 5", []string{KindStartAbove}},
		{"it was when that was decided", func(s *story) {
			s.starts(1, "leader", 0, 5, 9, history.CauseRetention)
			s.starts(1, "leader", 7, 8, 12, history.CauseRetained)
		}, Violated, "n1 removed the records of orders-0 up to offset 7, above its high watermark 5", []string{KindStartAbove}},
		{"a follower's is not held to an earlier decision of its own", func(s *story) {
			s.starts(1, "leader", 0, 5, 9, history.CauseRetention)
			s.starts(1, "follower", 7, 8, 12, history.CauseFollowed)
		}, Holds, "", nil},
		{"the log start goes back", func(s *story) {
			s.starts(2, "follower", 7, 8, 9, history.CauseFollowed)
			s.starts(2, "follower", 6, 8, 9, "periodic")
		}, Violated, "the log start of orders-0 on n2 went back from 7 to 6 within one boot (periodic)", []string{KindStartBack}},
		{"the log start goes back by a restart of the log", func(s *story) {
			s.starts(2, "follower", 7, 8, 9, history.CauseFollowed)
			s.starts(2, "follower", 6, 8, 8, history.CauseRestart)
		}, Violated, "went back from 7 to 6", []string{KindStartBack}},
		{"across boots the log start may go back", func(s *story) {
			s.starts(2, "follower", 7, 8, 9, history.CauseFollowed)
			s.restart(2)
			s.index--
			s.created()
			s.starts(2, "follower", 0, 8, 9, "boot")
		}, Holds, "", nil},
		{"above the log's end", func(s *story) { s.view(1, "leader", 1, 0, 0, 6, 5) }, Violated, "above its log end 5", []string{KindHighBeyondEnd}},
		{"the next leader lacks some", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 8, 9)
			s.view(2, "leader", 2, 1, 1, 3, 7)
			s.view(2, "leader", 2, 1, 1, 7, 20)
		}, Violated, "n2 led orders-0 in epoch 1 with the log end 7, below the high watermark 8 that n1 had shown in epoch 0", []string{KindLeaderShort}},
		{"the next leader has all", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 8, 9)
			s.view(2, "leader", 2, 1, 1, 3, 8)
		}, Holds, "", nil},
		{"an old leader speaks late", func(s *story) {
			s.view(2, "leader", 2, 1, 1, 3, 8)
			s.view(1, "leader", 1, 0, 0, 8, 12)
			s.view(2, "leader", 2, 1, 1, 30, 40)
		}, Holds, "", nil},
		{"the next leader lacks some, and only processes were killed", func(s *story) {
			s.run.Contract.Flush = "none"
			s.view(1, "leader", 1, 0, 0, 8, 9)
			s.view(2, "leader", 2, 1, 1, 3, 7)
		}, Violated, "below the high watermark 8", []string{KindLeaderShort}},
		{"the last in-sync replica lost what was never synced", func(s *story) {
			s.view(1, "leader", 1, 0, 0, 8, 9)
			s.lastLosesPower(2, "power-loss")
			s.view(2, "leader", 2, 2, 2, 3, 7)
			s.view(3, "follower", 2, 2, 2, 8, 9)
			s.view(3, "follower", 2, 2, 2, 7, 7).Cause = "truncation"
		}, Holds, "nothing is claimed of orders-0, whose records are not synced: n2 was the last in-sync replica of orders-0 when it came back after fault 1, power-loss of n2", nil},
		{"a truncation is no other way back", func(s *story) {
			s.lastLosesPower(2, "power-loss")
			s.view(3, "follower", 2, 2, 2, 8, 9)
			s.view(3, "follower", 2, 2, 2, 7, 9)
		}, Violated, "went back from 8 to 7", []string{KindHighBack}},
		{"a stale read", func(s *story) {
			s.fetchedBy(1, 0, 8)
			s.fetchedBy(1, 0, 7)
		}, Violated, "n1, leader of orders-0 in epoch 0, showed a consumer the high watermark 7 after it had shown 8", []string{KindStaleRead}},
		{"reads that overlap", func(s *story) {
			s.fetchedBy(1, 0, 8)
			s.ops[0].Complete += second
			s.fetchedBy(1, 0, 7)
		}, Holds, "and 2 fetches", nil},
		{"reads of another leader, another epoch or none", func(s *story) {
			s.fetchedBy(1, 0, 8)
			s.fetchedBy(2, 1, 7)
			s.fetchedBy(1, 2, 6)
			s.fetchedBy(1, -1, 9)
			s.fetchedBy(1, -1, 5)
		}, Holds, "and 3 fetches", nil},
		{"a gap", func(s *story) {
			s.seqs[boot{2, 1}]++
			s.view(2, "follower", 1, 0, 0, 5, 9)
			s.view(1, "leader", 1, 0, 0, 5, 9)
		}, Inconclusive, "1 event of n2", nil},
		{"a target without events", func(*story) {}, NotApplicable, "do not tell", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			s.created()
			c.tell(s)
			wants(t, feed(newHighWatermark(alone(&s.run)), s), c.outcome, c.reason, c.kinds...)
		})
	}
}
