package core

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the answer to an AlterPartition means for a member that was to be added: it counts for the high watermark as long as it
// may be a member already.
func TestWhatAnAnswerLeavesOpen(t *testing.T) {
	answered := func(code int16) ctlResult {
		resp := kmsg.NewPtrAlterPartitionResponse()
		rt := kmsg.NewAlterPartitionResponseTopic()
		rt.TopidID = [16]byte{1}
		rp := kmsg.NewAlterPartitionResponseTopicPartition()
		rp.ErrorCode = code
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return ctlResult{resp: resp}
	}
	elsewhere := kmsg.NewPtrAlterPartitionResponse()
	for _, c := range []struct {
		name    string
		results []ctlResult // of one AlterPartition after the other, in one partition epoch
		counts  bool        // the member being added still counts
		under   bool        // no other may be asked for
	}{
		{"surely refused", []ctlResult{{status: ctlRefused}}, false, false},
		{"refused by the controller", []ctlResult{answered(errInvalidUpdateVersion)}, false, false},
		{"refused as a whole", []ctlResult{{resp: &kmsg.AlterPartitionResponse{ErrorCode: errStaleBrokerEpoch}}}, false, false},
		{"no answer", []ctlResult{{status: ctlUnknown}}, true, false},
		{"an answer without the partition", []ctlResult{{resp: elsewhere}}, true, false},
		{"no answer, then the next refused", []ctlResult{{status: ctlUnknown}, {status: ctlRefused}}, true, false},
		{"committed, not applied here yet", []ctlResult{answered(errNone)}, true, true},
	} {
		n, r := logNode(t)
		r.role, r.hw = replicaLeader, 0
		r.end, r.durable = 10, 10
		r.state.ISR = []int32{1}
		r.followers = []follower{{id: 2, end: 4}}
		for _, res := range c.results {
			r.adding, r.alter.under = []int32{2}, true
			n.altered([]askedISR{{r, r.state.PartitionEpoch}}, res)
		}
		if counts := r.committedEnd() == 4; counts != c.counts || r.alter.under != c.under {
			t.Errorf("%s: the added member counts: %v, under way: %v; want %v, %v", c.name, counts, r.alter.under, c.counts, c.under)
		}
		if c.counts != (r.hw == 0) {
			t.Errorf("%s: high watermark %d", c.name, r.hw)
		}
		// The next partition epoch decides it, whatever it holds.
		p := n.state.Topic("orders").Partitions[0]
		p.PartitionEpoch++
		n.partitionChanged(n.state.Topic("orders"), 0, 2)
		if len(r.adding) != 0 || r.alter.under || r.alter.unsure {
			t.Errorf("%s: %+v and adding %v live on in the next partition epoch", c.name, r.alter, r.adding)
		}
	}
}
