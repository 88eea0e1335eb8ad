package checkers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"soak/history"
)

// KindGrowth is something of which a process takes ever more, though the cluster keeps no more than before.
const KindGrowth = "growth"

const (
	// driftHorizon is how far a growth is thought on: a night.
	driftHorizon = 8 * time.Hour
	// driftWarmUp is left out of each boot: caches fill, clients connect, the first collections run.
	driftWarmUp = time.Minute
	// driftStretch is the shortest time of which one lowest value is taken.
	driftStretch = 10 * time.Second
	// driftSpan is the shortest time that says anything about growth, and driftPoints the fewest lowest values in it.
	driftSpan   = 2 * time.Minute
	driftPoints = 8
)

const mib = 1 << 20

// resource is one thing of which a process may take ever more.
type resource struct {
	name string
	unit string
	// explained is what a node may take for what the cluster has it keep: partitions, and bytes of their records.
	explained func(*history.NodeMetric, kept) int64
	value     func(*history.NodeMetric) (n int64, told bool)
	// ratchet: each of these has a time-out. What stays in quiet has been forgotten, and comes in steps, with the faults that leave it behind: the lowest value
	// of each third of the time is above that of the one before, and the last by least above the first.
	ratchet bool
	// least is the growth in the time seen that is worth a word, and most what it may come to in a night.
	least, most int64
}

// kept is what a node has to keep.
type kept struct {
	partitions int64 // replicas of them that the committed metadata assigns to it
	written    int64 // most bytes of the records that clients have sent since the load began, as one copy
}

// What a node may take for what it keeps. Each is well above what the reference broker needs, so that only what nothing explains is left.
const (
	heapPerPartition = 32 << 10 // its state, its producers' state
	heapPerByte      = 128      // one byte of heap for so many on disk: a sparse index has 16 bytes for 4 KiB or more, in an array that may be half empty
	heapCache        = 64 * mib // recent batches of all partitions, and of one; never more than there are on disk
	heapCacheOfOne   = mib
	filesPerPart     = 2
	bytesPerFile     = 8 * mib // one descriptor more for so many bytes on disk: segments
	diskPerPartition = 64 << 10
	diskPerRecord    = 128 // beside its value: headers, of a batch of one
)

var resourcesOfNodes = []resource{
	{
		name: "heap in use after garbage collection", unit: "bytes", least: 8 * mib, most: 256 * mib,
		value: func(m *history.NodeMetric) (int64, bool) { return m.HeapLive, m.HeapLive > 0 },
		explained: func(m *history.NodeMetric, k kept) int64 {
			return k.partitions*heapPerPartition + m.Disk/heapPerByte + min(m.Disk, heapCache, k.partitions*heapCacheOfOne)
		},
	},
	{
		name: "goroutines", least: 20, most: 1000,
		value:     func(m *history.NodeMetric) (int64, bool) { return m.Goroutines, m.Goroutines > 0 },
		explained: func(*history.NodeMetric, kept) int64 { return 0 },
	},
	{
		name: "file descriptors", least: 20, most: 1000,
		value:     func(m *history.NodeMetric) (int64, bool) { return m.Descriptors, m.Descriptors > 0 },
		explained: func(m *history.NodeMetric, k kept) int64 { return k.partitions*filesPerPart + m.Disk/bytesPerFile },
	},
	{
		name: "waiting requests", least: 10, most: 500, ratchet: true,
		value: func(m *history.NodeMetric) (int64, bool) {
			if m.Waiting == nil {
				return 0, false
			}
			return *m.Waiting, true
		},
		explained: func(*history.NodeMetric, kept) int64 { return 0 },
	},
	{
		name: "disk", unit: "bytes", least: 64 * mib, most: 8 << 30,
		value:     func(m *history.NodeMetric) (int64, bool) { return m.Disk, m.Disk > 0 },
		explained: func(_ *history.NodeMetric, k kept) int64 { return k.partitions*diskPerPartition + k.written },
	},
}

// runnerMemory is held to a bound as well, in the runner's own favour: a harness that grows so would not live through a night. It makes a run inconclusive
// and accuses nobody.
var runnerMemory = resource{name: "heap in use after garbage collection", unit: "bytes", least: 32 * mib, most: 512 * mib}

// sample is one measurement of a node, with what it had to keep then.
type sample struct {
	time int64
	*history.NodeMetric
	written int64
}

// steps are how many replicas a node has to keep, by time.
type step struct{ time, count int64 }

// resources holds what nodes take to what the cluster has them keep: the lowest values of quiet time, boot by boot, may not rise so that a night would end
// badly. It keeps one sample a node and second, 5 MB for 8 hours of three nodes.
type resources struct {
	ledger
	run     *history.Run
	samples map[boot][]sample
	runner  []point // heap
	written int64
	last    int64 // time of the last measurement

	index    uint64 // of the last entry that was counted
	replicas map[partition][]int32
	counts   map[int32]int64
	steps    map[int32][]step

	judged    int64
	lives     int64            // boots with enough to judge
	projected map[string]int64 // worst growth in a night, by resource
}

