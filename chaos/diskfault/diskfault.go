// Package diskfault brings about the disk faults of both real drivers, by the fault shim of the reference broker
// (internal/faultshim): a full, slow or failing disk, and loss of power. It keeps the leases, looks at the effect, and says what was
// seen; a driver tells it how a node's admin port is reached and starts nodes again.
//
// Every fault is looked at in the data path: a small file is written, synced and read back by the way that the broker's own calls
// take, before, during and after; and what the broker's own calls met is counted.
package diskfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"soak/chaos"
	"soak/history"
	"soak/internal/faultshim"
)

// Node is a node as its driver sees it.
type Node interface {
	ID() int32
	Life() (Life, bool) // the present life; false: the node is down
}

// Life is the time from one start of a node to its end. Equal lives are ==.
type Life interface {
	// Dial reaches the admin port.
	Dial(ctx context.Context) (net.Conn, error)
	// Ended is closed when the node has ended; then Status says how, and StoppedByFault whether of an error that was made up.
	Ended() <-chan struct{}
	Status() string
	StoppedByFault() bool
	Killed() bool
	// Boot is the life's boot number.
	Boot() uint64
}

const (
	// lookEvery is how often a node is looked at while waiting for evidence.
	lookEvery = 20 * time.Millisecond

	// askTime bounds one question to a shim.
	askTime = 5 * time.Second

	// reachTime is how much longer the first question to a node may take. Of a container it includes the start of a relay, which on a machine
	// that is short of processors was seen to take more than 2 s, and of several nodes they start at once.
	reachTime = 7 * time.Second

	// stopTime is how long a node may take to stop of an error that it met.
	stopTime = 3 * time.Second

	// maxMissed is how often a node that came back may fail to take the fault: it tries once a renewal.
	maxMissed = 5

	// lossWithin is how long a loss of power waits for a sync with something to lose.
	lossWithin = 2 * time.Second
)

// Fault is one fault on one or more nodes.
type Fault struct {
	spec  chaos.Spec
	seed  uint64
	parts []*part

	mu     sync.Mutex
	ending chan struct{} // closed by End: no more renewals
	ended  bool
	keep   sync.WaitGroup
}

// part is a fault on one node.
type part struct {
	node  Node
	first Life // that the fault struck

	mu     sync.Mutex
	life   Life // that has the fault now
	client *faultshim.Client
	status faultshim.Status
	missed int   // times that a life which came back could not be given the fault
	lapsed error // why the fault is not in effect although nobody ended it
}

// New prepares a fault on nodes. seed chooses what a loss of power leaves.
func New(spec chaos.Spec, seed uint64, nodes []Node) (*Fault, error) {
	f := &Fault{spec: spec, seed: seed, ending: make(chan struct{})}
	for _, n := range nodes {
		life, up := n.Life()
		if !up {
			return nil, fmt.Errorf("n%d is not running", n.ID())
		}
		f.parts = append(f.parts, &part{node: n, first: life, life: life, client: faultshim.NewClient(life.Dial)})
	}
	return f, nil
}

// stops reports whether a node must stop of a fault of this kind.
func stops(kind string) bool {
	return kind == chaos.DiskFull || kind == chaos.WriteError || kind == chaos.SyncError
}

func seen(phase string, count int64, format string, args ...any) history.Evidence {
	return history.Evidence{Time: time.Now().UnixNano(), Phase: phase, What: fmt.Sprintf(format, args...), Count: count}
}

