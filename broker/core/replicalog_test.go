package core

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
)

func testEpochs(end int64, pairs ...int64) *replicaLog {
	l := &replicaLog{end: end, durable: end}
	for i := 0; i < len(pairs); i += 2 {
		l.epochs = append(l.epochs, EpochStart{Epoch: int32(pairs[i]), Start: pairs[i+1]})
	}
	return l
}

func TestEndOfLeaderEpoch(t *testing.T) {
	l := testEpochs(20, 1, 0, 4, 10, 6, 15)
	for _, c := range []struct {
		name  string
		ask   int32
		epoch int32
		end   int64
	}{
		{name: "the latest ends at the log end", ask: 6, epoch: 6, end: 20},
		{name: "an earlier one ends where the next begins", ask: 4, epoch: 4, end: 15},
		{name: "one between is answered by the one below", ask: 5, epoch: 4, end: 15},
		{name: "one below all ends where the first begins", ask: 0, epoch: 0, end: 0},
		{name: "one not known yet", ask: 7, epoch: -1, end: -1},
		{name: "none asked", ask: -1, epoch: -1, end: -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e, end := l.endOf(c.ask); e != c.epoch || end != c.end {
				t.Errorf("endOf(%d) = %d, %d, want %d, %d", c.ask, e, end, c.epoch, c.end)
			}
		})
	}
	if e, end := testEpochs(0).endOf(0); e != -1 || end != -1 {
		t.Errorf("an empty log answers %d, %d", e, end)
	}
}

func TestTruncationByLeaderEpoch(t *testing.T) {
	for _, c := range []struct {
		name             string
		leader, follower *replicaLog
		diverges         bool
		to               int64 // first cut
	}{
		{"same log", testEpochs(10, 1, 0), testEpochs(10, 1, 0), false, 0},
		{"follower behind", testEpochs(10, 1, 0), testEpochs(4, 1, 0), false, 0},
		{"follower empty", testEpochs(10, 1, 0), testEpochs(0), false, 0},
		{"follower ran on in the old epoch", testEpochs(12, 1, 0, 2, 8), testEpochs(10, 1, 0), true, 8},
		{"leader lost its tail and wrote nothing since", testEpochs(8, 1, 0, 2, 8), testEpochs(10, 1, 0), true, 8},
		{"two elections without a write between", testEpochs(9, 1, 0, 3, 8), testEpochs(10, 1, 0, 2, 8), true, 8},
		{"own empty epoch goes", testEpochs(15, 1, 0, 3, 10), testEpochs(10, 1, 0, 2, 10), true, 10},
		{"epoch unknown to the leader, older end there", testEpochs(15, 1, 0, 3, 6), testEpochs(12, 1, 0, 2, 9), true, 6},
		{"epoch unknown to the follower between", testEpochs(15, 1, 0, 2, 5, 4, 12), testEpochs(14, 1, 0, 3, 9), true, 9},
		{"nothing in common", testEpochs(5, 7, 0), testEpochs(5, 3, 0), true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.follower
			e, end, diverges := c.leader.divergesAt(f.latestEpoch(), f.end)
			if diverges != c.diverges {
				t.Fatalf("diverges %v, want %v (answer %d, %d)", diverges, c.diverges, e, end)
			}
			if diverges {
				if to := f.truncateTo(e, end); to != c.to {
					t.Errorf("cut to %d, want %d", to, c.to)
				}
			}
		})
	}
}

// Whatever histories of leaders two logs have been through, comparing and cutting ends, leaves a prefix of the leader's log, and
// never cuts what both hold.
func TestDivergenceEndsInTheCommonPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Three logs; in each epoch one leads, appends, and some others copy a prefix after cutting to match it.
		logs := make([]*testReplica, 3)
		for i := range logs {
			logs[i] = &testReplica{replicaLog: &replicaLog{}}
		}
		rounds := rapid.IntRange(1, 12).Draw(t, "rounds")
		for e := int32(1); e <= int32(rounds); e++ {
			leader := logs[rapid.IntRange(0, 2).Draw(t, "leader")]
			leader.beginEpoch(e)
			for range rapid.IntRange(0, 3).Draw(t, "batches") {
				leader.append(e)
			}
			for _, f := range logs {
				if f == leader || !rapid.Bool().Draw(t, "follows") {
					continue
				}
				shared := f.shared(leader)
				for step := 0; ; step++ {
					epoch, end, diverges := leader.divergesAt(f.latestEpoch(), f.end)
					if !diverges {
						break
					}
					if step > 2*rounds+2 {
						t.Fatalf("still diverging after %d cuts: leader %v, follower %v", step, leader.epochs, f.epochs)
					}
					f.cut(f.truncateTo(epoch, end))
				}
				if f.end < int64(shared) {
					t.Fatalf("cut to %d, but both held %d", f.end, shared)
				}
				if f.shared(leader) != int(f.end) {
					t.Fatalf("follower's log %v is no prefix of %v", f.records, leader.records)
				}
				for n := rapid.IntRange(0, 4).Draw(t, "copied"); n > 0 && f.end < leader.end; n-- {
					f.append(leader.records[f.end].epoch)
					f.records[f.end-1] = leader.records[f.end-1]
				}
			}
		}
	})
}

