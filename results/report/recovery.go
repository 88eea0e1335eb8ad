package report

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"

	"soak/history"
)

// A track follows the acknowledged writes of one partition through the file: how long none came, and how soon after each fault's end one did. Operations
// stand in the file in the order in which they ended, but for some that ended together: a short queue brings those in order.
type track struct {
	partition partition
	queue     times
	last      int64         // of the acknowledgements so far
	gaps      []gap         // the longest, by fault; the first is of none
	first     map[int]int64 // by fault: when the first write that was begun after its end was acknowledged
}

// gap is a time without an acknowledged write of a partition.
type gap struct {
	partition partition
	from, to  int64
	fault     int // id, 0 if none was active in it
}

func (g gap) length() int64 { return g.to - g.from }

// inOrder is how many acknowledgements wait for one that ended sooner and stands later.
const inOrder = 512

type times []int64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(x any)        { *t = append(*t, x.(int64)) }
func (t *times) Pop() any          { old := *t; x := old[len(old)-1]; *t = old[:len(old)-1]; return x }

// outages follows all partitions.
type outages struct {
	faults []history.Fault // proven, in the order of their asking
	healed []int           // indexes of faults that were seen healed, by that time
	of     map[string][]*track
	late   int // acknowledgements that stood too far from their place
}

func newOutages(faults []history.Fault) *outages {
	o := &outages{of: map[string][]*track{}}
	for _, f := range faults {
		if f.Proven() {
			o.faults = append(o.faults, f)
		}
	}
	slices.SortStableFunc(o.faults, func(a, b history.Fault) int { return cmp.Compare(a.Asked, b.Asked) })
	for i := range o.faults {
		if o.faults[i].Healed != 0 {
			o.healed = append(o.healed, i)
		}
	}
	slices.SortStableFunc(o.healed, func(a, b int) int { return cmp.Compare(o.faults[a].Healed, o.faults[b].Healed) })
	return o
}

// maxTracked bounds the partitions of a topic that are followed.
const maxTracked = 1 << 12

func (o *outages) track(topic []byte, id int32) *track {
	list := o.of[string(topic)]
	if id < 0 || id >= maxTracked || len(o.of) >= maxTracked && list == nil {
		return nil
	}
	for len(list) <= int(id) {
		list = append(list, nil)
		o.of[string(topic)] = list
	}
	if list[id] == nil {
		list[id] = &track{partition: partition{string(topic), id}, first: map[int]int64{}}
	}
	return list[id]
}

// acked takes a write that was acknowledged.
func (o *outages) acked(topic []byte, id int32, invoke, complete int64) {
	t := o.track(topic, id)
	if t == nil {
		return
	}
	// The last fault that had ended when the write began: those that ended before it are done with by the same write.
	if i := sort.Search(len(o.healed), func(i int) bool { return o.faults[o.healed[i]].Healed > invoke }) - 1; i >= 0 {
		f := o.faults[o.healed[i]].ID
		if at, known := t.first[f]; !known || complete < at {
			t.first[f] = complete
		}
	}
	heap.Push(&t.queue, complete)
	if len(t.queue) > inOrder {
		o.next(t, heap.Pop(&t.queue).(int64))
	}
}

func (o *outages) next(t *track, at int64) {
	switch {
	case at < t.last:
		o.late++
		return
	case t.last != 0:
		o.gap(t, gap{partition: t.partition, from: t.last, to: at})
	}
	t.last = at
}

// leastGap is the shortest time without a write that anybody looks at.
const leastGap = 20_000_000

// gap keeps the longest for each fault. A gap belongs to the last fault that began before its end, of those that were active in it.
func (o *outages) gap(t *track, g gap) {
	if g.length() < leastGap {
		return
	}
	for i := sort.Search(len(o.faults), func(i int) bool { return o.faults[i].Asked >= g.to }) - 1; i >= 0; i-- {
		f := &o.faults[i]
		if f.Healed == 0 || f.Healed > g.from {
			g.fault = f.ID
			break
		}
		if g.from-f.Healed > int64(3600e9) {
			break // none of those before can reach so far, or it was seen healed
		}
	}
	for i := range t.gaps {
		if t.gaps[i].fault == g.fault {
			if g.length() > t.gaps[i].length() {
				t.gaps[i] = g
			}
			return
		}
	}
	t.gaps = append(t.gaps, g)
}

// finish brings what waits into the account.
func (o *outages) finish() {
	for _, t := range o.all() {
		for len(t.queue) > 0 {
			o.next(t, heap.Pop(&t.queue).(int64))
		}
	}
}

func (o *outages) all() []*track {
	var out []*track
	for _, list := range o.of {
		for _, t := range list {
			if t != nil {
				out = append(out, t)
			}
		}
	}
	slices.SortFunc(out, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.partition.topic, b.partition.topic), cmp.Compare(a.partition.id, b.partition.id))
	})
	return out
}

// worst are the longest gaps of all partitions: the first within the time of a fault, the other without one.
func (o *outages) worst() (during, without gap) {
	for _, t := range o.all() {
		for _, g := range t.gaps {
			switch {
			case g.fault != 0 && g.length() > during.length():
				during = g
			case g.fault == 0 && g.length() > without.length():
				without = g
			}
		}
	}
	return during, without
}

// recovered is what came of one fault.
type recovered struct {
	fault   *history.Fault
	outage  gap   // the longest of any partition
	write   int64 // ns from its end until every partition that wrote again had a write acknowledged; -1 if none did
	slowest partition
	waiting int // partitions that had none before the next fault ended
}

// recoveries tells of each fault, in the order in which they were asked for.
func (o *outages) recoveries() []recovered {
	place := map[int]int{}
	out := make([]recovered, len(o.faults))
	for i := range o.faults {
		out[i] = recovered{fault: &o.faults[i], write: -1}
		place[o.faults[i].ID] = i
	}
	for _, t := range o.all() {
		for _, g := range t.gaps {
			if i, ok := place[g.fault]; ok && g.length() > out[i].outage.length() {
				out[i].outage = g
			}
		}
		for _, i := range o.healed {
			r := &out[i]
			at, ok := t.first[r.fault.ID]
			if !ok {
				r.waiting++
				continue
			}
			if d := at - r.fault.Healed; d > r.write {
				r.write, r.slowest = d, t.partition
			}
		}
	}
	return out
}
