package sim

import (
	"bufio"
	"fmt"
	"time"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/chaos/runloop"
	"soak/chaos/scenario"
	"soak/chaos/sim/simclient"
	"soak/history"
	"soak/internal/version"
	"soak/internal/vfs"
	"soak/workloads/gen"
)

// Epoch is the instant at which every simulation begins: 2025-01-01 00:00:00 UTC, in Unix ns.
const Epoch = int64(1_735_689_600_000_000_000)

// Options of one simulation.
type Options struct {
	Scenario *scenario.Scenario // resolved
	Seed     uint64
	RunHash  uint64
	Bugs     bugs.Set
	Exact    bool // take the recorded nodes and times of an executed schedule as they stand

	// Observe is shown each *history.Event, *history.Operation and *history.Fault as it happens. It must not keep the pointer.
	Observe func(record any)
	// Status is told how the run stands, once a virtual second. nil: nobody asks.
	Status func(runloop.Status)
	// Stop is asked between events whether to end at once; nil: never.
	Stop func() string
	// Limit bounds virtual time; 0: an hour.
	Limit time.Duration
}

// Result is what came of a simulation.
type Result struct {
	Phases   []history.Phase
	Topics   []history.TopicInfo
	Notes    []string
	Problem  string
	Executed *scenario.Scenario
	// Unrecovered says what was not whole again at the end, after all faults had been healed and the bounds had passed; "" if all was. It is
	// a finding: a cluster that never recovers.
	Unrecovered string
	Liveness    *history.Liveness // what came of the liveness phase, nil if there was none
	Status      runloop.Status
	Stats       Stats
	Hash        uint64 // over every event, operation and fault: equal for equal runs
}

// Stats counts what a simulation did.
type Stats struct {
	Virtual                        time.Duration
	Events                         int64 // of the world's queue
	Audit, Operations, Faults      int64
	Dropped, Duplicated, Reordered int64
	Reset                          int64 // connections, by noise
	Encoded                        int64 // messages that went through the real encoding
}

// sim is one simulation.
type sim struct {
	world
	o     Options
	mix   scenario.Sim
	nodes []*node // by id; nodes[0] is nil: it stands for the clients
	links []link

	loop     *runloop.Loop
	loopWake int64
	finished bool
	ending   bool

	clients    *simclient.Clients
	clientWake int64
	conns      []clientConn

	faults     map[int]*fault // for look-ups only
	active     []*fault
	diskFaults int // active ones
	crashes    int // of clients, that wait for something to cut off

	frame      []byte       // encoded by throughWire, void after it
	frames     bufio.Reader // reads it
	spareInbox []core.Input
	observed   uint64 // sequence of the runner's own events
	hash       hasher
	stats      Stats
}

// Run carries out one simulation to its end. Only one may run in a process at a time.
func Run(o Options) (*Result, error) {
	m := o.Scenario.Machine()
	if o.Limit == 0 {
		o.Limit = time.Hour
	}
	loop, err := runloop.New(runloop.Config{Scenario: o.Scenario, Seed: o.Seed, RunHash: o.RunHash, Start: Epoch, Exact: o.Exact, Simulated: true})
	if err != nil {
		return nil, err
	}
	s := &sim{o: o, mix: m, loop: loop, faults: map[int]*fault{}, spareInbox: []core.Input{}}
	s.seed, s.now = o.Seed, Epoch
	s.links = make([]link, (o.Scenario.Nodes+1)*(o.Scenario.Nodes+1))
	s.nodes = make([]*node, o.Scenario.Nodes+1)
	for from := range s.nodes {
		for to := range s.nodes {
			*s.link(int32(from), int32(to)) = link{from: int32(from), to: int32(to)}
		}
	}
	for id := 1; id < len(s.nodes); id++ {
		s.nodes[id] = s.newNode(int32(id))
	}
	defer s.rng.take()()
	if plantedNondeterminism != nil {
		plantedNondeterminism(s)
	}
	s.clients = simclient.New(s.clientConfig())
	s.pumpLoop()
	s.tellStatus()
	end := Epoch + int64(o.Limit)
	for !s.finished {
		if o.Stop != nil && !s.ending {
			if why := o.Stop(); why != "" {
				s.ending = true
				s.step(runloop.EndNow{Reason: why})
			}
		}
		if !s.next() {
			return nil, fmt.Errorf("the simulation came to a standstill after %v", time.Duration(s.now-Epoch))
		}
		if s.now > end {
			return nil, fmt.Errorf("the simulation was not over after %v of virtual time (phase %s)", o.Limit, s.loop.Status().Phase)
		}
	}
	s.stats.Virtual, s.stats.Events = time.Duration(s.now-Epoch), s.count
	return &Result{
		Phases: loop.Phases(), Topics: loop.Topics(), Notes: loop.Notes(), Problem: loop.Problem(), Executed: loop.Executed(), Unrecovered: loop.Unrecovered(), Liveness: loop.Liveness(), Status: loop.Status(),
		Stats: s.stats, Hash: s.hash.sum,
	}, nil
}

func (s *sim) tellStatus() {
	if s.o.Status != nil {
		s.o.Status(s.loop.Status())
		s.at(s.now+int64(time.Second), s.tellStatus)
	}
}

