package runloop

import (
	"fmt"
	"slices"

	"soak/history"
	"soak/workloads/gen"
)

// load is the three workloads. A nil one is switched off.
type load struct {
	produce    *gen.Produce
	metadata   *gen.Metadata
	autocreate *gen.Autocreate
	stopped    bool
}

func newLoad(c Config, start int64) (load, error) {
	var l load
	var err error
	s, w := c.Scenario, c.Scenario.Workloads
	if w.Produce.Rate > 0 {
		l.produce, err = gen.NewProduce(gen.ProduceConfig{
			Topics: recordTopics(c), Rate: w.Produce.Rate, Producers: w.Produce.Producers, Batch: w.Produce.Batch, Start: start,
			Idempotent: w.Produce.Idempotent, Lifetime: int64(w.Produce.Lifetime),
		})
	}
	if w.Metadata.Rate > 0 && err == nil {
		l.metadata, err = gen.NewMetadata(gen.MetadataConfig{
			Seed: c.Seed, Nodes: s.Nodes, Rate: w.Metadata.Rate, Clients: w.Metadata.Clients, Names: w.Metadata.Names,
			Replication: int16(min(3, s.Nodes)), Start: start,
		})
	}
	if w.Autocreate.PerMinute > 0 && err == nil {
		l.autocreate, err = gen.NewAutocreate(gen.AutocreateConfig{Seed: c.Seed, PerMinute: w.Autocreate.PerMinute, Start: start})
	}
	if err != nil {
		return load{}, fmt.Errorf("setting up the load: %w", err)
	}
	return l, nil
}

func recordTopics(c Config) []gen.Topic {
	var out []gen.Topic
	for _, t := range c.Scenario.Topics {
		out = append(out, gen.Topic{Name: t.Name, Partitions: t.Partitions})
	}
	return out
}

func (w *load) done(now int64, op *history.Operation) {
	switch {
	case op.Produce != nil && w.produce != nil:
		w.produce.Done(now, op)
	case op.Meta != nil && op.Meta.Owner == gen.OwnerAutocreate:
		if w.autocreate != nil {
			w.autocreate.Done(now, op)
		}
	case op.Meta != nil && w.metadata != nil:
		w.metadata.Done(now, op)
	case op.Create != nil && w.autocreate != nil:
		w.autocreate.Done(now, op)
	}
}

// crash has clients be down, as a fault had it.
func (w *load) crash(who string) {
	if w.produce != nil {
		w.produce.Crash(who)
	}
	if w.metadata != nil {
		w.metadata.Crash(who)
	}
	if w.autocreate != nil {
		w.autocreate.Crash(who)
	}
}

// restart has them go on, as new incarnations.
func (w *load) restart(who string) {
	if w.produce != nil {
		w.produce.Restart(who)
	}
	if w.metadata != nil {
		w.metadata.Restart(who)
	}
	if w.autocreate != nil {
		w.autocreate.Restart(who)
	}
}

func (w *load) inFlight() int {
	n := 0
	if w.produce != nil {
		n += w.produce.InFlight()
	}
	if w.metadata != nil {
		n += w.metadata.InFlight()
	}
	if w.autocreate != nil {
		n += w.autocreate.InFlight()
	}
	return n
}

// beginLoad ends the start phase: the clock of intervals, schedule and duration runs from here.
func (l *Loop) beginLoad() {
	l.enter(PhaseSteady)
	l.loadFrom = l.now
	w, err := newLoad(l.c, l.now)
	if err != nil {
		panic(fmt.Sprintf("runloop: a load that New accepted was refused: %v", err))
	}
	l.load = w
}

func (l *Loop) advanceLoad() {
	if l.load.stopped {
		return
	}
	var ops []*history.Operation
	add := func(due []*history.Operation, wake int64) {
		ops = append(ops, due...)
		l.wakeAt(wake)
	}
	if l.load.produce != nil {
		add(l.load.produce.Next(l.now))
	}
	if l.load.metadata != nil {
		add(l.load.metadata.Next(l.now))
	}
	if l.load.autocreate != nil {
		l.load.autocreate.SetFollowers(l.reachableFollowers())
		add(l.load.autocreate.Next(l.now))
	}
	for _, op := range ops {
		l.emit(Invoke{Op: op})
	}
}

// reachableFollowers is where a topic can be created through a follower now: nodes that no fault is on, while the raft leader is
// known and no fault is on it either.
func (l *Loop) reachableFollowers() []int32 {
	hit := l.faults.hit()
	if slices.Contains(hit, l.view.leader) {
		return nil
	}
	return slices.DeleteFunc(l.view.followers(), func(id int32) bool { return slices.Contains(hit, id) })
}
