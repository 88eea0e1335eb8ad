package campaign

import (
	"slices"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
)

// pass makes a plan smaller in one way. It answers whether it did, and then is done again.
type pass struct {
	name string
	do   func(*shrinker) (bool, error)
}

// passes in the order that makes later runs short: first what takes time away.
var passes = []pass{
	{"cut the tail", cutTail},
	{"fewer faults", fewerFaults},
	{"no core", noCore},
	{"one alone", alone},
	{"fewer nodes", fewerNodes},
	{"few together", fewTogether},
	{"one instead", oneInstead},
	{"no noise", noNoise},
	{"less load", lessLoad},
	{"earlier and shorter", shorter},
	{"plain faults", plain},
	{"softer faults", softer},
	{"round times", rounder},
}

// cutTail ends the run soon after the failure, or takes halves of what is behind the last fault.
func cutTail(s *shrinker) (bool, error) {
	length := s.length()
	var out []*scenario.Scenario
	for _, d := range []time.Duration{
		s.failed() + 200*time.Millisecond, s.failed() + s.best.ElectionInterval, s.last() + time.Second, s.last() + 2*s.best.ElectionInterval, s.last() + 5*s.best.ElectionInterval,
		length / 2, length * 3 / 4,
	} {
		d = (d + 99*time.Millisecond).Truncate(100 * time.Millisecond)
		if d < 200*time.Millisecond || s.best.Duration != 0 && d >= s.best.Duration || d >= length && s.best.Duration != 0 {
			continue
		}
		out = append(out, s.change(func(c *scenario.Scenario) {
			c.Duration, c.Intervals, c.Steady = d, 0, 0
			c.Faults = slices.DeleteFunc(c.Faults, func(f scenario.Fault) bool { return f.At.In(c.ElectionInterval) >= d })
		}))
	}
	slices.SortStableFunc(out, func(a, b *scenario.Scenario) int { return int(a.Duration - b.Duration) })
	return s.first(out)
}

// length is how long faults and load may go on.
func (s *shrinker) length() time.Duration {
	if s.best.Duration > 0 {
		return s.best.Duration
	}
	return s.best.Expected()
}

// failed is when the run failed, counted from its beginning: at least as long as from the end of start.
func (s *shrinker) failed() time.Duration {
	if s.fail.At == 0 {
		return s.length()
	}
	return time.Duration(s.fail.At)
}

// last is when the last fault is healed.
func (s *shrinker) last() time.Duration { return s.best.ScheduleLength() }

// fewerFaults is Zeller's ddmin: halves, then quarters, and so on down to single faults, are taken away.
func fewerFaults(s *shrinker) (bool, error) {
	n := len(s.best.Faults)
	for size := n; size >= 1; size = (size + 1) / 2 {
		var out []*scenario.Scenario
		for from := n; from > 0; from -= size { // the last first: what comes after the failure is surely not needed
			low := max(0, from-size)
			out = append(out, s.change(func(c *scenario.Scenario) { c.Faults = slices.Delete(c.Faults, low, from) }))
		}
		if ok, err := s.first(out); ok || err != nil {
			return ok, err
		}
		if size == 1 {
			break
		}
	}
	return false, nil
}

// noCore drops the liveness phase, or breaks the others in the plainest way.
func noCore(s *shrinker) (bool, error) {
	if !s.best.Liveness.On() {
		return false, nil
	}
	out := []*scenario.Scenario{s.change(func(c *scenario.Scenario) { c.Liveness = scenario.Liveness{} })}
	if s.best.Liveness.Others != chaos.Kill {
		out = append(out, s.change(func(c *scenario.Scenario) { c.Liveness.Others = chaos.Kill }))
	}
	return s.first(out)
}

// coreOf is a liveness phase for fewer nodes: what is left of its core, with others to make it a majority.
func coreOf(l scenario.Liveness, nodes int) scenario.Liveness {
	if !l.On() {
		return l
	}
	core := slices.DeleteFunc(slices.Clone(l.Core), func(id int32) bool { return int(id) > nodes })
	core = core[:min(len(core), nodes-1)]
	for id := int32(1); 2*len(core) <= nodes; id++ {
		if !slices.Contains(core, id) {
			core = append(core, id)
		}
	}
	slices.Sort(core)
	l.Core = core
	return l
}

