package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"soak/chaos"
	"soak/chaos/runloop"
	"soak/history"
	"soak/internal/usage"
)

// Loop is what the shell drives: *runloop.Loop.
type Loop interface {
	Step(now int64, in runloop.Input)
	Actions() []runloop.Action
	Wake() int64
	Status() runloop.Status
	Phases() []history.Phase
	Topics() []history.TopicInfo
	Problem() string // why the run could not go its way, "" if it could
	Notes() []string
}

// Clients carries operations out: *workloads.Clients.
type Clients interface {
	// Do fills in op's outcome and results and blocks until they are known. It is called from many goroutines, and
	// returns soon after ctx ends.
	Do(ctx context.Context, op *history.Operation)
	// Read has n consumers read topics along, and gives sink the operations of what they are given, with times by now, from many
	// goroutines. It returns soon after ctx ends, and calls sink no more.
	Read(ctx context.Context, topics []history.TopicInfo, n int, now func() int64, sink func(*history.Operation))
	Close()
}

// Recorder keeps the run's history: *history.Recorder. All methods are called from one goroutine.
type Recorder interface {
	Event(history.Event)
	Operation(*history.Operation)
	Fault(history.Fault)
	Metric(history.Metric)
	Flush() error
}

// Options is what a run is made of. Loop, NewCluster, NewClients, Recorder and Run must be set.
type Options struct {
	Loop       Loop
	NewCluster func(chaos.Sink) (chaos.Cluster, error)
	// NewClients is called once the cluster has started; addr answers HOST:PORT of a node.
	NewClients func(addr func(node int32) string) (Clients, error)
	Recorder   Recorder
	// Readers is how many consumers read along, from the phase steady to the drain.
	Readers int
	// Run has Nodes set. Phases, RecordTopics, Notes and HarnessError are filled in; nobody else may touch it while Run runs.
	Run *history.Run
	// Dir is the run's folder, whose disk is probed for stalls. Empty: the disk is not probed.
	Dir string
	// Save is called after Run's description has grown by a phase, so that whoever writes it down leaves what a killed runner knew. May be nil.
	Save func()
	// Observe is shown each *history.Event, *history.Operation, *history.Fault and *history.Metric as it is recorded. May be nil.
	Observe func(record any)
	// Status is told how the run stands, about four times a second. May be nil.
	Status func(runloop.Status)
	// Inputs are what others tell the loop: they steer it. May be nil. Nobody takes them any more once Run has returned.
	Inputs <-chan runloop.Input
	// End asks for an early end with the reason that is sent. May be nil.
	End <-chan string
}

// Bounds of what may block.
const (
	startTimeout  = 5 * time.Minute // image building included; the loop itself gives up sooner on nodes that are not ready
	faultTimeout  = 15 * time.Second
	rollTimeout   = 28 * time.Second // for the end of a rolling restart: nodes that are still to have their turn. The loop waits for 30 s
	probeTimeout  = 3 * time.Second
	statusEvery   = 250 * time.Millisecond
	metricEvery   = time.Second
	endGrace      = 40 * time.Second // from an early end's asking to the loop's Finished: two fault time-outs and a margin
	healAllBudget = time.Minute      // an engine on a full machine has been silent for longer than twenty seconds
	closeBudget   = 2 * time.Minute  // for the same reason: nobody waits, and a night is not to end as the failure of its harness
)

// Bounds after ctx ends. Together they leave a second of the eight that a person who interrupts has to wait for judging.
const (
	interruptedLoop  = 3 * time.Second
	interruptedHeal  = 2 * time.Second
	interruptedTotal = 7 * time.Second
)

// Run carries out one run to its end: every fault healed, the cluster closed, the record flushed. The callbacks of o are called from one
// goroutine, and not after Run has returned.
//
// When ctx ends, the run is ended early, healed and closed within seven seconds. That is no error. An error means
// that the harness failed: the cluster could not be made, started, healed or closed, or the record could not be written; it is
// also left in o.Run.HarnessError. What the loop itself finds wrong is in the record, not here.
func Run(ctx context.Context, o Options) error {
	s := newShell(o)
	err := s.run(ctx)
	if err != nil {
		o.Run.HarnessError = err.Error()
	}
	return err
}

