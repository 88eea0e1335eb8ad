package sidecar

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// drive puts packets in at their times and gives what departs, and when, looking each millisecond.
func drive(tr *traffic, arrivals map[time.Duration][]packet, until time.Duration) (order []uint32, at map[uint32]time.Duration) {
	begin := time.Unix(0, 0)
	tr.enter(true, begin)
	at = map[uint32]time.Duration{}
	for now := time.Duration(0); now <= until; now += time.Millisecond {
		for _, p := range arrivals[now] {
			if !tr.arrive(p, begin.Add(now)) {
				at[p.id] = -1
			}
		}
		ids, _ := tr.depart(begin.Add(now))
		for _, id := range ids {
			order, at[id] = append(order, id), now
		}
	}
	return order, at
}

func TestEachPacketIsKeptForItsDelay(t *testing.T) {
	const ms = time.Millisecond
	tr := newTraffic(Shape{Delay: 20 * ms})
	_, at := drive(tr, map[time.Duration][]packet{0: {{1, "in n2", 100}}, 5 * ms: {{2, "in n2", 100}, {3, "in n3", 100}}}, 100*ms)
	for id, want := range map[uint32]time.Duration{1: 20 * ms, 2: 25 * ms, 3: 25 * ms} {
		if at[id] != want {
			t.Errorf("packet %d went on after %s, want %s", id, at[id], want)
		}
	}
	if l := tr.links()["in n2"]; l.Took != 20*ms || l.Bytes != 200 || l.Waited != 0 || l.Lost != 0 {
		t.Errorf("%+v", l)
	}
}

// Jitter is more delay, never less, and none of it changes the order on a link.
func TestJitterKeepsTheOrder(t *testing.T) {
	const ms = time.Millisecond
	tr := newTraffic(Shape{Delay: 10 * ms, Jitter: 30 * ms})
	arrivals := map[time.Duration][]packet{}
	for id := uint32(1); id <= 50; id++ {
		arrivals[time.Duration(id)*ms] = []packet{{id, "in n2", 100}}
	}
	order, at := drive(tr, arrivals, time.Second)
	if len(order) != 50 || !slices.IsSorted(order) {
		t.Errorf("they went on as %v", order)
	}
	varied := false
	for id, went := range at {
		kept := went - time.Duration(id)*ms
		if kept < 10*ms || kept > 41*ms {
			t.Errorf("packet %d was kept for %s", id, kept)
		}
		varied = varied || kept > 11*ms
	}
	if !varied {
		t.Error("all were kept for the same time")
	}
}

// Each link and way has a rate of its own, which its packets share.
func TestARateIsOfOneLinkAndWay(t *testing.T) {
	const ms = time.Millisecond
	tr := newTraffic(Shape{BytesPerSecond: 10_000})
	_, at := drive(tr, map[time.Duration][]packet{0: {{1, "in n2", 1000}, {2, "in n2", 500}, {3, "out n2", 1000}, {4, "in n3", 100}}, 500 * ms: {{5, "in n2", 100}}}, time.Second)
	for id, want := range map[uint32]time.Duration{1: 100 * ms, 2: 150 * ms, 3: 100 * ms, 4: 10 * ms, 5: 510 * ms} {
		if at[id] != want {
			t.Errorf("packet %d went on after %s, want %s", id, at[id], want)
		}
	}
	if l := tr.links()["in n2"]; l.Waited != 500 || l.Bytes != 1600 {
		t.Errorf("%+v: one packet of 500 bytes had another before it", l)
	}
}

func TestWhatThereIsNoRoomForIsLost(t *testing.T) {
	begin := time.Unix(0, 0)
	slow := newTraffic(Shape{BytesPerSecond: 1})
	slow.enter(true, begin)
	kept := 0
	for id := range uint32(100) {
		if slow.arrive(packet{id, "in n2", 1500}, begin) {
			kept++
		}
	}
	if kept*1500 > minBacklog+2*1500 || kept < 10 || slow.links()["in n2"].Lost != int64(100-kept) {
		t.Errorf("%d packets are kept, %+v", kept, slow.links()["in n2"])
	}
	if !slow.arrive(packet{1000, "in n3", 1500}, begin) {
		t.Error("another link has no room either")
	}
	long := newTraffic(Shape{Delay: time.Hour})
	long.enter(true, begin)
	for id := range uint32(MaxPackets) {
		if !long.arrive(packet{id, "in n2", 1500}, begin) {
			t.Fatalf("no room for packet %d", id)
		}
	}
	if long.arrive(packet{MaxPackets, "in n2", 1500}, begin) {
		t.Error("there is room without end")
	}
}