// alone tries single faults that choose their node by its role: one that came before may have done no more than to make that node a leader.
func alone(s *shrinker) (bool, error) {
	if len(s.best.Faults) < 2 {
		return false, nil
	}
	var out []*scenario.Scenario
	for _, f := range s.best.Faults {
		f.Nodes, f.Role = nil, ""
		out = append(out, s.change(func(c *scenario.Scenario) { c.Faults = []scenario.Fault{f} }))
	}
	return s.first(out)
}

// fewTogether tries every two and three of a few faults, as they stand and choosing their nodes by role: what is left of a schedule from which no
// single fault can be taken may still hold two ways to the same failure.
func fewTogether(s *shrinker) (bool, error) {
	n := len(s.best.Faults)
	if n < 3 || n > 10 {
		return false, nil
	}
	var out []*scenario.Scenario
	keep := func(chosen ...int) {
		for _, pinned := range []bool{true, false} {
			out = append(out, s.change(func(c *scenario.Scenario) {
				var few []scenario.Fault
				for _, i := range chosen {
					f := c.Faults[i]
					if !pinned {
						f.Nodes, f.Role = nil, ""
					}
					few = append(few, f)
				}
				c.Faults = few
			}))
		}
	}
	for i := range n {
		for k := i + 1; k < n; k++ {
			keep(i, k)
		}
	}
	if n > 3 {
		for i := range n {
			for k := i + 1; k < n; k++ {
				for l := k + 1; l < n; l++ {
					keep(i, k, l)
				}
			}
		}
	}
	return s.first(out)
}

// oneInstead tries one long fault in the place of several: of every kind that all drivers can do, on each role, when the first one came or soon after the
// start. Several faults often do no more together than to part a leader from the others, or from its lead, for as long as one could. A
// minimum ISR of 2 takes pains to get around, so topics that one replica suffices for are tried as well, and what is kept needs one fault in any case.
func oneInstead(s *shrinker) (bool, error) {
	if len(s.best.Faults) < 2 {
		return false, nil
	}
	c := s.best
	begin := min(c.Faults[0].At.In(c.ElectionInterval), 2*time.Second)
	targets := []string{scenario.TargetRaftLeader, scenario.TargetPartitionLeader, scenario.TargetFollower}
	for _, f := range c.Faults {
		if !slices.Contains(targets, f.Target) {
			targets = append(targets, f.Target)
		}
	}
	var out []*scenario.Scenario
	for _, replicas := range []int16{0, 1} {
		for _, kind := range []string{chaos.Partition, chaos.Kill, chaos.Pause} {
			for _, target := range targets {
				if kind == chaos.Partition && target == scenario.TargetAll {
					continue
				}
				for _, at := range []time.Duration{begin, 2 * c.ElectionInterval} {
					out = append(out, s.change(func(c *scenario.Scenario) {
						c.Faults = []scenario.Fault{{Kind: kind, Target: target, At: scenario.Fixed(at), For: scenario.Fixed(2 * c.Window(scenario.Fault{}, true)), Overlap: true}}
						for i := range c.Topics {
							if replicas > 0 {
								c.Topics[i].MinInsyncReplicas = replicas
							}
						}
						if end := c.ScheduleLength() + 2*c.ElectionInterval; c.Duration > 0 && c.Duration < end {
							c.Duration, c.Intervals = end, 0
						}
					}))
				}
			}
		}
	}
	return s.first(out)
}

func fewerNodes(s *shrinker) (bool, error) {
	if s.best.Nodes <= 3 {
		return false, nil
	}
	var out []*scenario.Scenario
	for _, n := range []int{3, s.best.Nodes - 1} {
		// Faults on nodes that are no more choose others by their role, or go.
		if c, err := s.change(func(c *scenario.Scenario) { c.Liveness = coreOf(c.Liveness, n) }).Resolve(scenario.Flags{Nodes: n}); err == nil {
			out = append(out, c)
		}
		left := s.change(func(c *scenario.Scenario) {
			c.Liveness = coreOf(c.Liveness, n)
			c.Faults = slices.DeleteFunc(c.Faults, func(f scenario.Fault) bool {
				return slices.ContainsFunc(f.Nodes, func(id int32) bool { return int(id) > n })
			})
		})
		if c, err := left.Resolve(scenario.Flags{Nodes: n}); err == nil {
			out = append(out, c)
		}
	}
	return s.first(out)
}