// shell is one run under way. All its fields belong to the goroutine that called Run, but for in, stats and now.
type shell struct {
	o     Options
	now   func() int64
	in    *inbox
	stats nodeStats

	cluster chaos.Cluster
	clients Clients
	pool    *pool
	faults  faults
	win     window
	reading reading
	disk    *diskProbe // nil where the disk is not probed

	work       context.Context // of what an early end cuts short: the start, injections, probes
	cancelWork context.CancelFunc
	seq        uint64 // of the runner's own events
	held       []history.Event
	ending     bool // an early end was asked for
	finished   bool
	deadline   int64            // of an early end: when to stop waiting for the loop to finish
	giveUp     <-chan time.Time // fires then
	errs       []error
}

// started is the answer to a cluster's start.
type started struct {
	clients Clients
	err     error
}

func newShell(o Options) *shell {
	if o.Observe == nil {
		o.Observe = func(any) {}
	}
	if o.Save == nil {
		o.Save = func() {}
	}
	if o.Status == nil {
		o.Status = func(runloop.Status) {}
	}
	// Times are Unix time at the run's start plus the monotonic time since: a clock that is set during the run moves nothing.
	base := time.Now()
	s := &shell{o: o, in: newInbox(), now: func() int64 { return base.UnixNano() + int64(time.Since(base)) }}
	s.win.start = s.now()
	s.faults.byID = make(map[int]*activeFault)
	return s
}

func (s *shell) run(ctx context.Context) error {
	cluster, err := s.o.NewCluster(sink{s})
	if err != nil {
		return fmt.Errorf("preparing the cluster: %w", err)
	}
	s.cluster = cluster
	s.work, s.cancelWork = context.WithCancel(context.Background())
	defer s.cancelWork()
	ops, cancelOps := context.WithCancel(context.Background())
	defer cancelOps()
	s.pool = newPool(ops, s.now, s.do, func(d opDone) { s.in.put(d) })
	watch, stopWatch := context.WithCancel(context.Background())
	defer stopWatch()
	go watchStalls(watch, s.now, func(st stalled) { s.in.put(st) })
	s.probeDisk(watch)

	s.steer(ctx)
	interrupted := ctx.Err() != nil
	s.cancelWork()
	cancelOps()
	s.reading.stop()
	s.finish(interrupted)
	return errors.Join(s.errs...)
}

// do is what the pool's goroutines call. The loop asks for operations only after the start, which made the clients.
func (s *shell) do(ctx context.Context, op *history.Operation) {
	s.clients.Do(ctx, op)
}

// steer feeds the loop until it has finished, or until it is given up.
func (s *shell) steer(ctx context.Context) {
	wake := time.NewTimer(0)
	defer wake.Stop()
	second := time.NewTicker(metricEvery)
	defer second.Stop()
	show := time.NewTicker(statusEvery)
	defer show.Stop()
	end, done := s.o.End, ctx.Done()
	s.actAll() // a new loop has its first actions ready
	for !s.finished {
		select {
		case <-s.in.ready:
		case <-wake.C:
		case <-second.C:
			s.eachSecond()
		case <-show.C:
			s.o.Status(s.o.Loop.Status())
		case in := <-s.o.Inputs:
			s.step(in)
		case reason, ok := <-end:
			if end = nil; ok {
				s.endNow(reason, endGrace)
			}
		case <-done:
			done = nil
			s.endNow("interrupted", interruptedLoop)
		case <-s.giveUp:
			if ctx.Err() == nil {
				s.errs = append(s.errs, fmt.Errorf("ending the run: the run loop did not finish within %v of being asked to", endGrace))
			}
			return
		}
		for _, x := range s.in.takeAll() {
			s.take(x)
		}
		s.tick(wake)
	}
}

// tick gives the loop its time when that is due, and sets the timer for the next.
func (s *shell) tick(timer *time.Timer) {
	if s.finished {
		return
	}
	if s.o.Loop.Wake() <= s.now() {
		s.step(runloop.Tick{})
	}
	// A loop that is always due must not keep the processor: a millisecond is below what anybody here measures.
	timer.Reset(max(time.Duration(s.o.Loop.Wake()-s.now()), time.Millisecond))
}

