package measure

import (
	"cmp"
	"slices"
	"time"

	"soak/history"
)

// Window is how long a sample's window is: long enough to hold a few hundred requests of a usual load, and several to a minute.
const Window = 5 * time.Second

// class of a produce request, by what went on while it ran.
type class int

const (
	anyTime class = iota
	inQuiet
	duringFault
	classes
)

// tally is what was counted in a window, or in the whole load.
type tally struct {
	acked, failed, unknown int64 // records
	meta, metaBad          int64 // metadata operations, answered and not
	latency                [classes]histogram
	nodes                  [5]int64 // the most of a node, as ofNodes names it; 0 where nothing was measured
	runner                 [4]int64 // the most of the runner, as ofRunner names it
	metrics                int64    // lines of metrics
	stall, disk            int64    // ns; disk is 0 where it was not probed
}

func (t *tally) sent() int64 { return t.acked + t.failed + t.unknown }

type partition struct {
	topic string
	id    int32
}

// ending is the end of a proven fault, and what came after it.
type ending struct {
	id      int
	healed  int64
	back    int   // partitions that acknowledged a write after it
	slowest int64 // the longest that one took, ns
}

// reading takes a folder's records. Faults come first, then operations, then metrics, as history.ReadFolder gives them.
type reading struct {
	run      *history.Run
	from, to int64 // the load; to is 0 until it is known
	seen     int64 // the last instant of a record

	total   tally
	per     map[int64]*tally // by the window's number
	busy    []gap            // the proven faults' times, merged and in order
	frozen  bool             // busy and ended are complete and sorted
	ended   []*ending
	waiting map[partition]int // how many of ended a partition has recovered from
	outages map[partition]*gaps
}

func newReading(run *history.Run) *reading {
	r := &reading{run: run, per: map[int64]*tally{}, waiting: map[partition]int{}, outages: map[partition]*gaps{}}
	for _, p := range run.Phases {
		switch p.Name {
		case "steady":
			r.from = p.Start
		case "drain":
			r.to = p.Start
		}
	}
	for _, t := range run.RecordTopics {
		for id := range t.Partitions {
			r.outages[partition{t.Name, id}] = r.outage()
		}
	}
	return r
}

func (r *reading) outage() *gaps {
	g := &gaps{}
	g.begin(r.from)
	return g
}

// inLoad reports whether an instant belongs to the load; one of a run that was cut short has no end.
func (r *reading) inLoad(at int64) bool {
	return r.from != 0 && at >= r.from && (r.to == 0 || at < r.to)
}

// closeLoad settles when the load of a run that was cut short ended: with its last record.
func (r *reading) closeLoad() {
	r.freeze()
	if r.to == 0 {
		r.to = r.seen
	}
}

func (r *reading) fault(f *history.Fault) error {
	if !f.Proven() {
		return nil
	}
	until := f.Healed
	if until == 0 {
		until = 1<<63 - 1 // never seen healed
	}
	r.busy = append(r.busy, gap{f.Asked, until})
	if f.Healed != 0 && r.inLoad(f.Healed) {
		r.ended = append(r.ended, &ending{id: f.ID, healed: f.Healed})
	}
	return nil
}

// freeze sorts the faults once all of them are known.
func (r *reading) freeze() {
	if r.frozen {
		return
	}
	r.frozen = true
	slices.SortFunc(r.ended, func(a, b *ending) int { return cmp.Compare(a.healed, b.healed) })
	slices.SortFunc(r.busy, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	var merged []gap
	for _, b := range r.busy {
		if n := len(merged); n > 0 && b.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, b.to)
			continue
		}
		merged = append(merged, b)
	}
	r.busy = merged
}

func (r *reading) anyProven() bool { return len(r.busy) > 0 }

// touched reports whether a fault was active in a time.
func (r *reading) touched(from, to int64) bool {
	i, _ := slices.BinarySearchFunc(r.busy, from, func(b gap, at int64) int { return cmp.Compare(b.to, at) })
	return i < len(r.busy) && r.busy[i].from <= to
}

// at is the window of an instant of the load.
func (r *reading) at(t int64) *tally {
	n := (t - r.from) / int64(Window)
	w := r.per[n]
	if w == nil {
		w = &tally{}
		r.per[n] = w
	}
	return w
}

// windows are the whole ones of the load, in order; one in which nothing happened is an empty tally.
func (r *reading) windows() []*tally {
	var out []*tally
	for n := range (r.to - r.from) / int64(Window) {
		w := r.per[n]
		if w == nil {
			w = &tally{}
		}
		out = append(out, w)
	}
	return out
}

func (r *reading) operation(op *history.Operation) error {
	r.freeze()
	at := op.Complete
	if at == 0 {
		at = op.Invoke
	}
	r.seen = max(r.seen, at)
	if !r.inLoad(at) {
		return nil
	}
	for _, t := range []*tally{&r.total, r.at(at)} {
		switch {
		case op.Produce != nil:
			r.sent(t, op)
		case op.Meta != nil && (op.Meta.Owner == "metadata" || op.Meta.Owner == ""):
			if op.Outcome == history.OK {
				t.meta++
			} else {
				t.metaBad++
			}
		}
	}
	if op.Produce != nil && op.Outcome == history.OK {
		r.acknowledged(partition{op.Produce.Topic, op.Produce.Partition}, at)
	}
	return nil
}

func (r *reading) sent(t *tally, op *history.Operation) {
	n := int64(op.Produce.Count)
	switch op.Outcome {
	case history.Failed:
		t.failed += n
	case history.Unknown:
		t.unknown += n
	case history.OK:
		t.acked += n
		took := max(0, op.Complete-op.Invoke)
		t.latency[anyTime].add(took)
		if r.touched(op.Invoke, op.Complete) {
			t.latency[duringFault].add(took)
		} else {
			t.latency[inQuiet].add(took)
		}
	}
}

func (r *reading) acknowledged(p partition, at int64) {
	g := r.outages[p]
	if g == nil {
		if len(r.run.RecordTopics) > 0 {
			return // not one of those that the load writes to all the time
		}
		g = r.outage()
		r.outages[p] = g
	}
	g.see(at)
	next := r.waiting[p]
	for ; next < len(r.ended) && r.ended[next].healed <= at; next++ {
		e := r.ended[next]
		e.back++
		e.slowest = max(e.slowest, at-e.healed)
	}
	r.waiting[p] = next
}

func (r *reading) metric(m *history.Metric) error {
	r.seen = max(r.seen, m.Time)
	of := []*tally{&r.total}
	if r.inLoad(m.Time) {
		of = append(of, r.at(m.Time))
	}
	for _, t := range of {
		t.metrics++
		t.stall, t.disk = max(t.stall, m.StallNanos), max(t.disk, m.DiskNanos)
		for _, n := range m.Nodes {
			if !n.Up {
				continue
			}
			for i, v := range []int64{n.Memory, n.HeapLive, n.Goroutines, n.Descriptors, n.Disk} {
				t.nodes[i] = max(t.nodes[i], v)
			}
		}
		if u := m.Runner; u != nil {
			for i, v := range []int64{u.Memory, u.HeapLive, u.Goroutines, u.Descriptors} {
				t.runner[i] = max(t.runner[i], v)
			}
		}
	}
	return nil
}