// noNoise makes the machine a sound one, at once or one property after the other.
func noNoise(s *shrinker) (bool, error) {
	if s.best.Flush != "" {
		if ok, err := s.first([]*scenario.Scenario{s.change(func(c *scenario.Scenario) { c.Flush = "" })}); ok || err != nil {
			return ok, err
		}
	}
	if s.best.Sim == (scenario.Sim{}) {
		return false, nil
	}
	out := []*scenario.Scenario{s.change(func(c *scenario.Scenario) { c.Sim = scenario.Sim{} })}
	d := scenario.DefaultSim
	for _, reset := range []func(*scenario.Sim){
		func(m *scenario.Sim) { m.SpikePPM, m.SpikeMax = 0, 0 },
		func(m *scenario.Sim) { m.DropPPM = 0 },
		func(m *scenario.Sim) { m.DuplicatePPM = 0 },
		func(m *scenario.Sim) { m.ReorderPPM = 0 },
		func(m *scenario.Sim) { m.ResetPPM = 0 },
		func(m *scenario.Sim) { m.SlowNode, m.SlowFactor = 0, 1 },
		func(m *scenario.Sim) { m.ClockPPM, m.ClockSkew = 0, 0 },
		func(m *scenario.Sim) { m.LatencyMin, m.LatencyMax = d.LatencyMin, d.LatencyMax },
		func(m *scenario.Sim) { m.SyncMin, m.SyncMax, m.WritePerKiB = d.SyncMin, d.SyncMax, d.WritePerKiB },
		func(m *scenario.Sim) { m.StartTime = d.StartTime },
		func(m *scenario.Sim) { m.SegmentBytes = 0 },
		func(m *scenario.Sim) { m.SnapshotEntries = 0 },
		func(m *scenario.Sim) { m.Readers = d.Readers },
		func(m *scenario.Sim) { m.Wire = false },
	} {
		out = append(out, s.change(func(c *scenario.Scenario) { reset(&c.Sim) }))
	}
	return s.first(out)
}

// lessLoad takes workloads and topics away, or halves them.
func lessLoad(s *shrinker) (bool, error) {
	var out []*scenario.Scenario
	load := func(f func(w *scenario.Workloads)) {
		out = append(out, s.change(func(c *scenario.Scenario) { f(&c.Workloads) }))
	}
	w := s.best.Workloads
	load(func(w *scenario.Workloads) { *w = scenario.Workloads{} })
	load(func(w *scenario.Workloads) { w.Metadata, w.Autocreate = scenario.Metadata{}, scenario.Autocreate{} })
	load(func(w *scenario.Workloads) { w.Produce = scenario.Produce{} })
	load(func(w *scenario.Workloads) { w.Metadata = scenario.Metadata{} })
	load(func(w *scenario.Workloads) { w.Autocreate = scenario.Autocreate{} })
	if w.Consume.Readers > 0 {
		load(func(w *scenario.Workloads) { w.Consume = scenario.Consume{} })
	}
	if n := len(s.best.Topics); n > 1 {
		for i := range n {
			out = append(out, s.change(func(c *scenario.Scenario) { c.Topics = slices.Delete(c.Topics, i, i+1); lookForNothing(c) }))
		}
	}
	for i := range s.best.Topics {
		for _, p := range []int32{1, s.best.Topics[i].Partitions / 2} {
			if p >= 1 && p < s.best.Topics[i].Partitions {
				out = append(out, s.change(func(c *scenario.Scenario) { c.Topics[i].Partitions = p }))
			}
		}
	}
	for i, t := range s.best.Topics {
		topic := func(f func(t *scenario.Topic)) {
			out = append(out, s.change(func(c *scenario.Scenario) {
				f(&c.Topics[i])
				lookForNothing(c)
			}))
		}
		if t.Goes() != "" {
			topic(func(t *scenario.Topic) { t.Retention, t.RetentionBytes, t.SegmentBytes = 0, 0, 0 })
		}
		if t.Retention > 0 && t.RetentionBytes > 0 {
			topic(func(t *scenario.Topic) { t.Retention = 0 })
			topic(func(t *scenario.Topic) { t.RetentionBytes = 0 })
		}
	}
	if w.Produce.Producers > 1 {
		load(func(w *scenario.Workloads) { w.Produce.Producers = 1 })
	}
	if w.Produce.Rate > 4*max(1, w.Produce.Batch) {
		load(func(w *scenario.Workloads) { w.Produce.Rate /= 2 })
	}
	if w.Metadata.Rate > 1 {
		load(func(w *scenario.Workloads) { w.Metadata.Rate /= 2 })
	}
	if w.Metadata.Clients > 1 {
		load(func(w *scenario.Workloads) { w.Metadata.Clients-- })
	}
	return s.first(out)
}