// take deals with one thing that happened: first the record, then the loop.
func (s *shell) take(x any) {
	switch x := x.(type) {
	case history.Event:
		s.event(x)
	case stalled:
		s.win.stall = max(s.win.stall, int64(x))
		s.event(history.Event{Body: &history.Stall{Nanos: int64(x)}})
	case diskProbed:
		s.diskAnswered(x)
	case opDone:
		s.pool.landed(x.op)
		s.win.add(x)
		s.o.Recorder.Operation(x.op)
		s.o.Observe(x.op)
		s.step(runloop.OpDone{Op: x.op})
	case consumed: // nobody asked for it
		s.o.Recorder.Operation(x.op)
		s.o.Observe(x.op)
	case started:
		s.clients = x.clients
		if x.err != nil && !s.ending {
			s.errs = append(s.errs, x.err)
		}
		s.step(runloop.ClusterStarted{Err: x.err})
	case probed:
		if !s.finished { // then all is being healed
			s.faults.probed(x)
		}
	case runloop.FaultInjected:
		s.faults.injected(s.now(), x)
		s.step(x)
	case runloop.Input:
		s.step(x)
	default:
		panic(fmt.Sprintf("runner: the inbox holds a %T", x))
	}
}

// event records an event, and tells the loop.
func (s *shell) event(e history.Event) {
	if e.Node == 0 && e.Time == 0 {
		e.Time = s.now()
	}
	if crash(&e) {
		s.hold(e)
	} else {
		s.record(e)
	}
	s.step(runloop.EventSeen{Event: e})
}

// record writes an event down. The runner's own, and those that drivers leave to it, are its boot 1.
func (s *shell) record(e history.Event) {
	if e.Node == 0 {
		s.seq++
		e.Boot, e.Seq = 1, s.seq
	}
	s.o.Recorder.Event(e)
	s.o.Observe(&e)
}

// step gives the loop an input and does what it answers. After the end there is only recording.
func (s *shell) step(in runloop.Input) {
	if s.finished {
		return
	}
	s.o.Loop.Step(s.now(), in)
	s.actAll()
}

func (s *shell) actAll() {
	for _, a := range s.o.Loop.Actions() {
		s.act(a)
	}
}

func (s *shell) act(a runloop.Action) {
	switch a := a.(type) {
	case runloop.StartCluster:
		go s.start()
	case runloop.Invoke:
		s.pool.start(a.Op)
	case runloop.Inject:
		s.inject(a.Spec)
	case runloop.Heal:
		s.heal(a.ID)
	case runloop.Record:
		s.recordFault(a.Fault)
	case runloop.EnterPhase:
		s.o.Run.Phases, s.o.Run.RecordTopics = s.o.Loop.Phases(), s.o.Loop.Topics()
		s.o.Save()
		switch a.Name {
		case runloop.PhaseSteady:
			s.read()
		case runloop.PhaseDrain:
			s.reading.stop()
		}
	case runloop.Finished:
		s.finished = true
	default:
		panic(fmt.Sprintf("runner: the loop asks for a %T", a))
	}
}

// start brings the cluster up and makes its clients.
func (s *shell) start() {
	ctx, cancel := context.WithTimeout(s.work, startTimeout)
	defer cancel()
	if err := s.cluster.Start(ctx); err != nil {
		s.in.put(started{err: fmt.Errorf("starting the cluster: %w", err)})
		return
	}
	clients, err := s.o.NewClients(s.cluster.Addr)
	if err != nil {
		s.in.put(started{err: fmt.Errorf("making clients: %w", err)})
		return
	}
	s.in.put(started{clients: clients})
}

// endNow asks the loop for an early end, once, and sets how long it may take over healing; asked again, it may shorten that.
func (s *shell) endNow(reason string, grace time.Duration) {
	if at := s.now() + int64(grace); s.deadline == 0 || at < s.deadline {
		s.deadline, s.giveUp = at, time.After(grace)
	}
	if s.ending {
		return
	}
	s.ending = true
	s.cancelWork()
	s.step(runloop.EndNow{Reason: reason})
}

// eachSecond measures, flushes, and probes what is active.
func (s *shell) eachSecond() {
	s.metric()
	s.probeAll()
	s.settle()
}

func (s *shell) metric() {
	now := s.now()
	m := s.win.metric(now, s.stats.all(now, s.o.Run.Nodes))
	own := usage.Read()
	m.Runner = &history.Usage{Memory: max(0, own.Memory), HeapLive: own.HeapLive, Goroutines: own.Goroutines, Descriptors: max(0, own.Descriptors)}
	s.o.Recorder.Metric(m)
	s.o.Observe(&m)
}

// sink is the shell as a driver sees it.
type sink struct{ s *shell }

func (k sink) Event(e history.Event)      { k.s.in.put(e) }
func (k sink) Stats(m history.NodeMetric) { k.s.stats.put(k.s.now(), m) }