// each does something to all parts side by side. Evidence is in the order of the nodes.
func (f *Fault) each(do func(*part) ([]history.Evidence, error)) (evidence []history.Evidence, err error) {
	found := make([][]history.Evidence, len(f.parts))
	errs := make([]error, len(f.parts))
	var all sync.WaitGroup
	for i, p := range f.parts {
		all.Go(func() { found[i], errs[i] = do(p) })
	}
	all.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

// Inject brings the fault about and returns when its effect has been seen.
func (f *Fault) Inject(ctx context.Context) ([]history.Evidence, error) {
	evidence, err := f.each(func(p *part) ([]history.Evidence, error) {
		probe, err := askFor(ctx, reachTime+askTime, p.client.Probe)
		if err == nil && probe.Refused != "" {
			err = errors.New("the disk is broken already: " + probe.Words())
		}
		if err != nil {
			return nil, fmt.Errorf("looking at the disk of n%d: %w", p.node.ID(), err)
		}
		return []history.Evidence{seen("before", 1, "n%d: %s", p.node.ID(), probe.Words())}, nil
	})
	if err != nil {
		return evidence, err
	}
	strike := f.strike
	if f.spec.Kind == chaos.PowerLoss {
		strike = f.losePower
	}
	during, err := f.each(func(p *part) ([]history.Evidence, error) { return strike(ctx, p) })
	return append(evidence, during...), err
}

// ask asks a shim one question in bounded time.
func ask[A any](ctx context.Context, question func(context.Context) (A, error)) (A, error) {
	return askFor(ctx, askTime, question)
}

func askFor[A any](ctx context.Context, bound time.Duration, question func(context.Context) (A, error)) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return question(ctx)
}

// probeTime bounds a question whose answer is a probe that meets the fault.
func (f *Fault) probeTime() time.Duration {
	if f.spec.Kind == chaos.SlowDisk {
		return faultshim.SetTime
	}
	return askTime
}

// losePower takes a node's power and sees it gone.
func (f *Fault) losePower(ctx context.Context, p *part) ([]history.Evidence, error) {
	call, cancel := context.WithTimeout(ctx, lossWithin+askTime)
	defer cancel()
	id := p.node.ID()
	loss, err := p.client.LosePower(call, faultshim.PowerCut{
		Seed: f.seed + uint64(f.spec.ID)<<8 + uint64(id), Within: lossWithin.Milliseconds(),
	})
	if err != nil {
		return nil, fmt.Errorf("taking the power from n%d: %w", id, err)
	}
	select {
	case <-p.first.Ended():
	case <-call.Done():
		return nil, fmt.Errorf("no evidence that n%d is gone: %w", id, call.Err())
	}
	if !p.first.Killed() {
		return nil, fmt.Errorf("n%d was to lose its power and ended by itself: %s", id, p.first.Status())
	}
	if loss.Dropped == 0 {
		return nil, fmt.Errorf("no evidence: n%d had nothing unsynced to lose within %v", id, lossWithin)
	}
	return []history.Evidence{seen("during", loss.Dropped, "n%d lost its power, and %d of %d unsynced bytes in %d files, %d names; ended: %s",
		id, loss.Dropped, loss.Unsynced, loss.Files, loss.Names, p.first.Status())}, nil
}

// words is the fault for a shim. Half of the faults that can leave a part of what they refuse.
func (f *Fault) words() faultshim.Fault {
	return faultshim.Fault{ID: f.spec.ID, Kind: f.spec.Kind, Factor: f.spec.Factor, Short: (f.seed+uint64(f.spec.ID))%2 == 0}
}

// strike sets the fault and waits until it has been met: by the node, which must stop of some, and by a probe.
func (f *Fault) strike(ctx context.Context, p *part) ([]history.Evidence, error) {
	id := p.node.ID()
	probe, err := f.set(ctx, p)
	if err != nil {
		return nil, err
	}
	f.keep.Go(func() { f.keeper(p) })
	evidence := []history.Evidence{seen("during", 1, "n%d: %s", id, probe.Words())}
	if !stops(f.spec.Kind) {
		return evidence, nil
	}
	for {
		st, err := ask(ctx, func(ctx context.Context) (faultshim.Status, error) { return p.client.Renew(ctx, f.spec.ID) })
		if err == nil && st.Refused > 0 {
			evidence = append(evidence, seen("during", int64(st.Refused), "n%d: %d of its calls refused, the last %s", id, st.Refused, st.Last))
			p.awaitStop(ctx)
			return evidence, nil
		}
		select {
		case <-p.first.Ended():
			if !p.first.StoppedByFault() {
				return evidence, fmt.Errorf("n%d ended, and not of this: %s", id, p.first.Status())
			}
			return append(evidence, p.stopped()), nil
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return evidence, fmt.Errorf("no evidence that n%d met it: %w", id, ctx.Err())
		}
	}
}