func newResources(run *history.Run) *resources {
	return &resources{
		ledger: ledger{id: Resources}, run: run, samples: map[boot][]sample{}, replicas: map[partition][]int32{},
		counts: map[int32]int64{}, steps: map[int32][]step{}, projected: map[string]int64{},
	}
}

// Event keeps count of the replicas that each node has, by the committed entries, whoever tells of one first.
func (c *resources) Event(e *history.Event) {
	a, ok := e.Body.(*history.Apply)
	if !ok || a.Index <= c.index {
		return
	}
	c.index = a.Index
	if a.Outcome != history.Applied {
		return
	}
	for i := range a.Changes {
		ch := &a.Changes[i]
		p := partition{ch.Topic, ch.Partition}
		old, now := c.replicas[p], ch.Replicas
		if ch.Gone {
			now = nil
			delete(c.replicas, p)
		} else {
			c.replicas[p] = now
		}
		if slices.Equal(old, now) {
			continue
		}
		for _, n := range old {
			c.count(n, e.Time, -1)
		}
		for _, n := range now {
			c.count(n, e.Time, 1)
		}
	}
}

// count notes a change, one a second at most.
func (c *resources) count(node int32, at, by int64) {
	c.counts[node] += by
	steps := c.steps[node]
	if n := len(steps); n > 0 && at < steps[n-1].time+int64(time.Second) {
		steps[n-1].count = c.counts[node]
		return
	}
	c.steps[node] = append(steps, step{at, c.counts[node]})
}

// Metric takes a second's measurements.
func (c *resources) Metric(m *history.Metric) {
	c.last = max(c.last, m.Time)
	c.written += (m.Acked + m.Failed + m.Unknown) * int64(c.run.Contract.ValueBytes+diskPerRecord)
	if m.Runner != nil && m.Runner.HeapLive > 0 {
		c.runner = append(c.runner, point{seconds(m.Time), float64(m.Runner.HeapLive)})
	}
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Up && n.Boot > 0 {
			b := boot{n.Node, n.Boot}
			c.samples[b] = append(c.samples[b], sample{m.Time, n, c.written})
		}
	}
}

func seconds(ns int64) float64 { return float64(ns/int64(time.Millisecond)) / 1000 }

// quiet is time without faults and what follows them, in which nodes settle.
func (c *resources) quiet() []window {
	end := c.last
	for _, p := range c.run.Phases {
		if p.Name == "drain" && p.Start != 0 {
			end = p.Start
		}
	}
	lag := max(c.run.SessionTimeout, int64(time.Second))
	return quietTime(c.run, c.faults, end, c.run.SessionTimeout+lag+int64(clientSlack))
}

// settled are a boot's samples in quiet time, without its first minute.
func settled(all []sample, quiet []window) []sample {
	var out []sample
	for _, s := range all {
		for len(quiet) > 0 && quiet[0].to < s.time {
			quiet = quiet[1:]
		}
		if len(quiet) == 0 {
			break
		}
		if s.time >= quiet[0].from && s.time >= all[0].time+int64(driftWarmUp) {
			out = append(out, s)
		}
	}
	return out
}

// at is how many replicas a node had to keep.
func (c *resources) at(node int32, time int64) int64 {
	steps := c.steps[node]
	i, _ := slices.BinarySearchFunc(steps, time+1, func(s step, t int64) int { return cmp.Compare(s.time, t) })
	if i == 0 {
		return 0
	}
	return steps[i-1].count
}

// growth is what the floors of a series say: how much of it nothing explains, at least, per second. Their second half must say so too, or what rose has
// come to its end. enough is false where they say nothing.
func growth(f []point) (rate float64, enough bool) {
	if len(f) < driftPoints || f[len(f)-1].at-f[0].at < driftSpan.Seconds()-driftStretch.Seconds() {
		return 0, false
	}
	whole, _ := slopes(f)
	_, late := slopes(f[len(f)/2:])
	return max(0, min(whole, late)), true
}