// At the end all goes on at once, in order, and tells nothing of the state that begins.
func TestWhatIsKeptGoesOnAtTheEnd(t *testing.T) {
	begin := time.Unix(0, 0)
	tr := newTraffic(Shape{Delay: time.Hour})
	tr.enter(true, begin)
	for id := range uint32(3) {
		tr.arrive(packet{id, "in n2", 100}, begin)
	}
	now := begin.Add(time.Second)
	if ids, next := tr.depart(now); len(ids) > 0 || !next.Equal(begin.Add(time.Hour)) {
		t.Errorf("%v went on early, the next is due at %s", ids, next)
	}
	tr.enter(false, now)
	if ids, _ := tr.depart(now); !slices.Equal(ids, []uint32{0, 1, 2}) || tr.keeps() {
		t.Errorf("%v went on", ids)
	}
	if l := tr.links()["in n2"]; l != (Link{}) {
		t.Errorf("of the new state it tells %+v", l)
	}
	tr.arrive(packet{7, "in n2", 100}, now)
	if ids, _ := tr.depart(now); !slices.Equal(ids, []uint32{7}) || tr.links()["in n2"].Bytes != 100 {
		t.Errorf("%v went on, %+v", ids, tr.links()["in n2"])
	}
}

// handed is a queue of a test's own.
type handed struct {
	packets  chan []queued
	accepted chan uint32
	failing  error
	closed   chan struct{}
}

func (h *handed) next() ([]queued, error) {
	select {
	case p := <-h.packets:
		if p == nil {
			return nil, h.failing
		}
		return p, nil
	case <-h.closed:
		return nil, os.ErrClosed
	}
}

func (h *handed) answer(ids []uint32, accept bool) error {
	for _, id := range ids {
		if accept {
			h.accepted <- id
		}
	}
	return nil
}

func (h *handed) close() error { close(h.closed); return nil }

// slowSidecar is a sidecar with a delay, on rules and a queue that are none.
func slowSidecar(f *fake, h *handed) (*shaped, Cut) {
	c := Cut{Table: "soak-1", Peers: map[string]netip.Addr{"n2": netip.MustParseAddr("172.20.0.12")}, Way: In, Shape: Shape{Delay: 50 * time.Millisecond}}
	return newShaped(c, f, func(uint16) (packetQueue, error) { return h, nil }), c
}

// Packets are kept while they are to be, and the rules stay as they are; at the end all go on before the rules go.
func TestASidecarKeepsPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{}
		h := handed{packets: make(chan []queued), accepted: make(chan uint32, 10), closed: make(chan struct{})}
		r, c := slowSidecar(&f, &h)
		stdin, w := io.Pipe()
		var out bytes.Buffer
		done := make(chan error)
		go func() { done <- hold(r, c, stdin, &out, nil) }()
		took := func(id uint32) time.Duration {
			begin := time.Now()
			h.packets <- []queued{{id: id, way: In, peer: [4]byte{172, 20, 0, 12}, size: 100}}
			if got := <-h.accepted; got != id {
				t.Errorf("packet %d went on, want %d", got, id)
			}
			return time.Since(begin)
		}
		if n := took(1); n != 0 {
			t.Errorf("a packet was kept for %s before it was to be", n)
		}
		w.Write([]byte{Drop})
		synctest.Wait()
		if n := took(2); n != 50*time.Millisecond {
			t.Errorf("a packet was kept for %s", n)
		}
		w.Write([]byte{Pass})
		synctest.Wait()
		if n := took(3); n != 0 {
			t.Errorf("a packet was kept for %s afterwards", n)
		}
		w.Write([]byte{Drop})
		synctest.Wait()
		h.packets <- []queued{{id: 4, way: Out, peer: [4]byte{172, 20, 0, 1}, size: 100}}
		synctest.Wait()
		w.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if id := <-h.accepted; id != 4 || f.isSet {
			t.Errorf("packet %d went on, rules set: %v", id, f.isSet)
		}
		if !slices.Equal(f.drops, []bool{true}) {
			t.Errorf("rules were set as %v, want once, handing over", f.drops)
		}
		for _, r := range reports(t, &out) {
			if l, told := r.Links["out others"]; told && (r.State != Dropping || l.Bytes > 0) {
				t.Errorf("a packet of others: %+v", r)
			}
		}
	})
}

// A kernel that hands nothing over any more is a failure, and so is a queue that is not to be had.
func TestAQueueThatBreaksIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{}
		h := handed{packets: make(chan []queued), accepted: make(chan uint32, 10), closed: make(chan struct{}), failing: errors.New("no buffer space")}
		r, c := slowSidecar(&f, &h)
		stdin, w := io.Pipe()
		defer w.Close()
		go func() { h.packets <- nil }()
		var out bytes.Buffer
		if err := hold(r, c, stdin, &out, nil); err == nil || f.isSet {
			t.Errorf("error %v, rules set: %v", err, f.isSet)
		}
		rs := reports(t, &out)
		if last := rs[len(rs)-1]; last.State != Failed {
			t.Errorf("last report %+v", last)
		}
	})
	none := newShaped(Cut{Shape: Shape{Delay: 1}}, &fake{}, func(uint16) (packetQueue, error) { return nil, errors.New("no such queue") })
	var out bytes.Buffer
	if err := hold(none, Cut{}, bytes.NewReader(nil), &out, nil); err == nil {
		t.Error("no error without a queue")
	}
}
