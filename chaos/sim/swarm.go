package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/workloads/gen"
)

// SwarmOptions bound what Draw draws. Zero values leave it all to the seed.
type SwarmOptions struct {
	Length time.Duration // of the safety phase: load under faults; default 60 s
	Nodes  int           // size of the cluster
	Kinds  []string      // kinds of fault to draw from; nil: all that the simulator knows
	Retain bool          // every seed has topics with retention, not one in ten
}

// DefaultLength is how long faults flow in a drawn scenario.
const DefaultLength = 60 * time.Second

// swarmKinds are the kinds that a seed draws from, in a fixed order. How often each is drawn, if at all, is the seed's own.
var swarmKinds = []string{
	chaos.Kill, chaos.RestartAll, chaos.Pause, chaos.Partition, chaos.OneWay, chaos.Bridge, chaos.Flapping, chaos.Reset,
	chaos.PowerLoss, chaos.DiskCrash, chaos.DiskFull, chaos.SlowDisk, chaos.WriteError, chaos.SyncError, chaos.ReadError, chaos.BitRot,
	chaos.ClockJump, chaos.ClockRate, chaos.SlowNode, chaos.ClientCrash,
	chaos.Stop, chaos.Rolling, chaos.CrashLoop, chaos.AllApart, chaos.ClientsCut, chaos.Delay, chaos.Loss,
}

// Draw makes a seed's own scenario (swarm testing, Groce et al., ISSTA 2012): each draws which faults there are and how often, the shape
// of the load, the size and the time-outs of the cluster, and the noise of its machine, so that rare combinations occur that a mix of
// everything would never show. The schedule is explicit: the same scenario with faults left out is a scenario again.
//
// A run of it has two phases. Safety: faults flow and overlap, for Length. Liveness: half of the seeds heal a core of nodes alone, which must
// serve while the others stay broken; then all is healed, and the cluster must be whole again within the bounds of the run loop's recover
// phase, under load, and serve. The schedule stays within what the broker promises: any
// number of nodes may lose power, their disks may refuse everything; but what a disk has confirmed is never taken from it for good.
func Draw(seed uint64, o SwarmOptions) *scenario.Scenario {
	d := &draw{Rand: gen.NewRand(mix(seed, saltSwarm)), o: o}
	if d.o.Length == 0 {
		d.o.Length = DefaultLength
	}
	if d.o.Kinds == nil {
		d.o.Kinds = swarmKinds
	}
	d.s = &scenario.Scenario{
		Name:        fmt.Sprintf("swarm-%d", seed),
		Description: fmt.Sprintf("drawn from seed %d", seed),
		Nodes:       pick(d, 3, 3, 3, 5, 3, 3, 3, 3), // five cost three times as much
		Duration:    d.o.Length,
	}
	if o.Nodes != 0 {
		d.s.Nodes = o.Nodes
	}
	d.s.ElectionInterval = pick(d, 500*time.Millisecond, time.Second, 2*time.Second, 2*time.Second, 4*time.Second)
	d.s.SessionTimeout = max(500*time.Millisecond, pick(d, d.s.ElectionInterval/2, d.s.ElectionInterval/2, d.s.ElectionInterval*3/2))
	d.load()
	d.machine()
	// A stream of its own leaves everything else as it was drawn before there were snapshots.
	d.s.Sim.SnapshotEntries = pick(&draw{Rand: gen.NewRand(mix(seed, saltSnapshot))}, int64(0), 20, 50, 50, 200, 500)
	d.schedule()
	d.liveness()
	d.flush(gen.NewRand(mix(seed, saltFlush)))
	d.idempotence()
	d.retention(&draw{Rand: gen.NewRand(mix(seed, saltRetention))})
	return d.s
}

// draw is a seed on its way to a scenario.
type draw struct {
	*gen.Rand
	o SwarmOptions
	s *scenario.Scenario
}

// pick draws one of a few; what stands twice is drawn twice as often.
func pick[T any](d *draw, from ...T) T { return from[d.Intn(len(from))] }

// in draws a number within low..high.
func (d *draw) in(low, high int) int { return low + d.Intn(high-low+1) }

// one is true once in n.
func (d *draw) one(n int) bool { return d.Intn(n) == 0 }

// scaled draws a duration between low and high, small ones as likely as large ones by their order of magnitude.
func (d *draw) scaled(low, high time.Duration) time.Duration {
	doublings := 0
	for low<<doublings < high {
		doublings++
	}
	base := low << d.Intn(max(doublings, 1))
	return min(high, base+time.Duration(d.Intn(1000))*base/1000).Truncate(time.Microsecond)
}

