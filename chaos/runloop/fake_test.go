package runloop

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
)

const ms = int64(time.Millisecond)

// fake is a shell and a cluster in virtual time: it does what the loop asks, and answers after plausible delays. It is a model
// of a sound cluster, with switches for what can go wrong.
type fake struct {
	t     *testing.T
	loop  *Loop
	s     *scenario.Scenario
	now   int64
	queue []due // by time, then by order of entry
	order int

	term, boot uint64
	leader     int32
	hit        map[int32]bool // killed, paused or partitioned
	epochs     map[partition]*history.PartitionChange
	logs       map[partition]int64
	specs      map[int]chaos.Spec

	invokes   []*history.Operation
	faults    []history.Fault
	phases    []string
	trace     []string // every action with its time
	finished  int
	underWay  int
	overlaps  int                                         // pairs of metadata operations under way on one name
	busyNames map[string]int                              // by name
	done      func(op *history.Operation)                 // changes an answer before it is given
	injectErr func(chaos.Spec) error                      // makes injections fail
	healErr   func(id int) error                          // makes healings fail
	at        func(now int64, f *fake)                    // called at every step
	silent    bool                                        // no leader checks: the election service is gone
	noEvid    bool                                        // the driver answers without evidence
	slow      int64                                       // what a produce takes longer than usual
	engine    int64                                       // what an injection and a healing take longer than usual
	deaf      func(now int64, op *history.Operation) bool // operations that fail
}

type due struct {
	at    int64
	order int
	do    func()
}

