package soaktest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/chaos/runloop"
	"soak/chaos/scenario"
	"soak/history"
)

// Fault is one that a test has asked for.
type Fault struct {
	r    *run
	id   int
	now  history.Fault // as it stands; of r.mu
	over bool          // it has been recorded; of r.mu
}

// untilMended is how long a fault lasts that is given no length: longer than any test.
const untilMended = 1000 * time.Hour

// Fault breaks something, and returns when its effect has been seen: bytes held on a link, an exit status, a process state. Kinds are those of
// soak faults, targets those of a scenario: raft-leader, partition-leader, follower, leader(TOPIC-PARTITION), n2, n1+n2, all. Settings are the fields that
// some kinds have, "by=50ms", "way=in", "clients=true"; "for=5s" lets it end by itself.
//
// A fault that cannot be brought about, or whose effect is not seen, ends the test.
func (c *Cluster) Fault(kind, target string, settings ...string) *Fault {
	c.r.t.Helper()
	f, err := c.r.breakNow(kind, target, settings)
	if err != nil {
		c.r.t.Fatalf("soaktest: %s of %s: %s", kind, target, words(err))
	}
	return f
}

func (r *run) breakNow(kind, target string, settings []string) (*Fault, error) {
	fields := map[string]string{"kind": kind, "target": target}
	for _, s := range settings {
		name, value, found := strings.Cut(s, "=")
		if !found {
			return nil, fmt.Errorf("the setting %q: want NAME=VALUE", s)
		}
		if slices.Contains([]string{"kind", "target", "at", "when", "brief", "overlap", "nodes", "role"}, name) {
			return nil, fmt.Errorf("the setting %q: a test says by itself what comes when", s)
		}
		fields[name] = value
	}
	plan, err := scenario.ParseFault(fields, r.plan.Nodes)
	if err != nil {
		return nil, err
	}
	if why := r.o.cannot(plan.Kind); why != "" {
		return nil, fmt.Errorf("the driver %s cannot do it: %s", r.o.driver(), why)
	}
	plan.For, plan.Brief = cmp.Or(plan.For, scenario.Fixed(untilMended)), true
	f := r.ask(plan)
	if f == nil || !r.wait(func() bool { return f.over || f.now.Proven() }) {
		return nil, fmt.Errorf("the run has ended: %s", r.why())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.now.Proven() {
		return nil, errors.New(cmp.Or(f.now.Error, "its effect was not seen"))
	}
	r.t.Logf("soaktest: fault %d: %s", f.id, f.now.Words())
	return f, nil
}

// cannot says why the driver cannot do a kind of fault here, "" if it can.
func (o Options) cannot(kind string) string {
	why, known := o.capabilities()[kind]
	if !known {
		return "it does not know this fault"
	}
	return why
}

// ask hands a fault to the loop, which numbers them in the order in which they come.
func (r *run) ask(plan scenario.Fault) *Fault {
	r.mu.Lock()
	r.asked++
	f := &Fault{r: r, id: r.asked}
	r.faults[f.id] = f
	r.mu.Unlock()
	select {
	case r.inputs <- runloop.Break{Fault: plan}:
		return f
	case <-r.ended:
		return nil
	}
}

// fault gives one that was asked for; one of a scenario, which nobody waits for, is a new one. The caller holds r.mu.
func (r *run) fault(id int) *Fault {
	if r.faults[id] == nil {
		r.faults[id] = &Fault{r: r, id: id}
	}
	return r.faults[id]
}

func (r *run) faultIsOver(f *history.Fault) {
	r.update(func() {
		mine := r.fault(f.ID)
		mine.now, mine.over = *f, true
	})
}

// Heal ends the fault, and returns when its end has been seen; nodes that it stopped run again. It does nothing to one that has ended. A fault that
// cannot be healed ends the test.
func (f *Fault) Heal() {
	f.r.t.Helper()
	f.r.tell(runloop.Mend{ID: f.id})
	f.r.wait(func() bool { return f.over })
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.now.Healed == 0 {
		f.r.t.Fatalf("soaktest: fault %d, %s, was not healed: %s", f.id, f.now.Words(), cmp.Or(f.now.Error, "the run has ended"))
	}
}

// Nodes are those that it is on.
func (f *Fault) Nodes() []int {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	var ids []int
	for _, n := range f.now.Nodes {
		ids = append(ids, int(n))
	}
	return ids
}

// String says what it is: "pause of n2 (raft-leader)".
func (f *Fault) String() string {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.now.Words()
}