// set sets the fault in the present life; the probe met it there.
func (f *Fault) set(ctx context.Context, p *part) (faultshim.Probe, error) {
	probe, err := askFor(ctx, f.probeTime(), func(ctx context.Context) (faultshim.Probe, error) { return p.client.Set(ctx, f.words()) })
	if err != nil {
		return probe, fmt.Errorf("breaking the disk of n%d: %w", p.node.ID(), err)
	}
	if f.spec.Kind != chaos.SlowDisk && probe.Refused == "" {
		return probe, fmt.Errorf("no evidence of %s on n%d: %s", f.spec.Kind, p.node.ID(), probe.Words())
	}
	return probe, nil
}

// awaitStop gives a node time to stop of an error that it met. One that goes on is told of when the fault ends, by End.
func (p *part) awaitStop(ctx context.Context) {
	select {
	case <-p.first.Ended():
	case <-time.After(stopTime):
	case <-ctx.Done():
	}
}

func (p *part) stopped() history.Evidence {
	return seen("during", 1, "n%d stopped of an error that was made up: %s", p.node.ID(), p.first.Status())
}

// keeper renews the lease on one node until the fault ends. A node that comes back meanwhile, from a fault that may come on top of this one,
// has the fault again. One that stopped of it is left down.
func (f *Fault) keeper(p *part) {
	t := time.NewTicker(faultshim.RenewEvery)
	defer t.Stop()
	for {
		select {
		case <-f.ending:
			return
		case <-t.C:
		}
		f.renew(p)
	}
}

func (f *Fault) renew(p *part) {
	ctx, cancel := context.WithTimeout(context.Background(), f.probeTime())
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	now, up := p.node.Life()
	switch {
	case !up || stops(f.spec.Kind) && now != p.life:
		return // whether it may run is for Probe to say
	case now != p.life:
		client := faultshim.NewClient(now.Dial)
		if _, err := client.Set(ctx, f.words()); err != nil {
			client.Close()
			if p.missed++; p.missed >= maxMissed && p.lapsed == nil { // before that it may not be up yet
				p.lapsed = fmt.Errorf("it came back, and could not be given the fault again: %w", err)
			}
			return
		}
		p.client.Close()
		p.life, p.client, p.missed = now, client, 0
		return
	}
	st, err := p.client.Renew(ctx, f.spec.ID)
	if err == nil {
		p.status = st
	}
	if errors.Is(err, faultshim.ErrGone) && p.lapsed == nil {
		p.lapsed = err
	}
}

// Probe looks whether the fault is still in effect: see chaos.Cluster.
func (f *Fault) Probe(ctx context.Context) ([]history.Evidence, error) {
	return f.each(func(p *part) ([]history.Evidence, error) { return f.look(ctx, p) })
}