func (s *sim) newNode(id int32) *node {
	n := &node{s: s, id: id, slowBy: 1, slowDisk: 1}
	if id == s.mix.SlowNode {
		n.slowBy = max(s.mix.SlowFactor, 1)
		n.slowDisk = n.slowBy
	}
	ppm := between(mix(s.seed, saltClock, uint64(id)), -s.mix.ClockPPM, s.mix.ClockPPM+1)
	skew := between(mix(s.seed, saltClock, uint64(id), 1), -int64(s.mix.ClockSkew), int64(s.mix.ClockSkew)+1)
	n.ppm = ppm
	n.clock = newClock(s.now, skew, ppm)
	n.fs = vfs.NewSim(s.disk(n))
	return n
}

// config of a node's core.
func (s *sim) config(n *node) core.Config {
	sc := s.o.Scenario
	c := core.Config{
		ID: n.id, Seed: s.seed, Boot: n.boot, Advertise: fmt.Sprintf("127.0.0.1:%d", 9090+n.id), Version: version.Version,
		ElectionInterval: sc.ElectionInterval, SessionTimeout: sc.SessionTimeout, AutoCreate: true, Flush: sc.Flush, Bugs: s.o.Bugs,
		SnapshotEntries: s.mix.SnapshotEntries, RetentionCheck: sc.RetentionCheck,
	}
	for id := 1; id < len(s.nodes); id++ {
		c.Peers = append(c.Peers, int32(id))
	}
	return c
}

// clientConfig is what the simulated clients need to know.
func (s *sim) clientConfig() simclient.Config {
	c := simclient.Config{Seed: s.seed, RunHash: s.o.RunHash, ValueBytes: s.o.Scenario.Workloads.Produce.ValueBytes, Readers: s.mix.Readers}
	for id := 1; id < len(s.nodes); id++ {
		c.Nodes = append(c.Nodes, int32(id))
	}
	return c
}

// turnTime is the processor time of a turn.
func (s *sim) turnTime(n *node) int64 {
	return spread(mix(s.seed, saltTurn, uint64(n.id), uint64(s.now/noiseStep)), s.mix.TurnMin, s.mix.TurnMax) * n.slowBy
}

// step tells the run loop something and does what it answers.
func (s *sim) step(in runloop.Input) {
	s.loop.Step(s.now, in)
	s.pumpLoop()
}

func (s *sim) pumpLoop() {
	for acts := s.loop.Actions(); len(acts) > 0; acts = s.loop.Actions() {
		for _, a := range acts {
			s.act(a)
		}
	}
	if wake := max(s.loop.Wake(), s.now); !s.finished && (s.loopWake == 0 || wake < s.loopWake) {
		s.loopWake = wake
		s.at(wake, func() {
			if s.now >= s.loopWake {
				s.loopWake = 0
			}
			if !s.finished {
				s.step(runloop.Tick{})
			}
		})
	}
}

func (s *sim) act(a runloop.Action) {
	switch a := a.(type) {
	case runloop.StartCluster:
		for _, n := range s.nodes[1:] {
			if err := n.start(); err != nil {
				s.at(s.now, func() { s.step(runloop.ClusterStarted{Err: err}) })
				return
			}
		}
		s.at(s.now+2*int64(s.mix.StartTime), func() { s.step(runloop.ClusterStarted{}) })
	case runloop.Invoke:
		a.Op.Invoke = s.now
		s.clients.Start(s.now, a.Op)
		s.pumpClients()
		if s.crashes > 0 {
			s.noteStart(a.Op)
		}
	case runloop.Inject:
		spec := a.Spec
		s.at(s.now, func() { s.inject(spec) })
	case runloop.Heal:
		id := a.ID
		s.at(s.now, func() { s.heal(id) })
	case runloop.Record:
		s.stats.Faults++
		f := a.Fault
		s.hash.fault(&f)
		s.observe(&f)
	case runloop.EnterPhase:
		switch a.Name {
		case runloop.PhaseSteady:
			var topics []gen.Topic
			for _, t := range s.o.Scenario.Topics {
				topics = append(topics, gen.Topic{Name: t.Name, Partitions: t.Partitions})
			}
			s.clients.Read(s.now, topics)
			s.pumpClients()
		case runloop.PhaseDrain:
			s.clients.StopReading()
			s.pumpClients()
		}
	case runloop.Finished:
		// What is still under way gets no answer any more. It is recorded with an unknown outcome: what it wrote may be in the logs.
		s.clients.Crash(s.now, gen.AllClients)
		s.pumpClients()
		s.finished = true
	}
}

// done takes an operation back from the clients.
func (s *sim) done(op *history.Operation) {
	op.Complete = s.now
	s.stats.Operations++
	s.hash.operation(op)
	s.observe(op)
	if op.Consume != nil {
		return // nobody asked for it
	}
	s.at(s.now, func() { s.step(runloop.OpDone{Op: op}) })
}

// event takes an audit event of a node.
func (s *sim) event(e history.Event) {
	s.stats.Audit++
	s.hash.event(&e)
	s.observe(&e)
	if runloop.Concerns(&e) {
		s.at(s.now, func() { s.step(runloop.EventSeen{Event: e}) })
	}
}

// observation is an event of the runner itself.
func (s *sim) observation(b history.Body) {
	s.observed++
	s.event(history.Event{Node: 0, Boot: 1, Seq: s.observed, Time: s.now, Body: b})
}

func (s *sim) observe(record any) {
	if s.o.Observe != nil {
		s.o.Observe(record)
	}
}

// plantedNondeterminism is set by a test alone: it makes a run depend on what no run may depend on, to show that a comparison of hashes
// sees it.
var plantedNondeterminism func(*sim)