type testRecord struct {
	epoch int32
	by    *testReplica
}

type testReplica struct {
	*replicaLog
	records []testRecord
}

func (r *testReplica) append(epoch int32) {
	r.beginEpoch(epoch)
	r.records = append(r.records, testRecord{epoch, r})
	r.end++
}

func (r *testReplica) cut(to int64) {
	for len(r.epochs) > 0 && r.epochs[len(r.epochs)-1].Start >= to {
		r.epochs = r.epochs[:len(r.epochs)-1]
	}
	r.end = min(r.end, to)
	r.records = r.records[:r.end]
}

func (r *testReplica) shared(o *testReplica) int {
	n := 0
	for n < len(r.records) && n < len(o.records) && r.records[n] == o.records[n] {
		n++
	}
	return n
}

func TestTrimBatches(t *testing.T) {
	a, b, c := batchtest.Make(10, 1, "a", "b"), batchtest.Make(12, 1, "c"), batchtest.Make(13, 1, "d")
	all := slices.Concat(a, b, c)
	for _, x := range []struct {
		name        string
		data        []byte
		from, limit int64
		want        []byte
	}{
		{"all", all, 10, 14, all},
		{"from within the first", all, 11, 14, all},
		{"without the first", all, 12, 14, slices.Concat(b, c)},
		{"up to the limit", all, 10, 12, a},
		{"a batch cut short", all[:len(all)-1], 10, 14, slices.Concat(a, b)},
		{"nothing below the limit", all, 10, 10, nil},
		{"nothing from there on", all, 14, 20, nil},
		{"no bytes", nil, 0, 5, nil},
	} {
		if got := trimBatches(x.data, x.from, x.limit); !slices.Equal(got, x.want) {
			t.Errorf("%s: %d bytes, want %d", x.name, len(got), len(x.want))
		}
	}
}

func TestCheckFetched(t *testing.T) {
	two := slices.Concat(batchtest.Make(5, 2, "a"), batchtest.Make(6, 3, "b", "c"))
	damaged := slices.Clone(two)
	damaged[len(damaged)-1] ^= 1
	for _, c := range []struct {
		name  string
		data  []byte
		end   int64
		last  int32
		epoch int32
		ok    bool
	}{
		{"fits", two, 5, 2, 3, true},
		{"a gap before it", two, 4, 2, 3, false},
		{"overlaps", two, 6, 2, 3, false},
		{"older epoch than the log's", two, 5, 3, 3, false},
		{"newer epoch than the leader's", two, 5, 2, 2, false},
		{"damaged", damaged, 5, 2, 3, false},
		{"cut short", two[:len(two)-1], 5, 2, 3, false},
		{"a gap within", slices.Concat(two, batchtest.Make(9, 3, "x")), 5, 2, 3, false},
	} {
		hs, err := checkFetched(c.data, c.end, c.last, c.epoch)
		if (err == nil) != c.ok || c.ok && (len(hs) != 2 || hs[1].NextOffset() != 8) {
			t.Errorf("%s: %v, %v", c.name, hs, err)
		}
	}
}

func TestCheckProduced(t *testing.T) {
	good := batchtest.Make(0, 0, "a", "b")
	attributes := func(v byte) []byte { // stamped anew, so that only the attribute is wrong
		b := slices.Clone(good)
		b[22] = v
		crc := batch.CRC(b)
		b[17], b[18], b[19], b[20] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
		return b
	}
	edit := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name    string
		data    []byte
		version int16
		max     int32
		want    int16
	}{
		{"a batch", good, 9, 1 << 20, errNone},
		{"as large as allowed", good, 9, int32(len(good)), errNone},
		{"too large", good, 9, int32(len(good)) - 1, errMessageTooLarge},
		{"nothing", nil, 9, 1 << 20, errInvalidRecord},
		{"two batches", slices.Concat(good, good), 9, 1 << 20, errInvalidRecord},
		{"a byte behind", append(slices.Clone(good), 0), 9, 1 << 20, errCorruptMessage},
		{"cut short", good[:len(good)-1], 9, 1 << 20, errCorruptMessage},
		{"a few bytes", good[:5], 9, 1 << 20, errCorruptMessage},
		{"a flipped bit", edit(len(good)-1, 'x'), 9, 1 << 20, errCorruptMessage},
		{"message format 1", edit(16, 1), 9, 1 << 20, errUnsupportedForFormat},
		{"message format 0", edit(16, 0), 2, 1 << 20, errUnsupportedForFormat},
		{"format 2 before version 3", good, 2, 1 << 20, errUnsupportedForFormat},
		{"zstd", attributes(4), 7, 1 << 20, errNone},
		{"zstd before version 7", attributes(4), 6, 1 << 20, errUnsupportedCompression},
		{"a codec that is none", attributes(5), 9, 1 << 20, errUnsupportedCompression},
		{"a transaction marker", attributes(0x30), 9, 1 << 20, errInvalidRecord},
		{"log append time", attributes(8), 9, 1 << 20, errInvalidTimestamp},
	} {
		if _, code := checkProduced(c.data, c.version, c.max); code != c.want {
			t.Errorf("%s: code %d, want %d", c.name, code, c.want)
		}
	}
}