func (f *Fault) look(ctx context.Context, p *part) ([]history.Evidence, error) {
	id := p.node.ID()
	now, up := p.node.Life()
	if f.spec.Kind == chaos.PowerLoss || stops(f.spec.Kind) && over(p.first) {
		if up {
			return nil, fmt.Errorf("n%d runs: %w", id, chaos.ErrLapsed)
		}
		return []history.Evidence{seen("during", 0, "n%d is down", id)}, nil
	}
	p.mu.Lock()
	life, client, lapsed := p.life, p.client, p.lapsed
	p.mu.Unlock()
	switch {
	case !up || now != life && lapsed == nil:
		return nil, nil // another fault has it down, or has just let it go
	case lapsed != nil:
		return nil, fmt.Errorf("n%d: %w: %w", id, chaos.ErrLapsed, lapsed)
	}
	st, err := ask(ctx, func(ctx context.Context) (faultshim.Status, error) { return client.Renew(ctx, f.spec.ID) })
	if errors.Is(err, faultshim.ErrGone) {
		return nil, fmt.Errorf("n%d: %w: %w", id, chaos.ErrLapsed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the disk of n%d: %w", id, err)
	}
	probe, err := askFor(ctx, f.probeTime(), client.Probe)
	if err != nil {
		return nil, fmt.Errorf("looking at the disk of n%d: %w", id, err)
	}
	if f.spec.Kind != chaos.SlowDisk && probe.Refused == "" {
		return nil, fmt.Errorf("n%d: %w: %s", id, chaos.ErrLapsed, probe.Words())
	}
	return []history.Evidence{seen("during", int64(st.Refused+st.Delayed), "n%d: %s; %s", id, probe.Words(), counts(st))}, nil
}

func over(l Life) bool {
	select {
	case <-l.Ended():
		return true
	default:
		return false
	}
}

func counts(st faultshim.Status) string {
	if st.Delayed > 0 {
		return fmt.Sprintf("%d of its own calls took %.1f ms longer in all", st.Delayed, float64(st.Micros)/1000)
	}
	return fmt.Sprintf("%d of its own calls refused", st.Refused)
}

// End ends the fault where it still is. Disks are sound then; nodes that stopped of it are down. Ending it twice does nothing.
func (f *Fault) End(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended = true
		close(f.ending)
	}
	f.keep.Wait()
	if f.spec.Kind == chaos.PowerLoss {
		return nil
	}
	_, err := f.each(func(p *part) ([]history.Evidence, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if over(p.life) {
			return nil, nil
		}
		st, err := ask(ctx, func(ctx context.Context) (faultshim.Status, error) { return p.client.End(ctx, f.spec.ID) })
		switch {
		case err == nil:
			p.status = st
		case errors.Is(err, faultshim.ErrGone) || over(p.life):
		default:
			return nil, fmt.Errorf("mending the disk of n%d: %w", p.node.ID(), err)
		}
		return nil, nil
	})
	return err
}

// Down lists the nodes that the fault has down, to be started after End.
func (f *Fault) Down() (nodes []Node) {
	for _, p := range f.parts {
		if over(p.first) && (f.spec.Kind == chaos.PowerLoss || p.first.StoppedByFault()) {
			if _, up := p.node.Life(); !up {
				nodes = append(nodes, p.node)
			}
		}
	}
	return nodes
}

// Healed looks at the disks after End and after the nodes that were down have been started. It also names those that met a failed
// sync and went on: what they say is durable may never be. That is a broken broker, and no failed fault.
func (f *Fault) Healed(ctx context.Context) (evidence []history.Evidence, wentOn []history.LogLine, err error) {
	var mu sync.Mutex
	evidence, err = f.each(func(p *part) ([]history.Evidence, error) {
		id := p.node.ID()
		p.mu.Lock()
		life, client, st := p.life, p.client, p.status
		p.mu.Unlock()
		if f.spec.Kind == chaos.SyncError && st.Refused > 0 {
			if !over(p.first) {
				mu.Lock()
				wentOn = append(wentOn, history.LogLine{Of: id, What: "fatal", Line: fmt.Sprintf("n%d went on although %d syncs had failed", id, st.Refused)})
				mu.Unlock()
			}
		}
		now, up := p.node.Life()
		if !up {
			return []history.Evidence{seen("after", 0, "n%d is left to another fault", id)}, nil
		}
		var found []history.Evidence
		if now != life {
			client.Close()
			client = faultshim.NewClient(now.Dial)
			p.mu.Lock()
			p.life, p.client = now, client
			p.mu.Unlock()
			found = append(found, seen("after", int64(now.Boot()), "n%d has started again: boot %d", id, now.Boot()))
		}
		probe, err := ask(ctx, client.Probe)
		if err == nil && probe.Refused != "" {
			err = errors.New(probe.Words())
		}
		if err != nil { // it is asked again, and has a connection then
			return found, fmt.Errorf("no evidence that the disk of n%d is sound: %w", id, err)
		}
		client.Close()
		return append(found, seen("after", int64(st.Refused+st.Delayed), "n%d: %s", id, probe.Words())), nil
	})
	return evidence, wentOn, err
}
