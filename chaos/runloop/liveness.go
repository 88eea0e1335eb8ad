package runloop

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
)

const (
	// coreClient writes what shows that a core serves, and its producer id is none of the load's, which count from 1.
	coreClient   = "core"
	coreProducer = uint32(1 << 20)
	ownerCore    = "core"

	// coreConfig is what a core is asked to change. Nobody reads it, and every value is above the default: no broker refuses or deletes anything for it.
	coreConfig      = "max.message.bytes"
	firstCoreConfig = 1<<20 + 1
)

// core is the liveness phase: the others are broken, all else is healed, and then the core must serve.
type core struct {
	fault  int // id of what keeps the others broken
	result *history.Liveness
	ops    int
	writes []probe // by view.order
	change probe   // of metadata
}

// probe asks for one thing again and again until it is done.
type probe struct {
	underWay string // operation id
	next     int64  // when to ask again
	asked    int    // times
	done     bool
	lastErr  string
}

// endFaults goes on after the schedule: to the liveness phase if the scenario has one.
func (l *Loop) endFaults() {
	if !l.s.Liveness.On() {
		l.enter(PhaseHeal)
		return
	}
	l.enter(PhaseLiveness)
	rest := l.s.Rest()
	// It is over when the loop says so.
	plan := scenario.Fault{
		Kind: l.s.Liveness.Others, Target: scenario.NodesTarget(rest), Clients: l.s.Liveness.Others == chaos.Partition, Overlap: true, Brief: true,
		For: scenario.Fixed(24 * time.Hour),
	}
	id := len(l.faults.steps) + 1
	l.faults.steps = append(l.faults.steps, step{plan: plan, ofCore: true, fault: history.Fault{
		ID: id, Kind: plan.Kind, Target: plan.Target, Clients: plan.Clients, Trigger: "liveness",
	}})
	l.faults.reached = len(l.faults.steps)
	l.core.fault = id
	l.core.writes = make([]probe, len(l.view.order))
	l.core.result = &history.Liveness{Core: slices.Clone(l.s.Liveness.Core), Others: plan.Kind, Bound: l.coreBound()}
	l.inject(l.step(id), rest)
}

// coreBound is how long a core may take: as long as a whole cluster may to recover, and a session more that the others must lose, and an
// interval for who takes over from them.
func (l *Loop) coreBound() int64 {
	if b := l.s.Liveness.Bound; b > 0 {
		return int64(b)
	}
	return l.recoverBound() + int64(l.s.SessionTimeout) + int64(l.s.ElectionInterval)
}

// advanceLiveness breaks the others, heals whatever else is broken, and then waits until the core serves or its bound is over.
func (l *Loop) advanceLiveness() {
	st := l.step(l.core.fault)
	switch st.state {
	case active:
	case injecting:
		l.advanceActive()
		return
	default: // it could not be brought about: its record says why
		l.note("the core was not tried: the other nodes could not be broken")
		l.enter(PhaseHeal)
		return
	}
	r := l.core.result
	if r.From == 0 {
		if !l.healAllBut(st) {
			return
		}
		r.From = l.now
	}
	lacks := l.coreLacks()
	limit := r.From + r.Bound
	switch {
	case len(lacks) == 0:
		r.Served = l.now
	case l.now >= limit:
		r.Missing = lacks
		l.note("the core %s did not serve within %s: %s", scenario.NodesTarget(r.Core), time.Duration(r.Bound), lacks[0])
	default:
		l.wakeAt(limit)
		l.askCore()
		return
	}
	for i := range l.view.order {
		if why := l.exempt(i); why != "" {
			r.Exempt = append(r.Exempt, why)
		}
	}
	l.enter(PhaseHeal)
}

// healAllBut heals every fault but one, and reports whether that is over.
func (l *Loop) healAllBut(keep *step) bool {
	limit := l.entered + answerLimit + healLimit
	busy := false
	for i := range l.faults.steps {
		st := &l.faults.steps[i]
		if st == keep {
			continue
		}
		if st.state == active {
			st.deadline = l.now
		}
		if l.now >= limit && st.state != over {
			l.over(st, fmt.Sprintf("not healed within %s", time.Duration(limit-l.entered)))
		}
	}
	l.advanceActive()
	for i := range l.faults.steps {
		if st := &l.faults.steps[i]; st != keep && st.state != over {
			busy = true
		}
	}
	if busy {
		l.wakeAt(limit)
	}
	return !busy
}

