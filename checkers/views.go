package checkers

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"soak/history"
)

// views are what nodes say of their replicas, the entries that they apply, what they claim and what they believe of each other, life by life, for all checkers of a
// run: nearly all of a long run's events. As with operations, they wait in a spill where there is one.
type views struct {
	timelines
	last *history.Event
	ref  viewRef
}

// take keeps an event that is one of those, notes every one's number, and answers where an event that was kept can be had again. Each checker
// hands over what it sees; the first counts.
func (v *views) take(e *history.Event) viewRef {
	if e == v.last {
		return v.ref
	}
	v.last, v.ref = e, viewRef{}
	switch e.Body.(type) {
	case *history.Apply, *history.Partition, *history.StateHash, *history.Claim, *history.Session, *history.LeaderCheck, *history.Snapshot:
		v.see(e, true)
		if e.Node != 0 {
			t := v.of[boot{e.Node, e.Boot}]
			v.ref = viewRef{t, t.count - 1}
		}
	default:
		v.see(e, false)
	}
	return v.ref
}

// event finds an event that was kept, for evidence: it takes long.
func (v *views) event(by teller) (found *history.Event) {
	v.of[by.boot].each(func(_ int, e *history.Event) bool {
		if e.Seq == by.seq {
			found = e
		}
		return found == nil
	})
	return found
}

// viewRef is where an event stands.
type viewRef struct {
	on *eventTape
	i  int
}

func (r viewRef) event() *history.Event { return r.on.at(r.i) }

// eventTape is events of one life of a node, in the order in which they were recorded.
type eventTape struct {
	boot
	spill  *spill
	events []*history.Event // without a spill
	count  int

	blocks   []block
	data     []byte // of the block that is being filled
	first    int    // number of its first event
	before   int64  // time of the event before in it
	latest   uint64 // highest number of an event
	unsorted bool   // numbers went back
}

func (t *eventTape) add(e *history.Event) {
	t.count++
	t.unsorted = t.unsorted || e.Seq < t.latest
	t.latest = max(t.latest, e.Seq)
	if t.spill == nil {
		t.events = append(t.events, e)
		return
	}
	if len(t.data) == 0 {
		t.first, t.before = t.count-1, 0
	}
	t.data = t.encode(t.data, e)
	if len(t.data) >= t.spill.block {
		t.blocks = append(t.blocks, block{at: t.spill.write(t.data), size: len(t.data), first: t.first})
		t.data = t.data[:0]
	}
}

// inOrder shows the events by their numbers. They are the visitor's to keep.
func (t *eventTape) inOrder(visit func(e *history.Event)) {
	if !t.unsorted {
		t.each(func(_ int, e *history.Event) bool { visit(e); return true })
		return
	}
	all := make([]*history.Event, 0, t.count)
	t.each(func(_ int, e *history.Event) bool { all = append(all, e); return true })
	slices.SortStableFunc(all, func(x, y *history.Event) int {
		switch {
		case x.Seq < y.Seq:
			return -1
		case x.Seq > y.Seq:
			return 1
		}
		return 0
	})
	for _, e := range all {
		visit(e)
	}
}

func (t *eventTape) each(visit func(i int, e *history.Event) bool) {
	for i, e := range t.events {
		if !visit(i, e) {
			return
		}
	}
	var buf []byte
	for _, b := range t.blocks {
		buf = t.spill.read(b.at, b.size, buf)
		if !t.decode(buf, b.first, visit) {
			return
		}
	}
	t.decode(t.data, t.first, visit)
}

// holding is the encoded block in which the event with a number stands, and the number of its first.
func (t *eventTape) holding(i int) (data []byte, first int) {
	if len(t.data) > 0 && i >= t.first {
		return t.data, t.first
	}
	b := t.blocks[sort.Search(len(t.blocks), func(k int) bool { return t.blocks[k].first > i })-1]
	return t.spill.read(b.at, b.size, nil), b.first
}

func (t *eventTape) at(i int) (e *history.Event) {
	if t.spill == nil {
		return t.events[i]
	}
	data, first := t.holding(i)
	t.decode(data, first, func(k int, x *history.Event) bool { e = x; return k < i })
	return e
}

// Forms of an encoded event.
const (
	formLine      = iota // as it is recorded
	formPartition        // by its fields
)

func (t *eventTape) encode(b []byte, e *history.Event) []byte {
	p, ok := e.Body.(*history.Partition)
	if !ok {
		line := history.AppendEvent(nil, e)
		b = append(b, formLine)
		b = binary.AppendUvarint(b, uint64(len(line)))
		return append(b, line...)
	}
	b = append(b, formPartition)
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendVarint(b, e.Time-t.before)
	t.before = e.Time
	for _, s := range []string{p.Topic, p.Role, p.Cause} {
		b = binary.AppendUvarint(b, t.spill.names.of(s))
	}
	for _, v := range []int32{p.Partition, p.Leader, p.LeaderEpoch, p.PartitionEpoch, int32(len(p.ISR))} {
		b = binary.AppendVarint(b, int64(v))
	}
	for _, id := range p.ISR {
		b = binary.AppendVarint(b, int64(id))
	}
	b = binary.AppendVarint(b, p.HighWatermark)
	b = binary.AppendVarint(b, p.LogEnd-p.HighWatermark)
	return binary.AppendVarint(b, p.LogStart)
}

// decode answers false if the visitor did.
func (t *eventTape) decode(data []byte, first int, visit func(i int, e *history.Event) bool) bool {
	d := decoder(data)
	before := int64(0)
	for i := first; len(d) > 0; i++ {
		if !visit(i, t.next(&d, &before)) {
			return false
		}
	}
	return true
}

func (t *eventTape) next(d *decoder, before *int64) *history.Event {
	if d.byte() == formLine {
		e, ok, err := history.ParseEvent(d.bytes(d.uint()))
		if err != nil || !ok {
			panic(fmt.Sprintf("checkers: a spilled event cannot be read: %v", err))
		}
		return &e
	}
	names := t.spill.names.list
	x := &struct { // one allocation for both
		e history.Event
		p history.Partition
	}{}
	e, p := &x.e, &x.p
	e.Node, e.Boot, e.Seq, e.Time, e.Body = t.node, t.boot.boot, d.uint(), *before+d.int(), p
	*before = e.Time
	p.Topic, p.Role, p.Cause = names[d.uint()], names[d.uint()], names[d.uint()]
	p.Partition, p.Leader, p.LeaderEpoch, p.PartitionEpoch = int32(d.int()), int32(d.int()), int32(d.int()), int32(d.int())
	if n := d.int(); n > 0 {
		p.ISR = make([]int32, n)
		for i := range p.ISR {
			p.ISR[i] = int32(d.int())
		}
	}
	p.HighWatermark = d.int()
	p.LogEnd = p.HighWatermark + d.int()
	p.LogStart = d.int()
	return e
}