func (d *draw) load() {
	for i, name := range []string{"orders", "payments"}[:d.in(1, 2)] {
		t := scenario.Topic{Name: name, Partitions: int32(d.in(1, 4)), Replication: int16(d.s.Nodes), MinInsyncReplicas: 2}
		switch {
		case i == 1 && d.one(4):
			t.MinInsyncReplicas = 1
		case d.s.Nodes == 5 && d.one(3):
			t.MinInsyncReplicas = 3
		}
		d.s.Topics = append(d.s.Topics, t)
	}
	batch := pick(d, 1, 1, 3, 10)
	w := &d.s.Workloads
	w.Produce = scenario.Produce{
		Rate: batch * pick(d, 5, 10, 10, 20, 20, 60), Producers: d.in(1, 4), Batch: batch, ValueBytes: pick(d, 64, 128, 512, 4096/batch),
	}
	if !d.one(4) {
		w.Metadata = scenario.Metadata{Rate: pick(d, 2, 4, 10), Clients: d.in(2, 6), Names: d.in(1, 4)}
	}
	if !d.one(3) {
		w.Autocreate = scenario.Autocreate{PerMinute: pick(d, 10, 20, 60)}
	}
}

func (d *draw) machine() {
	m := scenario.DefaultSim
	m.LatencyMax = pick(d, 200*time.Microsecond, 400*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond, 30*time.Millisecond)
	if d.one(3) {
		m.SpikePPM, m.SpikeMax = int64(pick(d, 1000, 10_000, 50_000)), d.scaled(5*time.Millisecond, 500*time.Millisecond)
	}
	share := func(most int) int64 {
		if !d.one(3) {
			return 0
		}
		return int64(d.in(100, most))
	}
	m.DropPPM, m.DuplicatePPM, m.ReorderPPM, m.ResetPPM = share(20_000), share(50_000), share(50_000), share(5_000)
	m.SyncMax = pick(d, 400*time.Microsecond, 900*time.Microsecond, 5*time.Millisecond, 20*time.Millisecond)
	m.StartTime = pick(d, 5*time.Millisecond, 40*time.Millisecond, 400*time.Millisecond)
	// A read ends with its segment, so segments of one batch each would make catching up take a round trip for each batch.
	p := d.s.Workloads.Produce
	if segment := pick(d, 0, 4<<10, 16<<10, 64<<10); segment > 0 {
		m.SegmentBytes = int64(max(segment, 8*p.Batch*(p.ValueBytes+64)))
		m.SyncMax = min(m.SyncMax, 5*time.Millisecond) // each round trip waits for the follower's disk
	}
	if d.one(8) {
		m.SlowNode, m.SlowFactor = int32(d.in(1, d.s.Nodes)), int64(pick(d, 3, 10))
		m.SyncMax = min(m.SyncMax, 5*time.Millisecond) // or it could not keep up with the load at all
	}
	m.ClockPPM = int64(pick(d, 0, 0, 100))
	m.Readers = d.in(0, 3)
	m.Wire = d.one(8)
	m.PowerSeed = d.Uint64()
	d.s.Sim = m
}

// schedule draws the seed's weights and then the faults, some alone and some in bursts.
func (d *draw) schedule() {
	var bag []string
	for _, kind := range d.o.Kinds {
		weight := pick(d, 0, 0, 0, 1, 2, 4)
		for range weight {
			bag = append(bag, kind)
		}
	}
	count := int(int64(pick(d, 0, 6, 20, 25, 30, 40)) * int64(d.o.Length) / int64(DefaultLength))
	if len(bag) == 0 || len(d.o.Kinds) == 0 {
		return
	}
	begin, end := 2*time.Second, d.o.Length*9/10
	at := begin
	for len(d.s.Faults) < count {
		burst := 1
		if d.one(3) {
			burst = d.in(2, 4)
			at = begin + d.part(end-begin)
		}
		for range burst {
			if burst == 1 {
				at = begin + d.part(end-begin)
			}
			d.s.Faults = append(d.s.Faults, d.fault(bag[d.Intn(len(bag))], at))
			at += d.scaled(time.Millisecond, time.Second)
		}
	}
	slices.SortStableFunc(d.s.Faults, func(a, b scenario.Fault) int { return cmp.Compare(a.At.Fixed, b.At.Fixed) })
}