// exempt says why a partition cannot promise to be available with the core alone, "" if it can: a member of its ISR must be in the core, and as many
// replicas as acks=all needs.
func (l *Loop) exempt(i int) string {
	p := l.view.order[i]
	c := l.view.partitions[p]
	need := 1
	for _, t := range l.s.Topics {
		if t.Name == p.topic {
			need = int(t.MinInsyncReplicas)
		}
	}
	core := l.s.Liveness.Core
	switch {
	case need > len(core):
		return fmt.Sprintf("%s-%d needs %d replicas in the ISR, and the core has %d", p.topic, p.id, need, len(core))
	case c != nil && !slices.ContainsFunc(c.ISR, func(id int32) bool { return slices.Contains(core, id) }):
		return fmt.Sprintf("%s-%d has its ISR (%s) outside of the core", p.topic, p.id, scenario.NodesTarget(c.ISR))
	}
	return ""
}

// coreLacks is what the core does not do yet, in plain words; nothing if it serves.
func (l *Loop) coreLacks() (lacks []string) {
	core, since := l.s.Liveness.Core, l.core.result.From-1
	add := func(format string, args ...any) { lacks = append(lacks, fmt.Sprintf(format, args...)) }
	if !slices.Contains(core, l.view.leader) {
		add("no raft leader in the core")
	}
	for _, id := range core {
		if l.polls.answered[id] <= since {
			add("no answer from n%d", id)
		}
	}
	if c := &l.core.change; !c.done {
		add("no change of metadata was completed%s", c.why())
	}
	for i, p := range l.view.order {
		if l.exempt(i) != "" {
			continue
		}
		c, w := l.view.partitions[p], &l.core.writes[i]
		switch {
		case c == nil || !slices.Contains(core, c.Leader):
			add("%s-%d has no leader in the core", p.topic, p.id)
		case slices.ContainsFunc(core, func(id int32) bool { return !slices.Contains(c.ISR, id) }):
			add("not all of the core is in the ISR of %s-%d (%s)", p.topic, p.id, scenario.NodesTarget(c.ISR))
		case !w.done:
			add("no write to %s-%d was acknowledged%s", p.topic, p.id, w.why())
		}
	}
	return lacks
}

func (p *probe) why() string {
	if p.lastErr == "" {
		return ""
	}
	return ": " + p.lastErr
}

// askCore sends what shows that the core serves, and again what was not done.
func (l *Loop) askCore() {
	core := l.s.Liveness.Core
	ops, wake := l.polls.ask(l.now, l.core.result.From-1, core)
	l.wakeAt(wake)
	ask := func(p *probe, fill func(op *history.Operation)) {
		switch {
		case p.done || p.underWay != "":
			return
		case l.now < p.next:
			l.wakeAt(p.next)
			return
		}
		op := &history.Operation{ID: "l" + strconv.Itoa(l.core.ops), Client: coreClient, Invoke: l.now}
		fill(op)
		l.core.ops++
		p.asked++
		p.underWay = op.ID
		ops = append(ops, op)
	}
	ask(&l.core.change, func(op *history.Operation) {
		n := l.core.change.asked
		op.Node = core[n%len(core)]
		op.Meta = &history.MetaOp{
			Kind: history.MetaWrite, Name: l.s.Topics[0].Name, Owner: ownerCore, Config: coreConfig, Value: strconv.Itoa(firstCoreConfig + n),
		}
	})
	for i, p := range l.view.order {
		if l.exempt(i) != "" {
			continue
		}
		w := &l.core.writes[i]
		ask(w, func(op *history.Operation) {
			op.Produce = &history.ProduceOp{
				Topic: p.topic, Partition: p.id, Producer: coreProducer, Incarnation: 1, FirstSeq: uint64(w.asked), Count: 1, Acked: -1, Acks: -1,
			}
		})
	}
	for _, op := range ops {
		l.emit(Invoke{Op: op})
	}
}

// done takes one of the core's operations back.
func (c *core) opDone(now int64, op *history.Operation) {
	settle := func(p *probe) {
		if p.underWay != op.ID {
			return
		}
		p.underWay, p.next = "", now+pollEvery
		p.done = op.Outcome == history.OK && (op.Meta == nil || op.Meta.Code == 0)
		if p.lastErr = op.Error; p.lastErr == "" && op.Meta != nil && op.Meta.Code != 0 {
			p.lastErr = fmt.Sprintf("error code %d", op.Meta.Code)
		}
	}
	settle(&c.change)
	for i := range c.writes {
		settle(&c.writes[i])
	}
}

// inFlight is how many of the core's operations are under way.
func (c *core) inFlight() int {
	n := 0
	if c.change.underWay != "" {
		n++
	}
	for i := range c.writes {
		if c.writes[i].underWay != "" {
			n++
		}
	}
	return n
}

// Liveness is what came of the liveness phase, nil if there was none.
func (l *Loop) Liveness() *history.Liveness {
	if l.core.result == nil {
		return nil
	}
	r := *l.core.result
	r.Core, r.Missing, r.Exempt = slices.Clone(r.Core), slices.Clone(r.Missing), slices.Clone(r.Exempt)
	return &r
}