// judge holds one resource of one boot to its bounds.
func (c *resources) judge(b boot, of []sample, r *resource) bool {
	var points []point
	var first, last *sample
	for i := range of {
		s := &of[i]
		n, told := r.value(s.NodeMetric)
		if !told {
			continue
		}
		if first == nil {
			first = s
		}
		last = s
		points = append(points, point{seconds(s.time), float64(n - r.explained(s.NodeMetric, kept{c.at(b.node, s.time), s.written}))})
	}
	f := floors(points, driftStretch.Seconds())
	rate, enough := growth(f)
	if !enough {
		return false
	}
	c.judged++
	span := f[len(f)-1].at - f[0].at
	night := int64(rate * driftHorizon.Seconds())
	c.projected[r.name] = max(c.projected[r.name], night)
	steps := r.ratchet && rises(f, float64(r.least))
	if !steps && (int64(rate*span) < r.least || night <= r.most) {
		return true
	}
	from, _ := r.value(first.NodeMetric)
	to, _ := r.value(last.NodeMetric)
	why := fmt.Sprintf("the fewest in each third of it rose, by %d or more in all, and none of them may wait for longer than its time-out", r.least)
	if !steps {
		why = fmt.Sprintf("of which nothing explains %s an hour at least; a night would add %s, above %s", r.amount(int64(rate*3600)), r.amount(night), r.amount(r.most))
	}
	v := Violation{
		Kind: KindGrowth, Time: last.time, Nodes: []int32{b.node},
		Sentence: fmt.Sprintf("n%d in boot %d takes ever more %s: %s to %s in %s of quiet, %s", b.node, b.boot, r.name,
			r.amount(from), r.amount(to), time.Duration(span*float64(time.Second)).Round(time.Second), why),
	}
	for _, s := range []*sample{first, last} {
		v.Evidence = append(v.Evidence, s.line())
	}
	c.violate(v)
	return true
}

// line is the sample as it stands in the folder, with its time.
func (s *sample) line() string {
	data, err := json.Marshal(struct {
		Time int64 `json:"time"`
		*history.NodeMetric
	}{s.time, s.NodeMetric})
	if err != nil { // a measurement holds nothing that JSON cannot say
		panic(fmt.Sprintf("checkers: encoding a measurement of n%d: %v", s.Node, err))
	}
	return string(data)
}

// amount is a number of it in words.
func (r *resource) amount(n int64) string {
	if r.unit != "bytes" {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/mib)
}

// runnerGrows says so, and what it comes to.
func (c *resources) runnerGrows() (night int64, why string) {
	var points []point
	for _, p := range c.runner {
		if p.at >= c.runner[0].at+driftWarmUp.Seconds() {
			points = append(points, p)
		}
	}
	f := floors(points, driftStretch.Seconds())
	rate, enough := growth(f)
	if !enough {
		return 0, ""
	}
	night = int64(rate * driftHorizon.Seconds())
	if r := &runnerMemory; night > r.most && int64(rate*(f[len(f)-1].at-f[0].at)) >= r.least {
		why = fmt.Sprintf("the runner itself takes ever more %s: a night would add %s, above %s", r.name, r.amount(night), r.amount(r.most))
	}
	return night, why
}

// Finish implements Checker.
func (c *resources) Finish() Verdict {
	quiet := c.quiet()
	boots := make([]boot, 0, len(c.samples))
	for b := range c.samples {
		boots = append(boots, b)
	}
	slices.SortFunc(boots, func(a, b boot) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.boot, b.boot)) })
	for _, b := range boots {
		of := settled(c.samples[b], quiet)
		enough := false
		for i := range resourcesOfNodes {
			r := &resourcesOfNodes[i]
			if r.name == "disk" && c.run.Contract.ValueBytes == 0 {
				continue // nobody knows what explains it
			}
			enough = c.judge(b, of, r) || enough
		}
		c.lives += int64(btoi(enough))
	}
	var missing []string
	night, why := c.runnerGrows()
	if why != "" {
		missing = append(missing, why)
	}
	v := c.verdict(c.judged, "series of measurements", fmt.Sprintf("nothing grew without bound in %s of nodes", plural(c.lives, "boot")), missing)
	switch {
	case v.Outcome == Violated:
	case len(boots) == 0:
		v.Outcome, v.Reason = NotApplicable, "the nodes do not tell what they take"
	case c.judged == 0:
		v.Outcome, v.Reason = NotApplicable, fmt.Sprintf("not enough data: no boot had %s of time without faults, its first minute left out", driftSpan)
	}
	v.Measures = append(v.Measures, Measure{Name: "boots with enough data", Seen: c.lives}, Measure{Name: "boots", Seen: int64(len(boots))})
	for i := range resourcesOfNodes {
		r := &resourcesOfNodes[i]
		if n, judged := c.projected[r.name]; judged {
			v.Measures = append(v.Measures, r.measure("unexplained growth of "+r.name+" in 8 h", n))
		}
	}
	if night > 0 {
		v.Measures = append(v.Measures, runnerMemory.measure("growth of the runner's "+runnerMemory.name+" in 8 h", night))
	}
	return v
}

func (r *resource) measure(name string, n int64) Measure {
	if r.unit == "bytes" {
		return Measure{Name: name, Seen: n / mib, Unit: "MiB"}
	}
	return Measure{Name: name, Seen: n}
}