// flush leaves the records of a fifth of the seeds to the kernel. It has a random stream of its own, so that the other seeds stay what they were.
// Then power is taken from one node at a time: where it is taken from all, nothing is promised, and a run would show nothing.
func (d *draw) flush(r *gen.Rand) {
	if r.Intn(5) != 0 {
		return
	}
	d.s.Flush = scenario.FlushNone
	for i := range d.s.Faults {
		f := &d.s.Faults[i]
		if f.Kind == chaos.PowerLoss && (f.Target == scenario.TargetAll || strings.Contains(f.Target, "+")) {
			f.Target = fmt.Sprintf("n%d", 1+r.Intn(d.s.Nodes))
		}
	}
}

// idempotence draws whether producers are idempotent, and for how long. It comes last: what was drawn before does not depend on it.
func (d *draw) idempotence() {
	if d.one(2) {
		p := &d.s.Workloads.Produce
		p.Idempotent, p.Lifetime = true, pick(d, 0, time.Second, 3*time.Second, 3*time.Second, 10*time.Second)
	}
}

// retention gives a tenth of the seeds topics whose records may go, by age, by size or by both, after so short a time and in so small segments that many do.
// It has a random stream of its own, so that the other seeds stay what they were.
func (d *draw) retention(r *draw) {
	if !r.one(10) && !d.o.Retain {
		return
	}
	p := d.s.Workloads.Produce
	batch := int64(p.Batch * (p.ValueBytes + 64))
	segment := max(pick(r, int64(1<<10), 4<<10, 16<<10), 16*batch)
	only := -1 // the topic that alone has it
	if len(d.s.Topics) > 1 && r.one(2) {
		only = r.Intn(len(d.s.Topics))
	}
	for i := range d.s.Topics {
		if only >= 0 && i != only {
			continue
		}
		t := &d.s.Topics[i]
		t.SegmentBytes = segment
		how := r.Intn(3)
		if how != 0 {
			t.Retention = r.scaled(2*time.Second, 20*time.Second).Truncate(time.Millisecond)
		}
		if how != 1 {
			t.RetentionBytes = pick(r, 1, segment, 3*segment, 3*segment, 8*segment)
		}
	}
	d.s.RetentionCheck = pick(r, 200*time.Millisecond, time.Second, time.Second, 5*time.Second)
	// Each segment that comes or goes takes its syncs, behind which writes wait.
	d.s.Sim.SyncMax = min(d.s.Sim.SyncMax, 2*time.Millisecond)
}

// part draws a time below length, in whole milliseconds.
func (d *draw) part(length time.Duration) time.Duration {
	return time.Duration(d.Intn(int(max(length/time.Millisecond, 1)))) * time.Millisecond
}

func (d *draw) fault(kind string, at time.Duration) scenario.Fault {
	f := scenario.Fault{Kind: kind, Target: d.target(kind), At: scenario.Fixed(at), Overlap: true, Brief: !d.one(5)}
	f.For = scenario.Fixed(d.scaled(10*time.Millisecond, 6*time.Second))
	switch kind {
	case chaos.Partition, chaos.Flapping, chaos.OneWay, chaos.Delay, chaos.Loss:
		f.Clients = d.one(3)
		// A cut that nobody notices is no fault: it lasts some heartbeats at least.
		f.For = scenario.Fixed(d.scaled(300*time.Millisecond, 8*time.Second))
	case chaos.SlowDisk, chaos.SlowNode, chaos.ClockRate, chaos.Bridge, chaos.AllApart, chaos.ClientsCut, chaos.ReadError:
		f.For = scenario.Fixed(d.scaled(300*time.Millisecond, 8*time.Second))
	case chaos.DiskFull, chaos.WriteError, chaos.SyncError, chaos.DiskCrash:
		f.For = scenario.Fixed(d.scaled(100*time.Millisecond, 4*time.Second)) // the effect waits for the next operation
	}
	switch kind {
	case chaos.OneWay:
		f.Way = pick(d, chaos.WayIn, chaos.WayOut)
	case chaos.Flapping:
		f.Every = d.scaled(50*time.Millisecond, 2*time.Second)
	case chaos.Reset:
		f.Every = d.scaled(20*time.Millisecond, time.Second)
	case chaos.Delay:
		f.By = d.scaled(time.Millisecond, 300*time.Millisecond)
		f.Jitter = pick(d, 0, f.By/4, f.By)
	case chaos.Loss:
		f.PPM = int64(pick(d, 10_000, 50_000, 200_000))
	case chaos.Rolling:
		f.Every = d.scaled(50*time.Millisecond, 2*time.Second)
	case chaos.CrashLoop:
		f.Every = d.scaled(20*time.Millisecond, time.Second)
		f.For = scenario.Fixed(f.Every * time.Duration(d.in(2, 8)))
	case chaos.SlowDisk:
		f.Factor = d.factor(d.s.Sim.SyncMax, slowestSync)
	case chaos.SlowNode:
		f.Factor = d.factor(d.s.Sim.TurnMax, slowestTurn)
	case chaos.ClockJump:
		f.By = time.Duration(pick(d, 1, 1, -1)) * d.scaled(100*time.Millisecond, 4*time.Second)
	case chaos.ClockRate:
		f.PPM = int64(pick(d, -1, 1) * pick(d, 1000, 20_000, 100_000))
	case chaos.BitRot:
		f.Files = pick(d, chaos.FilesSegment, chaos.FilesRaft, chaos.FilesNode)
		if f.Files == chaos.FilesRaft && d.s.Sim.SnapshotEntries > 0 && f.At.Fixed/time.Millisecond%2 == 0 {
			f.Files = chaos.FilesSnapshot
		}
	}
	return f
}

