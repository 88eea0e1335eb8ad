package core

import (
	"testing"
	"time"

	"soak/broker/meta"
)

func TestHighWatermarkCountsMembersAndThoseBeingAdded(t *testing.T) {
	for _, c := range []struct {
		name    string
		durable int64
		isr     []int32
		adding  []int32
		ends    map[int32]int64
		want    int64
	}{
		{"alone", 10, []int32{1}, nil, map[int32]int64{2: 3, 3: -1}, 10},
		{"the slowest member", 10, []int32{1, 2, 3}, nil, map[int32]int64{2: 8, 3: 5}, 5},
		{"own disk is the slowest", 4, []int32{1, 2, 3}, nil, map[int32]int64{2: 8, 3: 5}, 4},
		{"no member does not count", 10, []int32{1, 2}, nil, map[int32]int64{2: 8, 3: 5}, 8},
		{"being added counts already", 10, []int32{1, 2}, []int32{3}, map[int32]int64{2: 8, 3: 5}, 5},
		{"a member that has not asked yet", 10, []int32{1, 2}, nil, map[int32]int64{2: -1, 3: 5}, -1},
	} {
		r := &replica{state: meta.Partition{ISR: c.isr}, adding: c.adding}
		r.durable, r.end = c.durable, 20
		for _, id := range []int32{2, 3} {
			r.followers = append(r.followers, follower{id: id, end: c.ends[id]})
		}
		if got := r.committedEnd(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLagAndCatchingUp(t *testing.T) {
	const lag = time.Second
	r := &replica{state: meta.Partition{ISR: []int32{1, 2}}}
	r.end, r.hw, r.epochStart = 100, 90, 95
	f := &follower{id: 2, end: -1, caughtUp: 0}
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }

	if !r.lags(f, ms(1001), lag) || r.lags(f, ms(1000), lag) {
		t.Error("a member that never asks lags after the lag time, not before")
	}
	r.noteFetch(f, 1, 100, ms(900))
	if r.lags(f, ms(60_000), lag) {
		t.Error("a member that has everything does not lag, however long it is silent")
	}
	r.end = 110 // more is appended; it asks from 100 still, then has what there was at that time
	r.noteFetch(f, 1, 100, ms(1000))
	r.end = 120
	r.noteFetch(f, 1, 110, ms(1500))
	if f.caughtUp != ms(1000) {
		t.Errorf("caught up at %d, want at its fetch before: %d", f.caughtUp, ms(1000))
	}
	if r.lags(f, ms(2000), lag) || !r.lags(f, ms(2001), lag) {
		t.Error("lag is counted from when it last had everything")
	}

	for _, c := range []struct {
		name string
		end  int64
		age  time.Duration
		want bool
	}{
		{"has the epoch's beginning", 95, 0, true},
		{"above the high watermark, below the epoch's beginning", 94, 0, false},
		{"below the high watermark", 89, 0, false},
		{"asked too long ago", 120, lag + 1, false},
	} {
		f := &follower{id: 3, end: c.end, fetched: ms(10_000) - int64(c.age)}
		if got := r.mayJoin(f, ms(10_000), lag); got != c.want {
			t.Errorf("%s: may join %v, want %v", c.name, got, c.want)
		}
	}
	if r.mayJoin(&follower{id: 3, end: 120}, ms(1), lag) {
		t.Error("a follower that never asked may not join")
	}
}