// lookForNothing leaves out how often leaders look where no topic lets anything go: a scenario that says it is refused.
func lookForNothing(c *scenario.Scenario) {
	if !c.LetsGo() {
		c.RetentionCheck = 0
	}
}

// shorter begins the schedule earlier, and brings the faults closer together.
func shorter(s *shrinker) (bool, error) {
	var out []*scenario.Scenario
	interval := s.best.ElectionInterval
	for i := range s.best.Faults {
		at := s.best.Faults[i].At.In(interval)
		previous := time.Duration(0)
		if i > 0 {
			previous = s.best.Faults[i-1].At.In(interval)
		}
		for _, by := range []time.Duration{(at - previous) * 3 / 4, (at - previous) / 2, (at - previous) / 4} {
			if by < 250*time.Millisecond {
				continue
			}
			out = append(out, s.change(func(c *scenario.Scenario) {
				for k := i; k < len(c.Faults); k++ {
					c.Faults[k].At = scenario.Fixed(c.Faults[k].At.In(interval) - by)
				}
				if c.Duration > by {
					c.Duration -= by
				}
			}))
		}
	}
	return s.first(out)
}

// plain puts faults that every driver can do in the place of those that only the simulator knows.
func plain(s *shrinker) (bool, error) {
	var out []*scenario.Scenario
	simple := []string{chaos.Kill, chaos.Partition, chaos.Pause}
	for i, f := range s.best.Faults {
		if f.Kind == chaos.RestartAll || slices.Contains(simple, f.Kind) {
			continue
		}
		for _, kind := range simple {
			out = append(out, s.change(func(c *scenario.Scenario) {
				x := &c.Faults[i]
				x.Kind, x.Parameters, x.Clients = kind, chaos.Parameters{}, x.Clients && kind == chaos.Partition
			}))
		}
	}
	return s.first(out)
}

// softer makes single faults shorter and milder.
func softer(s *shrinker) (bool, error) {
	var out []*scenario.Scenario
	fault := func(i int, f func(x *scenario.Fault)) {
		out = append(out, s.change(func(c *scenario.Scenario) { f(&c.Faults[i]) }))
	}
	for i, f := range s.best.Faults {
		if f.Clients {
			fault(i, func(x *scenario.Fault) { x.Clients = false })
		}
		// Group targets, one node less.
		if len(f.Nodes) > 1 && f.Kind != chaos.RestartAll && f.Kind != chaos.Bridge {
			for n := range f.Nodes {
				fault(i, func(x *scenario.Fault) {
					x.Nodes = slices.Delete(slices.Clone(x.Nodes), n, n+1)
					x.Target, x.Role = together(x.Nodes), ""
				})
			}
		}
		if lasts := f.For.In(s.best.ElectionInterval); lasts >= 400*time.Millisecond && (f.Brief || lasts > s.best.Window(scenario.Fault{}, false)) {
			fault(i, func(x *scenario.Fault) { x.For = scenario.Fixed(lasts / 2) })
			fault(i, func(x *scenario.Fault) { x.For = scenario.Fixed(lasts * 3 / 4) })
		}
	}
	return s.first(out)
}

// rounder makes times that a person can say: tenths of a second.
func rounder(s *shrinker) (bool, error) {
	const tenth = 100 * time.Millisecond
	interval := s.best.ElectionInterval
	var out []*scenario.Scenario
	odd := func(p scenario.Span) bool { return p.In(interval)%tenth != 0 }
	round := func(p scenario.Span) scenario.Span { return scenario.Fixed(p.In(interval).Round(tenth)) }
	if slices.ContainsFunc(s.best.Faults, func(f scenario.Fault) bool { return odd(f.At) || odd(f.For) }) {
		out = append(out, s.change(func(c *scenario.Scenario) {
			for i := range c.Faults {
				c.Faults[i].At, c.Faults[i].For = round(c.Faults[i].At), round(c.Faults[i].For)
			}
		}))
	}
	for i, f := range s.best.Faults {
		if odd(f.At) {
			out = append(out, s.change(func(c *scenario.Scenario) { c.Faults[i].At = round(f.At) }))
		}
		if odd(f.For) && f.For.In(interval) > tenth {
			out = append(out, s.change(func(c *scenario.Scenario) { c.Faults[i].For = round(f.For) }))
		}
	}
	return s.first(out)
}