// What is slow is so within bounds: a call that was begun is not cut short when the fault is healed, and a cluster whose one sync lasts
// for a minute is not whole in the next.
const (
	slowestSync = 500 * time.Millisecond
	slowestTurn = 50 * time.Millisecond
)

// factor draws how many times longer something takes.
func (d *draw) factor(usual, most time.Duration) int64 {
	usual *= time.Duration(max(d.s.Sim.SlowFactor, 1))
	return max(2, min(int64(pick(d, 5, 50, 500)), int64(most/usual)))
}

func (d *draw) target(kind string) string {
	group := d.group(2)
	switch kind {
	case chaos.RestartAll, chaos.AllApart:
		return scenario.TargetAll
	case chaos.ClientCrash:
		return d.client()
	case chaos.Rolling:
		return pick(d, scenario.TargetAll, scenario.TargetAll, group)
	case chaos.Bridge:
		return group
	case chaos.PowerLoss, chaos.DiskCrash, chaos.Reset:
		if d.one(4) {
			return scenario.TargetAll
		}
	}
	topic := d.s.Topics[d.Intn(len(d.s.Topics))]
	leader := fmt.Sprintf("leader(%s-%d)", topic.Name, d.Intn(int(topic.Partitions)))
	one := fmt.Sprintf("n%d", d.in(1, d.s.Nodes))
	return pick(d, scenario.TargetRaftLeader, scenario.TargetRaftLeader, scenario.TargetFollower, leader, leader, one, one, group)
}

// liveness draws, for half of the seeds, a core that must serve while the others stay broken.
func (d *draw) liveness() {
	if d.one(2) {
		return
	}
	size := d.in(d.s.Nodes/2+1, d.s.Nodes-1)
	t, err := scenario.ParseTarget(d.group(size))
	if err != nil {
		panic(fmt.Sprintf("sim: a drawn core is no target: %v", err))
	}
	d.s.Liveness = scenario.Liveness{Core: t.Nodes, Others: pick(d, chaos.Kill, chaos.Kill, chaos.Partition, chaos.Pause)}
}

// client draws a client, or all of them.
func (d *draw) client() string {
	w := d.s.Workloads
	who := []string{gen.AllClients, fmt.Sprintf("%s-%d", gen.ProducerClient, d.in(1, w.Produce.Producers))}
	if w.Metadata.Rate > 0 {
		who = append(who, fmt.Sprintf("%s-%d", gen.MetadataClient, d.in(1, w.Metadata.Clients)))
	}
	if w.Autocreate.PerMinute > 0 {
		who = append(who, gen.AutocreateClient)
	}
	if d.s.Sim.Readers > 0 {
		who = append(who, fmt.Sprintf("%s-%d", gen.ConsumerClient, d.in(1, d.s.Sim.Readers)))
	}
	return pick(d, who...)
}

// group draws so many nodes.
func (d *draw) group(size int) string {
	ids := make([]int, d.s.Nodes)
	for i := range ids {
		ids[i] = i + 1
	}
	for len(ids) > size {
		i := d.Intn(len(ids))
		ids = slices.Delete(ids, i, i+1)
	}
	var names []string
	for _, id := range ids {
		names = append(names, fmt.Sprintf("n%d", id))
	}
	return strings.Join(names, "+")
}