func newFake(t *testing.T, s *scenario.Scenario, seed uint64) *fake {
	t.Helper()
	start := int64(1_700_000_000_000_000_000)
	loop, err := New(Config{Scenario: s, Seed: seed, RunHash: 7, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	return &fake{
		t: t, loop: loop, s: s, now: start, hit: map[int32]bool{}, epochs: map[partition]*history.PartitionChange{},
		logs: map[partition]int64{}, specs: map[int]chaos.Spec{}, busyNames: map[string]int{},
	}
}

func (f *fake) after(d int64, do func()) {
	f.order++
	f.queue = append(f.queue, due{f.now + d, f.order, do})
	sort.SliceStable(f.queue, func(i, j int) bool { return f.queue[i].at < f.queue[j].at })
}

// run drives the loop until it finishes, or until limit of virtual time has passed.
func (f *fake) run(limit time.Duration) {
	f.t.Helper()
	end := f.now + int64(limit)
	f.act()
	for f.finished == 0 {
		next := f.loop.Wake()
		if len(f.queue) > 0 {
			next = min(next, f.queue[0].at)
		}
		if next > end {
			f.t.Fatalf("not finished after %s: %+v, notes %q", limit, f.loop.Status(), f.loop.Notes())
		}
		f.now = max(f.now, next)
		if f.at != nil {
			f.at(f.now, f)
		}
		if len(f.queue) > 0 && f.queue[0].at <= f.now {
			do := f.queue[0].do
			f.queue = f.queue[1:]
			do()
		} else {
			f.step(Tick{})
		}
	}
}

func (f *fake) step(in Input) {
	f.loop.Step(f.now, in)
	f.act()
}

func (f *fake) event(node int32, b history.Body) {
	f.step(EventSeen{Event: history.Event{Node: node, Boot: f.boot, Time: f.now, Body: b}})
}

func (f *fake) act() {
	for _, a := range f.loop.Actions() {
		f.trace = append(f.trace, describe(f.now, a))
		switch a := a.(type) {
		case StartCluster:
			f.after(500*ms, f.start)
		case Invoke:
			f.invoke(a.Op)
		case Inject:
			f.inject(a.Spec)
		case Heal:
			f.heal(a.ID)
		case Record:
			f.faults = append(f.faults, a.Fault)
		case EnterPhase:
			f.phases = append(f.phases, a.Name)
		case Finished:
			f.finished++
		}
	}
}

func describe(now int64, a Action) string {
	if i, ok := a.(Invoke); ok {
		o := i.Op
		return fmt.Sprintf("%d invoke %s %s n%d %+v %+v %+v %+v", now, o.ID, o.Client, o.Node, o.Produce, o.Meta, o.Create, o.Drain)
	}
	return fmt.Sprintf("%d %T %+v", now, a, a)
}

func (f *fake) start() {
	for id := int32(1); int(id) <= f.s.Nodes; id++ {
		f.event(id, &history.Started{})
	}
	f.step(ClusterStarted{})
	f.after(300*ms, func() { f.elect(1) })
}

// elect makes a node raft leader; its checks begin one interval later.
func (f *fake) elect(node int32) {
	f.term++
	f.leader = node
	term := f.term
	f.event(node, &history.RoleChange{Term: term, Role: history.RoleLeader, Leader: node})
	interval := int64(f.s.ElectionInterval)
	var check func()
	check = func() {
		if f.term != term || f.hit[node] {
			return
		}
		if !f.silent {
			f.event(node, &history.LeaderCheck{Term: term, Role: history.RoleLeader, Cause: history.CauseInterval})
		}
		f.after(interval, check)
	}
	f.after(interval, check)
	f.reassign()
}

// alive is the nodes that no fault is on.
func (f *fake) alive() []int32 {
	var ids []int32
	for id := int32(1); int(id) <= f.s.Nodes; id++ {
		if !f.hit[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// reassign brings every partition's ISR and leader in line with who is alive.
func (f *fake) reassign() {
	alive := f.alive()
	if f.leader == 0 || f.hit[f.leader] || len(alive) == 0 {
		return
	}
	for _, t := range f.s.Topics {
		for p := range t.Partitions {
			old := f.epochs[partition{t.Name, p}]
			if old == nil {
				continue
			}
			c := *old
			c.ISR = alive
			c.Leader = alive[int(p)%len(alive)]
			if slices.Equal(c.ISR, old.ISR) && c.Leader == old.Leader {
				continue
			}
			c.PartitionEpoch++
			f.change(c)
		}
	}
}

func (f *fake) change(c history.PartitionChange) {
	f.epochs[partition{c.Topic, c.Partition}] = &c
	for _, id := range f.alive() {
		f.event(id, &history.Apply{Outcome: history.Applied, Command: "set_partition_leader", Changes: []history.PartitionChange{c}})
	}
}

func (f *fake) invoke(op *history.Operation) {
	f.invokes = append(f.invokes, op)
	f.underWay++
	delay, outcome, errText := 5*ms, history.OK, ""
	switch {
	case op.Produce != nil:
		delay += f.slow
		c := f.epochs[partition{op.Produce.Topic, op.Produce.Partition}]
		if c == nil || f.hit[c.Leader] {
			delay, outcome, errText = 3*second, history.Unknown, "timed out"
		}
	case f.hit[op.Node]:
		outcome, errText = history.Failed, "connection refused"
	}
	if op.Meta != nil && op.Meta.Owner == "metadata" {
		f.overlaps += f.busyNames[op.Meta.Name]
		f.busyNames[op.Meta.Name]++
	}
	f.after(delay, func() {
		f.underWay--
		op.Complete, op.Outcome, op.Error = f.now, outcome, errText
		if f.deaf != nil && f.deaf(f.now, op) {
			op.Outcome, op.Error = history.Failed, "deaf"
		}
		if op.Outcome == history.OK {
			f.answer(op)
		}
		if op.Meta != nil && op.Meta.Owner == "metadata" {
			f.busyNames[op.Meta.Name]--
		}
		if f.done != nil {
			f.done(op)
		}
		f.step(OpDone{Op: op})
	})
}

func (f *fake) answer(op *history.Operation) {
	switch {
	case op.Produce != nil:
		p := partition{op.Produce.Topic, op.Produce.Partition}
		for range op.Produce.Count {
			op.Produce.Offsets = append(op.Produce.Offsets, f.logs[p])
			f.logs[p]++
		}
	case op.Drain != nil:
		d := op.Drain
		end := f.logs[partition{d.Topic, d.Partition}]
		d.To, d.LogEnd, d.High = min(d.From+1000, end), end, end
		d.End = d.To == end
	case op.Meta != nil && op.Meta.Owner == ownerSetup:
		f.topic(op.Meta)
	}
}

func (f *fake) topic(m *history.MetaOp) {
	_, exists := f.epochs[partition{m.Name, 0}]
	m.Exists = exists
	if m.Kind != history.MetaCreate {
		return
	}
	if exists {
		m.Code = codeTopicExists
		return
	}
	for p := range m.Partitions {
		f.epochs[partition{m.Name, p}] = nil
	}
	f.after(50*ms, func() {
		for p := range m.Partitions {
			f.change(history.PartitionChange{Topic: m.Name, Partition: p, Leader: int32(p)%int32(f.s.Nodes) + 1, ISR: f.loop.nodes(), Replicas: f.loop.nodes()})
		}
	})
}

func (f *fake) inject(spec chaos.Spec) {
	f.specs[spec.ID] = spec
	f.after(200*ms+f.engine, func() {
		if f.injectErr != nil {
			if err := f.injectErr(spec); err != nil {
				f.step(FaultInjected{ID: spec.ID, Err: err})
				return
			}
		}
		for _, id := range spec.Nodes {
			f.hit[id] = true
			if spec.Kind == chaos.Kill || spec.Kind == chaos.RestartAll || spec.Kind == chaos.PowerLoss {
				f.event(0, &history.Exit{Of: id, Code: -1, Signal: "killed", Asked: true})
			}
		}
		evidence := []history.Evidence{{Time: f.now, Phase: "during", What: "seen"}}
		if f.noEvid {
			evidence = nil
		}
		f.step(FaultInjected{ID: spec.ID, Evidence: evidence})
		f.after(int64(f.s.SessionTimeout), f.reassign)
		if slices.Contains(spec.Nodes, f.leader) {
			f.after(1200*ms, f.failover)
		}
	})
}

func (f *fake) failover() {
	if alive := f.alive(); f.hit[f.leader] && len(alive) > f.s.Nodes/2 {
		f.elect(alive[0])
	}
}

func (f *fake) heal(id int) {
	spec := f.specs[id]
	f.after(300*ms+f.engine, func() {
		if f.healErr != nil {
			if err := f.healErr(id); err != nil {
				f.step(FaultHealed{ID: id, Err: err})
				return
			}
		}
		f.boot++
		for _, node := range spec.Nodes {
			delete(f.hit, node)
			if spec.Kind == chaos.Kill || spec.Kind == chaos.RestartAll || spec.Kind == chaos.PowerLoss {
				f.event(node, &history.Started{})
			}
		}
		f.step(FaultHealed{ID: id, Evidence: []history.Evidence{{Time: f.now, Phase: "after", What: "seen"}}})
		if spec.Kind == chaos.RestartAll || spec.Kind == chaos.PowerLoss && len(spec.Nodes) == f.s.Nodes {
			f.after(1000*ms, func() { f.elect(spec.Nodes[0]) })
		}
		f.after(700*ms, f.reassign)
	})
}

var errInjected = errors.New("the engine said no")

// resolved is an embedded scenario.
func resolved(t *testing.T, name string, flags scenario.Flags) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.Resolve(flags); err != nil {
		t.Fatal(err)
	}
	return s
}
